//! Named schedules of the resync, with sound engines and with the rule broken that each is about.

use replicator::event::{Answer, Command, RefusalClass};
use replicator::settings::ChecksumUse;
use replicator::state::{DiskState, ReplicationState, Role};
use replicator::status::Status;
use simulation::{Geometry, Profile, SCENARIOS, World, scenario_tests};

const LONG_US: u64 = 10_000_000;

scenario_tests! {
    f16_writes_into_a_running_resync
    f17_writes_overtake_the_payloads_of_a_resync
    r15_a_hot_block_does_not_keep_the_resync_from_ending
    r10_a_demoted_target_leaves_nothing_granted
    r10_a_promoted_target_grants_anew
}

fn status(world: &World, host: usize) -> Status {
    world.status(host).expect("its daemon runs")
}

fn is_done(answer: Option<Answer>) -> bool {
    matches!(answer, Some(Answer::Done))
}

fn refusal_class(answer: Option<Answer>) -> Option<RefusalClass> {
    match answer {
        Some(Answer::Refused(refusal)) => Some(refusal.class),
        Some(Answer::Done | Answer::Status(_)) | None => None,
    }
}

/// A pair out of sync in every block, with a cap on the resync, about to meet again.
fn pair_with_all_to_copy(seed: u64, rate: Option<u64>) -> World {
    let geometry = Geometry::solid(2_000);
    let profile = Profile { geometry, sync_rate_max: rate, ..Profile::calm() };
    let mut world = World::pair_of(seed, profile);
    assert!(world.cut_and_wait());
    world.write(0, 0..2_000);
    world.reconnect();
    world
}

fn syncs(world: &mut World) {
    let begun = world.run_until(LONG_US, |world| {
        [0, 1].iter().all(|host| world.status(*host).is_some_and(|status| status.sync.is_some()))
    });
    assert!(begun, "the resync never began: {:?}", world.violation());
}

/// Ends well, and badly when any of the rules is broken that it is about.
fn holds(name: &str) {
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name).expect("it is written");
    assert_eq!(scenario.play(None), Ok(()), "{name}");
    for mutation in scenario.catches {
        assert!(scenario.play(Some(*mutation)).is_err(), "{name} without {}", mutation.name());
    }
}

#[test]
fn f10d_equal_counts_as_a_write() {
    holds("f10d_equal_counts_as_a_write");
}

#[test]
fn d7_a_comparison_does_not_count_when_the_target_was_written_to_meanwhile() {
    holds("d7_a_comparison_does_not_count_when_the_target_was_written_to_meanwhile");
}

#[test]
fn f22g_a_source_does_not_leave_while_the_peer_gives_its_data_up() {
    holds("f22g_a_source_does_not_leave_while_the_peer_gives_its_data_up");
}

#[test]
fn f16_a_pause_acts_before_the_grant() {
    holds("f16_a_pause_acts_before_the_grant");
}

#[test]
fn f18_a_zeroing_larger_than_the_log_is_executed_in_pieces() {
    holds("f18_a_zeroing_larger_than_the_log_is_executed_in_pieces");
}

#[test]
fn r29_much_more_unflushed_than_the_soft_limit_makes_writes_wait() {
    holds("r29_much_more_unflushed_than_the_soft_limit_makes_writes_wait");
}

#[test]
fn r17_what_the_source_cannot_read_ends_the_resync_as_incomplete() {
    holds("r17_what_the_source_cannot_read_ends_the_resync_as_incomplete");
}

#[test]
fn before_resync_target_forbids_a_resync() {
    holds("before_resync_target_forbids_a_resync");
}

#[test]
fn resync_initial() {
    let mut world = World::calm_pair(1);
    assert!(world.gets_in_sync());
    assert_eq!(world.sector(0, 200), world.sector(1, 200));
}

#[test]
fn resync_write_during_pause() {
    for host in [0, 1] {
        let mut world = pair_with_all_to_copy(2, Some(200_000));
        syncs(&mut world);
        assert!(is_done(world.ask(host, Command::PauseSync)));
        let again = world.ask(host, Command::PauseSync);
        assert_eq!(refusal_class(again), Some(RefusalClass::Configuration));
        world.run_for(500_000);
        assert_eq!(status(&world, 0).replication, ReplicationState::PausedSyncS);
        assert_eq!(status(&world, 1).replication, ReplicationState::PausedSyncT);
        let before = status(&world, 1).sync.expect("it is held, not ended");
        world.write(0, 10..90);
        world.run_for(2_000_000);
        let held = status(&world, 1).sync.expect("it is held, not ended");
        assert_eq!((held.left_blocks, held.bytes_per_s), (before.left_blocks, 0));
        assert!(is_done(world.ask(host, Command::ResumeSync)));
        let again = world.ask(host, Command::ResumeSync);
        assert_eq!(refusal_class(again), Some(RefusalClass::Configuration));
        assert!(world.gets_in_sync(), "{:?}", world.violation());
    }
}

