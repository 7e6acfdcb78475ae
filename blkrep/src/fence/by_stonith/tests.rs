//! When the peer's power is taken, and when not.

use super::*;
use crate::fence::scripted::{Cluster, DOWN, LOST, World, ended};

const LIMIT: Duration = Duration::from_secs(120);

fn world(disk: DiskState, peer: &'static str, ends: &[Ended]) -> World {
    let mut world = World::new(disk, Cluster::with_peer(peer));
    world.stonith.extend(ends.iter().cloned());
    world
}

fn fenced(world: &World) -> bool {
    world.runs.iter().any(|run| run.starts_with("stonith_admin --fence b "))
}

#[test]
fn a_lost_peer_is_fenced() {
    let mut lost = world(DiskState::UpToDate, LOST, &[ended(0, "", "")]);
    assert_eq!(fence_by_stonith(LIMIT, &mut lost), Fenced::PeerDown);
    assert!(fenced(&lost));
}

#[test]
fn a_device_that_fails_or_hangs_is_told_with_the_way_out() {
    for end in [ended(1, "", "No such device"), Ended::TooLong] {
        let mut lost = world(DiskState::UpToDate, LOST, &[end]);
        assert_eq!(fence_by_stonith(LIMIT, &mut lost), Fenced::Not);
        lost.expect_log("stonith_admin --confirm b");
    }
}

#[test]
fn only_good_data_give_the_right_to_fence_and_only_a_lost_peer() {
    for disk in [DiskState::Consistent, DiskState::Outdated, DiskState::Diskless] {
        let mut world = world(disk, LOST, &[]);
        assert_eq!(fence_by_stonith(LIMIT, &mut world), Fenced::Not);
    }
    let mut connected = world(DiskState::UpToDate, LOST, &[]);
    connected.peer_is_back();
    assert_eq!(fence_by_stonith(LIMIT, &mut connected), Fenced::Not);
}

#[test]
fn a_fencing_that_the_cluster_has_just_done_counts_and_an_older_one_does_not() {
    let now_s = 1_700_000_000;
    let history = |age_s: u64| ended(0, &format!("{}\n", now_s - age_s), "");
    let mut recent = world(DiskState::UpToDate, DOWN, &[history(3)]);
    assert_eq!(fence_by_stonith(LIMIT, &mut recent), Fenced::PeerDown);
    assert!(!fenced(&recent));
    let mut old = world(DiskState::UpToDate, DOWN, &[history(600), ended(0, "", "")]);
    assert_eq!(fence_by_stonith(LIMIT, &mut old), Fenced::PeerDown);
    assert!(fenced(&old));
    // Rebooted since, and its membership layer is up again.
    let back = "in_ccm=\"true\" crmd=\"offline\" join=\"down\" expected=\"down\"";
    let mut rebooted = world(DiskState::UpToDate, back, &[ended(0, "", "")]);
    assert_eq!(fence_by_stonith(LIMIT, &mut rebooted), Fenced::PeerDown);
    assert!(fenced(&rebooted));
}
