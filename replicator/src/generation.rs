//! Rule G1: which way data flow when two nodes meet. One pure function over two statements.
//!
//! The table is DRBD 8.4's (drbd-facts 1.5) with its rule numbers and the lost-message rules 34-37,
//! 51 and 71, and two departures: (a) with equal identifiers a node that lost power yields to one
//! that did not, (b) a flag says that the bitmap also covers the youngest history entry, which
//! turns a full sync into a bitmap sync.

use crate::ids::NodeIndex;
use crate::message::DataStatement;
use crate::state::{DiskState, Role};
use metadata::generations::{Generations, PRIMARY_BIT, same_generation};

/// Distance from a bitmap identifier to the identifier of a resync that began from it (drbd-facts
/// 1.1).
pub const SYNC_OFFSET: u64 = 0x0001_0000_0000_0000;

/// Which end of a resync this node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its data are copied.
    Source,
    /// Its data are overwritten.
    Target,
}

impl End {
    /// The peer's end.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Source => Self::Target,
            Self::Target => Self::Source,
        }
    }
}

/// How much is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// What the united bitmaps say.
    Bitmap,
    /// Everything.
    Full,
}

/// The outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is copied.
    NoSync,
    /// This node is that end of a resync.
    Sync {
        /// Which end.
        end: End,
        /// How much.
        amount: Amount,
    },
    /// Both went on alone. With a common base the union of both bitmaps tells all differences (rule
    /// 90).
    SplitBrain {
        /// Both bitmaps count against the same generation.
        common_base: bool,
    },
    /// The data have nothing in common.
    Unrelated,
}

/// The outcome with its reason, and this node's tuple as it must be corrected first (rules 34 and
/// 71).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// The outcome.
    pub verdict: Verdict,
    /// Number of the rule, for the log.
    pub rule: u16,
    /// Own tuple after a lost message was made up for; equal to the stated one otherwise.
    pub corrected: Generations,
    /// It was a split brain, resolved by an operator.
    pub split_brain: bool,
    /// The direction was a tie-break: a better disk overrides it.
    arbitrary: bool,
}

/// What `mine` and `yours` lead to, seen from the first. Mirrored: the peer comes to the mirrored
/// outcome.
#[must_use]
pub fn decide(me: NodeIndex, mine: &DataStatement, yours: &DataStatement) -> Decision {
    let mut decision = compare(me, mine, yours);
    resolve_split_brain(&mut decision, mine, yours);
    apply_roles_and_disks(&mut decision, mine, yours);
    decision
}

const fn identity(generation: u64) -> u64 {
    generation & !PRIMARY_BIT
}

fn is_blank(generation: u64) -> bool {
    let generation = identity(generation);
    generation == 0 || generation == metadata::generations::JUST_CREATED
}

const fn same(one: u64, other: u64) -> bool {
    same_generation(one, other)
}

/// Equal and a real identifier: two empty slots have nothing in common (drbd-facts 10.6).
fn matches(one: u64, other: u64) -> bool {
    same(one, other) && !is_blank(one)
}

fn sync(end: End, amount: Amount, rule: u16, mine: &DataStatement) -> Decision {
    Decision {
        verdict: Verdict::Sync { end, amount },
        rule,
        corrected: mine.generations,
        split_brain: false,
        arbitrary: false,
    }
}

fn plain(verdict: Verdict, rule: u16, mine: &DataStatement) -> Decision {
    Decision {
        verdict,
        rule,
        corrected: mine.generations,
        split_brain: false,
        arbitrary: rule == 40 || rule == 10,
    }
}

fn compare(me: NodeIndex, mine: &DataStatement, yours: &DataStatement) -> Decision {
    let (s, p) = (&mine.generations, &yours.generations);
    match (is_blank(s.current), is_blank(p.current)) {
        (true, true) => plain(Verdict::NoSync, 10, mine),
        (true, false) => sync(End::Target, Amount::Full, 20, mine),
        (false, true) => sync(End::Source, Amount::Full, 30, mine),
        (false, false) if same(s.current, p.current) => equal_currents(me, mine, yours),
        (false, false) => different_currents(mine, yours),
    }
}

