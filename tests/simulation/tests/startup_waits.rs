//! Which startup timeout a node reports, after every way to go down (G6, drbd-facts 2.8).

use replicator::event::{Answer, Command};
use replicator::settings::Fencing;
use replicator::state::{ConnectionState, Role, StartupWait};
use simulation::{Profile, World};

const LONG_US: u64 = 3_000_000;
/// From one moment that is tried to the next.
const STEP_US: u64 = 500;
/// Steps that are tried before a handshake marks anything, and after its end.
const MOMENTS_AROUND: u64 = 20;
const PROMOTE: Command = Command::Primary { force: false };

/// How a node goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    CleanStop,
    Crash,
    PowerCut,
}

const ENDS: [End; 3] = [End::CleanStop, End::Crash, End::PowerCut];
const SUDDEN_ENDS: [End; 2] = [End::Crash, End::PowerCut];

fn slow_metadata(us_max: u64) -> Profile {
    Profile { metadata_us_max: us_max, ..Profile::calm() }
}

fn done(world: &mut World, host: usize, command: Command) {
    let answer = world.ask(host, command);
    assert!(matches!(answer, Some(Answer::Done)), "node {host}: {command:?}: {answer:?}");
}

/// Node 0 goes down, the link is cut, and it starts without its peer.
fn starts_alone_after(world: &mut World, end: End) -> StartupWait {
    match end {
        End::CleanStop => {
            if world.status(0).is_some_and(|status| status.role == Role::Primary) {
                assert!(world.demote_and_wait(0));
            }
            done(world, 0, Command::Down);
            world.kill_daemon(0);
        }
        End::Crash => {
            world.kill_daemon(0);
            world.forget_resume_mark(0);
        }
        End::PowerCut => world.cut_power(0),
    }
    world.cut_from(0);
    world.cut_from(1);
    world.run_for(LONG_US);
    assert!(world.bring_up_and_wait(0));
    waits_for(world)
}

fn waits_for(world: &World) -> StartupWait {
    world.status(0).expect("it runs").startup_wait
}

fn until_connected(world: &mut World, wanted: bool) {
    let reached = world.run_until(LONG_US, |world| is_connected(world) == wanted);
    assert!(reached, "node 0 never got connected {wanted}");
}

/// The cable is cut, and the mark of that is on the disk: a power cut in the very moment would
/// leave none.
fn loses_its_peer(world: &mut World) {
    assert!(world.cut_and_wait());
    world.run_for(100_000);
}

fn is_connected(world: &World) -> bool {
    world.status(0).is_some_and(|status| status.connection == ConnectionState::Connected)
}

#[test]
fn with_its_peer_at_the_end_a_start_is_a_normal_one() {
    for end in ENDS {
        let mut world = World::pair_of(1, Profile::calm());
        assert_eq!(starts_alone_after(&mut world, end), StartupWait::Normal, "Primary, {end:?}");
        let mut world = World::pair_of(1, Profile::calm());
        assert!(world.demote_and_wait(0));
        assert_eq!(starts_alone_after(&mut world, end), StartupWait::Normal, "Secondary, {end:?}");
    }
}

#[test]
fn a_secondary_that_lost_its_peer_starts_normally() {
    for end in ENDS {
        let mut world = World::pair_of(2, Profile::calm());
        assert!(world.demote_and_wait(0) && world.cut_and_wait());
        assert_eq!(starts_alone_after(&mut world, end), StartupWait::Normal, "{end:?}");
    }
}

#[test]
fn a_primary_that_lost_its_peer_is_degraded_if_it_did_not_stop_in_order() {
    for end in ENDS {
        for writes in [false, true] {
            let mut world = World::pair_of(3, Profile::calm());
            loses_its_peer(&mut world);
            if writes {
                world.write(0, 16..24);
            }
            let wait = starts_alone_after(&mut world, end);
            let sudden = SUDDEN_ENDS.contains(&end);
            let expected = if sudden { StartupWait::Degraded } else { StartupWait::Normal };
            assert_eq!(wait, expected, "{end:?}, writes {writes}");
        }
    }
}

#[test]
fn a_secondary_that_is_promoted_after_the_loss_is_a_primary_without_its_peer() {
    for end in SUDDEN_ENDS {
        let mut world = World::pair_of(4, Profile::calm());
        assert!(world.demote_and_wait(0) && world.cut_and_wait());
        done(&mut world, 0, PROMOTE);
        assert_eq!(starts_alone_after(&mut world, end), StartupWait::Degraded, "{end:?}");
    }
}

/// The peer is lost while the promotion with its consent is on its way to the disk.
#[test]
fn a_promotion_that_loses_its_peer_half_way_is_a_primary_without_its_peer() {
    let mut promoted = 0;
    for moment in 0..40 {
        let mut world = World::pair_of(10, slow_metadata(10_000));
        assert!(world.demote_and_wait(0) && world.gets_in_sync());
        world.command(0, PROMOTE);
        world.run_for(moment * STEP_US);
        world.kill_daemon(1);
        world.run_for(LONG_US);
        if world.status(0).is_some_and(|status| status.role == Role::Primary) {
            promoted += 1;
            let wait = starts_alone_after(&mut world, End::PowerCut);
            assert_eq!(wait, StartupWait::Degraded, "lost after {moment} steps");
        }
    }
    assert!(promoted > 0, "it is never promoted");
}

