//! Schedules of ranges and of clears during a resync (D6, D7; F16, F17, R10, R15).

use crate::generation_scenarios::{apart, in_sync};
use crate::geometry::Geometry;
use crate::profile::Profile;
use crate::scenarios::{Ending, Stage, ensure};
use crate::world::World;
use replicator::event::{Answer, Command};
use replicator::state::DiskState;

const LONG_US: u64 = 10_000_000;
/// Dials that cross have come to one connection by then.
const SETTLED_US: u64 = 300_000;

/// A pair out of sync in every block, about to meet again.
fn pair_with_all_to_copy(stage: Stage, seed: u64, rate: Option<u64>) -> Result<World, String> {
    let geometry = Geometry::solid(2_000);
    let profile = Profile { geometry, sync_rate_max: rate, ..Profile::calm() };
    let mut world = stage.pair_of(seed, profile);
    apart(&mut world)?;
    world.write(0, 0..2_000);
    world.reconnect();
    Ok(world)
}

fn syncs(world: &mut World) -> Ending {
    let begun = world.run_until(LONG_US, |world| {
        [0, 1].iter().all(|host| world.status(*host).is_some_and(|status| status.sync.is_some()))
    });
    ensure(world, begun, "the resync never began")
}

/// F16: writes into blocks that are being copied: no deadlock, which would end with a connection
/// that is given up, and no divergence.
pub(crate) fn writes_into_a_running_resync(stage: Stage) -> Ending {
    for seed in 0..5 {
        let profile = Profile { delay_us_max: 2_000, ..Profile::calm() };
        let mut world = stage.pair_of(seed, profile);
        apart(&mut world)?;
        world.write(0, 0..256);
        world.reconnect();
        syncs(&mut world)?;
        let connection = world.hosts[0].connection_changes;
        for round in 0..60 {
            world.begin_write(0, round * 4..round * 4 + 9);
            world.run_for(300);
        }
        let answered = world.wait_for_client(0);
        ensure(&world, answered, "a write waits for ever")?;
        in_sync(&mut world)?;
        let same = world.hosts[0].connection_changes == connection;
        ensure(&world, same, "the two held each other up until the connection was given up")?;
    }
    Ok(())
}

/// F17: flushes and writes overtake the payloads of a resync.
pub(crate) fn writes_overtake_the_payloads_of_a_resync(stage: Stage) -> Ending {
    for seed in 0..5 {
        let mut world = pair_with_all_to_copy(stage, seed, None)?;
        for round in 0..120 {
            world.begin_write(0, round * 16..round * 16 + 21);
            if round % 5 == 0 {
                world.begin_flush(0);
            }
            world.run_for(300);
        }
        let answered = world.wait_for_client(0);
        ensure(&world, answered, "a write waits for ever")?;
        in_sync(&mut world)?;
    }
    Ok(())
}

/// R15: one hot block, rewritten in every window: a mirrored write does not cancel the clear.
pub(crate) fn a_hot_block_does_not_keep_the_resync_from_ending(stage: Stage) -> Ending {
    let mut world = pair_with_all_to_copy(stage, 4, None)?;
    world.profile.disk_us_max = 20_000;
    syncs(&mut world)?;
    for _ in 0..3_000 {
        world.begin_write(0, 8..16);
        world.run_for(150);
        if world.status(1).is_some_and(|status| status.disk == DiskState::UpToDate) {
            return in_sync(&mut world);
        }
    }
    ensure(&world, false, "the resync never ends")
}

/// R10: a Primary that is the target is demoted with ranges granted; the source is the arbiter from
/// then on, becomes Primary, and writes blocks that it has been asked for before.
pub(crate) fn a_demoted_target_leaves_nothing_granted(stage: Stage) -> Ending {
    for seed in 0..10 {
        let mut world = pair_with_all_to_copy(stage, seed, Some(400_000))?;
        syncs(&mut world)?;
        let demoted = world.demote_and_wait(0);
        ensure(&world, demoted, "the demotion hangs")?;
        world.run_for(SETTLED_US);
        syncs(&mut world)?;
        is_promoted(&mut world, 1)?;
        world.run_for(SETTLED_US);
        syncs(&mut world)?;
        world.stick_reads(0, true);
        world.run_for(SETTLED_US);
        let demoted = world.demote_and_wait(1);
        ensure(&world, demoted, "the demotion of the target hangs")?;
        world.run_for(20_000);
        is_promoted(&mut world, 0)?;
        // What was asked for is read before the write is on that disk, and sent after it.
        world.stick_plain_writes(0, true);
        world.begin_write(0, 0..2_000);
        world.run_for(20_000);
        world.stick_reads(0, false);
        world.run_for(20_000);
        world.stick_plain_writes(0, false);
        let answered = world.wait_for_client(0);
        ensure(&world, answered, "a write waits for ever")?;
        in_sync(&mut world)?;
    }
    Ok(())
}

fn is_promoted(world: &mut World, host: usize) -> Ending {
    let answer = world.ask(host, Command::Primary { force: false });
    ensure(world, matches!(answer, Some(Answer::Done)), "the promotion was refused")
}

/// R10: the target of a resync becomes Primary while it is being written to, and writes the same
/// blocks: it grants what it has asked for itself.
pub(crate) fn a_promoted_target_grants_anew(stage: Stage) -> Ending {
    for seed in 0..20 {
        let geometry = Geometry::solid(8_000);
        let profile = Profile { geometry, sync_buffers: 2, delay_us_max: 2_000, ..Profile::calm() };
        let mut world = stage.pair_of(seed, profile);
        apart(&mut world)?;
        for first in (0..8_000).step_by(2_000) {
            world.write(0, first..first + 2_000);
        }
        let demoted = world.demote_and_wait(0);
        ensure(&world, demoted, "the demotion hangs")?;
        world.reconnect();
        syncs(&mut world)?;
        is_promoted(&mut world, 1)?;
        for first in (0..8_000).step_by(160) {
            world.begin_write(1, first..first + 12);
        }
        let answered = world.wait_for_client(1);
        ensure(&world, answered, "a write waits for ever")?;
        in_sync(&mut world)?;
    }
    Ok(())
}
