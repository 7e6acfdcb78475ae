//! The activity log in memory: which extents are hot, which slot each one has, and what the next
//! transaction changes (rules D1 and D5).

use std::collections::{BTreeMap, BTreeSet};

use crate::activity_log::{SlotUpdate, Transaction, UPDATES_MAX};
use crate::layout::LogGeometry;

/// One slot that has an extent.
#[derive(Debug, Clone, Copy)]
struct Hot {
    slot: u16,
    /// Writes in flight in it.
    users: u32,
    /// When it was last given back, on the caller's clock.
    used: u64,
    /// Its transaction is not durable: no write may begin in it.
    cold: bool,
}

/// The hot extents. Invariant: an extent has at most one slot, a slot at most one extent.
///
/// A caller that wants to write takes all extents of the write at once: with [`HotExtents::touch`]
/// if they are hot already, else with [`HotExtents::reserve`], and then waits until
/// [`HotExtents::is_hot`]. It gives them back with [`HotExtents::release`]. One transaction is
/// under way at a time; what is reserved meanwhile goes together into the next one.
#[derive(Debug)]
pub struct HotExtents {
    log: LogGeometry,
    /// What each slot holds after the transactions made so far and the changes of the next one.
    contents: Vec<Option<u32>>,
    extents: BTreeMap<u32, Hot>,
    free: Vec<u16>,
    /// Extents without users, the one given back first in front.
    idle: BTreeSet<(u64, u32)>,
    /// Slots that the next transaction changes.
    changed: BTreeSet<u16>,
    /// Extents that leave with the next transaction.
    leaving: Vec<u32>,
    /// Extents of the transaction under way.
    under_way: Option<Vec<u32>>,
    next_sequence: u64,
}

impl HotExtents {
    /// An empty log whose next transaction is `next_sequence`.
    #[must_use]
    pub fn new(log: LogGeometry, next_sequence: u64) -> Self {
        Self {
            log,
            contents: vec![None; usize::from(log.slots())],
            extents: BTreeMap::new(),
            free: (0..log.slots()).rev().collect(),
            idle: BTreeSet::new(),
            changed: BTreeSet::new(),
            leaving: Vec::new(),
            under_way: None,
            next_sequence,
        }
    }

    /// Takes the extents `first..=last` if every one is hot on stable storage: no metadata I/O is
    /// needed.
    #[must_use]
    pub fn touch(&mut self, first: u32, last: u32) -> bool {
        let hot = self.is_hot(first, last);
        if hot {
            self.take(first, last);
        }
        hot
    }

    /// True when a write in `first..=last` is covered by the log on stable storage.
    #[must_use]
    pub fn is_hot(&self, first: u32, last: u32) -> bool {
        (first..=last).all(|extent| self.extents.get(&extent).is_some_and(|hot| !hot.cold))
    }

    /// Takes the extents `first..=last` all at once, giving slots to those that have none: free
    /// ones, else those of idle extents that `may_leave` lets go, the longest idle first (rule D5).
    /// False, and nothing is taken, when there are not enough, or the next transaction is full.
    #[must_use]
    pub fn reserve(&mut self, first: u32, last: u32, may_leave: impl Fn(u32) -> bool) -> bool {
        let missing: Vec<u32> =
            (first..=last).filter(|extent| !self.extents.contains_key(extent)).collect();
        if missing.len() + self.changed.len() > UPDATES_MAX {
            return false;
        }
        let needed = missing.len().saturating_sub(self.free.len());
        let leaving: Vec<u32> = self
            .idle
            .iter()
            .map(|(_, extent)| *extent)
            .filter(|extent| !(first..=last).contains(extent) && may_leave(*extent))
            .take(needed)
            .collect();
        if leaving.len() < needed {
            return false;
        }
        for extent in leaving {
            self.leave(extent);
        }
        for extent in missing {
            let slot = self.free.pop().expect("invariant: enough slots were made free");
            self.contents[usize::from(slot)] = Some(extent);
            self.changed.insert(slot);
            self.extents.insert(extent, Hot { slot, users: 0, used: 0, cold: true });
        }
        self.take(first, last);
        true
    }

