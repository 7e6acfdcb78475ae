//! Many more extents are written at once than the activity log has slots: it goes on, and a crash
//! marks no more than the log holds.

use crate::bed::{CLIENT_MAX, MIB, SOON, options};
use testbed::Pair;
use testbed::fio::{require_fio, start};
use testbed::metadata_edit::{MetadataEdit, declare_equal};

/// The fewest that the format allows.
const SLOTS: u16 = 7;
/// 160 extents of 4 MiB.
const DISK_BYTES: u64 = 642 * MIB;
const EXTENT_BLOCKS: u64 = 1024;

#[test]
fn stress_al() {
    if !require_fio() {
        return;
    }
    let mut pair = Pair::new(&options().disk_bytes(DISK_BYTES)).expect("loopback is everywhere");
    pair.create_md();
    declare_equal(&pair);
    for node in [&pair.a, &pair.b] {
        MetadataEdit::open(node.disk()).set_log_slots(SLOTS);
    }
    pair.up();
    pair.wait_in_sync();
    pair.a.must(&["primary", "r0"]);
    // 128 writes are open at once, over 160 extents, some of them over the border of two.
    let arguments = [
        "--rw=randwrite",
        "--bssplit=4k/70:64k/20:1M/10",
        "--blockalign=2k",
        "--norandommap",
        "--iodepth=128",
        "--size=640M",
        "--number_ios=1200",
        "--fsync=100",
    ];
    let load = start(&pair.a, pair.scratch(), &arguments);
    load.finish(CLIENT_MAX).expect_success("fio, with a log of seven slots");
    pair.expect_equal();
    let transactions = pair.a.status()["devices"][0]["al-writes"].as_u64().unwrap();
    println!("{transactions} transactions of the log");
    assert!(transactions > 100, "the log was to be too small: {transactions} transactions");

    let endless = ["--rw=randwrite", "--bs=4k", "--iodepth=128", "--size=640M", "--time_based"];
    let load = start(&pair.a, pair.scratch(), &[&endless[..], &["--runtime=600"]].concat());
    crate::bed::wait_for_writes(&pair, 100);
    let copied_before = pair.a.state().resynced_blocks + pair.b.state().resynced_blocks;
    pair.a.kill9();
    load.kill();
    pair.b.wait_state("the peer is lost", SOON, |state| state.connection != "Connected");
    pair.a.up();
    pair.expect_equal();
    let copied = pair.b.state().resynced_blocks - copied_before;
    println!("{copied} blocks copied after the crash");
    assert!(copied <= u64::from(SLOTS) * EXTENT_BLOCKS, "more than the log held: {copied} blocks");
}
