//! One run: chaos for a while, then everything is mended and the two must find together again.

use crate::coverage::Coverage;
use crate::profile::Profile;
use crate::world::World;
use replicator::event::Command;
use replicator::mutation::Mutation;
use replicator::state::{ConnectionState, DiskState, ReplicationState, Role};
use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Virtual time within which mended nodes must be in sync, in microseconds.
const SETTLE_US_MAX: u64 = 90_000_000;
/// Virtual time between two looks of the mending operator, in microseconds.
const LOOK_US: u64 = 250_000;
/// Looks without success after which the mending operator decides what only he can decide.
const PATIENCE_LOOKS: u32 = 24;
/// Things that may happen in one run; more is a loop.
const STEPS_MAX: u64 = 3_000_000;

thread_local! {
    static CURRENT_SEED: Cell<u64> = const { Cell::new(0) };
}

/// The seed of the run under way on this thread, for whoever reports a panic.
#[must_use]
pub fn current_seed() -> u64 {
    CURRENT_SEED.get()
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct Report {
    /// The rule that was broken, if any.
    pub violation: Option<String>,
    /// What happened how often.
    pub coverage: Coverage,
}

/// Runs one seed with a profile of its own. A panic of the engine is a violation, where panics
/// unwind.
#[must_use]
pub fn run(seed: u64, tracing: bool) -> Report {
    run_with(seed, tracing, None)
}

/// Runs one seed with engines that break a rule on purpose: a violation is what should come out.
#[must_use]
pub fn run_broken(seed: u64, tracing: bool, mutation: Mutation) -> Report {
    run_with(seed, tracing, Some(mutation))
}

fn run_with(seed: u64, tracing: bool, broken: Option<Mutation>) -> Report {
    CURRENT_SEED.set(seed);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(seed, None::<Profile>, tracing);
        if let Some(mutation) = broken {
            world.break_rule(mutation);
        }
        world.chaos();
        world.settle();
        world.verify_at_the_end();
        Report {
            violation: world.violation().map(str::to_owned),
            coverage: world.coverage().clone(),
        }
    }));
    outcome.unwrap_or_else(|panic| Report {
        violation: Some(words_of(&*panic)),
        coverage: Coverage::default(),
    })
}

/// What a panic said.
pub(crate) fn words_of(panic: &(dyn Any + Send)) -> String {
    let words = panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|&words| words.to_owned()));
    format!("panic: {}", words.unwrap_or_default())
}

impl World {
    fn chaos(&mut self) {
        let first = self.random.below(2) as usize;
        self.run_for(self.random.clone().between(30_000, 300_000));
        self.promote(first);
        self.operator_plans();
        let until_us = self.now_us + self.profile.chaos_us;
        while self.now_us < until_us && self.violation().is_none() {
            self.run_for(100_000);
            self.check_equal();
            self.grow_if_wanted();
        }
    }

    /// Mends everything that an operator can mend and waits until both are in sync; fails when they
    /// never are.
    pub fn settle(&mut self) {
        self.calm = true;
        self.lose = None;
        self.damage_in = None;
        self.mend_cable();
        let deadline_us = self.now_us + SETTLE_US_MAX;
        let mut looks = 0;
        while self.violation().is_none() {
            if self.is_quiet_and_in_sync() && self.buffers_held() == 0 {
                self.check_equal();
                self.coverage.count("settled");
                return;
            }
            if self.now_us > deadline_us {
                let [first, second] = [0, 1].map(|host| self.in_short(host));
                self.fail(format!("not in sync at the end: {first}; {second}"));
                return;
            }
            looks += 1;
            self.mend_nodes(looks);
            self.run_steps(LOOK_US);
        }
    }

    fn run_steps(&mut self, duration_us: u64) {
        let before = self.steps;
        self.run_for(duration_us);
        if self.steps - before > STEPS_MAX {
            self.fail("the nodes are busy without an end".into());
        }
    }

