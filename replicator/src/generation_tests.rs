//! The table of G1 row by row, and small universes enumerated for mirrored verdicts.

use super::*;
use metadata::superblock::{PeerMinimum, Sequences, Session};

const A: u64 = 0xa000_0000_0000_0000;
const B: u64 = 0xb000_0000_0000_0000;
const C: u64 = 0xc000_0000_0000_0000;
const D: u64 = 0xd000_0000_0000_0000;

fn has(current: u64, bitmap: u64, history: [u64; 2]) -> DataStatement {
    DataStatement {
        generations: Generations { current, bitmap, history },
        instance_id: 1,
        role: Role::Secondary,
        disk: DiskState::UpToDate,
        crashed_primary: false,
        lost_power: false,
        bitmap_covers_history: false,
        out_of_sync_blocks: 0,
        discard_my_data: false,
        session: Session::default(),
        session_draw: 0,
        met: Sequences::default(),
        peer_minimum: PeerMinimum::default(),
        accepted: [0; 2],
    }
}

fn verdict(mine: &DataStatement, yours: &DataStatement) -> (Verdict, u16) {
    let decision = mirrored_decision(&SplitBrainPolicies::default(), mine, yours);
    (decision.verdict, decision.rule)
}

fn decide_alone(mine: &DataStatement, yours: &DataStatement) -> Decision {
    decide(NodeIndex::First, &SplitBrainPolicies::default(), mine, yours)
}

/// Decided from both ends; the peer must come to the mirrored outcome.
fn mirrored_decision(
    policies: &SplitBrainPolicies,
    mine: &DataStatement,
    yours: &DataStatement,
) -> Decision {
    let decision = decide(NodeIndex::First, policies, mine, yours);
    let back = decide(NodeIndex::Second, policies, yours, mine);
    let here = (
        mirrored(decision.verdict),
        decision.split_brain,
        decision.demote_target,
        decision.restored.map(End::other),
    );
    let there = (back.verdict, back.split_brain, back.demote_target, back.restored);
    assert_eq!(here, there, "mirrored: {mine:?} {yours:?} {policies:?}");
    decision
}

fn mirrored(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Sync { end, amount } => Verdict::Sync { end: end.other(), amount },
        Verdict::NoGoodSource { end } => Verdict::NoGoodSource { end: end.other() },
        Verdict::NoSync | Verdict::SplitBrain { .. } | Verdict::Unrelated => verdict,
    }
}

const SOURCE: Verdict = Verdict::Sync { end: End::Source, amount: Amount::Bitmap };
const TARGET: Verdict = Verdict::Sync { end: End::Target, amount: Amount::Bitmap };
const FULL_SOURCE: Verdict = Verdict::Sync { end: End::Source, amount: Amount::Full };
const FULL_TARGET: Verdict = Verdict::Sync { end: End::Target, amount: Amount::Full };

fn fresh() -> DataStatement {
    DataStatement { disk: DiskState::Inconsistent, ..has(4, 0, [0; 2]) }
}

#[test]
fn the_table_row_by_row() {
    let rows = [
        (10, fresh(), fresh(), Verdict::NoSync),
        (20, fresh(), has(A, 0, [0; 2]), FULL_TARGET),
        (30, has(A, 4, [0; 2]), fresh(), FULL_SOURCE),
        (34, has(A, B, [C, 0]), has(A, 0, [B, C]), SOURCE),
        (36, has(A, B, [C, 0]), has(A, 0, [D, 0]), SOURCE),
        (35, has(A, 0, [B, C]), has(A, B, [C, 0]), TARGET),
        (37, has(A, 0, [D, 0]), has(A, B, [C, 0]), TARGET),
        (40, has(A, 0, [B, 0]), has(A, 0, [B, 0]), Verdict::NoSync),
        (50, has(A, 0, [0; 2]), has(B, A, [0; 2]), TARGET),
        (51, has(A, 0, [0; 2]), has(B, A + SYNC_OFFSET, [A, 0]), TARGET),
        (60, has(A, 0, [0; 2]), has(B, C, [D, A]), FULL_TARGET),
        (70, has(B, A, [0; 2]), has(A, 0, [0; 2]), SOURCE),
        (71, has(B, A + SYNC_OFFSET, [A, 0]), has(A, 0, [0; 2]), SOURCE),
        (80, has(B, C, [D, A]), has(A, 0, [0; 2]), FULL_SOURCE),
        (90, has(B, A, [0; 2]), has(C, A, [0; 2]), Verdict::SplitBrain { common_base: true }),
        (100, has(B, 0, [A, 0]), has(C, 0, [A, 0]), Verdict::SplitBrain { common_base: false }),
        (110, has(A, 0, [0; 2]), has(B, 0, [0; 2]), Verdict::Unrelated),
    ];
    for (rule, mine, yours, expected) in rows {
        assert_eq!(verdict(&mine, &yours), (expected, rule), "rule {rule}");
    }
}

