//! Schedules of the resync that a broken rule must spoil.

use crate::disk_faults::Broken;
use crate::geometry::Geometry;
use crate::profile::Profile;
use crate::scenarios::{Ending, Stage, ensure};
use crate::world::World;
use replicator::event::{Command, Handler};
use replicator::settings::{ChecksumUse, Handlers, OnIoError};
use replicator::state::{ConnectionState, DiskState};
use replicator::status::{Status, SyncProgress};
use std::ops::Range;

const SECTORS: Range<usize> = 16..24;
const LONG_US: u64 = 5_000_000;

/// The target's picture of the resync.
fn progress(world: &World, host: usize) -> Option<SyncProgress> {
    world.status(host).and_then(|status| status.sync)
}

/// A resync so slow that much can happen in it.
fn slow() -> Profile {
    Profile { sync_rate_max: Some(40_000), ..Profile::calm() }
}

/// Equal bytes may sit in the target's cache: written there, the link cut, compared, cleared
/// without a flush, lost with the power.
pub(crate) fn equal_counts_as_a_write(stage: Stage) -> Ending {
    for seed in 0..10 {
        let profile = Profile { checksums: [ChecksumUse::Always; 2], ..slow() };
        let mut world = stage.pair_of(seed, profile);
        world.write(0, SECTORS);
        ensure(&world, world.violation().is_none(), "the write")?;
        let apart = world.cut_and_wait();
        ensure(&world, apart, "the nodes never noticed the cut")?;
        // Alone, the own disk is flushed: what the peer may have lost is known by its bit alone.
        world.run_for(7_000_000);
        world.write(0, 64..256);
        world.run_for(7_000_000);
        world.reconnect();
        let compared = world.run_until(LONG_US, |world| {
            progress(world, 1).is_some_and(|sync| sync.equal_blocks > 0)
        });
        ensure(&world, compared, "nothing was found equal")?;
        world.run_for(2_000);
        world.cut_power(1);
        let up = world.bring_up_and_wait(1);
        ensure(&world, up, "the target never came up")?;
        let synced = world.gets_in_sync();
        ensure(&world, synced, "they never got in sync")?;
    }
    Ok(())
}

/// A range that was granted is answered even when the resync is paused: a write may wait for it.
pub(crate) fn a_pause_acts_before_the_grant(stage: Stage) -> Ending {
    for seed in 0..5 {
        let geometry = Geometry::solid(4_000);
        let profile =
            Profile { geometry, delay_us_max: 2_000, disk_us_max: 3_000, ..Profile::calm() };
        let mut world = stage.pair_of(seed, profile);
        let apart = world.cut_and_wait();
        ensure(&world, apart, "the nodes never noticed the cut")?;
        world.write(0, 0..2_000);
        world.write(0, 2_000..4_000);
        world.reconnect();
        let begun = world.run_until(LONG_US, |world| {
            progress(world, 0).is_some_and(|sync| sync.copied_blocks > 0)
        });
        ensure(&world, begun, "the resync never began")?;
        world.command(0, Command::PauseSync);
        world.run_for(20_000);
        world.begin_write(0, 0..2_000);
        world.begin_write(0, 2_000..4_000);
        let answered = world.wait_for_client(0);
        ensure(&world, answered, "a write waits for a range of a paused resync")?;
        world.command(0, Command::ResumeSync);
        let synced = world.gets_in_sync();
        ensure(&world, synced, "they never got in sync")?;
    }
    Ok(())
}

/// mkfs forgets the whole disk at once: more extents than the log has slots.
pub(crate) fn a_zeroing_larger_than_the_log(stage: Stage) -> Ending {
    let profile = Profile { geometry: Geometry::wide(20), ..Profile::calm() };
    let all = 0..profile.geometry.sectors();
    let mut world = stage.pair_of(1, profile);
    world.write(0, SECTORS);
    world.begin_zero(0, all);
    let answered = world.wait_for_client(0);
    ensure(&world, answered, "a zeroing of the whole disk never ends")?;
    let synced = world.gets_in_sync();
    ensure(&world, synced, "they are not in sync")
}

