//! Schedules of verify and repair (DESIGN 5, D6, D7).

use crate::generation_scenarios::in_sync;
use crate::profile::Profile;
use crate::scenarios::{Ending, Scenario, Stage, ensure};
use crate::world::World;
use replicator::event::{Answer, Command, RepairFrom};
use replicator::mutation::Mutation;

const LONG_US: u64 = 20_000_000;
/// Sectors that end a piece of 128 KiB, and sectors elsewhere; the calm device has 256.
const LAST_OF_PIECE: usize = 255;
const ELSEWHERE: usize = 17;

/// All of them.
pub(crate) const VERIFY_SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "verify_finds_what_was_damaged",
        catches: &[Mutation::VerifyMissesLastBlock, Mutation::VerifyMarksOneSide],
        play: finds_what_was_damaged,
    },
    Scenario {
        name: "verify_reports_no_write_that_is_under_way",
        catches: &[Mutation::VerifyTakesNoLock, Mutation::VerifyGivesRangeBackEarly],
        play: reports_no_write_under_way,
    },
    Scenario {
        name: "verify_is_done_when_both_have_its_marks",
        catches: &[Mutation::VerifyMarksInMemory, Mutation::VerifyDoneBeforeMarks],
        play: is_done_when_both_have_its_marks,
    },
    Scenario {
        name: "verify_ends_when_its_follower_is_promoted",
        catches: &[Mutation::VerifyOutlivesArbiter],
        play: ends_when_its_follower_is_promoted,
    },
    Scenario {
        name: "repair_copies_from_the_node_that_is_named",
        catches: &[Mutation::RepairGoesTheOtherWay],
        play: copies_from_the_node_that_is_named,
    },
    Scenario {
        name: "repair_copies_what_is_marked_from_the_primary",
        catches: &[Mutation::RepairCopiesAll],
        play: copies_what_is_marked_from_the_primary,
    },
];

fn verify() -> Command {
    Command::Verify { start_bytes: 0, stop_bytes: None, repair: false }
}

fn begin(world: &mut World, host: usize) -> Ending {
    let answer = world.ask(host, verify());
    ensure(world, matches!(answer, Some(Answer::Done)), "the verify was refused")
}

fn over(world: &mut World, host: usize) -> Ending {
    let ended = world.run_until(LONG_US, |world| result(world, host).is_some());
    ensure(world, ended, "the verify does not end")
}

/// Differing blocks that the last verify of a node has found.
fn result(world: &World, host: usize) -> Option<u64> {
    world.status(host)?.verified.map(|verified| verified.differing_blocks)
}

fn marked(world: &World) -> [u64; 2] {
    [0, 1].map(|host| world.status(host).map_or(0, |status| status.out_of_sync_blocks))
}

/// On one, on the other, on both; the last block of a piece, and one inside; from either node.
fn finds_what_was_damaged(stage: Stage) -> Ending {
    for (seed, nodes) in [&[0][..], &[1], &[0, 1]].into_iter().enumerate() {
        for runs_on in [0, 1] {
            let mut world = stage.calm_pair(seed as u64);
            world.write(0, 0..256);
            for host in nodes {
                world.rot_sector(*host, LAST_OF_PIECE);
                world.rot_sector(*host, ELSEWHERE);
            }
            begin(&mut world, runs_on)?;
            over(&mut world, runs_on)?;
            over(&mut world, 1 - runs_on)?;
            let found = [0, 1].map(|host| result(&world, host));
            ensure(&world, found == [Some(2); 2], &format!("found {found:?} and not 2 blocks"))?;
            let marked = marked(&world);
            ensure(&world, marked == [2, 2], &format!("marked {marked:?} and not 2 blocks"))?;
        }
    }
    Ok(())
}

/// Writes at every moment of a verify, each over a block that is just being read.
fn reports_no_write_under_way(stage: Stage) -> Ending {
    for seed in 0..40 {
        let profile = Profile { disk_us_max: 3_000, delay_us_max: 2_000, ..Profile::calm() };
        let mut world = stage.pair_of(seed, profile);
        begin(&mut world, (seed % 2) as usize)?;
        for step in 0..60_usize {
            let first = step * 8 % 240;
            world.begin_write(0, first..first + 12);
            world.run_for(150);
        }
        over(&mut world, 0)?;
        let answered = world.wait_for_client(0);
        ensure(&world, answered, "a write waits for ever")?;
        let found = result(&world, 0);
        ensure(&world, found == Some(0), &format!("found {found:?} where nothing differs"))?;
        in_sync(&mut world)?;
    }
    Ok(())
}

/// Both lose power when the verify is done: each has its marks, without the other's help.
fn is_done_when_both_have_its_marks(stage: Stage) -> Ending {
    for (seed, slow) in (0..10).flat_map(|seed| [(seed, 0), (seed, 1)]) {
        let mut world = stage.calm_pair(seed);
        world.slow_metadata(slow, 30_000);
        world.rot_sector(1, ELSEWHERE);
        begin(&mut world, 0)?;
        over(&mut world, 0)?;
        world.cut_power(0);
        world.cut_power(1);
        world.slow_metadata(slow, 0);
        world.cut_from(0);
        world.cut_from(1);
        for host in [0, 1] {
            let attached = world.bring_up_and_wait(host);
            ensure(&world, attached, "a node never came up")?;
            let marked = marked(&world)[host];
            ensure(&world, marked > 0, &format!("node {host} has lost what the verify found"))?;
        }
    }
    Ok(())
}

