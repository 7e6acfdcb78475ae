//! A scripted pair: two engines on one clock, with disks that complete, hang or fail as told, and
//! links that are cut as told.
//!
//! Nothing is chosen at random: what may complete completes in order, and time stands still until a
//! test lets it pass.

use crate::daemon::{new_disk, settings};
use metadata::units::ByteRange;
use replicator::digest::{DIGEST_BYTES, Digested};
use replicator::event::{
    Answer, ClientError, ClientOp, CloseHow, Command, Event, Input, IoOutcome, LinkOrigin, Output,
    Payload,
};
use replicator::ids::{BufferId, CommandId, IoId, LinkId, Moment, RequestId};
use replicator::message::Message;
use replicator::node::Node;
use replicator::state::ConnectionState;
use std::collections::{BTreeMap, VecDeque};

/// The first node in configured order.
pub(crate) const ALPHA: usize = 0;
/// The second one.
pub(crate) const BETA: usize = 1;
/// Every write of a client has so many bytes.
pub(crate) const WRITE_BYTES: u64 = 4096;

/// The buffer of every client's write; it is shared, for no bytes are moved.
const CLIENT_BUFFER: BufferId = BufferId(1);
/// The buffer of every payload that came over the wire.
const WIRE_BUFFER: BufferId = BufferId(500_000);
/// The resync buffers that each engine is lent.
pub(crate) const SYNC_BUFFERS: std::ops::Range<u32> = 1000..1008;
/// Steps without a rest after which the engines count as restless.
const STEPS_MAX: u32 = 1_000_000;
/// How long it takes at most until two nodes that can reach each other are in sync.
const MEETING_MS: u64 = 60_000;

/// What becomes of I/Os of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// They complete at once.
    Completes,
    /// They stay under way until told otherwise.
    Hangs,
    /// They fail at once.
    Fails,
}

impl Fate {
    /// How an I/O ends now; none: not yet.
    const fn outcome(self) -> Option<IoOutcome> {
        match self {
            Self::Completes => Some(IoOutcome::Done { crc32c: 0 }),
            Self::Hangs => None,
            Self::Fails => Some(IoOutcome::Failed { errno: 5 }),
        }
    }
}

/// Kinds of data I/O.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IoKind {
    Read,
    /// For comparison. No bytes are moved, so all are equal.
    Digest,
    Write,
    Flush,
}

/// One node with its disk and all that it has said.
pub(crate) struct Host {
    pub(crate) node: Node,
    /// Data I/Os under way, oldest first.
    data_ios: VecDeque<(IoId, IoKind)>,
    /// Metadata writes under way, oldest first.
    metadata_ios: VecDeque<IoId>,
    pub(crate) links: Vec<LinkId>,
    pub(crate) replies: BTreeMap<RequestId, Result<(), ClientError>>,
    pub(crate) answers: BTreeMap<CommandId, Answer>,
    /// What becomes of its writes and zeroings.
    pub(crate) writes: Fate,
    /// What becomes of its flushes.
    pub(crate) flushes: Fate,
    /// What becomes of its metadata writes.
    pub(crate) metadata: Fate,
    /// The engine gave its disk up, or has left it.
    pub(crate) disk_closed: bool,
    /// I/Os that were asked of the disk after that.
    pub(crate) ios_after_close: u32,
    /// Clients are let in.
    pub(crate) export_open: bool,
    /// The daemon has ended.
    pub(crate) stopped: bool,
    /// Buffers that the engine gave back, oldest first.
    pub(crate) released: Vec<BufferId>,
    /// Lines for the log, oldest first.
    pub(crate) events: Vec<Event>,
}

impl Host {
    fn new(index: usize) -> Self {
        let seed = [u8::try_from(index).expect("0 or 1") + 1; 32];
        Self {
            node: Node::new(settings(index), seed),
            data_ios: VecDeque::new(),
            metadata_ios: VecDeque::new(),
            links: Vec::new(),
            replies: BTreeMap::new(),
            answers: BTreeMap::new(),
            writes: Fate::Completes,
            flushes: Fate::Completes,
            metadata: Fate::Completes,
            disk_closed: false,
            ios_after_close: 0,
            export_open: false,
            stopped: false,
            released: Vec::new(),
            events: Vec::new(),
        }
    }