    pub(crate) fn mend_nodes(&mut self, looks: u32) {
        self.mend_configuration();
        for host in [0, 1] {
            self.hosts[host].writes_stuck = false;
            self.stop_process(host, false);
            self.bring_up(host);
            if self.serves_errors(host) && looks.is_multiple_of(4) {
                self.demote(host);
            }
            self.mend_disk(host);
            self.thaw(host);
            self.command(host, Command::ResumeSync);
            self.client_stops(host, None);
        }
        self.repair_what_is_marked(looks);
        let patient = !looks.is_multiple_of(PATIENCE_LOOKS);
        if looks.is_multiple_of(8) && self.has_a_kept_bad_disk() {
            // A new handshake copies what the disk lacks.
            self.command(0, Command::Disconnect);
        }
        let (Some(first), Some(second)) = (self.status(0), self.status(1)) else { return };
        let both = [first, second];
        let primaries = both.iter().filter(|status| status.role == Role::Primary).count();
        if primaries == 2 || (!patient && primaries == 1 && !both_connected(&both)) {
            // Both Primary, or a Primary that shall become a target: the one with fewer merits
            // goes.
            let host = usize::from(both[0].disk > both[1].disk);
            let host = if both[host].role == Role::Primary { host } else { 1 - host };
            self.demote(host);
        }
        if !patient && self.newest_are_not_whole() {
            // The newest data went bad: the operator takes the others, on a new disk.
            let victim = usize::from(both[1].disk == DiskState::Inconsistent);
            let contents = self.hosts.each_ref().map(|host| host.data.current());
            self.ledger.begin_anew(contents);
            self.coverage.count("the newest data went bad");
            self.throw_away(victim);
            self.command(1 - victim, Command::Connect { discard_my_data: false });
            return;
        }
        if !patient && both.iter().all(|status| status.disk == DiskState::Inconsistent) {
            // Nobody has whole data: the operator takes what there is.
            let contents = self.hosts.each_ref().map(|host| host.data.current());
            self.ledger.begin_anew(contents);
            self.coverage.count("forced on bad data at the end");
            self.command(0, Command::Primary { force: true });
            if self.is_split() {
                self.throw_away(1);
                self.command(0, Command::Connect { discard_my_data: false });
                return;
            }
        }
        if !patient && self.is_split() {
            let victim = usize::from(both[0].disk >= both[1].disk);
            self.resolve_split_brain(victim);
            return;
        }
        for (host, status) in both.iter().enumerate() {
            if status.connection == ConnectionState::StandAlone && !self.is_split() {
                self.command(host, Command::Connect { discard_my_data: false });
            }
        }
        if !patient && primaries == 0 && both.iter().all(|status| status.out_of_sync_blocks > 0) {
            // Nothing says which data are right (D7): a promotion decides.
            self.coverage.count("bits without a direction at the end");
            self.promote(0);
        }
    }

    /// A verify has found something, and there is a Primary: its data count, as nobody has said.
    fn repair_what_is_marked(&mut self, looks: u32) {
        let Some(status) = self.status(0).filter(|_| looks.is_multiple_of(4)) else { return };
        let is_led = [Some(status.role), status.peer_role].contains(&Some(Role::Primary));
        let is_at_rest = status.replication == ReplicationState::Established
            && status.disk.min(status.peer_disk) == DiskState::UpToDate;
        if is_led && is_at_rest && status.out_of_sync_blocks > 0 {
            self.coverage.count("marks of a verify repaired at the end");
            self.command(0, Command::Repair { from: None });
        }
    }

    /// `on-io-error = pass_on`: connected, and one of the disks is not good although nothing is
    /// copied.
    fn has_a_kept_bad_disk(&self) -> bool {
        self.status(0).is_some_and(|status| {
            status.connection == ConnectionState::Connected
                && status.replication == ReplicationState::Established
                && status.disk.min(status.peer_disk) == DiskState::Inconsistent
        })
    }

    /// A node says that its peer's data are newer and not whole.
    fn newest_are_not_whole(&self) -> bool {
        [0, 1].iter().filter_map(|host| self.status(*host)).any(|status| {
            status.refusal.as_deref().is_some_and(|text| text.contains("shall become SyncSource"))
        })
    }

    /// Whatever froze clients' I/O, the operator lets it go on.
    fn thaw(&mut self, host: usize) {
        if self.status(host).is_some_and(|status| status.suspended.any()) {
            self.command(host, Command::ResumeIo);
        }
    }

    pub(crate) fn in_short(&self, host: usize) -> String {
        self.status(host).map_or_else(
            || "not running".into(),
            |status| {
                format!(
                    "{} {} {} {} peer {} bits {} refusal {:?} client {} buffers {}",
                    status.role,
                    status.connection,
                    status.replication,
                    status.disk,
                    status.peer_disk,
                    status.out_of_sync_blocks,
                    status.refusal,
                    self.hosts[host].client.open_count(),
                    self.buffers_held(),
                )
            },
        )
    }
}

fn both_connected(both: &[replicator::status::Status; 2]) -> bool {
    both.iter().all(|status| status.connection == ConnectionState::Connected)
}
