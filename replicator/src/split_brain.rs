//! Rule G3: who yields in a split brain, by an operator's word or by the policies of drbd-facts
//! 1.8, and what the policies are called. Pure: both nodes come to the mirrored result.

use crate::generation::{Amount, Decision, End, Verdict, has_started, matches};
use crate::ids::NodeIndex;
use crate::message::DataStatement;
use crate::settings::{AfterSb0Pri, AfterSb1Pri, AfterSb2Pri, RrConflict, SplitBrainPolicies};
use crate::state::Role;
use metadata::generations::PRIMARY_BIT;

/// What came of a split brain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Solution {
    /// Nothing: an operator must choose.
    Unresolved,
    /// One side was told to give its changes up.
    Manually,
    /// By a policy.
    Automatically {
        /// How many were Primary at that moment.
        primaries: u8,
        /// Both, or neither, were Primary at the split: the number of changes decided.
        by_changes: bool,
    },
}

/// A side by policy, seen from this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Chosen {
    end: End,
    by_changes: bool,
}

const fn chosen(end: End) -> Option<Chosen> {
    Some(Chosen { end, by_changes: false })
}

/// Turns a split brain into a resync where somebody, or a policy, says who yields. An operator's
/// word is stronger than a policy. The union of the bitmaps is copied where both count against one
/// base, everything otherwise.
pub(crate) fn resolve(
    decision: &mut Decision,
    me: NodeIndex,
    policies: &SplitBrainPolicies,
    mine: &DataStatement,
    yours: &DataStatement,
) {
    let Verdict::SplitBrain { common_base } = decision.verdict else { return };
    let amount = if common_base { Amount::Bitmap } else { Amount::Full };
    let sync = |end: End| Verdict::Sync { end, amount };
    decision.split_brain = Some(Solution::Unresolved);
    match (mine.discard_my_data, yours.discard_my_data) {
        (true, false) => {
            decision.verdict = sync(End::Target);
            decision.split_brain = Some(Solution::Manually);
        }
        (false, true) => {
            decision.verdict = sync(End::Source);
            decision.split_brain = Some(Solution::Manually);
        }
        (true, true) => {}
        (false, false) => {
            // Without a common base the policies hold only where `always-asbp` says so.
            if !common_base && !policies.always {
                return;
            }
            let Some(by_policy) = by_policy(me, policies, mine, yours) else { return };
            let primaries = primaries(mine, yours);
            decision.verdict = sync(by_policy.end);
            decision.split_brain =
                Some(Solution::Automatically { primaries, by_changes: by_policy.by_changes });
            decision.demote_target = demotes(policies, primaries)
                && match by_policy.end {
                    End::Target => mine.role == Role::Primary,
                    End::Source => yours.role == Role::Primary,
                };
        }
    }
}

fn primaries(mine: &DataStatement, yours: &DataStatement) -> u8 {
    [mine, yours].iter().map(|side| u8::from(side.role == Role::Primary)).sum()
}

/// A Primary that shall yield is demoted first.
fn demotes(policies: &SplitBrainPolicies, primaries: u8) -> bool {
    match primaries {
        0 => false,
        1 => policies.one_primary == AfterSb1Pri::CallPriLostAfterSb,
        _ => policies.two_primaries == AfterSb2Pri::CallPriLostAfterSb,
    }
}

fn by_policy(
    me: NodeIndex,
    policies: &SplitBrainPolicies,
    mine: &DataStatement,
    yours: &DataStatement,
) -> Option<Chosen> {
    let as_without_primary = || without_primary(me, policies.zero_primaries, mine, yours);
    let i_am_primary = mine.role == Role::Primary;
    match primaries(mine, yours) {
        0 => as_without_primary(),
        1 => match policies.one_primary {
            AfterSb1Pri::Disconnect => None,
            AfterSb1Pri::Consensus => {
                let keeps = if i_am_primary { End::Source } else { End::Target };
                as_without_primary().filter(|chosen| chosen.end == keeps)
            }
            AfterSb1Pri::ViolentlyAs0p | AfterSb1Pri::CallPriLostAfterSb => as_without_primary(),
            AfterSb1Pri::DiscardSecondary => {
                chosen(if i_am_primary { End::Source } else { End::Target })
            }
        },
        _ => match policies.two_primaries {
            AfterSb2Pri::Disconnect => None,
            AfterSb2Pri::ViolentlyAs0p | AfterSb2Pri::CallPriLostAfterSb => as_without_primary(),
        },
    }
}

