//! A node whose disk was restored from an older copy, metadata and all: it is copied anew, and
//! never a source.

use crate::bed::{MIB, SOON, options};
use testbed::ledger::Ledger;
use testbed::nbd_client::NbdClient;
use testbed::seeded::Seeded;
use testbed::{Node, Pair, PairOptions};

/// A pair of which node `restored` is down with an older copy of its disk. The other one is Primary
/// and has what the ledger says; both had it when they parted.
fn reverted(restored: usize) -> (Pair, Ledger) {
    let short = PairOptions { timeout_ms: 400, ..options().disk_bytes(32 * MIB) };
    let mut pair = crate::bed::synced(&short).expect("loopback is everywhere");
    let other = 1 - restored;
    if other == 1 {
        pair.a.must(&["secondary", "r0"]);
        pair.b.must(&["primary", "r0"]);
    }
    let mut ledger = Ledger::default();
    let mut random = Seeded::announced();
    let mut write = |pair: &Pair, enough: u64| {
        let primary: &Node = pair.node(other);
        let mut client = NbdClient::open(&primary.nbd_socket(), "r0").unwrap();
        ledger.write(&mut client, &mut random, |count| count >= enough).unwrap();
        client.flush().unwrap();
        drop(client);
        primary.wait_state("no client", SOON, |state| state.clients == 0);
    };
    write(&pair, 40);
    let copy = pair.scratch().join("copy");
    pair.node_mut(restored).down();
    std::fs::copy(pair.node(restored).disk(), &copy).unwrap();
    pair.node_mut(restored).up();
    pair.wait_in_sync();
    write(&pair, 80);
    pair.node_mut(restored).down();
    std::fs::copy(&copy, pair.node(restored).disk()).unwrap();
    (pair, ledger)
}

#[test]
fn revert_older_data() {
    for restored in 0..2 {
        let (mut pair, mut ledger) = reverted(restored);
        pair.node_mut(restored).up();
        pair.expect_equal();
        let state = pair.node(restored).state();
        assert_eq!(state.resynced_blocks, state.size_bytes / 4096, "nobody knows what it lacks");
        ledger.expect_all_there(&pair.node(1 - restored).nbd_socket(), "r0");
    }
}

#[test]
fn a_restored_node_that_was_written_alone_is_a_split_brain() {
    let (mut pair, _) = reverted(1);
    pair.a.must(&["secondary", "r0"]);
    pair.a.down();
    pair.b.up();
    pair.b.must(&["primary", "r0"]);
    let mut client = NbdClient::open(&pair.b.nbd_socket(), "r0").unwrap();
    client.write(MIB, &[0xbb; 4096], true).unwrap();
    drop(client);
    let before = [&pair.a, &pair.b].map(|node| std::fs::read(node.disk()).unwrap());
    pair.a.up();
    for node in [&pair.a, &pair.b] {
        node.wait_state("StandAlone", SOON, |state| state.connection == "StandAlone");
        let refusal = node.state().refusal.unwrap_or_default();
        assert!(refusal.contains("Split-Brain detected"), "{}: '{refusal}'", node.name());
    }
    for (node, before) in [&pair.a, &pair.b].into_iter().zip(before) {
        let size_bytes = node.state().size_bytes as usize;
        let now = std::fs::read(node.disk()).unwrap();
        assert!(now[..size_bytes] == before[..size_bytes], "{}: data were copied", node.name());
    }
}
