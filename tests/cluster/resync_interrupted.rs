//! A resync that is interrupted goes on where it was.

use crate::bed::{MIB, SOON, options};
use testbed::network::Cut;
use testbed::{Pair, PairOptions};

const DISK_BYTES: u64 = 192 * MIB;
/// The first copy lasts some seconds.
const RATE_BYTES: u64 = 40 * MIB;
/// Part of the device, in percent, that is copied when the interruption comes, and that may be left
/// after it: bits that fell are written once a second.
const DONE_PERCENT: u64 = 60;
const LEFT_PERCENT_MAX: u64 = 90;

/// Interrupts the first copy, and expects that it is not begun anew.
fn interrupted(options: &PairOptions, interrupt: impl FnOnce(&mut Pair)) {
    let Some(mut pair) = Pair::new(options) else { return };
    pair.create_md();
    pair.up();
    pair.wait_connected();
    pair.a.must(&["primary", "--force", "r0"]);
    let all = pair.a.state().size_bytes / 4096;
    pair.b.wait_state("most is copied", testbed::pair::SYNC_MAX, |state| {
        state.resynced_blocks >= all * DONE_PERCENT / 100
    });
    assert_eq!(pair.a.state().replication, "SyncSource", "the interruption comes too late");
    interrupt(&mut pair);
    let mut left = all;
    pair.a.wait_state("it goes on", SOON, |state| {
        left = left.min(state.out_of_sync_blocks);
        state.is_in_sync() || state.replication == "SyncSource"
    });
    println!("{left} of {all} blocks were left");
    assert!(left <= all * LEFT_PERCENT_MAX / 100, "{left} of {all} blocks were left");
    pair.expect_equal();
}

fn slow() -> PairOptions {
    let rate = Some(RATE_BYTES);
    PairOptions { timeout_ms: 600, sync_rate_bytes: rate, ..options().disk_bytes(DISK_BYTES) }
}

#[test]
fn a_resync_survives_a_cut_link() {
    interrupted(&slow().separate(), |pair| {
        pair.cut_link(Cut::Both);
        for node in [&pair.a, &pair.b] {
            node.wait_state("the loss is noticed", SOON, |state| state.connection != "Connected");
        }
        assert_eq!(pair.b.state().disk, "Inconsistent", "half a copy is none");
        pair.heal_link();
    });
}

#[test]
fn a_resync_survives_the_death_of_its_target() {
    interrupted(&slow(), |pair| {
        pair.b.kill9();
        pair.b.up();
    });
}

#[test]
fn a_resync_survives_the_death_of_its_source() {
    interrupted(&slow(), |pair| {
        pair.a.kill9();
        pair.b.wait_state("the peer is lost", SOON, |state| state.connection != "Connected");
        let refused = pair.b.run(&["primary", "r0"]);
        assert_eq!(refused.code, 17, "half a copy was promoted: {refused:?}");
        pair.a.up();
    });
}
