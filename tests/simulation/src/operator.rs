//! The operator and everything that he cannot help: commands, legal and silly, kills, power cuts,
//! cut cables.

use crate::world::{Happening, World};
use replicator::event::{Answer, Command, Input, ResumeMark};
use replicator::ids::CommandId;
use replicator::state::{ConnectionState, DiskState, ReplicationState, Role};
use replicator::wire::Kind;

/// One kind of act. What it is done to is drawn when it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Promote,
    /// On both nodes at once.
    PromoteBoth,
    /// With `--force`, although there are good data.
    PromoteForced,
    /// The client leaves first.
    Demote,
    /// The client stays, so it is refused.
    DemoteInUse,
    /// The client leaves, the node is demoted, the other one promoted.
    SwitchOver,
    Connect,
    Disconnect,
    Down,
    KillDaemon,
    CutPower,
    CutPowerOfBoth,
    CutCable,
    CutOneWay,
    MendCable,
    ResetStreams,
    /// The stream breaks when a certain message is sent.
    LoseMessage,
    /// The client's connection breaks; it opens another one.
    BreakClient,
    /// Bits of a frame flip on the wire.
    DamageFrame,
    /// The disk is copied, or put back to an older copy.
    RestoreDisk,
    /// The disk answers no writes for a while.
    StickDisk,
    ResolveSplitBrain,
    PauseSync,
    ResumeSync,
    Invalidate,
    InvalidateRemote,
    /// Some I/O of the disk fails from now on.
    BreakDisk,
    /// The disk works again and is attached.
    MendDisk,
    Detach,
    DetachForced,
    SuspendIo,
    ResumeIo,
    Outdate,
    /// SIGSTOP.
    StopProcess,
    /// SIGCONT.
    ContinueProcess,
    /// Disks grow, and then the device.
    Resize,
    Verify,
    Repair,
    /// A sector of a disk changes by itself.
    RotSector,
}

/// All of them, in the order of [`crate::profile::Profile::act_weights`].
pub(crate) const ACTS: [Act; 39] = [
    Act::Promote,
    Act::PromoteBoth,
    Act::PromoteForced,
    Act::Demote,
    Act::DemoteInUse,
    Act::SwitchOver,
    Act::Connect,
    Act::Disconnect,
    Act::Down,
    Act::KillDaemon,
    Act::CutPower,
    Act::CutPowerOfBoth,
    Act::CutCable,
    Act::CutOneWay,
    Act::MendCable,
    Act::ResetStreams,
    Act::LoseMessage,
    Act::BreakClient,
    Act::DamageFrame,
    Act::RestoreDisk,
    Act::StickDisk,
    Act::ResolveSplitBrain,
    Act::PauseSync,
    Act::ResumeSync,
    Act::Invalidate,
    Act::InvalidateRemote,
    Act::BreakDisk,
    Act::MendDisk,
    Act::Detach,
    Act::DetachForced,
    Act::SuspendIo,
    Act::ResumeIo,
    Act::Outdate,
    Act::StopProcess,
    Act::ContinueProcess,
    Act::Resize,
    Act::Verify,
    Act::Repair,
    Act::RotSector,
];

/// Messages whose loss is worth a try: the joints of handshake, resync, flush and promotion.
const LOSABLE: [Kind; 39] = [
    Kind::Parameters,
    Kind::Data,
    Kind::Bitmap,
    Kind::SyncStart,
    Kind::SyncStarted,
    Kind::State,
    Kind::PromoteAsk,
    Kind::PromoteAnswer,
    Kind::Write,
    Kind::WriteDone,
    Kind::FlushDone,
    Kind::PairDone,
    Kind::SyncWritten,
    Kind::SyncNoneLeft,
    Kind::SyncGrant,
    Kind::SyncConfirm,
    Kind::Refuse,
    Kind::SyncCompare,
    Kind::SyncEqual,
    Kind::SyncPause,
    Kind::InvalidateOffer,
    Kind::InvalidateAsk,
    Kind::SyncAsk,
    Kind::ResizeAsk,
    Kind::ResizeRoom,
    Kind::ResizePrepare,
    Kind::ResizePrepared,
    Kind::ResizeCommit,
    Kind::ResizeCommitted,
    Kind::ResizeEnd,
    Kind::VerifyAsk,
    Kind::VerifyBegin,
    Kind::VerifyAnswer,
    Kind::VerifyRead,
    Kind::VerifyDigests,
    Kind::VerifyDiffers,
    Kind::VerifyEnd,
    Kind::VerifyEnded,
    Kind::RepairAsk,
];

impl World {
    /// Plans the operator's next act.
    pub(crate) fn operator_plans(&mut self) {
        let pause_us = self.random.between(1_000, self.profile.act_pause_us_max);
        self.plan(pause_us, Happening::OperatorActs);
    }

