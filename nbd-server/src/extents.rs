//! The payload of a `BLOCK_STATUS` reply: which parts of a range are data and which are holes
//! (proto.md "Structured reply types", `NBD_REPLY_TYPE_BLOCK_STATUS`).

use crate::proto::{STATE_HOLE, STATE_ZERO};

/// Length and flags of one extent, in bytes.
pub const EXTENT_BYTES: u32 = 8;

/// A part of the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Length in bytes; not 0.
    pub bytes: u32,
    /// Not allocated, and reads as zeroes; otherwise nothing is known of it.
    pub is_hole: bool,
}

/// The extents of one reply, in order from the start of the range, without gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtentList {
    extents: Vec<Extent>,
    left_bytes: u32,
    limit: usize,
}

impl ExtentList {
    /// For a range of so many bytes, of which a reply may describe `limit` extents at the most.
    pub fn new(range_bytes: u32, limit: usize) -> ExtentList {
        ExtentList { extents: Vec::new(), left_bytes: range_bytes, limit: limit.max(1) }
    }

    /// The next part; what lies beyond the range, or is one too many, is left out. Two parts of a
    /// kind become one, as proto.md recommends.
    pub fn push(&mut self, bytes: u64, is_hole: bool) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.left_bytes);
        if bytes == 0 {
            return;
        }
        let is_room = self.extents.len() < self.limit;
        match self.extents.last_mut() {
            Some(last) if last.is_hole == is_hole => last.bytes += bytes,
            Some(_) if !is_room => {
                self.left_bytes = 0;
                return;
            }
            Some(_) | None => self.extents.push(Extent { bytes, is_hole }),
        }
        self.left_bytes -= bytes;
    }

    /// True when nothing more can be told.
    pub fn is_full(&self) -> bool {
        self.left_bytes == 0
    }

    /// Appends them as they go over the wire. What was never told of the range counts as data.
    pub fn encode(mut self, out: &mut Vec<u8>) {
        self.push(u64::from(self.left_bytes), false);
        for extent in &self.extents {
            let flags = if extent.is_hole { STATE_HOLE | STATE_ZERO } else { 0 };
            out.extend_from_slice(&extent.bytes.to_be_bytes());
            out.extend_from_slice(&flags.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(list: ExtentList) -> Vec<(u32, u32)> {
        let mut out = Vec::new();
        list.encode(&mut out);
        let word = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().expect("four bytes"));
        out.chunks(EXTENT_BYTES as usize).map(|one| (word(&one[..4]), word(&one[4..]))).collect()
    }

    #[test]
    fn parts_of_a_kind_become_one_and_the_range_is_never_left() {
        let mut list = ExtentList::new(10_000, 8);
        for (bytes, is_hole) in [(4096, false), (0, true), (1000, false), (4000, true)] {
            list.push(bytes, is_hole);
        }
        assert!(!list.is_full());
        list.push(u64::MAX, true);
        assert!(list.is_full());
        assert_eq!(encoded(list), [(5096, 0), (4904, 3)]);
    }

    #[test]
    fn what_is_not_told_is_data() {
        assert_eq!(encoded(ExtentList::new(512, 4)), [(512, 0)]);
        let mut list = ExtentList::new(1024, 4);
        list.push(512, true);
        assert_eq!(encoded(list), [(512, 3), (512, 0)]);
    }

    #[test]
    fn one_too_many_is_left_out() {
        let mut list = ExtentList::new(100, 1);
        list.push(10, true);
        list.push(10, true);
        list.push(10, false);
        list.push(70, true);
        assert!(list.is_full());
        assert_eq!(encoded(list), [(20, 3)]);
    }
}