    /// Lets idle extents go that were last used before `before`, as far as the next transaction has
    /// room: they leave with a transaction that is written anyway, so that a crash marks little
    /// (rule D5).
    pub fn retire(&mut self, before: u64, may_leave: impl Fn(u32) -> bool) {
        let room = UPDATES_MAX - self.changed.len();
        let old: Vec<u32> = self
            .idle
            .range(..(before, 0))
            .map(|(_, extent)| *extent)
            .filter(|extent| may_leave(*extent))
            .take(room)
            .collect();
        for extent in old {
            self.leave(extent);
        }
    }

    /// Gives the extents of a write back, at `now` on the caller's clock.
    ///
    /// # Panics
    /// When they were not taken.
    pub fn release(&mut self, first: u32, last: u32, now: u64) {
        for extent in first..=last {
            let hot = self.extents.get_mut(&extent).expect("invariant: a taken extent has a slot");
            hot.users = hot.users.checked_sub(1).expect("invariant: it is given back once");
            if hot.users == 0 {
                hot.used = now;
                self.idle.insert((now, extent));
            }
        }
    }

    /// True when something waits for a transaction and none is under way.
    #[must_use]
    pub fn wants_transaction(&self) -> bool {
        self.under_way.is_none() && !self.changed.is_empty()
    }

    /// The next transaction, with everything that waits, and the extents that leave with it: their
    /// bits must be durable before the transaction is (rule D5). When it is durable,
    /// [`HotExtents::transaction_durable`] is called.
    ///
    /// # Panics
    /// When one is under way.
    pub fn begin_transaction(&mut self) -> (Transaction, Vec<u32>) {
        assert!(self.under_way.is_none(), "invariant: one transaction at a time");
        let updates: Vec<SlotUpdate> = std::mem::take(&mut self.changed)
            .into_iter()
            .map(|slot| SlotUpdate { slot, extent: self.contents[usize::from(slot)] })
            .collect();
        self.under_way = Some(updates.iter().filter_map(|update| update.extent).collect());
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let transaction = Transaction::new(sequence, updates, &self.contents, self.log);
        (transaction, std::mem::take(&mut self.leaving))
    }

    /// The transaction under way is on stable storage.
    pub fn transaction_durable(&mut self) {
        for extent in self.under_way.take().unwrap_or_default() {
            if let Some(hot) = self.extents.get_mut(&extent) {
                hot.cold = false;
            }
        }
    }

    /// Number of extents that have a slot.
    #[must_use]
    pub fn len(&self) -> usize {
        self.extents.len()
    }

