//! Schedules of split brains: both nodes stand alone and say so, one gives up, policies decide
//! (G3).

use crate::generation_scenarios::{apart, in_sync, promoted, split};
use crate::profile::Profile;
use crate::scenarios::{Ending, Stage, ensure, well};
use crate::world::World;
use replicator::event::{Command, Handler};
use replicator::settings::{
    AfterSb0Pri, AfterSb1Pri, AfterSb2Pri, Handlers, RrConflict, SplitBrainPolicies,
};
use replicator::state::{ConnectionState, Role};
use replicator::wire::Kind;
use std::ops::Range;

const SECTORS: Range<usize> = 16..24;
const ELSEWHERE: Range<usize> = 40..80;
const LONG_US: u64 = 5_000_000;

fn both_stand_alone(world: &mut World) -> Ending {
    let alone = world.run_until(LONG_US, |world| {
        [0, 1].iter().all(|host| {
            world
                .status(*host)
                .is_some_and(|status| status.connection == ConnectionState::StandAlone)
        })
    });
    ensure(world, alone, "one of the two does not stand alone")
}

/// Both write alone: node 0 stays Primary, node 1 becomes one.
fn diverge(world: &mut World) -> Result<[u64; 2], String> {
    apart(world)?;
    let primary = usize::from(world.status(1).is_some_and(|status| status.role == Role::Primary));
    let first = world.write(primary, SECTORS);
    promoted(world, 1 - primary)?;
    let second = world.write(1 - primary, ELSEWHERE);
    well(world)?;
    Ok(if primary == 0 { [first, second] } else { [second, first] })
}

/// Ten rounds of a split brain, each resolved by hand, in both directions.
pub(crate) fn split_brain_rounds(stage: Stage) -> Ending {
    let mut world = stage.calm_pair(1);
    for round in 0..10_usize {
        let stamps = diverge(&mut world)?;
        world.mend_cable();
        split(&mut world)?;
        both_stand_alone(&mut world)?;
        let (victim, survivor) = (round % 2, 1 - round % 2);
        let demoted = world.demote_and_wait(victim);
        ensure(&world, demoted, "the demotion hangs")?;
        world.give_up(victim);
        world.command(survivor, Command::Connect { discard_my_data: false });
        in_sync(&mut world)?;
        let sector = if survivor == 0 { SECTORS.start } else { ELSEWHERE.start };
        let sector = if world.sector(survivor, sector) == stamps[survivor] {
            sector
        } else {
            SECTORS.start + ELSEWHERE.start - sector
        };
        let kept = [0, 1].iter().all(|host| world.sector(*host, sector) == stamps[survivor]);
        ensure(&world, kept, "the wrong side was given up")?;
    }
    Ok(())
}

/// F22a: the verdict is lost on its way; who missed it learns of it at its next dial.
pub(crate) fn the_verdict_is_said_again(stage: Stage) -> Ending {
    let mut world = stage.calm_pair(6);
    diverge(&mut world)?;
    let demoted = world.demote_and_wait(1);
    ensure(&world, demoted, "the demotion hangs")?;
    world.lose_next(Kind::Data);
    world.reconnect();
    let lost = world.run_until(LONG_US, World::has_lost);
    ensure(&world, lost, "no statement was sent")?;
    world.lose_next(Kind::Refuse);
    both_stand_alone(&mut world)?;
    let told = [0, 1].iter().all(|host| {
        world
            .status(*host)
            .and_then(|status| status.refusal)
            .is_some_and(|text| text.contains("Split-Brain detected"))
    });
    ensure(&world, told, "a node does not know why it stands alone")
}

