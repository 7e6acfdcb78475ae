//! The end of a resync that is not the arbiter: which of its bits fall with which pair of flushes
//! (D7).
//!
//! The arbiter runs the pairs and knows what each of them sealed (`flush`). This end seals what is
//! copied when the request of a pair reaches it, and clears that when the pair is done on both.

use super::{Node, Sync};
use crate::block_set::BlockSet;
use crate::state::Role;
use metadata::units::BlockRange;
use std::collections::VecDeque;

/// Copied, and not known to be flushed on both.
#[derive(Debug, Default)]
pub(super) struct Follow {
    written: BlockSet,
    /// Covered by a pair of flushes that is under way.
    sealed: VecDeque<(u64, BlockSet)>,
}

impl Follow {
    /// The target has this block; its bit falls with the next pair.
    pub(super) fn insert(&mut self, blocks: BlockRange) {
        self.written.insert(blocks);
    }

    pub(super) fn clearing_blocks(&self) -> u64 {
        self.written.count() + self.sealed.iter().map(|(_, blocks)| blocks.count()).sum::<u64>()
    }

    pub(super) fn cancel(&mut self, blocks: BlockRange) {
        self.written.remove(blocks);
        for (_, sealed) in &mut self.sealed {
            sealed.remove(blocks);
        }
    }

    /// The arbiter flushes both disks: what is copied by now is covered by that pair.
    pub(super) fn seal(&mut self, number: u64) {
        let written = std::mem::take(&mut self.written);
        if !written.is_empty() {
            self.sealed.push_back((number, written));
        }
    }

    /// The next set of blocks that pair `number` has made durable on both.
    fn take_durable(&mut self, number: u64) -> Option<BlockSet> {
        let (sealed, _) = self.sealed.front()?;
        if *sealed > number {
            return None;
        }
        self.sealed.pop_front().map(|(_, blocks)| blocks)
    }
}

impl Node {
    /// True when this end grants ranges and runs the pairs of flushes: the Primary; while both are
    /// Secondary the source (D6).
    pub(super) fn is_arbiter(&self) -> bool {
        match (self.role, self.peer.role()) {
            (Role::Primary, _) => true,
            (Role::Secondary, Some(Role::Primary)) => false,
            (Role::Secondary, Some(Role::Secondary) | None) => matches!(self.sync, Sync::Source(_)),
        }
    }

    /// Both have flushed: the bits of what was sealed fall (D7).
    pub(super) fn pair_done_received(&mut self, number: u64) {
        while let Some(blocks) = self.follow.take_durable(number) {
            if let Some(disk) = self.replica.writable() {
                for run in blocks.runs() {
                    disk.bitmap.clear(run);
                }
            }
        }
        self.persist_cleared_bits();
        self.sync_pump();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(first: u64) -> BlockRange {
        BlockRange { first, count: 1 }
    }

    #[test]
    fn what_is_copied_after_the_seal_waits_for_the_next_pair() {
        let mut follow = Follow::default();
        follow.insert(blocks(1));
        follow.seal(7);
        follow.insert(blocks(2));
        assert!(follow.take_durable(6).is_none());
        assert_eq!(follow.take_durable(7).map(|set| set.count()), Some(1));
        assert_eq!(follow.clearing_blocks(), 1);
        follow.cancel(blocks(2));
        assert_eq!(follow.clearing_blocks(), 0);
    }
}
