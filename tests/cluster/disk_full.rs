//! A disk that is a sparse file on a file system without space: the Primary never stalls, nothing
//! acknowledged is lost, the status says what to do, and with space the disk comes back.

use crate::bed::{MIB, SOON, options};
use std::time::Duration;
use testbed::file_system::SmallFileSystem;
use testbed::ledger::Ledger;
use testbed::metadata_edit::declare_equal;
use testbed::nbd_client::NbdClient;
use testbed::pair::sparse_file;
use testbed::scratch::Scratch;
use testbed::writer::Writer;
use testbed::{Node, Pair, wait_until};

const DISK_BYTES: u64 = 32 * MIB;
/// Enough for the metadata, the disk's file and the space that is left.
const FILE_SYSTEM_BYTES: u64 = 64 * MIB;
const TIMEOUT_MS: u64 = 500;
/// A busy machine, and the flush of the other disk.
const SILENCE_MAX: Duration = Duration::from_secs(4);
/// Blocks below are written one by one, those from here on by the ledger.
const LEDGER_BLOCKS: std::ops::Range<u64> = 2000..8000;

/// What is done with a disk that has no space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    Detach,
    PassOn,
}

impl Policy {
    const fn word(self) -> &'static str {
        match self {
            Self::Detach => "detach",
            Self::PassOn => "pass_on",
        }
    }

    /// State of a disk that has failed.
    const fn disk(self) -> &'static str {
        match self {
            Self::Detach => "Diskless",
            Self::PassOn => "Inconsistent",
        }
    }
}

/// An equal pair whose node `index` has a disk on a file system with `left_bytes`.
struct Scene {
    pair: Pair,
    index: usize,
    policy: Policy,
    // Behind the pair: its daemon has the disk.
    small: SmallFileSystem,
}

impl Scene {
    fn new(index: usize, policy: Policy, left_bytes: u64, scratch: &Scratch) -> Option<Self> {
        let small = SmallFileSystem::mount(scratch.path(), FILE_SYSTEM_BYTES)?;
        let mut full = options().disk_bytes(DISK_BYTES);
        full.timeout_ms = TIMEOUT_MS;
        full.disk.push(format!("on-io-error = \"{}\"", policy.word()));
        full.disks[index] = Some(sparse_file(&small.file("disk"), DISK_BYTES));
        let mut pair = Pair::new(&full).expect("loopback is everywhere");
        pair.create_md();
        declare_equal(&pair);
        pair.up();
        pair.wait_in_sync();
        pair.a.must(&["primary", "r0"]);
        small.fill(left_bytes);
        Some(Self { pair, index, policy, small })
    }

    fn victim(&self) -> &Node {
        self.pair.node(self.index)
    }

    fn has_failed(&self) -> bool {
        self.victim().state().disk == self.policy.disk()
    }

    /// What the operator reads, here and in the log.
    fn expect_advice(&self) {
        let said = self.victim().must(&["status", "r0"]).stdout;
        for word in ["mend", "'blkrep attach r0'"] {
            assert!(said.contains(word), "no {word:?} in the status: {said}");
        }
        let log = self.victim().log();
        let lines = log.lines().filter(|line| line.contains("no space left on the device"));
        // Once, and again in the change of state.
        assert!((1..=3).contains(&lines.count()), "{}", self.victim().log_tail());
    }

    /// The operator does what the status says, after space was made.
    fn mend(&self) {
        self.small.free();
        if self.policy == Policy::PassOn {
            self.victim().must(&["detach", "r0"]);
        }
        // A Primary that is still handing its data over says so.
        wait_until("the disk is taken back", SOON, || {
            let told = self.victim().run(&["attach", "r0"]);
            assert!(matches!(told.code, 0 | 11), "{told:?}");
            told.code == 0
        });
        self.pair.expect_equal();
    }
}

