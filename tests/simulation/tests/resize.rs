//! Schedules of a device that grows (D20): F21, R26, and DRBD's test `resize`.

use metadata::layout::Placement;
use replicator::event::{Answer, Command};
use replicator::state::{DiskState, Role};
use replicator::wire::Kind;
use simulation::{Profile, World};

const SECTORS: std::ops::Range<usize> = 16..24;
const LONG_US: u64 = 20_000_000;
const PLACEMENTS: [Placement; 2] = [Placement::Internal, Placement::External];

fn pair(placement: Placement, seed: u64) -> World {
    World::pair_of(seed, Profile::growing([placement; 2]))
}

fn grown_pair(placement: Placement, seed: u64) -> World {
    let mut world = pair(placement, seed);
    world.grow_disk(0);
    world.grow_disk(1);
    world
}

fn ask_resize(world: &mut World, assume_clean: bool) -> Option<Answer> {
    world.ask(0, Command::Resize { size_bytes: None, assume_clean })
}

fn refusal(answer: Option<Answer>) -> String {
    match answer {
        Some(Answer::Refused(refusal)) => refusal.text,
        other => panic!("not refused: {other:?}"),
    }
}

/// Both daemons run, are connected and in sync again, with node 0 as Primary; then the resize is
/// asked for once more and must succeed.
fn recovers_and_grows(world: &mut World, wanted: u64, what: &str) {
    for host in [0, 1] {
        assert!(world.bring_up_and_wait(host), "{what}: {:?}", world.violation());
    }
    let promoted = world.run_until(LONG_US, |world| {
        [0, 1].iter().all(|host| {
            world.status(*host).is_some_and(|status| status.peer_disk >= DiskState::Inconsistent)
        })
    });
    assert!(promoted, "{what}: never connected again: {:?}", world.violation());
    world.run_for(2_000_000);
    if world.status(0).is_some_and(|status| status.role == Role::Secondary) {
        assert_eq!(world.ask(0, Command::Primary { force: false }), Some(Answer::Done), "{what}");
    }
    assert!(world.gets_in_sync(), "{what}: {:?}", world.violation());
    assert_eq!(world.size_bytes(0), world.size_bytes(1), "{what}");
    assert_eq!(ask_resize(world, false), Some(Answer::Done), "{what}");
    assert!(world.gets_in_sync(), "{what}, grown: {:?}", world.violation());
    assert_eq!(world.size_bytes(0), Some(wanted), "{what}");
    let last = world.last_sector(0);
    let stamp = world.write(0, last..last + 1);
    assert!(world.gets_in_sync(), "{what}, written: {:?}", world.violation());
    assert_eq!(world.sector(1, last), stamp, "{what}");
}

/// Bytes of the device after an undisturbed resize, and the metadata writes that each node needs
/// for it.
fn undisturbed(placement: Placement, assume_clean: bool) -> (u64, [u64; 2]) {
    let mut world = grown_pair(placement, 5);
    world.write(0, SECTORS);
    world.flush(0);
    let before = [0, 1].map(|host| world.metadata_writes(host));
    assert_eq!(ask_resize(&mut world, assume_clean), Some(Answer::Done));
    assert!(world.gets_in_sync(), "{:?}", world.violation());
    let writes = [0, 1].map(|host| world.metadata_writes(host) - before[host]);
    (world.size_bytes(0).unwrap(), writes)
}

fn crash(world: &mut World, victim: usize, how: &str) {
    match how {
        "kill" => world.kill_daemon(victim),
        "power" => world.cut_power(victim),
        _ => {
            world.cut_power(0);
            world.cut_power(1);
        }
    }
}

/// A node, or both, goes down after each metadata write of a resize.
fn crash_after_every_write(placement: Placement, assume_clean: bool, how: &str) {
    let (wanted, writes) = undisturbed(placement, assume_clean);
    for victim in [0, 1] {
        for count in 0..=writes[victim] {
            let what = format!("{placement:?} {how} of {victim} after {count} writes");
            let mut world = grown_pair(placement, 5);
            let stamp = world.write(0, SECTORS);
            world.flush(0);
            let before = world.metadata_writes(victim);
            world.resize(0, None, assume_clean);
            let reached =
                world.run_until(LONG_US, |world| world.metadata_writes(victim) == before + count);
            assert!(reached, "{what}: it never came to that");
            crash(&mut world, victim, how);
            recovers_and_grows(&mut world, wanted, &what);
            assert_eq!(world.sector(0, SECTORS.start), stamp, "{what}");
            assert_eq!(world.sector(1, SECTORS.start), stamp, "{what}");
        }
    }
}

#[test]
fn f21_a_daemon_killed_after_any_metadata_write_of_a_resize_leaves_a_pair_that_agrees() {
    for placement in PLACEMENTS {
        crash_after_every_write(placement, false, "kill");
    }
}

#[test]
fn f21_a_power_cut_after_any_metadata_write_of_a_resize_leaves_a_pair_that_agrees() {
    for placement in PLACEMENTS {
        crash_after_every_write(placement, false, "power");
    }
}

#[test]
fn f21_both_nodes_without_power_after_any_metadata_write_of_a_resize_agree_again() {
    for placement in PLACEMENTS {
        crash_after_every_write(placement, true, "power of both");
    }
}

