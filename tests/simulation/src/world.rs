//! The world: two hosts, the wire, one virtual clock, and a queue of what happens next. Ties in
//! time are broken by the order of planning, so one seed always gives one run.

use crate::buffers::Use;
use crate::coverage::Coverage;
use crate::disk::DataDisk;
use crate::host::Host;
use crate::ledger::Ledger;
use crate::metadata_disk::MetadataDisk;
use crate::network::{Network, Parcel};
use crate::operator::ACTS;
use crate::profile::Profile;
use crate::random::Random;
use crate::rot::Rot;
use replicator::event::{Answer, Handler, Input};
use replicator::ids::{HandlerId, Moment};
use replicator::message::DataStatement;
use replicator::mutation::Mutation;
use replicator::node::Node;
use replicator::wire::Kind;
use std::collections::BTreeMap;

/// What is planned to happen.
#[derive(Debug)]
pub(crate) enum Happening {
    /// The engine's deadline.
    NodeTimer { host: usize, incarnation: u64 },
    /// A data I/O ends.
    DiskEnds { host: usize, ticket: u64 },
    /// The metadata write under way ends. It is void after a power cut.
    MetadataEnds { host: usize, power_cuts: u64 },
    /// The wire is free for the next parcel of that end.
    Transmit { stream: usize, from: usize },
    /// A parcel reaches the other host.
    Arrives { stream: usize, from: usize, parcel: Parcel },
    /// A dial succeeds or fails.
    DialEnds { host: usize, incarnation: u64 },
    /// A process learns of a stream that was opened.
    StreamOpens { host: usize, incarnation: u64, stream: usize, dialled: bool },
    /// A process learns that a stream was reset on the way.
    StreamBreaks { host: usize, incarnation: u64, stream: usize },
    /// The client's turn.
    ClientActs { host: usize, incarnation: u64 },
    /// A client whose connection broke opens another one.
    ClientReturns { host: usize, incarnation: u64 },
    /// A resync buffer is free again.
    BufferFree { host: usize, incarnation: u64 },
    /// A disk that was given up may be idle now.
    DiskCloses { host: usize, incarnation: u64 },
    /// A failed flush takes the cache with it.
    CacheLost { host: usize, incarnation: u64 },
    /// The disk that was asked for is open.
    DiskOpens { host: usize, incarnation: u64 },
    /// The daemon is started.
    DaemonStarts { host: usize },
    /// A handler ends, or has asked the peer and looks at what came of it.
    HandlerEnds { host: usize, incarnation: u64, id: HandlerId, handler: Handler, asked: bool },
    /// The operator's turn.
    OperatorActs,
}

/// Everything that there is.
#[derive(Debug)]
pub struct World {
    pub(crate) now_us: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    planned: u64,
    pub(crate) random: Random,
    pub(crate) profile: Profile,
    pub(crate) hosts: [Host; 2],
    pub(crate) network: Network,
    pub(crate) ledger: Ledger,
    pub(crate) coverage: Coverage,
    pub(crate) last_request: u64,
    pub(crate) last_stamp: u64,
    pub(crate) last_command: u64,
    pub(crate) answers: BTreeMap<u64, Answer>,
    /// The stream breaks when a message of this kind is to be sent.
    pub(crate) lose: Option<Kind>,
    /// The payload of the next message of this kind is damaged on the way.
    pub(crate) damage: Option<Kind>,
    /// What each node has said last of its data.
    pub(crate) said: [Option<DataStatement>; 2],
    /// The device is to grow as soon as both are in sync.
    pub(crate) grow_wanted: bool,
    /// After so many frames one is damaged.
    pub(crate) damage_in: Option<u64>,
    /// What the fence-peer handler of each host returns; none: it tells the truth.
    pub(crate) fence_exits: [Option<Option<i32>>; 2],
    /// How long handlers take; none: it is drawn.
    pub(crate) handler_us: Option<u64>,
    /// Clients do nothing of their own accord.
    pub(crate) calm: bool,
    /// Both replicas are known to be the same, and neither has left since.
    pub(crate) in_sync: bool,
    /// The operator said that both replicas are equal whatever is on them, or put an older copy
    /// back: what metadata say need not be so.
    pub(crate) metadata_false: bool,
    /// What changed by itself on a disk, and what verifies said of it.
    pub(crate) rot: Rot,
    /// The rule that every engine breaks on purpose.
    broken: Option<Mutation>,
    violation: Option<String>,
    tracing: bool,
    /// Things that have happened.
    pub(crate) steps: u64,
}

/// Stamps before the first write: the two disks differ.
const FIRST_STAMPS: [u64; 2] = [1, 2];

