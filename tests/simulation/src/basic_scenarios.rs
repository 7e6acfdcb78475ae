//! What every answer stands on (D1-D4, D6-D9, D11), one short schedule for each rule: random runs
//! notice most of these breaks too, by luck; here nothing depends on luck.

use crate::generation_scenarios::{apart, in_sync, up};
use crate::profile::Profile;
use crate::scenarios::{Ending, Stage, ensure};
use crate::world::World;
use replicator::event::{Answer, Command};
use replicator::wire::Kind;
use std::ops::Range;

const SECTORS: Range<usize> = 16..24;
/// Shorter than any patience with the peer, longer than any I/O.
const SHORT_US: u64 = 300_000;

fn holds(world: &World, host: usize, stamp: u64) -> bool {
    SECTORS.into_iter().all(|sector| world.sector(host, sector) == stamp)
}

/// D1: no byte reaches a disk before its extent is in the log on stable storage.
pub(crate) fn the_log_comes_before_the_data(stage: Stage) -> Ending {
    let mut world = stage.calm_pair(1);
    world.slow_metadata(0, 50_000);
    let stamp = world.begin_write(0, SECTORS);
    world.run_for(20_000);
    let early = [0, 1].iter().any(|host| world.sector(*host, SECTORS.start) == stamp);
    ensure(&world, !early, "data reached a disk before the log did")?;
    let answered = world.wait_for_client(0);
    ensure(&world, answered, "no answer")
}

/// D2: an answer means that both disks have it, whichever is the slower one.
pub(crate) fn an_answer_means_both_disks(stage: Stage) -> Ending {
    for slow in [0, 1] {
        let mut world = stage.calm_pair(2);
        world.stick_writes(slow, true);
        let stamp = world.begin_write(0, SECTORS);
        world.run_for(SHORT_US);
        ensure(&world, world.client_waits_for(0) == 1, "answered before both disks had it")?;
        world.stick_writes(slow, false);
        let answered = world.wait_for_client(0);
        ensure(&world, answered, "no answer")?;
        let both = [0, 1].iter().all(|host| holds(&world, *host, stamp));
        ensure(&world, both, "answered, and not on both disks")?;
    }
    Ok(())
}

/// D3: a FLUSH is answered when both disks have flushed.
pub(crate) fn a_flush_means_both_disks(stage: Stage) -> Ending {
    for slow in [0, 1] {
        let mut world = stage.calm_pair(3);
        world.write(0, SECTORS);
        world.stick_flushes(slow, true);
        world.begin_flush(0);
        world.run_for(SHORT_US);
        ensure(&world, world.client_waits_for(0) == 1, "answered before both disks had flushed")?;
        world.stick_flushes(slow, false);
        let answered = world.wait_for_client(0);
        ensure(&world, answered, "no answer")?;
    }
    Ok(())
}

/// D3: after a FLUSH, and after a FUA write, either node may lose its power.
pub(crate) fn what_was_flushed_survives_either_power_cut(stage: Stage) -> Ending {
    for seed in 0..20 {
        for with_fua in [false, true] {
            for unlucky in [0, 1] {
                let mut world = stage.calm_pair(seed);
                let stamp = if with_fua {
                    world.write_through(0, SECTORS)
                } else {
                    let stamp = world.write(0, SECTORS);
                    world.flush(0);
                    stamp
                };
                world.cut_power(unlucky);
                ensure(&world, holds(&world, unlucky, stamp), "lost with the power")?;
            }
        }
    }
    Ok(())
}

/// D2, D7: what is written alone is copied when the peer is back, parts of blocks too.
pub(crate) fn what_is_written_alone_is_copied(stage: Stage) -> Ending {
    let mut world = stage.calm_pair(4);
    world.write(0, SECTORS);
    world.flush(0);
    apart(&mut world)?;
    world.write(0, 18..20);
    world.write(0, 40..80);
    world.mend_cable();
    in_sync(&mut world)
}

/// D4: a peer that loses its power lacks what it had not acknowledged, and what it had not flushed.
pub(crate) fn what_the_lost_peer_may_lack_is_marked(stage: Stage) -> Ending {
    for seed in 0..20 {
        for acknowledged in [false, true] {
            let mut world = stage.calm_pair(seed);
            world.stick_writes(1, !acknowledged);
            let stamp = world.begin_write(0, SECTORS);
            world.run_for(5_000);
            world.cut_power(1);
            let answered = world.wait_for_client(0);
            ensure(&world, answered, "no answer")?;
            up(&mut world, 1)?;
            in_sync(&mut world)?;
            ensure(&world, holds(&world, 1, stamp), "the peer lacks a write")?;
        }
    }
    Ok(())
}

