//! Schedules in which a disk fails under a living pair: hand-over, the sole copy, reads from the
//! peer, detach and attach.

use crate::disk_faults::Broken;
use crate::profile::Profile;
use crate::scenarios::{Ending, Stage, ensure};
use crate::world::World;
use replicator::event::{Answer, Command};
use replicator::settings::OnIoError;
use replicator::state::{ConnectionState, DiskState, ReplicationState, Role};
use replicator::wire::Kind;
use std::ops::Range;

const SECTORS: Range<usize> = 16..24;
const OTHERS: Range<usize> = 64..88;
const CACHED: Range<usize> = 40..56;
const LONG_US: u64 = 20_000_000;
/// Longer than anything stays unflushed.
const FLUSHED_US: u64 = 7_000_000;

/// Until this node's disk is in that state.
fn disk_becomes(world: &mut World, host: usize, wanted: DiskState) -> bool {
    world.run_until(LONG_US, |world| world.status(host).is_some_and(|status| status.disk == wanted))
}

/// The disk of node 0 fails under a write, which is answered all the same.
fn loses_disk(stage: Stage, seed: u64, broken: Broken) -> Result<(World, u64), String> {
    let mut world = stage.calm_pair(seed);
    world.run_for(FLUSHED_US);
    world.break_disk(0, broken);
    let stamp = world.write(0, SECTORS);
    ensure(&world, world.violation().is_none(), "the write")?;
    Ok((world, stamp))
}

/// The disk works again and is attached.
fn attach(world: &mut World, host: usize) -> Ending {
    world.break_disk(host, Broken::default());
    // The last I/O of the disk that was given up returns.
    world.run_for(20_000);
    let answer = world.ask(host, Command::Attach);
    ensure(world, matches!(answer, Some(Answer::Done)), &format!("attach: {answer:?}"))
}

fn both_hold(world: &World, stamp: u64) -> Ending {
    let found = [0, 1].map(|host| world.sector(host, SECTORS.start));
    ensure(world, found == [stamp; 2], &format!("{found:?} instead of {stamp}"))
}

fn end_in_sync(world: &mut World, stamp: u64) -> Ending {
    let synced = world.gets_in_sync();
    ensure(world, synced, "they never got in sync")?;
    both_hold(world, stamp)
}

/// F1: the Primary goes on with the peer's disk, both lose power, and its own disk works again as
/// if nothing had been: what was written meanwhile must survive.
pub(crate) fn the_old_disk_returns(stage: Stage) -> Ending {
    for seed in 0..10 {
        let (mut world, _) = loses_disk(stage, seed, Broken::ALL)?;
        let stamp = world.write(0, SECTORS);
        world.flush(0);
        world.cut_power(0);
        world.cut_power(1);
        world.break_disk(0, Broken::default());
        let held = world.bring_up_and_wait(0);
        ensure(&world, held, "node 0 never came up")?;
        let held = world.bring_up_and_wait(1);
        ensure(&world, held, "node 1 never came up")?;
        end_in_sync(&mut world, stamp)?;
    }
    Ok(())
}

/// F1, second: what the peer writes for a diskless Primary is in the peer's log.
pub(crate) fn the_far_keeper_logs(stage: Stage) -> Ending {
    for seed in 0..10 {
        let (mut world, _) = loses_disk(stage, seed, Broken::ALL)?;
        // Not told to anybody yet, and in no bitmap on stable storage.
        let stamp = world.write(0, SECTORS);
        world.write(0, OTHERS);
        world.cut_power(0);
        world.cut_power(1);
        world.break_disk(0, Broken::default());
        let held = world.bring_up_and_wait(1);
        ensure(&world, held, "node 1 never came up")?;
        let held = world.bring_up_and_wait(0);
        ensure(&world, held, "node 0 never came up")?;
        end_in_sync(&mut world, stamp)?;
    }
    Ok(())
}

/// F1, third: a disk that left while data went on elsewhere is not promoted alone.
pub(crate) fn a_left_disk_is_not_promoted(stage: Stage) -> Ending {
    let (mut world, _) = loses_disk(stage, 1, Broken::WRITES)?;
    world.write(0, SECTORS);
    world.kill_daemon(0);
    world.kill_daemon(1);
    world.break_disk(0, Broken::default());
    let held = world.bring_up_and_wait(0);
    ensure(&world, held, "node 0 never came up")?;
    let answer = world.ask(0, Command::Primary { force: false });
    ensure(
        &world,
        matches!(answer, Some(Answer::Refused(_))),
        "the disk that was left behind was promoted",
    )?;
    world.bring_up(1);
    let synced = world.gets_in_sync();
    ensure(&world, synced, "they never got in sync")
}

/// R3: nothing is answered while the peer has not taken over: what it has may still be in a cache.
pub(crate) fn nothing_is_answered_before_the_take_over(stage: Stage) -> Ending {
    let mut world = stage.calm_pair(1);
    world.run_for(FLUSHED_US);
    world.stick_flushes(1, true);
    world.break_disk(0, Broken::WRITES);
    // The peer acknowledges it from its cache, and only then the own disk fails.
    world.stick_writes(0, true);
    world.begin_write(0, SECTORS);
    world.run_for(5_000);
    world.stick_writes(0, false);
    world.run_for(300_000);
    ensure(&world, world.requests_open(0) == 1, "answered before the peer had flushed")?;
    world.stick_flushes(1, false);
    let held = world.wait_for_client(0);
    ensure(&world, held, "never answered")
}

