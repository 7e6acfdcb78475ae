//! The loop: one thread that owns everything of a resource, and the order of its turn (rule D19).
//!
//! A turn: reap completions; the peer's socket, then timers and disks, then commands and clients,
//! each followed by the engine; then the peer's frames, the local disk and the clients' replies
//! leave together, in that order, with the one call that also waits for the next turn.

use super::disk_io::Work;
use super::disk_map::MapAnswer;
use super::disk_slot::DiskSlot;
use super::handle::{Order, Orders};
use super::peer_port::PeerPort;
use super::report::log_event;
use super::resume_mark::ResumeMark;
use super::token::{Source, Token};
use crate::frontend::{FrontEnd, MapWish};
use crate::handlers::HandlerRun;
use crate::ring::arena::{Pool, Span};
use crate::ring::{Completion, Interest, Operation, Ring};
use nbd_server::ExtentList;
use replicator::event::{Answer, Command, Input, Output};
use replicator::ids::{CommandId, LinkId, Moment};
use replicator::node::Node;
use replicator::settings::SYNC_PIECE_BYTES_MAX;
use replicator::state::{DiskState, Role};
use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

/// After the engine's last word, queued frames get so long to leave.
const LAST_SENDS_MS_MAX: u64 = 1_000;

/// Everything that the thread starts with.
pub(super) struct Parts {
    pub(super) ring: Ring,
    pub(super) node: Node,
    pub(super) peer: PeerPort,
    pub(super) clients: FrontEnd,
    pub(super) disk: DiskSlot,
    pub(super) orders: Orders,
    pub(super) resume_mark: ResumeMark,
    /// For the control room, which runs the handlers.
    pub(super) handler_wishes: UnboundedSender<HandlerRun>,
}

/// The thread's state.
pub(super) struct IoThread {
    ring: Ring,
    node: Node,
    peer: PeerPort,
    clients: FrontEnd,
    disk: DiskSlot,
    orders: Orders,
    resume_mark: ResumeMark,
    handler_wishes: UnboundedSender<HandlerRun>,
    commands: Vec<(CommandId, oneshot::Sender<Answer>)>,
    commands_ever: u64,
    inputs: VecDeque<Input>,
    /// Links that the engine closed while inputs of theirs may still wait.
    closed_links: Vec<LinkId>,
    began: Instant,
    now: Moment,
    stop_at: Option<Moment>,
}

/// Order in which the completions of a turn are dealt with (rule D19).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rank {
    Peer,
    Disk,
    Clients,
}

const fn rank(source: Source) -> Rank {
    match source {
        Source::LinkReceive | Source::LinkSend | Source::PeerListener | Source::Dial => Rank::Peer,
        Source::Disk | Source::Metadata => Rank::Disk,
        Source::Wake | Source::ClientListener | Source::ClientReceive | Source::ClientSend => {
            Rank::Clients
        }
    }
}

