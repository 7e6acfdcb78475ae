//! Rule G1: which way data flow when two nodes meet. One pure function over two statements.
//!
//! The table is DRBD 8.4's (drbd-facts 1.5) with its rule numbers and the lost-message rules 34-37,
//! 51 and 71, and two departures: (a) with equal identifiers a node that lost power yields to one
//! that did not, (b) a flag says that the bitmap also covers the youngest history entry, which
//! turns a full sync into a bitmap sync. Rule 120 is G8's: a replica restored from an older copy.

pub use crate::generation_steps::{begin_sync, retire_bitmap, rotate};

use crate::generation_restored::{judge_restored, knows};
use crate::ids::NodeIndex;
use crate::message::DataStatement;
use crate::settings::SplitBrainPolicies;
use crate::split_brain::{Solution, resolve};
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
    /// The one whose data count is Inconsistent: nothing can be copied from it, and nothing over
    /// it.
    NoGoodSource {
        /// What this node would be.
        end: End,
    },
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
    /// A split brain was found, and what came of it.
    pub split_brain: Option<Solution>,
    /// The target is Primary and is to be demoted before anything else (`call-pri-lost-after-sb`).
    pub demote_target: bool,
    /// This end's data are an older copy of what the peer knows of it (G8).
    pub restored: Option<End>,
    /// What of the disks overrides the direction.
    yields_to: YieldsTo,
}

/// Which difference of the disks overrides a direction that was only a tie-break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum YieldsTo {
    /// None.
    Nothing,
    /// Whole data against an Inconsistent disk.
    WholeDisk,
    /// That, and UpToDate against Outdated.
    BetterDisk,
}

impl Decision {
    /// This node's end, if something is copied.
    #[must_use]
    pub const fn end(&self) -> Option<End> {
        match self.verdict {
            Verdict::Sync { end, .. } => Some(end),
            Verdict::NoSync
            | Verdict::SplitBrain { .. }
            | Verdict::Unrelated
            | Verdict::NoGoodSource { .. } => None,
        }
    }

    /// The bits of both are copied in this direction, as the two have agreed; the tuple stays.
    pub(crate) const fn agreed(end: End, generations: Generations) -> Self {
        Self {
            verdict: Verdict::Sync { end, amount: Amount::Bitmap },
            rule: 0,
            corrected: generations,
            split_brain: None,
            demote_target: false,
            restored: None,
            yields_to: YieldsTo::Nothing,
        }
    }
}

/// What `mine` and `yours` lead to, seen from the first. Mirrored: the peer comes to the mirrored
/// outcome, as long as both have the same policies.
#[must_use]
pub fn decide(
    me: NodeIndex,
    policies: &SplitBrainPolicies,
    mine: &DataStatement,
    yours: &DataStatement,
) -> Decision {
    let mut decision = compare(me, mine, yours);
    judge_restored(&mut decision, mine, yours);
    resolve(&mut decision, me, policies, mine, yours);
    apply_roles_and_disks(&mut decision, mine, yours);
    decision
}

pub(crate) const fn identity(generation: u64) -> u64 {
    generation & !PRIMARY_BIT
}

pub(crate) fn is_blank(generation: u64) -> bool {
    let generation = identity(generation);
    generation == 0 || generation == metadata::generations::JUST_CREATED
}

pub(crate) const fn same(one: u64, other: u64) -> bool {
    same_generation(one, other)
}

/// Equal and a real identifier: two empty slots have nothing in common (drbd-facts 10.6).
pub(crate) fn matches(one: u64, other: u64) -> bool {
    same(one, other) && !is_blank(one)
}

pub(crate) fn sync(end: End, amount: Amount, rule: u16, mine: &DataStatement) -> Decision {
    Decision {
        verdict: Verdict::Sync { end, amount },
        rule,
        corrected: mine.generations,
        split_brain: None,
        demote_target: false,
        restored: None,
        yields_to: YieldsTo::Nothing,
    }
}