/// F12a: the sole copy acknowledges what is durable, so its power cut takes nothing back.
pub(crate) fn the_sole_copy_loses_power(stage: Stage) -> Ending {
    for seed in 0..10 {
        let (mut world, _) = loses_disk(stage, seed, Broken::ALL)?;
        let stamp = world.write(0, SECTORS);
        world.cut_power(1);
        world.run_for(2_000_000);
        let held = world.bring_up_and_wait(1);
        ensure(&world, held, "node 1 never came up")?;
        let again = world.run_until(LONG_US, |world| {
            world.status(0).is_some_and(|status| status.peer_disk == DiskState::UpToDate)
        });
        ensure(&world, again, "the Primary never came back to its data")?;
        world.read(0, SECTORS);
        attach(&mut world, 0)?;
        end_in_sync(&mut world, stamp)?;
    }
    Ok(())
}

/// F12b: the peer's data went on without the diskless Primary: its clients must not see them.
pub(crate) fn another_generation_is_refused(stage: Stage) -> Ending {
    let (mut world, _) = loses_disk(stage, 1, Broken::ALL)?;
    world.write(0, SECTORS);
    let held = world.cut_and_wait();
    ensure(&world, held, "the nodes never noticed the cut")?;
    let answer = world.ask(1, Command::Primary { force: false });
    ensure(&world, matches!(answer, Some(Answer::Done)), "node 1 was not promoted")?;
    let stamp = world.write(1, SECTORS);
    let held = world.demote_and_wait(1);
    ensure(&world, held, "node 1 was not demoted")?;
    world.reconnect();
    world.run_for(3_000_000);
    let connected =
        world.status(0).is_some_and(|status| status.connection == ConnectionState::Connected);
    ensure(&world, !connected, "a Primary goes on with data that changed beneath its clients")?;
    let held = world.demote_and_wait(0);
    ensure(&world, held, "node 0 was not demoted")?;
    world.reconnect();
    world.run_for(1_000_000);
    attach(&mut world, 0)?;
    end_in_sync(&mut world, stamp)
}

/// F12c: a Primary whose own disk is being filled acknowledges nothing without the peer.
pub(crate) fn a_target_alone_acknowledges_nothing(stage: Stage) -> Ending {
    let profile = Profile { sync_rate_max: Some(40_000), ..Profile::calm() };
    let mut world = stage.pair_of(1, profile);
    world.break_disk(0, Broken::WRITES);
    world.write(0, 0..200);
    let stamp = world.write(0, SECTORS);
    attach(&mut world, 0)?;
    let filling = world.run_until(LONG_US, |world| {
        world.status(0).is_some_and(|s| s.replication == ReplicationState::SyncTarget)
    });
    ensure(&world, filling, "the resync never began")?;
    world.read(0, SECTORS);
    ensure(&world, world.violation().is_none(), "the read")?;
    let held = world.cut_and_wait();
    ensure(&world, held, "the nodes never noticed the cut")?;
    let errors = world.client_errors();
    world.begin_write(0, OTHERS);
    let held = world.wait_for_client(0);
    ensure(&world, held, "the write was neither done nor refused")?;
    ensure(&world, world.client_errors() > errors, "acknowledged without UpToDate data")?;
    world.reconnect();
    end_in_sync(&mut world, stamp)
}

/// F4: a block that could not be written is never copied over the peer's good one.
pub(crate) fn a_bad_block_does_not_win(stage: Stage) -> Ending {
    for seed in 0..10 {
        let profile = Profile { on_io_error: OnIoError::PassOn, ..Profile::calm() };
        let mut world = stage.pair_of(seed, profile);
        world.run_for(FLUSHED_US);
        world.break_disk(0, Broken::WRITES);
        let stamp = world.write(0, SECTORS);
        ensure(&world, world.violation().is_none(), "the write")?;
        world.break_disk(0, Broken::default());
        let held = world.cut_and_wait();
        ensure(&world, held, "the nodes never noticed the cut")?;
        world.reconnect();
        end_in_sync(&mut world, stamp)?;
    }
    Ok(())
}

/// R20: the confirmation of a hand-over is lost; the Primary goes on with what it asked for.
pub(crate) fn a_lost_confirmation(stage: Stage) -> Ending {
    for kind in [Kind::TookOver, Kind::TakeOver] {
        let mut world = stage.calm_pair(2);
        world.run_for(FLUSHED_US);
        world.lose_next(kind);
        world.break_disk(0, Broken::WRITES);
        world.begin_write(0, SECTORS);
        world.run_for(3_000_000);
        ensure(&world, world.has_lost(), "the message was never sent")?;
        let stamp = world.write(0, SECTORS);
        ensure(&world, world.violation().is_none(), "the write")?;
        attach(&mut world, 0)?;
        end_in_sync(&mut world, stamp)?;
    }
    Ok(())
}

