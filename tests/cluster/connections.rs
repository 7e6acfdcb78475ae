//! `connect` and `disconnect`, restarts, and roles that change hands.

use crate::bed::{SOON, synced_pair};
use testbed::ledger::Ledger;
use testbed::nbd_client::NbdClient;
use testbed::seeded::Seeded;

#[test]
fn what_is_written_while_disconnected_by_command_is_copied_after_connect() {
    let pair = synced_pair();
    pair.a.must(&["disconnect", "r0"]);
    pair.a.wait_state("StandAlone", SOON, |state| state.connection == "StandAlone");
    let mut ledger = Ledger::default();
    let mut client = NbdClient::open(&pair.a.nbd_socket(), "r0").unwrap();
    ledger.write(&mut client, &mut Seeded::announced(), |count| count >= 300).unwrap();
    drop(client);
    assert!(!pair.data_equal());
    pair.a.must(&["connect", "r0"]);
    pair.expect_equal();
    ledger.expect_all_there(&pair.a.nbd_socket(), "r0");
}

#[test]
fn the_roles_change_hands_again_and_again_and_nothing_is_lost() {
    let pair = synced_pair();
    let mut ledger = Ledger::default();
    let mut random = Seeded::announced();
    for round in 0..6 {
        let (primary, other) = if round % 2 == 0 { (&pair.a, &pair.b) } else { (&pair.b, &pair.a) };
        let mut client = NbdClient::open(&primary.nbd_socket(), "r0").unwrap();
        let goal = ledger.writes_acknowledged() + 200;
        ledger.write(&mut client, &mut random, |count| count >= goal).unwrap();
        drop(client);
        primary.wait_state("no client", SOON, |state| state.clients == 0);
        primary.must(&["secondary", "r0"]);
        other.must(&["primary", "r0"]);
        ledger.expect_all_there(&other.nbd_socket(), "r0");
        other.wait_state("no client", SOON, |state| state.clients == 0);
    }
    pair.expect_equal();
}

#[test]
fn both_nodes_down_and_up_again_are_in_sync_without_copying() {
    let mut pair = synced_pair();
    pair.a.must(&["secondary", "r0"]);
    pair.a.down();
    pair.b.down();
    pair.up();
    pair.expect_equal();
    assert_eq!([pair.a.state().resynced_blocks, pair.b.state().resynced_blocks], [0, 0]);
    pair.b.must(&["primary", "r0"]);
}

#[test]
fn a_resync_that_is_broken_off_goes_on_where_it_was() {
    let mut options = crate::bed::options();
    options.sync_rate_bytes = Some(8 << 20);
    let mut pair = testbed::Pair::new(&options).expect("loopback is everywhere");
    pair.create_md();
    pair.up();
    pair.wait_connected();
    pair.a.must(&["primary", "--force", "r0"]);
    let all = pair.a.state().size_bytes / 4096;
    pair.a.wait_state("a quarter is copied", SOON, |state| {
        state.replication == "SyncSource" && state.out_of_sync_blocks < all * 3 / 4
    });
    pair.b.kill9();
    pair.a.wait_state("the target is lost", SOON, |state| state.connection != "Connected");
    let left = pair.a.state().out_of_sync_blocks;
    assert!(left < all * 9 / 10, "{left} of {all} blocks left: nothing was kept");
    pair.b.up();
    pair.expect_equal();
    let copied = pair.b.state().resynced_blocks;
    assert!(copied < all * 95 / 100, "{copied} of {all} blocks were copied again");
}
