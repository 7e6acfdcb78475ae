//! PostgreSQL on the device while nodes die, links are cut and roles change: file system and
//! database recover on either node, and every acknowledged row is there.
//!
//! The order of the events and their moments follow from the seed that is printed;
//! `BLKREP_TEST_SEED` repeats them as far as real processes can be repeated, and
//! `BLKREP_LEDGER_ROUNDS` asks for more rounds.

use crate::bed::{MIB, SOON, options};
use std::path::Path;
use std::time::Duration;
use testbed::Pair;
use testbed::machine::{FileSystem, Machine, require_machines};
use testbed::network::Cut;
use testbed::node::RESOURCE;
use testbed::pair::SYNC_MAX;
use testbed::postgresql::Programs;
use testbed::row_ledger::{Inserting, RowLedger};
use testbed::seeded::Seeded;

/// Environment variable with the number of rounds on XFS.
const ROUNDS_VARIABLE: &str = "BLKREP_LEDGER_ROUNDS";
/// Each event once.
const ROUNDS: u64 = Event::ALL.len() as u64;
/// mkfs.xfs makes nothing smaller than 300 MiB.
const DISK_BYTES: u64 = 336 * MIB;
const CLIENTS: usize = 4;
/// Rows that are acknowledged before the event of a round.
const ROWS_BEFORE: u64 = 60;
/// The event comes at a random moment of this time, in milliseconds.
const MOMENT_MS: u64 = 700;
/// A cut link is not noticed before the ping timeout of the pair, in milliseconds.
const UNNOTICED_MS: u64 = 900;
/// Longest wait for rows on a busy machine: each is a transaction on two disks.
const ROWS_MAX: Duration = Duration::from_secs(60);

/// What happens in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    /// SIGKILL of the Primary's daemon, and then of everything on it.
    PrimaryKilled,
    /// The link is cut, and the Primary dies before it can have noticed: what it acknowledged in
    /// between is on the Secondary, or was never acknowledged (D2).
    CutAndKilled,
    /// Everything above the daemon ends at once, and the daemon too.
    PrimaryWithoutPower,
    /// SIGKILL of the Secondary, which comes back while rows are inserted.
    SecondaryKilled,
    /// The link is cut and mended while rows are inserted.
    LinkCut,
    /// Stop, unmount, demote, promote.
    RoleSwitched,
}

impl Event {
    const ALL: [Self; 6] = [
        Self::PrimaryKilled,
        Self::CutAndKilled,
        Self::LinkCut,
        Self::PrimaryWithoutPower,
        Self::SecondaryKilled,
        Self::RoleSwitched,
    ];
}

/// The pair and what runs on it. Invariant: between rounds nothing runs on the device, and both
/// nodes are in sync.
struct Scene {
    pair: Pair,
    programs: Programs,
    file_system: FileSystem,
    primary: usize,
    random: Seeded,
}

impl Scene {
    fn begin(file_system: FileSystem, random: Seeded) -> Option<Self> {
        if !require_machines(file_system) {
            return None;
        }
        let programs = Programs::require()?;
        let pair = crate::bed::synced(&options().disk_bytes(DISK_BYTES).separate())?;
        Some(Self { pair, programs, file_system, primary: 0, random })
    }

    /// A machine on the Primary's device.
    fn machine(&self) -> Machine {
        let node = self.pair.node(self.primary);
        let log = self.pair.scratch().join(format!("machine-{}.log", node.name()));
        let mut machine = Machine::boot(self.file_system, Path::new(&log));
        machine.attach(&node.nbd_uri());
        machine
    }

    /// The fresh file system with a cluster and its tables.
    fn make_database(&self) -> RowLedger {
        let machine = self.machine();
        machine.make_file_system();
        machine.mount();
        self.programs.make_cluster(&machine);
        let database = self.programs.start(&machine, &[]);
        let ledger = RowLedger::create(&database, CLIENTS);
        database.stop(&machine);
        self.end_in_order(machine);
        ledger
    }

    /// After the database has stopped: nothing is wrong on the disk, and the device is free.
    fn end_in_order(&self, mut machine: Machine) {
        self.programs.check_checksums(&machine);
        machine.unmount();
        machine.check_file_system();
        machine.detach();
        machine.power_off();
        let node = self.pair.node(self.primary);
        node.wait_state("no client", SOON, |state| state.clients == 0);
    }

    /// Recovers file system and database on the Primary: everything acknowledged is there, and
    /// everything is whole.
    fn expect_all_rows(&self, ledger: &mut RowLedger) {
        let machine = self.machine();
        machine.mount();
        let database = self.programs.start(&machine, &[]);
        let (rows, open) = (ledger.acknowledged(), ledger.open());
        let faults = ledger.faults(&database);
        let shown = faults[..faults.len().min(10)].join("\n");
        assert!(faults.is_empty(), "{} faults in {rows} rows:\n{shown}", faults.len());
        println!("  {rows} rows acknowledged, {open} open, {} there", ledger.acknowledged());
        database.check_indexes();
        database.stop(&machine);
        self.end_in_order(machine);
    }

    fn sleep_to_the_moment(&mut self) {
        std::thread::sleep(Duration::from_millis(self.random.below(MOMENT_MS)));
    }

