//! Which state of cluster and disks ends with which exit code, and what is in the CIB then.

use super::*;
use crate::fence::constraint::RoleName;
use crate::fence::scripted::{Cluster, DOWN, LOST, MEMBER, World};

const LIMITS: Limits = Limits {
    timeout: Duration::from_secs(90),
    dc_timeout: Duration::from_secs(20),
    unreachable_is_outdated: false,
};
const RISKY: Limits = Limits { unreachable_is_outdated: true, ..LIMITS };

/// A constraint that `owner` has placed.
fn placed_by(owner: &str) -> String {
    constraint::xml("blkrep-fence-by-handler-r0-ms", "ms", RoleName::Promoted, owner, "old")
}

fn fence(world: &mut World, limits: Limits) -> Fenced {
    let end = fence_by_constraint("r0", limits, world);
    assert!(!world.locked, "the lock is given back");
    world.expect_log(&format!("exit code {}", end.exit_code()));
    end
}

/// The owner of the constraint that is in the CIB at the end.
fn owner(world: &World) -> Option<String> {
    let asker = Asker { resource: "r0", me: ["a", "a"], peer: "b" };
    let standing = cib::scene(&world.cluster.text(), asker).unwrap().standing;
    standing.map(|standing| standing.owner.expect("a constraint of ours names a node"))
}

fn expect(world: &mut World, limits: Limits, end: Fenced, constraint: Option<&str>) {
    assert_eq!(fence(world, limits), end, "{:#?}", world.log);
    assert_eq!(owner(world).as_deref(), constraint, "{:#?}", world.log);
}

#[test]
fn a_peer_that_the_cluster_sees_is_bound_and_outdated_also_on_consistent_data() {
    for disk in [DiskState::UpToDate, DiskState::Consistent] {
        let mut world = World::new(disk, Cluster::with_peer(MEMBER));
        expect(&mut world, LIMITS, Fenced::PeerOutdated, Some("a"));
        // The answer that counts is given after the constraint is there.
        let programs: Vec<&str> = world.runs.iter().map(|run| &run[..17.min(run.len())]).collect();
        assert_eq!(programs, ["cibadmin --query ", "cibadmin --create", "crmadmin --status"]);
    }
}

#[test]
fn a_peer_that_was_fenced_before_costs_two_commands() {
    let mut world = World::new(DiskState::UpToDate, Cluster::with_peer(DOWN));
    expect(&mut world, LIMITS, Fenced::PeerDown, Some("a"));
    assert_eq!(world.runs.len(), 2, "{:?}", world.runs);
}

#[test]
fn a_lost_peer_is_waited_for_until_the_cluster_has_fenced_it() {
    let mut world = World::new(DiskState::UpToDate, Cluster::with_peer(LOST));
    world.at(7.0, |world| world.cluster.peer = DOWN);
    expect(&mut world, LIMITS, Fenced::PeerDown, Some("a"));
    assert!(world.now < Duration::from_millis(7400), "noticed late: {:?}", world.now);
    let waits = world.log.iter().filter(|line| line.contains("waiting until")).count();
    assert_eq!(waits, 1, "one line for each step: {:#?}", world.log);
}

/// A constraint in this partition alone binds nobody.
#[test]
fn a_peer_that_dies_before_the_cluster_notices_is_not_taken_for_bound() {
    let mut world = World::new(DiskState::UpToDate, Cluster::with_peer(MEMBER));
    world.peer_answers = false;
    world.at(3.0, |world| world.cluster.peer = LOST);
    world.at(9.0, |world| {
        world.cluster.peer = DOWN;
        assert!(world.log.iter().any(|line| line.contains("does not answer")), "{:?}", world.log);
    });
    expect(&mut world, LIMITS, Fenced::PeerDown, Some("a"));
    assert!(world.now > Duration::from_secs(9), "{:?}", world.now);
}

