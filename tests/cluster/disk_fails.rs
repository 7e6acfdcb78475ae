//! A disk that begins to fail is given up (`on-io-error = "detach"`), and nothing acknowledged is
//! lost.

use crate::bed::{MIB, SOON, options};
use testbed::Pair;
use testbed::block_device::{LoggedDisk, require_block_devices};
use testbed::ledger::Ledger;
use testbed::nbd_client::{NbdClient, NbdError};
use testbed::scratch::Scratch;
use testbed::seeded::Seeded;

/// Acknowledged writes before the disk fails, and as many that are tried after it.
const WRITES: u64 = 300;

/// A pair in sync, one node of which has a disk that can fail.
fn pair_with_frail_disk(node: usize, scratch: &Scratch) -> Option<(Pair, LoggedDisk)> {
    if !require_block_devices() {
        return None;
    }
    let disk = LoggedDisk::new(scratch.path(), 32 * MIB)?;
    let mut frail = options().disk_bytes(32 * MIB);
    frail.disks[node] = Some(disk.path().to_owned());
    let mut pair = Pair::new(&frail)?;
    pair.bring_into_sync();
    Some((pair, disk))
}

/// Writes through the first node, lets the disk fail, and writes on. Gives the end of that.
fn write_across_the_failure(pair: &Pair, disk: &LoggedDisk) -> (Ledger, Result<(), NbdError>) {
    let mut ledger = Ledger::default();
    let mut random = Seeded::announced();
    let mut client = NbdClient::open(&pair.a.nbd_socket(), "r0").unwrap();
    ledger.write(&mut client, &mut random, |count| count >= WRITES).expect("the disks are good");
    disk.fail();
    let end = ledger
        .write(&mut client, &mut random, |count| count >= 2 * WRITES)
        .and_then(|()| client.flush());
    (ledger, end)
}

#[test]
fn the_primary_goes_on_when_the_disk_of_the_secondary_fails() {
    let scratch = Scratch::new();
    let Some((pair, disk)) = pair_with_frail_disk(1, &scratch) else { return };
    let (mut ledger, end) = write_across_the_failure(&pair, &disk);
    end.expect("the client does not notice");
    pair.b.wait_state("the disk is given up", SOON, |state| state.disk == "Diskless");
    pair.a.wait_state("it is known", SOON, |state| state.peer_disk == "Diskless");
    assert_eq!(pair.a.state().disk, "UpToDate");
    ledger.expect_all_there(&pair.a.nbd_socket(), "r0");
    let refused = pair.b.run(&["primary", "r0"]);
    assert_ne!(refused.code, 0, "a node without a disk was promoted: {refused:?}");
    drop(pair);
}

#[test]
fn the_peer_takes_over_with_every_acknowledged_write_when_the_primarys_disk_fails() {
    let scratch = Scratch::new();
    let Some((pair, disk)) = pair_with_frail_disk(0, &scratch) else { return };
    // What the client is told after the failure may be an error, but not a lie.
    let (mut ledger, end) = write_across_the_failure(&pair, &disk);
    println!("{} writes acknowledged, then {end:?}", ledger.writes_acknowledged());
    pair.a.wait_state("the disk is given up", SOON, |state| state.disk == "Diskless");
    pair.a.wait_state("no client", SOON, |state| state.clients == 0);
    assert!(pair.a.log().contains("the local disk is given up"), "{}", pair.a.log_tail());
    pair.a.must(&["secondary", "r0"]);
    pair.b.must(&["primary", "r0"]);
    ledger.expect_all_there(&pair.b.nbd_socket(), "r0");
    drop(pair);
}
