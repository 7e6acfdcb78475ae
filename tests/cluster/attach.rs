//! A disk that comes and goes under a running daemon: `detach`, `attach`, and a start without it.

use crate::bed::{SOON, synced_pair};
use std::fs;
use testbed::nbd_client::NbdClient;
use testbed::{Node, Pair};

const BLOCK: usize = 4096;

fn write_blocks(node: &Node, first: u64, count: u64, byte: u8) {
    let mut client = NbdClient::open(&node.nbd_socket(), "r0").unwrap();
    for block in first..first + count {
        client.write(block * BLOCK as u64, &[byte; BLOCK], false).unwrap();
    }
    client.flush().unwrap();
}

fn wait_diskless(pair: &Pair) {
    pair.b.wait_state("no disk", SOON, |state| state.disk == "Diskless");
    pair.a.wait_state("it is known", SOON, |state| state.peer_disk == "Diskless");
}

#[test]
fn a_detached_secondary_takes_its_disk_back_and_gets_what_it_missed() {
    let pair = synced_pair();
    pair.b.must(&["attach", "r0"]);
    let before = pair.b.state().resynced_blocks;
    pair.b.must(&["detach", "r0"]);
    pair.b.must(&["detach", "r0"]);
    wait_diskless(&pair);
    let shown = pair.b.must(&["status", "r0"]).stdout;
    assert!(shown.contains("'blkrep attach r0'"), "no advice: {shown}");
    write_blocks(&pair.a, 100, 3, 7);
    pair.b.must(&["attach", "r0"]);
    pair.expect_equal();
    // Only the extent that was written to, at the most: 4 MiB.
    let copied = pair.b.state().resynced_blocks - before;
    assert!((3..=1024).contains(&copied), "{copied} blocks were copied");
}

#[test]
fn a_primary_without_its_disk_goes_on_with_the_peers_and_takes_it_back() {
    let pair = synced_pair();
    write_blocks(&pair.a, 0, 2, 1);
    pair.a.must(&["detach", "r0"]);
    pair.a.wait_state("no disk", SOON, |state| state.disk == "Diskless");
    write_blocks(&pair.a, 1, 2, 2);
    let mut client = NbdClient::open(&pair.a.nbd_socket(), "r0").unwrap();
    let mut bytes = [0; 3 * BLOCK];
    client.read(0, &mut bytes).expect("the peer's disk is read");
    assert_eq!((bytes[0], bytes[BLOCK], bytes[2 * BLOCK]), (1, 2, 2));
    drop(client);
    pair.a.must(&["attach", "r0"]);
    pair.expect_equal();
}

#[test]
fn the_last_good_disk_of_a_primary_is_not_detached() {
    let mut pair = synced_pair();
    pair.b.down();
    pair.a.wait_state("alone", SOON, |state| state.connection != "Connected");
    let refused = pair.a.run(&["detach", "r0"]).expect_code(17, "detach of the last good disk");
    assert!(refused.stderr.contains("--force"), "no next step: {}", refused.stderr);
    write_blocks(&pair.a, 0, 1, 3);
}

#[test]
fn a_node_whose_disk_is_gone_comes_up_without_it_and_takes_it_back() {
    let mut pair = synced_pair();
    pair.b.down();
    let away = pair.scratch().join("away");
    fs::rename(pair.b.disk(), &away).unwrap();
    pair.b.up_by_command();
    wait_diskless(&pair);
    assert!(pair.b.log().contains("the disk was not attached"), "{}", pair.b.log_tail());
    let refused = pair.b.run(&["attach", "r0"]).expect_code(10, "attach of a disk that is gone");
    assert!(refused.stderr.contains(&pair.b.disk().display().to_string()), "{}", refused.stderr);
    write_blocks(&pair.a, 50, 1, 9);
    fs::rename(&away, pair.b.disk()).unwrap();
    pair.b.must(&["attach", "r0"]);
    pair.expect_equal();
    pair.b.down();
}

#[test]
fn a_disk_in_use_by_somebody_else_is_not_attached_and_the_holder_is_named() {
    let pair = synced_pair();
    pair.b.must(&["detach", "r0"]);
    wait_diskless(&pair);
    let held = fs::File::open(pair.b.disk()).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let refused = pair.b.run(&["attach", "r0"]).expect_code(10, "attach of a locked disk");
    let own = format!("process {}", std::process::id());
    assert!(refused.stderr.contains(&own), "{}", refused.stderr);
    drop(held);
    pair.b.must(&["attach", "r0"]);
    pair.expect_equal();
}
