//! Time that passes unnoticed, and daemons that are started again: hung disks (D15), stalls (D19),
//! resumed Primaries (G4).

use crate::fencing_scenarios::{LONG_US, current, cut, fenced, promote, until_connected};
use crate::profile::Profile;
use crate::scenarios::{Ending, Stage, ensure};
use replicator::event::{Answer, Command};
use replicator::settings::Fencing;
use replicator::state::{ConnectionState, DiskState, Role};
use std::ops::Range;
use std::time::Duration;

const SECTORS: Range<usize> = 16..24;

fn impatient() -> Profile {
    Profile { disk_timeout: Some(Duration::from_secs(1)), ..Profile::calm() }
}

/// R18 (iii): a hung disk under a Primary is given up after `disk-timeout`.
pub(crate) fn a_hung_disk_is_given_up(stage: Stage) -> Ending {
    let mut world = stage.pair_of(1, impatient());
    world.stick_writes(0, true);
    world.begin_write(0, SECTORS);
    world.run_for(LONG_US);
    let disk = world.status(0).map(|status| status.disk);
    ensure(&world, disk == Some(DiskState::Diskless), "the hung disk is not given up")?;
    ensure(&world, world.client_waits_for(0) == 0, "the client still waits for the hung disk")
}

/// R18 (i): a disk that was given up, and whose I/O has not returned, does not keep the node from
/// its peer.
pub(crate) fn a_given_up_disk_lets_the_peer_in(stage: Stage) -> Ending {
    let mut world = stage.pair_of(2, impatient());
    world.stick_writes(1, true);
    world.begin_write(0, SECTORS);
    world.run_for(LONG_US);
    let disk = world.status(1).map(|status| status.disk);
    ensure(&world, disk == Some(DiskState::Diskless), "the hung disk is not given up")?;
    ensure(&world, world.client_waits_for(0) == 0, "the Primary waits for the hung disk")?;
    cut(&mut world);
    let lost = until_connected(&mut world, 0, false);
    world.mend_cable();
    let back = until_connected(&mut world, 0, true);
    ensure(&world, lost && back, "hung I/O turns the peer away for ever")
}

/// F14 (b): a Primary that was not running while its peer went on answers nothing by what lay in
/// its socket before it has noticed.
pub(crate) fn nothing_is_answered_after_a_stall_before_the_peer(stage: Stage) -> Ending {
    let mut world = stage.calm_pair(3);
    world.write(0, SECTORS);
    let before = current(&world, 0);
    world.begin_write(0, SECTORS);
    world.stop_process(0, true);
    let lost = until_connected(&mut world, 1, false);
    let promoted = matches!(promote(&mut world, 1), Some(Answer::Done));
    ensure(&world, lost && promoted, "the peer of a stopped node cannot go on")?;
    world.write(1, SECTORS);
    world.stop_process(0, false);
    let answered = world.wait_for_client(0);
    let noticed = current(&world, 0) != before;
    ensure(&world, answered && noticed, "answered as if the peer still agreed")
}

/// R13, R14, F22 (d): the daemon of a Primary is started again and goes on, with its peer or, when
/// that is dead, on a generation of its own. That is no promotion.
pub(crate) fn a_restarted_primary_resumes(stage: Stage) -> Ending {
    for peer_is_there in [true, false] {
        let mut world = stage.calm_pair(4);
        world.write(0, SECTORS);
        let (number, before) = (world.status(0).map(|s| s.promotion_number), current(&world, 0));
        if !peer_is_there {
            world.cut_power(1);
        }
        world.kill_daemon(0);
        world.bring_up_and_wait(0);
        let resumed = world.run_until(2 * LONG_US, |world| {
            world.status(0).is_some_and(|status| status.role == Role::Primary)
        });
        ensure(&world, resumed, "the restarted Primary does not resume")?;
        let now = world.status(0).map(|s| s.promotion_number);
        ensure(&world, now == number, "the resume counts as a promotion")?;
        let is_new = current(&world, 0) != before;
        ensure(&world, is_new != peer_is_there, "a resume alone begins a generation, no other")?;
        world.write(0, SECTORS);
        world.bring_up(1);
        let in_sync = world.gets_in_sync();
        ensure(&world, in_sync, "not in sync")?;
    }
    Ok(())
}

