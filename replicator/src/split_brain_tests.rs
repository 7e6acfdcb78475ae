//! The policies of a split brain, row by row, always judged from both ends.

use super::*;
use crate::generation::decide;
use crate::state::DiskState;
use metadata::generations::Generations;
use metadata::superblock::{PeerMinimum, Sequences, Session};

const BASE: u64 = 0xa000_0000_0000_0000;

/// One side of a split brain: role now, was Primary at the split, blocks changed.
fn side(current: u64, role: Role, was_primary: bool, changes: u64) -> DataStatement {
    DataStatement {
        generations: Generations {
            current,
            bitmap: BASE | u64::from(was_primary),
            history: [0; 2],
        },
        instance_id: current,
        role,
        disk: DiskState::UpToDate,
        crashed_primary: false,
        lost_power: false,
        bitmap_covers_history: false,
        out_of_sync_blocks: changes,
        discard_my_data: false,
        accepted: [0; 2],
        session: Session::default(),
        session_draw: 0,
        met: Sequences::default(),
        peer_minimum: PeerMinimum::default(),
    }
}

fn first(role: Role, was_primary: bool, changes: u64) -> DataStatement {
    side(0xb000, role, was_primary, changes)
}

fn second(role: Role, was_primary: bool, changes: u64) -> DataStatement {
    side(0xc000, role, was_primary, changes)
}

/// Who yields, judged from both ends: `None` is unresolved.
fn victim(
    policies: &SplitBrainPolicies,
    one: &DataStatement,
    two: &DataStatement,
) -> Option<NodeIndex> {
    let here = decide(NodeIndex::First, policies, one, two);
    let there = decide(NodeIndex::Second, policies, two, one);
    assert_eq!(here.end(), there.end().map(End::other), "mirrored");
    assert_eq!(here.split_brain, there.split_brain, "mirrored");
    assert_eq!(here.demote_target, there.demote_target, "mirrored");
    here.end().map(|end| match end {
        End::Target => NodeIndex::First,
        End::Source => NodeIndex::Second,
    })
}

fn zero(policy: AfterSb0Pri) -> SplitBrainPolicies {
    SplitBrainPolicies { zero_primaries: policy, ..SplitBrainPolicies::default() }
}

const FIRST: Option<NodeIndex> = Some(NodeIndex::First);
const SECOND: Option<NodeIndex> = Some(NodeIndex::Second);
use Role::{Primary, Secondary};

#[test]
fn without_a_primary_now_each_policy_has_its_victim() {
    use AfterSb0Pri as P;
    // (policy, first was Primary, its changes, second was Primary, its changes, victim)
    let rows = [
        (P::Disconnect, true, 5, false, 1, None),
        (P::DiscardYoungerPrimary, true, 5, false, 9, SECOND),
        (P::DiscardYoungerPrimary, false, 9, true, 5, FIRST),
        (P::DiscardYoungerPrimary, true, 5, true, 9, FIRST),
        (P::DiscardYoungerPrimary, false, 9, false, 0, SECOND),
        (P::DiscardOlderPrimary, true, 9, false, 5, FIRST),
        (P::DiscardOlderPrimary, false, 5, true, 9, SECOND),
        (P::DiscardOlderPrimary, false, 5, false, 9, FIRST),
        (P::DiscardZeroChanges, true, 0, false, 5, FIRST),
        (P::DiscardZeroChanges, true, 5, false, 0, SECOND),
        (P::DiscardZeroChanges, true, 5, false, 1, None),
        (P::DiscardZeroChanges, true, 0, false, 0, SECOND),
        (P::DiscardLeastChanges, true, 5, false, 1, SECOND),
        (P::DiscardLeastChanges, true, 1, false, 5, FIRST),
        (P::DiscardLeastChanges, true, 5, false, 5, SECOND),
        (P::DiscardNode(NodeIndex::First), true, 5, false, 1, FIRST),
        (P::DiscardNode(NodeIndex::Second), true, 5, false, 9, SECOND),
    ];
    for (policy, one_was, one_changes, two_was, two_changes, expected) in rows {
        let one = first(Secondary, one_was, one_changes);
        let two = second(Secondary, two_was, two_changes);
        assert_eq!(victim(&zero(policy), &one, &two), expected, "{policy:?} {one_changes}");
    }
}

