//! Schedules of caches and of the generation that an answer alone needs (F6-F10, F19d): what a
//! flush covers, and when a bit may fall.

use crate::generation_scenarios::{apart, in_sync, promoted, split, up};
use crate::scenarios::{Ending, Stage, ensure};
use crate::world::World;
use replicator::event::{Answer, Command};
use std::ops::Range;

const SECTORS: Range<usize> = 16..24;
const ELSEWHERE: Range<usize> = 40..48;
const LONG_US: u64 = 20_000_000;

fn both_hold(world: &World, stamp: u64) -> Ending {
    let found = [0, 1].map(|host| world.sector(host, SECTORS.start));
    ensure(world, found == [stamp; 2], &format!("{found:?} instead of {stamp}"))
}

fn power_cycle(world: &mut World, host: usize) -> Ending {
    world.cut_power(host);
    up(world, host)
}

/// F6: the peer had flushed what was in the set at the loss; the same block is written alone. Its
/// bit must stay.
pub(crate) fn the_peers_flush_is_no_proof(stage: Stage) -> Ending {
    let mut world = stage.calm_pair(1);
    // The timer of the first resync's flush has gone by: nothing is flushed meanwhile.
    world.run_for(7_000_000);
    world.write(0, SECTORS);
    apart(&mut world)?;
    let newer = world.write(0, SECTORS);
    world.mend_cable();
    in_sync(&mut world)?;
    both_hold(&world, newer)
}

/// F7b: the log of a crashed Primary is used up by a resync whose source has the blocks in its
/// cache alone; then the source loses its power.
pub(crate) fn a_source_flushes_what_it_sends(stage: Stage) -> Ending {
    for seed in 0..20 {
        let mut world = stage.calm_pair(seed);
        let stamp = world.write(0, SECTORS);
        power_cycle(&mut world, 0)?;
        in_sync(&mut world)?;
        power_cycle(&mut world, 1)?;
        in_sync(&mut world)?;
        both_hold(&world, stamp)?;
    }
    Ok(())
}

/// F8: the peer loses a write with its cache; the Primary does something alone and goes; the peer
/// goes on with older data.
fn alone_then_gone(stage: Stage, goes: fn(&mut World) -> Ending) -> Ending {
    for seed in 0..5 {
        let mut world = stage.calm_pair(seed);
        world.write(0, SECTORS);
        world.cut_power(1);
        apart(&mut world)?;
        goes(&mut world)?;
        the_peer_goes_on(world)?;
    }
    Ok(())
}

/// Promoted, it writes; the former Primary comes back: that is a split brain.
fn the_peer_goes_on(mut world: World) -> Ending {
    up(&mut world, 1)?;
    promoted(&mut world, 1)?;
    world.write(1, ELSEWHERE);
    world.mend_cable();
    world.bring_up(0);
    split(&mut world)
}

pub(crate) fn a_demotion_alone_begins_a_generation(stage: Stage) -> Ending {
    alone_then_gone(stage, |world| {
        let demoted = world.demote_and_wait(0);
        ensure(world, demoted, "the demotion hangs")?;
        let left = world.ask(0, Command::Down);
        ensure(world, matches!(left, Some(Answer::Done)), "the node did not leave")
    })
}

pub(crate) fn a_flush_alone_begins_a_generation(stage: Stage) -> Ending {
    alone_then_gone(stage, |world| {
        world.flush(0);
        world.kill_daemon(0);
        Ok(())
    })
}

/// F10a: a restarted daemon knows of nothing that is unflushed, and must flush all the same.
pub(crate) fn after_a_start_everything_is_unflushed(stage: Stage) -> Ending {
    for seed in 0..20 {
        let mut world = stage.calm_pair(seed);
        let stamp = world.write(0, SECTORS);
        world.cut_power(1);
        world.kill_daemon(0);
        up(&mut world, 0)?;
        let resumed = world.run_until(LONG_US, |world| {
            world.status(0).is_some_and(|status| status.role == replicator::state::Role::Primary)
        });
        ensure(&world, resumed, "the restarted Primary does not resume")?;
        world.flush(0);
        power_cycle(&mut world, 0)?;
        up(&mut world, 1)?;
        in_sync(&mut world)?;
        both_hold(&world, stamp)?;
    }
    Ok(())
}

/// F10c: a block that was copied and lost with the target's cache is copied again.
pub(crate) fn a_copied_block_may_be_lost(stage: Stage) -> Ending {
    for seed in 0..20 {
        let mut world = stage.calm_pair(seed);
        apart(&mut world)?;
        world.write(0, 0..256);
        world.mend_cable();
        world.stick_flushes(1, true);
        let copied = world.run_until(LONG_US, |world| {
            let sync = world.status(0).and_then(|status| status.sync);
            sync.is_some_and(|sync| sync.copied_blocks > 0)
        });
        ensure(&world, copied, "nothing was copied")?;
        world.run_for(20_000);
        world.stick_flushes(1, false);
        power_cycle(&mut world, 1)?;
        in_sync(&mut world)?;
    }
    Ok(())
}

/// F10g: a FLUSH is on its way when the peer is lost: it is answered alone, on a new generation.
pub(crate) fn a_flush_in_flight_at_the_loss(stage: Stage) -> Ending {
    let mut world = stage.calm_pair(2);
    world.write(0, SECTORS);
    world.stick_flushes(1, true);
    world.begin_flush(0);
    world.run_for(2_000);
    world.cut_power(1);
    let answered = world.wait_for_client(0);
    ensure(&world, answered, "the flush is not answered by the own disk alone")?;
    world.kill_daemon(0);
    world.stick_flushes(1, false);
    the_peer_goes_on(world)
}

/// F19d: a write alone is on its way to the disk while the two meet again: its bit is in the bitmap
/// that is sent.
pub(crate) fn the_bit_comes_before_the_write(stage: Stage) -> Ending {
    for seed in 0..10 {
        let mut world = stage.calm_pair(seed);
        apart(&mut world)?;
        // The new generation is there: the next write is submitted at once.
        world.write(0, ELSEWHERE);
        world.stick_plain_writes(0, true);
        let stamp = world.begin_write(0, SECTORS);
        world.run_for(5_000);
        world.reconnect();
        world.run_for(2_000_000);
        world.stick_plain_writes(0, false);
        let answered = world.wait_for_client(0);
        ensure(&world, answered, "no answer")?;
        in_sync(&mut world)?;
        both_hold(&world, stamp)?;
    }
    Ok(())
}
