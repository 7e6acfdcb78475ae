//! Fencing by policy, exit code and moment; `outdate`; leaving in order (G5, drbd-facts 2.7).

use replicator::event::{Answer, Command, RefusalClass};
use replicator::settings::Fencing;
use replicator::state::{ConnectionState, DiskState, Role};
use simulation::{Profile, World, scenario_tests};

const LONG_US: u64 = 3_000_000;

scenario_tests! {
    f13_unmarked_before_the_grant
    f14a_frozen_until_the_peer_is_back
    f14a_fenced_first_then_a_generation_then_the_answer
    r30_unmarked_before_a_handshake_makes_up_to_date
    fencing_result_after_the_return_is_ignored
    fencing_a_lone_start_is_consistent
}

fn pair(seed: u64, fencing: Fencing) -> World {
    World::pair_of(seed, Profile { fencing, ..Profile::calm() })
}

fn until_connected(world: &mut World, host: usize, wanted: bool) {
    let reached = world.run_until(LONG_US, |world| {
        world
            .status(host)
            .is_some_and(|status| (status.connection == ConnectionState::Connected) == wanted)
    });
    assert!(reached, "node {host} never got connected {wanted}");
}

fn cut(world: &mut World) {
    world.cut_from(0);
    world.cut_from(1);
}

fn class(answer: Option<Answer>) -> Option<RefusalClass> {
    match answer {
        Some(Answer::Refused(refusal)) => Some(refusal.class),
        Some(Answer::Done | Answer::Status(_)) | None => None,
    }
}

/// How the Primary loses its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    GracefulDown,
    Kill,
    ReconnectWhileTheHandlerRuns,
}

#[test]
fn fencing_matrix() {
    let policies = [Fencing::DontCare, Fencing::ResourceOnly, Fencing::ResourceAndStonith];
    let losses = [Loss::GracefulDown, Loss::Kill, Loss::ReconnectWhileTheHandlerRuns];
    for policy in policies {
        for exit in [3, 4, 5, 6, 7, 1] {
            for loss in losses {
                a_primary_loses_its_peer(policy, exit, loss);
                a_secondary_is_promoted_after(policy, exit, loss);
            }
        }
    }
}

/// The promotion came before the loss.
fn a_primary_loses_its_peer(policy: Fencing, exit: i32, loss: Loss) {
    let case = format!("{policy:?} exit {exit} {loss:?}");
    let mut world = pair(1, policy);
    world.fence_exit(0, Some(exit));
    world.handlers_take(100_000);
    match loss {
        Loss::GracefulDown => {
            assert!(matches!(world.ask(1, Command::Down), Some(Answer::Done)), "{case}");
        }
        Loss::Kill => world.kill_daemon(1),
        Loss::ReconnectWhileTheHandlerRuns => {
            world.handlers_take(10 * LONG_US);
            cut(&mut world);
        }
    }
    until_connected(&mut world, 0, false);
    if loss == Loss::ReconnectWhileTheHandlerRuns {
        world.mend_cable();
        until_connected(&mut world, 0, true);
    }
    world.run_for(LONG_US);
    let status = world.status(0).expect("it runs");
    let fences = policy != Fencing::DontCare && loss == Loss::Kill;
    let succeeds = matches!(exit, 3 | 4 | 5 | 7);
    let frozen = policy == Fencing::ResourceAndStonith && fences && !succeeds;
    assert_eq!(status.suspended.fencing, frozen, "{case}");
    let marked = match loss {
        Loss::GracefulDown => policy != Fencing::DontCare,
        Loss::Kill => fences && succeeds,
        Loss::ReconnectWhileTheHandlerRuns => false,
    };
    assert_eq!(status.flags.peer_outdated, marked, "{case}");
    world.begin_write(0, 16..24);
    world.run_for(LONG_US);
    assert_eq!(world.client_waits_for(0) == 1, frozen, "{case}");
    if frozen {
        world.ask(0, Command::ResumeIo);
    }
    assert!(world.wait_for_client(0), "{case}");
    world.bring_up(1);
    assert!(world.gets_in_sync(), "{case}: {:?}", world.violation());
}

