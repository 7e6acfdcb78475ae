//! What must not wait for ever, or for each other: hung reads, detaches, frozen clients, crossing
//! verbs, handlers (D15, G5, F22g).

use crate::disk_faults::Broken;
use crate::fencing_scenarios::{cut, fenced, until_connected};
use crate::generation_scenarios::in_sync;
use crate::geometry::Geometry;
use crate::profile::Profile;
use crate::scenarios::{Ending, Stage, ensure};
use crate::world::World;
use metadata::layout::Placement;
use replicator::event::{Answer, Command, Handler};
use replicator::settings::{Fencing, Handlers};
use replicator::state::{DiskState, ReplicationState};
use replicator::wire::Kind;
use std::ops::Range;
use std::time::Duration;

const SECTORS: Range<usize> = 16..24;
const OTHERS: Range<usize> = 64..72;
const LONG_US: u64 = 5_000_000;

fn attached_again(world: &mut World, host: usize) -> Ending {
    world.break_disk(host, Broken::default());
    world.run_for(20_000);
    let answer = world.ask(host, Command::Attach);
    ensure(world, answer == Some(Answer::Done), &format!("attach: {answer:?}"))
}

/// D15: reads of a disk that hangs end when it is given up, and nobody waits for them any more.
pub(crate) fn hung_reads_end(stage: Stage) -> Ending {
    for disk_timeout in [Some(Duration::from_secs(1)), None] {
        hung_read_ends(stage, disk_timeout)?;
    }
    Ok(())
}

/// With `disk-timeout`, or by `detach --force`.
fn hung_read_ends(stage: Stage, disk_timeout: Option<Duration>) -> Ending {
    let mut world = stage.pair_of(1, Profile { disk_timeout, ..Profile::calm() });
    world.write(0, SECTORS);
    world.stick_reads(0, true);
    world.begin_read(0, SECTORS);
    if disk_timeout.is_none() {
        world.ask(0, Command::Detach { force: true });
    }
    world.run_for(LONG_US);
    ensure(&world, world.client_waits_for(0) == 0, "the client still waits for the hung disk")?;
    ensure(&world, world.client_errors() == 1, "the hung read was answered as if it were done")?;
    let demoted = world.demote_and_wait(0);
    ensure(&world, demoted, "the demotion waits for the hung disk")?;
    world.stick_reads(0, false);
    attached_again(&mut world, 0)?;
    in_sync(&mut world)?;
    ensure(&world, world.buffers_held() == 0, "the buffer of the hung read is lost")
}

/// D15: a Primary whose disk is being filled detaches it: a read that comes meanwhile waits for
/// that, so that must not wait for the read.
pub(crate) fn a_detach_ends_under_reads(stage: Stage) -> Ending {
    let profile = Profile { sync_rate_max: Some(40_000), ..Profile::calm() };
    let mut world = stage.pair_of(1, profile);
    world.break_disk(0, Broken::WRITES);
    world.write(0, 0..200);
    attached_again(&mut world, 0)?;
    let filling = world.run_until(LONG_US, |world| {
        world.status(0).is_some_and(|s| s.replication == ReplicationState::SyncTarget)
    });
    ensure(&world, filling, "the resync never began")?;
    world.stick_writes(0, true);
    world.begin_write(0, SECTORS);
    world.run_for(2_000);
    let detach = world.command(0, Command::Detach { force: false });
    world.run_for(2_000);
    for sector in [SECTORS.start, 192] {
        world.begin_read(0, sector..sector + 8);
    }
    world.run_for(2_000);
    world.stick_writes(0, false);
    let ended = world.run_until(LONG_US, |world| detach.is_some_and(|id| world.has_answered(id)));
    ensure(&world, ended, "the detach waits for what waits for it")?;
    let answered = world.wait_for_client(0);
    ensure(&world, answered && world.client_errors() == 0, "the peer's disk does not serve")?;
    attached_again(&mut world, 0)?;
    in_sync(&mut world)
}