#[test]
fn bit_0_of_current_is_no_part_of_the_identity() {
    assert_eq!(verdict(&has(A | 1, 0, [0; 2]), &has(A, 0, [0; 2])), (Verdict::NoSync, 40));
    assert_eq!(verdict(&has(A, 0, [0; 2]), &has(B | 1, A | 1, [0; 2])), (TARGET, 50));
}

#[test]
fn the_covering_flag_turns_a_full_sync_into_a_bitmap_sync() {
    let behind = has(A, 0, [0; 2]);
    let ahead = DataStatement { bitmap_covers_history: true, ..has(B, C, [A, 0]) };
    assert_eq!(verdict(&behind, &ahead), (TARGET, 60));
    assert_eq!(verdict(&ahead, &behind), (SOURCE, 80));
    let older = has(A, 0, [0; 2]);
    let too_far = DataStatement { bitmap_covers_history: true, ..has(B, C, [D, A]) };
    assert_eq!(verdict(&older, &too_far), (FULL_TARGET, 60), "only the youngest entry is covered");
}

#[test]
fn a_crashed_primary_that_kept_power_is_source_and_one_that_lost_it_yields() {
    let survivor = has(A, 0, [0; 2]);
    let crashed = DataStatement { crashed_primary: true, ..survivor };
    let lost = DataStatement { crashed_primary: true, lost_power: true, ..survivor };
    let survivor_lost = DataStatement { lost_power: true, ..survivor };
    assert_eq!(verdict(&crashed, &survivor).0, SOURCE);
    assert_eq!(verdict(&lost, &survivor).0, TARGET);
    assert_eq!(verdict(&lost, &survivor_lost).0, SOURCE, "both lost power: as in 8.4");
    assert_eq!(verdict(&lost, &crashed).0, TARGET);
    assert_eq!(verdict(&crashed, &crashed).0, SOURCE, "tie: the first node in configured order");
}

#[test]
fn a_source_that_lost_power_after_its_target_finished_yields_to_it() {
    let target = has(A, 0, [B, C]);
    let source = has(A, B, [C, 0]);
    assert_eq!(verdict(&source, &target), (SOURCE, 34));
    let lost = DataStatement { crashed_primary: true, lost_power: true, ..source };
    assert_eq!(verdict(&lost, &target), (TARGET, 40));
    let decision = decide_alone(&lost, &target);
    assert_eq!(decision.corrected, Generations { current: A, bitmap: 0, history: [B, C] });
    let crashed = DataStatement { crashed_primary: true, ..source };
    assert_eq!(verdict(&crashed, &target), (SOURCE, 40));
}

#[test]
fn a_crashed_primary_that_was_outdated_by_hand_has_what_the_lost_cache_held() {
    let survivor =
        DataStatement { crashed_primary: true, disk: DiskState::Outdated, ..has(A, 0, [B, 0]) };
    let lost = DataStatement { lost_power: true, disk: DiskState::Consistent, ..has(A, 0, [B, 0]) };
    assert_eq!(verdict(&survivor, &lost), (SOURCE, 40));
    assert_eq!(verdict(&lost, &survivor), (TARGET, 40));
    let kept = DataStatement { lost_power: false, ..lost };
    assert_eq!(verdict(&survivor, &kept), (TARGET, 40), "both kept it: the better disk");
}

#[test]
fn a_primary_that_has_finished_as_target_has_the_newer_data() {
    let target = DataStatement { role: Role::Primary, ..has(A, 0, [B, C]) };
    let source = has(A, B, [C, 0]);
    assert_eq!(verdict(&source, &target), (TARGET, 34));
    assert_eq!(verdict(&target, &source), (SOURCE, 35));
    let decision = decide_alone(&source, &target);
    assert_eq!(decision.corrected, Generations { current: A, bitmap: 0, history: [B, C] });
}

#[test]
fn a_primary_now_beats_crash_marks_and_a_whole_disk_beats_a_tie_break() {
    let survivor = has(A, 0, [0; 2]);
    let promoted = DataStatement { role: Role::Primary, ..survivor };
    let crashed = DataStatement { crashed_primary: true, ..survivor };
    assert_eq!(verdict(&promoted, &crashed), (SOURCE, 41));
    let broken = DataStatement { crashed_primary: true, disk: DiskState::Inconsistent, ..survivor };
    assert_eq!(verdict(&broken, &survivor).0, TARGET);
}

