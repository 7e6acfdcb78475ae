//! Who may touch a range of the device now: overlapping writes and resync grants one after the
//! other (rule D6).
//!
//! Ranges that hold the lock never overlap each other. A newcomer waits behind everything that it
//! overlaps, holder or waiter, so the order is first come first served and nobody starves.

use metadata::units::ByteRange;
use std::collections::{BTreeMap, VecDeque};

/// Names a holder or waiter: whatever the caller wants back when its turn has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// A client's write, by its key.
    Write(u64),
    /// A range granted to the target of a resync, by the number of its request.
    Sync(u64),
    /// A piece that a verify reads on both nodes, by its number.
    Verify(u64),
}

/// The lock table of the arbiter.
#[derive(Debug, Default)]
pub(crate) struct Overlap {
    held: BTreeMap<u64, (u64, Claim)>,
    waiting: VecDeque<(ByteRange, Claim)>,
}

impl Overlap {
    /// True when the claim holds the range now; false when it waits and comes back from
    /// [`Self::release`].
    pub(crate) fn claim(&mut self, range: ByteRange, claim: Claim) -> bool {
        let free =
            !self.is_held(range) && !self.waiting.iter().any(|(ahead, _)| ahead.overlaps(range));
        if free {
            self.held.insert(range.start(), (range.end(), claim));
        } else {
            self.waiting.push_back((range, claim));
        }
        free
    }

    /// Gives the range back; `granted` gets every claim whose turn has come, in order.
    ///
    /// # Panics
    /// When the range is not held.
    pub(crate) fn release(&mut self, range: ByteRange, granted: &mut Vec<Claim>) {
        let held = self.held.remove(&range.start());
        assert!(
            held.is_some_and(|(end, _)| end == range.end()),
            "invariant: only a range that is held is released"
        );
        if self.waiting.is_empty() {
            return;
        }
        let mut still: VecDeque<(ByteRange, Claim)> = VecDeque::with_capacity(self.waiting.len());
        for (wanted, claim) in std::mem::take(&mut self.waiting) {
            if self.is_held(wanted) || still.iter().any(|(ahead, _)| ahead.overlaps(wanted)) {
                still.push_back((wanted, claim));
            } else {
                self.held.insert(wanted.start(), (wanted.end(), claim));
                granted.push(claim);
            }
        }
        self.waiting = still;
    }

    /// Removes a waiter that gave up; it must not hold the range. True when it was there.
    pub(crate) fn forget_waiting(&mut self, claim: Claim) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|(_, waiting)| *waiting != claim);
        self.waiting.len() != before
    }

    /// The same for the pieces of a verify.
    pub(crate) fn verify_claims(&self) -> Vec<(ByteRange, u64, bool)> {
        self.claims(|claim| match claim {
            Claim::Verify(number) => Some(number),
            Claim::Write(_) | Claim::Sync(_) => None,
        })
    }

    /// The ranges that resync requests hold or wait for: what the loss of the link releases.
    pub(crate) fn sync_claims(&self) -> Vec<(ByteRange, u64, bool)> {
        self.claims(|claim| match claim {
            Claim::Sync(number) => Some(number),
            Claim::Write(_) | Claim::Verify(_) => None,
        })
    }

    /// Range, number, and whether it is held, of the claims that have a number by `wanted`.
    fn claims(&self, wanted: impl Fn(Claim) -> Option<u64>) -> Vec<(ByteRange, u64, bool)> {
        let held = self.held.iter().filter_map(|(start, (end, claim))| {
            wanted(*claim).map(|number| (ByteRange::new(*start, end - start), number, true))
        });
        let waiting = self
            .waiting
            .iter()
            .filter_map(|(range, claim)| wanted(*claim).map(|number| (*range, number, false)));
        held.chain(waiting).collect()
    }

    /// True when a client's write waits for something that overlaps `range`.
    pub(crate) fn write_waits_for(&self, range: ByteRange) -> bool {
        self.waiting.iter().any(|(waiting, claim)| match claim {
            Claim::Write(_) => waiting.overlaps(range),
            Claim::Sync(_) | Claim::Verify(_) => false,
        })
    }

    fn is_held(&self, range: ByteRange) -> bool {
        // Held ranges are disjoint, so only the last one that begins before our end can reach into
        // us.
        self.held.range(..range.end()).next_back().is_some_and(|(_, (end, _))| *end > range.start())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, bytes: u64) -> ByteRange {
        ByteRange::new(start, bytes)
    }

    #[test]
    fn overlapping_claims_are_served_in_the_order_in_which_they_came() {
        let mut overlap = Overlap::default();
        let mut granted = Vec::new();
        assert!(overlap.claim(range(0, 8192), Claim::Write(1)));
        assert!(!overlap.claim(range(4096, 8192), Claim::Sync(2)));
        assert!(!overlap.claim(range(8192, 4096), Claim::Write(3)), "waits behind a waiter");
        assert!(overlap.claim(range(65536, 4096), Claim::Write(4)));
        assert!(overlap.write_waits_for(range(8192, 512)));
        overlap.release(range(0, 8192), &mut granted);
        assert_eq!(granted, vec![Claim::Sync(2)]);
        granted.clear();
        overlap.release(range(4096, 8192), &mut granted);
        assert_eq!(granted, vec![Claim::Write(3)]);
    }

    #[test]
    fn seeded_random_claims_never_hold_overlapping_ranges_and_all_get_their_turn() {
        for seed in 1..50_u64 {
            let mut state = seed;
            let mut random = move || {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                state >> 33
            };
            let mut overlap = Overlap::default();
            let mut ranges = Vec::new();
            let mut held: Vec<usize> = Vec::new();
            let mut granted = Vec::new();
            let mut served = 0;
            while served < 200 {
                if ranges.len() < 200 && random() % 2 == 0 {
                    let wanted = range(random() % 64, random() % 16 + 1);
                    let key = ranges.len();
                    ranges.push(wanted);
                    if overlap.claim(wanted, Claim::Write(key as u64)) {
                        held.push(key);
                    }
                } else if !held.is_empty() {
                    let key = held.swap_remove(random() as usize % held.len());
                    overlap.release(ranges[key], &mut granted);
                    served += 1;
                    for claim in granted.drain(..) {
                        match claim {
                            Claim::Write(key) => held.push(key as usize),
                            Claim::Sync(_) | Claim::Verify(_) => {
                                unreachable!("only writes claim here")
                            }
                        }
                    }
                }
                for (index, one) in held.iter().enumerate() {
                    for other in &held[index + 1..] {
                        assert!(!ranges[*one].overlaps(ranges[*other]), "seed {seed}");
                    }
                }
            }
        }
    }
}
