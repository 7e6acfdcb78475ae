//! Growing the device, as the Primary leads it (rule D20): both disks are measured, clients wait,
//! both nodes make the new metadata durable, then the Secondary and after it the Primary commit the
//! size. Only then anything is written above the old one.

use super::Node;
use super::flush::Waiter;
use super::persist::Then;
use super::promote::{RoleChange, state};
use super::resize_disk::Proposal;
use super::resize_peer::Led;
use super::{Sync, replica::Attached};
use crate::event::{ClientOp, DiskSize, Level, Output, Payload, Refusal};
use crate::generation::End;
use crate::ids::{CommandId, RequestId};
use crate::message::Message;
use crate::mutation::Mutation;
use crate::state::{DiskState, Role};
use crate::timers::Timer;
use metadata::layout::{Layout, SECTOR_BYTES};
use std::collections::VecDeque;

/// A resize that takes longer than so many `timeout`s is given up: clients wait for it.
const RESIZE_TIMEOUTS: u32 = 7;

/// What the operator asked for.
#[derive(Debug, Clone, Copy)]
struct Order {
    command: CommandId,
    size_bytes: Option<u64>,
    assume_clean: bool,
}

/// How far the Primary is.
#[derive(Debug, Clone, Copy, Default)]
enum Stage {
    #[default]
    Idle,
    /// Both disks are being measured.
    Measuring { order: Order, mine: Option<Layout>, room: Option<u64> },
    /// Clients wait; what they began before is being finished and flushed on both disks.
    Draining { order: Order, proposal: Proposal },
    /// First step: the metadata of both.
    Preparing { order: Order, proposal: Proposal, mine: bool, peers: bool },
    /// Second step: the peer commits.
    PeerCommits { order: Order, proposal: Proposal },
    /// Second step: this node commits.
    Commits { order: Order, proposal: Proposal },
}

/// The resize under way, and who waits for it.
#[derive(Debug, Default)]
pub(super) struct Resize {
    stage: Stage,
    /// Counts the resizes: what an earlier one began and gave up does not count for this one.
    pub(super) attempt: u64,
    /// Requests that came meanwhile, in order.
    held: VecDeque<(RequestId, ClientOp)>,
    /// The other end: what the Primary has this node do.
    pub(super) led: Led,
}

impl Resize {
    pub(super) const fn is_under_way(&self) -> bool {
        !matches!(self.stage, Stage::Idle)
    }

    /// One is under way, on whichever end: no resync may begin, for its bitmap would be of another
    /// size than its device.
    pub(super) const fn changes_the_size(&self) -> bool {
        self.is_under_way() || !matches!(self.led, Led::Nothing)
    }

    /// Clients' writes and flushes wait.
    pub(super) const fn holds(&self) -> bool {
        match self.stage {
            Stage::Idle | Stage::Measuring { .. } => false,
            Stage::Draining { .. }
            | Stage::Preparing { .. }
            | Stage::PeerCommits { .. }
            | Stage::Commits { .. } => true,
        }
    }

    pub(super) fn hold(&mut self, request: RequestId, op: ClientOp) {
        self.held.push_back((request, op));
    }

    /// What is under way here as the Primary.
    pub(super) const fn own_proposal(&self) -> Option<Proposal> {
        match self.stage {
            Stage::Idle | Stage::Measuring { .. } => None,
            Stage::Draining { proposal, .. }
            | Stage::Preparing { proposal, .. }
            | Stage::PeerCommits { proposal, .. }
            | Stage::Commits { proposal, .. } => Some(proposal),
        }
    }

    const fn order(&self) -> Option<Order> {
        match self.stage {
            Stage::Idle => None,
            Stage::Measuring { order, .. }
            | Stage::Draining { order, .. }
            | Stage::Preparing { order, .. }
            | Stage::PeerCommits { order, .. }
            | Stage::Commits { order, .. } => Some(order),
        }
    }
}