impl World {
    /// A world with fresh metadata on both hosts and both daemons about to start.
    #[must_use]
    pub fn new(seed: u64, profile: Option<Profile>, tracing: bool) -> Self {
        let mut random = Random::new(seed);
        let profile = profile.unwrap_or_else(|| Profile::draw(&mut random, ACTS.len()));
        let hosts = [0, 1].map(|host| {
            let data = DataDisk::new(profile.geometry.sectors(), FIRST_STAMPS[host]);
            let node_id = u8::try_from(host).expect("invariant: two hosts");
            let metadata = MetadataDisk::created(
                node_id,
                profile.placement[host],
                profile.room_bytes(profile.spare_bytes),
                random.bits(),
            );
            Host::new(data, metadata)
        });
        let mut world = Self {
            now_us: 1,
            queue: BTreeMap::new(),
            planned: 0,
            network: Network::new(profile.delay_us_max),
            ledger: Ledger::new(profile.geometry.sectors(), FIRST_STAMPS),
            coverage: Coverage::default(),
            last_request: 0,
            last_stamp: 100,
            last_command: 0,
            answers: BTreeMap::new(),
            lose: None,
            damage: None,
            said: [None; 2],
            grow_wanted: false,
            damage_in: None,
            fence_exits: [None; 2],
            handler_us: None,
            calm: false,
            in_sync: false,
            metadata_false: false,
            rot: Rot::default(),
            broken: None,
            violation: None,
            tracing,
            steps: 0,
            random,
            profile,
            hosts,
        };
        world.start_daemon(0);
        world.start_daemon(1);
        world
    }

    /// From now on every engine breaks this rule, those that are started later too.
    pub fn break_rule(&mut self, mutation: Mutation) {
        self.broken = Some(mutation);
        self.mind_known_ends(self.broken);
        let [first, second] = &mut self.hosts;
        if let Some(node) = &mut first.node {
            node.break_rule(mutation);
        }
        if let Some(node) = &mut second.node {
            node.break_rule(mutation);
        }
    }

    /// True when every engine breaks this rule on purpose.
    pub(crate) fn breaks(&self, mutation: Mutation) -> bool {
        self.broken == Some(mutation)
    }

    /// The first rule that was broken, in words.
    #[must_use]
    pub fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    /// What has happened how often.
    #[must_use]
    pub const fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// A rule is broken; the first one counts.
    pub(crate) fn fail(&mut self, why: String) {
        self.trace(|| format!("VIOLATION {why}"));
        self.violation.get_or_insert(why);
    }

    pub(crate) fn trace(&self, line: impl FnOnce() -> String) {
        if self.tracing {
            println!("{:>12} {}", self.now_us, line());
        }
    }

    pub(crate) fn plan(&mut self, delay_us: u64, what: Happening) {
        self.plan_at(self.now_us + delay_us, what);
    }

    pub(crate) fn plan_at(&mut self, at_us: u64, what: Happening) {
        self.planned += 1;
        self.queue.insert((at_us, self.planned), what);
    }

    /// Lets the next thing happen. False when nothing is planned, or a rule is broken.
    pub fn step(&mut self) -> bool {
        if self.violation.is_some() {
            return false;
        }
        let Some(((at_us, _), what)) = self.queue.pop_first() else { return false };
        self.now_us = self.now_us.max(at_us);
        self.steps += 1;
        self.happen(what);
        true
    }

    /// Lets `duration_us` of virtual time pass.
    pub fn run_for(&mut self, duration_us: u64) {
        let until_us = self.now_us + duration_us;
        while self.queue.first_key_value().is_some_and(|((at_us, _), _)| *at_us <= until_us) {
            if !self.step() {
                return;
            }
        }
        self.now_us = until_us;
    }

