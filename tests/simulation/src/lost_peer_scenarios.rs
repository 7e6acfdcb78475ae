//! Peers that are lost, or come back, at the moment at which what is known of them is not true any
//! more: grants, promotions, generations (D9, G2, G5, G7).

use crate::disk_faults::Broken;
use crate::fencing_scenarios::fenced;
use crate::generation_scenarios::{apart, in_sync, promoted};
use crate::profile::Profile;
use crate::scenarios::{Ending, Stage, ensure};
use crate::world::World;
use replicator::event::{Answer, Command, Handler};
use replicator::settings::Fencing;
use replicator::state::{ConnectionState, DiskState, ReplicationState, Role};
use std::ops::Range;

const SECTORS: Range<usize> = 16..24;
const OTHERS: Range<usize> = 64..72;
const LONG_US: u64 = 5_000_000;

fn detached_by_force(world: &mut World) -> Ending {
    let answer = world.ask(0, Command::Detach { force: true });
    ensure(world, answer == Some(Answer::Done), &format!("detach: {answer:?}"))
}

fn is_connected(world: &World, host: usize) -> bool {
    world.status(host).is_some_and(|status| status.connection == ConnectionState::Connected)
}

/// D9: the target takes the grant while the source's disk goes: the Primary hears of it, and goes
/// on with that copy.
pub(crate) fn a_target_adopts_without_its_source(stage: Stage) -> Ending {
    let mut world = stage.calm_pair(1);
    apart(&mut world)?;
    let stamp = world.write(0, SECTORS);
    world.slow_metadata(1, 30_000);
    world.reconnect();
    let target = |world: &World| {
        world.status(1).is_some_and(|s| s.replication == ReplicationState::SyncTarget)
    };
    let begun = world.run_until(LONG_US, target);
    let granted = world.run_until(LONG_US, |world| {
        world.status(1).is_some_and(|status| status.disk == DiskState::UpToDate)
    });
    ensure(&world, begun && granted, "nothing was granted")?;
    let durable = world.durable(1).is_some_and(|superblock| superblock.flags.was_up_to_date);
    ensure(&world, !durable, "the grant is adopted already")?;
    detached_by_force(&mut world)?;
    world.run_for(1_000_000);
    let errors = world.client_errors();
    world.read(0, SECTORS);
    world.write(0, OTHERS);
    ensure(&world, world.client_errors() == errors, "the adopted copy does not serve")?;
    ensure(&world, world.sector(1, SECTORS.start) == stamp, "the copy is another one")
}

/// G7: the generation that the operator has begun is the one that clients have seen: the peer that
/// has the one before must not serve them.
pub(crate) fn a_generation_by_hand_is_seen(stage: Stage) -> Ending {
    let mut world = stage.calm_pair(1);
    apart(&mut world)?;
    let answer = world.ask(0, Command::NewCurrentUuid { clear_bitmap: false });
    ensure(&world, answer == Some(Answer::Done), &format!("new-current-uuid: {answer:?}"))?;
    let stamp = world.write(0, SECTORS);
    world.flush(0);
    detached_by_force(&mut world)?;
    world.reconnect();
    world.run_for(LONG_US);
    ensure(&world, !is_connected(&world, 0), "clients go on with the data of before")?;
    let demoted = world.demote_and_wait(0);
    ensure(&world, demoted, "the demotion hangs")?;
    let answer = world.ask(0, Command::Attach);
    ensure(&world, answer == Some(Answer::Done), &format!("attach: {answer:?}"))?;
    world.reconnect();
    in_sync(&mut world)?;
    ensure(&world, world.sector(1, SECTORS.start) == stamp, "the newer write is lost")
}

/// G5: the peer has agreed, and is lost while the mark of the promotion is written: it may be asked
/// to go on alone, so it is fenced.
pub(crate) fn a_peer_lost_in_a_promotion_is_fenced(stage: Stage) -> Ending {
    let mut world = stage.pair_of(1, fenced(Fencing::ResourceAndStonith));
    let demoted = world.demote_and_wait(0);
    ensure(&world, demoted, "the demotion hangs")?;
    in_sync(&mut world)?;
    world.run_for(50_000);
    world.fence_exit(1, Some(1));
    world.slow_metadata(1, 300_000);
    let promotion = world.command(1, Command::Primary { force: false });
    world.run_for(100_000);
    world.break_link();
    let done = world.run_until(LONG_US, |world| promotion.is_some_and(|id| world.has_answered(id)));
    let role = world.status(1).map(|status| status.role);
    ensure(&world, done && role == Some(Role::Primary), "the promotion came to nothing")?;
    let before = world.status(1).map(|status| status.generations.current);
    world.begin_write(1, SECTORS);
    world.run_for(LONG_US);
    let fences = world.handlers_run(1).last() == Some(&Handler::FencePeer);
    let waits = world.client_waits_for(1) == 1;
    let now = world.status(1).map(|status| status.generations.current);
    ensure(&world, fences && waits && now == before, "the peer was not fenced")?;
    world.mend_cable();
    let answered = world.wait_for_client(1);
    ensure(&world, answered, "still frozen")?;
    in_sync(&mut world)
}

/// G2: the source of a resync goes on alone, and its target is the Primary, whose clients have seen
/// the source's data: they must not go on over what has changed.
pub(crate) fn a_served_generation_is_remembered(stage: Stage) -> Ending {
    let profile = Profile { sync_rate_max: Some(40_000), ..Profile::calm() };
    let mut world = stage.pair_of(1, profile);
    world.break_disk(0, Broken::WRITES);
    world.write(0, 0..200);
    world.break_disk(0, Broken::default());
    world.run_for(20_000);
    let answer = world.ask(0, Command::Attach);
    ensure(&world, answer == Some(Answer::Done), &format!("attach: {answer:?}"))?;
    let filling = world.run_until(LONG_US, |world| {
        world.status(0).is_some_and(|s| s.replication == ReplicationState::SyncTarget)
    });
    ensure(&world, filling, "the resync never began")?;
    world.run_for(50_000);
    apart(&mut world)?;
    promoted(&mut world, 1)?;
    let stamp = world.write(1, SECTORS);
    let demoted = world.demote_and_wait(1);
    ensure(&world, demoted, "the demotion hangs")?;
    world.reconnect();
    world.run_for(LONG_US);
    ensure(&world, !is_connected(&world, 0), "the device changed under its clients")?;
    let demoted = world.demote_and_wait(0);
    ensure(&world, demoted, "the demotion hangs")?;
    world.reconnect();
    in_sync(&mut world)?;
    ensure(&world, world.sector(0, SECTORS.start) == stamp, "the newer write is lost")
}

/// D15: of two dials that crossed one is given up by its dialler; when it is accepted late it does
/// not replace the connection that the other one has become.
pub(crate) fn an_abandoned_dial_replaces_nothing(stage: Stage) -> Ending {
    for seed in 0..40 {
        let mut world = stage.calm_pair(seed);
        apart(&mut world)?;
        world.reconnect();
        let met =
            world.run_until(LONG_US, |world| [0, 1].iter().all(|at| is_connected(world, *at)));
        ensure(&world, met, "the two did not meet")?;
        let before = [0, 1].map(|host| world.hosts[host].connection_changes);
        world.run_for(1_000_000);
        let after = [0, 1].map(|host| world.hosts[host].connection_changes);
        ensure(&world, before == after, "the connection was replaced by an abandoned dial")?;
    }
    Ok(())
}