/// `after-sb-0pri`.
fn without_primary(
    me: NodeIndex,
    policy: AfterSb0Pri,
    mine: &DataStatement,
    yours: &DataStatement,
) -> Option<Chosen> {
    // The generation at the split, as the bitmap counts against it: was it written as Primary?
    let (s, p) = (&mine.generations, &yours.generations);
    let was_primary = |one: &DataStatement, other: &DataStatement| {
        let (tuple, others) = (&one.generations, &other.generations);
        // Where the bitmap covers the youngest history entry, too, that may be the one.
        let covered = one.bitmap_covers_history
            && (matches(tuple.history[0], others.bitmap)
                || (other.bitmap_covers_history && matches(tuple.history[0], others.history[0])));
        let in_history = covered || has_started(tuple, others.bitmap);
        let split = if in_history { tuple.history[0] } else { tuple.bitmap };
        split & PRIMARY_BIT != 0
    };
    let were_primary = (was_primary(mine, yours), was_primary(yours, mine));
    let said = (mine.out_of_sync_blocks, yours.out_of_sync_blocks);
    // Two that have united their bitmaps count the same, and what they said before stands: the
    // source that has begun had more. Otherwise the numbers still tell it, even if a source has
    // begun: it counts its own changes and those of the other, which has changed things since then
    // if it counts more.
    let changes = match (has_started(s, p.bitmap), has_started(p, s.bitmap)) {
        (true, false) if said.0 == said.1 => (1, 0),
        (false, true) if said.0 == said.1 => (0, 1),
        (true | false, true | false) => said,
    };
    // DRBD's order when neither, or both, were Primary: who changed nothing, then who changed less.
    let undecided = || by_changes(me, changes).map(|end| Chosen { end, by_changes: true });
    match policy {
        AfterSb0Pri::Disconnect => None,
        AfterSb0Pri::DiscardYoungerPrimary => match were_primary {
            (true, false) => chosen(End::Source),
            (false, true) => chosen(End::Target),
            (true, true) | (false, false) => undecided(),
        },
        AfterSb0Pri::DiscardOlderPrimary => match were_primary {
            (true, false) => chosen(End::Target),
            (false, true) => chosen(End::Source),
            (true, true) | (false, false) => undecided(),
        },
        // Not by what was said before: the other may have changed as much since then.
        AfterSb0Pri::DiscardZeroChanges => match said {
            (0, 0) => chosen(tie(me)),
            (0, _) => chosen(End::Target),
            (_, 0) => chosen(End::Source),
            (_, _) => None,
        },
        AfterSb0Pri::DiscardLeastChanges => by_changes(me, changes).and_then(chosen),
        AfterSb0Pri::DiscardNode(victim) if victim == me => chosen(End::Target),
        AfterSb0Pri::DiscardNode(_) => chosen(End::Source),
    }
}

fn by_changes(me: NodeIndex, (mine, yours): (u64, u64)) -> Option<End> {
    Some(match mine.cmp(&yours) {
        std::cmp::Ordering::Less => End::Target,
        std::cmp::Ordering::Greater => End::Source,
        std::cmp::Ordering::Equal => tie(me),
    })
}

/// The first node in configured order keeps its data, never "who accepted".
const fn tie(me: NodeIndex) -> End {
    match me {
        NodeIndex::First => End::Source,
        NodeIndex::Second => End::Target,
    }
}

/// The first policy that is not the same on both nodes: its name, and both values in words.
/// `names` are the nodes' in configured order.
#[must_use]
pub fn first_difference(
    mine: &SplitBrainPolicies,
    theirs: &SplitBrainPolicies,
    names: &[String; 2],
) -> Option<(&'static str, String, String)> {
    let zero = |policies: &SplitBrainPolicies| zero_primaries_name(policies.zero_primaries, names);
    let one = |policies: &SplitBrainPolicies| one_primary_name(policies.one_primary).to_owned();
    let two = |policies: &SplitBrainPolicies| two_primaries_name(policies.two_primaries).to_owned();
    let always =
        |policies: &SplitBrainPolicies| if policies.always { "yes" } else { "no" }.to_owned();
    let conflict =
        |policies: &SplitBrainPolicies| rr_conflict_name(policies.rr_conflict).to_owned();
    let rows = [
        ("after-sb-0pri", zero(mine), zero(theirs)),
        ("after-sb-1pri", one(mine), one(theirs)),
        ("after-sb-2pri", two(mine), two(theirs)),
        ("always-asbp", always(mine), always(theirs)),
        ("rr-conflict", conflict(mine), conflict(theirs)),
    ];
    rows.into_iter().find(|(_, mine, theirs)| mine != theirs)
}

fn zero_primaries_name(policy: AfterSb0Pri, names: &[String; 2]) -> String {
    match policy {
        AfterSb0Pri::Disconnect => "disconnect".into(),
        AfterSb0Pri::DiscardYoungerPrimary => "discard-younger-primary".into(),
        AfterSb0Pri::DiscardOlderPrimary => "discard-older-primary".into(),
        AfterSb0Pri::DiscardZeroChanges => "discard-zero-changes".into(),
        AfterSb0Pri::DiscardLeastChanges => "discard-least-changes".into(),
        AfterSb0Pri::DiscardNode(node) => {
            format!("discard-node-{}", names[usize::from(node.number())])
        }
    }
}

const fn one_primary_name(policy: AfterSb1Pri) -> &'static str {
    match policy {
        AfterSb1Pri::Disconnect => "disconnect",
        AfterSb1Pri::Consensus => "consensus",
        AfterSb1Pri::ViolentlyAs0p => "violently-as0p",
        AfterSb1Pri::DiscardSecondary => "discard-secondary",
        AfterSb1Pri::CallPriLostAfterSb => "call-pri-lost-after-sb",
    }
}

const fn two_primaries_name(policy: AfterSb2Pri) -> &'static str {
    match policy {
        AfterSb2Pri::Disconnect => "disconnect",
        AfterSb2Pri::ViolentlyAs0p => "violently-as0p",
        AfterSb2Pri::CallPriLostAfterSb => "call-pri-lost-after-sb",
    }
}

const fn rr_conflict_name(policy: RrConflict) -> &'static str {
    match policy {
        RrConflict::Disconnect => "disconnect",
        RrConflict::RetryConnect => "retry-connect",
        RrConflict::CallPriLost => "call-pri-lost",
        RrConflict::Violently => "violently",
    }
}

#[cfg(test)]
#[path = "split_brain_tests.rs"]
mod tests;