    /// Lets time pass until `wanted` holds, at most `limit_us`. False when it did not come to that.
    pub fn run_until(&mut self, limit_us: u64, wanted: impl Fn(&Self) -> bool) -> bool {
        let until_us = self.now_us + limit_us;
        while !wanted(self) {
            let next = self.queue.first_key_value().map(|((at_us, _), _)| *at_us);
            if next.is_none_or(|at_us| at_us > until_us) || !self.step() {
                return false;
            }
        }
        true
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::NodeTimer { host, incarnation } => {
                if self.hosts[host].runs(incarnation) {
                    self.hosts[host].timer_at_us = None;
                    self.feed(host, Input::Timer);
                }
            }
            Happening::DiskEnds { host, ticket } => self.disk_ends(host, ticket),
            Happening::MetadataEnds { host, power_cuts } => self.metadata_ends(host, power_cuts),
            Happening::Transmit { stream, from } => self.transmit(stream, from),
            Happening::Arrives { stream, from, parcel } => self.arrives(stream, from, parcel),
            Happening::DialEnds { host, incarnation } => self.dial_ends(host, incarnation),
            Happening::StreamOpens { host, incarnation, stream, dialled } => {
                self.stream_opens(host, incarnation, stream, dialled);
            }
            Happening::StreamBreaks { host, incarnation, stream } => {
                self.stream_breaks(host, incarnation, stream);
            }
            Happening::ClientActs { host, incarnation } => {
                if self.hosts[host].runs(incarnation) {
                    self.client_acts(host);
                }
            }
            Happening::ClientReturns { host, incarnation } => {
                if self.hosts[host].runs(incarnation) {
                    self.client_returns(host);
                }
            }
            Happening::BufferFree { host, incarnation } => {
                if self.hosts[host].runs(incarnation) {
                    let buffer = self.hosts[host].buffers.give(Use::Sync, Vec::new());
                    self.feed(host, Input::SyncBuffer(buffer));
                }
            }
            Happening::DiskCloses { host, incarnation } => {
                self.disk_closes_when_idle(host, incarnation);
            }
            Happening::CacheLost { host, incarnation } => self.cache_is_lost(host, incarnation),
            Happening::DiskOpens { host, incarnation } => self.disk_is_open(host, incarnation),
            Happening::DaemonStarts { host } => self.daemon_starts(host),
            Happening::HandlerEnds { host, incarnation, id, handler, asked } => {
                if self.hosts[host].runs(incarnation) {
                    self.handler_ends(host, id, handler, asked);
                }
            }
            Happening::OperatorActs => self.operator_acts(),
        }
    }

    /// Gives an input to a node, carries out its wishes, and plans its deadline.
    pub(crate) fn feed(&mut self, host: usize, input: Input) {
        let now = Moment(self.now_us);
        let this = &mut self.hosts[host];
        let Some(node) = &mut this.node else { return };
        if this.stopped {
            this.backlog.push_back(input);
            return;
        }
        node.handle(now, input);
        self.carry_out(host);
        self.plan_timer(host);
    }

    fn plan_timer(&mut self, host: usize) {
        let this = &mut self.hosts[host];
        let Some(deadline) = this.node.as_ref().and_then(Node::next_deadline) else { return };
        let at_us = deadline.0.max(self.now_us + 1);
        if this.timer_at_us.is_none_or(|planned| planned > at_us) {
            this.timer_at_us = Some(at_us);
            let incarnation = this.incarnation;
            self.plan_at(at_us, Happening::NodeTimer { host, incarnation });
        }
    }

    /// Plans a start of the daemon, soon.
    pub fn start_daemon(&mut self, host: usize) {
        let this = &mut self.hosts[host];
        if this.node.is_none() && !std::mem::replace(&mut this.starting, true) {
            let delay_us = self.random.between(100, 20_000);
            self.plan(delay_us, Happening::DaemonStarts { host });
        }
    }

    /// The daemon starts when it gets the lock on its disks: not before the I/O of its predecessor
    /// has ended (D15).
    fn daemon_starts(&mut self, host: usize) {
        self.mind_known_ends(self.broken);
        let this = &mut self.hosts[host];
        let busy = !this.data.is_idle() || !this.metadata.is_idle();
        let locked = busy && self.broken != Some(Mutation::DisksNotLocked);
        if !this.powered || locked {
            if busy && !std::mem::replace(&mut this.waits_for_lock, true) {
                self.coverage.count("start waited for its predecessor's I/O");
            }
            self.plan(2_000, Happening::DaemonStarts { host });
            return;
        }
        if std::mem::take(&mut this.must_create) {
            self.create_metadata(host);
        }
        let seed = self.random.bytes();
        let mut settings = self.profile.settings(host);
        settings.resume = self.hosts[host].resume_mark;
        let zeroes_cheaply = self.profile.zeroes_cheaply[host];
        let this = &mut self.hosts[host];
        let image = match this.metadata.image(this.boot_id(), zeroes_cheaply) {
            Ok(image) => image,
            Err(error) => return self.fail(format!("node {host} cannot start: {error}")),
        };
        this.starting = false;
        this.waits_for_lock = false;
        this.incarnation += 1;
        this.timer_at_us = None;
        this.status = None;
        this.buffers = crate::buffers::Buffers::default();
        let mut node = Node::new(settings, seed);
        if let Some(mutation) = self.broken {
            node.break_rule(mutation);
        }
        this.node = Some(node);
        self.trace(|| format!("node {host} starts"));
        for _ in 0..self.profile.sync_buffers {
            let buffer = self.hosts[host].buffers.give(Use::Sync, Vec::new());
            self.feed(host, Input::SyncBuffer(buffer));
        }
        self.feed(host, Input::DiskOpened(Box::new(image)));
    }

    /// Fresh metadata, on a disk as large as the other one.
    fn create_metadata(&mut self, host: usize) {
        let node_id = u8::try_from(host).expect("invariant: two hosts");
        let instance_id = self.random.bits();
        let rooms = self.hosts.each_ref().map(|host| host.metadata.data_bytes());
        let (data_bytes, placement) = (rooms[0].min(rooms[1]), self.profile.placement[host]);
        self.hosts[host].metadata =
            MetadataDisk::created(node_id, placement, data_bytes, instance_id);
    }
}
