//! Schedules of a device that grows (D20): what each mend of the rule is for.

use crate::profile::Profile;
use crate::scenarios::{Ending, Stage, ensure};
use crate::world::World;
use metadata::layout::Placement;
use replicator::event::{Answer, Command};
use replicator::wire::Kind;

const LONG_US: u64 = 20_000_000;

/// Internal metadata, and disks that can grow.
fn growing_pair(stage: Stage, seed: u64) -> World {
    stage.pair_of(seed, Profile::growing([Placement::Internal; 2]))
}

fn both_grow(world: &mut World, assume_clean: bool) -> Option<Answer> {
    world.grow_disk(0);
    world.grow_disk(1);
    world.ask(0, Command::Resize { size_bytes: None, assume_clean })
}

/// The part that is new is the same on both nodes in the end.
pub(crate) fn copies_the_new_part(stage: Stage) -> Ending {
    let mut world = growing_pair(stage, 1);
    let answer = both_grow(&mut world, false);
    ensure(&world, answer == Some(Answer::Done), "the device did not grow")?;
    let in_sync = world.gets_in_sync();
    ensure(&world, in_sync, "the two did not get in sync")
}

/// A client that is quick with the new size.
pub(crate) fn waits_for_the_peers_commit(stage: Stage) -> Ending {
    for seed in 0..3 {
        let mut world = growing_pair(stage, seed);
        let before = world.size_bytes(0);
        world.grow_disk(0);
        world.grow_disk(1);
        world.slow_metadata(1, 20_000);
        world.resize(0, None, true);
        let grown = world.run_until(LONG_US, |world| world.size_bytes(0) > before);
        ensure(&world, grown, "the device did not grow")?;
        let last = world.last_sector(0);
        world.begin_write(0, last..last + 1);
        let answered = world.wait_for_client(0);
        ensure(&world, answered, "no answer to a write")?;
        let in_sync = world.gets_in_sync();
        ensure(&world, in_sync, "the two did not get in sync")?;
    }
    Ok(())
}

/// A disk grows while its node is down, with the metadata at its old end.
pub(crate) fn searches_the_old_end(stage: Stage) -> Ending {
    let mut world = growing_pair(stage, 2);
    let stamp = world.write(0, 8..16);
    world.grow_disk(1);
    world.kill_daemon(1);
    let up = world.bring_up_and_wait(1);
    ensure(&world, up, "the node did not start on its grown disk")?;
    let in_sync = world.gets_in_sync();
    ensure(&world, in_sync && world.sector(1, 8) == stamp, "the data are not there")
}

/// The Secondary has both steps, the Primary one, and the connection is lost.
pub(crate) fn takes_a_lone_commit_back(stage: Stage) -> Ending {
    let mut world = growing_pair(stage, 3);
    let before = world.size_bytes(0);
    world.lose_next(Kind::ResizeCommitted);
    let answer = both_grow(&mut world, false);
    let refused = matches!(answer, Some(Answer::Refused(_)));
    ensure(&world, refused && world.has_lost(), "the peer's commit was not lost")?;
    let in_sync = world.gets_in_sync();
    ensure(&world, in_sync && world.size_bytes(1) == before, "the two did not take it back")?;
    // Both have met again by then.
    world.run_for(1_000_000);
    let in_sync = world.gets_in_sync();
    ensure(&world, in_sync, "the two did not meet again")?;
    let answer = world.ask(0, Command::Resize { size_bytes: None, assume_clean: false });
    ensure(&world, answer == Some(Answer::Done), "the device did not grow after all")?;
    let in_sync = world.gets_in_sync();
    ensure(&world, in_sync && world.size_bytes(1) > before, "the two did not get in sync")
}

/// The device has grown, and then the disks leave one after the other: whoever is promoted on the
/// peer's disk exports the whole of it.
pub(crate) fn is_remembered_without_a_disk(stage: Stage) -> Ending {
    for host in [0, 1] {
        let mut world = growing_pair(stage, 4);
        let answer = both_grow(&mut world, false);
        let in_sync = world.gets_in_sync();
        ensure(&world, answer == Some(Answer::Done) && in_sync, "the device did not grow")?;
        let demoted = world.demote_and_wait(0);
        ensure(&world, demoted, "the Primary was not demoted")?;
        world.ask(host, Command::Detach { force: false });
        let answer = world.ask(host, Command::Primary { force: false });
        ensure(&world, answer == Some(Answer::Done), "no promotion on the peer's disk")?;
    }
    Ok(())
}

/// The peer has committed, the connection was lost, and it was promoted: the Primary that still
/// serves the old size takes the new one in the handshake.
pub(crate) fn serves_a_taken_size_when_it_is_durable(stage: Stage) -> Ending {
    let mut world = growing_pair(stage, 5);
    let before = world.size_bytes(0);
    world.lose_next(Kind::ResizeCommitted);
    let answer = both_grow(&mut world, false);
    let refused = matches!(answer, Some(Answer::Refused(_)));
    ensure(&world, refused && world.has_lost(), "the peer's commit was not lost")?;
    let cut = world.cut_and_wait();
    let answer = world.ask(1, Command::Primary { force: false });
    ensure(&world, cut && answer == Some(Answer::Done), "the other node was not promoted")?;
    world.slow_metadata(0, 20_000);
    world.reconnect();
    let taken = world.run_until(LONG_US, |world| world.size_bytes(0) > before);
    ensure(&world, taken, "the size was not taken")?;
    // They are two Primaries, and stay apart.
    world.run_for(1_000_000);
    let last = world.last_sector(0);
    world.begin_write(0, last..last + 1);
    let answered = world.wait_for_client(0);
    ensure(&world, answered, "no answer to a write into the part that is new")
}

/// Somebody gives up or holds a replica's data between the steps of a resize, while the new part is
/// being zeroed on one of the disks: no resync begins before it is over, for its bitmap would be of
/// another size than its device.
pub(crate) fn no_resync_begins_meanwhile(stage: Stage) -> Ending {
    let verbs = [(1, Command::Invalidate), (0, Command::InvalidateRemote), (1, Command::PauseSync)];
    for (host, verb) in verbs {
        for zeroing in [0, 1] {
            let mut world = growing_pair(stage, 5);
            let before = world.size_bytes(0);
            world.grow_disk(0);
            world.grow_disk(1);
            world.stick_plain_writes(zeroing, true);
            world.resize(0, None, true);
            world.run_for(50_000);
            world.ask(host, verb);
            world.run_for(50_000);
            ensure(&world, world.size_bytes(0) == before, "the resize was not under way")?;
            world.ask(host, Command::ResumeSync);
            world.stick_plain_writes(zeroing, false);
            world.run_for(500_000);
            let in_sync = world.gets_in_sync();
            ensure(&world, in_sync, &format!("{verb:?}: the two did not get in sync"))?;
            let sizes = [0, 1].map(|host| world.size_bytes(host));
            let grown = sizes[0] == sizes[1] && sizes[0] > before;
            ensure(&world, grown, &format!("{verb:?}: the device has {sizes:?} bytes"))?;
        }
    }
    Ok(())
}
