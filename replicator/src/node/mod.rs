//! The node: owns every part of the engine and routes what happens to the flow that deals with it.
//!
//! Each file below is one flow; the parts that they share (lock table, windows, verdicts, ...) are
//! in the crate's root with unit tests of their own.

mod access;
mod alive;
mod alone;
mod attach;
mod bitmaps;
mod broken;
mod commands;
mod demote;
mod detach;
mod disk_loss;
mod far_data;
mod far_read;
mod fencing;
mod flush;
mod follow;
mod greet;
mod guest;
mod handlers;
mod invalidate;
mod leave;
mod link;
mod log;
mod new_generation;
mod notice;
mod outdate;
mod peer;
mod persist;
mod picture;
mod pieces;
mod progress;
mod promote;
mod read;
mod repair;
mod replica;
mod resize;
mod resize_disk;
mod resize_peer;
mod resume;
mod route;
mod sessions;
mod sole_copy;
mod split_brain;
mod stall;
mod startup_wait;
mod suspend;
mod sync_end;
mod sync_hold;
mod sync_source;
mod sync_target;
mod verdict;
mod verify;
mod verify_end;
mod verify_follow;
mod verify_lead;
mod write;
mod write_loss;

use crate::block_set::BlockSet;
use crate::entropy::Entropy;
use crate::event::{Event, Input, Level, Output};
use crate::ids::{CommandId, IoId, Moment};
use crate::overlap::Overlap;
use crate::settings::Settings;
use crate::slab::Slab;
use crate::state::Role;
use crate::status::Counters;
use crate::timers::{Timer, Timers};
use detach::Detaching;
use disk_loss::Degrading;
use far_data::FarData;
use far_read::FarReads;
use fencing::Fencing;
use flush::Pairs;
use follow::Follow;
use guest::Guest;
use handlers::Handlers;
use invalidate::Invalidation;
use outdate::Outdating;
use peer::Peer;
use persist::Persist;
use pieces::Pieces;
use promote::RoleChange;
use read::ClientRead;
use replica::Replica;
use resize::Resize;
use resume::Resume;
use route::Purpose;
use sole_copy::SoleCopy;
use stall::DiskWatch;
use std::collections::VecDeque;
use suspend::Suspension;
use sync_hold::Hold;
use sync_source::Source;
use sync_target::Target;
use verify::Verify;
use write::Writes;

/// What the replicas are doing to get in sync, from this node's side.
#[derive(Debug)]
enum Sync {
    Idle,
    Source(Source),
    Target(Target),
}

/// One node of the pair. Deterministic: the same inputs at the same moments give the same outputs.
#[derive(Debug)]
pub struct Node {
    settings: Settings,
    entropy: Entropy,
    now: Moment,
    out: VecDeque<Output>,
    ios: Slab<Purpose>,
    timers: Timers,
    persist: Persist,
    replica: Replica,
    /// The disk that was given up has I/O that has not returned (D15).
    disk_open: bool,
    /// The disk is being opened for this command.
    opening: Option<CommandId>,
    detaching: Option<Detaching>,
    /// The disk has left in order; whoever asked for it hears when an attach may follow.
    detach_answer: Option<CommandId>,
    degrading: Option<Degrading>,
    /// The peer's writes that failed here, told when that is durable.
    failed_guest_writes: Vec<(crate::ids::LinkId, u64)>,
    peer: Peer,
    role: Role,
    role_change: RoleChange,
    promotion_attempts: u64,
    leaving: Option<CommandId>,
    leave_begun: bool,
    clients: u32,
    writes: Writes,
    reads_open: u32,
    /// Wait for data to come back.
    /// Clients' reads that the own disk has and has not returned.
    reads_here: u32,
    reads_parked: VecDeque<ClientRead>,
    far_reads: FarReads,
    far: FarData,
    sole: SoleCopy,
    overlap: Overlap,
    pairs: Pairs,
    /// Completed on both disks, not flushed there yet (D4).
    unflushed: BlockSet,
    /// The new generation is on its way to the disk; nothing is acknowledged alone before (G2).
    generation_pending: bool,
    guest: Guest,
    sync: Sync,
    hold: Hold,
    verify: Verify,
    /// Bits that fall when the arbiter says so.
    follow: Follow,
    invalidation: Invalidation,
    /// `new-current-uuid` and the generation that the peer takes first; 0 when there is none.
    by_hand: Option<(CommandId, u64)>,
    /// Found out of sync, and the peer is not told yet (D17).
    notices: BlockSet,
    /// Found out of sync, and neither hot in the log nor on its way to the disk.
    bits_uncovered: bool,
    pieces: Pieces,
    sync_buffers: Vec<crate::ids::BufferId>,
    resize: Resize,
    handlers: Handlers,
    suspension: Suspension,
    fencing: Fencing,
    outdating: Outdating,
    resume: Resume,
    disk_watch: DiskWatch,
    /// It was Primary without its peer when it went down, and has not met it since (G6).
    degraded: bool,
    counters: Counters,
    #[cfg(feature = "mutations")]
    mutation: Option<crate::mutation::Mutation>,
}

