//! The primary dies under load: the other node holds every acknowledged write and takes over.

use crate::bed::{SOON, synced_pair};
use std::thread;
use testbed::Pair;
use testbed::ledger::Ledger;
use testbed::nbd_client::NbdClient;
use testbed::seeded::Seeded;

/// Writes on the first node, which is killed once so many writes are acknowledged. What was then.
fn killed_while_writing(pair: &mut Pair, mut random: Seeded, kill_after: u64) -> Ledger {
    let mut client = NbdClient::open(&pair.a.nbd_socket(), "r0").unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let writer = thread::spawn(move || {
        let mut ledger = Ledger::default();
        let end = ledger.write(&mut client, &mut random, |count| {
            if count == kill_after {
                tell.send(()).ok();
            }
            false
        });
        (ledger, end)
    });
    told.recv_timeout(SOON).expect("the writer gets on");
    pair.a.kill9();
    let (ledger, end) = writer.join().unwrap();
    assert!(end.is_err(), "the client must notice that its server died");
    ledger
}

#[test]
fn every_acknowledged_write_survives_the_death_of_the_primary() {
    let mut pair = synced_pair();
    let mut random = Seeded::announced();
    let kill_after = 500 + random.below(3000);
    let mut ledger = killed_while_writing(&mut pair, random, kill_after);
    println!("{} writes acknowledged", ledger.writes_acknowledged());
    pair.b.wait_state("the peer is lost", SOON, |state| state.connection != "Connected");
    pair.b.must(&["primary", "r0"]);
    ledger.expect_all_there(&pair.b.nbd_socket(), "r0");
    // The survivor is written alone; the old primary comes back and gets it all.
    let mut client = NbdClient::open(&pair.b.nbd_socket(), "r0").unwrap();
    ledger.write(&mut client, &mut Seeded::new(kill_after), |count| count > 6000).unwrap();
    drop(client);
    pair.a.up();
    pair.expect_equal();
    let states = [pair.a.state(), pair.b.state()];
    assert_eq!(states.each_ref().map(|state| &*state.role), ["Secondary", "Primary"]);
    ledger.expect_all_there(&pair.b.nbd_socket(), "r0");
}

#[test]
fn a_primary_that_dies_and_returns_first_is_equal_to_its_peer_again() {
    let mut pair = synced_pair();
    let socket = pair.a.nbd_socket();
    let mut ledger = killed_while_writing(&mut pair, Seeded::announced(), 1000);
    // Nobody was promoted meanwhile: writes that were open may differ between the disks.
    pair.a.up();
    pair.expect_equal();
    pair.a.must(&["primary", "r0"]);
    ledger.expect_all_there(&socket, "r0");
}
