//! Frozen clients' I/O: nothing is started, nothing answered, no generation begun (G5, G2).

use crate::disk_faults::Broken;
use crate::scenarios::{Ending, Stage, ensure, well};
use crate::world::World;
use replicator::event::Command;
use replicator::state::{ConnectionState, Role};
use std::ops::Range;

const SECTORS: Range<usize> = 16..24;
/// Long enough for the peer to be given up, and for a handshake, in microseconds.
const LONG_US: u64 = 3_000_000;

/// Until node 0 has lost its peer, or has it back.
fn until_connected(world: &mut World, wanted: bool) -> bool {
    world.run_until(LONG_US, |world| {
        world
            .status(0)
            .is_some_and(|status| (status.connection == ConnectionState::Connected) == wanted)
    })
}

/// Writes, reads and flushes, in flight or new, wait while an operator holds them.
pub(crate) fn suspend_io_holds_what_is_in_flight_and_what_comes(stage: Stage) -> Ending {
    let mut world = stage.calm_pair(1);
    world.stick_writes(0, true);
    world.begin_write(0, SECTORS);
    world.begin_flush(0);
    world.begin_read(0, SECTORS);
    world.ask(0, Command::SuspendIo);
    world.stick_writes(0, false);
    world.begin_write(0, SECTORS);
    world.begin_read(0, SECTORS);
    world.begin_flush(0);
    world.run_for(LONG_US);
    let open = world.status(0).map_or(0, |status| status.requests_open);
    ensure(&world, world.client_waits_for(0) >= 5 && open >= 4, "something was answered")?;
    world.ask(0, Command::ResumeIo);
    let answered = world.wait_for_client(0);
    ensure(&world, answered, "something is never answered")?;
    let in_sync = world.gets_in_sync();
    ensure(&world, in_sync, "the pair is not in sync")
}

/// A write in flight at the loss begins no generation while it is held: the peer comes back to the
/// same one, and it is answered then.
pub(crate) fn suspend_io_begins_no_generation(stage: Stage) -> Ending {
    let mut world = stage.calm_pair(2);
    let current = |world: &World| world.status(0).map(|status| status.generations.current);
    let before = current(&world);
    world.stick_writes(0, true);
    world.begin_write(0, SECTORS);
    world.run_for(2_000);
    world.ask(0, Command::SuspendIo);
    world.cut_from(0);
    world.cut_from(1);
    let lost = until_connected(&mut world, false);
    world.stick_writes(0, false);
    world.run_for(LONG_US);
    ensure(&world, lost && current(&world) == before, "a generation began while frozen")?;
    world.mend_cable();
    let back = until_connected(&mut world, true);
    ensure(&world, back && world.client_waits_for(0) == 1, "answered while frozen")?;
    world.ask(0, Command::ResumeIo);
    let in_sync = world.wait_for_client(0) && world.gets_in_sync();
    ensure(&world, in_sync && current(&world) == before, "not answered on the old generation")?;
    well(&world)
}

/// Done on both disks, held back, and then the peer loses it with its power and the own disk is
/// given up: nobody may say that it is written.
pub(crate) fn what_is_held_back_is_not_answered_without_data(stage: Stage) -> Ending {
    for seed in 0..5 {
        let mut world = stage.calm_pair(seed);
        world.stick_writes(0, true);
        world.begin_write(0, SECTORS);
        world.run_for(2_000);
        world.ask(0, Command::SuspendIo);
        world.stick_writes(0, false);
        world.run_for(2_000);
        world.cut_power(1);
        let lost = until_connected(&mut world, false);
        ensure(&world, lost, "the loss of the peer was not noticed")?;
        world.ask(0, Command::Detach { force: true });
        let up = world.bring_up_and_wait(1);
        ensure(&world, up, "the peer never came up")?;
        world.run_for(LONG_US);
        world.ask(0, Command::ResumeIo);
        let answered = world.wait_for_client(0);
        ensure(&world, answered, "what was held back is never answered")?;
        ensure(&world, world.client_errors() == 1, "it was answered as if it were written")?;
    }
    Ok(())
}

/// Both disks are out of reach while a flush of the node's own is under way: a demotion that waits
/// for it ends all the same.
pub(crate) fn a_demotion_ends_with_the_last_pair(stage: Stage) -> Ending {
    let mut world = stage.calm_pair(1);
    world.stick_flushes(1, true);
    world.write(0, SECTORS);
    // The flush that nobody asked for begins.
    world.run_for(1_500_000);
    world.ask(0, Command::Detach { force: true });
    world.client_leaves(0);
    world.command(0, Command::Secondary);
    world.run_for(1_000);
    world.kill_daemon(1);
    let demoted = world.run_until(LONG_US, |world| {
        world.status(0).is_some_and(|status| status.role == Role::Secondary)
    });
    ensure(&world, demoted, "the demotion never ends")
}

/// The disk fails under the flush of a demotion; the peer takes over, and the demotion ends.
pub(crate) fn a_demotion_ends_without_its_disk(stage: Stage) -> Ending {
    let mut world = stage.calm_pair(1);
    world.write(0, SECTORS);
    world.break_disk(0, Broken { flushes: true, ..Broken::default() });
    let demoted = world.demote_and_wait(0);
    ensure(&world, demoted, "the demotion never ends")
}
