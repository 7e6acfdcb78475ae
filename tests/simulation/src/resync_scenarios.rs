//! Schedules of the resync that a broken rule must spoil.

use crate::geometry::Geometry;
use crate::profile::Profile;
use crate::scenarios::{Ending, Stage, ensure};
use crate::world::World;
use replicator::event::Command;
use replicator::settings::ChecksumUse;
use replicator::status::SyncProgress;
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