pub(crate) fn plain(verdict: Verdict, rule: u16, mine: &DataStatement) -> Decision {
    Decision {
        verdict,
        rule,
        corrected: mine.generations,
        split_brain: None,
        demote_target: false,
        restored: None,
        yields_to: if rule == 40 || rule == 10 { YieldsTo::BetterDisk } else { YieldsTo::Nothing },
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
            // A Primary that was the target and has finished has what was written since, too.
            (true, false) if finished(s, p) => {
                let end = if is_primary_alone(yours, mine) { End::Target } else { End::Source };
                sync(end, Amount::Bitmap, 34, mine)
            }
            (false, true) if finished(p, s) => {
                let end = if is_primary_alone(mine, yours) { End::Source } else { End::Target };
                sync(end, Amount::Bitmap, 35, mine)
            }
            (true, false) => sync(End::Source, Amount::Bitmap, 36, mine),
            (false, true) => sync(End::Target, Amount::Bitmap, 37, mine),
            (true, true) | (false, false) => plain(Verdict::NoSync, 40, mine),
        }
    };
    if finished(s, p) {
        // The target has finished and its confirmation was lost: what it would have caused, done
        // now.
        decision.corrected = retire_bitmap(*s);
    }
    // Equal generations: a better disk has the same data, and has them whole.
    decision.yields_to = match kept_power(mine, yours) {
        Some(_) => YieldsTo::WholeDisk,
        None => YieldsTo::BetterDisk,
    };
    decision
}

fn is_primary_alone(one: &DataStatement, other: &DataStatement) -> bool {
    one.role == Role::Primary && other.role == Role::Secondary
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
    let end =
        kept_power(mine, yours).unwrap_or(match (mine.crashed_primary, yours.crashed_primary) {
            (true, false) => End::Source,
            (false, true) => End::Target,
            (true, true) | (false, false) => match me {
                NodeIndex::First => End::Source,
                NodeIndex::Second => End::Target,
            },
        });
    sync(end, Amount::Bitmap, 40, mine)
}

/// Departure (a): of a crashed Primary that lost power and a node that did not, the second is
/// source. Only while nobody is Primary now.
fn kept_power(mine: &DataStatement, yours: &DataStatement) -> Option<End> {
    let lost = |one: &DataStatement| one.crashed_primary && one.lost_power;
    if mine.role == Role::Primary || yours.role == Role::Primary {
        None
    } else if lost(mine) && !yours.lost_power {
        Some(End::Target)
    } else if lost(yours) && !mine.lost_power {
        Some(End::Source)
    } else {
        None
    }
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
                decision.corrected = start_undone(s);
            }
            return decision;
        }
        // Each claims to contain the other. A target in the middle of a resync looks like this if
        // it had once been ahead; its disk tells.
        (Some((50, amount)), Some(_)) if is_target_now(mine, yours) => {
            return sync(End::Target, amount, 50, mine);
        }
        (Some(_), Some((50, amount))) if is_target_now(yours, mine) => {
            return sync(End::Source, amount, 70, mine);
        }
        (Some(_), Some(_)) => return plain(Verdict::SplitBrain { common_base: false }, 100, mine),
        (None, None) => {}
    }
    if matches(s.bitmap, p.bitmap) || has_started(p, s.bitmap) {
        return plain(Verdict::SplitBrain { common_base: true }, 90, mine);
    }
    if has_started(s, p.bitmap) {
        let mut decision = plain(Verdict::SplitBrain { common_base: true }, 90, mine);
        decision.corrected = start_undone(s);
        return decision;
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
    if knows(mine, yours) || knows(yours, mine) {
        // They were replicas of each other; what they had in common has left both histories.
        return plain(Verdict::SplitBrain { common_base: false }, 100, mine);
    }
    plain(Verdict::Unrelated, 110, mine)
}