/// Two Secondaries: the arbiter is the one that was told. When the other is promoted nobody holds
/// its writes off what is being read.
fn ends_when_its_follower_is_promoted(stage: Stage) -> Ending {
    for seed in 0..20 {
        let profile = Profile {
            disk_us_max: 3_000,
            delay_us_max: 2_000,
            sync_buffers: 1,
            sync_rate_max: Some(400_000),
            ..Profile::calm()
        };
        let mut world = stage.pair_of(seed, profile);
        let demoted = world.demote_and_wait(0);
        ensure(&world, demoted, "the demotion hangs")?;
        in_sync(&mut world)?;
        begin(&mut world, 0)?;
        let answer = world.ask(1, Command::Primary { force: false });
        ensure(&world, matches!(answer, Some(Answer::Done)), "the promotion was refused")?;
        for step in 0..60_usize {
            let first = step * 8 % 240;
            world.begin_write(1, first..first + 12);
            world.run_for(2_000);
        }
        over(&mut world, 0)?;
        let ended = world.status(0).and_then(|status| status.verified);
        let told = ended.is_some_and(|ended| ended.broken_off.is_some());
        ensure(&world, told, "a verify went on beside a Primary that is not its arbiter")?;
        let answered = world.wait_for_client(1);
        ensure(&world, answered, "a write waits for ever")?;
        in_sync(&mut world)?;
        ensure(&world, marked(&world) == [0, 0], "blocks are marked that do not differ")?;
    }
    Ok(())
}

/// Repaired by command from either node, by `--repair`, and by meeting again.
fn copies_what_is_marked_from_the_primary(stage: Stage) -> Ending {
    for way in 0..4 {
        let mut world = stage.calm_pair(way);
        world.write(0, 0..256);
        world.flush(0);
        let good = world.sector(0, ELSEWHERE);
        let copied_before = copied(&world);
        world.rot_sector(1, ELSEWHERE);
        let repair = way == 2;
        let command = Command::Verify { start_bytes: 0, stop_bytes: None, repair };
        let answer = world.ask(0, command);
        ensure(&world, matches!(answer, Some(Answer::Done)), "the verify was refused")?;
        over(&mut world, 0)?;
        over(&mut world, 1)?;
        if way < 2 {
            let answer = world.ask(way as usize, Command::Repair { from: None });
            ensure(&world, matches!(answer, Some(Answer::Done)), "the repair was refused")?;
        } else if way == 3 {
            world.ask(1, Command::Disconnect);
            world.reconnect();
        }
        let sound = world.run_until(LONG_US, |world| {
            world.is_quiet_and_in_sync() && world.sector(0, ELSEWHERE) == world.sector(1, ELSEWHERE)
        });
        ensure(&world, sound, "the two never got in sync")?;
        let held = [0, 1].map(|host| world.sector(host, ELSEWHERE));
        ensure(&world, held == [good; 2], "the Primary's data do not count")?;
        let copied = copied(&world) - copied_before;
        ensure(&world, copied == 1, &format!("{copied} blocks were copied for one"))?;
        let repaired = world.status(0).and_then(|status| status.verified);
        let known = repaired.is_some_and(|verified| verified.repaired_blocks == 1);
        ensure(&world, known, "nobody knows that it is repaired")?;
    }
    Ok(())
}

/// Two Secondaries: nothing but the operator says whose data count.
fn copies_from_the_node_that_is_named(stage: Stage) -> Ending {
    for (told, from) in [0, 1]
        .into_iter()
        .flat_map(|told| [RepairFrom::Local, RepairFrom::Peer].map(|from| (told, from)))
    {
        let mut world = stage.calm_pair(told as u64);
        world.write(0, 0..256);
        world.flush(0);
        let demoted = world.demote_and_wait(0);
        ensure(&world, demoted, "the demotion hangs")?;
        in_sync(&mut world)?;
        world.run_for(100_000);
        world.rot_sector(1, ELSEWHERE);
        let source = if from == RepairFrom::Local { told } else { 1 - told };
        let stands = world.sector(source, ELSEWHERE);
        begin(&mut world, 0)?;
        over(&mut world, 0)?;
        over(&mut world, 1)?;
        let answer = world.ask(told, Command::Repair { from: Some(from) });
        ensure(&world, matches!(answer, Some(Answer::Done)), "the repair was refused")?;
        let equal = |world: &World| {
            world.is_quiet_and_in_sync() && world.sector(0, ELSEWHERE) == world.sector(1, ELSEWHERE)
        };
        let mended = world.run_until(LONG_US, equal);
        ensure(&world, mended, "the two never got in sync")?;
        let stood = world.sector(0, ELSEWHERE) == stands;
        ensure(&world, stood, "the other node's data were copied")?;
    }
    Ok(())
}

fn copied(world: &World) -> u64 {
    world.status(0).map_or(0, |status| status.counters.resynced_blocks)
}
