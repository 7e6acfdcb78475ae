//! A disk that begins to fail is given up (`on-io-error = "detach"`), and the client does not notice.

use crate::bed::{MIB, SOON, options};
use testbed::block_device::{LoggedDisk, require_block_devices};
use testbed::ledger::Ledger;
use testbed::nbd_client::NbdClient;
use testbed::scratch::Scratch;
use testbed::seeded::Seeded;
use testbed::{Node, Pair};

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

/// Writes through the first node before and after its, or its peer's, disk fails; then reads it all.
fn expect_client_unharmed(pair: &Pair, disk: &LoggedDisk, failed: &Node) {
    let mut ledger = Ledger::default();
    let mut random = Seeded::announced();
    let mut client = NbdClient::open(&pair.a.nbd_socket(), "r0").unwrap();
    let half = |ledger: &mut Ledger, client: &mut NbdClient, random: &mut Seeded| {
        let goal = ledger.writes_acknowledged() + 300;
        ledger.write(client, random, |count| count >= goal).expect("the client is served");
        client.flush().expect("the client is served");
    };
    half(&mut ledger, &mut client, &mut random);
    disk.fail();
    half(&mut ledger, &mut client, &mut random);
    failed.wait_state("the disk is given up", SOON, |state| state.disk == "Diskless");
    let faults = ledger.check(&mut client).expect("the device can be read");
    assert!(faults.is_empty(), "acknowledged writes are gone:\n{}", faults.join("\n"));
}

#[test]
fn the_primary_goes_on_when_the_disk_of_the_secondary_fails() {
    let scratch = Scratch::new();
    let Some((pair, disk)) = pair_with_frail_disk(1, &scratch) else { return };
    expect_client_unharmed(&pair, &disk, &pair.b);
    pair.a.wait_state("it is known", SOON, |state| state.peer_disk == "Diskless");
    assert_eq!(pair.a.state().disk, "UpToDate");
    drop(pair);
}

#[test]
fn the_primary_goes_on_with_its_peers_disk_when_its_own_fails() {
    let scratch = Scratch::new();
    let Some((pair, disk)) = pair_with_frail_disk(0, &scratch) else { return };
    expect_client_unharmed(&pair, &disk, &pair.a);
    assert_eq!(pair.a.state().peer_disk, "UpToDate");
    drop(pair);
}