/// A disk runs full under load: no error, no stall, nothing lost, and all is well with space.
fn under_load(index: usize, policy: Policy) {
    let scratch = Scratch::new();
    let Some(scene) = Scene::new(index, policy, MIB, &scratch) else { return };
    let pair = &scene.pair;
    let ledger = Ledger::default().flushing_every(25);
    let writer = Writer::start(&pair.a, ledger, 5, Duration::from_millis(1));
    wait_until("the disk has no space", SOON, || scene.has_failed());
    writer.wait_for(400, SOON);
    scene.expect_advice();
    let other = pair.node(1 - index).state();
    assert_eq!((&*other.disk, &*other.peer_disk), ("UpToDate", policy.disk()));
    let refused = pair.b.run(&["primary", "r0"]);
    assert_ne!(refused.code, 0, "two Primaries, or one without good data: {refused:?}");
    let (mut ledger, end) = writer.finish();
    end.expect("the client sees no error");
    let silence = ledger.longest_silence();
    println!("{index} {policy:?}: longest silence {silence:?}");
    assert!(silence < SILENCE_MAX, "no answer for {silence:?}");
    ledger.expect_all_there(&pair.a.nbd_socket(), "r0");
    scene.mend();
    // Also from the disk that had failed.
    pair.a.must(&["secondary", "r0"]);
    pair.b.must(&["primary", "r0"]);
    ledger.expect_all_there(&pair.b.nbd_socket(), "r0");
}

#[test]
fn a_secondary_that_runs_full_is_detached() {
    under_load(1, Policy::Detach);
}

#[test]
fn a_secondary_that_runs_full_is_not_up_to_date_with_pass_on() {
    under_load(1, Policy::PassOn);
}

#[test]
fn a_primary_that_runs_full_is_detached_and_goes_on_with_the_peers_disk() {
    under_load(0, Policy::Detach);
}

#[test]
fn a_primary_that_runs_full_is_not_up_to_date_with_pass_on() {
    under_load(0, Policy::PassOn);
}

/// The blocks that were copied to a disk that had no space, and those that were written meanwhile.
fn copied_and_missed(index: usize) -> Option<(u64, u64)> {
    let scratch = Scratch::new();
    let scene = Scene::new(index, Policy::Detach, 128 << 10, &scratch)?;
    let pair = &scene.pair;
    let mut client = NbdClient::open(&pair.a.nbd_socket(), "r0").unwrap();
    let mut block = 0;
    // One by one and flushed, so that it is known which one failed: the last.
    while !scene.has_failed() {
        assert!(block < LEDGER_BLOCKS.start, "the disk never runs full");
        client.write(block * 4096, &[0x33; 4096], false).unwrap();
        client.flush().unwrap();
        block += 1;
    }
    println!("{block} blocks until the disk was full");
    drop(client);
    let ledger = Ledger::default().within(LEDGER_BLOCKS);
    let writer = Writer::start(&pair.a, ledger, 5, Duration::from_millis(1));
    writer.wait_for(300, SOON);
    let (mut ledger, end) = writer.finish();
    end.expect("the client sees no error");
    let copied_before = scene.victim().state().resynced_blocks;
    scene.mend();
    let copied = scene.victim().state().resynced_blocks - copied_before;
    ledger.expect_all_there(&pair.a.nbd_socket(), "r0");
    Some((copied, 1 + ledger.blocks_touched()))
}

#[test]
fn a_secondary_with_space_again_gets_exactly_what_it_missed() {
    let Some((copied, missed)) = copied_and_missed(1) else { return };
    assert_eq!(copied, missed);
}

#[test]
fn a_primary_with_space_again_gets_what_it_missed() {
    let Some((copied, missed)) = copied_and_missed(0) else { return };
    // The extent with the write that failed is still in its log and compared, eight blocks at a
    // time: one that differs has its seven neighbours copied.
    assert!((missed..=missed + 7).contains(&copied), "{copied} blocks copied of {missed}");
}