#[test]
fn without_fencing_a_lost_peer_is_unreachable_at_once() {
    let mut world = World::new(DiskState::UpToDate, Cluster::with_peer(LOST));
    world.cluster.stonith = "false";
    expect(&mut world, LIMITS, Fenced::PeerUnreachable, Some("a"));
    assert!(world.now < Duration::from_secs(1), "{:?}", world.now);
}

#[test]
fn a_fencing_that_never_comes_is_waited_for_no_longer_than_told_and_lets_nobody_go_on() {
    let mut world = World::new(DiskState::UpToDate, Cluster::with_peer(LOST));
    expect(&mut world, LIMITS, Fenced::Not, None);
    assert!(world.now >= LIMITS.timeout && world.now < LIMITS.timeout * 2, "{:?}", world.now);
    world.expect_log("has not fenced it in time");
    let mut world = World::new(DiskState::UpToDate, Cluster::with_peer(LOST));
    expect(&mut world, RISKY, Fenced::PeerUnreachable, Some("a"));
}

#[test]
fn data_in_doubt_bind_no_peer_that_is_gone() {
    for peer in [LOST, DOWN] {
        let mut world = World::new(DiskState::Consistent, Cluster::with_peer(peer));
        expect(&mut world, LIMITS, Fenced::PeerUnreachable, None);
        let mut world = World::new(DiskState::Consistent, Cluster::with_peer(peer));
        expect(&mut world, RISKY, Fenced::PeerOutdated, Some("a"));
        world.expect_log("LOST");
    }
}

#[test]
fn a_bad_disk_of_ones_own_is_no_right_to_fence() {
    for disk in [DiskState::Diskless, DiskState::Inconsistent, DiskState::Outdated] {
        let mut world = World::new(disk, Cluster::with_peer(DOWN));
        expect(&mut world, RISKY, Fenced::Not, None);
        assert_eq!(world.runs, [""; 0]);
    }
}

#[test]
fn a_peer_known_to_be_inconsistent_needs_no_constraint() {
    let mut world = World::new(DiskState::UpToDate, Cluster::with_peer(MEMBER));
    world.status().peer_disk = DiskState::Inconsistent;
    expect(&mut world, LIMITS, Fenced::PeerInconsistent, None);
}

#[test]
fn a_connected_peer_is_not_fenced() {
    let mut world = World::new(DiskState::UpToDate, Cluster::with_peer(MEMBER));
    world.peer_is_back();
    expect(&mut world, LIMITS, Fenced::Not, None);
    let mut world = World::new(DiskState::UpToDate, Cluster::with_peer(LOST));
    world.at(5.0, World::peer_is_back);
    expect(&mut world, LIMITS, Fenced::Not, None);
}

#[test]
fn a_peer_that_is_back_after_the_constraint_is_let_off() {
    let mut world = World::new(DiskState::UpToDate, Cluster::with_peer(MEMBER));
    // Within the first query: the constraint is placed, and the look behind it sees the peer.
    world.at(0.03, World::peer_is_back);
    expect(&mut world, LIMITS, Fenced::Not, None);
    world.expect_log("the constraint goes again");
    let mut world = World::new(DiskState::UpToDate, Cluster::with_peer(MEMBER));
    world.at(0.03, |world| {
        world.peer_is_back();
        world.status().peer_disk = DiskState::Inconsistent;
    });
    expect(&mut world, LIMITS, Fenced::Not, Some("a"));
}

#[test]
fn the_constraint_of_the_other_node_means_that_this_one_has_lost() {
    for disk in [DiskState::UpToDate, DiskState::Consistent] {
        for peer in [MEMBER, LOST, DOWN] {
            let mut world = World::new(disk, Cluster::with_peer(peer));
            world.cluster.constraints = placed_by("b");
            expect(&mut world, RISKY, Fenced::Not, Some("b"));
            assert_eq!(world.runs.len(), 1, "asked once: {:?}", world.runs);
        }
    }
}

#[test]
fn of_two_nodes_that_place_at_once_one_loses() {
    let mut world = World::new(DiskState::UpToDate, Cluster::with_peer(MEMBER));
    world.at(0.01, |world| world.cluster.constraints = placed_by("b"));
    expect(&mut world, LIMITS, Fenced::Not, Some("b"));
    world.expect_log("lost: b has placed its constraint first");
}