fn equal_currents(me: NodeIndex, mine: &DataStatement, yours: &DataStatement) -> Decision {
    let (s, p) = (&mine.generations, &yours.generations);
    let finished = |source: &Generations, target: &Generations| {
        identity(source.bitmap) != 0
            && identity(target.bitmap) == 0
            && same(source.bitmap, target.history[0])
            && same(source.history[0], target.history[1])
    };
    let mut decision = if mine.crashed_primary || yours.crashed_primary {
        // Whoever was source of a resync may have lost its cache since: the marks decide, whatever
        // the bitmaps.
        crash_marks(me, mine, yours)
    } else {
        match (identity(s.bitmap) != 0, identity(p.bitmap) != 0) {
            (true, false) => {
                sync(End::Source, Amount::Bitmap, if finished(s, p) { 34 } else { 36 }, mine)
            }
            (false, true) => {
                sync(End::Target, Amount::Bitmap, if finished(p, s) { 35 } else { 37 }, mine)
            }
            (true, true) | (false, false) => plain(Verdict::NoSync, 40, mine),
        }
    };
    if finished(s, p) {
        // The target has finished and its confirmation was lost: what it would have caused, done
        // now.
        decision.corrected = retire_bitmap(*s);
    }
    decision
}

/// Rules 40 and 41 with departure (a).
fn crash_marks(me: NodeIndex, mine: &DataStatement, yours: &DataStatement) -> Decision {
    match (mine.role, yours.role) {
        (Role::Primary, Role::Secondary) => return sync(End::Source, Amount::Bitmap, 41, mine),
        (Role::Secondary, Role::Primary) => return sync(End::Target, Amount::Bitmap, 41, mine),
        (Role::Primary, Role::Primary) => {
            return plain(Verdict::SplitBrain { common_base: false }, 41, mine);
        }
        (Role::Secondary, Role::Secondary) => {}
    }
    let i_lost = mine.crashed_primary && mine.lost_power;
    let you_lost = yours.crashed_primary && yours.lost_power;
    let end = if i_lost && !yours.lost_power {
        End::Target
    } else if you_lost && !mine.lost_power {
        End::Source
    } else {
        match (mine.crashed_primary, yours.crashed_primary) {
            (true, false) => End::Source,
            (false, true) => End::Target,
            (true, true) | (false, false) => match me {
                NodeIndex::First => End::Source,
                NodeIndex::Second => End::Target,
            },
        }
    };
    let mut decision = sync(end, Amount::Bitmap, 40, mine);
    decision.arbitrary = true;
    decision
}

/// Rules 50-80: one lies behind the other. The same question is asked from both ends, so the
/// answers mirror.
fn different_currents(mine: &DataStatement, yours: &DataStatement) -> Decision {
    let (s, p) = (&mine.generations, &yours.generations);
    match (behind(mine, yours), behind(yours, mine)) {
        (Some((rule, amount)), None) => return sync(End::Target, amount, rule, mine),
        (None, Some((rule, amount))) => {
            // 70, 71 and 80 are 50, 51 and 60 seen from the other end.
            let mut decision = sync(End::Source, amount, rule + 20, mine);
            if rule == 51 {
                // The start of a resync never arrived: taken back, to be begun anew.
                decision.corrected.bitmap = s.history[0];
                decision.corrected.history = [s.history[1], 0];
            }
            return decision;
        }
        // Each claims to contain the other: no history of ours looks like this.
        (Some(_), Some(_)) => return plain(Verdict::SplitBrain { common_base: false }, 100, mine),
        (None, None) => {}
    }
    if matches(s.bitmap, p.bitmap) {
        return plain(Verdict::SplitBrain { common_base: true }, 90, mine);
    }
    let in_history =
        |entry: u64, history: &[u64; 2]| history.iter().any(|other| matches(entry, *other));
    let related = s.history.iter().any(|entry| in_history(*entry, &p.history))
        || in_history(s.bitmap, &p.history)
        || in_history(p.bitmap, &s.history);
    if related {
        let covers =
            |flag: bool, side: &Generations, other: u64| flag && matches(side.history[0], other);
        let common_base = covers(mine.bitmap_covers_history, s, p.bitmap)
            || covers(yours.bitmap_covers_history, p, s.bitmap)
            || (mine.bitmap_covers_history
                && yours.bitmap_covers_history
                && matches(s.history[0], p.history[0]));
        return plain(Verdict::SplitBrain { common_base }, 100, mine);
    }
    plain(Verdict::Unrelated, 110, mine)
}

