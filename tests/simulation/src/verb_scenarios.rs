//! Schedules of promotions, of verbs and of who must be asked (F19e, F22, R18, R21, R22, R31).

use crate::generation_scenarios::{apart, in_sync, promoted, split, up};
use crate::profile::Profile;
use crate::scenarios::{Ending, Stage, ensure, well};
use crate::world::World;
use replicator::event::{Answer, Command};
use replicator::state::{DiskState, ReplicationState, Role};
use std::ops::Range;

const SECTORS: Range<usize> = 16..24;
const LONG_US: u64 = 10_000_000;
/// Longer than anybody waits for a silent peer.
const SILENCE_US: u64 = 3_000_000;

fn is_done(answer: Option<Answer>) -> bool {
    matches!(answer, Some(Answer::Done))
}

fn refused(answer: Option<Answer>) -> bool {
    matches!(answer, Some(Answer::Refused(_)))
}

fn demoted_pair(stage: Stage, seed: u64) -> Result<World, String> {
    let mut world = stage.calm_pair(seed);
    let demoted = world.demote_and_wait(0);
    ensure(&world, demoted, "the demotion hangs")?;
    in_sync(&mut world)?;
    world.run_for(50_000);
    Ok(world)
}

/// F22c: the peer does not answer the request for promotion: without that connection, then. What
/// the peer still sends on it must not be applied.
pub(crate) fn a_promotion_goes_on_without_a_silent_peer(stage: Stage) -> Ending {
    let mut world = demoted_pair(stage, 6)?;
    world.stop_process(1, true);
    let answer = world.ask(0, Command::Primary { force: false });
    ensure(&world, is_done(answer), "the promotion was refused")?;
    let connected = world
        .status(0)
        .is_some_and(|status| status.connection == replicator::state::ConnectionState::Connected);
    ensure(&world, !connected, "promoted over a connection on which nobody consented")?;
    world.write(0, SECTORS);
    world.stop_process(1, false);
    in_sync(&mut world)
}

/// R18 (ii): the peer falls silent in the middle of a handshake: a promotion waits for the verdict,
/// and goes on alone when there is none.
pub(crate) fn a_half_handshake_does_not_forbid_promotion(stage: Stage) -> Ending {
    let mut world = demoted_pair(stage, 1)?;
    world.kill_daemon(1);
    world.run_for(SILENCE_US);
    world.bring_up(1);
    let begun = world.run_until(SILENCE_US, |world| {
        world.status(1).is_some_and(|status| status.disk == DiskState::UpToDate)
    });
    ensure(&world, begun, "the peer never came up")?;
    let before = world.coverage().of("data statement");
    let half = world.run_until(SILENCE_US, |world| world.coverage().of("data statement") > before);
    ensure(&world, half, "there was no handshake")?;
    world.stop_process(1, true);
    let answer = world.ask(0, Command::Primary { force: false });
    ensure(&world, is_done(answer), "the promotion was refused")?;
    world.write(0, SECTORS);
    world.stop_process(1, false);
    in_sync(&mut world)
}

/// R21: a Primary with a client and a peer always has a deadline within half the ping timeout.
pub(crate) fn a_primary_always_has_a_deadline_near(stage: Stage) -> Ending {
    let profile = Profile::calm();
    let half_us = profile.settings(0).net.ping_timeout.as_micros() as u64 / 2;
    let mut world = stage.pair_of(2, profile);
    for _ in 0..200 {
        world.run_for(7_001);
        let near = world.deadline_in_us(0).is_some_and(|deadline_us| deadline_us <= half_us);
        ensure(&world, near, "a stall would not be noticed")?;
    }
    Ok(())
}

/// R22: the victim of a split brain may be told before or after the survivor.
pub(crate) fn the_victim_may_be_told_first(stage: Stage) -> Ending {
    for victim_first in [true, false] {
        let mut world = stage.calm_pair(7);
        apart(&mut world)?;
        world.write(0, SECTORS);
        promoted(&mut world, 1)?;
        let kept = world.write(1, SECTORS);
        let demoted = world.demote_and_wait(0);
        ensure(&world, demoted, "the demotion hangs")?;
        world.reconnect();
        split(&mut world)?;
        if victim_first {
            world.give_up(0);
        }
        world.run_for(SILENCE_US);
        world.command(1, Command::Connect { discard_my_data: false });
        world.run_for(SILENCE_US);
        if !victim_first {
            world.give_up(0);
        }
        in_sync(&mut world)?;
        let found = [0, 1].map(|host| world.sector(host, SECTORS.start));
        ensure(&world, found == [kept; 2], "the wrong side was given up")?;
    }
    Ok(())
}