#[test]
fn busy_resync_ends_although_every_block_is_rewritten_all_the_time() {
    let geometry = Geometry::solid(1_000);
    let profile = Profile { geometry, sync_rate_floor: 100_000, ..Profile::calm() };
    let mut world = World::pair_of(3, profile);
    assert!(world.cut_and_wait());
    world.write(0, 0..1_000);
    world.reconnect();
    let mut rounds = 0;
    while world.status(1).is_none_or(|status| status.disk != DiskState::UpToDate) {
        rounds += 1;
        assert!(rounds < 5_000, "it never ends: {:?}", status(&world, 1).sync);
        let first = rounds * 7 % 980;
        world.begin_write(0, first..first + 17);
        world.run_for(2_000);
    }
    assert!(world.wait_for_client(0));
    assert!(world.gets_in_sync(), "{:?}", world.violation());
}

#[test]
fn c_min_rate_is_what_a_busy_application_leaves_to_the_resync() {
    let geometry = Geometry::solid(8_000);
    let floor = 200_000;
    let profile = Profile { geometry, sync_rate_floor: floor, ..Profile::calm() };
    let mut world = World::pair_of(5, profile);
    assert!(world.cut_and_wait());
    for first in (0..8_000).step_by(2_000) {
        world.write(0, first..first + 2_000);
    }
    world.reconnect();
    while status(&world, 1).sync.is_none() {
        world.begin_write(0, 0..8);
        world.run_for(1_000);
    }
    let copied = |world: &World| status(world, 1).sync.map_or(0, |sync| sync.copied_blocks);
    let works = |world: &mut World| {
        for _ in 0..200 {
            world.write(0, 0..8);
            world.run_for(10_000);
        }
    };
    // What was on its way when the application began is done then.
    works(&mut world);
    let before = copied(&world);
    works(&mut world);
    let sync = status(&world, 1).sync.expect("at the floor it takes ten seconds");
    assert_eq!(sync.limited_by, "application");
    assert_eq!(status(&world, 0).sync.map(|sync| sync.limited_by), Some("application"));
    let bytes = (copied(&world) - before) * 4096;
    assert!((300_000..700_000).contains(&bytes), "{bytes} bytes in two seconds and a little");
    // Idle again: full speed.
    assert!(world.gets_in_sync(), "{:?}", world.violation());
}

#[test]
fn checksum_resync_copies_only_what_differs_in_both_directions() {
    for primary in [0, 1] {
        let geometry = Geometry::solid(4_000);
        let profile = Profile { geometry, checksums: [ChecksumUse::Always; 2], ..Profile::calm() };
        let mut world = World::pair_of(6, profile);
        if primary == 1 {
            assert!(world.demote_and_wait(0));
            world.run_for(100_000);
            assert!(is_done(world.ask(1, Command::Primary { force: false })));
        }
        let (source, target) = (primary, 1 - primary);
        assert!(is_done(world.ask(source, Command::InvalidateRemote)));
        syncs_on(&mut world, target);
        world.write(source, 100..116);
        let mut last = None;
        while world.status(target).is_none_or(|status| status.disk != DiskState::UpToDate) {
            last = world.status(target).and_then(|status| status.sync).or(last);
            world.run_for(500);
        }
        let sync = last.expect("it was seen");
        assert!(sync.equal_blocks > 400, "{sync:?}");
        assert!(sync.copied_blocks < 60, "{sync:?}");
        assert!(world.gets_in_sync(), "{:?}", world.violation());
    }
}

fn syncs_on(world: &mut World, target: usize) {
    let begun = world.run_until(LONG_US, |world| {
        world.status(target).is_some_and(|status| status.sync.is_some())
    });
    assert!(begun, "the resync never began: {:?}", world.violation());
}

#[test]
fn resync_after_primary_crash_compares_what_the_log_marks() {
    let mut world = World::calm_pair(7);
    world.write(0, 0..64);
    world.flush(0);
    world.write(0, 8..16);
    world.kill_daemon(0);
    assert!(world.bring_up_and_wait(0));
    let mut seen = None;
    for _ in 0..20_000 {
        seen = world.status(1).and_then(|status| status.sync).or(seen);
        if world.is_quiet_and_in_sync() {
            break;
        }
        world.run_for(200);
    }
    assert!(world.gets_in_sync(), "{:?}", world.violation());
    let sync = seen.expect("the log marks one extent");
    assert!(sync.equal_blocks > sync.copied_blocks, "{sync:?}");
}