    const fn fate(&self, kind: IoKind) -> Fate {
        match kind {
            IoKind::Read | IoKind::Digest => Fate::Completes,
            IoKind::Write => self.writes,
            IoKind::Flush => self.flushes,
        }
    }

    fn data_io(&mut self, io: IoId, kind: IoKind) {
        self.ios_after_close += u32::from(self.disk_closed);
        self.data_ios.push_back((io, kind));
    }

    /// How often it has lost a connection whose handshake was over.
    pub(crate) fn connections_lost(&self) -> usize {
        let was_connected = |event: &&Event| {
            matches!(event, Event::Connection { old: ConnectionState::Connected, .. })
        };
        self.events.iter().filter(was_connected).count()
    }
}

/// Two hosts and the network between them.
pub(crate) struct Pair {
    /// [`ALPHA`] and [`BETA`].
    pub(crate) hosts: [Host; 2],
    pub(crate) now: Moment,
    /// What is on its way: to whom, on which link, and what it will be there.
    wire: VecDeque<(usize, LinkId, Input)>,
    network: bool,
    links_opened: u64,
    ids_given: u64,
}

/// Building it, and letting time pass.
impl Pair {
    /// Two nodes without disks that cannot reach each other.
    pub(crate) fn diskless() -> Self {
        let mut pair = Self {
            hosts: [Host::new(ALPHA), Host::new(BETA)],
            now: Moment(1),
            wire: VecDeque::new(),
            network: false,
            links_opened: 0,
            ids_given: 0,
        };
        for index in [ALPHA, BETA] {
            for buffer in SYNC_BUFFERS {
                pair.feed(index, Input::SyncBuffer(BufferId(buffer)));
            }
        }
        pair
    }

    /// Two nodes with new disks that cannot reach each other.
    pub(crate) fn apart(device_bytes: u64) -> Self {
        let mut pair = Self::diskless();
        for index in [ALPHA, BETA] {
            pair.attach(index, device_bytes);
        }
        pair
    }

    /// Connected and in sync, alpha is Primary.
    pub(crate) fn in_sync(device_bytes: u64) -> Self {
        let mut pair = Self::apart(device_bytes);
        let promotion = pair.command(ALPHA, Command::Primary { force: true });
        pair.settle();
        assert!(pair.is_done(ALPHA, promotion));
        pair.mend_network();
        pair.pass_ms(MEETING_MS);
        pair.assert_in_sync();
        pair
    }

    /// Gives a node a new disk.
    pub(crate) fn attach(&mut self, index: usize, device_bytes: u64) {
        self.feed(index, Input::DiskOpened(Box::new(new_disk(index, device_bytes))));
        self.settle();
    }

    /// Everything that may complete completes; time stands still.
    pub(crate) fn settle(&mut self) {
        for _ in 0..STEPS_MAX {
            let delivered = self.deliver();
            let mut completed = false;
            for index in [ALPHA, BETA] {
                completed |= self.complete_data_io(index);
                completed |= self.complete_metadata_io(index);
            }
            if !delivered && !completed {
                return;
            }
        }
        panic!("the pair never comes to rest");
    }