/// F19e: bits that no hot extent covers are on stable storage when `invalidate` is answered.
pub(crate) fn invalidated_data_stay_given_up(stage: Stage) -> Ending {
    let mut world = stage.calm_pair(14);
    world.write(0, 0..64);
    let answer = world.ask(1, Command::Invalidate);
    ensure(&world, is_done(answer), "invalidate was refused")?;
    world.cut_power(0);
    world.cut_power(1);
    for host in [0, 1] {
        up(&mut world, host)?;
    }
    let target = world.status(1).map(|status| (status.disk, status.out_of_sync_blocks));
    let kept = target == Some((DiskState::Inconsistent, 32));
    ensure(&world, kept, "what was given up counts as good")?;
    in_sync(&mut world)
}

/// F22g: `invalidate` is refused where no good copy would be left.
pub(crate) fn invalidate_leaves_a_good_copy(stage: Stage) -> Ending {
    for seed in 0..10 {
        a_good_copy_is_left(stage.calm_pair(seed))?;
    }
    Ok(())
}

fn a_good_copy_is_left(mut world: World) -> Ending {
    let on_primary = world.ask(0, Command::Invalidate);
    ensure(&world, refused(on_primary), "a Primary gave its data up")?;
    let primarys = world.ask(1, Command::InvalidateRemote);
    ensure(&world, refused(primarys), "a Primary's data were given up")?;
    apart(&mut world)?;
    let alone = world.ask(1, Command::Invalidate);
    ensure(&world, refused(alone), "data were given up without a peer")?;
    world.reconnect();
    in_sync(&mut world)?;
    // Both at once: one of them keeps its data.
    for commands in [
        [Command::Invalidate; 2],
        [Command::InvalidateRemote; 2],
        [Command::Invalidate, Command::InvalidateRemote],
    ] {
        let demoted = world.demote_and_wait(0);
        ensure(&world, demoted, "the demotion hangs")?;
        for host in [0, 1] {
            world.command(host, commands[host]);
        }
        for _ in 0..2_000 {
            world.run_for(100);
            let good = |host: usize| {
                world.status(host).is_some_and(|status| status.disk == DiskState::UpToDate)
            };
            ensure(&world, good(0) || good(1), "no good copy is left")?;
        }
        in_sync(&mut world)?;
        promoted(&mut world, 0)?;
    }
    Ok(())
}

/// R31: `new-current-uuid --clear-bitmap` skips the sync of two replicas that were both just
/// created, and of no other.
pub(crate) fn only_new_replicas_skip_their_sync(stage: Stage) -> Ending {
    let mut world = stage.new_pair(12);
    let met = world.run_until(LONG_US, |world| {
        [0, 1].iter().all(|host| {
            world
                .status(*host)
                .is_some_and(|status| status.replication == ReplicationState::Established)
        })
    });
    ensure(&world, met, "two new nodes do not meet")?;
    let answer = world.ask(0, Command::NewCurrentUuid { clear_bitmap: true });
    ensure(&world, is_done(answer), "it was refused on two new replicas")?;
    world.run_for(100_000);
    let equal = [0, 1].iter().all(|host| {
        world.status(*host).is_some_and(|status| {
            (status.disk, status.out_of_sync_blocks) == (DiskState::UpToDate, 0)
        })
    });
    ensure(&world, equal, "the two are not declared equal")?;
    for clear_bitmap in [true, false] {
        let again = world.ask(1, Command::NewCurrentUuid { clear_bitmap });
        ensure(&world, refused(again), "used replicas were declared equal")?;
    }
    let role = world.status(0).map(|status| status.role);
    ensure(&world, role == Some(Role::Secondary), "nobody was promoted")?;
    well(&world)
}
