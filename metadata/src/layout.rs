//! Where superblock, activity log, bitmap and user data lie on a disk.

use thiserror::Error;

use crate::bitmap::{BITMAP_PAGE_BITS, page_count_for};
use crate::units::{BLOCK_BYTES, EXTENT_BYTES, PAGE_BYTES, device_blocks};

/// Hot extents of the activity log when nothing else is configured (DRBD: `al-extents` 1237).
pub const LOG_SLOTS_DEFAULT: u16 = 1237;
/// Fewest hot extents (DRBD manual: 7).
pub const LOG_SLOTS_MIN: u16 = 7;
/// Most hot extents (DRBD: 65534).
pub const LOG_SLOTS_MAX: u16 = 65534;
/// Slots whose content fits into one transaction; see `activity_log`.
pub const CONTEXT_SLOTS: u16 = 908;
/// Fewest pages of the ring, 32 KiB as in DRBD.
pub const RING_PAGES_MIN: u16 = 8;
/// Bytes of a sector, the unit of a device's size.
pub const SECTOR_BYTES: u64 = 512;
/// Largest data area in bytes: an extent number is 32 bits and the highest one means "free".
pub const DATA_BYTES_MAX: u64 = (u32::MAX as u64) * EXTENT_BYTES;

const PAGE: u64 = PAGE_BYTES as u64;

/// Where the metadata is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// At the end of the backing device; data begin at offset 0, so an existing file system stays
    /// readable.
    Internal,
    /// In a file or device of its own; the backing device holds nothing but data.
    External,
}

/// Size of the activity log. Invariant: `ring_pages` follows from `slots`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogGeometry {
    slots: u16,
    ring_pages: u16,
}

impl Default for LogGeometry {
    fn default() -> Self {
        Self::new(LOG_SLOTS_DEFAULT).expect("invariant: the default is within the limits")
    }
}

impl LogGeometry {
    /// The ring for `slots` hot extents: enough pages that all but one hold every slot at least
    /// once.
    ///
    /// # Errors
    /// [`LayoutError::LogSlots`] outside of [`LOG_SLOTS_MIN`]..=[`LOG_SLOTS_MAX`].
    pub fn new(slots: u16) -> Result<Self, LayoutError> {
        if !(LOG_SLOTS_MIN..=LOG_SLOTS_MAX).contains(&slots) {
            return Err(LayoutError::LogSlots { slots });
        }
        let ring_pages = (slots.div_ceil(CONTEXT_SLOTS) + 1).max(RING_PAGES_MIN);
        Ok(Self { slots, ring_pages })
    }

    /// Number of extents of 4 MiB that can be hot at once.
    #[must_use]
    pub const fn slots(self) -> u16 {
        self.slots
    }

    /// Pages of the ring, one transaction each.
    #[must_use]
    pub const fn ring_pages(self) -> u16 {
        self.ring_pages
    }

    /// Bytes of the ring.
    #[must_use]
    pub const fn ring_bytes(self) -> u64 {
        self.ring_pages as u64 * PAGE
    }

    /// Index in the ring of the page that takes transaction `sequence`.
    #[must_use]
    pub const fn ring_index(self, sequence: u64) -> u64 {
        sequence % self.ring_pages as u64
    }
}

