//! A device that grows under its clients (rule D20): both sizes right, refusals with their next
//! step, and daemons that are killed in the middle of it.

use crate::bed::{CLIENT_MAX, MIB, SOON, configure, options, synced};
use metadata::{Layout, LogGeometry};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};
use testbed::ledger::{LEDGER_BLOCK_BYTES, Ledger};
use testbed::nbd_client::NbdClient;
use testbed::pair::sparse_file;
use testbed::program::Running;
use testbed::seeded::Seeded;
use testbed::writer::Writer;
use testbed::{Node, Pair, PairOptions, wait_until};

const OLD_BYTES: u64 = 32 * MIB;
const NEW_BYTES: u64 = 48 * MIB;
/// Rounds in which somebody is killed, each on a device that grows by [`STEP_BYTES`].
const ROUNDS: u64 = 12;
const STEP_BYTES: u64 = 4 * MIB;
/// What the engine logs when clients begin to wait, and when it is over.
const BEGUN: &str = "; clients wait";
const DONE: &str = "resize: the device has ";

/// Enlarges a backing file. The new part is full of `garbage`, as that of a volume may be.
fn grow_file(disk: &Path, bytes: u64, garbage: u8) {
    let file = File::options().write(true).open(disk).expect("the disk is a file");
    let old_bytes = file.metadata().expect("an open file has a size").len();
    let part = vec![garbage; (bytes - old_bytes) as usize];
    file.write_all_at(&part, old_bytes).expect("a file grows");
}

/// Enlarges both, with other garbage in each.
fn grow_files(pair: &Pair, bytes: u64) {
    grow_file(pair.a.disk(), bytes, 0xaa);
    grow_file(pair.b.disk(), bytes, 0xbb);
}

/// Size of a device whose two disks have so many bytes, metadata included.
fn device_bytes(disk_bytes: u64) -> u64 {
    let layout = Layout::internal(disk_bytes, LogGeometry::default());
    layout.expect("the disk is large enough").data_bytes
}

fn expect_size(pair: &Pair, bytes: u64) {
    let sizes = [&pair.a, &pair.b].map(|node| node.state().size_bytes);
    assert_eq!(sizes, [bytes; 2], "sizes of the device on a and b");
}

/// Writes the last block of the device and reads it back.
fn use_last_block(node: &Node, bytes: u64) {
    let mut client = NbdClient::open(&node.nbd_socket(), "r0").expect("the export is served");
    assert_eq!(client.size_bytes(), bytes, "what a new client is told");
    let at = (bytes - 1) / 4096 * 4096;
    let written = vec![0xa5; (bytes - at) as usize];
    client.write(at, &written, true).expect("the new part can be written");
    let mut found = vec![0; written.len()];
    client.read(at, &mut found).expect("and read");
    assert_eq!(found, written);
}

/// Resizes under a client, which sees nothing but a pause.
fn grows_under_load(pair: &Pair, wanted: u64) {
    let ledger = Ledger::default().flushing_every(30);
    let writer = Writer::start(&pair.a, ledger, 3, Duration::from_millis(1));
    writer.wait_for(200, SOON);
    let before = pair.a.state().size_bytes;
    grow_files(pair, NEW_BYTES);
    expect_size(pair, before);
    pair.a.must(&["resize", "r0"]);
    expect_size(pair, wanted);
    writer.wait_for(200, SOON);
    use_last_block(&pair.a, wanted);
    let (mut ledger, end) = writer.finish();
    end.expect("the client that was connected sees no error");
    pair.expect_equal();
    ledger.expect_all_there(&pair.a.nbd_socket(), "r0");
    // Nothing is left to do, which is no error.
    pair.a.must(&["resize", "r0"]);
    pair.a.must(&["secondary", "r0"]);
    pair.b.must(&["primary", "r0"]);
    use_last_block(&pair.b, wanted);
    ledger.expect_all_there(&pair.b.nbd_socket(), "r0");
    pair.expect_equal();
}

#[test]
fn both_nodes_grow_under_load_and_clients_see_it_when_they_connect_again() {
    let mut pair = synced(&options().disk_bytes(OLD_BYTES)).expect("loopback is everywhere");
    expect_size(&pair, device_bytes(OLD_BYTES));
    grows_under_load(&pair, device_bytes(NEW_BYTES));
    // What is on the disks says so, too.
    pair.b.must(&["secondary", "r0"]);
    for index in 0..2 {
        pair.node_mut(index).down();
    }
    pair.up();
    pair.expect_equal();
    expect_size(&pair, device_bytes(NEW_BYTES));
}

