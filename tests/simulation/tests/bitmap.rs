//! Named schedules of the bitmap, the log and the caches: what is marked, and when a mark may fall.

use replicator::event::Command;
use replicator::state::Role;
use simulation::{Geometry, Profile, World};

const SECTORS: std::ops::Range<usize> = 16..24;
/// Longer than the age at which the Primary flushes unasked.
const FLUSH_AGE_US: u64 = 7_000_000;

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
fn f6_a_block_that_was_flushed_by_the_peer_is_not_cleared_by_that_proof() {
    let mut world = World::calm_pair(1);
    world.write(0, SECTORS);
    assert!(world.cut_and_wait());
    let newer = world.write(0, SECTORS);
    world.reconnect();
    in_sync(&mut world, "the newer write was never sent");
    assert_eq!(world.sector(1, SECTORS.start), newer);
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
fn f10c_a_copied_block_that_was_lost_with_the_targets_cache_is_copied_again() {
    for seed in 0..20 {
        let mut world = World::calm_pair(seed);
        assert!(world.cut_and_wait());
        world.write(0, 0..256);
        world.reconnect();
        assert!(world.run_until(20_000_000, |world| {
            world
                .status(0)
                .and_then(|status| status.sync)
                .is_some_and(|sync| sync.copied_blocks > 0)
        }));
        power_cycle(&mut world, 1);
        in_sync(&mut world, &format!("seed {seed}"));
    }
}

#[test]
fn f10f_a_durable_write_of_a_part_does_not_make_the_whole_block_durable() {
    for seed in 0..20 {
        let mut world = World::calm_pair(seed);
        world.write(0, SECTORS);
        world.write_durably(0, SECTORS.start..SECTORS.start + 1);
        power_cycle(&mut world, 1);
        in_sync(&mut world, &format!("seed {seed}"));
    }
}

#[test]
fn f10g_a_flush_in_flight_at_the_loss_is_answered_alone_on_a_new_generation() {
    let mut world = World::calm_pair(2);
    world.write(0, SECTORS);
    world.stick_flushes(1, true);
    world.begin_flush(0);
    world.run_for(2_000);
    world.cut_power(1);
    assert!(world.wait_for_client(0), "the flush is answered by the own disk alone");
    assert!(world.demote_and_wait(0));
    world.ask(0, Command::Down);
    world.stick_flushes(1, false);
    assert!(world.bring_up_and_wait(1));
    world.ask(1, Command::Primary { force: false });
    world.write(1, 40..48);
    world.bring_up(0);
    assert!(world.gets_split(), "the flushed write would be overwritten unasked");
    assert_eq!(world.violation(), None);
}

#[test]
fn f19d_the_bit_of_an_unmirrored_write_is_set_before_the_write_is_submitted() {
    for seed in 0..10 {
        let mut world = World::calm_pair(seed);
        assert!(world.cut_and_wait());
        // The new generation is there: the next write is submitted at once.
        world.write(0, 40..48);
        world.stick_writes(0, true);
        world.begin_write(0, SECTORS);
        world.run_for(5_000);
        world.reconnect();
        world.run_for(200_000);
        world.stick_writes(0, false);
        assert!(world.wait_for_client(0), "seed {seed}");
        in_sync(&mut world, &format!("seed {seed}"));
    }
}

#[test]
fn f23_r28_one_place_in_every_window_is_enough_and_comes_back_with_each_connection() {
    let profile = Profile { window_frames: 1, sync_buffers: 1, ..Profile::calm() };
    let mut world = World::pair_of(3, profile);
    for round in 0..6 {
        for first in (0..200).step_by(10) {
            world.begin_write(0, first..first + 12);
        }
        world.run_for(1_500);
        if round % 2 == 0 {
            assert!(world.cut_and_wait());
            world.reconnect();
        }
        assert!(world.wait_for_client(0), "round {round}");
    }
    in_sync(&mut world, "with one buffer");
}

#[test]
fn r12_alone_the_log_does_not_fill_up_for_ever() {
    let mut world = wide_pair(4);
    assert!(world.cut_and_wait());
    for _ in 0..3 {
        push_out_of_the_log(&mut world);
    }
    world.reconnect();
    in_sync(&mut world, "after many extents alone");
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
