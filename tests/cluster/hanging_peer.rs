//! A peer that hangs, a dead network, a disk that stands still: the clients of the Primary wait no
//! longer than the configured limit.

use crate::bed::{MIB, SOON, options};
use std::time::Duration;
use testbed::file_system::SmallFileSystem;
use testbed::ledger::Ledger;
use testbed::metadata_edit::declare_equal;
use testbed::network::Cut;
use testbed::pair::sparse_file;
use testbed::scratch::Scratch;
use testbed::writer::Writer;
use testbed::{Pair, PairOptions, wait_until};

const TIMEOUT_MS: u64 = 500;
const KO_COUNT: u64 = 4;
const DISK_BYTES: u64 = 32 * MIB;
/// A silent peer is given up after `timeout`.
const SILENT_MAX: Duration = Duration::from_millis(TIMEOUT_MS);
/// A peer that answers, and does not do its writes, after `ko-count` times that.
const KO_MAX: Duration = Duration::from_millis(TIMEOUT_MS * KO_COUNT);
/// Give-up time of a disk, where a test sets one.
const DISK_MAX: Duration = Duration::from_secs(1);
/// What a busy machine may add to twice the limit.
const SLACK: Duration = Duration::from_secs(2);

fn hanging_options() -> PairOptions {
    let net = vec![format!("ko-count = {KO_COUNT}")];
    PairOptions { timeout_ms: TIMEOUT_MS, net, ..options().disk_bytes(DISK_BYTES) }
}

fn gives_disks_up(mut options: PairOptions) -> PairOptions {
    options.disk.push(format!("disk-timeout = \"{}s\"", DISK_MAX.as_secs()));
    options
}

/// Writes on the first node across `hang`, until `over`; gives the ledger. No client waits for
/// much longer than `limit`, nor sees an error.
fn write_across(
    pair: &Pair,
    limit: Duration,
    hang: impl FnOnce(),
    over: impl Fn(&Pair) -> bool,
) -> Ledger {
    let ledger = Ledger::default().flushing_every(25);
    let writer = Writer::start(&pair.a, ledger, 3, Duration::from_millis(1));
    writer.wait_for(100, SOON);
    hang();
    wait_until("the Primary goes on without what hangs", SOON, || over(pair));
    writer.wait_for(200, SOON);
    let (ledger, end) = writer.finish();
    end.expect("the client sees no error");
    let (silence, most) = (ledger.longest_silence(), limit * 2 + SLACK);
    println!("longest silence {silence:?}; configured {limit:?}, allowed {most:?}");
    assert!(silence < most, "no answer for {silence:?}, allowed are {most:?}");
    ledger
}

fn peer_is_lost(pair: &Pair) -> bool {
    pair.a.state().connection != "Connected"
}

fn expect_all_on_both(pair: &Pair, mut ledger: Ledger) {
    pair.expect_equal();
    ledger.expect_all_there(&pair.a.nbd_socket(), "r0");
    pair.a.must(&["secondary", "r0"]);
    pair.b.must(&["primary", "r0"]);
    ledger.expect_all_there(&pair.b.nbd_socket(), "r0");
}

#[test]
fn a_secondary_that_stands_still_costs_one_timeout() {
    let pair = crate::bed::synced(&hanging_options()).expect("loopback is everywhere");
    let ledger = write_across(&pair, SILENT_MAX, || pair.b.stop(), peer_is_lost);
    pair.b.cont();
    expect_all_on_both(&pair, ledger);
}

/// Nothing is reset: packets of one direction, or of both, arrive no more.
fn a_network_that_is_cut(cut: Cut) {
    let Some(pair) = crate::bed::synced(&hanging_options().separate()) else { return };
    let ledger = write_across(&pair, SILENT_MAX, || pair.cut_link(cut), peer_is_lost);
    pair.heal_link();
    expect_all_on_both(&pair, ledger);
}

#[test]
fn a_network_that_dies_without_a_word_costs_one_timeout() {
    a_network_that_is_cut(Cut::Both);
}

#[test]
fn a_network_that_carries_nothing_to_the_secondary_costs_one_timeout() {
    a_network_that_is_cut(Cut::TowardsSecond);
}

#[test]
fn a_network_that_carries_nothing_to_the_primary_costs_one_timeout() {
    a_network_that_is_cut(Cut::TowardsFirst);
}

