//! The schedules that once broke a wording of the rules (F1-F24 of the first review, R1-R31 of the
//! second), and what shows that each is mended: a scenario that passes, and fails when the mend is
//! taken out.
//!
//! `docs/semantics.md` has the rules; the letters are those of the design's reviews.

use replicator::mutation::Mutation;

/// One schedule, or one of its branches.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// Letter and number, and a word for the branch if there are several.
    pub letter: &'static str,
    /// What stands for it.
    pub shown: Shown,
}

/// What shows that a schedule does no harm any more.
#[derive(Debug, Clone, Copy)]
pub enum Shown {
    /// This scenario passes, and fails when that mutation takes the mend out.
    By(&'static str, Mutation),
    /// No scenario, and why.
    Not(&'static str),
}

/// A mend that two rules of the engine keep by now.
#[derive(Debug, Clone, Copy)]
pub struct Twice {
    /// The scenario that fails without both, and passes without either.
    pub scenario: &'static str,
    /// Takes both out.
    pub both: Mutation,
    /// Takes one of them out.
    pub alone: [Mutation; 2],
}

/// What is kept twice.
pub const COVERED_TWICE: &[Twice] = &[Twice {
    scenario: "f9_each_of_the_four_last_messages_may_be_lost",
    // D7 gives bits the direction that rules 34 to 37 would, whatever is left of the bitmap
    // identifier; and what has no bits is settled without a resync.
    both: Mutation::UnconfirmedIsInSync,
    alone: [Mutation::NoLostMessageRules, Mutation::BitsDoNotCount],
}];

/// Nobody can notice this mutation: what it takes out is kept by another rule, too.
#[must_use]
pub fn is_covered(mutation: Mutation) -> bool {
    COVERED_TWICE.iter().any(|twice| twice.alone.contains(&mutation))
        && crate::scenario_of(mutation).is_none()
}

const fn by(letter: &'static str, scenario: &'static str, without: Mutation) -> Schedule {
    Schedule { letter, shown: Shown::By(scenario, without) }
}

const fn not(letter: &'static str, why: &'static str) -> Schedule {
    Schedule { letter, shown: Shown::Not(why) }
}

/// All of them.
pub const SCHEDULES: &[Schedule] = &[
    by(
        "F1 first",
        "f1_the_old_disk_of_a_diskless_primary_returns",
        Mutation::HandOverWithoutGeneration,
    ),
    by(
        "F1 second",
        "f1_what_the_peer_writes_for_a_diskless_primary_is_in_its_log",
        Mutation::FarKeeperSkipsLog,
    ),
    by(
        "F1 third",
        "f1_a_disk_that_was_left_behind_is_not_promoted",
        Mutation::LeftDiskStaysUpToDate,
    ),
    by("F2a", "f2a_a_stuck_write_keeps_new_connections_out", Mutation::AdmitWhileBusy),
    by("F2b", "f2b_late_bytes_are_not_read", Mutation::OldConnectionReadOn),
    // The lock on the descriptors is the daemon's: here it is the simulator that takes it out.
    by("F2c", "f2c_a_successor_waits_for_the_io_of_a_killed_daemon", Mutation::DisksNotLocked),
    by("F2d", "f2d_a_promotion_waits_for_the_peers_writes", Mutation::PromoteWhileBusy),
    by(
        "F2e",
        "f2e_a_hung_disk_is_not_attached_before_its_write_has_returned",
        Mutation::AttachUnderOldWrites,
    ),
    // The kernel's device is the daemon's, too; the number that its cookie holds is R14's.
    by(
        "F3a",
        "f3a_what_a_dead_primary_left_open_does_not_come_after_its_successor",
        Mutation::OldDeviceAttached,
    ),
    not("F3b", "bytes of a client that are not parsed are the NBD server's; tests/nbd"),
    not("F3c", "wording: harmless, and said in docs/semantics.md"),
    not("F3d", "see F10a"),
    by("F4", "f4_a_bad_block_does_not_win", Mutation::BadBlockStaysUpToDate),
    by("F5 first", "f5_a_write_waits_for_the_handshake", Mutation::WriteDuringHandshake),
    by("F5 second", "r9_a_bit_set_while_connected_is_announced", Mutation::NoNotice),
    by("F6", "f6_the_peers_flush_is_no_proof", Mutation::ProofClearsBits),
    by("F7a", "f7a_both_flush_before_an_extent_leaves", Mutation::PeerFlushLeavesLog),
    by("F7b", "f7b_a_source_flushes_what_it_sends", Mutation::ClearWithUnflushedSource),
    by("F7c", "f7c_a_resync_begins_on_a_flushed_source", Mutation::SourceNotFlushed),
    by("F8 flush", "f8_a_flush_alone_begins_a_generation", Mutation::FlushAloneOnOldGeneration),
    by(
        "F8 demotion",
        "f8_a_demotion_alone_begins_a_generation",
        Mutation::DemotionAloneOnOldGeneration,
    ),
    by(
        "F8 promotion",
        "f8_a_promotion_alone_begins_a_generation",
        Mutation::PromoteOnOldGeneration,
    ),
    by("F9 first", "f9_a_lost_confirmation_and_two_ways_on", Mutation::RotationBlockedByBitmap),
    by(
        "F9 second",
        "r17_what_the_source_cannot_read_ends_the_resync_as_incomplete",
        Mutation::GrantDespiteBits,
    ),
    by("F9 start", "f9_each_of_the_four_last_messages_may_be_lost", Mutation::LostStartCopiesAll),
    by("F9 grant", "f9_a_lost_grant_costs_no_full_sync", Mutation::RetireBeforeConfirm),
    // Kept by two rules: [`COVERED_TWICE`].
    by(
        "F9 confirmation",
        "f9_each_of_the_four_last_messages_may_be_lost",
        Mutation::UnconfirmedIsInSync,
    ),
    by("F9 next divergence", "resync_finish_lost", Mutation::HistoryNotCovered),
    by("F10a", "f10a_after_a_start_everything_is_unflushed", Mutation::StartCountsAsFlushed),
    by("F10b", "f10b_a_flush_covers_what_was_answered_before", Mutation::EmptySetOnFlush),
    by("F10c", "f10c_a_copied_block_may_be_lost", Mutation::ClearBeforeTargetFlushed),
    by("F10d", "f10d_equal_counts_as_a_write", Mutation::EqualClearsAtOnce),
    by(
        "F10e",
        "f10e_after_a_failed_flush_everything_unflushed_is_copied_again",
        Mutation::FailedFlushCounts,
    ),
    by("F10f", "d4_a_durable_part_is_not_a_durable_block", Mutation::PartFlushClears),
    by("F10g", "f10g_a_flush_in_flight_at_the_loss", Mutation::FlushAloneOnOldGeneration),
    by("F11", "f11_the_survivor_is_source", Mutation::LostPowerForgotten),
    by("F12a", "f12a_the_sole_copy_loses_power", Mutation::SoleCopyAcknowledgesCached),
    by(
        "F12b",
        "f12b_a_diskless_primary_refuses_another_generation",
        Mutation::ResumeOnAnotherGeneration,
    ),
    by("F12c", "f12c_a_target_alone_acknowledges_nothing", Mutation::InconsistentGoesOnAlone),
    by("F13", "f13_unmarked_before_the_grant", Mutation::PeerOutdatedClearedLate),
    by("F14a", "f14a_frozen_until_the_peer_is_back", Mutation::FreezeAfterAnswering),
    by(
        "F14a generation",
        "f14a_fenced_first_then_a_generation_then_the_answer",
        Mutation::ThawOnOldGeneration,
    ),
    by(
        "F14b",
        "f14b_nothing_is_answered_after_a_stall_before_the_peer",
        Mutation::AnswerAfterStall,
    ),
    by("F15 i", "f15_i_the_primary_is_restored", Mutation::RestoredIsTrusted),
    by("F15 ii", "f15_ii_a_former_primary_is_restored", Mutation::RestoredIsTrusted),
    by("F16 deadlock", "f16_writes_into_a_running_resync", Mutation::TargetLocksToo),
    by("F16 inversion", "f16_a_pause_acts_before_the_grant", Mutation::ThrottleAfterGrant),
    by("F17", "f17_writes_overtake_the_payloads_of_a_resync", Mutation::RangeGivenBackWhenSent),
    by(
        "F18",
        "f18_a_zeroing_larger_than_the_log_is_executed_in_pieces",
        Mutation::ZeroLargerThanLog,
    ),
    by("F19a", "f19a_a_torn_transaction_is_no_full_resync", Mutation::TornTransactionIsRot),
    by("F19b", "f19b_one_copy_of_the_superblock_rots", Mutation::OneSuperblockCopy),
    by("F19c", "f19c_a_crash_in_the_demotion", Mutation::MarkOffFirst),
    by("F19d", "f19d_the_bit_comes_before_the_write", Mutation::BitsAfterWrite),
    by("F19e", "f19e_invalidated_data_stay_given_up", Mutation::FoundBitsStayInMemory),
    by("F20", "f20_both_lose_power_as_a_full_sync_begins", Mutation::FullBitsLate),
    by("F21", "f21_the_old_end_of_a_grown_disk_is_searched", Mutation::ResizeOldEndLost),
    by("F22a", "f22a_the_verdict_is_said_again", Mutation::VerdictNotRepeated),
    by(
        "F22b promotions",
        "f22b_crossing_promotions_end_in_one_primary",
        Mutation::CrossingPromotionsGranted,
    ),
    by("F22b dials", "r19_crossing_dials_end_in_one_connection", Mutation::AcceptedDialStays),
    by("F22c", "f22c_a_promotion_goes_on_without_a_silent_peer", Mutation::PromoteOverSlowPeer),
    by("F22d", "f22d_a_restarted_primary_yields_to_who_came_after", Mutation::ResumeWithoutConsent),
    by(
        "F22e discard",
        "f22e_discard_without_a_split_brain_is_ignored",
        Mutation::DiscardAlwaysCounts,
    ),
    by("F22e rr-conflict", "f22e_a_primary_shall_become_target", Mutation::ConflictIgnored),
    by("F22f", "f22f_a_promotion_gives_bits_a_direction", Mutation::BitsGetNoDirection),
    by("F22g", "f22g_invalidate_leaves_a_good_copy", Mutation::InvalidateUnasked),
    by("F23", "f23_r28_one_place_in_the_window_is_enough", Mutation::WindowPlaceLost),
    not("F24", "costs"),
    by("R1 i", "r1_a_lost_start_and_two_ways_on", Mutation::NoMarkAtSyncStart),
    by("R1 ii", "r1_ii_the_mark_outlives_the_daemon", Mutation::MayHoldMarkForgotten),
    by("R2", "r2_a_primary_that_is_the_target_keeps_the_log", Mutation::TargetPrimaryKeepsNoLog),
    by(
        "R3",
        "r3_nothing_is_answered_before_the_peer_has_taken_over",
        Mutation::AnswerBeforeTakeOver,
    ),
    by("R4", "r4_lost_power_is_remembered", Mutation::LostPowerClearedByAttach),
    by("R5", "r5_promoted_alone_before_it_met_the_survivor", Mutation::CrashedWaitsForPeer),
    by("R6 i", "r6_i_a_restored_node_that_went_on_is_a_split_brain", Mutation::RestoredIsTrusted),
    by("R6 ii", "r6_ii_another_instance_is_judged_by_its_generations", Mutation::InstanceIgnored),
    by("R6 iii", "r6_iii_iv_a_broken_handshake_is_no_older_copy", Mutation::MinimumUnconfirmed),
    by("R6 iv", "r6_iii_iv_a_broken_handshake_is_no_older_copy", Mutation::NumbersBeforeDurable),
    by("R7", "r7_without_a_common_base_everything_is_copied", Mutation::UnionWithoutBase),
    by("R8", "r8_a_second_crash_in_the_attach", Mutation::LogEmptiedFirst),
    by("R9", "r9_a_bit_set_while_connected_is_announced", Mutation::NoNotice),
    by("R10 promotion", "r10_a_promoted_target_grants_anew", Mutation::ArbiterChangesAtOnce),
    by(
        "R10 demotion",
        "r10_a_demoted_target_leaves_nothing_granted",
        Mutation::ArbiterLeavesAtOnce,
    ),
    by("R11", "r11_an_older_bitmap_is_noticed", Mutation::NoBitmapDigest),
    by("R12", "r12_alone_the_log_does_not_fill_up", Mutation::LogFillsAlone),
    by("R13", "r14_a_restarted_primary_resumes", Mutation::LoneRestartWaits),
    by("R14", "r14_a_restarted_primary_resumes", Mutation::ResumeCountsAsPromotion),
    by("R15", "r15_a_hot_block_does_not_keep_the_resync_from_ending", Mutation::WriteCancelsClear),
    by("R16", "r16_crash_bits_have_a_direction", Mutation::CrashMarksUnsaid),
    by(
        "R17",
        "r17_what_the_source_cannot_read_ends_the_resync_as_incomplete",
        Mutation::GrantDespiteBits,
    ),
    by("R18 i", "r18i_a_given_up_disk_lets_the_peer_in", Mutation::GivenUpDiskHoldsUp),
    by(
        "R18 ii",
        "r18ii_a_half_handshake_does_not_forbid_promotion",
        Mutation::HandshakeForbidsPromotion,
    ),
    by("R18 iii", "r18iii_a_hung_disk_is_given_up", Mutation::NoDiskTimeout),
    by("R19", "r19_crossing_dials_end_in_one_connection", Mutation::AcceptedDialStays),
    by("R20", "r20_the_confirmation_of_a_hand_over_is_lost", Mutation::OnlyLastGenerationResumes),
    by("R21", "r21_a_primary_always_has_a_deadline_near", Mutation::NoWatch),
    by("R22", "r22_the_victim_may_be_told_first", Mutation::DiscardDroppedByRefusal),
    not("R23", "wording: what it asks for are F1's generation and F4's mark"),
    by("R24", "r24_a_diskless_flush_ends", Mutation::DisklessFlushNeedsOwnDisk),
    by("R25", "r25_a_flush_in_the_handshake", Mutation::FlushDuringHandshake),
    by(
        "R26 sizes",
        "r26_nothing_is_written_above_before_both_have_committed",
        Mutation::ResizeUnasked,
    ),
    by("R26 bits", "resize_copies_the_new_part", Mutation::ResizeWithoutBits),
    by("R26 one step", "r26_a_lone_commit_is_taken_back", Mutation::ResizeKeepsLarger),
    by("R27", "r27_a_large_request_is_not_overtaken", Mutation::SlotsOutOfOrder),
    by("R28", "f23_r28_one_place_in_the_window_is_enough", Mutation::WindowPlaceLost),
    by(
        "R29",
        "r29_much_more_unflushed_than_the_soft_limit_makes_writes_wait",
        Mutation::NoHardLimit,
    ),
    by(
        "R30",
        "r30_unmarked_before_a_handshake_makes_up_to_date",
        Mutation::UpToDateBeforePeersMark,
    ),
    by("R31", "r31_only_new_replicas_skip_their_sync", Mutation::ClearBitmapAlways),
];
