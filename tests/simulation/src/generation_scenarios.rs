//! Schedules of generations (G1, G2) and of the durable order that they stand on (D8, D9, D13).

use crate::profile::Profile;
use crate::scenarios::{Ending, Stage, ensure, well};
use crate::world::World;
use replicator::event::{Answer, Command};
use replicator::state::DiskState;
use replicator::wire::Kind;
use std::ops::Range;

const SECTORS: Range<usize> = 16..24;
const ELSEWHERE: Range<usize> = 40..48;
const LONG_US: u64 = 5_000_000;

pub(crate) fn promoted(world: &mut World, host: usize) -> Ending {
    let answer = world.ask(host, Command::Primary { force: false });
    ensure(world, matches!(answer, Some(Answer::Done)), "the promotion was refused")
}

pub(crate) fn apart(world: &mut World) -> Ending {
    let noticed = world.cut_and_wait();
    ensure(world, noticed, "the nodes never noticed the cut")
}

pub(crate) fn up(world: &mut World, host: usize) -> Ending {
    let attached = world.bring_up_and_wait(host);
    ensure(world, attached, "a node never came up")
}

pub(crate) fn in_sync(world: &mut World) -> Ending {
    let reached = world.gets_in_sync();
    let [first, second] = [0, 1].map(|host| world.in_short(host));
    ensure(world, reached, &format!("they never got in sync: {first}; {second}"))
}

pub(crate) fn split(world: &mut World) -> Ending {
    let declared = world.gets_split();
    ensure(world, declared, "no split brain was declared")
}

fn both_hold(world: &World, sectors: Range<usize>, stamp: u64) -> Ending {
    let held = [0, 1].iter().all(|host| world.sector(*host, sectors.start) == stamp);
    ensure(world, held, "a write is gone")
}

/// An idle Primary is written to while the two meet again: nothing may fall between tuple, bitmap
/// and mirroring.
pub(crate) fn a_write_in_the_handshake(stage: Stage) -> Ending {
    for delay_us in (0..6_000).step_by(40) {
        let mut world = stage.calm_pair(delay_us);
        apart(&mut world)?;
        world.reconnect();
        world.run_for(delay_us);
        world.begin_write(0, SECTORS);
        let answered = world.wait_for_client(0);
        ensure(&world, answered, "a write waits for ever")?;
        in_sync(&mut world)?;
    }
    Ok(())
}

/// R25: a flush and a demotion that would need a generation wait for the verdict, too.
pub(crate) fn a_flush_in_the_handshake(stage: Stage) -> Ending {
    for delay_us in (0..4_000).step_by(40) {
        let mut world = stage.calm_pair(delay_us);
        apart(&mut world)?;
        world.reconnect();
        world.run_for(delay_us);
        world.flush(0);
        in_sync(&mut world)?;
        world.run_for(100_000);
        let [first, second] = [0, 1].map(|host| world.superblock(host).generations.current & !1);
        ensure(&world, first == second, "connected, and on two generations")?;
    }
    for delay_us in (0..8_000).step_by(200) {
        let mut world = stage.calm_pair(delay_us);
        apart(&mut world)?;
        world.reconnect();
        world.run_for(delay_us);
        world.begin_flush(0);
        world.run_for(150);
        apart(&mut world)?;
        let answered = world.wait_for_client(0);
        ensure(&world, answered, "a flush waits for ever")?;
        let before = world.superblock(0).generations;
        world.flush(0);
        let after = world.superblock(0).generations;
        ensure(&world, before.history == after.history, "a second generation was begun")?;
        let demoted = world.demote_and_wait(0);
        ensure(&world, demoted, "the demotion hangs")?;
        world.mend_cable();
        in_sync(&mut world)?;
    }
    Ok(())
}

/// Something is written alone, and the resync of it loses a message with its connection.
pub(crate) fn resync_loses(stage: Stage, seed: u64, kind: Kind) -> Result<World, String> {
    let mut world = stage.calm_pair(seed);
    apart(&mut world)?;
    world.write(0, SECTORS);
    world.lose_next(kind);
    world.reconnect();
    let lost = world.run_until(LONG_US, World::has_lost);
    ensure(&world, lost, "the message was never sent")?;
    Ok(world)
}

