//! Schedules of disks restored from an older copy, and of sound ones that must not look like it
//! (G8).

use crate::generation_scenarios::{apart, in_sync, promoted, split, up};
use crate::geometry::Geometry;
use crate::profile::Profile;
use crate::scenarios::{Ending, Stage, ensure, well};
use crate::world::World;
use replicator::event::{Answer, Command};
use std::ops::Range;

const SECTORS: Range<usize> = 16..24;
const ELSEWHERE: Range<usize> = 40..48;
const NOTICED: &str = "restored copy noticed";

fn noticed(world: &World) -> Ending {
    ensure(world, world.coverage().of(NOTICED) > 0, "the older copy was not noticed")
}

/// A connection ends and another one begins: a session of its own.
fn next_session(world: &mut World) -> Ending {
    apart(world)?;
    world.mend_cable();
    in_sync(world)?;
    // What was confirmed is recorded.
    world.run_for(100_000);
    well(world)
}

/// The Primary's disk goes back to an older copy, with its log in use.
pub(crate) fn the_primary_is_restored(stage: Stage) -> Ending {
    let mut world = stage.calm_pair(1);
    world.write(0, ELSEWHERE);
    world.take_copy(0);
    next_session(&mut world)?;
    let stamp = world.write(0, SECTORS);
    world.flush(0);
    world.restore_copy(0);
    world.bring_up(0);
    in_sync(&mut world)?;
    noticed(&world)?;
    ensure(&world, world.sector(1, SECTORS.start) == stamp, "the newer write is gone")
}

/// The same within one session: the log has gone on.
pub(crate) fn the_primary_is_restored_within_a_session(stage: Stage) -> Ending {
    let profile = Profile { geometry: Geometry::wide(10), ..Profile::calm() };
    let mut world = stage.pair_of(2, profile);
    world.write(0, 0..8);
    world.take_copy(0);
    for border in 0..7 {
        let first = 40 + 40 * border;
        world.write(0, first..first + 8);
    }
    world.flush(0);
    world.run_for(100_000);
    world.restore_copy(0);
    world.bring_up(0);
    in_sync(&mut world)?;
    noticed(&world)
}

/// The peer was promoted meanwhile: its bits do not tell what was written before that.
pub(crate) fn a_former_primary_is_restored(stage: Stage) -> Ending {
    let mut world = stage.calm_pair(3);
    let demoted = world.demote_and_wait(0);
    ensure(&world, demoted, "the demotion hangs")?;
    in_sync(&mut world)?;
    world.take_copy(0);
    promoted(&mut world, 0)?;
    next_session(&mut world)?;
    world.write(0, SECTORS);
    world.flush(0);
    world.kill_daemon(0);
    world.run_for(2_000_000);
    promoted(&mut world, 1)?;
    world.write(1, ELSEWHERE);
    world.restore_copy(0);
    world.bring_up(0);
    in_sync(&mut world)?;
    noticed(&world)
}

/// A restored Secondary, disk and metadata: equal identifiers, no bits, no crash mark.
pub(crate) fn revert_older_data(stage: Stage) -> Ending {
    let mut world = stage.calm_pair(4);
    world.take_copy(1);
    next_session(&mut world)?;
    world.write(0, SECTORS);
    world.flush(0);
    world.restore_copy(1);
    world.bring_up(1);
    in_sync(&mut world)?;
    noticed(&world)
}

/// An older copy does not grow out of its age by being attached again and again.
pub(crate) fn attaches_do_not_hide_an_older_copy(stage: Stage) -> Ending {
    let mut world = stage.calm_pair(5);
    world.take_copy(1);
    next_session(&mut world)?;
    world.write(0, SECTORS);
    world.flush(0);
    world.restore_copy(1);
    apart(&mut world)?;
    for _ in 0..10 {
        up(&mut world, 1)?;
        world.kill_daemon(1);
    }
    world.mend_cable();
    world.bring_up(1);
    in_sync(&mut world)?;
    noticed(&world)
}

/// R6 (i): the restored node was promoted alone and has answered clients.
pub(crate) fn a_restored_node_that_went_on_is_a_split_brain(stage: Stage) -> Ending {
    let mut world = restored_and_went_on(stage, 6)?;
    world.mend_cable();
    split(&mut world)?;
    well(&world)
}

fn restored_and_went_on(stage: Stage, seed: u64) -> Result<World, String> {
    let mut world = stage.calm_pair(seed);
    world.take_copy(0);
    next_session(&mut world)?;
    world.write(0, SECTORS);
    world.flush(0);
    world.restore_copy(0);
    apart(&mut world)?;
    up(&mut world, 0)?;
    promoted(&mut world, 0)?;
    world.write(0, ELSEWHERE);
    Ok(world)
}

/// R7: the two have no common base, so whoever gives up is copied over as a whole, and is told so.
pub(crate) fn without_a_common_base_everything_is_copied(stage: Stage) -> Ending {
    let mut world = restored_and_went_on(stage, 7)?;
    world.mend_cable();
    split(&mut world)?;
    let demoted = world.demote_and_wait(0);
    ensure(&world, demoted, "the demotion hangs")?;
    world.run_for(500_000);
    world.give_up(0);
    world.command(1, Command::Connect { discard_my_data: false });
    in_sync(&mut world)?;
    let said = world.coverage().of("full sync after a split brain announced");
    ensure(&world, said > 0, "nobody said that everything is copied")
}

/// R6 (ii): fresh metadata are another instance, whatever its numbers.
pub(crate) fn another_instance_is_judged_by_its_generations(stage: Stage) -> Ending {
    let mut world = stage.calm_pair(8);
    next_session(&mut world)?;
    apart(&mut world)?;
    world.throw_away(0);
    up(&mut world, 0)?;
    let forced = world.ask(0, Command::Primary { force: true });
    ensure(&world, matches!(forced, Some(Answer::Done)), "the promotion was refused")?;
    world.mend_cable();
    split(&mut world)?;
    let refusals = [0, 1].map(|host| world.status(host).and_then(|status| status.refusal));
    let unrelated =
        refusals.iter().flatten().any(|text| text.contains("Unrelated data, aborting!"));
    ensure(&world, unrelated, "another instance was taken for an older copy")
}

/// R6 (iii), (iv): cuts and power cuts at any moment of a handshake never make a sound replica look
/// restored.
pub(crate) fn a_broken_handshake_is_no_older_copy(stage: Stage) -> Ending {
    for step in 0..240_u64 {
        let profile = Profile { metadata_us_max: 2_000, ..Profile::calm() };
        let mut world = stage.pair_of(step, profile);
        apart(&mut world)?;
        if step % 4 < 2 {
            world.write(0, SECTORS);
        }
        world.reconnect();
        world.run_for(step / 4 * 150);
        let unlucky = step as usize % 2;
        world.cut_power(unlucky);
        apart(&mut world)?;
        up(&mut world, unlucky)?;
        world.mend_cable();
        in_sync(&mut world)?;
        ensure(&world, world.coverage().of(NOTICED) == 0, "a sound replica looked restored")?;
    }
    Ok(())
}