/// Why a disk cannot hold metadata and data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LayoutError {
    /// Not even the metadata and one block of data fit.
    #[error(
        "a backing device of {device_bytes} bytes is too small for internal metadata: at least \
         {least_bytes} bytes are needed; enlarge it, lower the number of log extents, or use \
         external metadata"
    )]
    DeviceTooSmall {
        /// Bytes of the device.
        device_bytes: u64,
        /// Bytes of the smallest device that would do.
        least_bytes: u64,
    },
    /// The metadata file or device is too small for the data device.
    #[error(
        "{meta_bytes} bytes are too small for the metadata of {data_bytes} bytes of data: at least \
         {least_bytes} bytes are needed; enlarge the metadata file or device"
    )]
    MetaTooSmall {
        /// Bytes of the metadata file or device.
        meta_bytes: u64,
        /// Bytes of the data device.
        data_bytes: u64,
        /// Bytes of the smallest metadata file that would do.
        least_bytes: u64,
    },
    /// The data device has not even one sector.
    #[error(
        "a data device of {data_bytes} bytes is too small: at least {least_bytes} bytes are needed"
    )]
    DataTooSmall {
        /// Bytes of the data device.
        data_bytes: u64,
        /// Bytes of one sector.
        least_bytes: u64,
    },
    /// More data than extent numbers can name.
    #[error(
        "{data_bytes} bytes of data are too many: at most {DATA_BYTES_MAX} bytes can be replicated"
    )]
    TooBig {
        /// Bytes of data.
        data_bytes: u64,
    },
    /// The number of hot extents is out of range.
    #[error(
        "{slots} log extents are out of range: choose {LOG_SLOTS_MIN} to {LOG_SLOTS_MAX} \
         (default {LOG_SLOTS_DEFAULT})"
    )]
    LogSlots {
        /// The number asked for.
        slots: u16,
    },
}

/// Where everything lies. All offsets are bytes from the start of the device or file that holds the
/// *metadata*, multiples of 4096. Invariant: the parts do not overlap each other, nor the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Where the metadata is kept.
    pub placement: Placement,
    /// Offsets of copy 0 and copy 1 of the superblock.
    pub superblock_offsets: [u64; 2],
    /// Offset of the activity-log ring.
    pub ring_offset: u64,
    /// Size of the activity log.
    pub log: LogGeometry,
    /// Offset of the bitmap.
    pub bitmap_offset: u64,
    /// Pages of a bitmap of the whole data area.
    pub bitmap_pages: u64,
    /// Bytes of user data that fit, from offset 0 of the data device; a multiple of 512.
    pub data_bytes: u64,
}

impl Layout {
    /// Where the two copies of the superblock lie, knowing nothing but the size of what holds them:
    /// the last two whole pages (internal) or the first two (external). On a device of less than
    /// two pages both are 0, and [`Layout::internal`] refuses it.
    #[must_use]
    pub const fn superblock_offsets(placement: Placement, device_bytes: u64) -> [u64; 2] {
        match placement {
            Placement::Internal => {
                let pages = device_bytes / PAGE;
                [pages.saturating_sub(2) * PAGE, pages.saturating_sub(1) * PAGE]
            }
            Placement::External => [0, PAGE],
        }
    }

    /// Data from offset 0, then bitmap, ring and superblock pair at the end of the same device of
    /// `device_bytes`.
    ///
    /// # Errors
    /// [`LayoutError::DeviceTooSmall`], [`LayoutError::TooBig`].
    pub fn internal(device_bytes: u64, log: LogGeometry) -> Result<Self, LayoutError> {
        let fixed_pages = 2 + u64::from(log.ring_pages());
        // One page of bitmap and one block of data is the least that makes sense.
        let least_bytes = (fixed_pages + 2) * PAGE;
        if device_bytes < least_bytes {
            return Err(LayoutError::DeviceTooSmall { device_bytes, least_bytes });
        }
        let superblock_offsets = Self::superblock_offsets(Placement::Internal, device_bytes);
        let ring_offset = superblock_offsets[0] - log.ring_bytes();
        // A page of the bitmap covers itself out of the data: n pages for b - n blocks.
        let bitmap_pages = (ring_offset / PAGE).div_ceil(BITMAP_PAGE_BITS + 1);
        let bitmap_offset = ring_offset - bitmap_pages * PAGE;
        let data_bytes = within_limit(bitmap_offset)?;
        Ok(Self {
            placement: Placement::Internal,
            superblock_offsets,
            ring_offset,
            log,
            bitmap_offset,
            bitmap_pages,
            data_bytes,
        })
    }