/// A flush that does not end: writes go on beside it for a while, not for ever.
pub(crate) fn the_hard_limit(stage: Stage) -> Ending {
    let mut world = stage.calm_pair(1);
    let apart = world.cut_and_wait();
    ensure(&world, apart, "the nodes never noticed the cut")?;
    world.write(0, SECTORS);
    world.stick_flushes(0, true);
    world.write(0, SECTORS);
    world.run_for(6_000_000);
    // The pair is under way, and this one is not covered by it.
    world.write(0, SECTORS);
    world.run_for(21_000_000);
    world.begin_write(0, SECTORS);
    world.run_for(1_000_000);
    ensure(&world, world.requests_open(0) == 1, "a write did not wait for the flush")?;
    world.stick_flushes(0, false);
    let answered = world.wait_for_client(0);
    ensure(&world, answered, "the write is never answered")?;
    world.reconnect();
    let synced = world.gets_in_sync();
    ensure(&world, synced, "they never got in sync")
}

fn is(world: &World, host: usize, wanted: impl Fn(&Status) -> bool) -> bool {
    world.status(host).is_some_and(|status| wanted(&status))
}

/// A block that the source cannot read: everything else is copied, the end is not granted, and the
/// next handshake tries again.
pub(crate) fn an_unreadable_block(stage: Stage) -> Ending {
    let mut world = stage.calm_pair(1);
    let apart = world.cut_and_wait();
    ensure(&world, apart, "the nodes never noticed the cut")?;
    world.write(0, 0..256);
    world.spoil_sector(0, 77);
    world.reconnect();
    let ended = world.run_until(LONG_US, |world| {
        [0, 1].into_iter().all(|host| is(world, host, |status| status.incomplete_blocks == 1))
    });
    ensure(&world, ended, "the resync did not end as incomplete")?;
    let target = is(&world, 1, |status| {
        status.disk == DiskState::Inconsistent && status.out_of_sync_blocks == 1
    });
    ensure(&world, target, "the target is not Inconsistent, or lacks more than it must")?;
    // Written anew the sector is good again; the next handshake finds that out.
    world.write(0, 72..80);
    let apart = world.cut_and_wait();
    ensure(&world, apart, "the nodes never noticed the second cut")?;
    world.reconnect();
    let synced = world.gets_in_sync();
    ensure(&world, synced, "they never got in sync")?;
    let forgotten = is(&world, 0, |status| status.incomplete_blocks == 0);
    ensure(&world, forgotten, "the incomplete resync is not forgotten")
}

/// The administrator's snapshot fails: the target's data are not touched.
pub(crate) fn before_resync_target(stage: Stage) -> Ending {
    let handlers =
        Handlers::default().with(Handler::BeforeResyncTarget).with(Handler::AfterResyncTarget);
    let mut world = stage.pair_of(1, Profile { handlers, ..Profile::calm() });
    let before = world.write(0, SECTORS);
    let apart = world.cut_and_wait();
    ensure(&world, apart, "the nodes never noticed the cut")?;
    world.handlers_end_with(1, Some(1));
    world.write(0, SECTORS);
    world.reconnect();
    let alone = world.run_until(LONG_US, |world| {
        is(world, 1, |status| status.connection == ConnectionState::StandAlone)
    });
    let untouched = world.sector(1, SECTORS.start) == before
        && is(&world, 1, |status| status.disk == DiskState::UpToDate);
    ensure(&world, alone && untouched, "a resync began although its handler forbade it")?;
    world.run_for(100_000);
    let told = is(&world, 0, |status| {
        status.refusal.as_deref().is_some_and(|why| why.contains("before-resync-target"))
    });
    ensure(&world, told, "the source does not say why")?;
    world.handlers_end_with(1, Some(0));
    world.reconnect();
    let synced = world.gets_in_sync();
    ensure(&world, synced, "they never got in sync")?;
    let last = world.handlers_run(1).last().copied();
    ensure(&world, last == Some(Handler::AfterResyncTarget), "after-resync-target was not run")
}

