//! The metadata device: real bytes, writes in order, durable when completed, torn between sectors
//! by a power cut.

use crate::cover::Cover;
use crate::disk::SECTOR_BYTES;
use crate::random::Random;
use metadata::activity_log::{self, Replay, replay};
use metadata::bitmap::{Bitmap, page_count_for};
use metadata::layout::{Layout, LogGeometry};
use metadata::superblock::{ChooseError, Creation, ResourceName, Superblock, choose};
use metadata::units::{EXTENT_BLOCKS, PAGE_BYTES, device_blocks};
use replicator::event::DiskImage;
use replicator::ids::IoId;
use std::collections::VecDeque;
use std::ops::Range;

/// Name of the simulated resource.
pub(crate) const RESOURCE: &str = "simulated";
const META_BYTES: u64 = 1 << 20;
/// A sector that was being written when the power went holds garbage in so many cases, if the disk
/// is of that kind; and so many are.
const SHORN_PERCENT: u64 = 25;

#[derive(Debug, Clone)]
pub(crate) struct MetadataWrite {
    pub(crate) io: IoId,
    pub(crate) incarnation: u64,
    offset: usize,
    pages: Vec<u8>,
}

/// The device and the queue before it. Only the front of the queue is under way.
#[derive(Debug, Clone)]
pub(crate) struct MetadataDisk {
    bytes: Vec<u8>,
    layout: Layout,
    queue: VecDeque<MetadataWrite>,
    /// What is out of sync as far as the bytes say; read again when they have changed.
    cover: Option<Cover>,
}

impl MetadataDisk {
    /// A device with fresh metadata, as `create-md` leaves it.
    pub(crate) fn created(node_id: u8, data_bytes: u64, instance_id: u64) -> Self {
        let log = LogGeometry::new(metadata::layout::LOG_SLOTS_MIN)
            .expect("invariant: the least log is legal");
        let layout = Layout::external(META_BYTES, data_bytes, log)
            .expect("invariant: the simulated disk has room for its metadata");
        let name = ResourceName::new(RESOURCE).expect("invariant: the name is legal");
        let superblock = Superblock::new_created(Creation {
            resource_name: name,
            instance_id,
            node_id,
            capacity_bytes: layout.data_bytes,
            logical_block_bytes: u32::try_from(SECTOR_BYTES).expect("invariant: small"),
            log,
        });
        let mut disk = Self {
            bytes: vec![0; META_BYTES as usize],
            layout,
            queue: VecDeque::new(),
            cover: None,
        };
        for copy in 0..2_u8 {
            let offset = layout.superblock_offsets[usize::from(copy)];
            disk.put(offset, &superblock.encode(copy));
        }
        let identity = superblock.identity();
        for (sequence, page) in activity_log::format(1, &identity, log) {
            let index = log.ring_index(sequence);
            disk.put(layout.ring_offset + index * PAGE_BYTES as u64, &page[..]);
        }
        let mut bitmap = Bitmap::new(device_blocks(layout.data_bytes));
        for page in 0..layout.bitmap_pages {
            let bytes = bitmap.encode_page(page, &identity);
            disk.put(layout.bitmap_page_offset(page), &bytes[..]);
        }
        disk
    }

