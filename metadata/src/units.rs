//! Bytes, blocks and extents as types, and the rounding between them (rule D7: set outwards, clear
//! inwards).

/// Bytes that one bit of the bitmap stands for (DRBD manual: 4 KiB per bit).
pub const BLOCK_BYTES: u64 = 4096;
/// Bytes that one slot of the activity log stands for (DRBD manual: `al-extents`, 4 MiB each).
pub const EXTENT_BYTES: u64 = 4 << 20;
/// Blocks in one extent.
pub const EXTENT_BLOCKS: u64 = EXTENT_BYTES / BLOCK_BYTES;
/// Bytes of one metadata page; every metadata write is a whole number of pages.
pub const PAGE_BYTES: usize = 4096;

/// A non-empty run of bytes in the data area. Invariant: `bytes > 0`, `start + bytes` does not
/// overflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteRange {
    start: u64,
    bytes: u64,
}

impl ByteRange {
    /// The `bytes` bytes from `start` on.
    ///
    /// # Panics
    /// When `bytes` is zero or the end overflows: callers validate what comes from outside first.
    #[must_use]
    pub fn new(start: u64, bytes: u64) -> Self {
        assert!(bytes > 0, "invariant: a byte range is not empty");
        assert!(start.checked_add(bytes).is_some(), "invariant: a byte range does not overflow");
        Self { start, bytes }
    }

    /// First byte.
    #[must_use]
    pub const fn start(self) -> u64 {
        self.start
    }

    /// Length in bytes, never zero.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.bytes
    }

    /// One past the last byte.
    #[must_use]
    pub const fn end(self) -> u64 {
        self.start + self.bytes
    }

    /// True when both have a byte in common.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.start < other.end() && other.start < self.end()
    }

    /// Every block of which this range touches a byte: rounding outwards, for *setting* bits (D7).
    #[must_use]
    pub fn blocks_touched(self) -> BlockRange {
        let first = self.start / BLOCK_BYTES;
        let last = (self.end() - 1) / BLOCK_BYTES;
        BlockRange { first, count: last - first + 1 }
    }

    /// Every block that lies wholly inside: rounding inwards, for *clearing* bits (D7). A last
    /// block of the device that is shorter than 4 KiB counts as whole when the range reaches
    /// `device_bytes`.
    #[must_use]
    pub fn blocks_covered(self, device_bytes: u64) -> Option<BlockRange> {
        let first = self.start.div_ceil(BLOCK_BYTES);
        let end = if self.end() >= device_bytes {
            device_bytes.div_ceil(BLOCK_BYTES)
        } else {
            self.end() / BLOCK_BYTES
        };
        (end > first).then(|| BlockRange { first, count: end - first })
    }

    /// Index of the first and the last extent that this range touches.
    #[must_use]
    pub const fn extents(self) -> (u64, u64) {
        (self.start / EXTENT_BYTES, (self.end() - 1) / EXTENT_BYTES)
    }
}

/// A non-empty run of 4 KiB blocks of the data area. Invariant: `count > 0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockRange {
    /// Index of the first block.
    pub first: u64,
    /// Number of blocks, never zero.
    pub count: u64,
}

impl BlockRange {
    /// One past the last block.
    #[must_use]
    pub const fn end(self) -> u64 {
        self.first + self.count
    }

    /// The bytes of these blocks, cut at the end of a device of `device_bytes`.
    ///
    /// # Panics
    /// When the blocks begin past the end of the device.
    #[must_use]
    pub fn bytes(self, device_bytes: u64) -> ByteRange {
        let start = self.first * BLOCK_BYTES;
        ByteRange::new(start, (self.end() * BLOCK_BYTES).min(device_bytes) - start)
    }
}

/// Number of blocks that a device of `device_bytes` has, a short last one included.
#[must_use]
pub const fn device_blocks(device_bytes: u64) -> u64 {
    device_bytes.div_ceil(BLOCK_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_round_outwards_and_clears_round_inwards() {
        let range = ByteRange::new(512, 8192);
        assert_eq!(range.blocks_touched(), BlockRange { first: 0, count: 3 });
        assert_eq!(range.blocks_covered(1 << 20), Some(BlockRange { first: 1, count: 1 }));
        assert_eq!(ByteRange::new(512, 4096).blocks_covered(1 << 20), None);
    }

    #[test]
    fn a_short_last_block_is_covered_by_a_range_that_reaches_the_end() {
        let device = 3 * BLOCK_BYTES + 512;
        assert_eq!(
            ByteRange::new(3 * BLOCK_BYTES, 512).blocks_covered(device),
            Some(BlockRange { first: 3, count: 1 })
        );
        assert_eq!(device_blocks(device), 4);
        assert_eq!(BlockRange { first: 3, count: 1 }.bytes(device).bytes(), 512);
    }

    #[test]
    fn ranges_that_only_touch_do_not_overlap() {
        assert!(!ByteRange::new(0, 4096).overlaps(ByteRange::new(4096, 1)));
        assert!(ByteRange::new(0, 4097).overlaps(ByteRange::new(4096, 1)));
    }
}