impl Node {
    /// A node without a disk yet. `seed` must come from the operating system's entropy (in the
    /// simulator: from the run's seed); nonces and identifiers are drawn from it.
    #[must_use]
    pub fn new(settings: Settings, seed: [u8; 32]) -> Self {
        Self {
            settings,
            entropy: Entropy::new(seed),
            now: Moment::default(),
            out: VecDeque::new(),
            ios: Slab::new(),
            timers: Timers::default(),
            persist: Persist::default(),
            replica: Replica::default(),
            disk_open: false,
            opening: None,
            detaching: None,
            detach_answer: None,
            degrading: None,
            failed_guest_writes: Vec::new(),
            peer: Peer::default(),
            role: Role::Secondary,
            role_change: RoleChange::None,
            promotion_attempts: 0,
            leaving: None,
            leave_begun: false,
            clients: 0,
            writes: Writes::default(),
            reads_open: 0,
            reads_here: 0,
            reads_parked: VecDeque::new(),
            far_reads: FarReads::default(),
            far: FarData::default(),
            sole: SoleCopy::default(),
            overlap: Overlap::default(),
            pairs: Pairs::default(),
            unflushed: BlockSet::default(),
            generation_pending: false,
            guest: Guest::default(),
            sync: Sync::Idle,
            hold: Hold::default(),
            verify: Verify::default(),
            follow: Follow::default(),
            invalidation: Invalidation::default(),
            by_hand: None,
            notices: BlockSet::default(),
            bits_uncovered: false,
            pieces: Pieces::default(),
            sync_buffers: Vec::new(),
            resize: Resize::default(),
            handlers: Handlers::default(),
            suspension: Suspension::default(),
            fencing: Fencing::default(),
            outdating: Outdating::default(),
            resume: Resume::default(),
            disk_watch: DiskWatch::default(),
            degraded: false,
            counters: Counters::default(),
            #[cfg(feature = "mutations")]
            mutation: None,
        }
    }

    /// Breaks a rule from now on, so that the simulator can show that it would notice.
    #[cfg(feature = "mutations")]
    pub const fn break_rule(&mut self, mutation: crate::mutation::Mutation) {
        self.mutation = Some(mutation);
    }

