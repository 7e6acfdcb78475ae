//! The schedules of what must end, of peers that are lost, and of caches lost with a disk, by name.

use crate::scenarios::Scenario;
use crate::{lost_cache_scenarios, lost_peer_scenarios, waiting_scenarios};
use replicator::mutation::Mutation;

/// All of them.
pub(crate) const LOSS_SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "d15_hung_reads_end",
        catches: &[Mutation::HungReadsWait],
        play: waiting_scenarios::hung_reads_end,
    },
    Scenario {
        name: "d15_a_detach_ends_under_reads",
        catches: &[Mutation::DetachWaitsForParked],
        play: waiting_scenarios::a_detach_ends_under_reads,
    },
    Scenario {
        name: "d15_a_detach_ends_under_writes",
        catches: &[Mutation::DetachStarves],
        play: waiting_scenarios::a_detach_ends_under_writes,
    },
    Scenario {
        name: "g5_frozen_without_a_disk",
        catches: &[Mutation::FrozenWithoutDisk],
        play: waiting_scenarios::frozen_without_a_disk,
    },
    Scenario {
        name: "f22g_crossing_verbs_end",
        catches: &[Mutation::RefusalEndsConsent],
        play: waiting_scenarios::crossing_verbs_end,
    },
    Scenario {
        name: "g5_the_handler_before_a_resync_freezes_nobody",
        catches: &[Mutation::TargetHandlerFreezes],
        play: waiting_scenarios::the_handler_before_a_resync_freezes_nobody,
    },
    Scenario {
        name: "d4_a_loss_at_the_start_of_a_resync_is_noticed",
        catches: &[Mutation::LossUnnoticedInSession],
        play: waiting_scenarios::a_loss_at_the_start_of_a_resync,
    },
    Scenario {
        name: "d9_a_target_adopts_without_its_source",
        catches: &[Mutation::AdoptionUnsaid],
        play: lost_peer_scenarios::a_target_adopts_without_its_source,
    },
    Scenario {
        name: "g7_a_generation_by_hand_is_seen",
        catches: &[Mutation::NewGenerationUnexposed],
        play: lost_peer_scenarios::a_generation_by_hand_is_seen,
    },
    Scenario {
        name: "g5_a_peer_lost_in_a_promotion_is_fenced",
        catches: &[Mutation::PromotedPastFencing],
        play: lost_peer_scenarios::a_peer_lost_in_a_promotion_is_fenced,
    },
    Scenario {
        name: "g2_a_served_generation_is_remembered",
        catches: &[Mutation::ServedGenerationForgotten],
        play: lost_peer_scenarios::a_served_generation_is_remembered,
    },
    Scenario {
        name: "g7_the_peers_generation_is_known_after_a_resync",
        catches: &[Mutation::PeersGenerationStays],
        play: waiting_scenarios::the_peers_generation_is_known_after_a_resync,
    },
    Scenario {
        name: "g4_a_dead_primary_forbids_no_promotion",
        catches: &[Mutation::HeardRoleForbids],
        play: waiting_scenarios::a_dead_primary_forbids_no_promotion,
    },
    Scenario {
        name: "d10_an_attach_follows_a_detach",
        catches: &[Mutation::DetachAnswersEarly],
        play: waiting_scenarios::an_attach_follows_a_detach,
    },
    Scenario {
        name: "d15_an_abandoned_dial_replaces_nothing",
        catches: &[Mutation::DeadDialReplaces],
        play: lost_peer_scenarios::an_abandoned_dial_replaces_nothing,
    },
    Scenario {
        name: "d10_a_detach_flushes_the_peer",
        catches: &[Mutation::DetachFlushesAlone],
        play: lost_cache_scenarios::a_detach_flushes_the_peer,
    },
    Scenario {
        name: "g7_a_hand_over_is_not_over_before_its_flush",
        catches: &[Mutation::HandOverTrustsCache],
        play: lost_cache_scenarios::a_hand_over_is_not_over_before_its_flush,
    },
    Scenario {
        name: "g7_a_bad_block_after_the_peers_loss",
        catches: &[Mutation::DegradedTrustsCache],
        play: lost_cache_scenarios::a_bad_block_after_the_peers_loss,
    },
    Scenario {
        name: "g1_a_bad_block_in_a_handshake",
        catches: &[Mutation::DegradesInHandshake],
        play: lost_cache_scenarios::a_bad_block_in_a_handshake,
    },
    Scenario {
        name: "d3_a_failed_flush_takes_the_cache",
        catches: &[Mutation::FailedFlushKeepsCache],
        play: lost_cache_scenarios::a_failed_flush_takes_the_cache,
    },
    Scenario {
        name: "d3_a_flush_fails_after_the_disk",
        catches: &[Mutation::FailedFlushKeepsCache],
        play: lost_cache_scenarios::a_flush_fails_after_the_disk,
    },
];