#[test]
fn degraded_outlasts_more_crashes_and_ends_with_a_clean_stop() {
    for first in SUDDEN_ENDS {
        for second in SUDDEN_ENDS {
            let case = format!("{first:?}, then {second:?}");
            let mut world = World::pair_of(5, Profile::calm());
            loses_its_peer(&mut world);
            assert_eq!(starts_alone_after(&mut world, first), StartupWait::Degraded, "{case}");
            assert_eq!(starts_alone_after(&mut world, second), StartupWait::Degraded, "{case}");
            let stopped = starts_alone_after(&mut world, End::CleanStop);
            assert_eq!(stopped, StartupWait::Normal, "{case}");
        }
    }
}

/// The power fails again while the first start writes its marks.
#[test]
fn degraded_outlasts_a_power_cut_at_any_moment_of_the_start() {
    for moment in 0..40 {
        let mut world = World::pair_of(6, slow_metadata(5_000));
        assert!(world.cut_and_wait());
        world.run_for(LONG_US);
        world.cut_power(0);
        world.run_for(LONG_US);
        world.bring_up(0);
        world.run_for(moment * 1_000);
        let wait = starts_alone_after(&mut world, End::PowerCut);
        assert_eq!(wait, StartupWait::Degraded, "{moment} ms after the first start");
    }
}

#[test]
fn a_connection_ends_it_also_for_later_starts() {
    for end in SUDDEN_ENDS {
        let mut world = World::pair_of(7, Profile::calm());
        loses_its_peer(&mut world);
        assert_eq!(starts_alone_after(&mut world, end), StartupWait::Degraded, "{end:?}");
        world.mend_cable();
        until_connected(&mut world, true);
        assert_eq!(waits_for(&world), StartupWait::Normal, "{end:?}, connected");
        assert!(world.gets_in_sync() && world.cut_and_wait());
        assert_eq!(waits_for(&world), StartupWait::Normal, "{end:?}, connected and lost");
        assert_eq!(starts_alone_after(&mut world, end), StartupWait::Normal, "{end:?}, next start");
    }
}

/// A Primary that lost its peer, and the cable is mended.
fn about_to_meet_again() -> World {
    let mut world = World::pair_of(8, slow_metadata(10_000));
    assert!(world.cut_and_wait());
    world.run_for(LONG_US);
    world.mend_cable();
    world
}

/// The mark "connected" goes to the disk before the handshake is over.
#[test]
fn a_handshake_that_breaks_off_at_any_moment_is_no_connection() {
    let mut world = about_to_meet_again();
    let mut steps = 0;
    let mut marked_at = None;
    while !is_connected(&world) {
        world.run_for(STEP_US);
        steps += 1;
        assert!(steps * STEP_US < LONG_US, "they never meet");
        if world.durable(0).is_some_and(|superblock| superblock.flags.connected) {
            marked_at.get_or_insert(steps);
        }
    }
    let marked_at = marked_at.expect("a connection is marked");
    assert!(marked_at < steps, "the mark and the end of the handshake come at once");
    for moment in marked_at.saturating_sub(MOMENTS_AROUND)..steps + MOMENTS_AROUND {
        let mut world = about_to_meet_again();
        world.run_for(moment * STEP_US);
        // The peer's process is killed: nothing of it comes any more, and the Primary hears it.
        world.kill_daemon(1);
        world.run_for(LONG_US);
        let wait = starts_alone_after(&mut world, End::PowerCut);
        assert_eq!(wait, StartupWait::Degraded, "the handshake broke after {moment} steps");
    }
}

fn with_outdated_peer() -> World {
    let profile = Profile { fencing: Fencing::ResourceOnly, ..Profile::calm() };
    let mut world = World::pair_of(9, profile);
    world.fence_exit(0, Some(4));
    world.kill_daemon(1);
    world.run_for(LONG_US);
    assert_eq!(waits_for(&world), StartupWait::PeerOutdated, "while it runs");
    world
}

#[test]
fn an_outdated_peer_comes_before_everything_else() {
    for end in ENDS {
        for next in ENDS {
            let mut world = with_outdated_peer();
            for end in [end, next] {
                let wait = starts_alone_after(&mut world, end);
                assert_eq!(wait, StartupWait::PeerOutdated, "{end:?}, then {next:?}");
            }
        }
    }
}

#[test]
fn a_peer_that_came_back_and_was_resynced_is_not_outdated() {
    for end in ENDS {
        let mut world = with_outdated_peer();
        world.write(0, 16..24);
        world.bring_up(1);
        until_connected(&mut world, true);
        assert_eq!(waits_for(&world), StartupWait::Normal, "{end:?}, connected");
        assert!(world.gets_in_sync(), "{:?}", world.violation());
        assert_eq!(starts_alone_after(&mut world, end), StartupWait::Normal, "{end:?}");
    }
}