impl IoThread {
    /// A thread that has not begun.
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { ring, node, peer, clients, disk, orders, handler_wishes, resume_mark } = parts;
        Self {
            ring,
            node,
            peer,
            clients,
            disk,
            orders,
            resume_mark,
            handler_wishes,
            commands: Vec::new(),
            commands_ever: 0,
            inputs: VecDeque::new(),
            closed_links: Vec::new(),
            began: Instant::now(),
            now: Moment::default(),
            stop_at: None,
        }
    }

    /// Runs until the engine says stop. `disk` is what became of the disk.
    ///
    /// # Errors
    /// When the kernel refuses the ring.
    pub(super) fn run(mut self, disk: Input) -> io::Result<()> {
        self.inputs.push_back(disk);
        self.lend_sync_buffers();
        self.feed();
        self.peer.listen(&mut self.ring);
        self.clients.listen(&mut self.ring);
        self.listen_to_orders();
        let mut done = Vec::with_capacity(256);
        loop {
            self.depart();
            if self.is_over() {
                break;
            }
            let timeout = self.timeout();
            done.clear();
            self.ring.wait(timeout, &mut done)?;
            self.now = self.clock();
            self.turn(&done);
        }
        self.clients.remove_socket();
        Ok(())
    }

    fn turn(&mut self, done: &[Completion]) {
        self.deal_with(done, Rank::Peer);
        self.feed();
        if self.node.next_deadline().is_some_and(|deadline| deadline <= self.now) {
            self.inputs.push_back(Input::Timer);
        }
        self.expire();
        self.deal_with(done, Rank::Disk);
        self.feed();
        self.deal_with(done, Rank::Clients);
        self.feed();
    }

    fn deal_with(&mut self, done: &[Completion], wanted: Rank) {
        for completion in done {
            let token = Token::unpack(completion.token);
            if rank(token.source) == wanted {
                self.completed(token, completion.result);
            }
        }
    }

    fn completed(&mut self, token: Token, result: i32) {
        let Self { ring, peer, clients, disk, inputs, now, .. } = self;
        match token.source {
            Source::LinkReceive => peer.received(ring, token, result, inputs),
            Source::LinkSend => peer.sent(ring, token, result, inputs),
            Source::PeerListener => peer.accept(ring, inputs),
            Source::Dial => peer.dialled(ring, token, inputs),
            Source::ClientReceive => clients.received(ring, token, result, inputs),
            Source::ClientSend => clients.sent(ring, token, result, inputs),
            Source::ClientListener => clients.accept(ring, token.place, *now),
            Source::Wake => self.take_orders(),
            Source::Disk => inputs.extend(disk.completed(ring, token.place, result)),
            Source::Metadata => inputs.extend(disk.metadata_completed(result)),
        }
    }

    /// Gives the engine everything that waits, and carries out what it wishes, until both are
    /// quiet.
    fn feed(&mut self) {
        while let Some(input) = self.inputs.pop_front() {
            if self.is_of_closed_link(&input) {
                continue;
            }
            self.node.handle(self.now, input);
            while let Some(output) = self.node.poll_output() {
                self.carry_out(output);
            }
        }
        self.closed_links.clear();
    }

    /// What came in one batch with the message that made the engine close the link is not delivered
    /// (rule D15).
    fn is_of_closed_link(&mut self, input: &Input) -> bool {
        let (link, payload) = match input {
            Input::Received { link, payload, .. } => (link, *payload),
            Input::LinkUp { link, .. } | Input::LinkDown { link, .. } => (link, None),
            Input::DiskOpened(_)
            | Input::SyncBuffer(_)
            | Input::Request { .. }
            | Input::Clients(_)
            | Input::DiskDone { .. }
            | Input::DigestDone { .. }
            | Input::DigestsDone { .. }
            | Input::MetadataDone { .. }
            | Input::DiskOpenFailed { .. }
            | Input::DiskMeasured(_)
            | Input::DiskClosed
            | Input::HandlerDone { .. }
            | Input::DialFailed { .. }
            | Input::Command { .. }
            | Input::Timer => return false,
        };
        let is_closed = self.closed_links.contains(link);
        if is_closed && let Some(payload) = payload {
            self.ring.arena_mut().release(payload.buffer);
        }
        is_closed
    }

    fn carry_out(&mut self, output: Output) {
        let Self { ring, peer, clients, disk, inputs, now, .. } = self;
        match output {
            Output::DiskRead { io, range, buffer, checksum } => {
                disk.start(io, Work::Read { range, buffer, checksum });
            }
            Output::DiskDigest { io, range, buffer } => {
                disk.start(io, Work::Digest { range, buffer });
            }
            Output::DiskDigests { io, range, buffer } => {
                disk.start(io, Work::Digests { range, buffer });
            }
            Output::DiskWrite { io, range, buffer, fua } => {
                disk.start(io, Work::Write { range, buffer, fua });
            }
            Output::DiskZero { io, range, fua, may_unmap } => {
                disk.start(io, Work::Zero { range, fua, may_unmap });
            }
            Output::DiskFlush { io } => disk.start(io, Work::Flush),
            Output::MetadataWrite { io, offset_bytes, pages } => {
                disk.start_metadata(io, offset_bytes, pages);
            }
            Output::Send { link, message, payload, lane } => {
                peer.send(ring.arena_mut(), link, &message, payload, lane);
            }
            Output::CopyInto { from, to, offset_bytes, bytes } => {
                let from = Span { buffer: from, start: 0, bytes };
                let to = Span { buffer: to, start: offset_bytes, bytes };
                ring.arena_mut().copy(from, to);
            }
            Output::Reply { request, result } => clients.reply(ring, request, result, inputs),
            Output::Release(buffer) => ring.arena_mut().release(buffer),
            Output::OpenExport { size_bytes, block_bytes_min, trim } => {
                clients.open_export(size_bytes, block_bytes_min, trim);
            }
            Output::CloseExport { message } => clients.close_export(message),
            Output::Dial => peer.dial(ring, *now, inputs),
            Output::CloseLink { link, how } => {
                peer.close(ring, link, how, *now);
                self.closed_links.push(link);
            }
            Output::Answer { command, answer } => self.answer(command, answer),
            Output::Event(event) => log_event(&event),
            Output::OpenDisk => inputs.extend(disk.begin_opening()),
            Output::MeasureDisk => inputs.push_back(Input::DiskMeasured(disk.measure())),
            Output::CloseDisk => disk.leave(),
            Output::RunHandler { id, handler } => {
                // A control room that is gone runs nothing any more.
                if self.handler_wishes.send(HandlerRun { id, handler }).is_err() {
                    inputs.push_back(Input::HandlerDone { id, exit: None });
                }
            }
            Output::ResumeMark(change) => clients.promotion(self.resume_mark.set(change)),
            Output::Stop => {
                let limit = Duration::from_millis(LAST_SENDS_MS_MAX);
                self.stop_at = Some(self.now.after(limit));
            }
        }
    }

    /// Lets everything leave: the peer's frames first, then the local disk, then the clients'
    /// replies.
    fn depart(&mut self) {
        self.lend_sync_buffers();
        // Sessions that waited for buffers may go on; what they ask for belongs to this turn.
        self.clients.resume(&mut self.ring, &mut self.inputs);
        self.ask_maps();
        self.feed();
        self.peer.kick(&mut self.ring);
        self.disk.kick(&mut self.ring);
        self.clients.kick(&mut self.ring);
        if let Some(closed) = self.disk.close_if_idle(&mut self.ring) {
            self.inputs.push_back(closed);
        }
    }

    /// Questions of clients about holes go to the own disk when what it says counts.
    fn ask_maps(&mut self) {
        while let Some(wish) = self.clients.next_map() {
            let asked = if self.own_disk_counts() { self.disk.ask_map(wish) } else { Err(wish) };
            if let Err(wish) = asked {
                self.clients.mapped(&mut self.ring, &wish, wish.unknown(), &mut self.inputs);
            }
        }
    }

    /// What the disk said counts only if it still has the data that clients see.
    fn map_answered(&mut self, wish: &MapWish, extents: ExtentList) {
        let extents = if self.own_disk_counts() { extents } else { wish.unknown() };
        self.clients.mapped(&mut self.ring, wish, extents, &mut self.inputs);
    }

    fn own_disk_counts(&self) -> bool {
        let status = self.node.status(self.now);
        // While it is frozen another node may have newer data (G5).
        let is_frozen = status.suspended.any();
        status.role == Role::Primary && status.disk == DiskState::UpToDate && !is_frozen
    }

    fn lend_sync_buffers(&mut self) {
        while let Some(buffer) = self.ring.arena_mut().allocate(Pool::Sync, SYNC_PIECE_BYTES_MAX) {
            self.inputs.push_back(Input::SyncBuffer(buffer));
        }
    }

    fn expire(&mut self) {
        let Self { ring, peer, clients, inputs, now, .. } = self;
        if peer.deadline().is_some_and(|deadline| deadline <= *now) {
            peer.expire(ring, *now, inputs);
        }
        if clients.deadline().is_some_and(|deadline| deadline <= *now) {
            clients.expire(ring, *now, inputs);
        }
    }

    fn listen_to_orders(&mut self) {
        let token = Token { source: Source::Wake, place: 0, use_number: 0 }.pack();
        let fd = self.orders.wake.as_fd();
        self.ring.submit(token, Operation::Poll { fd, interest: Interest::Readable });
    }

    fn take_orders(&mut self) {
        let mut count = [0; 8];
        // It is readable; if not, the orders below are there all the same.
        let _ = rustix::io::read(&*self.orders.wake, &mut count);
        while let Ok(order) = self.orders.orders.try_recv() {
            match order {
                Order::Command { command, answer } => self.command(command, answer),
                Order::AdoptKernel { socket, answer } => {
                    let taken = self.clients.adopt(&mut self.ring, socket, &mut self.inputs);
                    // Whoever does not wait any more sees the end of the socket.
                    drop(answer.send(taken));
                }
                Order::Mapped(MapAnswer { wish, extents }) => self.map_answered(&wish, extents),
                Order::ShutClients => self.clients.shut(&mut self.ring, &mut self.inputs),
                Order::HandlerDone { id, exit } => {
                    self.inputs.push_back(Input::HandlerDone { id, exit });
                }
                Order::DiskOpened(result) => {
                    self.inputs.extend(self.disk.opened(&mut self.ring, *result));
                }
            }
        }
        self.listen_to_orders();
    }

    fn command(&mut self, command: Command, answer: oneshot::Sender<Answer>) {
        // Whoever went away meanwhile needs no place here.
        self.commands.retain(|(_, waiting)| !waiting.is_closed());
        self.commands_ever += 1;
        let id = CommandId(self.commands_ever);
        self.commands.push((id, answer));
        self.inputs.push_back(Input::Command { id, command });
    }

    fn answer(&mut self, id: CommandId, answer: Answer) {
        if let Some(at) = self.commands.iter().position(|(waiting, _)| *waiting == id) {
            let (_, sender) = self.commands.swap_remove(at);
            // Whoever asked may have stopped waiting.
            drop(sender.send(answer));
        }
    }

    fn is_over(&self) -> bool {
        self.stop_at.is_some_and(|limit| self.peer.is_quiet() || limit <= self.now)
    }

    fn timeout(&self) -> Option<Duration> {
        let deadlines = [
            self.node.next_deadline(),
            self.peer.deadline(),
            self.clients.deadline(),
            self.stop_at,
        ];
        let next = deadlines.into_iter().flatten().min()?;
        Some(next.since(self.clock()))
    }

    fn clock(&self) -> Moment {
        let passed = u64::try_from(self.began.elapsed().as_micros());
        Moment(passed.expect("invariant: a daemon runs for less than 500 000 years"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peer_is_handled_before_disks_and_disks_before_clients() {
        assert_eq!(rank(Source::LinkReceive), Rank::Peer);
        assert_eq!(rank(Source::Metadata), Rank::Disk);
        assert_eq!(rank(Source::ClientReceive), Rank::Clients);
    }
}