/// D15: the Secondary's disk is detached although the Primary's clients never pause.
pub(crate) fn a_detach_ends_under_writes(stage: Stage) -> Ending {
    let geometry = Geometry::solid(1_000);
    let profile = Profile { geometry, disk_us_max: 20_000, window_frames: 64, ..Profile::calm() };
    let mut world = stage.pair_of(2, profile);
    let mut next = 0;
    let mut writes = |world: &mut World, us: u64| {
        for _ in 0..us / 100 {
            if world.client_waits_for(0) < 64 {
                next = (next + 8) % 1_000;
                world.begin_write(0, next..next + 8);
            }
            world.run_for(100);
        }
    };
    writes(&mut world, 100_000);
    let detach = world.command(1, Command::Detach { force: false });
    writes(&mut world, 1_000_000);
    let ended = detach.is_some_and(|id| world.has_answered(id));
    ensure(&world, ended, "the detach waits for the clients to pause")?;
    let answered = world.wait_for_client(0);
    ensure(&world, answered && world.client_errors() == 0, "the Primary's writes do not end")?;
    attached_again(&mut world, 1)?;
    in_sync(&mut world)
}

/// G5: frozen, and the own disk goes too, before or after the handler has said that the peer is
/// fenced: there is nothing to wait for.
pub(crate) fn frozen_without_a_disk(stage: Stage) -> Ending {
    for disk_goes_first in [true, false] {
        let mut world = stage.pair_of(1, fenced(Fencing::ResourceAndStonith));
        world.fence_exit(0, Some(7));
        world.handlers_take(1_000_000);
        world.slow_metadata(0, 300_000);
        cut(&mut world);
        let lost = until_connected(&mut world, 0, false);
        world.begin_write(0, SECTORS);
        world.begin_read(0, OTHERS);
        world.run_for(if disk_goes_first { 500_000 } else { 1_100_000 });
        let waits = world.client_waits_for(0);
        ensure(&world, lost && waits == 2, "something was answered while frozen")?;
        world.ask(0, Command::Detach { force: true });
        let answered = world.wait_for_client(0);
        ensure(&world, answered, "clients wait although there is nothing to wait for")?;
        ensure(&world, world.client_errors() == 2, "answered without data")?;
    }
    Ok(())
}

/// F22g: both give their data up at once, each with a verb that the other one's crosses: one resync
/// follows, and whoever asked is answered.
pub(crate) fn crossing_verbs_end(stage: Stage) -> Ending {
    for second in [Command::Invalidate, Command::InvalidateRemote] {
        for seed in 0..20 {
            let mut world = stage.calm_pair(seed);
            if second == Command::Invalidate {
                let demoted = world.demote_and_wait(0);
                ensure(&world, demoted, "the demotion hangs")?;
                in_sync(&mut world)?;
            }
            world.run_for(50_000);
            let before = world.coverage().of("whole copy becomes target");
            let commands = [world.command(0, second), world.command(1, Command::Invalidate)];
            if second == Command::InvalidateRemote {
                world.begin_write(0, SECTORS);
            }
            let answered = world.run_until(LONG_US, |world| {
                commands.iter().all(|id| id.is_some_and(|id| world.has_answered(id)))
            });
            ensure(&world, answered, "a command is not answered")?;
            let answered = world.run_until(LONG_US, |world| world.client_waits_for(0) == 0);
            ensure(&world, answered, "the Primary's write is not answered")?;
            in_sync(&mut world)?;
            let resyncs = world.coverage().of("whole copy becomes target") - before;
            ensure(&world, resyncs == 1, &format!("{resyncs} resyncs"))?;
        }
    }
    Ok(())
}

/// G5: the handler before a resync takes its time; the source's clients do not wait for it.
pub(crate) fn the_handler_before_a_resync_freezes_nobody(stage: Stage) -> Ending {
    let handlers = Handlers::default().with(Handler::BeforeResyncTarget);
    let mut world = stage.pair_of(1, Profile { handlers, ..Profile::calm() });
    let runs_of = |world: &World| {
        let before = |handler: &&Handler| **handler == Handler::BeforeResyncTarget;
        world.handlers_run(1).iter().filter(before).count()
    };
    let before = runs_of(&world);
    world.handlers_take(20_000_000);
    let apart = world.cut_and_wait();
    ensure(&world, apart, "the nodes never noticed the cut")?;
    world.write(0, SECTORS);
    world.reconnect();
    let runs = world.run_until(LONG_US, |world| runs_of(world) > before);
    ensure(&world, runs, "the handler was not run")?;
    // Nobody has given up the handshake by then.
    for wait_us in std::iter::once(100_000).chain([1_000_000; 15]) {
        world.begin_write(0, OTHERS);
        world.run_for(wait_us);
        let waits = world.client_waits_for(0);
        ensure(&world, waits == 0, "a client waits for the handler of the peer")?;
    }
    let begun = |world: &World| {
        world.status(1).is_some_and(|status| status.disk == DiskState::Inconsistent)
    };
    ensure(&world, !begun(&world), "the resync did not wait for the handler")?;
    in_sync(&mut world)?;
    let count = runs_of(&world) - before;
    ensure(&world, count == 1, &format!("the handler was run {count} times"))
}