#[test]
fn a_secondary_that_is_back_before_its_old_connection_is_missed_takes_its_place() {
    // Long, so that the Primary's end of the old connection is open when the new one comes.
    let patient = PairOptions { timeout_ms: 20 * TIMEOUT_MS, ..hanging_options().separate() };
    let Some(mut pair) = crate::bed::synced(&patient) else { return };
    let ledger = Ledger::default().flushing_every(25);
    let writer = Writer::start(&pair.a, ledger, 3, Duration::from_millis(1));
    writer.wait_for(100, SOON);
    // Nobody tells the Primary that the process at the other end is gone.
    pair.swallow_ends();
    pair.b.kill9();
    std::thread::sleep(SILENT_MAX);
    assert_eq!(pair.a.state().connection, "Connected", "the old connection is not half open");
    pair.b.up();
    pair.wait_in_sync();
    writer.wait_for(100, SOON);
    let (ledger, end) = writer.finish();
    end.expect("the client sees no error");
    pair.heal_link();
    // A start of the daemon, and not the timeout.
    let (silence, most) = (ledger.longest_silence(), SILENT_MAX * 10);
    println!("longest silence {silence:?}, allowed {most:?}");
    assert!(silence < most, "no answer for {silence:?}");
    expect_all_on_both(&pair, ledger);
}

/// A pair of equal replicas, one of them on a file system of its own that can be filled or frozen.
fn on_small(
    mut options: PairOptions,
    index: usize,
    bytes: u64,
    scratch: &Scratch,
) -> Option<(Pair, SmallFileSystem)> {
    let small = SmallFileSystem::mount(scratch.path(), bytes)?;
    options.disks[index] = Some(sparse_file(&small.file("disk"), DISK_BYTES));
    let mut pair = Pair::new(&options).expect("loopback is everywhere");
    pair.create_md();
    declare_equal(&pair);
    pair.up();
    pair.wait_in_sync();
    pair.a.must(&["primary", "r0"]);
    Some((pair, small))
}

#[test]
fn a_full_disk_under_the_secondary_is_given_up_and_costs_no_time() {
    let scratch = Scratch::new();
    // Room for the metadata and a part of what is written.
    let full = on_small(hanging_options(), 1, 16 * MIB, &scratch);
    let Some((mut pair, _small)) = full else { return };
    let diskless = |pair: &Pair| pair.a.state().peer_disk == "Diskless";
    let mut ledger = write_across(&pair, Duration::ZERO, || {}, diskless);
    pair.b.wait_state("the disk is given up", SOON, |state| state.disk == "Diskless");
    assert_eq!(pair.a.state().disk, "UpToDate");
    ledger.expect_all_there(&pair.a.nbd_socket(), "r0");
    assert_ne!(pair.b.run(&["primary", "r0"]).code, 0, "a node without a disk was promoted");
    pair.b.kill9();
}

#[test]
fn a_secondary_whose_disk_stands_still_is_dropped_after_ko_count_timeouts() {
    let scratch = Scratch::new();
    let Some((pair, small)) = on_small(hanging_options(), 1, 64 * MIB, &scratch) else { return };
    let mut frozen = None;
    let ledger = write_across(&pair, KO_MAX, || frozen = Some(small.freeze()), peer_is_lost);
    let log = pair.a.log();
    assert!(log.contains("ko-count"), "the reason is not said: {}", pair.a.log_tail());
    // What still hangs there must not reach the disk behind newer writes (D15).
    drop(frozen);
    expect_all_on_both(&pair, ledger);
}

#[test]
fn a_secondary_gives_a_disk_up_that_stands_still_for_its_timeout() {
    let scratch = Scratch::new();
    let options = gives_disks_up(hanging_options());
    let Some((pair, small)) = on_small(options, 1, 64 * MIB, &scratch) else { return };
    let mut frozen = None;
    let diskless = |pair: &Pair| pair.a.state().peer_disk == "Diskless";
    let ledger = write_across(&pair, DISK_MAX, || frozen = Some(small.freeze()), diskless);
    assert_eq!(pair.a.state().connection, "Connected", "the daemon itself does not hang");
    drop(frozen);
    wait_until("the disk is taken back", SOON, || pair.b.run(&["attach", "r0"]).code == 0);
    expect_all_on_both(&pair, ledger);
}

#[test]
fn a_primary_gives_a_disk_up_that_stands_still_and_goes_on_with_the_peers() {
    let scratch = Scratch::new();
    let options = gives_disks_up(hanging_options());
    let Some((pair, small)) = on_small(options, 0, 64 * MIB, &scratch) else { return };
    let mut frozen = None;
    let diskless = |pair: &Pair| pair.a.state().disk == "Diskless";
    let ledger = write_across(&pair, DISK_MAX, || frozen = Some(small.freeze()), diskless);
    drop(frozen);
    wait_until("the disk is taken back", SOON, || pair.a.run(&["attach", "r0"]).code == 0);
    expect_all_on_both(&pair, ledger);
}