impl Node {
    pub(super) fn resize(
        &mut self,
        command: CommandId,
        size_bytes: Option<u64>,
        assume_clean: bool,
    ) {
        if let Err(refusal) = self.may_resize(assume_clean) {
            self.answer(command, Err(refusal));
            return;
        }
        self.resize.attempt += 1;
        let order = Order { command, size_bytes, assume_clean };
        self.resize.stage = Stage::Measuring { order, mine: None, room: None };
        self.resize_deadline();
        self.send(Message::ResizeAsk);
        self.wish(Output::MeasureDisk);
    }

    /// A message of a resize; no other is left for a connected peer.
    pub(super) fn resize_received(&mut self, message: Message, payload: Option<Payload>) {
        match (message, payload) {
            (Message::ResizeAsk, None) => self.resize_ask_received(),
            (Message::ResizeRoom { room_bytes, refusal }, None) => {
                self.resize_room_received(room_bytes, refusal);
            }
            (Message::ResizePrepare { size_bytes, assume_clean }, None) => {
                self.resize_prepare_received(size_bytes, assume_clean);
            }
            (Message::ResizePrepared, None) => self.resize_prepared_received(),
            (Message::ResizeCommit, None) => self.resize_commit_received(),
            (Message::ResizeCommitted, None) => self.resize_committed_received(),
            (Message::ResizeEnd { done }, None) => self.resize_end_received(done),
            (message, payload) => self.out_of_turn(&message, payload),
        }
    }

    fn resize_deadline(&mut self) {
        let limit = self.settings.net.timeout * RESIZE_TIMEOUTS;
        self.timers.set(Timer::Resize, self.now.after(limit));
    }

    /// A resize needs a Primary that is connected, both disks whole, and nothing else under way
    /// (drbd-facts 6.2).
    fn may_resize(&self, assume_clean: bool) -> Result<(), Refusal> {
        let (me, peer) = (self.settings.my_name(), self.settings.peer_name());
        let refuse = |text: String| Err(state(text));
        if self.role != Role::Primary {
            return refuse(format!(
                "{me} is Secondary; run 'blkrep resize' on the Primary, and 'blkrep primary' first if there \
                 is none"
            ));
        }
        let Some(connected) = self.peer.connected() else {
            return refuse(format!(
                "{peer} is not connected, and a device grows on both nodes at once; run 'blkrep connect' and \
                 try again"
            ));
        };
        if self.resize.is_under_way() || self.role_change != RoleChange::None {
            return refuse(
                "another resize or a change of role is under way; try again when it is over".into(),
            );
        }
        if !matches!(self.sync, Sync::Idle) {
            return refuse(
                "a resync is under way; wait for it with 'blkrep wait-sync' and try again".into(),
            );
        }
        if self.verify.is_busy() {
            return refuse(
                "a verify is under way; try again when it is over, or end it with 'blkrep disconnect' and \
                 'blkrep connect'"
                    .into(),
            );
        }
        for (name, disk) in [(me, self.replica.state()), (peer, connected.disk)] {
            if disk != DiskState::UpToDate {
                return refuse(format!(
                    "the disk of {name} is {disk}; a device grows when both disks are UpToDate"
                ));
            }
        }
        let zeroes = self.replica.attached().is_some_and(|disk| disk.zeroes_cheaply)
            && connected.zeroes_cheaply;
        if assume_clean && !zeroes {
            return refuse(
                "--assume-clean zeroes the new part on both nodes, and one of the two disks cannot do that \
                 without writing it all; leave the option out, and the new part is copied"
                    .into(),
            );
        }
        Ok(())
    }

    /// The own disk was measured, for the own resize or for the peer's.
    pub(super) fn disk_measured(&mut self, measured: Result<DiskSize, String>) {
        let layout = self.layout_now(measured);
        if !matches!(self.resize.stage, Stage::Measuring { .. }) {
            self.resize_tell_room(layout);
            return;
        }
        match layout {
            Ok(layout) => {
                if let Stage::Measuring { mine, .. } = &mut self.resize.stage {
                    *mine = Some(layout);
                }
                self.resize_when_measured();
            }
            Err(why) => {
                let text = format!("the disk of {} cannot grow: {why}", self.settings.my_name());
                self.resize_ends(Err(state(text)));
            }
        }
    }

