//! The link is cut under load, in every way a link can be, and comes back.

use crate::bed::{CLIENT_MAX, SOON, synced_pair_with_wire, wait_for_writes, write_load};
use testbed::fio::require_fio;
use testbed::network::Cut;

fn the_load_goes_on(cut: Cut) {
    if !require_fio() {
        return;
    }
    let Some(pair) = synced_pair_with_wire() else { return };
    let load = write_load(&pair, 10);
    pair.cut_link(cut);
    for node in [&pair.a, &pair.b] {
        node.wait_state("the loss is noticed", SOON, |state| state.connection != "Connected");
    }
    wait_for_writes(&pair, 200);
    assert!(pair.a.state().out_of_sync_blocks > 0, "writes alone are noted");
    pair.heal_link();
    load.finish(CLIENT_MAX).expect_success("fio, while the link was cut");
    pair.expect_equal();
    let roles = [pair.a.state().role, pair.b.state().role];
    assert_eq!(roles, ["Primary", "Secondary"]);
}

#[test]
fn a_cut_in_both_directions_is_survived() {
    the_load_goes_on(Cut::Both);
}

#[test]
fn a_cut_on_the_way_to_the_secondary_is_survived() {
    the_load_goes_on(Cut::TowardsSecond);
}

#[test]
fn a_cut_on_the_way_to_the_primary_is_survived() {
    the_load_goes_on(Cut::TowardsFirst);
}

#[test]
fn a_link_that_resets_every_connection_is_survived() {
    the_load_goes_on(Cut::Reset);
}
