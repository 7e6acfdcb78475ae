//! The schedules of answers, caches, the log, ranges and verbs, by name.

use crate::scenarios::Scenario;
use crate::{basic_scenarios, cache_scenarios, log_scenarios, range_scenarios, verb_scenarios};
use replicator::mutation::Mutation;

/// All of them.
pub(crate) const SCHEDULE_SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "d1_the_log_comes_before_the_data",
        catches: &[Mutation::SkipLogWrite],
        play: basic_scenarios::the_log_comes_before_the_data,
    },
    Scenario {
        name: "d2_an_answer_means_both_disks",
        catches: &[Mutation::AckBeforePeer, Mutation::AckBeforeOwnDisk],
        play: basic_scenarios::an_answer_means_both_disks,
    },
    Scenario {
        name: "d3_a_flush_means_both_disks",
        catches: &[Mutation::FlushByOwnDisk],
        play: basic_scenarios::a_flush_means_both_disks,
    },
    Scenario {
        name: "d3_what_was_flushed_survives_either_power_cut",
        catches: &[Mutation::PeerSkipsFlush, Mutation::FuaPlainOnPeer],
        play: basic_scenarios::what_was_flushed_survives_either_power_cut,
    },
    Scenario {
        name: "d2_what_is_written_alone_is_copied",
        catches: &[
            Mutation::AloneWithoutBits,
            Mutation::BitsSetInwards,
            Mutation::BitmapsNotUnited,
        ],
        play: basic_scenarios::what_is_written_alone_is_copied,
    },
    Scenario {
        name: "d4_what_the_lost_peer_may_lack_is_marked",
        catches: &[Mutation::ForgetUnflushedAtLoss, Mutation::InFlightNotMarked],
        play: basic_scenarios::what_the_lost_peer_may_lack_is_marked,
    },
    Scenario {
        name: "d6_overlapping_writes_end_in_one_order",
        catches: &[Mutation::OverlapNotSerialised],
        play: basic_scenarios::overlapping_writes_end_in_one_order,
    },
    Scenario {
        name: "d8_a_demotion_leaves_nothing_in_a_cache",
        catches: &[Mutation::DemoteUnflushed],
        play: basic_scenarios::a_demotion_leaves_nothing_in_a_cache,
    },
    Scenario {
        name: "d8_the_export_opens_with_a_durable_mark",
        catches: &[Mutation::ExportBeforeMark],
        play: basic_scenarios::the_export_opens_with_a_durable_mark,
    },
    Scenario {
        name: "d9_a_new_disk_gets_everything",
        catches: &[Mutation::TargetNotDurable],
        play: basic_scenarios::a_new_disk_gets_everything,
    },
    Scenario {
        name: "g2_one_divergence_is_one_generation",
        catches: &[Mutation::RotateAgain],
        play: basic_scenarios::one_divergence_is_one_generation,
    },
    Scenario {
        name: "g1_the_newer_generation_is_the_source",
        catches: &[Mutation::OlderIsSource],
        play: basic_scenarios::the_newer_generation_is_the_source,
    },
    Scenario {
        name: "d11_a_damaged_payload_is_not_written",
        catches: &[Mutation::DamagedPayloadAccepted],
        play: basic_scenarios::a_damaged_payload_is_not_written,
    },
    Scenario {
        name: "r19_crossing_dials_end_in_one_connection",
        catches: &[Mutation::AcceptedDialStays, Mutation::CrossingDialsRace],
        play: basic_scenarios::crossing_dials_end_in_one_connection,
    },
    Scenario {
        name: "f6_the_peers_flush_is_no_proof",
        catches: &[Mutation::ProofClearsBits],
        play: cache_scenarios::the_peers_flush_is_no_proof,
    },
    Scenario {
        name: "f7b_a_source_flushes_what_it_sends",
        catches: &[Mutation::ClearWithUnflushedSource],
        play: cache_scenarios::a_source_flushes_what_it_sends,
    },
    Scenario {
        name: "f8_a_flush_alone_begins_a_generation",
        catches: &[Mutation::FlushAloneOnOldGeneration],
        play: cache_scenarios::a_flush_alone_begins_a_generation,
    },
    Scenario {
        name: "f8_a_demotion_alone_begins_a_generation",
        catches: &[Mutation::DemotionAloneOnOldGeneration],
        play: cache_scenarios::a_demotion_alone_begins_a_generation,
    },
    Scenario {
        name: "f10a_after_a_start_everything_is_unflushed",
        catches: &[Mutation::StartCountsAsFlushed],
        play: cache_scenarios::after_a_start_everything_is_unflushed,
    },
    Scenario {
        name: "f10c_a_copied_block_may_be_lost",
        catches: &[Mutation::ClearBeforeTargetFlushed],
        play: cache_scenarios::a_copied_block_may_be_lost,
    },
    Scenario {
        name: "f10g_a_flush_in_flight_at_the_loss",
        catches: &[Mutation::FlushAloneOnOldGeneration],
        play: cache_scenarios::a_flush_in_flight_at_the_loss,
    },
    Scenario {
        name: "f19d_the_bit_comes_before_the_write",
        catches: &[Mutation::BitsAfterWrite],
        play: cache_scenarios::the_bit_comes_before_the_write,
    },
    Scenario {
        name: "r2_a_primary_that_is_the_target_keeps_the_log",
        catches: &[Mutation::TargetPrimaryKeepsNoLog],
        play: log_scenarios::a_primary_that_is_the_target_keeps_the_log,
    },
    Scenario {
        name: "d5_what_is_in_flight_keeps_its_place",
        catches: &[Mutation::InFlightLeavesLog],
        play: log_scenarios::what_is_in_flight_keeps_its_place,
    },
    Scenario {
        name: "r12_alone_the_log_does_not_fill_up",
        catches: &[Mutation::LogFillsAlone],
        play: log_scenarios::alone_the_log_does_not_fill_up,
    },
    Scenario {
        name: "r27_a_large_request_is_not_overtaken",
        catches: &[Mutation::SlotsOutOfOrder],
        play: log_scenarios::a_large_request_is_not_overtaken,
    },
    Scenario {
        name: "f23_r28_one_place_in_the_window_is_enough",
        catches: &[Mutation::WindowPlaceLost, Mutation::WindowIgnored],
        play: log_scenarios::one_place_in_the_window_is_enough,
    },
    Scenario {
        name: "f16_writes_into_a_running_resync",
        catches: &[Mutation::TargetLocksToo],
        play: range_scenarios::writes_into_a_running_resync,
    },
    Scenario {
        name: "f17_writes_overtake_the_payloads_of_a_resync",
        catches: &[Mutation::RangeGivenBackWhenSent],
        play: range_scenarios::writes_overtake_the_payloads_of_a_resync,
    },
    Scenario {
        name: "r15_a_hot_block_does_not_keep_the_resync_from_ending",
        catches: &[Mutation::WriteCancelsClear],
        play: range_scenarios::a_hot_block_does_not_keep_the_resync_from_ending,
    },
    Scenario {
        name: "r10_a_demoted_target_leaves_nothing_granted",
        catches: &[Mutation::ArbiterLeavesAtOnce],
        play: range_scenarios::a_demoted_target_leaves_nothing_granted,
    },
    Scenario {
        name: "r10_a_promoted_target_grants_anew",
        catches: &[Mutation::ArbiterChangesAtOnce],
        play: range_scenarios::a_promoted_target_grants_anew,
    },
    Scenario {
        name: "f22c_a_promotion_goes_on_without_a_silent_peer",
        catches: &[Mutation::PromoteOverSlowPeer],
        play: verb_scenarios::a_promotion_goes_on_without_a_silent_peer,
    },
    Scenario {
        name: "r18ii_a_half_handshake_does_not_forbid_promotion",
        catches: &[Mutation::HandshakeForbidsPromotion],
        play: verb_scenarios::a_half_handshake_does_not_forbid_promotion,
    },
    Scenario {
        name: "r21_a_primary_always_has_a_deadline_near",
        catches: &[Mutation::NoWatch],
        play: verb_scenarios::a_primary_always_has_a_deadline_near,
    },
    Scenario {
        name: "r22_the_victim_may_be_told_first",
        catches: &[Mutation::DiscardDroppedByRefusal],
        play: verb_scenarios::the_victim_may_be_told_first,
    },
    Scenario {
        name: "f19e_invalidated_data_stay_given_up",
        catches: &[Mutation::FoundBitsStayInMemory],
        play: verb_scenarios::invalidated_data_stay_given_up,
    },
    Scenario {
        name: "f22g_invalidate_leaves_a_good_copy",
        catches: &[Mutation::InvalidateUnasked],
        play: verb_scenarios::invalidate_leaves_a_good_copy,
    },
    Scenario {
        name: "r31_only_new_replicas_skip_their_sync",
        catches: &[Mutation::ClearBitmapAlways],
        play: verb_scenarios::only_new_replicas_skip_their_sync,
    },
];