/// The source writes alone and dies, the target is promoted and writes: a split brain, however
/// little the source knows of what the target has.
fn two_ways_on(mut world: World) -> Ending {
    world.write(0, SECTORS);
    world.kill_daemon(0);
    promoted(&mut world, 1)?;
    world.write(1, ELSEWHERE);
    world.mend_cable();
    world.bring_up(0);
    split(&mut world)
}

/// The confirmation of a grant is lost, the source writes alone, the target is promoted.
pub(crate) fn a_lost_confirmation_and_two_ways_on(stage: Stage) -> Ending {
    let mut world = resync_loses(stage, 4, Kind::SyncConfirm)?;
    apart(&mut world)?;
    two_ways_on(world)
}

/// R1 (ii): the same, with a source whose daemon was started again in between: the mark that the
/// target may hold the generation is on stable storage.
pub(crate) fn the_mark_outlives_the_daemon(stage: Stage) -> Ending {
    let mut world = resync_loses(stage, 13, Kind::SyncConfirm)?;
    apart(&mut world)?;
    world.kill_daemon(0);
    up(&mut world, 0)?;
    promoted(&mut world, 0)?;
    two_ways_on(world)
}

/// The start of a resync between equal identifiers is lost, and both go on alone.
pub(crate) fn a_lost_start_and_two_ways_on(stage: Stage) -> Ending {
    let mut world = stage.calm_pair(5);
    world.write(0, SECTORS);
    world.kill_daemon(0);
    world.lose_next(Kind::SyncStart);
    world.bring_up(0);
    let lost = world.run_until(LONG_US, World::has_lost);
    ensure(&world, lost, "no resync was begun")?;
    apart(&mut world)?;
    promoted(&mut world, 0)?;
    two_ways_on(world)
}

pub(crate) fn the_survivor_is_source(stage: Stage) -> Ending {
    for seed in 0..20 {
        let mut world = stage.calm_pair(seed);
        let stamp = world.write(0, SECTORS);
        world.cut_power(0);
        world.bring_up(0);
        in_sync(&mut world)?;
        both_hold(&world, SECTORS, stamp)?;
    }
    Ok(())
}

/// R4: the loss of power is remembered over a restart of the daemon in the same boot.
pub(crate) fn lost_power_is_remembered(stage: Stage) -> Ending {
    for seed in 0..20 {
        let mut world = stage.calm_pair(seed);
        let stamp = world.write(0, SECTORS);
        world.cut_power(0);
        apart(&mut world)?;
        up(&mut world, 0)?;
        world.kill_daemon(0);
        up(&mut world, 0)?;
        world.mend_cable();
        in_sync(&mut world)?;
        both_hold(&world, SECTORS, stamp)?;
    }
    Ok(())
}

/// R5, second reading: who is promoted alone after a power cut, before it has met the survivor, is
/// what counts under `dont-care`.
pub(crate) fn promoted_alone_before_it_met_the_survivor(stage: Stage) -> Ending {
    let mut world = stage.calm_pair(8);
    world.write(0, SECTORS);
    world.cut_power(0);
    apart(&mut world)?;
    up(&mut world, 0)?;
    promoted(&mut world, 0)?;
    let stamp = world.write(0, ELSEWHERE);
    world.mend_cable();
    in_sync(&mut world)?;
    both_hold(&world, ELSEWHERE, stamp)
}

/// R8: a second crash at any moment of the attach after the first.
pub(crate) fn a_second_crash_in_the_attach(stage: Stage) -> Ending {
    for delay_us in (0..60_000).step_by(500) {
        let profile = Profile { metadata_us_max: 4_000, ..Profile::calm() };
        let mut world = stage.pair_of(delay_us, profile);
        world.run_for(1_500_000);
        world.cut_from(0);
        world.begin_write(0, SECTORS);
        world.run_for(20_000);
        world.kill_daemon(0);
        // The peer gives the connection up, and what is still on its way with it.
        world.run_for(1_500_000);
        world.bring_up(0);
        world.run_for(delay_us);
        world.kill_daemon(0);
        world.mend_cable();
        world.bring_up(0);
        in_sync(&mut world)?;
    }
    Ok(())
}

