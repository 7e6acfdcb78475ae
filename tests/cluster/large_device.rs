//! A device of 100 GiB costs what changed and its bitmap, not its size.

use crate::bed::{SOON, options};
use std::fs;
use std::time::Instant;
use testbed::metadata_edit::{MetadataEdit, declare_equal};
use testbed::nbd_client::NbdClient;
use testbed::seeded::Seeded;
use testbed::{Node, Pair};

const DISK_BYTES: u64 = 100 << 30;
/// Writes of one block while the peer is away.
const WRITES: u64 = 37;
/// Buffers as configured (`max-buffers`), in KiB.
const ARENA_KIB: u64 = 64 << 10;
/// Beyond buffers and bitmap: program, sockets' buffers (16 MiB), tables, heap.
const MARGIN_KIB: u64 = 48 << 10;

/// Memory of the daemon that is in RAM, in KiB.
fn resident_kib(node: &Node) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", node.pid().as_raw_pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn light_outage_of_100_gib() {
    let mut pair = Pair::new(&options().disk_bytes(DISK_BYTES)).expect("loopback is everywhere");
    pair.create_md();
    // Both files are holes from end to end, so this is true.
    declare_equal(&pair);
    let bitmap_kib = MetadataEdit::open(pair.a.disk()).layout.bitmap_pages * 4;
    let begun = Instant::now();
    pair.a.up();
    println!("100 GiB are up after {:.2} s", begun.elapsed().as_secs_f64());
    pair.b.up();
    pair.wait_in_sync();
    pair.a.must(&["primary", "r0"]);
    let copied_before = pair.b.state().resynced_blocks;
    assert_eq!(copied_before, 0, "equal replicas need no first copy");

    pair.b.kill9();
    pair.a.wait_state("the peer is lost", SOON, |state| state.connection != "Connected");
    let mut random = Seeded::announced();
    let mut client = NbdClient::open(&pair.a.nbd_socket(), "r0").unwrap();
    let blocks = client.size_bytes() / 4096;
    for write in 0..WRITES {
        // One in each part of the device, so no two are the same.
        let block = write * (blocks / WRITES) + random.below(blocks / WRITES);
        client.write(block * 4096, &random.bytes(4096), false).unwrap();
    }
    client.flush().unwrap();
    assert_eq!(pair.a.state().out_of_sync_blocks, WRITES);
    let begun = Instant::now();
    pair.b.up();
    pair.wait_in_sync();
    println!("in sync {:.2} s after the return", begun.elapsed().as_secs_f64());
    assert_eq!(pair.b.state().resynced_blocks, WRITES, "exactly what was written is copied");
    pair.expect_equal();

    for node in [&pair.a, &pair.b] {
        let resident = resident_kib(node);
        println!("{}: {resident} KiB resident, of which {bitmap_kib} are the bitmap", node.name());
        // The bitmap is there once, and once more while it is read or exchanged.
        let most = ARENA_KIB + 3 * bitmap_kib + MARGIN_KIB;
        assert!(resident <= most, "{}: {resident} KiB are more than {most}", node.name());
    }
}