/// F22e: `--discard-my-data` without a split brain changes nothing.
pub(crate) fn discard_without_a_split_brain_is_ignored(stage: Stage) -> Ending {
    for victim in [0, 1] {
        let mut world = stage.calm_pair(7);
        apart(&mut world)?;
        let stamp = world.write(0, SECTORS);
        let demoted = world.demote_and_wait(0);
        ensure(&world, demoted, "the demotion hangs")?;
        world.mend_cable();
        world.command(victim, Command::Connect { discard_my_data: true });
        in_sync(&mut world)?;
        let kept = [0, 1].iter().all(|host| world.sector(*host, SECTORS.start) == stamp);
        ensure(&world, kept, "the only changes were given up")?;
    }
    Ok(())
}

fn with_policies(policies: SplitBrainPolicies) -> Profile {
    let mut handlers = Handlers::default();
    for handler in
        [Handler::SplitBrain, Handler::InitialSplitBrain, Handler::PriLost, Handler::PriLostAfterSb]
    {
        handlers = handlers.with(handler);
    }
    Profile { split_brain: [policies; 2], handlers, ..Profile::calm() }
}

fn ran(world: &World, host: usize, handler: Handler) -> bool {
    world.hosts[host].handlers_run.contains(&handler)
}

fn handlers_ran_on_both(world: &World, resolved: bool) -> Ending {
    for host in [0, 1] {
        let initial = ran(world, host, Handler::InitialSplitBrain);
        ensure(world, initial, "initial-split-brain was not run on both")?;
        let unresolved = ran(world, host, Handler::SplitBrain);
        ensure(world, unresolved != resolved, "split-brain is for unresolved ones, on both")?;
    }
    Ok(())
}

/// Both are told of a split brain that nobody resolves, and each runs its handlers once.
pub(crate) fn an_unresolved_split_brain_is_told_on_both(stage: Stage) -> Ending {
    for seed in 0..10 {
        let mut world = stage.pair_of(seed, with_policies(SplitBrainPolicies::default()));
        diverge(&mut world)?;
        world.mend_cable();
        both_stand_alone(&mut world)?;
        handlers_ran_on_both(&world, false)?;
    }
    Ok(())
}

/// How a policy ends: who is Primary when the two meet, whether clients have gone, who keeps its
/// data (none: unresolved).
struct Row {
    policies: SplitBrainPolicies,
    primaries: [bool; 2],
    clients_stay: bool,
    winner: Option<usize>,
}

fn rows() -> Vec<Row> {
    let least = AfterSb0Pri::DiscardLeastChanges;
    let zero =
        |zero_primaries| SplitBrainPolicies { zero_primaries, ..SplitBrainPolicies::default() };
    let one = |one_primary| SplitBrainPolicies { one_primary, ..zero(least) };
    let two = |two_primaries| SplitBrainPolicies { two_primaries, ..zero(least) };
    let row = |policies, primaries, clients_stay, winner| Row {
        policies,
        primaries,
        clients_stay,
        winner,
    };
    let (nobody, first, second, both) =
        ([false, false], [true, false], [false, true], [true, true]);
    // Node 1 changes more, and node 0 was Primary at the split.
    vec![
        row(zero(AfterSb0Pri::Disconnect), nobody, false, None),
        row(zero(AfterSb0Pri::DiscardYoungerPrimary), nobody, false, Some(0)),
        row(zero(AfterSb0Pri::DiscardOlderPrimary), nobody, false, Some(1)),
        row(zero(AfterSb0Pri::DiscardZeroChanges), nobody, false, None),
        row(zero(least), nobody, false, Some(1)),
        row(one(AfterSb1Pri::Disconnect), first, true, None),
        row(one(AfterSb1Pri::Consensus), first, true, None),
        row(one(AfterSb1Pri::Consensus), second, true, Some(1)),
        row(one(AfterSb1Pri::DiscardSecondary), first, true, Some(0)),
        row(one(AfterSb1Pri::ViolentlyAs0p), second, true, Some(1)),
        row(one(AfterSb1Pri::CallPriLostAfterSb), first, false, Some(1)),
        row(one(AfterSb1Pri::CallPriLostAfterSb), first, true, None),
        row(two(AfterSb2Pri::Disconnect), both, false, None),
        row(two(AfterSb2Pri::CallPriLostAfterSb), both, false, Some(1)),
        row(two(AfterSb2Pri::CallPriLostAfterSb), both, true, None),
    ]
}

