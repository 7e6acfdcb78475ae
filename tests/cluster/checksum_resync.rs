//! A resync that compares first sends little of what is equal, in both directions.

use crate::bed::{MIB, SOON, options};
use testbed::Pair;
use testbed::nbd_client::NbdClient;

const DISK_BYTES: u64 = 64 * MIB;
/// Blocks that differ really.
const BLOCKS: u64 = 23;

fn sent_bytes(pair: &Pair, index: usize) -> u64 {
    let status = pair.node(index).status();
    status.pointer("/blkrep/counters/sent-bytes").and_then(serde_json::Value::as_u64).unwrap()
}

#[test]
fn checksum_resync() {
    let mut comparing = options().disk_bytes(DISK_BYTES);
    comparing.sync.push("checksums = \"always\"".to_owned());
    let mut pair = crate::bed::synced(&comparing).expect("loopback is everywhere");
    for source in 0..2 {
        let target = 1 - source;
        if source == 1 {
            pair.a.must(&["secondary", "r0"]);
            pair.b.must(&["primary", "r0"]);
        }
        pair.node_mut(target).kill9();
        let primary = pair.node(source);
        primary.wait_state("the peer is lost", SOON, |state| state.connection != "Connected");
        let mut client = NbdClient::open(&primary.nbd_socket(), "r0").unwrap();
        // 40 MiB are written with what is there already, and a few blocks with something else.
        let mut same = vec![0; MIB as usize];
        for offset in (0..40 * MIB).step_by(same.len()) {
            client.read(offset, &mut same).unwrap();
            client.write(offset, &same, false).unwrap();
        }
        for block in 0..BLOCKS {
            client.write(block * 300 * 4096, &[0x30 + source as u8; 4096], false).unwrap();
        }
        client.flush().unwrap();
        drop(client);
        let sent_before = sent_bytes(&pair, source);
        pair.node_mut(target).up();
        pair.expect_equal();
        let sent = sent_bytes(&pair, source) - sent_before;
        println!("{sent} bytes sent from node {source}");
        assert!(sent >= BLOCKS * 4096, "{sent} bytes cannot hold what differs");
        assert!(sent < 8 * MIB, "{sent} bytes sent, most of the 40 MiB were equal");
        pair.node(source).wait_state("no client", SOON, |state| state.clients == 0);
    }
}
