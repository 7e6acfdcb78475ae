//! The secondary stands still with its sockets open: the client waits one timeout, not for ever.

use crate::bed::{CLIENT_MAX, SOON, synced_pair, wait_for_writes, write_load};
use std::time::{Duration, Instant};
use testbed::fio::require_fio;

#[test]
fn the_client_goes_on_after_the_timeout_and_the_stalled_node_catches_up() {
    if !require_fio() {
        return;
    }
    let pair = synced_pair();
    let load = write_load(&pair, 10);
    pair.b.stop();
    let stopped = Instant::now();
    pair.a.wait_state("the peer is given up", SOON, |state| state.connection != "Connected");
    // The timeout of the pair is 2 s; a busy machine may take some more.
    let noticed = stopped.elapsed();
    assert!(noticed < Duration::from_secs(8), "it took {noticed:?} to give the peer up");
    wait_for_writes(&pair, 200);
    pair.b.cont();
    load.finish(CLIENT_MAX).expect_success("fio, while the secondary stood still");
    pair.expect_equal();
}

#[test]
fn a_primary_that_stood_still_does_not_write_to_a_peer_that_took_over() {
    let pair = synced_pair();
    pair.a.stop();
    pair.b.wait_state("the peer is given up", SOON, |state| state.connection != "Connected");
    pair.b.must(&["primary", "r0"]);
    pair.a.cont();
    // Two Primaries that meet: nothing is copied either way.
    for node in [&pair.a, &pair.b] {
        node.wait_state("StandAlone", SOON, |state| state.connection == "StandAlone");
        assert_eq!(node.state().role, "Primary");
        assert!(node.state().refusal.is_some(), "the status says why");
    }
}