    /// Where everything would lie at the size that the disk has now.
    fn layout_now(&self, measured: Result<DiskSize, String>) -> Result<Layout, String> {
        let size = measured?;
        let disk = self.replica.attached().ok_or("it is not attached")?;
        disk.layout.grown(size.data_bytes, size.meta_bytes).map_err(|error| error.to_string())
    }

    pub(super) fn resize_room_received(&mut self, bytes: u64, refusal: Option<String>) {
        let Stage::Measuring { room, .. } = &mut self.resize.stage else { return };
        *room = Some(bytes);
        match refusal {
            Some(why) => {
                let text = format!("the disk of {} cannot grow: {why}", self.settings.peer_name());
                self.resize_ends(Err(state(text)));
            }
            None => self.resize_when_measured(),
        }
    }

    fn resize_when_measured(&mut self) {
        let Stage::Measuring { order, mine: Some(layout), room: Some(room) } = self.resize.stage
        else {
            return;
        };
        match self.size_to_propose(order.size_bytes, layout.data_bytes, room) {
            Err(refusal) => self.resize_ends(Err(refusal)),
            Ok(None) => self.resize_ends(Ok(())),
            Ok(Some(size_bytes)) => {
                let assume_clean = order.assume_clean;
                let proposal = Proposal { layout, size_bytes, assume_clean };
                self.resize.stage = Stage::Draining { order, proposal };
                self.notice(Level::Info, format!("resize: to {size_bytes} bytes; clients wait"));
            }
        }
    }

    /// The new size; none when the device has it already.
    fn size_to_propose(
        &self,
        wanted: Option<u64>,
        mine: u64,
        peers: u64,
    ) -> Result<Option<u64>, Refusal> {
        let (me, peer) = (self.settings.my_name(), self.settings.peer_name());
        let agreed = self.replica.attached().map_or(0, Attached::size_bytes);
        let (room, smaller) = if mine <= peers { (mine, me) } else { (peers, peer) };
        let size = wanted.unwrap_or(room) / SECTOR_BYTES * SECTOR_BYTES;
        if size < agreed {
            return Err(state(format!(
                "the device has {agreed} bytes, and a smaller one of {size} would cut off data: only growing \
                 is possible; to shrink it, copy the data to a new, smaller resource"
            )));
        }
        if size > room {
            return Err(state(format!(
                "the disk of {smaller} has room for {room} bytes; enlarge it first, or ask for less"
            )));
        }
        if size == agreed && wanted.is_none() && mine != peers {
            // The operator enlarged one disk and expects a larger device.
            return Err(state(format!(
                "the device has {agreed} bytes, and the disk of {smaller} has room for no more; enlarge that \
                 one as well, and run 'blkrep resize' again"
            )));
        }
        Ok(Some(size).filter(|size| *size != agreed))
    }

    /// Everything that clients began is done: both disks are flushed, so that the log is empty.
    pub(super) fn resize_when_drained(&mut self) {
        let Stage::Draining { .. } = self.resize.stage else { return };
        if self.writes.open_count() == 0 && self.pairs.is_quiet() {
            self.pair_begin(vec![Waiter::Resize]);
        }
    }

    /// First step, on both nodes at once.
    pub(super) fn resize_flushed(&mut self) {
        let Stage::Draining { order, proposal } = self.resize.stage else { return };
        if !matches!(self.sync, Sync::Idle) && !self.breaks(Mutation::ResyncWhileGrowing) {
            self.resize_gives_up("a resync has begun");
            return;
        }
        self.resize.stage = Stage::Preparing { order, proposal, mine: false, peers: false };
        let Proposal { size_bytes, assume_clean, .. } = proposal;
        self.send(Message::ResizePrepare { size_bytes, assume_clean });
        self.alive_work_began();
        self.resize_prepare(proposal);
    }

    /// The first step is durable here.
    pub(super) fn resize_prepared_here(&mut self, attempt: u64) {
        if attempt != self.resize.attempt {
            return;
        }
        if let Stage::Preparing { mine, .. } = &mut self.resize.stage {
            *mine = true;
        }
        self.resize_when_prepared();
    }