#[test]
fn bits_are_never_dropped_because_identifiers_agree() {
    let dirty = DataStatement { out_of_sync_blocks: 3, ..has(A, 0, [0; 2]) };
    let primary = DataStatement { role: Role::Primary, ..has(A, 0, [0; 2]) };
    assert_eq!(verdict(&dirty, &primary).0, TARGET);
    assert_eq!(verdict(&primary, &dirty).0, SOURCE);
    assert_eq!(
        verdict(&dirty, &has(A, 0, [0; 2])).0,
        Verdict::NoSync,
        "both Secondary: nothing unasked"
    );
}

#[test]
fn a_split_brain_is_resolved_by_the_one_side_that_gives_its_changes_up() {
    let (mine, yours) = (has(B, A, [0; 2]), has(C, A, [0; 2]));
    let victim = DataStatement { discard_my_data: true, ..yours };
    assert_eq!(verdict(&mine, &victim), (SOURCE, 90));
    assert_eq!(decide_alone(&mine, &victim).split_brain, Some(Solution::Manually));
    let both = DataStatement { discard_my_data: true, ..mine };
    assert_eq!(verdict(&both, &victim).0, Verdict::SplitBrain { common_base: true });
    let (mine, yours) = (has(B, 0, [A, 0]), has(C, 0, [A, 0]));
    let victim = DataStatement { discard_my_data: true, ..yours };
    assert_eq!(verdict(&victim, &mine), (FULL_TARGET, 100), "no common base: everything");
    let unrelated = DataStatement { discard_my_data: true, ..has(D, 0, [0; 2]) };
    assert_eq!(verdict(&unrelated, &has(A, 0, [0; 2])).0, Verdict::Unrelated);
}

#[test]
fn a_diskless_node_is_never_an_end_of_a_resync() {
    let diskless = DataStatement { disk: DiskState::Diskless, ..has(B, A, [0; 2]) };
    assert_eq!(verdict(&diskless, &has(A, 0, [0; 2])).0, Verdict::NoSync);
}

#[test]
fn lost_messages_are_made_up_for() {
    let decision = decide_alone(&has(A, B, [C, 0]), &has(A, 0, [B, C]));
    assert_eq!(decision.corrected, Generations { current: A, bitmap: 0, history: [B, C] });
    let decision = decide_alone(&has(B, A + SYNC_OFFSET, [A, C]), &has(A, 0, [0; 2]));
    assert_eq!(decision.corrected, Generations { current: B, bitmap: A, history: [C, 0] });
}

#[test]
fn a_generation_rotates_into_the_bitmap_once_and_into_history_after() {
    let first = Generations { current: A | 1, bitmap: 0, history: [0; 2] };
    let (second, covers) = rotate(first, B);
    assert_eq!(second, Generations { current: B | 1, bitmap: A | 1, history: [0; 2] });
    assert!(!covers);
    let (third, covers) = rotate(second, C);
    assert_eq!(third, Generations { current: C | 1, bitmap: A | 1, history: [B | 1, 0] });
    assert!(covers);
}

#[test]
fn a_resync_keeps_what_the_peer_has_recognisable() {
    let alone = Generations { current: B, bitmap: A, history: [0; 2] };
    let begun = begin_sync(alone, A, D);
    assert_eq!(begun, Generations { current: B, bitmap: A + SYNC_OFFSET, history: [A, 0] });
    let peer = has(A, 0, [0; 2]);
    let me = DataStatement { generations: begun, ..has(0, 0, [0; 2]) };
    assert_eq!(verdict(&me, &peer), (SOURCE, 71), "the start was lost");
    let covering = begin_sync(Generations { current: C, bitmap: A, history: [B, 0] }, B, D);
    let me =
        DataStatement { generations: covering, bitmap_covers_history: true, ..has(0, 0, [0; 2]) };
    assert_eq!(verdict(&me, &has(B, 0, [0; 2])), (SOURCE, 80));
}

#[test]
fn a_resync_that_begins_anew_after_a_lost_grant_keeps_the_sync_identifier_recognisable() {
    // The target has the identifier D of the first resync; the source went on alone from B to C.
    let source = Generations { current: C, bitmap: D, history: [B, A] };
    let begun = begin_sync(source, D, 0xe000_0000_0000_0000);
    let me = DataStatement { generations: begun, bitmap_covers_history: true, ..has(0, 0, [0; 2]) };
    let target = DataStatement { disk: DiskState::Inconsistent, ..has(D, 0, [0; 2]) };
    assert_eq!(verdict(&me, &target), (SOURCE, 71));
}

