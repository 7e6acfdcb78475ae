//! Fencing played by hand: what is frozen, what the handler's exit code decides, and when a mark of
//! it must be gone again (G5).

use crate::profile::Profile;
use crate::scenarios::{Ending, Stage, ensure, well};
use crate::world::World;
use replicator::event::{Answer, Command, RefusalClass};
use replicator::settings::Fencing;
use replicator::state::{ConnectionState, DiskState, Role};
use std::ops::Range;

const SECTORS: Range<usize> = 16..24;
/// Long enough for the peer to be given up, and for a handshake, in microseconds.
pub(crate) const LONG_US: u64 = 3_000_000;

pub(crate) fn fenced(fencing: Fencing) -> Profile {
    Profile { fencing, ..Profile::calm() }
}

pub(crate) fn cut(world: &mut World) {
    world.cut_from(0);
    world.cut_from(1);
}

/// Until a node has lost its peer, or has it back.
pub(crate) fn until_connected(world: &mut World, host: usize, wanted: bool) -> bool {
    world.run_until(LONG_US, |world| {
        world
            .status(host)
            .is_some_and(|status| (status.connection == ConnectionState::Connected) == wanted)
    })
}

pub(crate) fn current(world: &World, host: usize) -> Option<u64> {
    world.status(host).map(|status| status.generations.current)
}

fn is_frozen_for_fencing(world: &World) -> bool {
    world.status(0).is_some_and(|status| status.suspended.fencing)
}

pub(crate) fn promote(world: &mut World, host: usize) -> Option<Answer> {
    world.ask(host, Command::Primary { force: false })
}

/// A write in flight when the peer goes out of sight is not answered while a broken handler leaves
/// everything frozen, begins no generation, and is mirrored when the peer comes back.
pub(crate) fn frozen_until_the_peer_is_back(stage: Stage) -> Ending {
    let mut world = stage.pair_of(1, fenced(Fencing::ResourceAndStonith));
    world.write(0, SECTORS);
    let before = current(&world, 0);
    world.fence_exit(0, Some(1));
    world.stick_writes(1, true);
    world.begin_write(0, SECTORS);
    world.begin_flush(0);
    world.run_for(2_000);
    cut(&mut world);
    let lost = until_connected(&mut world, 0, false);
    world.begin_write(0, 40..48);
    world.begin_read(0, SECTORS);
    world.run_for(LONG_US);
    ensure(&world, lost && is_frozen_for_fencing(&world), "not frozen")?;
    ensure(&world, world.client_waits_for(0) == 4, "something was answered while frozen")?;
    ensure(&world, current(&world, 0) == before, "a generation began while frozen")?;
    world.stick_writes(1, false);
    world.mend_cable();
    let back = until_connected(&mut world, 0, true) && world.wait_for_client(0);
    ensure(&world, back && !is_frozen_for_fencing(&world), "still frozen, and the peer is back")?;
    let in_sync = world.gets_in_sync();
    ensure(&world, in_sync && current(&world, 0) == before, "not in sync on the old generation")
}

/// A handler that succeeds: the new generation and the mark are durable before anything is
/// answered.
pub(crate) fn fenced_first_then_a_generation_then_the_answer(stage: Stage) -> Ending {
    let mut world = stage.pair_of(2, fenced(Fencing::ResourceAndStonith));
    let before = current(&world, 0);
    world.fence_exit(0, Some(7));
    world.cut_power(1);
    let lost = until_connected(&mut world, 0, false);
    world.begin_read(0, SECTORS);
    let answered = world.wait_for_client(0);
    let durably_new = world.durable(0).is_some_and(|superblock| {
        superblock.flags.peer_outdated && Some(superblock.generations.current) != before
    });
    ensure(&world, lost && answered && durably_new, "answered on the old generation")?;
    world.write(0, SECTORS);
    world.mend_cable();
    world.bring_up(1);
    let in_sync = world.gets_in_sync();
    ensure(&world, in_sync, "the peer that was shot does not get in sync")
}

