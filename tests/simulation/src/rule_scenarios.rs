//! Schedules of the rules of durability that random runs meet too rarely.

use crate::generation_scenarios::resync_loses;
use crate::geometry::Geometry;
use crate::profile::Profile;
use crate::scenarios::{Ending, Stage, ensure};
use crate::world::World;
use replicator::event::{Answer, Command};
use replicator::state::{ConnectionState, DiskState, Role};
use replicator::wire::Kind;
use std::ops::Range;

const SECTORS: Range<usize> = 16..24;
const LONG_US: u64 = 5_000_000;

fn loses_the_cable(world: &mut World) -> Ending {
    let apart = world.cut_and_wait();
    ensure(world, apart, "the nodes never noticed the cut")
}

fn meets_again(world: &mut World) -> Ending {
    let synced = world.gets_in_sync();
    ensure(world, synced, "they never got in sync")
}

fn is_promoted(world: &mut World, host: usize) -> Ending {
    let answer = world.ask(host, Command::Primary { force: false });
    ensure(world, matches!(answer, Some(Answer::Done)), "the promotion was refused")
}

/// F2a: a write of the old connection is stuck in the peer's disk; a newer one must not be
/// overtaken by it.
pub(crate) fn a_stuck_write_keeps_new_connections_out(stage: Stage) -> Ending {
    for seed in 0..10 {
        let mut world = stage.calm_pair(seed);
        world.stick_writes(1, true);
        world.begin_write(0, SECTORS);
        world.run_for(2_000);
        loses_the_cable(&mut world)?;
        let answered = world.wait_for_client(0);
        ensure(&world, answered, "alone, the first write is answered")?;
        let newer = world.write(0, SECTORS);
        world.reconnect();
        world.run_for(LONG_US);
        let connected = world.status(0).is_some_and(|s| s.connection == ConnectionState::Connected);
        ensure(&world, !connected, "a new connection was admitted over a stuck write")?;
        world.stick_writes(1, false);
        meets_again(&mut world)?;
        ensure(&world, world.sector(1, SECTORS.start) == newer, "the old write won")?;
    }
    Ok(())
}

/// F2b: bytes of the old connection arrive after the new one is up.
pub(crate) fn late_bytes_are_not_read(stage: Stage) -> Ending {
    for seed in 0..10 {
        let mut world = stage.calm_pair(seed);
        world.cut_from(0);
        world.begin_write(0, SECTORS);
        let answered = world.wait_for_client(0);
        ensure(&world, answered, "the connection was not given up")?;
        let newer = world.write(0, SECTORS);
        world.reconnect();
        meets_again(&mut world)?;
        // Some of the old bytes are sent again only now.
        world.run_for(2_000_000);
        ensure(&world, world.sector(1, SECTORS.start) == newer, "the old write won")?;
    }
    Ok(())
}

/// F2d: the Primary dies while its write is stuck in the peer's disk; the peer is promoted and
/// writes the same blocks.
pub(crate) fn a_promotion_waits_for_the_peers_writes(stage: Stage) -> Ending {
    for seed in 0..40 {
        let mut world = stage.calm_pair(seed);
        world.stick_writes(1, true);
        world.begin_write(0, SECTORS);
        world.run_for(2_000);
        world.kill_daemon(0);
        world.run_for(1_000_000);
        let asked = world.command(1, Command::Primary { force: false });
        world.run_for(20_000);
        world.stick_writes(1, false);
        let promoted =
            world.run_until(LONG_US, |world| asked.is_some_and(|id| world.has_answered(id)));
        ensure(&world, promoted, "the promotion never ended")?;
        world.write(1, SECTORS);
        world.bring_up(0);
        meets_again(&mut world)?;
    }
    Ok(())
}

/// D4: one part of a block is written and cached, another one written with FUA; the
/// peer loses its cache.
pub(crate) fn a_part_that_is_durable_does_not_make_the_block_so(stage: Stage) -> Ending {
    for seed in 0..20 {
        let mut world = stage.calm_pair(seed);
        world.write(0, 16..20);
        world.write_through(0, 20..24);
        world.cut_power(1);
        world.bring_up(1);
        meets_again(&mut world)?;
    }
    Ok(())
}

/// F10b: a write is answered while a flush is under way that does not cover it.
pub(crate) fn a_flush_covers_what_was_answered_before_it(stage: Stage) -> Ending {
    for seed in 0..20 {
        let profile = Profile { disk_us_max: 20_000, ..Profile::calm() };
        let mut world = stage.pair_of(seed, profile);
        world.write(0, 40..48);
        world.begin_flush(0);
        world.run_for(20);
        world.begin_write(0, SECTORS);
        let answered = world.wait_for_client(0);
        ensure(&world, answered, "no answer")?;
        world.cut_power(1);
        world.bring_up(1);
        meets_again(&mut world)?;
    }
    Ok(())
}