    /// True when this rule is broken on purpose. Never in a build without the switch.
    #[cfg(feature = "mutations")]
    fn breaks(&self, mutation: crate::mutation::Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    /// True when this rule is broken on purpose. Never in a build without the switch.
    #[cfg(not(feature = "mutations"))]
    #[expect(clippy::unused_self, reason = "the same call with and without the switch")]
    const fn breaks(&self, _: crate::mutation::Mutation) -> bool {
        false
    }

    /// Takes in what happened. `now` must never go back.
    ///
    /// # Panics
    /// When one of the engine's own invariants is broken: a replica that broke its rules must not
    /// go on writing.
    pub fn handle(&mut self, now: Moment, input: Input) {
        assert!(now >= self.now, "invariant: time does not go back");
        self.now = now;
        if self.has_stalled() {
            self.stalled();
        }
        match input {
            Input::DiskOpened(image) => self.attach(*image),
            Input::DiskOpenFailed { reason } => self.disk_open_failed(&reason),
            Input::DiskMeasured(measured) => self.disk_measured(measured),
            Input::DiskClosed => self.disk_closed(),
            Input::HandlerDone { id, exit } => self.handler_done(id, exit),
            Input::SyncBuffer(buffer) => {
                self.sync_buffers.push(buffer);
                self.guest_reads_more();
                self.sync_read_more();
                self.sync_pump();
                self.verify_reads_more();
                self.verify_pump();
            }
            Input::Request { id, op } => self.request(id, op),
            Input::Clients(count) => self.clients = count,
            Input::DiskDone { io, outcome } => self.disk_done(io, outcome),
            Input::DigestDone { io, read } => self.digest_done(io, read),
            Input::DigestsDone { io, read } => self.digests_done(io, read),
            Input::MetadataDone { io, outcome } => self.metadata_done(io, outcome),
            Input::LinkUp { link, origin } => self.link_up(link, origin),
            Input::DialFailed { reason } => self.dial_failed(&reason),
            Input::Received { link, message, payload } => self.received(link, message, payload),
            Input::LinkDown { link, reason } => self.link_down(link, &reason),
            Input::Command { id, command } => self.command(id, command),
            Input::Timer => {}
        }
        while let Some(timer) = self.timers.next_due(now) {
            self.timer_due(timer);
        }
        self.run_durable();
        self.who_waits_for_quiet();
        self.verify_watch();
        self.notices_send();
        self.persist_found();
        self.watch_for_data();
        self.held_answers_need_data();
        self.watch_for_stalls();
    }

    /// Whatever waits until nothing is under way any more looks again: in one place, after every
    /// input, so that no way in which something ends can be forgotten.
    fn who_waits_for_quiet(&mut self) {
        if !self.breaks(crate::mutation::Mutation::QuietUnheard) {
            self.demote_when_quiet();
        }
        self.promote_when_quiet();
        self.detach_when_quiet();
        self.detach_answer_when_over();
        self.resize_when_drained();
        self.leave_when_quiet();
    }

    /// The next wish, in the order in which they must be carried out.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When to call again with `Input::Timer` if nothing else happens before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        self.timers.next_deadline()
    }

    fn timer_due(&mut self, timer: Timer) {
        match timer {
            Timer::Dial => self.dial_due(),
            Timer::Handshake => self.handshake_overdue(),
            Timer::Alive => self.alive_due(),
            Timer::RoleChange => self.role_change_overdue(),
            Timer::Flush => self.flush_due(),
            Timer::SyncRate => {
                self.sync_pump();
                self.verify_pump();
            }
            Timer::Reconnect => self.reconnect_over(),
            Timer::Fence => self.fence_due(),
            Timer::Parting => self.part(),
            Timer::Resume => self.resume_due(),
            Timer::Disk => self.disk_overdue(),
            Timer::Stall => self.stall_unanswered(),
            Timer::Watch => {}
            Timer::Resize => self.resize_overdue(),
        }
    }

    fn wish(&mut self, output: Output) {
        self.out.extend(self.pieces.filter(output));
    }

    fn io(&mut self, purpose: Purpose) -> IoId {
        let io = IoId(self.ios.insert(purpose));
        self.disk_watch_begins(io);
        io
    }

    fn tell(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }

    fn notice(&mut self, level: Level, text: impl Into<String>) {
        self.tell(Event::Notice { level, text: text.into() });
    }
}