#[test]
fn resync_interrupt_variants_go_on_where_they_were() {
    for variant in 0..4 {
        let mut world = pair_with_all_to_copy(8, Some(200_000));
        syncs(&mut world);
        world.run_for(900_000);
        let before = status(&world, 0).sync.expect("it is slow");
        match variant {
            0 => assert!(world.cut_and_wait()),
            1 => world.kill_daemon(1),
            2 => world.cut_power(1),
            _ => assert!(is_done(world.ask(1, Command::Disconnect))),
        }
        world.run_for(1_000_000);
        assert!(world.bring_up_and_wait(1));
        world.reconnect();
        syncs(&mut world);
        let after = status(&world, 0).sync.expect("it goes on");
        assert!(after.total_blocks >= before.total_blocks, "{before:?} {after:?}");
        let done = |sync: &replicator::status::SyncProgress| sync.total_blocks - sync.left_blocks;
        assert!(done(&after) >= done(&before), "variant {variant}: {before:?} {after:?}");
        assert!(world.gets_in_sync(), "variant {variant}: {:?}", world.violation());
    }
}

#[test]
fn progress_never_goes_back_while_blocks_are_rewritten() {
    let mut world = pair_with_all_to_copy(9, Some(100_000));
    syncs(&mut world);
    let mut last = [0, 0];
    let mut round = 0;
    while status(&world, 1).sync.is_some() && round < 4_000 {
        round += 1;
        world.begin_write(0, round * 8 % 240..round * 8 % 240 + 16);
        world.run_for(2_000);
        for host in [0, 1] {
            if let Some(sync) = status(&world, host).sync {
                let done = sync.total_blocks - sync.left_blocks;
                assert!(done >= last[host], "node {host} went back from {} to {done}", last[host]);
                last[host] = done;
            }
        }
    }
    assert!(world.wait_for_client(0));
    assert!(world.gets_in_sync(), "{:?}", world.violation());
}

#[test]
fn invalidate_variants() {
    for (at, remote) in [(1, false), (0, true)] {
        for cut in [false, true] {
            let mut world = World::calm_pair(10);
            world.write(0, 0..64);
            assert!(world.gets_in_sync());
            let command = if remote { Command::InvalidateRemote } else { Command::Invalidate };
            assert!(is_done(world.ask(at, command)), "{command:?}");
            if cut {
                assert!(world.cut_and_wait());
                world.write(0, 30..40);
                world.reconnect();
            }
            let target = |world: &World| status(world, 1).disk == DiskState::Inconsistent;
            assert!(target(&world), "{command:?}: the data are given up when it is answered");
            syncs(&mut world);
            world.write(0, 100..110);
            assert!(world.gets_in_sync(), "{command:?}: {:?}", world.violation());
            assert_eq!(status(&world, 0).role, Role::Primary);
        }
    }
}

#[test]
fn r31_new_current_uuid_skips_the_initial_sync_only_where_both_are_just_created() {
    let mut world = World::new(12, Some(Profile::calm()), false);
    let met = world.run_until(LONG_US, |world| {
        [0, 1].iter().all(|host| {
            world
                .status(*host)
                .is_some_and(|status| status.replication == ReplicationState::Established)
        })
    });
    assert!(met, "two new nodes meet");
    assert!(is_done(world.ask(0, Command::NewCurrentUuid { clear_bitmap: true })));
    world.run_for(100_000);
    for host in [0, 1] {
        let status = status(&world, host);
        assert_eq!((status.disk, status.out_of_sync_blocks), (DiskState::UpToDate, 0));
    }
    let current = [0, 1].map(|host| status(&world, host).generations.current);
    assert_eq!(current[0], current[1]);
    for clear_bitmap in [true, false] {
        let again = world.ask(1, Command::NewCurrentUuid { clear_bitmap });
        assert_eq!(refusal_class(again), Some(RefusalClass::Configuration));
    }
    assert!(is_done(world.ask(1, Command::Disconnect)));
    let before = status(&world, 1).generations;
    assert!(is_done(world.ask(1, Command::NewCurrentUuid { clear_bitmap: false })));
    let after = status(&world, 1).generations;
    assert_eq!(after.bitmap, before.current);
    assert_ne!(after.current, before.current);
}

#[test]
fn stress_al_more_than_a_hundred_extents_through_the_smallest_log() {
    let geometry = Geometry::wide(130);
    let all = geometry.sectors();
    let mut world = World::pair_of(13, Profile { geometry, ..Profile::calm() });
    // Each spans a border between two extents; the areas around those have 40 sectors.
    for first in (34..all - 50).step_by(40) {
        world.begin_write(0, first..first + 12);
    }
    assert!(world.requests_open(0) > 100);
    assert!(world.wait_for_client(0), "a deadlock: {}", world.requests_open(0));
    assert!(world.gets_in_sync(), "{:?}", world.violation());
}

#[test]
fn r9_a_bit_set_while_connected_is_announced() {
    holds("r9_a_bit_set_while_connected_is_announced");
}
