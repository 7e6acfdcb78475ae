//! FLUSH and FUA arrive at both disks, as seen by the disks.

use crate::bed::{MIB, options};
use testbed::block_device::{LoggedDisk, require_block_devices};
use testbed::nbd_client::NbdClient;
use testbed::{Pair, scratch::Scratch};

/// Flushes that each of the two disks has seen while `act` ran.
fn flushes_during(disks: &[LoggedDisk; 2], act: impl FnOnce()) -> [usize; 2] {
    let before = disks.each_ref().map(LoggedDisk::flushes);
    act();
    let after = disks.each_ref().map(LoggedDisk::flushes);
    [after[0] - before[0], after[1] - before[1]]
}

/// Two nodes in sync on disks that note each flush; none, with a noted skip, where the machine has
/// no such disks. The pair must be dropped before its disks.
fn pair_on_logged_disks(scratch: &Scratch) -> Option<(Pair, [LoggedDisk; 2])> {
    if !require_block_devices() {
        return None;
    }
    let disk = |name: &str| LoggedDisk::new(&scratch.path().join(name), 32 * MIB);
    let disks = disk("a").zip(disk("b")).map(<[LoggedDisk; 2]>::from)?;
    let mut on_disks = options();
    on_disks.disks = disks.each_ref().map(|disk| Some(disk.path().to_owned()));
    let mut pair = Pair::new(&on_disks).expect("loopback is everywhere");
    pair.bring_into_sync();
    Some((pair, disks))
}

#[test]
fn flush_and_fua_are_answered_when_both_disks_have_flushed() {
    let scratch = Scratch::new();
    let Some((pair, disks)) = pair_on_logged_disks(&scratch) else { return };
    let mut client = NbdClient::open(&pair.a.nbd_socket(), "r0").unwrap();
    // The first write to an extent logs it, which is a durable write of its own on the primary.
    client.write(MIB, &[1; 4096], false).unwrap();
    client.flush().unwrap();
    for round in 0..5 {
        client.write(MIB, &[2; 4096], false).unwrap();
        let seen = flushes_during(&disks, || client.flush().unwrap());
        assert!(seen.iter().all(|&count| count >= 1), "round {round}: FLUSH seen {seen:?} times");
        let seen = flushes_during(&disks, || client.write(MIB, &[3; 4096], true).unwrap());
        assert!(seen.iter().all(|&count| count >= 1), "round {round}: FUA seen {seen:?} times");
    }
    drop(client);
    drop(pair);
}

#[test]
fn a_plain_write_to_a_hot_extent_flushes_nothing() {
    let scratch = Scratch::new();
    let Some((pair, disks)) = pair_on_logged_disks(&scratch) else { return };
    let mut client = NbdClient::open(&pair.a.nbd_socket(), "r0").unwrap();
    client.write(MIB, &[1; 4096], false).unwrap();
    client.flush().unwrap();
    // Far fewer bytes and less time than what makes the keeper flush unasked (rule D4).
    let seen = flushes_during(&disks, || {
        (0..20).for_each(|_| client.write(MIB, &[2; 4096], false).unwrap());
    });
    assert!(seen.iter().all(|&count| count <= 2), "20 plain writes flushed {seen:?} times");
    drop(client);
    drop(pair);
}