/// The promotion comes after the loss: of the node that has lost a peer that was no Primary.
fn a_secondary_is_promoted_after(policy: Fencing, exit: i32, loss: Loss) {
    let case = format!("promotion after, {policy:?} exit {exit} {loss:?}");
    let mut world = pair(2, policy);
    assert!(world.demote_and_wait(0) && world.gets_in_sync(), "{case}");
    world.run_for(100_000);
    world.fence_exit(0, Some(exit));
    world.handlers_take(100_000);
    match loss {
        Loss::GracefulDown => {
            assert!(matches!(world.ask(1, Command::Down), Some(Answer::Done)), "{case}");
        }
        Loss::Kill => world.kill_daemon(1),
        Loss::ReconnectWhileTheHandlerRuns => {
            world.handlers_take(2 * LONG_US);
            cut(&mut world);
        }
    }
    until_connected(&mut world, 0, false);
    if loss == Loss::ReconnectWhileTheHandlerRuns {
        world.command(0, Command::Primary { force: false });
        world.run_for(10_000);
        world.mend_cable();
        until_connected(&mut world, 0, true);
        world.run_for(2 * LONG_US);
        let status = world.status(0).expect("it runs");
        assert_eq!(status.role, Role::Primary, "{case}: with the peer's consent");
        assert!(!status.flags.peer_outdated, "{case}");
        return assert_eq!(world.violation(), None, "{case}");
    }
    let answer = world.ask(0, Command::Primary { force: false });
    let succeeds = policy == Fencing::DontCare || matches!(exit, 3 | 4 | 5 | 7);
    // Whose peer is Primary has no good data any more.
    let refused = if exit == 6 { RefusalClass::NoGoodData } else { RefusalClass::State };
    assert_eq!(class(answer), (!succeeds).then_some(refused), "{case}");
    let status = world.status(0).expect("it runs");
    let disk = if exit == 6 && !succeeds { DiskState::Outdated } else { DiskState::UpToDate };
    assert_eq!(status.disk, disk, "{case}");
    let forced = world.ask(0, Command::Primary { force: true });
    assert!(matches!(forced, Some(Answer::Done)), "{case}");
    world.bring_up(1);
    assert!(world.gets_in_sync(), "{case}: {:?}", world.violation());
}

#[test]
fn outdate_is_refused_while_connected_and_on_a_primary_and_of_a_worse_disk() {
    let mut world = pair(3, Fencing::ResourceOnly);
    world.fence_exit(0, Some(4));
    assert_eq!(class(world.ask(0, Command::Outdate)), Some(RefusalClass::NoGoodData));
    assert_eq!(class(world.ask(1, Command::Outdate)), Some(RefusalClass::State));
    cut(&mut world);
    until_connected(&mut world, 1, false);
    for _ in 0..2 {
        assert!(matches!(world.ask(1, Command::Outdate), Some(Answer::Done)));
    }
    assert_eq!(world.status(1).map(|status| status.disk), Some(DiskState::Outdated));
    let promoted = world.ask(1, Command::Primary { force: false });
    assert_eq!(class(promoted), Some(RefusalClass::NoGoodData));
    world.kill_daemon(1);
    assert!(world.bring_up_and_wait(1));
    assert_eq!(world.status(1).map(|status| status.disk), Some(DiskState::Outdated));
    world.mend_cable();
    assert!(world.gets_in_sync(), "{:?}", world.violation());

    let mut fresh = World::new(4, Some(Profile::calm()), false);
    fresh.run_for(100_000);
    assert_eq!(class(fresh.ask(0, Command::Outdate)), Some(RefusalClass::LowerThanOutdated));
}

#[test]
fn a_node_that_leaves_a_primary_is_outdated_and_nobody_is_fenced() {
    for host in [0, 1] {
        let mut world = pair(5, Fencing::ResourceAndStonith);
        world.fence_exit(0, Some(1));
        assert!(matches!(world.ask(host, Command::Disconnect), Some(Answer::Done)), "node {host}");
        world.run_for(100_000);
        assert_eq!(world.status(1).map(|status| status.disk), Some(DiskState::Outdated));
        let primary = world.status(0).expect("it runs");
        assert!(!primary.suspended.any(), "node {host} left, and the Primary froze");
        assert_eq!(primary.peer_disk, DiskState::Outdated, "node {host}");
        world.write(0, 16..24);
        for host in [0, 1] {
            world.command(host, Command::Connect { discard_my_data: false });
        }
        assert!(world.gets_in_sync(), "node {host}: {:?}", world.violation());
    }
}

/// The mark that the peer is outdated is taken off the disk before the handshake is over. If that
/// breaks off then, the peer may be UpToDate: nobody may believe any longer that it is outdated.
#[test]
fn a_handshake_that_breaks_off_leaves_no_belief_that_the_disk_does_not_hold() {
    const STEP_US: u64 = 500;
    let begun = || {
        let profile =
            Profile { fencing: Fencing::ResourceOnly, metadata_us_max: 10_000, ..Profile::calm() };
        let mut world = World::pair_of(7, profile);
        world.fence_exit(0, Some(4));
        cut(&mut world);
        until_connected(&mut world, 0, false);
        world.run_for(LONG_US);
        // Whatever is lost from here on cannot be fenced.
        world.fence_exit(0, Some(1));
        world.mend_cable();
        world
    };
    let unmarked = |world: &World| world.durable(0).is_some_and(|sb| !sb.flags.peer_outdated);
    let mut world = begun();
    let mut steps = 0;
    while !unmarked(&world) {
        world.run_for(STEP_US);
        steps += 1;
        assert!(steps * STEP_US < LONG_US, "the mark is never taken off");
    }
    for moment in steps..steps + 40 {
        let mut world = begun();
        world.run_for(moment * STEP_US);
        world.kill_daemon(1);
        world.run_for(LONG_US);
        let status = world.status(0).expect("it runs");
        let believed = status.peer_disk == DiskState::Outdated;
        assert_eq!(believed, status.flags.peer_outdated, "broken after {moment} steps");
    }
}
