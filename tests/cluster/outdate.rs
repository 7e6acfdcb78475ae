//! `outdate` of a disk whose daemon is down: as a fencing agent on the peer's machine does it.

use crate::bed::{SOON, options, synced_pair};
use testbed::Pair;

#[test]
fn an_outdated_replica_is_not_promoted_until_it_has_met_the_peer() {
    let mut pair = synced_pair();
    pair.b.down();
    pair.b.must(&["outdate", "r0"]);
    // It may be said again.
    pair.b.must(&["outdate", "r0"]);
    pair.a.must(&["secondary", "r0"]);
    pair.a.down();
    pair.b.up();
    assert_eq!(pair.b.state().disk, "Outdated");
    let refused = pair.b.run(&["primary", "r0"]).expect_code(17, "promotion of outdated data");
    assert!(refused.stderr.contains("--force"), "no next step: {}", refused.stderr);
    let shown = pair.b.must(&["status", "r0"]).stdout;
    assert!(shown.contains("the peer has newer data"), "no advice: {shown}");
    pair.a.up();
    pair.b.wait_state("it is good again", SOON, |state| state.disk == "UpToDate");
    pair.b.must(&["primary", "r0"]);
    pair.expect_equal();
}

#[test]
fn a_replica_that_was_never_good_is_exit_code_5_and_a_missing_one_names_the_way_out() {
    let pair = Pair::new(&options()).expect("loopback is everywhere");
    let missing = pair.a.run(&["outdate", "r0"]).expect_code(10, "outdate without metadata");
    assert!(missing.stderr.contains("create-md"), "no next step: {}", missing.stderr);
    pair.create_md();
    let refused = pair.a.run(&["outdate", "r0"]).expect_code(5, "outdate of a fresh replica");
    assert!(refused.stderr.contains("Inconsistent"), "{}", refused.stderr);
}
