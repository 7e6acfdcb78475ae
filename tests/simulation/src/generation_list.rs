//! The schedules of generations, split brains and restored disks, by name.

use crate::scenarios::Scenario;
use crate::{generation_scenarios, restored_scenarios, split_scenarios};
use replicator::mutation::Mutation;

/// All of them.
pub const GENERATION_SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "f5_a_write_in_the_handshake",
        catches: &[Mutation::WriteDuringHandshake],
        play: generation_scenarios::a_write_in_the_handshake,
    },
    Scenario {
        name: "f9_a_lost_confirmation_and_two_ways_on",
        catches: &[
            Mutation::RotationBlockedByBitmap,
            Mutation::GrantWithoutMark,
            Mutation::SkipRotation,
        ],
        play: generation_scenarios::a_lost_confirmation_and_two_ways_on,
    },
    Scenario {
        name: "f11_nobody_is_source_who_lost_power",
        catches: &[Mutation::CrashedIsSource],
        play: generation_scenarios::the_survivor_is_source,
    },
    Scenario {
        name: "f15_i_the_primary_is_restored",
        catches: &[Mutation::RestoredIsTrusted],
        play: restored_scenarios::the_primary_is_restored,
    },
    Scenario {
        name: "f15_i_the_primary_is_restored_within_a_session",
        catches: &[Mutation::RestoredIsTrusted],
        play: restored_scenarios::the_primary_is_restored_within_a_session,
    },
    Scenario {
        name: "f15_ii_a_former_primary_is_restored",
        catches: &[Mutation::RestoredIsTrusted],
        play: restored_scenarios::a_former_primary_is_restored,
    },
    Scenario {
        name: "f19a_a_torn_transaction_is_no_full_resync",
        catches: &[Mutation::TornTransactionIsRot],
        play: generation_scenarios::a_torn_transaction_is_no_full_resync,
    },
    Scenario {
        name: "f19b_one_copy_of_the_superblock_rots",
        catches: &[Mutation::OneSuperblockCopy],
        play: generation_scenarios::one_copy_of_the_superblock_rots,
    },
    Scenario {
        name: "f19c_a_crash_in_the_demotion",
        catches: &[Mutation::MarkOffFirst],
        play: generation_scenarios::a_crash_in_the_demotion,
    },
    Scenario {
        name: "f20_both_lose_power_as_a_full_sync_begins",
        catches: &[Mutation::FullBitsLate, Mutation::FullSyncOfSetBits],
        play: generation_scenarios::both_lose_power_as_a_full_sync_begins,
    },
    Scenario {
        name: "f22a_the_verdict_is_said_again",
        catches: &[Mutation::VerdictNotRepeated],
        play: split_scenarios::the_verdict_is_said_again,
    },
    Scenario {
        name: "f22e_discard_without_a_split_brain_is_ignored",
        catches: &[Mutation::DiscardAlwaysCounts],
        play: split_scenarios::discard_without_a_split_brain_is_ignored,
    },
    Scenario {
        name: "f22e_a_primary_shall_become_target",
        catches: &[Mutation::ConflictIgnored],
        play: split_scenarios::a_primary_shall_become_target,
    },
    Scenario {
        name: "f22f_a_promotion_gives_bits_a_direction",
        catches: &[Mutation::BitsGetNoDirection],
        play: generation_scenarios::a_promotion_gives_bits_a_direction,
    },
    Scenario {
        name: "r1_a_lost_start_and_two_ways_on",
        catches: &[Mutation::NoMarkAtSyncStart],
        play: generation_scenarios::a_lost_start_and_two_ways_on,
    },
    Scenario {
        name: "r1_ii_the_mark_outlives_the_daemon",
        catches: &[Mutation::MayHoldMarkForgotten],
        play: generation_scenarios::the_mark_outlives_the_daemon,
    },
    Scenario {
        name: "r4_lost_power_is_remembered",
        catches: &[Mutation::LostPowerClearedByAttach],
        play: generation_scenarios::lost_power_is_remembered,
    },
    Scenario {
        name: "r5_promoted_alone_before_it_met_the_survivor",
        catches: &[Mutation::CrashedWaitsForPeer],
        play: generation_scenarios::promoted_alone_before_it_met_the_survivor,
    },
    Scenario {
        name: "r6_i_a_restored_node_that_went_on_is_a_split_brain",
        catches: &[Mutation::RestoredIsTrusted],
        play: restored_scenarios::a_restored_node_that_went_on_is_a_split_brain,
    },
    Scenario {
        name: "r6_ii_another_instance_is_judged_by_its_generations",
        catches: &[Mutation::InstanceIgnored],
        play: restored_scenarios::another_instance_is_judged_by_its_generations,
    },
    Scenario {
        name: "r6_iii_iv_a_broken_handshake_is_no_older_copy",
        catches: &[Mutation::MinimumUnconfirmed, Mutation::NumbersBeforeDurable],
        play: restored_scenarios::a_broken_handshake_is_no_older_copy,
    },
    Scenario {
        name: "r6_attaches_do_not_hide_an_older_copy",
        catches: &[Mutation::NumbersRiseAlone],
        play: restored_scenarios::attaches_do_not_hide_an_older_copy,
    },
    Scenario {
        name: "r7_without_a_common_base_everything_is_copied",
        catches: &[Mutation::UnionWithoutBase],
        play: restored_scenarios::without_a_common_base_everything_is_copied,
    },
    Scenario {
        name: "r8_a_second_crash_in_the_attach",
        catches: &[Mutation::LogEmptiedFirst, Mutation::LogEmptiedBeforeBits],
        play: generation_scenarios::a_second_crash_in_the_attach,
    },
    Scenario {
        name: "r11_an_older_bitmap_is_noticed",
        catches: &[Mutation::NoBitmapDigest],
        play: generation_scenarios::an_older_bitmap_is_noticed,
    },
    Scenario {
        name: "r16_crash_bits_have_a_direction",
        catches: &[Mutation::CrashMarksUnsaid],
        play: generation_scenarios::crash_bits_have_a_direction,
    },
    Scenario {
        name: "r25_a_flush_in_the_handshake",
        catches: &[Mutation::FlushDuringHandshake],
        play: generation_scenarios::a_flush_in_the_handshake,
    },
    Scenario {
        name: "d7_bits_of_a_lost_cache_are_never_dropped",
        catches: &[Mutation::BitsDroppedInSync],
        play: generation_scenarios::bits_of_a_lost_cache_are_never_dropped,
    },
    Scenario {
        name: "split_brain_rounds",
        catches: &[Mutation::DiscardStays],
        play: split_scenarios::split_brain_rounds,
    },
    Scenario {
        name: "split_brain_is_told_on_both",
        catches: &[Mutation::SplitBrainToldOnce],
        play: split_scenarios::an_unresolved_split_brain_is_told_on_both,
    },
    Scenario {
        name: "after_sb_policies",
        catches: &[Mutation::PoliciesIgnored, Mutation::PoliciesPickTheOther],
        play: split_scenarios::after_sb_policies,
    },
    Scenario {
        name: "differing_policies_are_refused",
        catches: &[Mutation::DifferingPoliciesAccepted],
        play: split_scenarios::differing_policies_are_refused,
    },
    Scenario {
        name: "revert_older_data",
        catches: &[Mutation::RestoredIsTrusted],
        play: restored_scenarios::revert_older_data,
    },
    Scenario {
        name: "resync_finish_lost",
        catches: &[Mutation::HistoryNotCovered],
        play: generation_scenarios::resync_finish_lost,
    },
    Scenario {
        name: "resync_missed_end_no_bits",
        catches: &[Mutation::BitmapIdentifierStays],
        play: generation_scenarios::resync_missed_end_no_bits,
    },
    Scenario {
        name: "lost_primary_after_no_writes",
        catches: &[Mutation::RotateAtLoss],
        play: generation_scenarios::lost_primary_after_no_writes,
    },
];