/// F19c: a crash at any moment of a demotion with bits set.
pub(crate) fn a_crash_in_the_demotion(stage: Stage) -> Ending {
    for delay_us in (0..20_000).step_by(300) {
        let profile = Profile { metadata_us_max: 4_000, ..Profile::calm() };
        let mut world = stage.pair_of(delay_us, profile);
        apart(&mut world)?;
        world.write(0, SECTORS);
        world.demote(0);
        world.run_for(delay_us);
        world.kill_daemon(0);
        world.mend_cable();
        world.bring_up(0);
        in_sync(&mut world)?;
    }
    Ok(())
}

/// F19b: one copy of the superblock rots; the other one is never older than what was answered.
pub(crate) fn one_copy_of_the_superblock_rots(stage: Stage) -> Ending {
    for copy in [0, 1] {
        let mut world = stage.calm_pair(9);
        apart(&mut world)?;
        world.write(0, SECTORS);
        world.kill_daemon(0);
        promoted(&mut world, 1)?;
        world.write(1, ELSEWHERE);
        world.run_for(100_000);
        world.rot_superblock_copy(0, copy);
        world.mend_cable();
        world.bring_up(0);
        split(&mut world)?;
    }
    Ok(())
}

/// F19a: a power cut in the middle of a transaction of the log costs no full resync.
pub(crate) fn a_torn_transaction_is_no_full_resync(stage: Stage) -> Ending {
    let mut torn = 0;
    for seed in 0..60 {
        let geometry = crate::geometry::Geometry::wide(10);
        let profile = Profile { geometry, metadata_us_max: 3_000, ..Profile::calm() };
        let mut world = stage.pair_of(seed, profile);
        // What the first resync cleared is cleared on the disk as well.
        world.run_for(1_500_000);
        let first = 40 + 40 * (seed as usize % 9);
        world.begin_write(0, first..first + 8);
        world.run_for(seed * 60);
        apart_of_power(&mut world);
        up(&mut world, 0)?;
        let blocks = world.profile.geometry.device_bytes() / 4096;
        let set = world.status(0).map_or(0, |status| status.out_of_sync_blocks);
        ensure(&world, set < blocks, "everything is out of sync")?;
        torn += u32::from(set > 0);
        world.mend_cable();
        in_sync(&mut world)?;
    }
    ensure_some(torn)
}

fn apart_of_power(world: &mut World) {
    world.cut_from(0);
    world.cut_from(1);
    world.cut_power(0);
}

fn ensure_some(count: u32) -> Ending {
    if count > 0 { Ok(()) } else { Err("the log was never found in use".into()) }
}

/// F20: both lose power at any moment around the start of a full sync.
pub(crate) fn both_lose_power_as_a_full_sync_begins(stage: Stage) -> Ending {
    for delay_us in (0..40_000).step_by(250) {
        let profile = Profile { sync_rate_max: Some(40_000), ..Profile::calm() };
        let mut world = stage.pair_of(delay_us, profile);
        world.take_copy(1);
        world.write(0, 0..200);
        world.flush(0);
        let demoted = world.demote_and_wait(0);
        ensure(&world, demoted, "the demotion hangs")?;
        world.run_for(1_500_000);
        // Another disk with other data and fresh metadata.
        world.restore_copy(1);
        world.throw_away(1);
        world.run_for(delay_us);
        world.cut_power(0);
        world.cut_power(1);
        world.bring_up(0);
        world.bring_up(1);
        in_sync(&mut world)?;
    }
    Ok(())
}

/// D7: bits whose blocks were lost with the peer's cache, under equal identifiers.
pub(crate) fn bits_of_a_lost_cache_are_never_dropped(stage: Stage) -> Ending {
    for seed in 0..20 {
        let mut world = stage.calm_pair(seed);
        let stamp = world.write(0, SECTORS);
        world.cut_power(1);
        apart(&mut world)?;
        world.mend_cable();
        world.bring_up(1);
        in_sync(&mut world)?;
        both_hold(&world, SECTORS, stamp)?;
    }
    Ok(())
}

/// R16: bits from a log are resynced unasked although both are Secondary and UpToDate.
pub(crate) fn crash_bits_have_a_direction(stage: Stage) -> Ending {
    let mut world = stage.calm_pair(10);
    let stamp = world.write(0, SECTORS);
    world.kill_daemon(0);
    world.forget_resume_mark(0);
    world.bring_up(0);
    in_sync(&mut world)?;
    both_hold(&world, SECTORS, stamp)
}