/// F22 (d): a peer that has been Primary since ends it, and so does another boot.
pub(crate) fn a_restarted_primary_yields_to_who_came_after(stage: Stage) -> Ending {
    let mut world = stage.calm_pair(5);
    world.write(0, SECTORS);
    world.kill_daemon(0);
    until_connected(&mut world, 1, false);
    let promoted = matches!(promote(&mut world, 1), Some(Answer::Done));
    let newer = world.write(1, SECTORS);
    world.bring_up_and_wait(0);
    let in_sync = world.gets_in_sync();
    ensure(&world, promoted && in_sync, "the node that came after is not the source")?;
    let role = world.status(0).map(|status| status.role);
    ensure(&world, role == Some(Role::Secondary), "resumed against a peer that came after")?;
    ensure(&world, world.sector(0, SECTORS.start) == newer, "the newer write is lost")?;
    world.cut_power(1);
    world.bring_up_and_wait(1);
    world.run_for(2 * LONG_US);
    let status = world.status(1).map(|status| (status.role, status.connection));
    let waits = status == Some((Role::Secondary, ConnectionState::Connected));
    ensure(&world, waits, "resumed in another boot")
}

/// What the dead daemon has under way lasts so long.
const DEAD_IO_US: u64 = 3_000_000;

/// F2c: a daemon is killed while a write of it is under way, and what its successor writes there
/// must not meet that write.
pub(crate) fn a_successor_waits_for_the_io_of_a_killed_daemon(stage: Stage) -> Ending {
    let mut world = stage.calm_pair(9);
    world.stick_writes(1, true);
    world.begin_write(0, SECTORS);
    world.run_for(10_000);
    world.dead_io_lasts_for(1, DEAD_IO_US);
    world.kill_daemon(1);
    world.stick_writes(1, false);
    world.bring_up(1);
    let stamp = world.write(0, SECTORS);
    let synced = world.gets_in_sync();
    world.run_for(2 * DEAD_IO_US);
    world.check_equal();
    ensure(&world, synced, "they never got in sync")?;
    let landed = world.coverage().of("write of a dead process landed") > 0;
    ensure(&world, landed, "nothing was under way")?;
    ensure(&world, world.sector(1, SECTORS.start) == stamp, "the old write won")
}

/// F3a: the Primary's daemon is killed, and the kernel keeps what was not answered; the other node
/// is promoted, writes the same blocks and is demoted, and the first one is Primary again.
pub(crate) fn what_a_dead_primary_left_open_does_not_come(stage: Stage) -> Ending {
    let profile = Profile { kernel_clients: true, ..Profile::calm() };
    let mut world = stage.pair_of(10, profile);
    world.stick_writes(1, true);
    world.begin_write(0, SECTORS);
    world.run_for(2_000);
    world.kill_daemon(0);
    world.stick_writes(1, false);
    world.run_for(1_000_000);
    let answer = world.ask(1, Command::Primary { force: false });
    ensure(&world, matches!(answer, Some(Answer::Done)), "node 1 was not promoted")?;
    let newer = world.write(1, SECTORS);
    world.flush(1);
    world.bring_up(0);
    let synced = world.gets_in_sync();
    ensure(&world, synced, "they never got in sync")?;
    let demoted = world.demote_and_wait(1);
    ensure(&world, demoted, "node 1 was not demoted")?;
    world.run_for(50_000);
    let answer = world.ask(0, Command::Primary { force: false });
    ensure(&world, matches!(answer, Some(Answer::Done)), "node 0 was not promoted")?;
    let synced = world.gets_in_sync();
    ensure(&world, synced, "they never got in sync")?;
    let found = [0, 1].map(|host| world.sector(host, SECTORS.start));
    ensure(&world, found == [newer; 2], "what was answered last is gone")
}

/// D16: a restarted Primary that is having its peer fenced, and meets it before that is done, looks
/// first whether it has been Primary since. What its clients keep must not go over newer data.
pub(crate) fn a_resume_under_fencing_yields_to_who_came_after(stage: Stage) -> Ending {
    let mut world = stage.pair_of(7, fenced(Fencing::ResourceOnly));
    world.write(0, SECTORS);
    world.kill_daemon(0);
    until_connected(&mut world, 1, false);
    world.fence_exit(1, Some(4));
    let promoted = matches!(promote(&mut world, 1), Some(Answer::Done));
    let newer = world.write(1, SECTORS);
    world.demote(1);
    let demoted = world.run_until(LONG_US, |world| {
        world.status(1).is_some_and(|status| status.role == Role::Secondary)
    });
    ensure(&world, promoted && demoted, "the peer was not Primary meanwhile")?;
    cut(&mut world);
    world.handlers_take(4 * LONG_US);
    world.bring_up_and_wait(0);
    world.run_for(LONG_US);
    world.mend_cable();
    let met = until_connected(&mut world, 0, true);
    world.run_for(8 * LONG_US);
    let role = world.status(0).map(|status| status.role);
    ensure(&world, met && role == Some(Role::Secondary), "resumed over a peer that came after")?;
    ensure(&world, world.sector(0, SECTORS.start) == newer, "the newer write is lost")
}