/// D4: the two begin a resync on the connection that they have, and it breaks there: the Primary
/// has lost a peer that was UpToDate.
pub(crate) fn a_loss_at_the_start_of_a_resync(stage: Stage) -> Ending {
    let fencing = Fencing::ResourceAndStonith;
    let profile = Profile { fencing, ..Profile::growing([Placement::Internal; 2]) };
    let mut world = stage.pair_of(1, profile);
    world.fence_exit(0, Some(1));
    world.grow_disk(0);
    world.grow_disk(1);
    world.lose_next(Kind::Bitmap);
    world.command(0, Command::Resize { size_bytes: None, assume_clean: false });
    let broken = world.run_until(LONG_US, World::has_lost);
    ensure(&world, broken, "no resync was begun")?;
    cut(&mut world);
    let before = world.status(0).map(|status| status.generations.current);
    world.begin_write(0, SECTORS);
    world.run_for(LONG_US);
    let fences = world.handlers_run(0).last() == Some(&Handler::FencePeer);
    let waits = world.client_waits_for(0) == 1;
    let now = world.status(0).map(|status| status.generations.current);
    ensure(&world, fences && waits && now == before, "the loss of the peer was not noticed")?;
    world.mend_cable();
    in_sync(&mut world)
}

/// D10: an attach right behind a detach: the peer has taken the data over by then.
pub(crate) fn an_attach_follows_a_detach(stage: Stage) -> Ending {
    for seed in 0..10 {
        let mut world = stage.calm_pair(seed);
        world.write(0, SECTORS);
        for command in [Command::Detach { force: false }, Command::Attach] {
            let answer = world.ask(0, command);
            ensure(&world, answer == Some(Answer::Done), &format!("{command:?}: {answer:?}"))?;
        }
        let in_sync = world.gets_in_sync();
        ensure(&world, in_sync, "the two did not get in sync")?;
    }
    Ok(())
}

/// G4: the power of the Primary's machine is cut, and the other node is told to be Primary at once,
/// before it has noticed.
pub(crate) fn a_dead_primary_forbids_no_promotion(stage: Stage) -> Ending {
    let mut world = stage.calm_pair(6);
    let stamp = world.write(0, SECTORS);
    world.cut_power(0);
    let answer = world.ask(1, Command::Primary { force: false });
    ensure(&world, answer == Some(Answer::Done), &format!("not promoted: {answer:?}"))?;
    ensure(&world, world.sector(1, SECTORS.start) == stamp, "the write is not there")
}

/// G7: a node that has given its data up is promoted on those of the peer, which has got its
/// generation by a resync on the same connection.
pub(crate) fn the_peers_generation_is_known_after_a_resync(stage: Stage) -> Ending {
    for seed in 0..4 {
        let mut world = stage.calm_pair(seed);
        world.write(0, SECTORS);
        for command in [Command::Detach { force: false }, Command::Attach] {
            let answer = world.ask(0, command);
            ensure(&world, answer == Some(Answer::Done), &format!("{command:?}: {answer:?}"))?;
        }
        in_sync(&mut world)?;
        for command in [Command::PauseSync, Command::Invalidate] {
            let answer = world.ask(1, command);
            ensure(&world, answer == Some(Answer::Done), &format!("{command:?}: {answer:?}"))?;
        }
        let demoted = world.demote_and_wait(0);
        ensure(&world, demoted, "not demoted")?;
        let answer = world.ask(1, Command::Primary { force: false });
        ensure(&world, answer == Some(Answer::Done), &format!("not promoted: {answer:?}"))?;
        let met = until_connected(&mut world, 1, true);
        world.run_for(1_000_000);
        ensure(&world, met, "the Primary is refused by the data that it serves")?;
        world.read(1, SECTORS);
        world.ask(1, Command::ResumeSync);
        in_sync(&mut world)?;
    }
    Ok(())
}