#[test]
fn the_own_constraint_of_an_earlier_run_will_do() {
    for (peer, end) in [(MEMBER, Fenced::PeerOutdated), (DOWN, Fenced::PeerDown)] {
        let mut world = World::new(DiskState::UpToDate, Cluster::with_peer(peer));
        world.cluster.constraints = placed_by("a");
        expect(&mut world, LIMITS, end, Some("a"));
    }
}

#[test]
fn a_peer_that_the_cluster_has_promoted_is_primary_if_it_is_alive() {
    let promoted = r#"<lrm_rsc_op operation="start" call-id="3" rc-code="0" op-status="0"/>
<lrm_rsc_op operation="promote" call-id="9" rc-code="0" op-status="0"/>"#;
    let asked = |operations: &'static str, answers: bool| {
        let mut world = World::new(DiskState::UpToDate, Cluster::with_peer(MEMBER));
        (world.cluster.operations, world.peer_answers) = (operations, answers);
        world.status().role = Role::Secondary;
        world
    };
    expect(&mut asked(promoted, true), LIMITS, Fenced::PeerPrimary, None);
    // A Primary that loses its peer asks for no promotion.
    let mut primary = asked(promoted, true);
    primary.status().role = Role::Primary;
    expect(&mut primary, LIMITS, Fenced::PeerOutdated, Some("a"));
    let mut dying = asked(promoted, false);
    dying.at(4.0, |world| world.cluster.peer = DOWN);
    expect(&mut dying, LIMITS, Fenced::PeerDown, Some("a"));
    // Demoted since, or being demoted: not Primary for certain.
    for last in [
        r#"<lrm_rsc_op operation="promote" call-id="9" rc-code="0" op-status="0"/>
<lrm_rsc_op operation="demote" call-id="12" rc-code="0" op-status="0"/>"#,
        r#"<lrm_rsc_op operation="promote" call-id="9" rc-code="0" op-status="0"/>
<lrm_rsc_op operation="demote" call-id="-1" rc-code="193" op-status="-1"/>"#,
    ] {
        expect(&mut asked(last, true), LIMITS, Fenced::PeerOutdated, Some("a"));
    }
}

#[test]
fn without_quorum_nobody_is_bound() {
    let mut world = World::new(DiskState::UpToDate, Cluster::with_peer(LOST));
    (world.cluster.quorum, world.cluster.stonith) = ("0", "false");
    expect(&mut world, RISKY, Fenced::Not, None);
    world.expect_log("no quorum");
}

#[test]
fn a_cluster_that_takes_no_changes_binds_nobody() {
    let mut world = World::new(DiskState::UpToDate, Cluster::with_peer(DOWN));
    world.dc = false;
    expect(&mut world, LIMITS, Fenced::Not, None);
    assert!(world.now < LIMITS.dc_timeout + Duration::from_secs(8), "{:?}", world.now);
    // An election takes a moment.
    let mut world = World::new(DiskState::UpToDate, Cluster::with_peer(DOWN));
    world.dc = false;
    world.at(3.0, |world| world.dc = true);
    expect(&mut world, LIMITS, Fenced::PeerDown, Some("a"));
    assert!(world.now > Duration::from_secs(3), "{:?}", world.now);
}

#[test]
fn what_cannot_be_asked_is_told_with_its_cause() {
    let mut world = World::new(DiskState::UpToDate, Cluster::with_peer(DOWN));
    world.status = Err("not up; start it with 'blkrep up r0'".to_owned());
    expect(&mut world, LIMITS, Fenced::Not, None);
    world.expect_log("blkrep up r0");
    let mut world = World::new(DiskState::UpToDate, Cluster::with_peer(DOWN));
    world.status().peer_name = "c".to_owned();
    expect(&mut world, LIMITS, Fenced::Not, None);
    world.expect_log("the cluster has no node c");
}