/// R24: a flush of a Primary without a disk ends, and what it covers survives both power cuts.
pub(crate) fn a_diskless_flush(stage: Stage) -> Ending {
    let (mut world, _) = loses_disk(stage, 3, Broken::ALL)?;
    let stamp = world.write(0, SECTORS);
    world.flush(0);
    ensure(&world, world.violation().is_none(), "the flush")?;
    attach(&mut world, 0)?;
    end_in_sync(&mut world, stamp)
}

/// F2e: a disk given up by force is not attached again before its last write has returned.
pub(crate) fn a_hung_disk_is_not_attached_early(stage: Stage) -> Ending {
    let mut world = stage.calm_pair(4);
    world.stick_writes(0, true);
    world.begin_write(0, SECTORS);
    world.run_for(50_000);
    let answer = world.ask(0, Command::Detach { force: true });
    ensure(&world, matches!(answer, Some(Answer::Done)), "detach --force")?;
    let held = world.wait_for_client(0);
    ensure(&world, held, "the write was not answered by the peer's disk")?;
    let newer = world.write(0, SECTORS);
    let answer = world.ask(0, Command::Attach);
    ensure(&world, matches!(answer, Some(Answer::Refused(_))), "attached under old writes")?;
    world.stick_writes(0, false);
    world.run_for(300_000);
    attach(&mut world, 0)?;
    end_in_sync(&mut world, newer)
}

/// F10e: after a failed flush everything since the last good one is suspect on that disk.
pub(crate) fn a_failed_flush(stage: Stage) -> Ending {
    for seed in 0..10 {
        let mut world = stage.calm_pair(seed);
        world.run_for(FLUSHED_US);
        let stamp = world.write(0, SECTORS);
        let broken = Broken { flushes: true, ..Broken::default() };
        world.break_disk(0, broken);
        world.flush(0);
        ensure(&world, world.violation().is_none(), "the flush")?;
        let given_up = disk_becomes(&mut world, 0, DiskState::Diskless);
        ensure(&world, given_up, "the disk was kept")?;
        attach(&mut world, 0)?;
        end_in_sync(&mut world, stamp)?;
    }
    Ok(())
}

/// A write error on the Secondary: its disk is given up, and with it what was in its cache. When it
/// is attached again exactly that is copied, what failed, and what was written meanwhile.
pub(crate) fn io_errors_with_exact_sizes(stage: Stage) -> Ending {
    let mut world = stage.calm_pair(5);
    world.run_for(FLUSHED_US);
    world.write(0, CACHED);
    world.break_disk(1, Broken::WRITES);
    let stamp = world.write(0, SECTORS);
    let given_up = disk_becomes(&mut world, 1, DiskState::Diskless);
    ensure(&world, given_up, "the disk of the Secondary was kept")?;
    world.write(0, OTHERS);
    let blocks = (CACHED.len() + SECTORS.len() + OTHERS.len()) as u64 / 8;
    attach(&mut world, 1)?;
    let begun = world
        .run_until(LONG_US, |world| world.status(1).is_some_and(|status| status.sync.is_some()));
    ensure(&world, begun, "the resync never began")?;
    let total = world.status(1).and_then(|status| status.sync).map(|sync| sync.total_blocks);
    ensure(&world, total == Some(blocks), &format!("{total:?} blocks to copy, not {blocks}"))?;
    end_in_sync(&mut world, stamp)
}

/// D12: a target of a resync is promoted with the source's data; the arbiter changes (D6).
pub(crate) fn a_target_is_promoted(stage: Stage) -> Ending {
    let profile = Profile { sync_rate_max: Some(40_000), ..Profile::calm() };
    let mut world = stage.pair_of(6, profile);
    let held = world.cut_and_wait();
    ensure(&world, held, "the nodes never noticed the cut")?;
    world.write(0, 0..200);
    let stamp = world.write(0, SECTORS);
    let held = world.demote_and_wait(0);
    ensure(&world, held, "node 0 was not demoted")?;
    world.reconnect();
    let filling = world.run_until(LONG_US, |world| {
        world.status(1).is_some_and(|s| s.replication == ReplicationState::SyncTarget)
    });
    ensure(&world, filling, "the resync never began")?;
    let answer = world.ask(1, Command::Primary { force: false });
    ensure(&world, matches!(answer, Some(Answer::Done)), &format!("promotion: {answer:?}"))?;
    world.read(1, SECTORS);
    ensure(&world, world.violation().is_none(), "the read")?;
    both_hold_after(&mut world, stamp)?;
    let role = world.status(1).map(|status| status.role);
    ensure(&world, role == Some(Role::Primary), "the promotion did not last")
}

fn both_hold_after(world: &mut World, stamp: u64) -> Ending {
    let newer = world.write(1, OTHERS);
    end_in_sync(world, stamp)?;
    let found = [0, 1].map(|host| world.sector(host, OTHERS.start));
    ensure(world, found == [newer; 2], &format!("{found:?} instead of {newer}"))
}