    fn put(&mut self, offset: u64, bytes: &[u8]) {
        self.cover = None;
        let offset = offset as usize;
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    /// What is on it now, with nothing under way.
    pub(crate) fn at_rest(&self) -> Self {
        Self { queue: VecDeque::new(), ..self.clone() }
    }

    /// Bits of one copy of the superblock flip.
    pub(crate) fn rot_superblock_copy(&mut self, copy: usize) {
        let offset = self.layout.superblock_offsets[copy] as usize;
        self.bytes[offset + 100] ^= 0xff;
    }

    /// All pages of the bitmap become those of another moment.
    pub(crate) fn take_bitmap_of(&mut self, other: &Self) {
        let first = self.layout.bitmap_offset as usize;
        let end = first + self.layout.bitmap_pages as usize * PAGE_BYTES;
        self.bytes[first..end].copy_from_slice(&other.bytes[first..end]);
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// Queues a write. True when it is under way at once.
    pub(crate) fn submit(
        &mut self,
        io: IoId,
        incarnation: u64,
        offset_bytes: u64,
        pages: Vec<u8>,
    ) -> bool {
        let offset = offset_bytes as usize;
        self.queue.push_back(MetadataWrite { io, incarnation, offset, pages });
        self.queue.len() == 1
    }

    /// Ends the write under way. The second value: another one is under way now.
    pub(crate) fn complete(&mut self) -> Option<(MetadataWrite, bool)> {
        let write = self.queue.pop_front()?;
        self.bytes[write.offset..write.offset + write.pages.len()].copy_from_slice(&write.pages);
        let copies = self.layout.superblock_offsets;
        let follows = copies.contains(&(write.offset as u64))
            && self.superblock().is_ok_and(|superblock| {
                self.cover.as_mut().is_some_and(|cover| cover.follows(&superblock))
            });
        if !follows {
            self.cover = None;
        }
        Some((write, !self.queue.is_empty()))
    }

    /// Ends the write under way and all that wait behind it, without any effect.
    pub(crate) fn abandon_all(&mut self) -> Vec<MetadataWrite> {
        self.queue.drain(..).collect()
    }

    /// The process is gone: what is under way still lands, what waits behind it never began.
    pub(crate) fn process_dies(&mut self) {
        self.queue.truncate(1);
    }

    /// The power goes: the write under way lands as any subset of its sectors.
    pub(crate) fn lose_power(&mut self, random: &mut Random) {
        self.cover = None;
        if let Some(write) = self.queue.pop_front() {
            let landed_percent = [0, 50, 100][random.below(3) as usize];
            let shorn = random.chance(SHORN_PERCENT);
            for (ahead, sector) in write.pages.chunks(SECTOR_BYTES as usize).enumerate() {
                let at = write.offset + ahead * SECTOR_BYTES as usize;
                let place = &mut self.bytes[at..at + sector.len()];
                if random.chance(landed_percent) {
                    place.copy_from_slice(sector);
                }
                if shorn && random.chance(SHORN_PERCENT) {
                    place.fill(0x5a);
                }
            }
        }
        self.queue.clear();
    }

    /// The superblock that counts.
    ///
    /// # Errors
    /// When neither copy is usable: then the engine wrote both at once (D13).
    pub(crate) fn superblock(&self) -> Result<Superblock, ChooseError> {
        let page = |copy: usize| {
            let offset = self.layout.superblock_offsets[copy] as usize;
            self.bytes[offset..offset + PAGE_BYTES].try_into().expect("invariant: one page")
        };
        choose(&page(0), &page(1))
    }

    /// What a start would find out of sync; none without a usable superblock.
    pub(crate) const fn cover(&self) -> Option<&Cover> {
        self.cover.as_ref()
    }

    /// Reads what [`Self::cover`] tells, if the bytes have changed.
    pub(crate) fn read_cover(&mut self) {
        if self.cover.is_none() {
            self.cover = self.cover_now();
        }
    }

    fn cover_now(&self) -> Option<Cover> {
        let superblock = self.superblock().ok()?;
        let owner = superblock.identity();
        let agreed = [superblock.device_bytes, superblock.capacity_bytes];
        let count = device_blocks(agreed.into_iter().find(|bytes| *bytes > 0)?);
        let slice = |offset: u64, bytes: u64| {
            self.bytes.get(offset as usize..(offset + bytes) as usize).unwrap_or_default()
        };
        let pages = slice(self.layout.bitmap_offset, page_count_for(count) * PAGE_BYTES as u64);
        let ring = slice(self.layout.ring_offset, self.layout.log.ring_bytes());
        let mut blocks = vec![false; count as usize];
        let mut set = |range: Range<u64>| {
            blocks[range.start as usize..range.end.min(count) as usize].fill(true);
        };
        match Bitmap::load(pages, count, &owner) {
            Ok(bitmap) => {
                let mut from = 0;
                while let Some(run) = bitmap.next_run(from, count) {
                    set(run.first..run.end());
                    from = run.end();
                }
            }
            Err(_) => set(0..count),
        }
        match replay(ring, &owner, self.layout.log) {
            Replay::Hot { extents, .. } => {
                for extent in extents {
                    let first = u64::from(extent) * EXTENT_BLOCKS;
                    set(first..first + EXTENT_BLOCKS);
                }
            }
            Replay::AllOutOfSync { .. } => set(0..count),
        }
        Some(Cover::new(&superblock, blocks))
    }

    /// Everything that a starting daemon reads.
    pub(crate) fn image(
        &self,
        boot_id: [u8; 16],
        zeroes_cheaply: bool,
    ) -> Result<DiskImage, ChooseError> {
        let superblock = self.superblock()?;
        let slice = |offset: u64, bytes: u64| {
            self.bytes[offset as usize..(offset + bytes) as usize].to_vec()
        };
        let bitmap_bytes = self.layout.bitmap_pages * PAGE_BYTES as u64;
        Ok(DiskImage {
            superblock,
            layout: self.layout,
            log_ring: slice(self.layout.ring_offset, self.layout.log.ring_bytes()),
            bitmap: slice(self.layout.bitmap_offset, bitmap_bytes),
            boot_id,
            logical_block_bytes: u32::try_from(SECTOR_BYTES).expect("invariant: small"),
            zeroes_cheaply,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_metadata_are_readable_and_just_created() {
        let disk = MetadataDisk::created(1, 1 << 20, 77);
        let image = disk.image([0; 16], true).unwrap();
        assert!(image.superblock.generations.is_just_created());
        assert_eq!((image.superblock.node_id, image.superblock.instance_id), (1, 77));
        assert!(Bitmap::load(&image.bitmap, 256, &image.superblock.identity()).is_ok());
    }

    #[test]
    fn a_power_cut_in_one_copy_of_the_superblock_leaves_a_usable_one() {
        for seed in 0..50 {
            let mut disk = MetadataDisk::created(0, 1 << 20, 77);
            let mut superblock = disk.superblock().unwrap();
            superblock.sequence += 1;
            disk.submit(IoId(1), 1, 0, superblock.encode(0).to_vec());
            disk.submit(IoId(2), 1, PAGE_BYTES as u64, superblock.encode(1).to_vec());
            disk.lose_power(&mut Random::new(seed));
            assert!(disk.superblock().is_ok(), "seed {seed}");
        }
    }
}