#[test]
fn with_one_primary_now_each_policy_has_its_victim() {
    use AfterSb1Pri as P;
    let least = AfterSb0Pri::DiscardLeastChanges;
    // (policy, changes of the Primary, changes of the Secondary, who yields, demoted first)
    let rows = [
        (P::Disconnect, 9, 1, None, false),
        (P::Consensus, 9, 1, Some(Secondary), false),
        (P::Consensus, 1, 9, None, false),
        (P::ViolentlyAs0p, 9, 1, Some(Secondary), false),
        (P::ViolentlyAs0p, 1, 9, Some(Primary), false),
        (P::DiscardSecondary, 1, 9, Some(Secondary), false),
        (P::CallPriLostAfterSb, 9, 1, Some(Secondary), false),
        (P::CallPriLostAfterSb, 1, 9, Some(Primary), true),
    ];
    for (policy, of_primary, of_secondary, expected, demoted) in rows {
        let policies = SplitBrainPolicies { one_primary: policy, ..zero(least) };
        let one = first(Primary, true, of_primary);
        let two = second(Secondary, false, of_secondary);
        let expected = expected.map(|role| match role {
            Primary => NodeIndex::First,
            Secondary => NodeIndex::Second,
        });
        assert_eq!(victim(&policies, &one, &two), expected, "{policy:?}");
        assert_eq!(decide(NodeIndex::First, &policies, &one, &two).demote_target, demoted);
        // The same with the roles the other way round.
        let one = first(Secondary, false, of_secondary);
        let two = second(Primary, true, of_primary);
        assert_eq!(victim(&policies, &one, &two), expected.map(NodeIndex::other), "{policy:?}");
    }
    let alone =
        SplitBrainPolicies { one_primary: P::DiscardSecondary, ..SplitBrainPolicies::default() };
    let (one, two) = (first(Primary, true, 1), second(Secondary, false, 9));
    assert_eq!(victim(&alone, &one, &two), SECOND, "after-sb-0pri is not consulted");
}

#[test]
fn with_two_primaries_now_each_policy_has_its_victim() {
    use AfterSb2Pri as P;
    let rows = [
        (P::Disconnect, None, false),
        (P::ViolentlyAs0p, SECOND, false),
        (P::CallPriLostAfterSb, SECOND, true),
    ];
    for (policy, expected, demoted) in rows {
        let policies =
            SplitBrainPolicies { two_primaries: policy, ..zero(AfterSb0Pri::DiscardLeastChanges) };
        let (one, two) = (first(Primary, true, 9), second(Primary, false, 1));
        assert_eq!(victim(&policies, &one, &two), expected, "{policy:?}");
        assert_eq!(decide(NodeIndex::First, &policies, &one, &two).demote_target, demoted);
    }
}

#[test]
fn without_a_common_base_only_always_asbp_lets_a_policy_decide_and_everything_is_copied() {
    let bare = |mut side: DataStatement| {
        side.generations.bitmap = 0;
        side.generations.history = [BASE, 0];
        side
    };
    let (one, two) = (bare(first(Secondary, true, 9)), bare(second(Secondary, false, 1)));
    let policies = zero(AfterSb0Pri::DiscardLeastChanges);
    assert_eq!(victim(&policies, &one, &two), None);
    let always = SplitBrainPolicies { always: true, ..policies };
    assert_eq!(victim(&always, &one, &two), SECOND);
    let decision = decide(NodeIndex::First, &always, &one, &two);
    assert_eq!(decision.verdict, Verdict::Sync { end: End::Source, amount: Amount::Full });
}

#[test]
fn an_operators_word_is_stronger_than_a_policy_and_two_words_cancel_each_other() {
    let policies = zero(AfterSb0Pri::DiscardNode(NodeIndex::First));
    let told = |mut side: DataStatement| {
        side.discard_my_data = true;
        side
    };
    let (one, two) = (first(Secondary, true, 1), second(Secondary, false, 1));
    assert_eq!(victim(&policies, &one, &two), FIRST);
    assert_eq!(victim(&policies, &one, &told(two)), SECOND);
    assert_eq!(victim(&policies, &told(one), &told(two)), None);
    let decision = decide(NodeIndex::First, &policies, &one, &told(two));
    assert_eq!(decision.split_brain, Some(Solution::Manually));
}