#[test]
fn a_device_with_metadata_of_their_own_grows_by_all_that_its_disks_have_grown() {
    let mut pair = Pair::new(&options().disk_bytes(OLD_BYTES)).expect("loopback is everywhere");
    for name in ["a", "b"] {
        let meta = sparse_file(&pair.scratch().join(format!("{name}.meta")), MIB);
        let external = format!("meta-disk = \"{}\"", meta.display());
        configure(&pair, "meta-disk = \"internal\"", &external);
    }
    pair.bring_into_sync();
    expect_size(&pair, OLD_BYTES);
    grows_under_load(&pair, NEW_BYTES);
}

#[test]
fn a_given_size_and_a_zeroed_new_part_copy_nothing() {
    let pair = synced(&options().disk_bytes(OLD_BYTES)).expect("loopback is everywhere");
    grow_files(&pair, NEW_BYTES);
    let copied = pair.b.state().resynced_blocks;
    pair.a.must(&["resize", "--size", "40M", "--assume-clean", "r0"]);
    expect_size(&pair, 40 * MIB);
    use_last_block(&pair.a, 40 * MIB);
    pair.expect_equal();
    // The block that the old and the new part share may be copied.
    let more = pair.b.state().resynced_blocks - copied;
    assert!(more <= 1, "{more} blocks were copied, and the new part is zeroed on both");
}

fn expect_refused(node: &Node, arguments: &[&str], words: &[&str]) {
    let command = [&["resize"], arguments, &["r0"]].concat();
    let before = node.state().size_bytes;
    let refused = node.run(&command).expect_code(11, &command.join(" "));
    for word in words {
        assert!(refused.stderr.contains(word), "no {word:?} in: {}", refused.stderr);
    }
    assert_eq!(node.state().size_bytes, before);
}

#[test]
fn what_cannot_grow_is_refused_with_the_next_step() {
    let slow = PairOptions { sync_rate_bytes: Some(8 * MIB), ..options().disk_bytes(OLD_BYTES) };
    let pair = synced(&slow).expect("loopback is everywhere");
    // One of the two backing files is too small.
    grow_file(pair.a.disk(), NEW_BYTES, 0xaa);
    let room = device_bytes(OLD_BYTES).to_string();
    let too_small = ["the disk of b has room for", &room, "enlarge"];
    expect_refused(&pair.a, &[], &too_small);
    expect_refused(&pair.a, &["--size", "40M"], &too_small);
    expect_refused(&pair.b, &[], &["b is Secondary", "'blkrep resize' on the Primary"]);
    expect_refused(&pair.a, &["--size", "16M"], &["only growing", "new, smaller resource"]);
    grow_file(pair.b.disk(), NEW_BYTES, 0xbb);
    pair.a.must(&["disconnect", "r0"]);
    pair.a.wait_state("alone", SOON, |state| state.connection == "StandAlone");
    expect_refused(&pair.a, &[], &["b is not connected", "'blkrep connect'"]);
    pair.a.must(&["connect", "r0"]);
    pair.wait_in_sync();
    pair.a.must(&["invalidate-remote", "r0"]);
    pair.a.wait_state("a resync", SOON, |state| state.replication == "SyncSource");
    expect_refused(&pair.a, &[], &["a resync is under way", "'blkrep wait-sync'"]);
    pair.wait_in_sync();
    pair.a.must(&["resize", "r0"]);
    expect_size(&pair, device_bytes(NEW_BYTES));
}

/// Waits, in short steps, until the log of `node` has `line` behind `from`.
fn wait_logged(node: &Node, from: usize, line: &str) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < SOON {
        if node.log().get(from..).is_some_and(|log| log.contains(line)) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    false
}

/// How long clients wait in a resize that nobody disturbs.
fn undisturbed(pair: &Pair) -> Duration {
    let logged = pair.a.log().len();
    let resize = pair.a.begin(&["resize", "r0"]);
    assert!(wait_logged(&pair.a, logged, BEGUN), "{}", pair.a.log_tail());
    let begun = Instant::now();
    assert!(wait_logged(&pair.a, logged, DONE), "{}", pair.a.log_tail());
    let lasts = begun.elapsed();
    resize.finish(CLIENT_MAX).expect_success("resize");
    lasts
}

