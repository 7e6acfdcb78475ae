//! A peer that hangs costs the clients of the Primary one timeout, and no more.

use crate::bed::{MIB, SOON, options};
use std::time::Duration;
use testbed::file_system::SmallFileSystem;
use testbed::ledger::Ledger;
use testbed::metadata_edit::declare_equal;
use testbed::network::Cut;
use testbed::pair::sparse_file;
use testbed::scratch::Scratch;
use testbed::wait_until;
use testbed::writer::Writer;
use testbed::{Pair, PairOptions};

const TIMEOUT_MS: u64 = 500;
const KO_COUNT: u64 = 3;
/// What a busy machine may add.
const SLACK: Duration = Duration::from_secs(4);

fn hanging_options() -> PairOptions {
    let net = vec![format!("ko-count = {KO_COUNT}")];
    PairOptions { timeout_ms: TIMEOUT_MS, net, ..options().disk_bytes(32 * MIB) }
}

/// Writes on the first node across `hang`, which must cost the peer; gives the ledger.
fn write_across(pair: &Pair, hang: impl FnOnce()) -> Ledger {
    let ledger = Ledger::default().flushing_every(25);
    let writer = Writer::start(&pair.a, ledger, 3, Duration::from_millis(1));
    writer.wait_for(100, SOON);
    hang();
    wait_until("the Primary goes on without its peer", SOON, || {
        let state = pair.a.state();
        state.connection != "Connected" || state.peer_disk == "Diskless"
    });
    writer.wait_for(200, SOON);
    let (ledger, end) = writer.finish();
    end.expect("the client sees no error");
    let most = Duration::from_millis(TIMEOUT_MS * KO_COUNT) + SLACK;
    let silence = ledger.longest_silence();
    println!("longest silence {silence:?}, allowed {most:?}");
    assert!(silence < most, "no answer for {silence:?}, allowed are {most:?}");
    ledger
}

fn expect_all_on_both(pair: &Pair, mut ledger: Ledger) {
    pair.expect_equal();
    ledger.expect_all_there(&pair.a.nbd_socket(), "r0");
}

#[test]
fn a_secondary_that_stands_still_costs_one_timeout() {
    let pair = crate::bed::synced(&hanging_options()).expect("loopback is everywhere");
    let ledger = write_across(&pair, || pair.b.stop());
    pair.b.cont();
    expect_all_on_both(&pair, ledger);
}

#[test]
fn a_network_that_dies_without_a_word_costs_one_timeout() {
    let Some(pair) = crate::bed::synced(&hanging_options().separate()) else { return };
    let ledger = write_across(&pair, || pair.cut_link(Cut::Both));
    pair.heal_link();
    expect_all_on_both(&pair, ledger);
}

#[test]
fn a_full_disk_under_the_secondary_is_given_up_and_costs_no_time() {
    let scratch = Scratch::new();
    // Room for the metadata and a part of what is written.
    let Some(small) = SmallFileSystem::mount(scratch.path(), 16 * MIB) else { return };
    let mut full = hanging_options();
    full.disks[1] = Some(sparse_file(&small.file("disk"), 32 * MIB));
    let mut pair = Pair::new(&full).expect("loopback is everywhere");
    pair.create_md();
    declare_equal(&pair);
    pair.up();
    pair.wait_in_sync();
    pair.a.must(&["primary", "r0"]);
    let mut ledger = write_across(&pair, || {});
    pair.b.wait_state("the disk is given up", SOON, |state| state.disk == "Diskless");
    assert_eq!(pair.a.state().disk, "UpToDate");
    ledger.expect_all_there(&pair.a.nbd_socket(), "r0");
    assert_ne!(pair.b.run(&["primary", "r0"]).code, 0, "a node without a disk was promoted");
    pair.b.kill9();
}
