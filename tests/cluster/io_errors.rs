//! A disk that failed is attached again: exactly the blocks that were written while it was away are
//! copied.

use crate::bed::{MIB, SOON, options};
use testbed::block_device::{LoggedDisk, require_block_devices};
use testbed::nbd_client::NbdClient;
use testbed::scratch::Scratch;
use testbed::{Node, Pair};

/// Blocks that are written while the disk is away, with those during its failure.
const BLOCKS: u64 = 37;
/// Blocks between two of them.
const STRIDE: u64 = 199;

/// A pair in sync on which `disk`, of node `index`, fails under a write; 37 blocks are written
/// while it is away, then it is attached again. Gives the blocks that were copied to it.
fn copied_after_failure(index: usize, scratch: &Scratch) -> Option<u64> {
    if !require_block_devices() {
        return None;
    }
    let disk = LoggedDisk::new(scratch.path(), 32 * MIB)?;
    let mut frail = options().disk_bytes(32 * MIB);
    frail.disks[index] = Some(disk.path().to_owned());
    let mut pair = Pair::new(&frail)?;
    pair.bring_into_sync();
    let node: &Node = pair.node(index);
    let mut client = NbdClient::open(&pair.a.nbd_socket(), "r0").unwrap();
    for block in 0..BLOCKS {
        client.write(block * STRIDE * 4096, &[0x11; 4096], false).unwrap();
    }
    // What is durable on both before the failure need not be copied after it.
    client.flush().unwrap();
    let copied_before = node.state().resynced_blocks;
    disk.fail();
    for block in 0..BLOCKS {
        client.write((block * STRIDE + 7) * 4096, &[0x22; 4096], false).unwrap();
    }
    node.wait_state("the disk is given up", SOON, |state| state.disk == "Diskless");
    client.flush().unwrap();
    disk.mend();
    node.must(&["attach", "r0"]);
    pair.expect_equal();
    let copied = node.state().resynced_blocks - copied_before;
    drop(client);
    Some(copied)
}

#[test]
fn the_secondary_gets_exactly_what_it_missed() {
    let scratch = Scratch::new();
    let Some(copied) = copied_after_failure(1, &scratch) else { return };
    assert_eq!(copied, BLOCKS);
}

#[test]
fn the_primary_gets_what_it_missed_and_not_much_more() {
    let scratch = Scratch::new();
    let Some(copied) = copied_after_failure(0, &scratch) else { return };
    println!("{copied} blocks copied, {BLOCKS} were written");
    assert!((BLOCKS..=10 * BLOCKS).contains(&copied), "{copied} blocks copied of {BLOCKS}");
}
