//! Random kills, stalls and cuts under load: after each round both replicas are equal and hold
//! everything that was acknowledged.
//!
//! Each round follows from a seed of its own, which it prints. `BLKREP_TEST_ROUNDS=1` with
//! `BLKREP_TEST_SEED` set to it repeats that round, as far as real processes can be repeated; more
//! rounds look for more.

use crate::bed::{CLIENT_MAX, MIB, SOON, options};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;
use testbed::failures::{Kind, Step, Victim, plan};
use testbed::ledger::Ledger;
use testbed::program::{Output, Running};
use testbed::seeded::Seeded;
use testbed::writer::Writer;
use testbed::{Pair, fio};

/// Environment variable with the number of rounds.
const ROUNDS_VARIABLE: &str = "BLKREP_TEST_ROUNDS";
const ROUNDS: u64 = 50;
/// Pairs that run side by side, each with its part of the rounds.
const LANES: u64 = 2;
const DISK_BYTES: u64 = 32 * MIB;
/// Short, so that losses are noticed in a round; a loss that a busy machine pretends is one more
/// failure.
const TIMEOUT_MS: u64 = 400;
/// Blocks that the ledger writes; fio has others.
const LEDGER_BLOCKS: u64 = 3000;
/// Between two answers, so that two pairs leave something of the machine to others.
const WRITER_PAUSE: Duration = Duration::from_millis(1);
/// fio behind the ledger's blocks: 1000 different blocks are written, and read back after 100 each.
const FIO: [&str; 9] = [
    "--rw=randwrite",
    "--bs=4k",
    "--offset=16M",
    "--size=8M",
    "--io_size=4M",
    "--rate_iops=1000",
    "--iodepth=8",
    "--verify=crc32c",
    "--verify_backlog=100",
];

/// A pair in a round.
struct Scene<'a> {
    pair: &'a mut Pair,
    /// Index of the node that is Primary, or was when it died.
    primary: usize,
    /// None while the writer has it.
    ledger: Option<Ledger>,
    writer: Option<Writer>,
    /// None when its server has died.
    load: Option<Running>,
    random: Seeded,
    /// What has happened in this round.
    seen: BTreeSet<Kind>,
}

/// How many rounds ended well, and in how many of them each kind of failure happened.
#[derive(Debug, Default)]
struct Tally {
    rounds: u64,
    kinds: BTreeMap<Kind, u64>,
}

impl Tally {
    fn add(&mut self, seen: &BTreeSet<Kind>) {
        self.rounds += 1;
        for kind in seen {
            *self.kinds.entry(*kind).or_default() += 1;
        }
    }

    /// Every round was run, and no kind was left out. A dead Primary is replaced only when its peer
    /// has all data, so that kind may be rarer than it was dealt.
    fn expect(&self, rounds: u64) {
        println!("{} rounds, and in how many of them what happened: {:?}", self.rounds, self.kinds);
        assert_eq!(self.rounds, rounds, "rounds are missing");
        let dealt = Kind::dealt_at_least(rounds);
        for kind in Kind::ALL {
            let least = if kind == Kind::PrimaryReplaced { dealt.min(1) } else { dealt };
            let seen = self.kinds.get(&kind).copied().unwrap_or(0);
            assert!(seen >= least, "{kind:?} happened in {seen} rounds, expected {least}");
        }
    }
}

