//! Rule G8 in the verdict: a replica that was restored from an older copy is replaced whole and
//! never copied from.

use crate::generation::{Amount, Decision, End, Verdict, is_blank, matches, plain, sync};
use crate::message::DataStatement;
use metadata::generations::Generations;

/// One has once seen the numbers of this very replica of the other (G8).
pub(crate) const fn knows(one: &DataStatement, other: &DataStatement) -> bool {
    one.peer_minimum.instance_id != 0 && one.peer_minimum.instance_id == other.instance_id
}

/// `other` shows less than it once confirmed to `one`: it was restored from an older copy (G8).
const fn is_older_copy(other: &DataStatement, one: &DataStatement) -> bool {
    knows(one, other)
        && (other.met.superblock < one.peer_minimum.superblock_sequence
            || other.met.log < one.peer_minimum.log_sequence)
}

/// G8: what was restored from an older copy is replaced whole and never copied from. If it has gone
/// on since then, that is for an operator to judge.
pub(crate) fn judge_restored(decision: &mut Decision, mine: &DataStatement, yours: &DataStatement) {
    if is_blank(mine.generations.current) || is_blank(yours.generations.current) {
        return;
    }
    let went_on = |restored: &DataStatement, other: &DataStatement| {
        let Generations { current, bitmap, history: [younger, older] } = other.generations;
        let had = [current, bitmap, younger, older];
        !had.iter().any(|had| matches(restored.generations.current, *had))
    };
    let (end, alone) = match (is_older_copy(mine, yours), is_older_copy(yours, mine)) {
        (false, false) => return,
        (true, true) => (None, true),
        (true, false) => (Some(End::Target), went_on(mine, yours)),
        (false, true) => (Some(End::Source), went_on(yours, mine)),
    };
    *decision = match end {
        Some(end) if !alone => sync(end, Amount::Full, 120, mine),
        Some(_) | None => plain(Verdict::SplitBrain { common_base: false }, 120, mine),
    };
    decision.restored = end;
}