/// A result that comes when the connection is back says nothing about the peer any more.
pub(crate) fn a_result_after_the_return_is_ignored(stage: Stage) -> Ending {
    let mut world = stage.pair_of(3, fenced(Fencing::ResourceOnly));
    world.fence_exit(0, Some(4));
    world.handlers_take(LONG_US);
    cut(&mut world);
    let lost = until_connected(&mut world, 0, false);
    world.mend_cable();
    let back = until_connected(&mut world, 0, true);
    world.run_for(2 * LONG_US);
    let marked = world.durable(0).is_some_and(|superblock| superblock.flags.peer_outdated);
    ensure(&world, lost && back && !marked, "the connected peer counts as outdated")
}

/// F13: the mark that the peer is outdated is gone from stable storage before the peer is UpToDate
/// by a resync.
pub(crate) fn unmarked_before_the_grant(stage: Stage) -> Ending {
    for seed in 0..10 {
        let mut world = stage.pair_of(seed, fenced(Fencing::ResourceOnly));
        world.profile.metadata_us_max = 30_000;
        world.fence_exit(0, Some(4));
        cut(&mut world);
        until_connected(&mut world, 0, false);
        world.write(0, SECTORS);
        world.run_for(LONG_US);
        let marked = |world: &World| world.durable(0).is_some_and(|sb| sb.flags.peer_outdated);
        ensure(&world, marked(&world), "the fenced peer is not marked")?;
        world.mend_cable();
        let good = |world: &World| {
            world.durable(1).is_some_and(|sb| sb.flags.consistent && sb.flags.was_up_to_date)
        };
        world.run_until(LONG_US, |world| !good(world));
        let reached = world.run_until(LONG_US, good);
        ensure(&world, reached && !marked(&world), "UpToDate while the peer has it for outdated")?;
    }
    Ok(())
}

/// R30: the same without a resync, when the two have the same data.
pub(crate) fn unmarked_before_a_handshake_makes_up_to_date(stage: Stage) -> Ending {
    for seed in 0..20 {
        let mut world = stage.pair_of(seed, fenced(Fencing::ResourceOnly));
        world.hosts[0].metadata_extra_us = 20_000;
        cut(&mut world);
        world.fence_exit(0, Some(4));
        until_connected(&mut world, 1, false);
        let outdated = world.ask(1, Command::Outdate);
        ensure(&world, matches!(outdated, Some(Answer::Done)), "outdate was refused")?;
        let marked = |world: &World| world.durable(0).is_some_and(|sb| sb.flags.peer_outdated);
        let fenced = world.run_until(LONG_US, marked);
        ensure(&world, fenced, "the fenced peer is not marked")?;
        world.mend_cable();
        let reached = world.run_until(2 * LONG_US, |world| {
            world.status(1).is_some_and(|status| status.disk == DiskState::UpToDate)
        });
        ensure(&world, reached && !marked(&world), "UpToDate while the peer has it for outdated")?;
        let in_sync = world.gets_in_sync();
        ensure(&world, in_sync, "not in sync")?;
    }
    Ok(())
}

/// A lone node that restarts under fencing is Consistent: it needs the peer, or a fenced peer.
pub(crate) fn a_lone_start_is_consistent(stage: Stage) -> Ending {
    for (exit, becomes_primary) in
        [(3, true), (4, true), (5, false), (6, false), (7, true), (1, false)]
    {
        let mut world = stage.pair_of(4, fenced(Fencing::ResourceOnly));
        world.write(0, SECTORS);
        world.cut_power(0);
        world.kill_daemon(1);
        world.fence_exit(1, Some(exit));
        world.bring_up_and_wait(1);
        let disk = world.status(1).map(|status| status.disk);
        ensure(&world, disk == Some(DiskState::Consistent), "alone, and not Consistent")?;
        let answer = promote(&mut world, 1);
        let role = world.status(1).map(|status| status.role);
        let as_told = match answer {
            Some(Answer::Done) => becomes_primary && role == Some(Role::Primary),
            Some(Answer::Refused(refusal)) => {
                !becomes_primary && refusal.class == RefusalClass::NoGoodData
            }
            Some(Answer::Status(_)) | None => false,
        };
        ensure(&world, as_told, &format!("exit code {exit} did not decide the promotion"))?;
        let disk = world.status(1).map(|status| status.disk);
        let outdated = disk == Some(DiskState::Outdated);
        ensure(&world, outdated == (exit == 6), "only a peer that is Primary outdates this node")?;
        world.bring_up(0);
        let in_sync = world.gets_in_sync();
        ensure(&world, in_sync, "not in sync")?;
    }
    well(&stage.pair_of(5, Profile::calm()))
}