fn numbered(superblock: u64, log: u64, demands: (u64, u64)) -> DataStatement {
    let peer_minimum =
        PeerMinimum { instance_id: 1, superblock_sequence: demands.0, log_sequence: demands.1 };
    DataStatement { met: Sequences { superblock, log }, peer_minimum, ..has(A, 0, [0; 2]) }
}

#[test]
fn a_replica_that_shows_less_than_it_confirmed_is_a_full_target_whatever_its_marks_say() {
    let peer = numbered(20, 20, (10, 10));
    assert_eq!(verdict(&numbered(10, 10, (20, 20)), &peer), (Verdict::NoSync, 40));
    let older = DataStatement { crashed_primary: true, ..numbered(9, 12, (20, 20)) };
    assert_eq!(verdict(&older, &peer), (FULL_TARGET, 120));
    assert_eq!(decide_alone(&older, &peer).restored, Some(End::Target));
    let older_log = numbered(12, 9, (20, 20));
    assert_eq!(verdict(&peer, &older_log), (FULL_SOURCE, 120));
    let promoted = DataStatement {
        generations: Generations { current: B, bitmap: A, history: [0; 2] },
        ..older
    };
    assert_eq!(verdict(&promoted, &peer), (Verdict::SplitBrain { common_base: false }, 120));
    let both = (numbered(9, 9, (21, 21)), peer);
    assert_eq!(verdict(&both.0, &both.1), (Verdict::SplitBrain { common_base: false }, 120));
    let anew = DataStatement { instance_id: 7, crashed_primary: true, ..older };
    assert_eq!(verdict(&anew, &peer), (SOURCE, 40), "another instance: G1 alone");
    let fresh = DataStatement { met: older.met, ..fresh() };
    assert_eq!(verdict(&fresh, &peer), (FULL_TARGET, 20));
}

#[test]
fn nothing_is_copied_from_an_inconsistent_disk_over_whole_data() {
    let ahead = DataStatement { disk: DiskState::Inconsistent, ..has(B, A, [0; 2]) };
    let behind = has(A, 0, [0; 2]);
    assert_eq!(verdict(&behind, &ahead).0, Verdict::NoGoodSource { end: End::Target });
    let victim = DataStatement { discard_my_data: true, ..has(C, A, [0; 2]) };
    assert_eq!(verdict(&victim, &ahead).0, Verdict::NoGoodSource { end: End::Target });
    let broken_too = DataStatement { disk: DiskState::Inconsistent, ..behind };
    assert_eq!(verdict(&broken_too, &ahead).0, Verdict::NoSync, "neither has anything to give");
}

#[test]
fn with_equal_identifiers_the_better_disk_is_source() {
    let good = has(A, 0, [0; 2]);
    let worse = |disk, role| DataStatement { disk, role, out_of_sync_blocks: 2, ..good };
    let outdated = worse(DiskState::Outdated, Role::Secondary);
    assert_eq!(verdict(&good, &outdated).0, SOURCE);
    let primary = worse(DiskState::Inconsistent, Role::Primary);
    assert_eq!(verdict(&good, &primary).0, SOURCE, "a Primary that could not write yields, too");
    let crashed = DataStatement { crashed_primary: true, ..outdated };
    assert_eq!(verdict(&crashed, &good).0, TARGET);
    let equal = DataStatement { disk: DiskState::Outdated, ..good };
    assert_eq!(verdict(&equal, &good).0, Verdict::NoSync, "nothing differs: nothing is copied");
}

#[test]
fn a_target_in_the_middle_of_a_resync_is_known_by_its_disk_although_it_was_ahead_once() {
    let target = DataStatement { disk: DiskState::Inconsistent, ..has(C, 0, [A, 0]) };
    let source = has(A, C, [B, 0]);
    assert_eq!(verdict(&target, &source), (TARGET, 50));
    assert_eq!(verdict(&source, &target), (SOURCE, 70));
    let whole = has(C, 0, [A, 0]);
    assert_eq!(verdict(&whole, &source), (Verdict::SplitBrain { common_base: false }, 100));
}

#[test]
fn a_split_brain_whose_resync_never_began_is_judged_again_alike() {
    let source = has(B, A + SYNC_OFFSET, [A | 1, D]);
    let target = has(C, A, [0; 2]);
    assert_eq!(verdict(&source, &target), (Verdict::SplitBrain { common_base: true }, 90));
    let corrected = decide_alone(&source, &target).corrected;
    assert_eq!(corrected, Generations { current: B, bitmap: A | 1, history: [D, 0] });
    let policies = SplitBrainPolicies {
        zero_primaries: crate::settings::AfterSb0Pri::DiscardLeastChanges,
        ..SplitBrainPolicies::default()
    };
    let decision = mirrored_decision(&policies, &target, &source);
    assert_eq!(decision.verdict, TARGET, "as when the bitmaps were not united yet");
}