impl Scene<'_> {
    fn begin_to_write(&mut self) {
        let ledger = self.ledger.take().expect("nobody writes");
        let node = self.pair.node(self.primary);
        self.writer = Some(Writer::start(node, ledger, self.random.next_u64(), WRITER_PAUSE));
    }

    /// Takes the ledger back from a writer whose server may have died.
    fn end_writing(&mut self, died: bool) {
        let Some(writer) = self.writer.take() else { return };
        let (ledger, end) = writer.finish();
        self.ledger = Some(ledger);
        assert!(died || end.is_ok(), "a client saw an error, and no Primary died: {end:?}");
    }

    fn index(&self, victim: Victim) -> usize {
        match victim {
            Victim::Primary => self.primary,
            Victim::Secondary => 1 - self.primary,
        }
    }

    fn kill(&mut self, victim: Victim) {
        let index = self.index(victim);
        self.pair.node_mut(index).kill9();
        if victim == Victim::Primary {
            self.end_writing(true);
            // fio asks a dead server for ever.
            if let Some(load) = self.load.take() {
                expect_no_wrong_data(&load.kill());
            }
        }
    }

    fn start_dead(&mut self) {
        for index in 0..2 {
            if !self.pair.node_mut(index).is_alive() {
                self.pair.node_mut(index).up();
            }
        }
        if self.writer.is_none() {
            self.pair.node(self.primary).must(&["primary", "r0"]);
            self.begin_to_write();
        }
    }

    /// The survivor has all acknowledged writes if the dead Primary never began a generation that
    /// the survivor does not know (rules D2, G2). Else the dead one has the data and must return.
    fn take_over(&mut self) {
        let [dead, survivor] = [self.primary, 1 - self.primary].map(|index| self.pair.node(index));
        let has_all = survivor.state().disk == "UpToDate"
            && survivor.current_generation() == dead.current_generation();
        if !has_all {
            println!("  the Primary was alone, it returns");
            return self.start_dead();
        }
        // Else the dead node may go on as Primary where it does not see its successor.
        dead.forget_role();
        survivor.must(&["primary", "r0"]);
        self.seen.insert(Kind::PrimaryReplaced);
        self.primary = 1 - self.primary;
        self.begin_to_write();
    }

    fn step(&mut self, step: Step) {
        self.seen.extend(step.kind().filter(|kind| *kind != Kind::PrimaryReplaced));
        match step {
            Step::Kill(victim) => self.kill(victim),
            Step::KillBoth => {
                self.kill(Victim::Secondary);
                self.kill(Victim::Primary);
            }
            Step::Return => self.start_dead(),
            Step::TakeOver => self.take_over(),
            Step::Cut(cut) => self.pair.cut_link(cut),
            Step::Heal => self.pair.heal_link(),
            Step::Stop(victim, ms) => {
                let node = self.pair.node(self.index(victim));
                node.stop();
                std::thread::sleep(Duration::from_millis(ms));
                node.cont();
            }
            Step::Write(writes) => {
                self.writer.as_ref().expect("somebody writes").wait_for(writes, SOON);
            }
            Step::Pause(ms) => std::thread::sleep(Duration::from_millis(ms)),
        }
    }

    /// Both replicas are equal, and either node serves every acknowledged write.
    fn settle(&mut self) {
        self.end_writing(false);
        if let Some(load) = self.load.take() {
            let output = load.finish(CLIENT_MAX);
            expect_no_wrong_data(&output);
            output.expect_success("fio, and no Primary died");
        }
        self.pair.expect_equal();
        let next = self.random.below(2) as usize;
        if next != self.primary {
            self.pair.node(self.primary).must(&["secondary", "r0"]);
            self.pair.node(next).must(&["primary", "r0"]);
            self.primary = next;
        }
        let socket = self.pair.node(next).nbd_socket();
        self.ledger.as_mut().expect("nobody writes").expect_all_there(&socket, "r0");
    }
}

fn expect_no_wrong_data(fio: &Output) {
    let said = format!("{}{}", fio.stdout, fio.stderr);
    assert!(!said.contains("verify"), "fio read something else than it wrote: {said}");
}

/// One round on a pair in sync whose node `primary` is Primary. Gives who is afterwards, and what
/// happened.
fn round(
    pair: &mut Pair,
    primary: usize,
    ledger: &mut Option<Ledger>,
    seed: u64,
) -> (usize, BTreeSet<Kind>) {
    let load = Some(fio::start(pair.node(primary), pair.scratch(), &FIO));
    let mut scene = Scene {
        pair,
        primary,
        ledger: ledger.take(),
        writer: None,
        load,
        random: Seeded::new(!seed),
        seen: BTreeSet::new(),
    };
    scene.begin_to_write();
    for step in plan(seed, TIMEOUT_MS) {
        scene.step(step);
    }
    scene.settle();
    *ledger = scene.ledger;
    (scene.primary, scene.seen)
}

/// Runs every second round; false when this machine has no link that can be cut.
fn lane(first: u64, rounds: u64, seed: u64, tally: &Mutex<Tally>) -> bool {
    let mut short = options().disk_bytes(DISK_BYTES).separate();
    short.timeout_ms = TIMEOUT_MS;
    let Some(mut pair) = crate::bed::synced(&short) else { return false };
    let mut ledger = Some(Ledger::default().within(0..LEDGER_BLOCKS).flushing_every(40));
    let mut primary = 0;
    for number in (first..rounds).step_by(LANES as usize) {
        let seed = seed.wrapping_add(number);
        let begun = std::time::Instant::now();
        println!("round {number}, seed {seed:#x}: {:?}", plan(seed, TIMEOUT_MS));
        let (next, seen) = round(&mut pair, primary, &mut ledger, seed);
        primary = next;
        tally.lock().expect("a lane that failed ends the test").add(&seen);
        println!("round {number} took {:.1} s", begun.elapsed().as_secs_f64());
    }
    true
}

#[test]
fn nothing_acknowledged_is_lost_in_rounds_of_random_failures() {
    if !fio::require_fio() {
        return;
    }
    let rounds = std::env::var(ROUNDS_VARIABLE).map_or(ROUNDS, |text| {
        text.parse().unwrap_or_else(|_| panic!("{ROUNDS_VARIABLE} is '{text}'; write a number"))
    });
    let seed = Seeded::announced().seed();
    let tally = Mutex::default();
    let counts = &tally;
    let ran = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES.min(rounds))
            .map(|first| scope.spawn(move || lane(first, rounds, seed, counts)))
            .collect();
        // Every lane is waited for: what it prints belongs to the test.
        let ends: Vec<_> = lanes.into_iter().map(|lane| lane.join()).collect();
        ends.into_iter().all(|end| end.expect("a lane failed, see above"))
    });
    if ran {
        tally.into_inner().expect("every lane ended well").expect(rounds);
    }
}
