//! The first synchronisation, and a real image copied onto the device.

use crate::bed::{MIB, SOON, client, options, synced_pair};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use testbed::Pair;
use testbed::pair::SYNC_MAX;
use testbed::seeded::Seeded;
use testbed::skips::require_tool;

#[test]
fn the_first_promotion_copies_its_disk_to_the_peer() {
    let mut pair = Pair::new(&options()).expect("loopback is everywhere");
    let mut random = Seeded::announced();
    // Both disks hold something, and something different.
    for node in [&pair.a, &pair.b] {
        let file = File::options().write(true).open(node.disk()).unwrap();
        file.write_all_at(&random.bytes(4 << 20), 8 * MIB).unwrap();
    }
    pair.create_md();
    pair.up();
    pair.wait_connected();
    for node in [&pair.a, &pair.b] {
        let state = node.state();
        assert_eq!((&*state.disk, &*state.peer_disk), ("Inconsistent", "Inconsistent"));
        assert_eq!(state.role, "Secondary");
    }
    assert!(!pair.data_equal(), "nothing may be copied before somebody says from where");
    let before = std::fs::read(pair.a.disk()).unwrap();
    pair.a.must(&["primary", "--force", "r0"]);
    pair.expect_equal();
    let size_bytes = pair.a.state().size_bytes as usize;
    let after = std::fs::read(pair.a.disk()).unwrap();
    assert!(before[..size_bytes] == after[..size_bytes], "the source was changed");
    assert!(size_bytes as u64 > 60 * MIB, "internal metadata take a little, not much");
    assert_eq!(pair.b.state().role, "Secondary");
}

#[test]
fn the_device_can_be_written_while_the_first_synchronisation_runs() {
    let Some(_) = require_tool("nbdcopy") else { return };
    let mut slow = options();
    slow.sync_rate_bytes = Some(16 * MIB);
    let mut pair = Pair::new(&slow).expect("loopback is everywhere");
    pair.create_md();
    pair.up();
    pair.wait_connected();
    pair.a.must(&["primary", "--force", "r0"]);
    pair.a.wait_state("the copy runs", SOON, |state| state.replication == "SyncSource");
    let image = pair.scratch().join("image");
    let bytes = Seeded::announced().bytes(16 << 20);
    std::fs::write(&image, &bytes).unwrap();
    client("nbdcopy", &["--flush", &image.display().to_string(), &pair.a.nbd_uri()]);
    let replication = pair.a.state().replication;
    assert_eq!(replication, "SyncSource", "the copy was to overlap with the synchronisation");
    pair.expect_equal();
    let written = std::fs::read(pair.b.disk()).unwrap();
    assert!(written[..bytes.len()] == bytes, "the peer's disk does not hold the image");
}

#[test]
fn a_file_system_image_copied_in_comes_out_of_the_peer_unchanged() {
    for tool in ["nbdcopy", "mkfs.ext4", "e2fsck"] {
        let Some(_) = require_tool(tool) else { return };
    }
    let mut pair = synced_pair();
    let image = pair.scratch().join("image");
    let files = pair.scratch().join("files");
    std::fs::create_dir(&files).unwrap();
    std::fs::write(files.join("data"), Seeded::announced().bytes(3 << 20)).unwrap();
    File::create(&image).unwrap().set_len(40 * MIB).unwrap();
    let (shown, source) = (image.display().to_string(), files.display().to_string());
    client("mkfs.ext4", &["-q", "-F", "-d", &source, &shown]);
    client("nbdcopy", &["--flush", &shown, &pair.a.nbd_uri()]);
    pair.expect_equal();
    pair.a.must(&["secondary", "r0"]);
    pair.b.must(&["primary", "r0"]);
    let copy = pair.scratch().join("copy");
    client("nbdcopy", &[&pair.b.nbd_uri(), &copy.display().to_string()]);
    let (original, copied) = (std::fs::read(&image).unwrap(), std::fs::read(&copy).unwrap());
    assert!(copied[..original.len()] == original, "the peer serves other bytes");
    File::options().write(true).open(&copy).unwrap().set_len(40 * MIB).unwrap();
    client("e2fsck", &["-fn", &copy.display().to_string()]);
    pair.b.must(&["secondary", "r0"]);
    pair.a.down();
    pair.b.down();
}

#[test]
fn wait_sync_returns_when_both_disks_are_equal() {
    let mut slow = options();
    slow.sync_rate_bytes = Some(32 * MIB);
    let mut pair = Pair::new(&slow).expect("loopback is everywhere");
    pair.create_md();
    pair.up();
    pair.wait_connected();
    pair.a.must(&["primary", "--force", "r0"]);
    let limit = format!("{}s", SYNC_MAX.as_secs());
    let early = pair.b.run(&["wait-sync", "r0", "--timeout", "100ms"]);
    early.expect_code(5, "wait-sync while the synchronisation runs");
    pair.b.must(&["wait-sync", "r0", "--timeout", &limit]);
    assert!(pair.data_equal());
}
