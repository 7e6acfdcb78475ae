//! The layout of a disk that has grown (rule D20): where the new metadata go, and whether they can
//! be complete there before the old ones are given up.

use thiserror::Error;

use crate::layout::{Layout, LayoutError, Placement};
use crate::units::PAGE_BYTES;

const PAGE: u64 = PAGE_BYTES as u64;

/// Why a disk cannot be taken at the size that it has now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum GrowthError {
    /// The metadata do not fit the new size; what must be larger is named.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// It has less room than before.
    #[error(
        "there is room for {data_bytes} bytes of data, and the metadata are for {known_bytes}: \
         shrinking is not possible; give the disk back its former size"
    )]
    Shrunk {
        /// Bytes of data that fit now.
        data_bytes: u64,
        /// Bytes of data that fitted before.
        known_bytes: u64,
    },
    /// The new metadata would lie over the old ones, which must stay until the new ones are
    /// complete.
    #[error(
        "it has grown by too little: the metadata at its end move as a whole; make it at least \
         {least_bytes} bytes large"
    )]
    TooLittle {
        /// Bytes of the smallest device for which they can move.
        least_bytes: u64,
    },
}

impl Layout {
    /// Where everything lies when the data device has `data_device_bytes` and what holds external
    /// metadata `meta_bytes` (not looked at for internal ones). The same layout when nothing has
    /// changed. With internal metadata no page of the new ones lies where the old ones or the old
    /// data are, so whatever interrupts the move leaves one of the two whole.
    ///
    /// # Errors
    /// [`GrowthError`] names what stands in the way.
    pub fn grown(&self, data_device_bytes: u64, meta_bytes: u64) -> Result<Self, GrowthError> {
        let grown = match self.placement {
            Placement::Internal => {
                // A tail of less than a page was no part of it before.
                if data_device_bytes / PAGE * PAGE == self.end() {
                    return Ok(*self);
                }
                Self::internal(data_device_bytes, self.log)?
            }
            Placement::External => Self::external(meta_bytes, data_device_bytes, self.log)?,
        };
        if grown.data_bytes < self.data_bytes {
            let (data_bytes, known_bytes) = (grown.data_bytes, self.data_bytes);
            return Err(GrowthError::Shrunk { data_bytes, known_bytes });
        }
        if self.placement == Placement::Internal && grown.bitmap_offset < self.end() {
            let least_bytes = self.least_device_to_move_to();
            return Err(GrowthError::TooLittle { least_bytes });
        }
        Ok(grown)
    }

    /// True when the pages of `grown` lie elsewhere: all of them must be written anew.
    #[must_use]
    pub fn moves_to(&self, grown: &Self) -> bool {
        self.superblock_offsets != grown.superblock_offsets
    }

    /// One past the last page of internal metadata.
    const fn end(&self) -> u64 {
        self.superblock_offsets[1] + PAGE
    }

    /// Bytes of the smallest device whose metadata begin where the present ones end.
    fn least_device_to_move_to(&self) -> u64 {
        let mut bytes = self.end() + self.metadata_bytes();
        // One more page of bitmap at most once in 126 MiB, so a few steps are enough.
        loop {
            match Self::internal(bytes, self.log) {
                Ok(layout) if layout.bitmap_offset < self.end() => bytes += PAGE,
                Ok(_) | Err(_) => return bytes,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::LogGeometry;
    use crate::seeded::Seeded;

    #[test]
    fn internal_metadata_never_move_over_themselves_or_the_data() {
        let mut random = Seeded::new(0x9407);
        let log = LogGeometry::default();
        for round in 0..2000 {
            let old_bytes = (1 << 20) + random.below(1 << 33);
            let old = Layout::internal(old_bytes, log).expect("large enough");
            let magnitude = 10 + random.below(25);
            let new_bytes = old_bytes + random.below(1 << magnitude);
            match old.grown(new_bytes, 0) {
                Ok(new) if new == old => assert!(new_bytes - old_bytes < PAGE, "round {round}"),
                Ok(new) => {
                    assert!(old.moves_to(&new));
                    assert!(new.bitmap_offset >= old.superblock_offsets[1] + PAGE, "round {round}");
                    assert!(new.data_bytes > old.data_bytes);
                }
                Err(GrowthError::TooLittle { least_bytes }) => {
                    assert!(new_bytes < least_bytes, "round {round}");
                    assert!(old.grown(least_bytes, 0).is_ok_and(|new| old.moves_to(&new)));
                    assert!(old.grown(least_bytes - PAGE, 0).is_err(), "the least is the least");
                }
                Err(error) => panic!("round {round}: {error}"),
            }
        }
    }

    #[test]
    fn external_metadata_stay_where_they_are_and_need_room_behind_them() {
        let log = LogGeometry::default();
        let old = Layout::external(1 << 20, 1 << 30, log).expect("large enough");
        let new = old.grown(4 << 30, 1 << 20).expect("there is room to grow");
        assert_eq!(new.data_bytes, 4 << 30);
        assert!(!old.moves_to(&new) && new.bitmap_offset == old.bitmap_offset);
        let error = old.grown(1 << 40, 1 << 20).expect_err("no room");
        assert!(matches!(error, GrowthError::Layout(LayoutError::MetaTooSmall { .. })), "{error}");
        assert!(error.to_string().contains("enlarge the metadata file"), "{error}");
    }

    #[test]
    fn a_disk_that_shrank_is_refused_with_both_sizes() {
        let log = LogGeometry::default();
        let internal = Layout::internal(1 << 30, log).expect("large enough");
        let external = Layout::external(1 << 20, 1 << 30, log).expect("large enough");
        for old in [internal, external] {
            let error = old.grown(1 << 29, 1 << 20).expect_err("it shrank");
            assert!(matches!(error, GrowthError::Shrunk { .. }), "{error}");
        }
    }
}