#[test]
fn replicas_that_have_met_are_never_unrelated() {
    let (one, two) = (has(A, 0, [0; 2]), has(B, 0, [0; 2]));
    assert_eq!(verdict(&one, &two), (Verdict::Unrelated, 110));
    let peer_minimum = PeerMinimum { instance_id: 1, ..PeerMinimum::default() };
    let met = DataStatement { peer_minimum, ..one };
    assert_eq!(verdict(&met, &two), (Verdict::SplitBrain { common_base: false }, 100));
}

/// Everything that G1 looks at besides the tuple, one or two at a time.
fn variants_of(base: &DataStatement) -> Vec<DataStatement> {
    let mut all = Vec::new();
    for role in [Role::Secondary, Role::Primary] {
        for disk in [DiskState::UpToDate, DiskState::Outdated, DiskState::Inconsistent] {
            for (crashed_primary, lost_power) in
                [(false, false), (true, false), (true, true), (false, true)]
            {
                for (out_of_sync_blocks, discard_my_data) in [(0, false), (3, false), (3, true)] {
                    let met = Sequences { superblock: 5 + u64::from(lost_power), log: 5 };
                    let superblock_sequence = 5 + u64::from(crashed_primary);
                    let peer_minimum =
                        PeerMinimum { instance_id: 1, superblock_sequence, log_sequence: 5 };
                    all.push(DataStatement {
                        role,
                        disk,
                        crashed_primary,
                        lost_power,
                        out_of_sync_blocks,
                        discard_my_data,
                        met,
                        peer_minimum,
                        ..*base
                    });
                }
            }
        }
    }
    all
}

#[test]
fn every_state_beside_the_tuple_gives_mirrored_verdicts() {
    use crate::settings::{AfterSb0Pri, AfterSb1Pri, AfterSb2Pri};
    let policies = [
        SplitBrainPolicies::default(),
        SplitBrainPolicies {
            zero_primaries: AfterSb0Pri::DiscardLeastChanges,
            one_primary: AfterSb1Pri::CallPriLostAfterSb,
            two_primaries: AfterSb2Pri::CallPriLostAfterSb,
            always: true,
            ..SplitBrainPolicies::default()
        },
    ];
    let tuples = [
        has(A, 0, [0; 2]),
        has(A, B, [C, 0]),
        has(A, 0, [B, C]),
        has(B, A, [0; 2]),
        has(C, A, [0; 2]),
        has(4, 0, [0; 2]),
    ];
    let all: Vec<DataStatement> = tuples.iter().flat_map(variants_of).collect();
    let strange = all.iter().map(|one| DataStatement { instance_id: 2, ..*one });
    let others: Vec<DataStatement> = strange.chain(all.iter().copied()).collect();
    let mut met = std::collections::BTreeSet::new();
    for policies in &policies {
        for mine in &all {
            for yours in &others {
                met.insert(mirrored_decision(policies, mine, yours).rule);
            }
        }
    }
    let expected = [10, 20, 30, 34, 35, 36, 37, 40, 41, 50, 70, 90, 120];
    assert!(expected.iter().all(|rule| met.contains(rule)), "rules met: {met:?}");
}

#[test]
fn every_pair_of_a_small_universe_gets_mirrored_verdicts() {
    let names = [0, 4, A, B, A + SYNC_OFFSET];
    let mut statements = Vec::new();
    for current in [4, A, B, C] {
        for bitmap in names {
            for younger in names {
                for older in [0, A, B] {
                    statements.push(has(current, bitmap, [younger, older]));
                }
            }
        }
    }
    let variants: Vec<DataStatement> = statements
        .iter()
        .enumerate()
        .map(|(index, statement)| DataStatement {
            crashed_primary: index % 2 == 0,
            lost_power: index % 3 == 0,
            bitmap_covers_history: index % 5 == 0,
            disk: if index % 7 == 0 { DiskState::Inconsistent } else { DiskState::UpToDate },
            out_of_sync_blocks: (index % 4 / 3) as u64,
            discard_my_data: index % 6 == 0,
            ..*statement
        })
        .collect();
    let mut met = std::collections::BTreeSet::new();
    for mine in statements.iter().chain(&variants) {
        for yours in statements.iter().chain(&variants) {
            met.insert(verdict(mine, yours).1);
        }
    }
    assert!(met.len() >= 15, "the universe reaches nearly every rule: {met:?}");
}