fn is_target_now(one: &DataStatement, other: &DataStatement) -> bool {
    one.disk == DiskState::Inconsistent && other.disk > DiskState::Inconsistent
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

/// A resync from the base that the other one counts against was begun here, and its start never
/// arrived (rules 71 and 90).
pub(crate) fn has_started(one: &Generations, base: u64) -> bool {
    started_from(one.bitmap, base) && matches(one.history[0], base)
}

/// That start is taken back, to be made anew.
const fn start_undone(generations: &Generations) -> Generations {
    Generations {
        current: generations.current,
        bitmap: generations.history[0],
        history: [generations.history[1], 0],
    }
}

fn started_from(sync_generation: u64, base: u64) -> bool {
    !is_blank(base) && identity(sync_generation) == identity(base.wrapping_add(SYNC_OFFSET))
}

/// Disk states and roles override an arbitrary direction: a Primary beats a tie-break, a better
/// disk beats both. Any other direction stands; without whole data at its source nothing can be
/// done.
fn apply_roles_and_disks(decision: &mut Decision, mine: &DataStatement, yours: &DataStatement) {
    if mine.disk == DiskState::Diskless || yours.disk == DiskState::Diskless {
        *decision = plain(Verdict::NoSync, decision.rule, mine);
        return;
    }
    let i_am_whole = mine.disk > DiskState::Inconsistent;
    let you_are_whole = yours.disk > DiskState::Inconsistent;
    match decision.verdict {
        Verdict::SplitBrain { .. } | Verdict::Unrelated | Verdict::NoGoodSource { .. } => {}
        Verdict::NoSync | Verdict::Sync { .. } if !i_am_whole && !you_are_whole => {
            decision.verdict = Verdict::NoSync;
        }
        Verdict::NoSync => {
            if let Some(end) = end_by_disks_and_roles(mine, yours) {
                decision.verdict = Verdict::Sync { end, amount: Amount::Bitmap };
            }
        }
        Verdict::Sync { end, amount } => {
            let source_is_whole = match end {
                End::Source => i_am_whole,
                End::Target => you_are_whole,
            };
            let better = match decision.yields_to {
                YieldsTo::Nothing => None,
                YieldsTo::WholeDisk => whole_disk(mine, yours),
                YieldsTo::BetterDisk => better_disk(mine, yours),
            };
            if better == Some(end.other()) {
                decision.verdict = Verdict::Sync { end: end.other(), amount };
            } else if !source_is_whole {
                decision.verdict = Verdict::NoGoodSource { end };
            }
        }
    }
}

/// The end of a resync that this node is because one disk alone is whole.
fn whole_disk(mine: &DataStatement, yours: &DataStatement) -> Option<End> {
    end_of_the_better(mine.disk > DiskState::Inconsistent, yours.disk > DiskState::Inconsistent)
}

/// The same, or else because one disk alone is newer than Outdated. But what a lost cache held may
/// be on a disk that is Outdated by a detach or an `outdate` alone: with equal generations nobody
/// has answered anything since.
fn better_disk(mine: &DataStatement, yours: &DataStatement) -> Option<End> {
    let newest = |one: &DataStatement| one.disk > DiskState::Outdated;
    whole_disk(mine, yours).or_else(|| {
        let end = end_of_the_better(newest(mine), newest(yours))?;
        let (better, other) = match end {
            End::Source => (mine, yours),
            End::Target => (yours, mine),
        };
        Some(if better.lost_power && !other.lost_power { end.other() } else { end })
    })
}

const fn end_of_the_better(mine: bool, yours: bool) -> Option<End> {
    match (mine, yours) {
        (true, false) => Some(End::Source),
        (false, true) => Some(End::Target),
        (true, true) | (false, false) => None,
    }
}

/// D7: a bitmap that is not empty is never dropped because identifiers agree. From the better disk,
/// else from the Primary; both Secondary: nothing unasked. Without bits only an Inconsistent disk
/// needs a copy.
pub(crate) fn end_by_disks_and_roles(mine: &DataStatement, yours: &DataStatement) -> Option<End> {
    let differ = mine.out_of_sync_blocks + yours.out_of_sync_blocks > 0;
    let one_is_broken =
        (mine.disk == DiskState::Inconsistent) != (yours.disk == DiskState::Inconsistent);
    if !differ && !one_is_broken {
        return None;
    }
    better_disk(mine, yours).or(match (mine.role, yours.role) {
        (Role::Primary, Role::Secondary) => Some(End::Source),
        (Role::Secondary, Role::Primary) => Some(End::Target),
        (Role::Primary, Role::Primary) | (Role::Secondary, Role::Secondary) => None,
    })
}

#[cfg(test)]
#[path = "generation_tests.rs"]
mod tests;
