//! A sparse set of 4 KiB blocks: what is written and not yet flushed (D4), what may be cleared
//! after a flush (D7).

use metadata::units::{BlockRange, EXTENT_BLOCKS};
use std::collections::BTreeMap;

const WORDS: usize = EXTENT_BLOCKS.div_ceil(64) as usize;

/// 128 bytes per 4 MiB extent that has a block in it; no allocation for a further block of the same
/// extent.
#[derive(Debug, Clone, Default)]
pub(crate) struct BlockSet {
    extents: BTreeMap<u64, Box<[u64; WORDS]>>,
    count: u64,
}

impl BlockSet {
    /// Number of blocks.
    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn insert(&mut self, range: BlockRange) {
        for block in range.first..range.end() {
            let (extent, word, mask) = Self::place(block);
            let words = self.extents.entry(extent).or_insert_with(|| Box::new([0; WORDS]));
            if words[word] & mask == 0 {
                words[word] |= mask;
                self.count += 1;
            }
        }
    }

    pub(crate) fn remove(&mut self, range: BlockRange) {
        if self.count == 0 {
            return;
        }
        for block in range.first..range.end() {
            let (extent, word, mask) = Self::place(block);
            if let Some(words) = self.extents.get_mut(&extent)
                && words[word] & mask != 0
            {
                words[word] &= !mask;
                self.count -= 1;
            }
        }
    }

    /// True when a block of this 4 MiB extent is in the set.
    pub(crate) fn has_extent(&self, extent: u64) -> bool {
        self.extents.get(&extent).is_some_and(|words| words.iter().any(|word| *word != 0))
    }

    /// Extents that have, or had, a block in the set.
    pub(crate) fn extents(&self) -> usize {
        self.extents.len()
    }

    /// Runs of adjacent blocks within an extent, in order.
    pub(crate) fn runs(&self) -> impl Iterator<Item = BlockRange> + '_ {
        self.extents.iter().flat_map(|(extent, words)| {
            let mut runs: Vec<BlockRange> = Vec::new();
            for (index, word) in words.iter().enumerate() {
                let mut rest = *word;
                while rest != 0 {
                    let bit = u64::from(rest.trailing_zeros());
                    let block = extent * EXTENT_BLOCKS + index as u64 * 64 + bit;
                    match runs.last_mut() {
                        Some(run) if run.end() == block => run.count += 1,
                        Some(_) | None => runs.push(BlockRange { first: block, count: 1 }),
                    }
                    rest &= rest - 1;
                }
            }
            runs
        })
    }

    const fn place(block: u64) -> (u64, usize, u64) {
        let within = block % EXTENT_BLOCKS;
        (block / EXTENT_BLOCKS, (within / 64) as usize, 1 << (within % 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_that_were_removed_are_not_in_the_runs() {
        let mut set = BlockSet::default();
        set.insert(BlockRange { first: 1020, count: 8 });
        set.insert(BlockRange { first: 1021, count: 1 });
        assert_eq!(set.count(), 8);
        set.remove(BlockRange { first: 1022, count: 1 });
        let runs: Vec<_> = set.runs().collect();
        assert_eq!(
            runs,
            vec![
                BlockRange { first: 1020, count: 2 },
                BlockRange { first: 1023, count: 1 },
                BlockRange { first: 1024, count: 4 }
            ]
        );
    }
}