/// A read error of a disk that is kept: both nodes know of the block, and a power cut of both takes
/// that knowledge from neither.
pub(crate) fn a_bit_set_while_connected(stage: Stage) -> Ending {
    let profile = Profile { on_io_error: OnIoError::PassOn, ..Profile::calm() };
    let mut world = stage.pair_of(1, profile);
    world.write(0, SECTORS);
    world.run_for(7_000_000);
    world.spoil_sector(0, SECTORS.start);
    world.begin_read(0, SECTORS);
    let answered = world.wait_for_client(0);
    ensure(&world, answered, "the read was not answered")?;
    world.run_for(100_000);
    let known = is(&world, 1, |status| status.out_of_sync_blocks == 1);
    ensure(&world, known, "the peer was not told of the block")?;
    world.cut_power(0);
    world.cut_power(1);
    let up = world.bring_up_and_wait(1);
    ensure(&world, up, "the peer never came up")?;
    let kept = is(&world, 1, |status| status.out_of_sync_blocks >= 1);
    ensure(&world, kept, "the peer forgot the block")?;
    world.bring_up(0);
    world.mend_sectors(0);
    let synced = world.gets_in_sync();
    ensure(&world, synced, "they never got in sync")
}

/// Equal bytes are marked, the target has read its own, and then a write comes: the target's disk
/// takes it, the source's does not. What is found equal now is not.
pub(crate) fn a_write_that_the_source_loses_while_it_compares(stage: Stage) -> Ending {
    for seed in 0..20 {
        let profile = Profile {
            checksums: [ChecksumUse::Always; 2],
            on_io_error: OnIoError::PassOn,
            ..Profile::calm()
        };
        let mut world = stage.pair_of(seed, profile);
        world.write(0, 0..256);
        world.command(0, Command::InvalidateRemote);
        let begun = world.run_until(LONG_US, |world| progress(world, 1).is_some());
        ensure(&world, begun, "the resync never began")?;
        world.break_disk(0, Broken::WRITES);
        for first in (0..256).step_by(16) {
            world.begin_write(0, first..first + 8);
        }
        let answered = world.wait_for_client(0);
        ensure(&world, answered, "a write was not answered")?;
        world.break_disk(0, Broken::default());
        let good = world
            .run_until(LONG_US, |world| is(world, 1, |status| status.disk == DiskState::UpToDate));
        ensure(&world, good, "the target never got good")?;
        // The source has lost writes: it fetches what it lacks when they meet again.
        let apart = world.cut_and_wait();
        ensure(&world, apart, "the nodes never noticed the cut")?;
        world.reconnect();
        let synced = world.gets_in_sync();
        ensure(&world, synced, "they never got in sync")?;
    }
    Ok(())
}

/// `detach` and `invalidate-remote` at once: one of the two is refused, and a good copy is left.
pub(crate) fn a_source_does_not_leave(stage: Stage) -> Ending {
    for detach_first in [true, false] {
        let mut world = stage.calm_pair(1);
        world.stick_writes(0, true);
        world.begin_write(0, SECTORS);
        world.run_for(1_000);
        let detach = Command::Detach { force: false };
        let (first, second) = if detach_first {
            (detach, Command::InvalidateRemote)
        } else {
            (Command::InvalidateRemote, detach)
        };
        world.command(0, first);
        world.command(0, second);
        world.run_for(1_000);
        world.stick_writes(0, false);
        world.run_for(LONG_US);
        let good = [0, 1]
            .into_iter()
            .any(|host| is(&world, host, |status| status.disk == DiskState::UpToDate));
        ensure(&world, good, "no good copy is left")?;
    }
    Ok(())
}