    pub(super) fn resize_prepared_received(&mut self) {
        if let Stage::Preparing { peers, .. } = &mut self.resize.stage {
            *peers = true;
        }
        self.resize_when_prepared();
    }

    fn resize_when_prepared(&mut self) {
        let Stage::Preparing { order, proposal, mine: true, peers: true } = self.resize.stage
        else {
            return;
        };
        self.resize.stage = Stage::PeerCommits { order, proposal };
        self.send(Message::ResizeCommit);
        if self.breaks(Mutation::ResizeUnasked) {
            self.resize_committed_received();
        }
    }

    /// The peer's commit is durable: if it is promoted from now on, it uses the new size. So may
    /// this node, when its own commit is durable.
    pub(super) fn resize_committed_received(&mut self) {
        let Stage::PeerCommits { order, proposal } = self.resize.stage else { return };
        self.resize.stage = Stage::Commits { order, proposal };
        let attempt = self.resize.attempt;
        self.persist_superblock(
            |superblock| {
                superblock.device_bytes = proposal.size_bytes;
                superblock.proposed_bytes = 0;
            },
            Some(Then::ResizeCommitted { attempt }),
        );
    }

    /// Both have committed: clients see the new size when they connect again, and the new part is
    /// copied.
    pub(super) fn resize_committed_here(&mut self, attempt: u64) {
        let Stage::Commits { proposal, .. } = self.resize.stage else { return };
        if attempt != self.resize.attempt {
            return;
        }
        self.send(Message::ResizeEnd { done: true });
        self.peer_has_own_size();
        self.export_has_size();
        let text = format!(
            "resize: the device has {} bytes now; NBD clients see that when they connect again",
            proposal.size_bytes
        );
        self.notice(Level::Info, text);
        self.resync_in_session(End::Source);
        self.resize_ends(Ok(()));
    }

    /// New clients are told the size as it is now.
    pub(super) fn export_has_size(&mut self) {
        let Some(disk) = self.replica.attached() else { return };
        if self.role == Role::Primary {
            let export = Output::OpenExport {
                size_bytes: disk.size_bytes(),
                block_bytes_min: disk.superblock.logical_block_bytes,
                trim: disk.zeroes_cheaply,
            };
            self.wish(export);
        }
    }

    /// The peer, its disk, or the own one is gone, or somebody takes too long.
    pub(super) fn resize_gives_up(&mut self, why: &str) {
        let committed = matches!(self.resize.stage, Stage::Commits { .. });
        if !self.resize.is_under_way() || (committed && self.replica.attached().is_some()) {
            // What the peer has committed is committed here as well, with or without it.
            return;
        }
        let size = self.replica.attached().map_or(0, Attached::size_bytes);
        let text = format!(
            "the resize was broken off: {why}; the device keeps its {size} bytes. Run 'blkrep resize' again when both \
             nodes are connected"
        );
        self.resize_ends(Err(state(text)));
    }

    pub(super) fn resize_overdue(&mut self) {
        if self.resize.is_under_way() {
            self.resize_gives_up("a node took too long");
            self.drop_session("a step of the resize took too long");
        }
    }

    fn resize_ends(&mut self, result: Result<(), Refusal>) {
        let Some(order) = self.resize.order() else { return };
        // Also a peer that has only measured its disk takes part until it hears this.
        let told = match self.resize.stage {
            Stage::Idle | Stage::Commits { .. } => false,
            Stage::Measuring { .. }
            | Stage::Draining { .. }
            | Stage::Preparing { .. }
            | Stage::PeerCommits { .. } => true,
        };
        self.resize.stage = Stage::Idle;
        self.timers.stop(Timer::Resize);
        if told {
            self.send(Message::ResizeEnd { done: false });
        }
        self.bitmap_has_agreed_size();
        self.answer(order.command, result);
        for (request, op) in std::mem::take(&mut self.resize.held) {
            self.request(request, op);
        }
    }
}
