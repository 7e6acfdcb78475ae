//! How a tuple of generations goes on: a new generation (G2), the start and the end of a resync
//! (D9).

use crate::generation::{SYNC_OFFSET, identity, is_blank, matches, same};
use metadata::generations::{Generations, PRIMARY_BIT};

/// The end of a resync on the source: the bitmap identifier becomes history (drbd-facts 1.3, rule
/// D9).
#[must_use]
pub fn retire_bitmap(generations: Generations) -> Generations {
    let mut retired = generations;
    if identity(retired.bitmap) != 0 {
        retired.history = pushed(&generations, generations.bitmap);
        retired.bitmap = 0;
    }
    retired
}

/// A new generation (G2). With the bitmap identifier zero the old current becomes it; else the old
/// current goes to history and the second value is true: the bitmap now also covers that entry.
#[must_use]
pub fn rotate(generations: Generations, new_current: u64) -> (Generations, bool) {
    let mut next = generations;
    next.current = new_current | (generations.current & PRIMARY_BIT);
    if is_blank(generations.current) {
        return (next, false);
    }
    if identity(generations.bitmap) == 0 {
        next.bitmap = generations.current;
        (next, false)
    } else {
        next.history = pushed(&generations, generations.current);
        (next, true)
    }
}

/// The source's tuple at the start of a resync: the bitmap identifier becomes the identifier of
/// this resync. What the peer has now must stay recognisable until it has taken the new one: its
/// current is the bitmap identifier, which becomes the youngest history entry (rule 71), or it is
/// in the history already and must stay where it is.
#[must_use]
pub fn begin_sync(generations: Generations, peer_current: u64, drawn: u64) -> Generations {
    let mut begun = generations;
    let in_history = generations.history.iter().any(|entry| matches(peer_current, *entry));
    if is_blank(generations.bitmap) || in_history {
        begun.bitmap = drawn;
    } else {
        begun.history = pushed(&generations, generations.bitmap);
        begun.bitmap = identity(generations.bitmap.wrapping_add(SYNC_OFFSET));
    }
    begun
}

fn pushed(generations: &Generations, entry: u64) -> [u64; 2] {
    if is_blank(entry) || same(entry, generations.history[0]) {
        return generations.history;
    }
    [entry, generations.history[0]]
}