#[test]
fn every_policy_gives_mirrored_results_in_every_situation() {
    use AfterSb0Pri as Zero;
    let zeros = [
        Zero::Disconnect,
        Zero::DiscardYoungerPrimary,
        Zero::DiscardOlderPrimary,
        Zero::DiscardZeroChanges,
        Zero::DiscardLeastChanges,
        Zero::DiscardNode(NodeIndex::First),
        Zero::DiscardNode(NodeIndex::Second),
    ];
    let ones = [
        AfterSb1Pri::Disconnect,
        AfterSb1Pri::Consensus,
        AfterSb1Pri::ViolentlyAs0p,
        AfterSb1Pri::DiscardSecondary,
        AfterSb1Pri::CallPriLostAfterSb,
    ];
    let twos =
        [AfterSb2Pri::Disconnect, AfterSb2Pri::ViolentlyAs0p, AfterSb2Pri::CallPriLostAfterSb];
    let sides = |make: fn(Role, bool, u64) -> DataStatement| {
        let mut all = Vec::new();
        for role in [Primary, Secondary] {
            for was_primary in [true, false] {
                for changes in [0, 1, 2] {
                    for discard_my_data in [true, false] {
                        let side = make(role, was_primary, changes);
                        all.push(DataStatement { discard_my_data, ..side });
                    }
                }
            }
        }
        all
    };
    let mut resolved = 0;
    for zero_primaries in zeros {
        for one_primary in ones {
            for two_primaries in twos {
                let policies = SplitBrainPolicies {
                    zero_primaries,
                    one_primary,
                    two_primaries,
                    ..SplitBrainPolicies::default()
                };
                for one in sides(first) {
                    for two in sides(second) {
                        resolved += usize::from(victim(&policies, &one, &two).is_some());
                    }
                }
            }
        }
    }
    assert!(resolved > 10_000, "policies decide: {resolved}");
}

#[test]
fn the_first_differing_policy_is_named_with_both_values() {
    let names = ["alpha".to_owned(), "beta".to_owned()];
    let mine = SplitBrainPolicies::default();
    assert_eq!(first_difference(&mine, &mine, &names), None);
    let theirs = zero(AfterSb0Pri::DiscardNode(NodeIndex::Second));
    let expected = ("after-sb-0pri", "disconnect".into(), "discard-node-beta".into());
    assert_eq!(first_difference(&mine, &theirs, &names), Some(expected));
    let theirs = SplitBrainPolicies { rr_conflict: RrConflict::RetryConnect, ..mine };
    let expected = ("rr-conflict", "disconnect".into(), "retry-connect".into());
    assert_eq!(first_difference(&mine, &theirs, &names), Some(expected));
    let theirs = SplitBrainPolicies { always: true, ..mine };
    assert_eq!(
        first_difference(&mine, &theirs, &names),
        Some(("always-asbp", "no".into(), "yes".into()))
    );
}

/// A source that has begun counts the other's changes with its own, unless they came later.
#[test]
fn a_start_that_never_arrived_hides_no_changes() {
    use crate::generation_steps::begin_sync;
    use AfterSb0Pri as P;
    let begun = |changes: u64| {
        let mut side = second(Secondary, true, changes);
        side.generations = begin_sync(side.generations, 0xb000, 0xd000);
        side
    };
    // (policy, first's changes, those of the second, which has begun, victim)
    let rows = [
        (P::DiscardZeroChanges, 0, 5, FIRST),
        // The first has the united bitmap in memory, or has changed as many blocks since then.
        (P::DiscardZeroChanges, 5, 5, None),
        (P::DiscardZeroChanges, 9, 5, None),
        (P::DiscardLeastChanges, 3, 5, FIRST),
        (P::DiscardLeastChanges, 5, 5, FIRST),
        (P::DiscardLeastChanges, 9, 5, SECOND),
    ];
    for (policy, changes, begun_changes, expected) in rows {
        let one = first(Secondary, true, changes);
        let found = victim(&zero(policy), &one, &begun(begun_changes));
        assert_eq!(found, expected, "{policy:?} {changes} {begun_changes}");
    }
}

#[test]
fn the_role_at_the_split_is_looked_up_where_the_common_base_is() {
    // A resync of the first one was never confirmed; its bitmap covers the entry that both know.
    let mut one = first(Secondary, false, 1);
    one.generations.bitmap = 0xd000;
    one.generations.history = [BASE | 1, 0];
    one.bitmap_covers_history = true;
    let two = second(Secondary, false, 9);
    assert_eq!(victim(&zero(AfterSb0Pri::DiscardYoungerPrimary), &one, &two), SECOND);
    assert_eq!(victim(&zero(AfterSb0Pri::DiscardOlderPrimary), &one, &two), FIRST);
}