pub(crate) fn after_sb_policies(stage: Stage) -> Ending {
    for (number, row) in rows().iter().enumerate() {
        let mut world = stage.pair_of(number as u64, with_policies(row.policies));
        let stamps = diverge(&mut world)?;
        for host in [0, 1] {
            if !row.primaries[host] {
                let demoted = world.demote_and_wait(host);
                ensure(&world, demoted, "the demotion hangs")?;
            } else if !row.clients_stay {
                world.client_leaves(host);
            }
        }
        world.mend_cable();
        let outcome = match row.winner {
            None => both_stand_alone(&mut world),
            Some(winner) => in_sync(&mut world).and_then(|()| {
                let sector = if winner == 0 { SECTORS.start } else { ELSEWHERE.start };
                let kept = [0, 1].iter().all(|host| world.sector(*host, sector) == stamps[winner]);
                ensure(&world, kept, "the wrong side was given up")
            }),
        };
        outcome
            .and_then(|()| handlers_ran_on_both(&world, row.winner.is_some()))
            .map_err(|why| format!("row {number} {:?}: {why}", row.policies))?;
    }
    Ok(())
}

/// Policies that differ are refused on both, by the option's name and both values.
pub(crate) fn differing_policies_are_refused(stage: Stage) -> Ending {
    let profile = Profile::calm();
    let mut world = stage.pair_of(3, profile);
    world.profile.split_brain[1].zero_primaries = AfterSb0Pri::DiscardZeroChanges;
    world.kill_daemon(1);
    world.bring_up(1);
    both_stand_alone(&mut world)?;
    for host in [0, 1] {
        let text = world.status(host).and_then(|status| status.refusal).unwrap_or_default();
        let named = ["after-sb-0pri", "'disconnect'", "'discard-zero-changes'", "alpha", "beta"]
            .iter()
            .all(|word| text.contains(word));
        ensure(&world, named, &format!("it does not say what differs: {text}"))?;
    }
    Ok(())
}

/// An idle Primary meets a peer that went on alone: it shall become the target (`rr-conflict`).
pub(crate) fn a_primary_shall_become_target(stage: Stage) -> Ending {
    for rr_conflict in [RrConflict::Disconnect, RrConflict::RetryConnect, RrConflict::CallPriLost] {
        let policies = SplitBrainPolicies { rr_conflict, ..SplitBrainPolicies::default() };
        let mut world = stage.pair_of(4, with_policies(policies));
        apart(&mut world)?;
        promoted(&mut world, 1)?;
        let stamp = world.write(1, ELSEWHERE);
        let demoted = world.demote_and_wait(1);
        ensure(&world, demoted, "the demotion hangs")?;
        world.mend_cable();
        if rr_conflict == RrConflict::RetryConnect {
            world.run_for(LONG_US);
            let tries = [0, 1].iter().all(|host| {
                world
                    .status(*host)
                    .is_some_and(|status| status.connection == ConnectionState::Connecting)
            });
            ensure(&world, tries, "they do not try again")?;
            let demoted = world.demote_and_wait(0);
            ensure(&world, demoted, "the demotion hangs")?;
        } else {
            both_stand_alone(&mut world)?;
            let lost = ran(&world, 0, Handler::PriLost);
            let wanted = rr_conflict == RrConflict::CallPriLost;
            ensure(&world, lost == wanted, "pri-lost is for call-pri-lost, on the Primary")?;
            let demoted = world.demote_and_wait(0);
            ensure(&world, demoted, "the demotion hangs")?;
            world.reconnect();
        }
        in_sync(&mut world)?;
        ensure(&world, world.sector(0, ELSEWHERE.start) == stamp, "the newer write is gone")?;
    }
    Ok(())
}