    pub(crate) fn operator_acts(&mut self) {
        if self.calm {
            return;
        }
        let total: u64 = self.profile.act_weights.iter().sum();
        if total > 0 {
            let mut drawn = self.random.below(total);
            let weights = self.profile.act_weights.clone();
            for (act, weight) in ACTS.into_iter().zip(weights) {
                if drawn < weight {
                    self.act(act);
                    break;
                }
                drawn -= weight;
            }
        }
        // Whatever went down comes up again sooner or later.
        for host in [0, 1] {
            if self.random.chance(30) {
                self.bring_up(host);
            }
        }
        if self.network.is_cut() && self.random.chance(15) {
            self.mend_cable();
        }
        self.operator_plans();
    }

    fn act(&mut self, act: Act) {
        let host = self.random.below(2) as usize;
        self.trace(|| format!("operator: {act:?} on {host}"));
        match act {
            Act::Promote => self.promote(host),
            Act::PromoteBoth => {
                self.promote(0);
                self.promote(1);
            }
            Act::PromoteForced => self.promote_forced(host),
            Act::Demote => self.demote(host),
            Act::DemoteInUse => self.say(host, Command::Secondary),
            Act::SwitchOver => self.switch_over(),
            Act::Connect => self.say(host, Command::Connect { discard_my_data: false }),
            Act::Disconnect => self.say(host, Command::Disconnect),
            Act::Down => self.say(host, Command::Down),
            Act::KillDaemon => {
                self.dead_io_lasts(host);
                self.kill_daemon(host);
                // As a supervisor does: while its I/O may be under way.
                if self.random.chance(50) {
                    self.start_daemon(host);
                }
            }
            Act::CutPower => self.cut_power(host),
            Act::CutPowerOfBoth => {
                self.cut_power(0);
                self.cut_power(1);
            }
            Act::CutCable => self.network.cut = [true; 2],
            Act::CutOneWay => self.network.cut[host] = true,
            Act::MendCable => self.mend_cable(),
            Act::ResetStreams => {
                for stream in self.network.open_streams(host) {
                    self.reset_stream(stream);
                }
            }
            Act::LoseMessage => {
                let kind = LOSABLE[self.random.below(LOSABLE.len() as u64) as usize];
                self.lose = Some(kind);
            }
            Act::BreakClient => self.client_breaks_off(host),
            Act::DamageFrame => self.damage_soon(),
            Act::RestoreDisk => self.copy_or_restore(host),
            Act::StickDisk => {
                self.hosts[host].writes_stuck ^= true;
            }
            Act::Resize => self.grow_some_time(host),
            Act::ResolveSplitBrain => self.resolve_split_brain(host),
            Act::SuspendIo => self.say(host, Command::SuspendIo),
            Act::ResumeIo => self.say(host, Command::ResumeIo),
            Act::Outdate => self.say(host, Command::Outdate),
            Act::StopProcess => self.stop_process(host, true),
            Act::ContinueProcess => self.stop_process(host, false),
            Act::PauseSync => self.say(host, Command::PauseSync),
            Act::ResumeSync => self.say(host, Command::ResumeSync),
            Act::Invalidate => self.say(host, Command::Invalidate),
            Act::InvalidateRemote => self.say(host, Command::InvalidateRemote),
            Act::BreakDisk => self.break_disk_somehow(host),
            Act::MendDisk => {
                self.mend_disk(host);
            }
            Act::Verify => self.verify_some_time(host),
            Act::Repair => self.repair_some_time(host),
            Act::RotSector => self.rot_some_sector(host),
            Act::Detach => self.say(host, Command::Detach { force: false }),
            Act::DetachForced => self.say(host, Command::Detach { force: true }),
        }
    }

    /// Gives a command to a node, whatever comes of it.
    fn say(&mut self, host: usize, command: Command) {
        self.command(host, command);
    }

    /// Gives a command to a node; none when its daemon does not run.
    pub fn command(&mut self, host: usize, command: Command) -> Option<CommandId> {
        self.hosts[host].node.as_ref()?;
        self.last_command += 1;
        let id = CommandId(self.last_command);
        if command == (Command::NewCurrentUuid { clear_bitmap: true }) {
            self.metadata_false = true;
        }
        self.hosts[host].rotations.forced |= command == (Command::Primary { force: true });
        self.hosts[host].waived |= command == Command::ResumeIo;
        self.feed(host, Input::Command { id, command });
        Some(id)
    }

    pub(crate) fn answered(&mut self, host: usize, command: CommandId, answer: Answer) {
        self.trace(|| format!("node {host} answers {command:?}: {answer:?}"));
        match &answer {
            Answer::Done => {}
            Answer::Refused(_) => self.coverage.count("command refused"),
            Answer::Status(_) => {}
        }
        self.answers.insert(command.0, answer);
    }

    fn role(&self, host: usize) -> Option<Role> {
        self.hosts[host].status.as_ref().map(|status| status.role)
    }

    /// Nobody has ever declared data good.
    fn nothing_is_good_yet(&self) -> bool {
        self.hosts.iter().all(|host| {
            host.metadata
                .superblock()
                .is_ok_and(|superblock| superblock.generations.is_just_created())
        })
    }

