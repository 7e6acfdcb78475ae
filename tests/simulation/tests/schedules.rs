//! Named schedules that once broke a wording of the rules, replayed step by step against the real
//! engine.

use replicator::event::{Answer, Command};
use replicator::state::ConnectionState;
use replicator::wire::Kind;
use simulation::{World, scenario_tests};

const SECTORS: std::ops::Range<usize> = 16..24;
const TIMEOUT_US: u64 = 3_000_000;

scenario_tests! {
    d1_the_log_comes_before_the_data
    d2_an_answer_means_both_disks
    d3_a_flush_means_both_disks
    d3_what_was_flushed_survives_either_power_cut
    d2_what_is_written_alone_is_copied
    d4_what_the_lost_peer_may_lack_is_marked
    d6_overlapping_writes_end_in_one_order
    d8_a_demotion_leaves_nothing_in_a_cache
    d8_the_export_opens_with_a_durable_mark
    d9_a_new_disk_gets_everything
    g2_one_divergence_is_one_generation
    g1_the_newer_generation_is_the_source
    d11_a_damaged_payload_is_not_written
    r19_crossing_dials_end_in_one_connection
    f22c_a_promotion_goes_on_without_a_silent_peer
    r18ii_a_half_handshake_does_not_forbid_promotion
    r21_a_primary_always_has_a_deadline_near
    r22_the_victim_may_be_told_first
    f19e_invalidated_data_stay_given_up
    f22g_invalidate_leaves_a_good_copy
    r31_only_new_replicas_skip_their_sync
    f2a_a_stuck_write_keeps_new_connections_out
    f2b_late_bytes_are_not_read
    f2d_a_promotion_waits_for_the_peers_writes
    d4_a_durable_part_is_not_a_durable_block
    f10b_a_flush_covers_what_was_answered_before
    f7a_both_flush_before_an_extent_leaves
    f8_a_generation_begins_on_a_flushed_disk
    f7c_a_resync_begins_on_a_flushed_source
    f9_a_lost_grant_costs_no_full_sync
    f9_each_of_the_four_last_messages_may_be_lost
    f11_the_survivor_is_source
    d8_a_crashed_primary_is_known_as_one
    f5_a_write_waits_for_the_handshake
    d7_bits_count_when_identifiers_agree
    d13_a_superblock_survives_a_torn_write
    f8_a_promotion_alone_begins_a_generation
    f22b_crossing_promotions_end_in_one_primary
    d5_bits_are_durable_when_an_extent_leaves
    f2e_a_hung_disk_is_not_attached_before_its_write_has_returned
    f22d_a_restarted_primary_yields_to_who_came_after
    f3a_a_resume_under_fencing_yields_to_who_came_after
    f21_the_old_end_of_a_grown_disk_is_searched
}

fn reconnect(world: &mut World) {
    world.mend_cable();
    for host in [0, 1] {
        world.command(host, Command::Connect { discard_my_data: false });
    }
}

fn is_well(world: &World) {
    assert_eq!(world.violation(), None);
}

/// Both directions are cut until both nodes have noticed.
fn cut_and_wait(world: &mut World) {
    world.cut_from(0);
    world.cut_from(1);
    let apart = world.run_until(TIMEOUT_US, |world| {
        [0, 1].iter().all(|host| {
            world.status(*host).is_none_or(|status| status.connection != ConnectionState::Connected)
        })
    });
    assert!(apart, "the nodes never noticed the cut");
}

#[test]
fn f7c_a_block_copied_out_of_a_cache_survives_the_power_cut_of_its_source() {
    for seed in 0..10 {
        let mut world = World::calm_pair(seed);
        world.write(0, SECTORS);
        world.kill_daemon(0);
        assert!(world.bring_up_and_wait(0));
        assert!(world.gets_in_sync(), "seed {seed}: {:?}", world.violation());
        world.cut_power(1);
        assert!(world.bring_up_and_wait(1));
        // Bits without a direction may be left on the disk that lost power: a promotion gives them
        // one (D7).
        assert!(matches!(world.ask(0, Command::Primary { force: false }), Some(Answer::Done)));
        assert!(world.gets_in_sync(), "seed {seed}: {:?}", world.violation());
    }
}

#[test]
fn f11_the_survivor_is_source_when_the_primary_comes_back_without_its_cache() {
    for seed in 0..20 {
        let mut world = World::calm_pair(seed);
        // The confirmation of the first resync becomes durable.
        world.run_for(50_000);
        survivor_is_source(&mut world, seed);
    }
}

#[test]
fn f11_the_survivor_is_source_too_when_the_confirmation_of_a_resync_was_not_durable() {
    for seed in 0..20 {
        survivor_is_source(&mut World::calm_pair(seed), seed);
    }
}

fn survivor_is_source(world: &mut World, seed: u64) {
    let stamp = world.write(0, SECTORS);
    world.cut_power(0);
    world.bring_up(0);
    assert!(world.gets_in_sync(), "seed {seed}: {:?}", world.violation());
    for host in [0, 1] {
        assert_eq!(world.sector(host, SECTORS.start), stamp, "seed {seed} node {host}");
    }
}

#[test]
fn f22a_a_node_that_missed_the_verdict_learns_of_the_split_brain_later() {
    let mut world = World::calm_pair(6);
    cut_and_wait(&mut world);
    world.write(0, SECTORS);
    assert!(matches!(world.ask(1, Command::Primary { force: false }), Some(Answer::Done)));
    world.write(1, SECTORS);
    assert!(world.demote_and_wait(1));
    world.lose_next(Kind::Refuse);
    reconnect(&mut world);
    let both_alone = world.run_until(TIMEOUT_US, |world| {
        [0, 1].iter().all(|host| {
            world.status(*host).is_some_and(|s| s.connection == ConnectionState::StandAlone)
        })
    });
    assert!(both_alone, "one node goes on connecting for ever");
    is_well(&world);
}

#[test]
fn a_flush_in_flight_at_the_loss_begins_no_generation_when_the_peer_is_back_before_it_ends() {
    for seed in 0..20 {
        let mut world = World::calm_pair(seed);
        world.run_for(50_000);
        world.write(0, SECTORS);
        world.flush(0);
        world.stick_writes(0, true);
        world.begin_flush(0);
        world.run_for(2_000);
        cut_and_wait(&mut world);
        reconnect(&mut world);
        let again = world.run_until(TIMEOUT_US, |world| {
            world.status(0).is_some_and(|s| s.connection == ConnectionState::Connected)
        });
        assert!(again, "seed {seed}: {:?}", world.violation());
        world.run_for(200_000);
        world.stick_writes(0, false);
        assert!(world.wait_for_client(0), "seed {seed}");
        world.run_for(200_000);
        let stamp = world.write(0, SECTORS);
        world.cut_power(0);
        world.bring_up(0);
        assert!(world.gets_in_sync(), "seed {seed}: {:?}", world.violation());
        let found = [0, 1].map(|host| world.sector(host, SECTORS.start));
        assert_eq!(found, [stamp; 2], "seed {seed}: the survivor's write is gone");
    }
}