    /// Time passes, and everything that may complete does.
    pub(crate) fn pass_ms(&mut self, ms: u64) {
        let end = Moment(self.now.0 + ms * 1000);
        for _ in 0..STEPS_MAX {
            self.settle();
            let next = self.hosts.iter().filter_map(|host| host.node.next_deadline()).min();
            let Some(due) = next.filter(|due| *due <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(due);
            for index in [ALPHA, BETA] {
                self.feed(index, Input::Timer);
            }
        }
        panic!("a deadline never passes");
    }

    /// The oldest flush under way completes, whatever the fate of the others.
    pub(crate) fn complete_oldest_flush(&mut self, index: usize) {
        let ios = &mut self.hosts[index].data_ios;
        let oldest = ios.iter().position(|(_, kind)| *kind == IoKind::Flush);
        let (io, _) = oldest.and_then(|at| ios.remove(at)).expect("a flush is under way");
        self.feed(index, Input::DiskDone { io, outcome: IoOutcome::Done { crc32c: 0 } });
        self.settle();
    }

    /// Metadata writes that have not returned.
    pub(crate) fn metadata_ios_open(&self, index: usize) -> usize {
        self.hosts[index].metadata_ios.len()
    }

    /// The oldest metadata write under way completes, whatever the fate of the others.
    pub(crate) fn complete_oldest_metadata_io(&mut self, index: usize) {
        let io = self.hosts[index].metadata_ios.pop_front().expect("one is under way");
        let outcome = IoOutcome::Done { crc32c: 0 };
        self.feed(index, Input::MetadataDone { io, outcome });
        self.settle();
    }

    /// The writes and zeroings that are under way now complete, whatever the fate of those that
    /// follow; gives their number.
    pub(crate) fn complete_writes_under_way(&mut self, index: usize) -> usize {
        let ios = &mut self.hosts[index].data_ios;
        let (writes, others): (VecDeque<_>, VecDeque<_>) =
            ios.drain(..).partition(|(_, kind)| *kind == IoKind::Write);
        *ios = others;
        for (io, _) in &writes {
            self.feed(index, Input::DiskDone { io: *io, outcome: IoOutcome::Done { crc32c: 0 } });
        }
        self.settle();
        writes.len()
    }

    fn deliver(&mut self) -> bool {
        let Some((index, link, input)) = self.wire.pop_front() else { return false };
        let links = &mut self.hosts[index].links;
        if links.contains(&link) {
            if matches!(input, Input::LinkDown { .. }) {
                links.retain(|open| *open != link);
            }
            self.feed(index, input);
        }
        true
    }

    fn complete_data_io(&mut self, index: usize) -> bool {
        let host = &mut self.hosts[index];
        let ends = |(_, kind): &(IoId, IoKind)| host.fate(*kind).outcome().is_some();
        let Some(at) = host.data_ios.iter().position(ends) else { return false };
        let (io, kind) = host.data_ios.remove(at).expect("it was found there");
        let outcome = host.fate(kind).outcome().expect("it ends");
        let input = match kind {
            IoKind::Digest => {
                let read = Ok(Digested { crc32c: 0, digest: [0; DIGEST_BYTES] });
                Input::DigestDone { io, read }
            }
            IoKind::Read | IoKind::Write | IoKind::Flush => Input::DiskDone { io, outcome },
        };
        self.feed(index, input);
        true
    }

    fn complete_metadata_io(&mut self, index: usize) -> bool {
        let host = &mut self.hosts[index];
        let Some(outcome) = host.metadata.outcome() else { return false };
        let Some(io) = host.metadata_ios.pop_front() else { return false };
        self.feed(index, Input::MetadataDone { io, outcome });
        true
    }
}

/// What happens to the nodes.
impl Pair {
    /// An operator's command.
    pub(crate) fn command(&mut self, index: usize, command: Command) -> CommandId {
        self.ids_given += 1;
        let id = CommandId(self.ids_given);
        self.feed(index, Input::Command { id, command });
        id
    }

    /// A client's write of [`WRITE_BYTES`] at an offset in bytes.
    pub(crate) fn write(&mut self, index: usize, offset_bytes: u64) -> RequestId {
        let range = ByteRange::new(offset_bytes, WRITE_BYTES);
        let payload = Payload { buffer: CLIENT_BUFFER, bytes: WRITE_BYTES as u32, crc32c: 0 };
        self.request(index, ClientOp::Write { range, payload, fua: false })
    }

    /// A client's zeroing of the first bytes of the device.
    pub(crate) fn zero(&mut self, index: usize, bytes: u64) -> RequestId {
        let range = ByteRange::new(0, bytes);
        self.request(index, ClientOp::Zero { range, fua: false, may_unmap: true })
    }

    /// A client's flush.
    pub(crate) fn flush(&mut self, index: usize) -> RequestId {
        self.request(index, ClientOp::Flush)
    }

    fn request(&mut self, index: usize, op: ClientOp) -> RequestId {
        self.ids_given += 1;
        let id = RequestId(self.ids_given);
        self.feed(index, Input::Request { id, op });
        id
    }

    /// Somebody who is not the peer dials a node.
    pub(crate) fn stranger_dials(&mut self, index: usize) -> LinkId {
        let link = self.next_link();
        self.hosts[index].links.push(link);
        self.feed(index, Input::LinkUp { link, origin: LinkOrigin::Accepted });
        link
    }

    /// A message comes on a link, with the payload given.
    pub(crate) fn receive(
        &mut self,
        index: usize,
        link: LinkId,
        message: Message,
        payload: Option<Payload>,
    ) {
        self.feed(index, Input::Received { link, message, payload });
    }

