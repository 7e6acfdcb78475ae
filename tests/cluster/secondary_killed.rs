//! The secondary dies under load: the client does not notice, and only what changed is copied.

use crate::bed::{CLIENT_MAX, MIB, SOON, options, synced, wait_for_writes, write_load};
use testbed::fio::require_fio;
use testbed::ledger::{LEDGER_BLOCK_BYTES, Ledger};
use testbed::nbd_client::NbdClient;
use testbed::seeded::Seeded;

#[test]
fn a_load_goes_on_while_the_secondary_dies_and_returns() {
    if !require_fio() {
        return;
    }
    let Some(mut pair) = synced(&options()) else { return };
    let load = write_load(&pair, 8);
    pair.b.kill9();
    pair.a.wait_state("the peer is lost", SOON, |state| state.connection != "Connected");
    wait_for_writes(&pair, 200);
    assert!(pair.a.state().out_of_sync_blocks > 0, "writes alone are noted");
    pair.b.up();
    load.finish(CLIENT_MAX).expect_success("fio, while the secondary died and returned");
    pair.expect_equal();
    assert_eq!(pair.a.state().role, "Primary");
}

#[test]
fn only_what_changed_is_copied_when_the_secondary_returns() {
    let bytes = 192 * MIB;
    let Some(mut pair) = synced(&options().disk_bytes(bytes)) else { return };
    pair.b.kill9();
    pair.a.wait_state("the peer is lost", SOON, |state| state.connection != "Connected");
    let mut ledger = Ledger::default();
    let mut client = NbdClient::open(&pair.a.nbd_socket(), "r0").unwrap();
    ledger.write(&mut client, &mut Seeded::announced(), |count| count >= 400).unwrap();
    client.flush().unwrap();
    pair.b.up();
    pair.expect_equal();
    let copied = pair.b.state().resynced_blocks;
    let touched = ledger.blocks_touched();
    let device_blocks = pair.a.state().size_bytes / LEDGER_BLOCK_BYTES as u64;
    println!("{touched} blocks written, {copied} copied, the device has {device_blocks}");
    assert!(copied >= touched, "{copied} copied, {touched} were written alone");
    // What was in flight or unflushed when the peer was lost counts too; nothing was in this test.
    assert!(copied < touched + device_blocks / 10, "{copied} of {device_blocks} blocks copied");
    ledger.expect_all_there(&pair.a.nbd_socket(), "r0");
}
