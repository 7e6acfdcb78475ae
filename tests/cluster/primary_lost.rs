//! What the loss of a Primary costs: nothing when it wrote nothing, else its log's extents.

use crate::bed::{MIB, SOON, options, synced, synced_pair};
use testbed::nbd_client::NbdClient;

/// Blocks of 4 KiB in an extent of the activity log.
const EXTENT_BLOCKS: u64 = 1024;

#[test]
fn lost_primary_after_no_writes() {
    let mut pair = synced_pair();
    let before = [&pair.a, &pair.b].map(testbed::Node::current_generation);
    let copied_before = pair.b.state().resynced_blocks;
    pair.a.kill9();
    pair.b.wait_state("the peer is lost", SOON, |state| state.connection != "Connected");
    pair.a.up();
    pair.expect_equal();
    // The counter of a process that has just started is 0.
    assert_eq!(pair.a.state().resynced_blocks, 0, "nothing was written, and something was copied");
    assert_eq!(
        pair.b.state().resynced_blocks,
        copied_before,
        "nothing was written, and something was copied"
    );
    assert_eq!([&pair.a, &pair.b].map(testbed::Node::current_generation), before);
}

#[test]
fn resync_after_primary_crash() {
    let Some(mut pair) = synced(&options().disk_bytes(96 * MIB)) else { return };
    // Two extents are hot; of the others nothing may be copied.
    let mut client = NbdClient::open(&pair.a.nbd_socket(), "r0").unwrap();
    for extent in [3, 17] {
        for block in 0..5 {
            let offset = (extent * EXTENT_BLOCKS + 7 * block) * 4096;
            client.write(offset, &[0xc5; 4096], false).unwrap();
        }
    }
    let copied_before = pair.b.state().resynced_blocks;
    pair.a.kill9();
    pair.b.wait_state("the peer is lost", SOON, |state| state.connection != "Connected");
    pair.a.up();
    pair.expect_equal();
    let copied = pair.b.state().resynced_blocks - copied_before;
    println!("{copied} blocks copied");
    assert!(copied <= 2 * EXTENT_BLOCKS, "{copied} blocks copied, two extents were hot");
}