    /// Superblock pair, ring and bitmap from offset 0 of a file or device of `meta_bytes`, for a
    /// data device of `data_bytes`, of which whole sectors are used. The bitmap comes last, so that
    /// it can grow.
    ///
    /// # Errors
    /// [`LayoutError::MetaTooSmall`], [`LayoutError::DataTooSmall`], [`LayoutError::TooBig`].
    pub fn external(
        meta_bytes: u64,
        data_bytes: u64,
        log: LogGeometry,
    ) -> Result<Self, LayoutError> {
        if data_bytes < SECTOR_BYTES {
            return Err(LayoutError::DataTooSmall { data_bytes, least_bytes: SECTOR_BYTES });
        }
        let data_bytes = within_limit(data_bytes / SECTOR_BYTES * SECTOR_BYTES)?;
        let superblock_offsets = Self::superblock_offsets(Placement::External, meta_bytes);
        let ring_offset = superblock_offsets[1] + PAGE;
        let bitmap_offset = ring_offset + log.ring_bytes();
        let bitmap_pages = page_count_for(device_blocks(data_bytes));
        let least_bytes = bitmap_offset + bitmap_pages * PAGE;
        if meta_bytes < least_bytes {
            return Err(LayoutError::MetaTooSmall { meta_bytes, data_bytes, least_bytes });
        }
        Ok(Self {
            placement: Placement::External,
            superblock_offsets,
            ring_offset,
            log,
            bitmap_offset,
            bitmap_pages,
            data_bytes,
        })
    }

    /// Offset of the ring page that takes transaction `sequence`.
    #[must_use]
    pub const fn ring_page_offset(&self, sequence: u64) -> u64 {
        self.ring_offset + self.log.ring_index(sequence) * PAGE
    }

    /// Offset of page `page` of the bitmap.
    #[must_use]
    pub const fn bitmap_page_offset(&self, page: u64) -> u64 {
        self.bitmap_offset + page * PAGE
    }

    /// Bytes that the metadata takes: with internal placement what the device shrinks by, less a
    /// tail of fewer than 4096 bytes that no whole page fits in.
    #[must_use]
    pub const fn metadata_bytes(&self) -> u64 {
        2 * PAGE + self.log.ring_bytes() + self.bitmap_pages * PAGE
    }
}

fn within_limit(data_bytes: u64) -> Result<u64, LayoutError> {
    if data_bytes > DATA_BYTES_MAX {
        return Err(LayoutError::TooBig { data_bytes });
    }
    Ok(data_bytes)
}