    /// Promotes a node; the very first time by force.
    pub fn promote(&mut self, host: usize) {
        let force = self.nothing_is_good_yet();
        self.command(host, Command::Primary { force });
    }

    /// By force although the data are good: a new generation. What is not good is never forced
    /// here.
    fn promote_forced(&mut self, host: usize) {
        let status = self.hosts[host].status.as_ref();
        if status.is_some_and(|status| status.disk == DiskState::UpToDate) {
            self.command(host, Command::Primary { force: true });
        }
    }

    /// Lets the client leave and demotes the node.
    pub fn demote(&mut self, host: usize) {
        if self.role(host) == Some(Role::Primary) {
            self.last_command += 1;
            self.client_stops(host, Some(CommandId(self.last_command)));
        }
    }

    fn switch_over(&mut self) {
        match (self.role(0), self.role(1)) {
            (Some(Role::Primary), _) => self.demote(0),
            (_, Some(Role::Primary)) => self.demote(1),
            (_, _) => {
                let host = self.random.below(2) as usize;
                self.promote(host);
            }
        }
    }

    /// The process dies; what it submitted to its disks still lands (D15).
    pub fn kill_daemon(&mut self, host: usize) {
        if self.hosts[host].node.is_none() {
            return;
        }
        for stream in self.network.open_streams(host) {
            if self.network.abort(stream, host) {
                self.plan(0, Happening::Transmit { stream, from: host });
            }
        }
        self.process_ends(host);
    }

    /// Nothing of the process is left but what is on its way to the disks.
    pub(crate) fn process_ends(&mut self, host: usize) {
        self.parts(host);
        self.hosts[host].died_as_primary |= self.role(host) == Some(Role::Primary);
        self.client_is_cut_off(host);
        self.ledger.process_ends(host);
        let this = &mut self.hosts[host];
        this.node = None;
        this.frozen = false;
        this.replication = ReplicationState::Off;
        this.waived = false;
        this.stopped = false;
        this.backlog.clear();
        this.status = None;
        this.peer_said = (ConnectionState::Unconnected, DiskState::DUnknown);
        this.export_sectors = None;
        this.timer_at_us = None;
        this.doomed_up_to = None;
        this.metadata.process_dies();
        self.in_sync = false;
    }

    /// The machine goes dark: the disk's cache is lost, or some of it; nobody is told.
    pub fn cut_power(&mut self, host: usize) {
        if !self.hosts[host].powered {
            return;
        }
        self.coverage.count("power cut");
        self.resume_mark_is(host, ResumeMark::Void);
        self.process_ends(host);
        self.kernel_is_gone(host);
        self.network.vanish(host);
        let this = &mut self.hosts[host];
        this.powered = false;
        this.power_cuts += 1;
        this.writes_stuck = false;
        this.plain_writes_stuck = false;
        this.reads_stuck = false;
        this.data.lose_power(&mut self.random);
        if this.metadata.lose_power(&mut self.random) {
            self.coverage.count("metadata write torn by a power cut");
        }
        self.ledger.lose_power(host);
        self.check_cover_everywhere();
    }

    /// Power on, daemon started.
    pub fn bring_up(&mut self, host: usize) {
        let this = &mut self.hosts[host];
        if !this.powered {
            this.powered = true;
            this.boot += 1;
        }
        self.start_daemon(host);
    }

    /// Nothing is cut any more; what was held back arrives now.
    pub fn mend_cable(&mut self) {
        self.network.cut = [false; 2];
        for (stream, from, parcel, at_us) in self.network.unstall(self.now_us, &mut self.random) {
            self.plan_at(at_us, Happening::Arrives { stream, from, parcel });
        }
    }

    /// True when a node says that only an operator can help.
    pub(crate) fn is_split(&self) -> bool {
        self.hosts.iter().any(|host| {
            host.status
                .as_ref()
                .and_then(|status| status.refusal.as_deref())
                .is_some_and(|text| text.contains("Split-Brain") || text.contains("Unrelated"))
        })
    }

    /// Throws the copy of `victim` away, if the other one is good: `down`, `create-md --force`,
    /// `up`, `connect`.
    pub(crate) fn resolve_split_brain(&mut self, victim: usize) {
        let survivor = 1 - victim;
        let status = self.hosts[survivor].status.as_ref();
        let good = status.is_some_and(|status| status.disk > DiskState::Inconsistent);
        if !self.is_split() || !good {
            return;
        }
        self.coverage.count("split brain resolved by the operator");
        if !self.ledger.both_went_on() {
            self.coverage.count("split brain without need");
        }
        self.throw_away(victim);
        self.command(survivor, Command::Connect { discard_my_data: false });
    }

    /// Fresh metadata on a node; its daemon is started again.
    pub(crate) fn throw_away(&mut self, victim: usize) {
        self.kill_daemon(victim);
        self.ledger.discard(victim);
        self.hosts[victim].writes_stuck = false;
        self.hosts[victim].must_create = true;
        self.all_is_replaced();
        self.hosts[victim].copy = None;
        self.bring_up(victim);
    }
}
