//! A resync beside a load ends, however hot the blocks are that the load writes.

use crate::bed::{MIB, SOON, options, synced};
use std::time::Duration;
use testbed::fio::{require_fio, start};
use testbed::ledger::Ledger;
use testbed::nbd_client::NbdClient;
use testbed::pair::SYNC_MAX;
use testbed::writer::Writer;
use testbed::{Pair, PairOptions};

/// Much slower than the disks, so that a resync lasts a second or two.
const RATE_BYTES: u64 = 48 * MIB;
const OUT_OF_SYNC_BYTES: u64 = 80 * MIB;

/// A pair whose second node misses 80 MiB and is just coming back.
fn pair_in_resync() -> Option<Pair> {
    let slow = PairOptions { sync_rate_bytes: Some(RATE_BYTES), ..options() };
    let mut pair = synced(&slow.disk_bytes(96 * MIB))?;
    pair.b.kill9();
    pair.a.wait_state("the peer is lost", SOON, |state| state.connection != "Connected");
    let mut client = NbdClient::open(&pair.a.nbd_socket(), "r0").unwrap();
    let piece = vec![0x5a; MIB as usize];
    for offset in (0..OUT_OF_SYNC_BYTES).step_by(piece.len()) {
        client.write(offset, &piece, false).unwrap();
    }
    drop(client);
    pair.b.up();
    pair.a.wait_state("the resync runs", SOON, |state| state.replication == "SyncSource");
    Some(pair)
}

#[test]
fn busy_resync() {
    if !require_fio() {
        return;
    }
    let Some(pair) = pair_in_resync() else { return };
    let arguments = ["--rw=randwrite", "--bs=4k", "--iodepth=16", "--size=8M", "--fsync=32"];
    let endless = ["--time_based", "--runtime=600"];
    let mut load = start(&pair.a, pair.scratch(), &[&arguments[..], &endless].concat());
    crate::bed::wait_for_writes(&pair, 50);
    assert_eq!(pair.a.state().replication, "SyncSource", "the load came too late");
    pair.wait_in_sync();
    assert!(load.is_running(), "the load was to outlive the resync");
    load.kill();
    pair.a.wait_state("no client", SOON, |state| state.clients == 0);
    pair.expect_equal();
}

#[test]
fn write_during_resync() {
    let Some(pair) = pair_in_resync() else { return };
    let ledger = Ledger::default().flushing_every(50);
    let writer = Writer::start(&pair.a, ledger, 1, Duration::ZERO);
    writer.wait_for(100, SOON);
    assert_eq!(pair.a.state().replication, "SyncSource", "the writes came too late");
    pair.b.wait_state("UpToDate", SYNC_MAX, |state| state.disk == "UpToDate");
    let (mut ledger, end) = writer.finish();
    end.expect("both disks are good");
    pair.expect_equal();
    pair.a.must(&["secondary", "r0"]);
    pair.b.must(&["primary", "r0"]);
    ledger.expect_all_there(&pair.b.nbd_socket(), "r0");
}
