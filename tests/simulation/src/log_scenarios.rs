//! Schedules of the activity log and of windows: who keeps the log, what may leave it, and that
//! nobody waits for ever (F23, R2, R12, R27, R28).

use crate::generation_scenarios::{apart, in_sync};
use crate::geometry::Geometry;
use crate::profile::Profile;
use crate::scenarios::{Ending, Stage, ensure};
use crate::world::World;
use replicator::event::{Answer, Command};
use replicator::state::ReplicationState;
use std::ops::Range;

const LONG_US: u64 = 20_000_000;
/// Real sectors around each border between two extents of a wide device.
const AREA: usize = 40;

/// Four sectors at the beginning of an extent.
const fn within(extent: usize) -> Range<usize> {
    extent * AREA + 2..extent * AREA + 6
}

/// Sectors on both sides of the border before an extent.
const fn across(extent: usize) -> Range<usize> {
    extent * AREA - 4..extent * AREA + 4
}

fn wide_pair(stage: Stage, seed: u64) -> World {
    stage.pair_of(seed, Profile { geometry: Geometry::wide(14), ..Profile::calm() })
}

/// R2: a target that is promoted is the Primary and keeps the log, whatever the state of its disk:
/// a write reaches one disk and both nodes lose their power.
pub(crate) fn a_primary_that_is_the_target_keeps_the_log(stage: Stage) -> Ending {
    for seed in 0..10 {
        let profile = Profile { sync_rate_max: Some(40_000), ..Profile::calm() };
        let mut world = stage.pair_of(seed, profile);
        apart(&mut world)?;
        world.write(0, 0..200);
        world.flush(0);
        let demoted = world.demote_and_wait(0);
        ensure(&world, demoted, "the demotion hangs")?;
        world.reconnect();
        let promoted = world.run_until(LONG_US, |world| {
            world.status(1).is_some_and(|s| s.replication == ReplicationState::SyncTarget)
        });
        let answer = world.ask(1, Command::Primary { force: false });
        let promoted = promoted && matches!(answer, Some(Answer::Done));
        ensure(&world, promoted, "the target was not promoted")?;
        let meets = world.run_until(LONG_US, |world| {
            world.status(1).is_some_and(|s| s.replication == ReplicationState::SyncTarget)
        });
        ensure(&world, meets, "the resync does not go on")?;
        // Not one of the blocks that are copied.
        world.stick_writes(0, true);
        world.begin_write(1, 208..216);
        world.run_for(5_000);
        world.cut_power(0);
        world.cut_power(1);
        world.bring_up(0);
        world.bring_up(1);
        in_sync(&mut world)?;
    }
    Ok(())
}

/// D5: more extents than the log has slots are being written and the own disk is slow: those in
/// flight keep their place.
pub(crate) fn what_is_in_flight_keeps_its_place(stage: Stage) -> Ending {
    for seed in 0..5 {
        let mut world = wide_pair(stage, seed);
        world.stick_writes(0, true);
        for extent in 0..12 {
            world.begin_write(0, within(extent));
        }
        world.run_for(50_000);
        world.cut_power(0);
        world.run_for(2_000_000);
        world.bring_up(0);
        in_sync(&mut world)?;
    }
    Ok(())
}

/// R12: alone, extents leave the log with their bits.
pub(crate) fn alone_the_log_does_not_fill_up(stage: Stage) -> Ending {
    let mut world = wide_pair(stage, 4);
    apart(&mut world)?;
    for _ in 0..3 {
        for extent in 1..13 {
            world.begin_write(0, within(extent));
            let answered = world.wait_for_client(0);
            ensure(&world, answered, "a write waits for a place in the log for ever")?;
        }
    }
    world.reconnect();
    in_sync(&mut world)
}

/// R27: one place is free and the request whose turn it is needs two: nobody overtakes it.
pub(crate) fn a_large_request_is_not_overtaken(stage: Stage) -> Ending {
    for seed in 0..5 {
        let mut world = wide_pair(stage, seed);
        world.write(0, within(0));
        world.flush(0);
        world.stick_writes(0, true);
        for extent in 1..7 {
            world.begin_write(0, within(extent));
        }
        world.run_for(10_000);
        let large = world.begin_write(0, across(9));
        world.run_for(5_000);
        let small = world.begin_write(0, within(11));
        world.run_for(50_000);
        let found = world.sector(1, within(11).start);
        ensure(&world, found != small, "a small request overtook a large one")?;
        world.stick_writes(0, false);
        let answered = world.wait_for_client(0);
        ensure(&world, answered, "a request waits for ever")?;
        ensure(&world, world.sector(1, across(9).start) == large, "the large one was lost")?;
        in_sync(&mut world)?;
    }
    Ok(())
}

/// F23, R28: one place in every window is enough, and it comes back with each connection.
pub(crate) fn one_place_in_the_window_is_enough(stage: Stage) -> Ending {
    let profile = Profile { window_frames: 1, sync_buffers: 1, ..Profile::calm() };
    let mut world = stage.pair_of(3, profile);
    for round in 0..6 {
        let connection = world.hosts[0].connection_changes;
        for first in (0..200).step_by(10) {
            // Every other pair overlaps.
            world.begin_write(0, first..first + 12 - first % 4);
        }
        world.run_for(1_500);
        if round % 2 == 0 {
            apart(&mut world)?;
            world.reconnect();
        }
        let answered = world.wait_for_client(0);
        ensure(&world, answered, "a write waits for a place for ever")?;
        let same = world.hosts[0].connection_changes == connection;
        let why = "a write got no place until the connection was given up";
        ensure(&world, same || round % 2 == 0, why)?;
        in_sync(&mut world)?;
        // Dials that crossed have come to one connection by then.
        world.run_for(300_000);
    }
    in_sync(&mut world)
}