    /// True when no extent has a slot.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.extents.is_empty()
    }

    /// Number of slots.
    #[must_use]
    pub const fn slots(&self) -> u16 {
        self.log.slots()
    }

    /// Number of the next transaction; never restarts.
    #[must_use]
    pub const fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    fn take(&mut self, first: u32, last: u32) {
        for extent in first..=last {
            let hot = self.extents.get_mut(&extent).expect("invariant: it has a slot");
            if hot.users == 0 {
                self.idle.remove(&(hot.used, extent));
            }
            hot.users += 1;
        }
    }

    fn leave(&mut self, extent: u32) {
        let hot = self.extents.remove(&extent).expect("invariant: an idle extent has a slot");
        assert_eq!(hot.users, 0, "invariant: an extent with a write in flight stays");
        self.idle.remove(&(hot.used, extent));
        self.contents[usize::from(hot.slot)] = None;
        self.changed.insert(hot.slot);
        self.leaving.push(extent);
        self.free.push(hot.slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(slots: u16) -> HotExtents {
        HotExtents::new(LogGeometry::new(slots).expect("within the limits"), 100)
    }

    fn commit(hot: &mut HotExtents) -> Vec<SlotUpdate> {
        let (transaction, _) = hot.begin_transaction();
        hot.transaction_durable();
        transaction.updates().to_vec()
    }

    #[test]
    fn an_extent_is_hot_only_when_its_transaction_is_durable() {
        let mut hot = log(7);
        assert!(!hot.touch(3, 4));
        assert!(hot.reserve(3, 4, |_| true));
        assert!(!hot.is_hot(3, 4));
        let (transaction, _) = hot.begin_transaction();
        assert_eq!((transaction.sequence(), transaction.updates().len()), (100, 2));
        assert!(!hot.is_hot(3, 4));
        hot.transaction_durable();
        assert!(hot.is_hot(3, 4) && hot.touch(4, 4) && !hot.wants_transaction());
    }

    #[test]
    fn what_is_reserved_during_a_transaction_goes_into_the_next_one_together() {
        let mut hot = log(7);
        assert!(hot.reserve(1, 1, |_| true));
        hot.begin_transaction();
        assert!(hot.reserve(2, 2, |_| true) && hot.reserve(5, 5, |_| true));
        assert!(!hot.wants_transaction(), "one at a time");
        hot.transaction_durable();
        assert!(hot.is_hot(1, 1) && !hot.is_hot(2, 2) && hot.wants_transaction());
        assert_eq!(commit(&mut hot).len(), 2);
    }

    #[test]
    fn extents_in_use_or_not_allowed_to_leave_stay() {
        let mut hot = log(7);
        assert!(hot.reserve(0, 6, |_| true));
        commit(&mut hot);
        assert!(!hot.reserve(10, 10, |_| true), "all in use");
        hot.release(0, 6, 5);
        assert!(!hot.reserve(10, 10, |_| false), "none may leave");
        assert!(hot.reserve(10, 10, |extent| extent == 4));
        assert!(!hot.is_hot(4, 4) && hot.is_hot(0, 3));
    }

    #[test]
    fn a_request_takes_all_its_slots_or_none() {
        let mut hot = log(7);
        assert!(hot.reserve(0, 4, |_| true));
        assert!(!hot.reserve(10, 12, |_| true), "two are free, three are wanted");
        assert_eq!(hot.len(), 5);
        assert!(hot.reserve(10, 11, |_| true));
    }

    #[test]
    fn the_longest_idle_extent_leaves_first_and_old_ones_leave_with_the_next_transaction() {
        let mut hot = log(7);
        assert!(hot.reserve(0, 6, |_| true));
        commit(&mut hot);
        for extent in [3, 1, 0, 2, 4, 5, 6] {
            hot.release(extent, extent, u64::from(10 + extent));
        }
        assert!(hot.reserve(20, 20, |_| true));
        assert!(!hot.is_hot(0, 0) && hot.is_hot(1, 1));
        hot.retire(13, |_| true);
        assert_eq!(hot.leaving, [0, 1, 2], "their bits must be durable first");
        let updates = commit(&mut hot);
        assert_eq!(updates.len(), 3, "20 took the slot of 0; 1 and 2 left: {updates:?}");
        assert!(hot.is_hot(3, 6) && hot.len() == 5);
    }

    #[test]
    fn seeded_random_use_replays_as_what_is_hot() {
        use crate::activity_log::{Replay, format, replay};
        use crate::page::PageIdentity;
        let identity =
            PageIdentity { resource_tag: 1, instance_id: 2, node_id: 0, attach_number: 3 };
        for seed in 1..20_u64 {
            let geometry = LogGeometry::new(67).expect("within the limits");
            let mut ring = vec![0; usize::from(geometry.ring_pages()) * 4096];
            let store = |ring: &mut Vec<u8>, sequence: u64, page: &[u8]| {
                let at = geometry.ring_index(sequence) as usize * 4096;
                ring[at..at + 4096].copy_from_slice(page);
            };
            for (sequence, page) in format(0, &identity, geometry) {
                store(&mut ring, sequence, &page[..]);
            }
            let mut hot = HotExtents::new(geometry, u64::from(geometry.ring_pages()));
            let mut state = seed;
            for now in 0..500 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let first = (state >> 40) as u32 % 300;
                let last = first + (state >> 33) as u32 % 3;
                if !hot.touch(first, last) {
                    assert!(hot.reserve(first, last, |_| true), "seed {seed}");
                    let (transaction, _) = hot.begin_transaction();
                    store(
                        &mut ring,
                        transaction.sequence(),
                        &transaction.encode(geometry, &identity)[..],
                    );
                    hot.transaction_durable();
                }
                assert!(hot.is_hot(first, last), "seed {seed}");
                hot.release(first, last, now);
            }
            match replay(&ring, &identity, geometry) {
                Replay::Hot { extents, next_sequence } => {
                    let expected: BTreeSet<u32> = hot.extents.keys().copied().collect();
                    assert_eq!(
                        (extents, next_sequence),
                        (expected, hot.next_sequence()),
                        "seed {seed}"
                    );
                }
                Replay::AllOutOfSync { reason, .. } => panic!("seed {seed}: {reason:?}"),
            }
        }
    }
}
