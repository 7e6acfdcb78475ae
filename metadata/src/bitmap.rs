//! One bit per 4 KiB block in RAM: set means that the peer may hold other bytes there (rule D7).

mod pages;

use self::pages::PAGE_WORDS;
pub use self::pages::{BITMAP_PAGE_BITS, BitmapError, page_count_for};
use crate::units::BlockRange;

/// Bits of one word.
const WORD_BITS: u64 = u64::BITS as u64;

/// The out-of-sync bits of a replica. Invariants: bits past the last block are zero; `set_bits` is
/// the number of one bits; a page whose content differs from the disk is dirty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bitmap {
    words: Vec<u64>,
    blocks: u64,
    set_bits: u64,
    /// One entry per page: true when the page must be written.
    dirty: Vec<bool>,
}

impl Bitmap {
    /// All of `blocks` in sync. Every page counts as not yet written.
    #[must_use]
    pub fn new(blocks: u64) -> Self {
        Self {
            words: vec![0; word_count(blocks)],
            blocks,
            set_bits: 0,
            dirty: vec![true; page_count_for(blocks) as usize],
        }
    }

    /// All of `blocks` out of sync: what a bad page, a bad log or a full sync comes down to (D13).
    #[must_use]
    pub fn all_set(blocks: u64) -> Self {
        let mut bitmap = Self::new(blocks);
        bitmap.set_all();
        bitmap
    }

    /// Number of blocks.
    #[must_use]
    pub const fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Number of blocks out of sync. Kept up to date, costs nothing.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.set_bits
    }

    /// True when every block is in sync.
    #[must_use]
    pub const fn all_clear(&self) -> bool {
        self.set_bits == 0
    }

    /// Sets the bits of `range` and returns how many were clear before. What lies past the end is
    /// left out: there are no such blocks.
    pub fn set(&mut self, range: BlockRange) -> u64 {
        let mut newly = 0;
        for (index, mask) in self.masks(range) {
            let added = mask & !self.words[index];
            if added != 0 {
                self.words[index] |= added;
                self.dirty[index / PAGE_WORDS] = true;
                newly += u64::from(added.count_ones());
            }
        }
        self.set_bits += newly;
        newly
    }

    /// Clears the bits of `range` and returns how many were set before.
    pub fn clear(&mut self, range: BlockRange) -> u64 {
        let mut newly = 0;
        for (index, mask) in self.masks(range) {
            let removed = mask & self.words[index];
            if removed != 0 {
                self.words[index] &= !removed;
                self.dirty[index / PAGE_WORDS] = true;
                newly += u64::from(removed.count_ones());
            }
        }
        self.set_bits -= newly;
        newly
    }

    /// Sets every bit and returns how many were clear before.
    pub fn set_all(&mut self) -> u64 {
        if self.blocks == 0 {
            return 0;
        }
        self.set(BlockRange { first: 0, count: self.blocks })
    }

    /// True when a block of `range` is out of sync.
    #[must_use]
    pub fn any_set(&self, range: BlockRange) -> bool {
        self.masks(range).any(|(index, mask)| self.words[index] & mask != 0)
    }

    /// True when every block of `range` is in sync; the part past the end counts as in sync.
    #[must_use]
    pub fn all_clear_in(&self, range: BlockRange) -> bool {
        !self.any_set(range)
    }

    /// Number of blocks of `range` that are out of sync.
    #[must_use]
    pub fn count_in(&self, range: BlockRange) -> u64 {
        let ones = |(index, mask): (usize, u64)| u64::from((self.words[index] & mask).count_ones());
        self.masks(range).map(ones).sum()
    }

    /// The first run of set bits at or after `from_block`, cut at `max_blocks` (at least one
    /// block). Skips clear words whole, so a sparse bitmap costs a scan of memory.
    #[must_use]
    pub fn next_run(&self, from_block: u64, max_blocks: u64) -> Option<BlockRange> {
        let first = self.next_set(from_block)?;
        let limit = first.saturating_add(max_blocks.max(1)).min(self.blocks);
        Some(BlockRange { first, count: self.next_clear(first, limit) - first })
    }

    /// Takes over every set bit of `other` and returns how many were clear here (D7: the union).
    ///
    /// # Panics
    /// When the sizes differ: the nodes agree on the size before they exchange bitmaps.
    pub fn union(&mut self, other: &Self) -> u64 {
        assert_eq!(self.blocks, other.blocks, "invariant: bitmaps are united at the agreed size");
        let mut newly = 0;
        for (index, (mine, theirs)) in self.words.iter_mut().zip(&other.words).enumerate() {
            let added = theirs & !*mine;
            if added != 0 {
                *mine |= added;
                self.dirty[index / PAGE_WORDS] = true;
                newly += u64::from(added.count_ones());
            }
        }
        self.set_bits += newly;
        newly
    }

    /// Changes the number of blocks (D20). New blocks are in sync: whoever grows the device sets
    /// their bits, or zeroes both disks, before the agreed size is committed. The page at the old
    /// end, the page at the new end and all new pages become dirty.
    pub fn resize(&mut self, new_blocks: u64) {
        if new_blocks < self.blocks {
            let cut = BlockRange { first: new_blocks, count: self.blocks - new_blocks };
            self.clear(cut);
        }
        let (old_pages, new_pages) = (self.dirty.len(), page_count_for(new_blocks) as usize);
        self.blocks = new_blocks;
        self.words.resize(word_count(new_blocks), 0);
        self.dirty.resize(new_pages, true);
        for end_page in [old_pages, new_pages] {
            if let Some(last) = end_page.checked_sub(1).and_then(|last| self.dirty.get_mut(last)) {
                *last = true;
            }
        }
    }

    /// The words that `range` touches with the mask of its bits in each, cut at the end.
    fn masks(&self, range: BlockRange) -> impl Iterator<Item = (usize, u64)> + use<> {
        let end = range.first.saturating_add(range.count).min(self.blocks);
        let first = range.first.min(end);
        // An empty cut yields no word: its last word is before its first.
        let (first_word, end_word) = (first / WORD_BITS, end.div_ceil(WORD_BITS));
        let words = if first < end { first_word..end_word } else { 0..0 };
        words.map(move |word| {
            let low = first.saturating_sub(word * WORD_BITS);
            let high = (end - word * WORD_BITS).min(WORD_BITS);
            (word as usize, (u64::MAX << low) & (u64::MAX >> (WORD_BITS - high)))
        })
    }

    fn next_set(&self, from: u64) -> Option<u64> {
        if from >= self.blocks {
            return None;
        }
        let mut index = (from / WORD_BITS) as usize;
        let mut word = self.words[index] & (u64::MAX << (from % WORD_BITS));
        while word == 0 {
            index += 1;
            word = *self.words.get(index)?;
        }
        Some(index as u64 * WORD_BITS + u64::from(word.trailing_zeros()))
    }

    /// The first clear bit at or after `from`, at most `limit`.
    fn next_clear(&self, from: u64, limit: u64) -> u64 {
        let mut at = from;
        while at < limit {
            let shift = at % WORD_BITS;
            let ones = (self.words[(at / WORD_BITS) as usize] >> shift).trailing_ones();
            at += u64::from(ones);
            if u64::from(ones) < WORD_BITS - shift {
                break;
            }
        }
        at.min(limit)
    }
}

fn word_count(blocks: u64) -> usize {
    blocks.div_ceil(WORD_BITS) as usize
}

#[cfg(test)]
mod tests;
