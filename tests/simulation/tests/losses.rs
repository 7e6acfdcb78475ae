//! What must end whatever is lost, and what a lost peer or a lost cache must not cost, by name.

use simulation::scenario_tests;

scenario_tests! {
    d15_hung_reads_end
    d15_a_detach_ends_under_reads
    d15_a_detach_ends_under_writes
    g5_frozen_without_a_disk
    f22g_crossing_verbs_end
    g5_the_handler_before_a_resync_freezes_nobody
    d4_a_loss_at_the_start_of_a_resync_is_noticed
    d9_a_target_adopts_without_its_source
    g7_a_generation_by_hand_is_seen
    g5_a_peer_lost_in_a_promotion_is_fenced
    g2_a_served_generation_is_remembered
    d10_a_detach_flushes_the_peer
    g7_a_hand_over_is_not_over_before_its_flush
    g7_a_bad_block_after_the_peers_loss
    g1_a_bad_block_in_a_handshake
    d3_a_failed_flush_takes_the_cache
    d3_a_flush_fails_after_the_disk
    d15_an_abandoned_dial_replaces_nothing
    d10_an_attach_follows_a_detach
    g4_a_dead_primary_forbids_no_promotion
    g7_the_peers_generation_is_known_after_a_resync
}
