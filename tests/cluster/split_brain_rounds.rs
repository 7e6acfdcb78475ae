//! Ten split brains in a row, in every constellation of roles: both nodes StandAlone each time, and
//! the changes of the victim go, whichever node that is.

use crate::bed::{SOON, synced_pair};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use testbed::nbd_client::NbdClient;
use testbed::{Node, Pair};

const ROUNDS: u8 = 10;
/// Both nodes write this block.
const SHARED: u64 = 5 << 20;
/// Only the node of the index writes this one.
const OWN: [u64; 2] = [20 << 20, 30 << 20];

fn write_alone(pair: &Pair, index: usize, byte: u8) {
    let mut client = NbdClient::open(&pair.node(index).nbd_socket(), "r0").unwrap();
    for offset in [SHARED, OWN[index]] {
        client.write(offset, &[byte; 4096], false).unwrap();
    }
}

fn bytes_on_disk(node: &Node) -> [u8; 3] {
    let file = File::open(node.disk()).unwrap();
    [SHARED, OWN[0], OWN[1]].map(|offset| {
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).unwrap();
        byte[0]
    })
}

fn stand_alone(pair: &Pair) {
    for node in [&pair.a, &pair.b] {
        node.wait_state("StandAlone", SOON, |state| state.connection == "StandAlone");
    }
}

/// Which nodes are still Primary when the two meet again.
const CONSTELLATIONS: [[bool; 2]; 4] = [[true, true], [true, false], [false, true], [false, false]];

#[test]
fn split_brain() {
    let pair = synced_pair();
    let mut primary = 0;
    for round in 0..ROUNDS {
        let survivor = usize::from(round / 2 % 2);
        let victim = 1 - survivor;
        let still_primary = CONSTELLATIONS[usize::from(round) % 4];
        let bytes = [0x10 + round, 0x80 + round];
        println!("round {round}: {survivor} survives, Primaries at the meeting: {still_primary:?}");
        for node in [&pair.a, &pair.b] {
            node.must(&["disconnect", "r0"]);
        }
        stand_alone(&pair);
        pair.node(1 - primary).must(&["primary", "r0"]);
        for index in 0..2 {
            write_alone(&pair, index, bytes[index]);
            let node = pair.node(index);
            node.wait_state("no client", SOON, |state| state.clients == 0);
            if !still_primary[index] {
                node.must(&["secondary", "r0"]);
            }
        }
        let apart = [&pair.a, &pair.b].map(bytes_on_disk);
        for node in [&pair.a, &pair.b] {
            node.must(&["connect", "r0"]);
        }
        stand_alone(&pair);
        for node in [&pair.a, &pair.b] {
            let refusal = node.state().refusal.unwrap_or_default();
            assert!(refusal.contains("Split-Brain detected"), "{}: '{refusal}'", node.name());
        }
        assert_eq!([&pair.a, &pair.b].map(bytes_on_disk), apart, "data were copied unasked");

        let copied_before = pair.node(victim).state().resynced_blocks;
        pair.node(victim).must(&["secondary", "r0"]);
        pair.node(victim).must(&["connect", "--discard-my-data", "r0"]);
        pair.node(survivor).must(&["connect", "r0"]);
        pair.expect_equal();
        let expected = apart[survivor];
        assert_eq!([&pair.a, &pair.b].map(bytes_on_disk), [expected; 2], "the wrong one survived");
        let copied = pair.node(victim).state().resynced_blocks - copied_before;
        assert_eq!(copied, 3, "the blocks that either wrote are copied, and no other");
        pair.node(survivor).must(&["primary", "r0"]);
        primary = survivor;
    }
}