const _: () = assert!(PAGE == BLOCK_BYTES, "the layout counts blocks and pages as one");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeded::Seeded;

    fn assert_sound(layout: &Layout, device_bytes: u64) {
        assert!(layout.bitmap_pages * BITMAP_PAGE_BITS >= device_blocks(layout.data_bytes));
        assert_eq!(layout.bitmap_pages, page_count_for(device_blocks(layout.data_bytes)));
        assert_eq!(layout.bitmap_offset, layout.data_bytes);
        assert_eq!(layout.bitmap_offset + layout.bitmap_pages * PAGE, layout.ring_offset);
        assert_eq!(layout.ring_offset + layout.log.ring_bytes(), layout.superblock_offsets[0]);
        assert_eq!(layout.superblock_offsets[0] + PAGE, layout.superblock_offsets[1]);
        let end = layout.superblock_offsets[1] + PAGE;
        assert!(end <= device_bytes && device_bytes - end < PAGE);
        assert_eq!(layout.data_bytes + layout.metadata_bytes(), end);
    }

    #[test]
    fn internal_parts_touch_and_never_overlap_whatever_the_size() {
        let seed = 0x1a_0001;
        let mut random = Seeded::new(seed);
        for round in 0..2000 {
            let slots = LOG_SLOTS_MIN + random.below(60_000) as u16;
            let magnitude = 21 + random.below(30);
            let device_bytes = (1 << 20) + random.below(1 << magnitude);
            let log = LogGeometry::new(slots).expect("a legal number of slots");
            match Layout::internal(device_bytes, log) {
                Ok(layout) => assert_sound(&layout, device_bytes),
                Err(LayoutError::DeviceTooSmall { least_bytes, .. }) => {
                    assert!(device_bytes < least_bytes, "seed {seed:#x} round {round}");
                }
                Err(error) => panic!("seed {seed:#x} round {round}: {error}"),
            }
        }
    }

    #[test]
    fn the_least_internal_size_named_is_accepted_and_one_byte_less_is_not() {
        let log = LogGeometry::default();
        let Err(LayoutError::DeviceTooSmall { least_bytes, .. }) = Layout::internal(0, log) else {
            panic!("an empty device was accepted");
        };
        let layout = Layout::internal(least_bytes, log).expect("the size that was named");
        assert_eq!(layout.data_bytes, BLOCK_BYTES);
        assert_sound(&layout, least_bytes);
        assert!(Layout::internal(least_bytes - 1, log).is_err());
    }

    #[test]
    fn a_gigabyte_with_the_default_log_is_laid_out_as_documented() {
        let layout = Layout::internal(1 << 30, LogGeometry::default()).expect("large enough");
        assert_eq!(layout.superblock_offsets, [(1 << 30) - 8192, (1 << 30) - 4096]);
        assert_eq!(layout.ring_offset, (1 << 30) - 8192 - 32768);
        assert_eq!(layout.bitmap_pages, 9);
        assert_eq!(layout.data_bytes, (1 << 30) - 8192 - 32768 - 9 * 4096);
    }

    #[test]
    fn external_metadata_of_the_least_size_fits_exactly() {
        let log = LogGeometry::default();
        let data_bytes = (1 << 40) + 513;
        let Err(LayoutError::MetaTooSmall { least_bytes, .. }) =
            Layout::external(0, data_bytes, log)
        else {
            panic!("an empty file was accepted");
        };
        let layout = Layout::external(least_bytes, data_bytes, log).expect("the size named");
        assert_eq!(layout.data_bytes, (1 << 40) + 512);
        assert_eq!((layout.superblock_offsets, layout.ring_offset), ([0, 4096], 8192));
        assert_eq!(layout.bitmap_offset, 8192 + 32768);
        assert_eq!(layout.metadata_bytes(), least_bytes);
        assert!(Layout::external(least_bytes - 1, data_bytes, log).is_err());
    }

    #[test]
    fn sizes_and_slots_out_of_range_are_named() {
        let log = LogGeometry::default();
        assert_eq!(LogGeometry::new(6), Err(LayoutError::LogSlots { slots: 6 }));
        assert_eq!(LogGeometry::new(65535), Err(LayoutError::LogSlots { slots: 65535 }));
        let data_bytes = DATA_BYTES_MAX + SECTOR_BYTES;
        let too_big = Err(LayoutError::TooBig { data_bytes });
        assert_eq!(Layout::external(u64::MAX, data_bytes, log), too_big);
        assert!(matches!(Layout::internal(u64::MAX, log), Err(LayoutError::TooBig { .. })));
        assert!(matches!(
            Layout::external(1 << 20, 511, log),
            Err(LayoutError::DataTooSmall { .. })
        ));
    }

    #[test]
    fn all_pages_of_the_ring_but_one_hold_every_slot() {
        for slots in LOG_SLOTS_MIN..=LOG_SLOTS_MAX {
            let log = LogGeometry::new(slots).expect("a legal number of slots");
            let held = u32::from(log.ring_pages() - 1) * u32::from(CONTEXT_SLOTS);
            assert!(held >= u32::from(slots), "{slots} slots");
        }
        assert_eq!(LogGeometry::default().ring_pages(), 8);
    }
}