/// Kills the daemons of `victims` at a random moment of a resize that takes about `lasts`.
fn kill_within(
    pair: &mut Pair,
    victims: &[usize],
    lasts: Duration,
    random: &mut Seeded,
) -> Running {
    let logged = pair.a.log().len();
    let resize = pair.a.begin(&["resize", "r0"]);
    // Now and then before clients wait, too.
    if random.below(6) > 0 {
        assert!(wait_logged(&pair.a, logged, BEGUN), "{}", pair.a.log_tail());
    }
    let micros = random.below(lasts.as_micros() as u64);
    std::thread::sleep(Duration::from_micros(micros));
    for &index in victims {
        pair.node_mut(index).kill9();
    }
    println!("  killed {victims:?} after {micros} of {} microseconds", lasts.as_micros());
    resize
}

/// Everybody is up again, the first node as Primary, in sync and of one size.
fn recover(pair: &mut Pair) -> u64 {
    for index in 0..2 {
        if !pair.node_mut(index).is_alive() {
            pair.node_mut(index).up();
        }
    }
    pair.wait_connected();
    pair.a.must(&["primary", "r0"]);
    pair.expect_equal();
    let bytes = pair.a.state().size_bytes;
    expect_size(pair, bytes);
    bytes
}

#[test]
fn a_daemon_that_is_killed_in_a_resize_leaves_one_size_and_equal_data() {
    let mut short = options().disk_bytes(OLD_BYTES);
    short.timeout_ms = 500;
    let mut pair = synced(&short).expect("loopback is everywhere");
    let mut random = Seeded::announced();
    let last_old_block = device_bytes(OLD_BYTES) / LEDGER_BLOCK_BYTES as u64;
    let mut ledger = Ledger::default().within(0..last_old_block).flushing_every(30);
    let mut disk_bytes = OLD_BYTES + STEP_BYTES;
    grow_files(&pair, disk_bytes);
    let mut lasts = undisturbed(&pair);
    pair.wait_in_sync();
    let (mut broken_off, mut grown) = (0, 0);
    for round in 0..ROUNDS {
        let victims: &[usize] = [&[0][..], &[1], &[0, 1]][(round % 3) as usize];
        let former = device_bytes(disk_bytes);
        disk_bytes += STEP_BYTES;
        let wanted = device_bytes(disk_bytes);
        grow_files(&pair, disk_bytes);
        let writer = Writer::start(&pair.a, ledger, random.next_u64(), Duration::from_millis(1));
        writer.wait_for(30, SOON);
        let resize = kill_within(&mut pair, victims, lasts, &mut random);
        let told = resize.finish(CLIENT_MAX);
        let (kept, end) = writer.finish();
        ledger = kept;
        assert!(end.is_ok() || victims.contains(&0), "the Primary lives, its client saw {end:?}");
        let found = recover(&mut pair);
        println!("round {round}: {found} bytes of {former} or {wanted}; resize said {told:?}");
        assert!(found == former || found == wanted, "a size that nobody asked for");
        // What was reported as done is done.
        assert!(told.code != 0 || found == wanted, "reported, and not done");
        broken_off += u64::from(found == former);
        grown += u64::from(found == wanted);
        // Towards the moment at which it is decided, which a busy machine moves.
        lasts = if found == wanted { lasts * 2 / 3 } else { lasts * 3 / 2 };
        ledger.expect_all_there(&pair.a.nbd_socket(), "r0");
        pair.a.must(&["resize", "r0"]);
        pair.expect_equal();
        expect_size(&pair, wanted);
        use_last_block(&pair.a, wanted);
        wait_until("clients are gone", SOON, || pair.a.state().clients == 0);
    }
    println!("{broken_off} resizes were broken off, {grown} had come through");
    assert!(broken_off > 0, "no kill came in time: this test has tested nothing");
}

#[test]
fn disks_of_different_sizes_agree_on_the_smaller_and_the_status_says_it() {
    let options = PairOptions::new(env!("CARGO_BIN_EXE_blkrep"));
    let options = PairOptions { disk_bytes: [96 << 20, 64 << 20], ..options };
    let Some(mut pair) = Pair::new(&options) else { return };
    pair.bring_into_sync();
    let wanted = device_bytes(64 << 20);
    expect_size(&pair, wanted);
    use_last_block(&pair.a, wanted);
    for node in [&pair.a, &pair.b] {
        let shown = node.must(&["status", "r0"]).stdout;
        assert!(shown.contains("disk:UpToDate size:63.9MiB\n"), "{shown}");
    }
    pair.expect_equal();
}