/// F22f: bits that nothing gives a direction are shown and copied nowhere; they do not hinder a
/// promotion, which gives it.
pub(crate) fn a_promotion_gives_bits_a_direction(stage: Stage) -> Ending {
    for chosen in [0, 1] {
        let mut world = stage.calm_pair(chosen as u64);
        apart(&mut world)?;
        world.write(0, SECTORS);
        let demoted = world.demote_and_wait(0);
        ensure(&world, demoted, "the demotion hangs")?;
        world.take_copy(0);
        world.mend_cable();
        in_sync(&mut world)?;
        world.run_for(1_500_000);
        let left = world.ask(0, Command::Down);
        ensure(&world, matches!(left, Some(Answer::Done)), "the node did not leave")?;
        // Not the bitmap of that moment: all of it counts as out of sync.
        world.restore_bitmap(0);
        up(&mut world, 0)?;
        world.run_for(LONG_US);
        let shown = [0, 1].iter().all(|host| {
            world.status(*host).is_some_and(|status| {
                status.out_of_sync_blocks > 0 && status.disk == DiskState::UpToDate
            })
        });
        ensure(&world, shown, "bits without a direction were copied, or are not shown")?;
        promoted(&mut world, chosen)?;
        in_sync(&mut world)?;
    }
    Ok(())
}

/// R11: the bitmap of a clean detach comes back in an older version.
pub(crate) fn an_older_bitmap_is_noticed(stage: Stage) -> Ending {
    let mut world = stage.calm_pair(11);
    world.run_for(1_500_000);
    world.take_copy(0);
    apart(&mut world)?;
    world.write(0, SECTORS);
    let demoted = world.demote_and_wait(0);
    ensure(&world, demoted, "the demotion hangs")?;
    let left = world.ask(0, Command::Down);
    ensure(&world, matches!(left, Some(Answer::Done)), "the node did not leave")?;
    world.restore_bitmap(0);
    world.mend_cable();
    world.bring_up(0);
    in_sync(&mut world)
}

/// An idle Primary is lost: it has acknowledged nothing alone and comes back as a plain target.
pub(crate) fn lost_primary_after_no_writes(stage: Stage) -> Ending {
    for seed in 0..5 {
        let mut world = stage.calm_pair(seed);
        world.write(0, SECTORS);
        world.flush(0);
        apart(&mut world)?;
        world.run_for(500_000);
        world.kill_daemon(0);
        promoted(&mut world, 1)?;
        let stamp = world.write(1, ELSEWHERE);
        world.mend_cable();
        world.bring_up(0);
        in_sync(&mut world)?;
        both_hold(&world, ELSEWHERE, stamp)?;
    }
    Ok(())
}

/// The last message of a resync is lost; the next divergence must still be resynced, and exactly
/// that.
pub(crate) fn resync_finish_lost(stage: Stage) -> Ending {
    for kind in [Kind::SyncNoneLeft, Kind::SyncGrant, Kind::SyncConfirm] {
        for seed in 0..5 {
            let mut world = resync_loses(stage, seed, kind)?;
            apart(&mut world)?;
            let stamp = world.write(0, ELSEWHERE);
            let resynced =
                |world: &World| world.status(0).map_or(0, |status| status.counters.resynced_blocks);
            let before = resynced(&world);
            world.mend_cable();
            in_sync(&mut world)?;
            both_hold(&world, ELSEWHERE, stamp)?;
            let copied = resynced(&world) - before;
            ensure(&world, copied == 1, &format!("{copied} blocks copied, and 1 was written"))?;
        }
    }
    Ok(())
}

/// The source misses the end of a resync; with no bits left the two agree without a second one.
pub(crate) fn resync_missed_end_no_bits(stage: Stage) -> Ending {
    let mut world = resync_loses(stage, 12, Kind::SyncConfirm)?;
    in_sync(&mut world)?;
    world.run_for(200_000);
    let [source, target] = [0, 1].map(|host| world.superblock(host).generations);
    ensure(&world, source.bitmap == 0 && target.bitmap == 0, "a bitmap identifier is left")?;
    ensure(&world, source.current & !1 == target.current & !1, "they name different data")?;
    well(&world)
}