/// D6: overlapping writes end in one order on both disks, however each disk shuffles them.
pub(crate) fn overlapping_writes_end_in_one_order(stage: Stage) -> Ending {
    for seed in 0..10 {
        let profile = Profile { disk_us_max: 20_000, ..Profile::calm() };
        let mut world = stage.pair_of(seed, profile);
        for first in 0..8 {
            world.begin_write(0, SECTORS.start + first..SECTORS.end + first);
        }
        let answered = world.wait_for_client(0);
        ensure(&world, answered, "no answer")?;
        in_sync(&mut world)?;
    }
    Ok(())
}

/// D8: after a demotion either node may lose its power, and both.
pub(crate) fn a_demotion_leaves_nothing_in_a_cache(stage: Stage) -> Ending {
    for seed in 0..20 {
        let mut world = stage.calm_pair(seed);
        let stamp = world.write(0, SECTORS);
        let demoted = world.demote_and_wait(0);
        ensure(&world, demoted, "the demotion hangs")?;
        for host in [0, 1] {
            world.cut_power(host);
            ensure(&world, holds(&world, host, stamp), "lost with the power")?;
        }
    }
    Ok(())
}

/// D8: clients are let in when the primary mark is on stable storage.
pub(crate) fn the_export_opens_with_a_durable_mark(stage: Stage) -> Ending {
    let mut world = stage.calm_pair(5);
    let demoted = world.demote_and_wait(0);
    ensure(&world, demoted, "the demotion hangs")?;
    in_sync(&mut world)?;
    world.run_for(50_000);
    world.slow_metadata(1, 20_000);
    let answer = world.ask(1, Command::Primary { force: false });
    let marked = world.durable(1).is_some_and(|superblock| superblock.flags.primary);
    ensure(&world, matches!(answer, Some(Answer::Done)) && marked, "Primary without its mark")
}

/// D9: a new disk gets everything, whatever its bitmap says, and is durably Inconsistent before the
/// first block comes.
pub(crate) fn a_new_disk_gets_everything(stage: Stage) -> Ending {
    let mut world = stage.calm_pair(6);
    world.take_copy(1);
    world.write(0, 0..200);
    apart(&mut world)?;
    world.restore_copy(1);
    world.throw_away(1);
    world.slow_metadata(1, 10_000);
    world.mend_cable();
    world.bring_up(1);
    in_sync(&mut world)
}

/// G2: one divergence, one generation.
pub(crate) fn one_divergence_is_one_generation(stage: Stage) -> Ending {
    let mut world = stage.calm_pair(7);
    apart(&mut world)?;
    world.write(0, SECTORS);
    let first = world.superblock(0).generations;
    world.write(0, 40..48);
    world.flush(0);
    let last = world.superblock(0).generations;
    ensure(&world, first == last, "a second generation was begun")?;
    world.mend_cable();
    in_sync(&mut world)
}

/// G1: the newer generation is the source.
pub(crate) fn the_newer_generation_is_the_source(stage: Stage) -> Ending {
    let mut world = stage.calm_pair(8);
    apart(&mut world)?;
    let stamp = world.write(0, SECTORS);
    let demoted = world.demote_and_wait(0);
    ensure(&world, demoted, "the demotion hangs")?;
    world.mend_cable();
    in_sync(&mut world)?;
    let kept = [0, 1].iter().all(|host| holds(&world, *host, stamp));
    ensure(&world, kept, "the newer write is gone")
}

/// D11: a payload that was damaged on the way is not written, by the peer of a write and by the
/// target of a resync.
pub(crate) fn a_damaged_payload_is_not_written(stage: Stage) -> Ending {
    for kind in [Kind::Write, Kind::SyncData] {
        let mut world = stage.calm_pair(9);
        if kind == Kind::SyncData {
            apart(&mut world)?;
        }
        world.damage_next(kind);
        let stamp = world.begin_write(0, SECTORS);
        world.mend_cable();
        let answered = world.wait_for_client(0);
        ensure(&world, answered, "no answer")?;
        in_sync(&mut world)?;
        ensure(&world, world.coverage().of("damaged payload") == 1, "nothing was damaged")?;
        let kept = [0, 1].iter().all(|host| holds(&world, *host, stamp));
        ensure(&world, kept, "damaged data are on a disk")?;
    }
    Ok(())
}

/// D15: of two dials that cross one stays, the same on both nodes (F22b, R19).
pub(crate) fn crossing_dials_end_in_one_connection(stage: Stage) -> Ending {
    for seed in 0..100 {
        let profile = Profile { delay_us_max: 2_000, ..Profile::calm() };
        let mut world = stage.pair_of(seed, profile);
        apart(&mut world)?;
        let before = world.hosts.each_ref().map(|host| host.connection_changes);
        world.reconnect();
        in_sync(&mut world)?;
        let after = world.hosts.each_ref().map(|host| host.connection_changes);
        let once = [0, 1].iter().all(|host| after[*host] - before[*host] <= 1);
        ensure(&world, once, "a connection was made and given up again")?;
    }
    Ok(())
}