/// F7a: the log is full, the peer has flushed and the own disk has not: nothing may leave.
pub(crate) fn both_disks_flush_before_an_extent_leaves(stage: Stage) -> Ending {
    for seed in 0..5 {
        let profile = Profile { geometry: Geometry::wide(10), ..Profile::calm() };
        let mut world = stage.pair_of(seed, profile);
        world.run_for(1_000_000);
        // One area in each of seven extents: the least log is full.
        for area in 0..6 {
            world.write(0, area * 40 + 2..area * 40 + 6);
        }
        world.begin_flush(0);
        world.stick_writes(0, true);
        world.run_for(5_000);
        // The areas of extents that have no slot yet.
        world.begin_write(0, 8 * 40 + 2..8 * 40 + 6);
        world.begin_write(0, 9 * 40 + 2..9 * 40 + 6);
        world.run_for(50_000);
        ensure(&world, true, "")?;
        world.stick_writes(0, false);
        let answered = world.wait_for_client(0);
        ensure(&world, answered, "a write waits for the log for ever")?;
        meets_again(&mut world)?;
    }
    Ok(())
}

/// F8 and decision 5: what both had is durable on the side that goes on alone.
pub(crate) fn a_generation_begins_on_a_flushed_disk(stage: Stage) -> Ending {
    for seed in 0..20 {
        let mut world = stage.calm_pair(seed);
        world.write(0, SECTORS);
        loses_the_cable(&mut world)?;
        world.write(0, 64..72);
        world.cut_power(0);
        world.mend_cable();
        world.bring_up(0);
        meets_again(&mut world)?;
    }
    Ok(())
}

/// Decision 5: the target's copy counts for nothing from the start of a resync, so the source must
/// not hold what both had in its cache alone.
pub(crate) fn a_resync_begins_on_a_flushed_source(stage: Stage) -> Ending {
    for seed in 0..40 {
        let profile = Profile { sync_rate_max: Some(40_000), ..Profile::calm() };
        let mut world = stage.pair_of(seed, profile);
        world.write(0, 16..200);
        loses_the_cable(&mut world)?;
        world.reconnect();
        let begun = world.run_until(LONG_US, |world| {
            world.status(1).is_some_and(|status| status.disk == DiskState::Inconsistent)
        });
        ensure(&world, begun, "the resync never began")?;
        world.cut_power(0);
        world.bring_up(0);
        meets_again(&mut world)?;
    }
    Ok(())
}

/// F9: the grant is lost; the resync goes on where it was and does not begin from nothing.
pub(crate) fn a_lost_grant_costs_no_full_sync(stage: Stage) -> Ending {
    for seed in 0..5 {
        let mut world = resync_loses(stage, seed, Kind::SyncGrant)?;
        let before = world.coverage().of("full sync verdict");
        meets_again(&mut world)?;
        let after = world.coverage().of("full sync verdict");
        ensure(&world, before == after, "everything was copied again")?;
    }
    Ok(())
}

/// F9: the start of a resync and each of its four last messages may be lost, and the Primary goes
/// on writing: it is copied, and not everything with it.
pub(crate) fn the_end_survives_any_loss(stage: Stage) -> Ending {
    let first = [Kind::SyncStart, Kind::SyncStarted];
    for kind in first.into_iter().chain([Kind::SyncNoneLeft, Kind::SyncGrant, Kind::SyncConfirm]) {
        for seed in 0..5 {
            let mut world = resync_loses(stage, seed, kind)?;
            let before = world.coverage().of("full sync verdict");
            world.write(0, SECTORS);
            meets_again(&mut world)?;
            let after = world.coverage().of("full sync verdict");
            ensure(&world, before == after, "everything was copied again")?;
        }
    }
    a_write_of_the_last_moment(stage)
}

/// F9: what was written between the grant and its confirmation is in the target's cache, which is
/// lost with the confirmation, and nothing is answered alone after that: both have one generation.
fn a_write_of_the_last_moment(stage: Stage) -> Ending {
    for seed in 0..10 {
        let mut world = stage.calm_pair(seed);
        loses_the_cable(&mut world)?;
        world.write(0, SECTORS);
        // Not so long that the keeper has its disk flushed meanwhile.
        world.slow_metadata(1, 3_000);
        let granted = world.coverage().of("end of a resync granted");
        world.lose_next(Kind::SyncConfirm);
        world.reconnect();
        let grants = world
            .run_until(LONG_US, |world| world.coverage().of("end of a resync granted") > granted);
        ensure(&world, grants, "the end was never granted")?;
        let stamp = world.write(0, 40..48);
        ensure(&world, !world.has_lost(), "the confirmation was not to be under way yet")?;
        let lost = world.run_until(LONG_US, World::has_lost);
        ensure(&world, lost, "the message was never sent")?;
        world.slow_metadata(1, 0);
        world.cut_power(1);
        world.bring_up(1);
        meets_again(&mut world)?;
        ensure(&world, world.sector(1, 40) == stamp, "a write is gone")?;
    }
    Ok(())
}