    /// Every link breaks, and what was on it is lost. The nodes may dial anew.
    pub(crate) fn break_links(&mut self) {
        self.wire.clear();
        for index in [ALPHA, BETA] {
            for link in std::mem::take(&mut self.hosts[index].links) {
                self.feed(index, Input::LinkDown { link, reason: "the link broke".into() });
            }
        }
    }

    /// Every link breaks, and no dial succeeds.
    pub(crate) fn cut_network(&mut self) {
        self.network = false;
        self.break_links();
    }

    /// Dials succeed again.
    pub(crate) fn mend_network(&mut self) {
        self.network = true;
    }

    fn next_link(&mut self) -> LinkId {
        self.links_opened += 1;
        LinkId(self.links_opened)
    }

    fn feed(&mut self, index: usize, input: Input) {
        if self.hosts[index].stopped {
            return;
        }
        self.hosts[index].node.handle(self.now, input);
        while let Some(wish) = self.hosts[index].node.poll_output() {
            self.carry_out(index, wish);
        }
    }

    fn carry_out(&mut self, index: usize, wish: Output) {
        let host = &mut self.hosts[index];
        match wish {
            Output::DiskRead { io, .. } => host.data_io(io, IoKind::Read),
            Output::DiskDigest { io, .. } => host.data_io(io, IoKind::Digest),
            Output::DiskDigests { .. } => unreachable!("nobody verifies here"),
            Output::DiskWrite { io, .. } | Output::DiskZero { io, .. } => {
                host.data_io(io, IoKind::Write);
            }
            Output::DiskFlush { io } => host.data_io(io, IoKind::Flush),
            Output::MetadataWrite { io, .. } => {
                host.ios_after_close += u32::from(host.disk_closed);
                host.metadata_ios.push_back(io);
            }
            Output::Send { link, message, payload, .. } => self.send(index, link, message, payload),
            Output::Reply { request, result } => {
                let earlier = host.replies.insert(request, result);
                assert_eq!(earlier, None, "{request:?} is answered twice");
            }
            Output::Release(buffer) => {
                host.released.push(buffer);
                if SYNC_BUFFERS.contains(&buffer.0) {
                    self.feed(index, Input::SyncBuffer(buffer));
                }
            }
            Output::ResumeMark { .. } => {}
            Output::OpenExport { .. } => host.export_open = true,
            Output::CloseExport { .. } => host.export_open = false,
            Output::Dial => self.dial(index),
            Output::CloseLink { link, how } => self.close_link(index, link, how),
            Output::Answer { command, answer } => {
                let earlier = host.answers.insert(command, answer);
                assert_eq!(earlier, None, "{command:?} is answered twice");
            }
            Output::Event(event) => host.events.push(event),
            Output::CloseDisk => host.disk_closed = true,
            Output::CopyInto { .. } | Output::OpenDisk | Output::RunHandler { .. } => {}
            Output::MeasureDisk => {
                let reason = Err("not measured here".to_owned());
                self.feed(index, Input::DiskMeasured(reason));
            }
            Output::Stop => host.stopped = true,
        }
    }

    fn send(&mut self, index: usize, link: LinkId, message: Message, payload: Option<Payload>) {
        if self.network && self.hosts[index].links.contains(&link) {
            let payload = payload.map(|payload| Payload { buffer: WIRE_BUFFER, ..payload });
            self.wire.push_back((1 - index, link, Input::Received { link, message, payload }));
        }
    }

    fn dial(&mut self, index: usize) {
        if !self.network || self.hosts[1 - index].stopped {
            self.feed(index, Input::DialFailed { reason: "nobody is there".into() });
            return;
        }
        let link = self.next_link();
        for host in &mut self.hosts {
            host.links.push(link);
        }
        self.feed(index, Input::LinkUp { link, origin: LinkOrigin::Dialled });
        self.feed(1 - index, Input::LinkUp { link, origin: LinkOrigin::Accepted });
    }

    fn close_link(&mut self, index: usize, link: LinkId, how: CloseHow) {
        self.hosts[index].links.retain(|open| *open != link);
        if how == CloseHow::Abort {
            self.wire.retain(|(_, carrier, _)| *carrier != link);
        }
        let reason = "closed by the other end".into();
        self.wire.push_back((1 - index, link, Input::LinkDown { link, reason }));
    }
}