#[test]
fn f21_a_disk_that_grew_while_its_node_was_down_is_attached_where_it_ended() {
    for placement in PLACEMENTS {
        let mut world = pair(placement, 6);
        let before = world.size_bytes(0);
        let stamp = world.write(0, SECTORS);
        world.kill_daemon(1);
        world.grow_disk(1);
        assert!(world.bring_up_and_wait(1), "{:?}", world.violation());
        assert!(world.gets_in_sync(), "{:?}", world.violation());
        assert_eq!((world.size_bytes(1), world.sector(1, SECTORS.start)), (before, stamp));
        // The other disk has not grown: nothing can be done, and whoever enlarged this one is told.
        assert!(refusal(ask_resize(&mut world, false)).contains("has room for no more"));
        assert_eq!(world.size_bytes(0), before);
        world.grow_disk(0);
        assert_eq!(ask_resize(&mut world, false), Some(Answer::Done));
        assert!(world.gets_in_sync(), "{:?}", world.violation());
        assert!(world.size_bytes(0) > before);
    }
}

#[test]
fn r26_any_message_of_a_resize_may_be_lost() {
    for placement in PLACEMENTS {
        let (wanted, _) = undisturbed(placement, false);
        for kind in [
            Kind::ResizeAsk,
            Kind::ResizeRoom,
            Kind::ResizePrepare,
            Kind::ResizePrepared,
            Kind::ResizeCommit,
            Kind::ResizeCommitted,
            Kind::ResizeEnd,
        ] {
            let mut world = grown_pair(placement, 7);
            world.lose_next(kind);
            let answer = ask_resize(&mut world, false);
            assert!(world.has_lost(), "{kind:?} was never sent");
            if kind == Kind::ResizeEnd {
                assert_eq!(answer, Some(Answer::Done));
            } else {
                assert!(refusal(answer).contains("Run 'blkrep resize' again"), "{kind:?}");
            }
            assert!(world.gets_in_sync(), "{kind:?}: {:?}", world.violation());
            recovers_and_grows(&mut world, wanted, &format!("{kind:?}"));
        }
    }
}

#[test]
fn r26_a_size_that_a_promoted_peer_has_used_is_taken_by_the_one_that_lacks_the_commit() {
    for placement in PLACEMENTS {
        let mut world = grown_pair(placement, 8);
        let before = world.size_bytes(0);
        world.lose_next(Kind::ResizeCommitted);
        world.resize(0, None, false);
        assert!(world.run_until(LONG_US, World::has_lost));
        world.cut_power(0);
        world.run_for(3_000_000);
        let done = world.ask(1, Command::Primary { force: false });
        assert_eq!(done, Some(Answer::Done), "{:?}", world.violation());
        assert!(world.size_bytes(1) > before);
        let last = world.last_sector(1);
        let stamp = world.write(1, last..last + 1);
        assert!(world.bring_up_and_wait(0));
        assert!(world.gets_in_sync(), "{:?}", world.violation());
        assert_eq!(world.size_bytes(0), world.size_bytes(1));
        assert_eq!(world.sector(0, last), stamp);
    }
}

/// DRBD's test of that name: grow online on both, data intact, the new area synced.
#[test]
fn resize() {
    for placement in [
        [Placement::Internal; 2],
        [Placement::External; 2],
        [Placement::Internal, Placement::External],
    ] {
        for assume_clean in [false, true] {
            let mut world = World::pair_of(9, Profile::growing(placement));
            let before = world.size_bytes(0);
            let stamp = world.write(0, SECTORS);
            world.grow_disk(0);
            world.grow_disk(1);
            // Requests that come meanwhile wait and are answered.
            world.resize(0, None, assume_clean);
            world.begin_write(0, 30..40);
            world.begin_flush(0);
            assert!(world.wait_for_client(0), "{:?}", world.violation());
            assert!(world.run_until(LONG_US, |world| world.size_bytes(0) > before));
            assert!(world.gets_in_sync(), "{placement:?}: {:?}", world.violation());
            assert!(world.size_bytes(0) > before && world.size_bytes(0) == world.size_bytes(1));
            assert_eq!(world.sector(1, SECTORS.start), stamp);
            let last = world.last_sector(0);
            assert_eq!(world.sector(0, last), world.sector(1, last));
            // Both survive a restart at the new size.
            for host in [1, 0] {
                world.kill_daemon(host);
                assert!(world.bring_up_and_wait(host));
                assert!(world.gets_in_sync(), "{placement:?}: {:?}", world.violation());
            }
        }
    }
}

#[test]
fn resize_to_a_given_size_and_its_refusals_say_what_to_do() {
    let mut world = pair(Placement::External, 10);
    let before = world.size_bytes(0).unwrap();
    let ask = |world: &mut World, host: usize, size_bytes: Option<u64>| {
        world.ask(host, Command::Resize { size_bytes, assume_clean: false })
    };
    assert!(refusal(ask(&mut world, 1, None)).contains("on the Primary"));
    let shrink = refusal(ask(&mut world, 0, Some(before - 4096)));
    assert!(shrink.contains("only growing is possible"), "{shrink}");
    let no_room = refusal(ask(&mut world, 0, Some(before + 4096)));
    assert!(no_room.contains("enlarge it first"), "{no_room}");
    world.grow_disk(0);
    world.grow_disk(1);
    assert_eq!(ask(&mut world, 0, Some(before + 4096)), Some(Answer::Done));
    assert!(world.gets_in_sync(), "{:?}", world.violation());
    assert_eq!(world.size_bytes(1), Some(before + 4096));
    assert_eq!(world.ask(1, Command::Disconnect), Some(Answer::Done));
    world.run_for(1_000_000);
    assert!(refusal(ask(&mut world, 0, None)).contains("is not connected"));
}