/// F11: the survivor is the source when the Primary comes back without its cache.
pub(crate) fn the_survivor_is_source(stage: Stage) -> Ending {
    for seed in 0..20 {
        let mut world = stage.calm_pair(seed);
        world.run_for(50_000);
        let stamp = world.write(0, SECTORS);
        world.cut_power(0);
        world.bring_up(0);
        meets_again(&mut world)?;
        let kept = [0, 1].iter().all(|host| world.sector(*host, SECTORS.start) == stamp);
        ensure(&world, kept, "the survivor's write is gone")?;
    }
    Ok(())
}

/// A Primary whose daemon died finds the blocks of its log: both Secondary, they know the
/// direction.
pub(crate) fn a_crashed_primary_is_known_as_one(stage: Stage) -> Ending {
    for seed in 0..10 {
        let mut world = stage.calm_pair(seed);
        world.stick_writes(1, true);
        world.begin_write(0, SECTORS);
        world.run_for(2_000);
        world.kill_daemon(0);
        world.forget_resume_mark(0);
        world.stick_writes(1, false);
        world.run_for(1_000_000);
        world.bring_up(0);
        meets_again(&mut world)?;
    }
    Ok(())
}

/// F5: a write in the middle of a handshake.
pub(crate) fn a_write_waits_for_the_handshake(stage: Stage) -> Ending {
    for seed in 0..40 {
        let profile = Profile { delay_us_max: 3_000, metadata_us_max: 3_000, ..Profile::calm() };
        let mut world = stage.pair_of(seed, profile);
        world.flush(0);
        loses_the_cable(&mut world)?;
        let before = world.coverage().of("data statement");
        world.reconnect();
        let frozen =
            world.run_until(LONG_US, |world| world.coverage().of("data statement") >= before + 2);
        ensure(&world, frozen, "there was no handshake")?;
        world.begin_write(0, SECTORS);
        let answered = world.wait_for_client(0);
        ensure(&world, answered, "a write waits for ever")?;
        meets_again(&mut world)?;
    }
    Ok(())
}

/// D7: unflushed on the peer when the link broke, nothing answered alone: the identifiers agree,
/// the bits count all the same.
pub(crate) fn bits_count_when_identifiers_agree(stage: Stage) -> Ending {
    for seed in 0..10 {
        let mut world = stage.calm_pair(seed);
        world.run_for(50_000);
        world.write(0, SECTORS);
        world.cut_power(1);
        world.bring_up(1);
        meets_again(&mut world)?;
    }
    Ok(())
}

/// D13: the power goes while a superblock is written.
pub(crate) fn a_superblock_survives_a_torn_write(stage: Stage) -> Ending {
    for seed in 0..60 {
        let profile = Profile { metadata_us_max: 5_000, ..Profile::calm() };
        let mut world = stage.pair_of(seed, profile);
        loses_the_cable(&mut world)?;
        world.begin_write(0, SECTORS);
        world.run_for(300 * (seed % 20));
        world.cut_power(0);
        let up = world.bring_up_and_wait(0);
        ensure(&world, up, "the node cannot start")?;
    }
    Ok(())
}

/// F8: a promotion without the peer's data begins a generation, whether or not it writes.
pub(crate) fn a_promotion_alone_begins_a_generation(stage: Stage) -> Ending {
    let mut world = stage.calm_pair(1);
    world.run_for(50_000);
    let demoted = world.demote_and_wait(0);
    ensure(&world, demoted, "the demotion never ended")?;
    loses_the_cable(&mut world)?;
    world.run_for(LONG_US);
    is_promoted(&mut world, 1)?;
    ensure(&world, true, "")
}

/// F22b: of two crossing promotions exactly the first node's succeeds.
pub(crate) fn crossing_promotions_end_in_one_primary(stage: Stage) -> Ending {
    for seed in 0..20 {
        let mut world = stage.calm_pair(seed);
        let demoted = world.demote_and_wait(0);
        ensure(&world, demoted, "the demotion never ended")?;
        meets_again(&mut world)?;
        // Both know by now that nobody is Primary.
        world.run_for(50_000);
        world.command(0, Command::Primary { force: false });
        world.command(1, Command::Primary { force: false });
        world.run_for(LONG_US);
        let roles = [0, 1].map(|host| world.status(host).map(|status| status.role));
        let one = roles == [Some(Role::Primary), Some(Role::Secondary)];
        ensure(&world, one, "not exactly the first node became Primary")?;
    }
    Ok(())
}

/// D5: an extent of which the peer lacks blocks leaves the log: their bits are durable by then.
pub(crate) fn bits_are_durable_when_an_extent_leaves(stage: Stage) -> Ending {
    for seed in 0..5 {
        let profile = Profile { geometry: Geometry::wide(10), ..Profile::calm() };
        let mut world = stage.pair_of(seed, profile);
        loses_the_cable(&mut world)?;
        for round in 0..3 {
            for area in 0..10 {
                world.write(0, area * 40 + 2 + round..area * 40 + 6 + round);
            }
            world.flush(0);
        }
        world.reconnect();
        meets_again(&mut world)?;
    }
    Ok(())
}
