//! Schedules in which a cache is lost together with the disk that could have made up for it (D3,
//! D10, G1, G7).

use crate::disk_faults::Broken;
use crate::fencing_scenarios::until_connected;
use crate::generation_scenarios::{apart, in_sync, up};
use crate::profile::Profile;
use crate::scenarios::{Ending, Stage, ensure};
use crate::world::World;
use replicator::event::{Answer, Command};
use replicator::settings::OnIoError;
use replicator::state::{ConnectionState, DiskState, ReplicationState};
use std::ops::Range;

const SECTORS: Range<usize> = 16..24;
const OTHERS: Range<usize> = 64..72;
const LONG_US: u64 = 5_000_000;
/// Longer than anything stays unflushed.
const FLUSHED_US: u64 = 7_000_000;

/// A write that both have answered and nobody has flushed.
fn unflushed_write(stage: Stage, seed: u64, profile: Profile) -> (World, u64) {
    let mut world = stage.pair_of(seed, profile);
    world.run_for(FLUSHED_US);
    let stamp = world.write(0, SECTORS);
    (world, stamp)
}

fn passing_on() -> Profile {
    Profile { on_io_error: OnIoError::PassOn, ..Profile::calm() }
}

/// Node 1 holds the write, its cache included.
fn is_left(world: &World, stamp: u64) -> Ending {
    let found = world.sector(1, SECTORS.start);
    ensure(world, found == stamp, &format!("{found} is left of {stamp}"))
}

/// Node 0 gets no data from the peer, or what it gets is whole.
fn is_not_served(world: &mut World, stamp: u64) -> Ending {
    world.run_for(LONG_US);
    let connected =
        world.status(0).is_some_and(|status| status.connection == ConnectionState::Connected);
    let whole = world.sector(1, SECTORS.start) == stamp;
    ensure(world, !connected || whole, "clients go on with what a lost cache has left")
}

/// D10: the peer has what both had in its cache alone when the Primary's disk has left.
pub(crate) fn a_detach_flushes_the_peer(stage: Stage) -> Ending {
    for seed in 0..20 {
        let (mut world, stamp) = unflushed_write(stage, seed, Profile::calm());
        world.stick_flushes(1, true);
        let asked = world.command(0, Command::Detach { force: false });
        world.run_for(50_000);
        let attached = world.status(0).is_some_and(|status| status.disk == DiskState::UpToDate);
        ensure(&world, attached, "it has left, and the peer has not flushed")?;
        world.stick_flushes(1, false);
        let done = world.run_until(LONG_US, |world| asked.is_some_and(|id| world.has_answered(id)));
        ensure(&world, done, "the detach never ended")?;
        world.cut_power(1);
        is_left(&world, stamp)?;
    }
    Ok(())
}

/// G7: the Primary's disk fails, and before the peer has flushed what it takes over its power goes.
pub(crate) fn a_hand_over_is_not_over_before_its_flush(stage: Stage) -> Ending {
    for seed in 0..20 {
        let (mut world, stamp) = unflushed_write(stage, seed, Profile::calm());
        world.stick_flushes(1, true);
        let answer = world.ask(0, Command::Detach { force: true });
        ensure(&world, answer == Some(Answer::Done), &format!("detach: {answer:?}"))?;
        world.run_for(5_000);
        world.cut_power(1);
        world.stick_flushes(1, false);
        up(&mut world, 1)?;
        is_not_served(&mut world, stamp)?;
    }
    Ok(())
}

/// The peer has lost its power, and with it a write; a block of the Primary's disk has gone bad,
/// and nobody has read it yet.
fn with_a_bad_block_alone(stage: Stage, seed: u64) -> Result<(World, u64), String> {
    let (mut world, stamp) = unflushed_write(stage, seed, passing_on());
    world.cut_power(1);
    let lost = until_connected(&mut world, 0, false);
    ensure(&world, lost, "the loss of the peer was not noticed")?;
    world.spoil_sector(0, OTHERS.start);
    Ok((world, stamp))
}

/// G7: the peer loses its power, and then a block of the Primary's disk goes bad.
pub(crate) fn a_bad_block_after_the_peers_loss(stage: Stage) -> Ending {
    for seed in 0..20 {
        let (mut world, stamp) = with_a_bad_block_alone(stage, seed)?;
        world.read(0, OTHERS);
        let bad = world.status(0).is_some_and(|status| status.disk == DiskState::Inconsistent);
        ensure(&world, bad, "the bad block was not noticed")?;
        up(&mut world, 1)?;
        is_not_served(&mut world, stamp)?;
    }
    Ok(())
}

/// G1: a block of the source goes bad while it prepares the resync that the two have agreed on: the
/// peer's copy is not given up for it.
pub(crate) fn a_bad_block_in_a_handshake(stage: Stage) -> Ending {
    for seed in 0..5 {
        let (mut world, _) = with_a_bad_block_alone(stage, seed)?;
        world.slow_metadata(0, 50_000);
        up(&mut world, 1)?;
        let agreed = world.run_until(LONG_US, |world| {
            world.status(0).is_some_and(|status| status.replication == ReplicationState::WFBitMapS)
        });
        ensure(&world, agreed, "no resync was agreed on")?;
        world.begin_read(0, OTHERS);
        world.run_for(LONG_US);
        let is_good = |host: usize| {
            world.status(host).is_some_and(|status| status.disk > DiskState::Inconsistent)
        };
        ensure(&world, !is_good(0), "the bad block was not noticed")?;
        ensure(&world, is_good(1), "no good copy is left")?;
    }
    Ok(())
}

/// D3: the own flush fails and takes with it what only the peer has then.
pub(crate) fn a_failed_flush_takes_the_cache(stage: Stage) -> Ending {
    for seed in 0..20 {
        let (mut world, stamp) = unflushed_write(stage, seed, Profile::calm());
        apart(&mut world)?;
        world.break_disk(0, Broken::FLUSHES);
        world.begin_flush(0);
        world.run_for(LONG_US);
        let failed = world.client_errors() == 1;
        ensure(&world, failed, "a flush that failed was answered")?;
        world.kill_daemon(0);
        world.break_disk(0, Broken::default());
        up(&mut world, 0)?;
        world.mend_cable();
        in_sync(&mut world)?;
        is_left(&world, stamp)?;
    }
    Ok(())
}

/// The same, and the disk is given up for another error before its flush has returned.
pub(crate) fn a_flush_fails_after_the_disk(stage: Stage) -> Ending {
    for seed in 0..20 {
        let (mut world, stamp) = unflushed_write(stage, seed, Profile::calm());
        apart(&mut world)?;
        world.stick_flushes(0, true);
        world.begin_flush(0);
        world.run_for(5_000);
        world.break_disk(0, Broken { reads: true, ..Broken::FLUSHES });
        world.begin_read(0, OTHERS);
        world.run_for(100_000);
        world.stick_flushes(0, false);
        world.run_for(LONG_US);
        ensure(&world, world.client_errors() == 2, "what failed was answered")?;
        world.kill_daemon(0);
        world.break_disk(0, Broken::default());
        up(&mut world, 0)?;
        world.mend_cable();
        in_sync(&mut world)?;
        is_left(&world, stamp)?;
    }
    Ok(())
}
