//! The table of G1 row by row, and small universes enumerated for mirrored verdicts.

use super::*;

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
    }
}

fn verdict(mine: &DataStatement, yours: &DataStatement) -> (Verdict, u16) {
    let decision = decide(NodeIndex::First, mine, yours);
    let back = decide(NodeIndex::Second, yours, mine);
    assert_eq!(mirrored(decision.verdict), back.verdict, "the peer comes to the mirrored verdict");
    (decision.verdict, decision.rule)
}

fn mirrored(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Sync { end, amount } => Verdict::Sync { end: end.other(), amount },
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
    let decision = decide(NodeIndex::First, &lost, &target);
    assert_eq!(decision.corrected, Generations { current: A, bitmap: 0, history: [B, C] });
    let crashed = DataStatement { crashed_primary: true, ..source };
    assert_eq!(verdict(&crashed, &target), (SOURCE, 40));
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
    assert!(decide(NodeIndex::First, &mine, &victim).split_brain);
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
    let decision = decide(NodeIndex::First, &has(A, B, [C, 0]), &has(A, 0, [B, C]));
    assert_eq!(decision.corrected, Generations { current: A, bitmap: 0, history: [B, C] });
    let decision = decide(NodeIndex::First, &has(B, A + SYNC_OFFSET, [A, C]), &has(A, 0, [0; 2]));
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