/// Is what `behind` has an ancestor of what `ahead` has, and how much must be copied then? With the
/// rule's number as the node behind sees it.
fn behind(behind: &DataStatement, ahead: &DataStatement) -> Option<(u16, Amount)> {
    let current = behind.generations.current;
    let newer = &ahead.generations;
    if matches(current, newer.bitmap) {
        return Some((50, Amount::Bitmap));
    }
    if matches(current, newer.history[0]) {
        if started_from(newer.bitmap, newer.history[0]) {
            return Some((51, Amount::Bitmap));
        }
        return Some((60, if ahead.bitmap_covers_history { Amount::Bitmap } else { Amount::Full }));
    }
    matches(current, newer.history[1]).then_some((60, Amount::Full))
}

fn started_from(sync_generation: u64, base: u64) -> bool {
    !is_blank(base) && identity(sync_generation) == identity(base.wrapping_add(SYNC_OFFSET))
}

/// G3: exactly one side gives its changes up. The union of the bitmaps is copied where both count
/// against one base, everything otherwise.
fn resolve_split_brain(decision: &mut Decision, mine: &DataStatement, yours: &DataStatement) {
    let Verdict::SplitBrain { common_base } = decision.verdict else { return };
    let amount = if common_base { Amount::Bitmap } else { Amount::Full };
    let end = match (mine.discard_my_data, yours.discard_my_data) {
        (true, false) => End::Target,
        (false, true) => End::Source,
        (true, true) | (false, false) => return,
    };
    decision.verdict = Verdict::Sync { end, amount };
    decision.split_brain = true;
}

/// Roles and disk states override an arbitrary direction: a Primary beats a tie-break, a better
/// disk beats both.
fn apply_roles_and_disks(decision: &mut Decision, mine: &DataStatement, yours: &DataStatement) {
    if mine.disk == DiskState::Diskless || yours.disk == DiskState::Diskless {
        *decision = plain(Verdict::NoSync, decision.rule, mine);
        return;
    }
    let i_am_whole = mine.disk > DiskState::Inconsistent;
    let you_are_whole = yours.disk > DiskState::Inconsistent;
    match decision.verdict {
        Verdict::SplitBrain { .. } | Verdict::Unrelated => {}
        Verdict::NoSync | Verdict::Sync { .. } if !i_am_whole && !you_are_whole => {
            decision.verdict = Verdict::NoSync;
        }
        Verdict::NoSync => {
            let differ = mine.out_of_sync_blocks + yours.out_of_sync_blocks > 0;
            let end = match (i_am_whole, you_are_whole) {
                (true, false) => Some(End::Source),
                (false, true) => Some(End::Target),
                // D7: a bitmap that is not empty is never dropped because identifiers agree.
                _ if differ => match (mine.role, yours.role) {
                    (Role::Primary, Role::Secondary) => Some(End::Source),
                    (Role::Secondary, Role::Primary) => Some(End::Target),
                    (Role::Primary, Role::Primary) | (Role::Secondary, Role::Secondary) => None,
                },
                _ => None,
            };
            if let Some(end) = end {
                decision.verdict = Verdict::Sync { end, amount: Amount::Bitmap };
            }
        }
        Verdict::Sync { end, amount } => {
            let source_is_whole = match end {
                End::Source => i_am_whole,
                End::Target => you_are_whole,
            };
            if !source_is_whole && decision.arbitrary {
                decision.verdict = Verdict::Sync { end: end.other(), amount };
            }
        }
    }
}

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

#[cfg(test)]
#[path = "generation_tests.rs"]
mod tests;
