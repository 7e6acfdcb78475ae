//! When a constraint is taken back, by whom, and when it stays.

use super::*;
use crate::fence::constraint::{RoleName, xml};
use crate::fence::scripted::{Cluster, MEMBER, World};

const UNNOTICED_MAX: Duration = Duration::from_secs(16);
const DC_TIMEOUT: Duration = Duration::from_secs(20);

/// Both nodes UpToDate and connected, with the constraint of `owner`.
fn world(owner: &str) -> World {
    let mut world = World::new(DiskState::UpToDate, Cluster::with_peer(MEMBER));
    world.peer_is_back();
    world.cluster.constraints = placed_by(owner, "first");
    world
}

fn placed_by(owner: &str, word: &str) -> String {
    xml("blkrep-fence-by-handler-r0-ms", "ms", RoleName::Promoted, owner, word)
}

fn lift(world: &mut World) -> bool {
    let lifted = lift_constraint("r0", UNNOTICED_MAX, DC_TIMEOUT, world);
    assert!(!world.locked, "the lock is given back");
    lifted
}

#[test]
fn the_own_constraint_goes_at_once() {
    let mut world = world("a");
    assert!(lift(&mut world));
    assert_eq!(world.cluster.constraints, "");
    assert!(world.now < Duration::from_secs(1), "{:?}", world.now);
}

#[test]
fn without_a_constraint_there_is_nothing_to_do() {
    let mut world = world("a");
    world.cluster.constraints.clear();
    assert!(lift(&mut world));
    assert_eq!(world.runs.len(), 1, "{:?}", world.runs);
}

#[test]
fn it_stays_while_a_disk_is_not_good() {
    for (disk, peer_disk) in [
        (DiskState::UpToDate, DiskState::Inconsistent),
        (DiskState::Inconsistent, DiskState::UpToDate),
    ] {
        let mut world = world("a");
        (world.status().disk, world.status().peer_disk) = (disk, peer_disk);
        assert!(!lift(&mut world));
        assert_ne!(world.cluster.constraints, "");
        world.expect_log("the constraint stays");
    }
    let mut lost = world("a");
    lost.status().connection = ConnectionState::Connecting;
    assert!(!lift(&mut lost));
    assert_ne!(lost.cluster.constraints, "");
    assert!(lost.now < Duration::from_secs(1), "the fencing waits for this: {:?}", lost.now);
}

#[test]
fn the_last_word_of_a_resync_is_waited_for() {
    let mut world = world("a");
    world.status().peer_disk = DiskState::Inconsistent;
    world.at(1.0, World::peer_is_back);
    assert!(lift(&mut world));
    assert_eq!(world.cluster.constraints, "");
}

#[test]
fn the_other_nodes_constraint_goes_after_a_loss_would_have_been_noticed() {
    let mut world = world("b");
    assert!(lift(&mut world));
    assert_eq!(world.cluster.constraints, "");
    assert!(world.now >= UNNOTICED_MAX, "{:?}", world.now);
    assert!(!world.log.iter().any(|line| line.contains("stays")), "{:?}", world.log);
}

#[test]
fn the_other_node_may_be_faster() {
    let mut world = world("b");
    world.at(3.0, |world| world.cluster.constraints.clear());
    assert!(lift(&mut world));
    assert!(world.now < Duration::from_secs(5), "{:?}", world.now);
}

/// The peer has lost this node, which does not know it yet, and its constraint is the answer.
#[test]
fn a_constraint_that_answers_an_unnoticed_loss_stays() {
    let mut world = world("b");
    world.at(10.0, |world| world.status().connection = ConnectionState::Connecting);
    assert!(!lift(&mut world));
    assert_eq!(world.cluster.constraints, placed_by("b", "first"));
}

/// The one that was seen is gone, and another one has come.
#[test]
fn a_later_constraint_is_another_one() {
    let mut world = world("b");
    world.at(5.0, |world| world.cluster.constraints = placed_by("b", "second"));
    lift(&mut world);
    assert_eq!(world.cluster.constraints, placed_by("b", "second"));
    // Between the look and the taking back, under the nose of its owner.
    let mut own = self::world("a");
    own.status().peer_disk = DiskState::Inconsistent;
    own.at(0.5, |world| {
        world.cluster.constraints = placed_by("b", "second");
        world.peer_is_back();
    });
    lift(&mut own);
    assert_eq!(own.cluster.constraints, placed_by("b", "second"));
}

#[test]
fn an_election_of_the_dc_is_waited_for_and_its_absence_told() {
    let mut electing = world("a");
    electing.dc = false;
    electing.at(4.0, |world| world.dc = true);
    assert!(lift(&mut electing), "{:?}", electing.log);
    let mut headless = world("a");
    headless.dc = false;
    assert!(!lift(&mut headless));
    headless.expect_log("cannot be taken back");
    assert!(headless.now < DC_TIMEOUT * 2, "{:?}", headless.now);
}