    fn round(&mut self, event: Event, ledger: RowLedger) -> RowLedger {
        let machine = self.machine();
        machine.mount();
        let database = self.programs.start(&machine, &[]);
        let inserting = ledger.start(&database);
        inserting.wait_for(ROWS_BEFORE, ROWS_MAX);
        self.sleep_to_the_moment();
        let mut ledger = match event {
            Event::PrimaryKilled | Event::PrimaryWithoutPower | Event::CutAndKilled => {
                return self.replace_the_primary(event, machine, inserting);
            }
            Event::SecondaryKilled => {
                self.pair.node_mut(1 - self.primary).kill9();
                inserting.wait_for(ROWS_BEFORE, ROWS_MAX);
                self.pair.node_mut(1 - self.primary).up();
                inserting.wait_for(ROWS_BEFORE, ROWS_MAX);
                // In sync again under load, the next failure may come.
                self.pair.wait_in_sync();
                return self.replace_the_primary(event, machine, inserting);
            }
            Event::LinkCut => {
                self.cut_the_link(&inserting);
                return self.replace_the_primary(event, machine, inserting);
            }
            Event::RoleSwitched => {
                // Under load: the clients are sent away.
                database.stop(&machine);
                inserting.finish()
            }
        };
        self.end_in_order(machine);
        self.pair.node(self.primary).must(&["secondary", RESOURCE]);
        self.primary = 1 - self.primary;
        self.pair.node(self.primary).must(&["primary", RESOURCE]);
        self.expect_all_rows(&mut ledger);
        ledger
    }

    fn cut_the_link(&mut self, inserting: &Inserting) {
        let cuts = [Cut::Both, Cut::TowardsFirst, Cut::TowardsSecond, Cut::Reset];
        let cut = cuts[self.random.below(cuts.len() as u64) as usize];
        println!("  {cut:?}");
        self.pair.cut_link(cut);
        for node in [&self.pair.a, &self.pair.b] {
            node.wait_state("the loss is noticed", SOON, |state| state.connection != "Connected");
        }
        inserting.wait_for(ROWS_BEFORE, ROWS_MAX);
        self.pair.heal_link();
        self.pair.wait_in_sync();
    }

    /// The Primary dies under load, and the other node takes over at once.
    fn replace_the_primary(
        &mut self,
        event: Event,
        machine: Machine,
        inserting: Inserting,
    ) -> RowLedger {
        if event == Event::CutAndKilled {
            self.pair.cut_link(Cut::Both);
            std::thread::sleep(Duration::from_millis(self.random.below(UNNOTICED_MS)));
        }
        if event == Event::PrimaryWithoutPower {
            machine.power_off();
            self.pair.node_mut(self.primary).kill9();
        } else {
            self.pair.node_mut(self.primary).kill9();
            machine.power_off();
        }
        self.pair.heal_link();
        let mut ledger = inserting.finish();
        let [dead, survivor] = [self.primary, 1 - self.primary].map(|n| self.pair.node(n));
        survivor.wait_state("the peer is lost", SOON, |state| state.connection != "Connected");
        // A Primary that a busy machine has left alone is the only one with the last rows.
        let has_all = survivor.state().disk == "UpToDate"
            && survivor.current_generation() == dead.current_generation();
        if has_all {
            dead.forget_role();
            survivor.must(&["primary", RESOURCE]);
            self.primary = 1 - self.primary;
        } else {
            println!("  the Primary was alone, it returns");
            self.pair.node_mut(self.primary).up();
            self.pair.node(self.primary).must(&["primary", RESOURCE]);
        }
        self.expect_all_rows(&mut ledger);
        for index in 0..2 {
            if !self.pair.node_mut(index).is_alive() {
                self.pair.node_mut(index).up();
            }
        }
        ledger
    }

    fn run(&mut self, events: impl Iterator<Item = Event>) {
        let mut ledger = self.make_database();
        let mut replaced = 0;
        for (number, event) in events.enumerate() {
            let begun = std::time::Instant::now();
            println!("round {number}, seed {:#x}: {event:?}", self.random.seed());
            let primary = self.primary;
            ledger = self.round(event, ledger);
            replaced += u32::from(self.primary != primary);
            self.pair.expect_equal();
            println!("round {number} took {:.1} s", begun.elapsed().as_secs_f64());
        }
        assert!(replaced > 0, "the rows were never looked for on the other node");
        for node in [&self.pair.a, &self.pair.b] {
            node.wait_state("both know both", SYNC_MAX, |state| state.is_in_sync());
        }
    }
}

/// One of each event in every six rounds, in an order that the seed says.
fn deal(random: &mut Seeded, rounds: u64) -> Vec<Event> {
    let mut dealt = Vec::new();
    while (dealt.len() as u64) < rounds {
        let mut deck = Event::ALL;
        for at in (1..deck.len()).rev() {
            deck.swap(at, random.below(at as u64 + 1) as usize);
        }
        dealt.extend(deck);
    }
    dealt.truncate(rounds as usize);
    dealt
}

#[test]
fn every_acknowledged_row_survives_on_xfs_whatever_dies() {
    let rounds = std::env::var(ROUNDS_VARIABLE).map_or(ROUNDS, |text| {
        text.parse().unwrap_or_else(|_| panic!("{ROUNDS_VARIABLE} is '{text}'; write a number"))
    });
    let mut random = Seeded::announced();
    let events = deal(&mut random, rounds);
    let Some(mut scene) = Scene::begin(FileSystem::Xfs, random) else { return };
    scene.run(events.into_iter());
}

#[test]
fn every_acknowledged_row_survives_on_ext4_when_the_primary_dies() {
    let Some(mut scene) = Scene::begin(FileSystem::Ext4, Seeded::announced()) else { return };
    scene.run([Event::PrimaryKilled, Event::PrimaryWithoutPower].into_iter());
}
