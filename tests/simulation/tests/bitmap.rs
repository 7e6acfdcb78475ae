//! Named schedules of the bitmap, the log and the caches: what is marked, and when a mark may fall.

use replicator::event::Command;
use replicator::state::Role;
use simulation::{Geometry, Profile, World, scenario_tests};

const SECTORS: std::ops::Range<usize> = 16..24;
/// Longer than the age at which the Primary flushes unasked.
const FLUSH_AGE_US: u64 = 7_000_000;

scenario_tests! {
    f6_the_peers_flush_is_no_proof
    f7b_a_source_flushes_what_it_sends
    f8_a_flush_alone_begins_a_generation
    f8_a_demotion_alone_begins_a_generation
    f10a_after_a_start_everything_is_unflushed
    f10c_a_copied_block_may_be_lost
    f10g_a_flush_in_flight_at_the_loss
    f19d_the_bit_comes_before_the_write
    r2_a_primary_that_is_the_target_keeps_the_log
    d5_what_is_in_flight_keeps_its_place
    r12_alone_the_log_does_not_fill_up
    r27_a_large_request_is_not_overtaken
    f23_r28_one_place_in_the_window_is_enough
}

fn in_sync(world: &mut World, what: &str) {
    assert!(world.gets_in_sync(), "{what}: {:?}", world.violation());
}

fn power_cycle(world: &mut World, host: usize) {
    world.cut_power(host);
    assert!(world.bring_up_and_wait(host));
}

/// A wide pair writes into more extents than the log has slots, so that all others leave it.
fn push_out_of_the_log(world: &mut World) {
    for border in 1..14 {
        let first = 24 + 40 * border;
        world.write(0, first..first + 8);
    }
}

fn wide_pair(seed: u64) -> World {
    World::pair_of(seed, Profile { geometry: Geometry::wide(20), ..Profile::calm() })
}

#[test]
fn f7a_an_extent_leaves_the_log_only_when_both_disks_have_flushed() {
    for seed in 0..10 {
        let mut world = wide_pair(seed);
        world.write(0, 0..8);
        world.run_for(FLUSH_AGE_US);
        push_out_of_the_log(&mut world);
        power_cycle(&mut world, 0);
        in_sync(&mut world, &format!("seed {seed}"));
    }
}

#[test]
fn f7a_the_same_while_disconnected() {
    for seed in 0..10 {
        let mut world = wide_pair(seed);
        world.write(0, 0..8);
        assert!(world.cut_and_wait());
        push_out_of_the_log(&mut world);
        power_cycle(&mut world, 0);
        world.reconnect();
        in_sync(&mut world, &format!("seed {seed}"));
    }
}

#[test]
fn f7b_the_source_of_a_resync_flushes_what_it_sends_from_its_cache() {
    for seed in 0..10 {
        let mut world = World::calm_pair(seed);
        world.write(0, SECTORS);
        world.kill_daemon(0);
        assert!(world.run_until(20_000_000, |world| {
            world.status(1).is_some_and(|status| status.peer_role.is_none())
        }));
        world.ask(1, Command::Primary { force: false });
        assert_eq!(world.status(1).map(|status| status.role), Some(Role::Primary));
        assert!(world.bring_up_and_wait(0));
        in_sync(&mut world, &format!("seed {seed}"));
        power_cycle(&mut world, 1);
        in_sync(&mut world, &format!("seed {seed}, after the power cut of the source"));
    }
}

#[test]
fn f10b_a_flush_does_not_cover_what_was_acknowledged_while_it_ran() {
    for seed in 0..10 {
        let mut world = World::calm_pair(seed);
        world.stick_flushes(1, true);
        world.write(0, 40..48);
        world.begin_flush(0);
        world.run_for(1_000);
        world.begin_write(0, SECTORS);
        world.run_for(5_000);
        world.stick_flushes(1, false);
        assert!(world.wait_for_client(0));
        power_cycle(&mut world, 1);
        in_sync(&mut world, &format!("seed {seed}"));
    }
}

#[test]
fn r27_a_large_request_is_not_starved_by_small_ones() {
    let mut world = wide_pair(5);
    // Four extents at once, while single ones come and go.
    world.begin_zero(0, 24 + 40..24 + 40 * 4);
    let large = world.requests_open(0);
    assert_eq!(large, 1);
    for round in 0..300 {
        let first = 24 + 40 * (round * 7 % 17);
        world.begin_write(0, first..first + 4);
        world.run_for(500);
    }
    assert!(world.wait_for_client(0), "a request waits for ever");
    in_sync(&mut world, "after the mixture");
}
