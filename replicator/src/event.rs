//! The whole contract between the engine and the world: what happened (`Input`) and what should
//! happen (`Output`).
//!
//! The caller feeds one [`Input`] to `Node::handle(now, input)`, carries out every [`Output`] in
//! order, and calls again with `Input::Timer` when `Node::next_deadline()` has come. An I/O error
//! is an input, not a `Result`.
//!
//! Buffers: a buffer that comes in with an input belongs to the engine until it says
//! [`Output::Release`]. The caller keeps it busy beyond that while an I/O or a send that it was
//! named in is under way. Resync buffers are lent to the engine by [`Input::SyncBuffer`], at the
//! start and again each time one is free.

use crate::digest::{Digest, Digested};
use crate::ids::{BufferId, CommandId, HandlerId, IoId, LinkId, RequestId};
use crate::message::Message;
use metadata::layout::Layout;
use metadata::superblock::Superblock;
use metadata::units::ByteRange;

pub use crate::command::{Answer, Command, Refusal, RefusalClass, RepairFrom};
pub use crate::handler::Handler;
pub use crate::log_line::{Event, Level};
pub use crate::resume_mark::ResumeMark;

/// Bytes in a buffer, with the checksum taken when they arrived (rule D11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload {
    /// Where they are.
    pub buffer: BufferId,
    /// How many, at most `PIECE_BYTES_MAX`.
    pub bytes: u32,
    /// crc32c of them.
    pub crc32c: u32,
}

/// A client's request, already validated against the export (range, alignment, size).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientOp {
    /// Fill `buffer` with `range` (at most `PIECE_BYTES_MAX`).
    Read {
        /// What to read.
        range: ByteRange,
        /// Where to.
        buffer: BufferId,
    },
    /// Write the payload at `range`.
    Write {
        /// Where to.
        range: ByteRange,
        /// The bytes.
        payload: Payload,
        /// Durable on both disks before the answer (D3).
        fua: bool,
    },
    /// Make `range` read as zeroes. Of any size: the engine executes it in pieces (D1).
    Zero {
        /// What to zero.
        range: ByteRange,
        /// Durable on both disks before the answer.
        fua: bool,
        /// The client allows the space to be given back.
        may_unmap: bool,
    },
    /// The client does not need `range` any more, which may be of any size. Zeroing where that is
    /// cheap on both disks, else nothing (D11).
    Trim {
        /// What to forget.
        range: ByteRange,
        /// Durable before the answer.
        fua: bool,
    },
    /// Make everything durable that was answered before (D3).
    Flush,
}

/// What the event loop found when it opened the disk under its lock.
#[derive(Debug)]
pub struct DiskImage {
    /// The newest superblock.
    pub superblock: Superblock,
    /// Where everything lies.
    pub layout: Layout,
    /// All pages of the activity log's ring.
    pub log_ring: Vec<u8>,
    /// All pages of the bitmap.
    pub bitmap: Vec<u8>,
    /// This boot of the machine (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: [u8; 16],
    /// Alignment that the disk wants for direct I/O, in bytes.
    pub logical_block_bytes: u32,
    /// Zeroing a range costs no writing of zeroes.
    pub zeroes_cheaply: bool,
    /// Places of superblock pairs of this replica where the disk ended before it grew: a move that
    /// broke off (D20). They are voided before anything else is written.
    pub stale_superblocks: Vec<[u64; 2]>,
}

/// What the devices measure now, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSize {
    /// The data device.
    pub data_bytes: u64,
    /// What holds the metadata; the same device when they are internal.
    pub meta_bytes: u64,
}

/// How an I/O ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoOutcome {
    /// It is completed (not necessarily durable). For a read that asked for it: crc32c of the
    /// bytes, else 0.
    Done {
        /// Checksum of what was read.
        crc32c: u32,
    },
    /// It failed with this `errno`.
    Failed {
        /// The operating system's error number.
        errno: i32,
    },
}

/// Which end opened a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkOrigin {
    /// This node dialled.
    Dialled,
    /// The peer dialled.
    Accepted,
}

/// Everything that can happen to a node.
#[derive(Debug)]
pub enum Input {
    /// The disk is open, locked and its metadata are read.
    DiskOpened(Box<DiskImage>),
    /// The disk asked for by `Output::OpenDisk` cannot be opened.
    DiskOpenFailed {
        /// In words.
        reason: String,
    },
    /// What `Output::MeasureDisk` asked for, or why it is not known, in words.
    DiskMeasured(Result<DiskSize, String>),
    /// All I/O of the disk that was given up by `Output::CloseDisk` has returned, and it is closed.
    DiskClosed,
    /// A handler has ended.
    HandlerDone {
        /// Which run.
        id: HandlerId,
        /// Its exit code; none when it could not be started, was killed, or took too long.
        exit: Option<i32>,
    },
    /// The event loop lends a resync buffer of `SYNC_PIECE_BYTES_MAX` bytes.
    SyncBuffer(BufferId),
    /// A client asks; only while the export is open.
    Request {
        /// Its name.
        id: RequestId,
        /// What it asks.
        op: ClientOp,
    },
    /// So many clients are connected now (they count as openers of the device).
    Clients(u32),
    /// A data I/O ended.
    DiskDone {
        /// Which.
        io: IoId,
        /// How.
        outcome: IoOutcome,
    },
    /// A read for comparison ended.
    DigestDone {
        /// Which.
        io: IoId,
        /// What was read, or the operating system's error number.
        read: Result<Digested, i32>,
    },
    /// A read for verification ended.
    DigestsDone {
        /// Which.
        io: IoId,
        /// The digest of each block of 4 KiB, the last one possibly shorter, or the operating
        /// system's error number.
        read: Result<Vec<Digest>, i32>,
    },
    /// A metadata write ended; if done, it is durable.
    MetadataDone {
        /// Which.
        io: IoId,
        /// How.
        outcome: IoOutcome,
    },
    /// A byte stream to the peer's address is open.
    LinkUp {
        /// Its name.
        link: LinkId,
        /// Who opened it.
        origin: LinkOrigin,
    },
    /// The dial asked for by `Output::Dial` failed.
    DialFailed {
        /// In words, for status.
        reason: String,
    },
    /// A message came whole, its header and body checked.
    Received {
        /// On which link.
        link: LinkId,
        /// The message.
        message: Message,
        /// Its payload, with the checksum that this node computed over what arrived.
        payload: Option<Payload>,
    },
    /// A link ended: closed by the other end, reset, or what came was no protocol of ours.
    LinkDown {
        /// Which.
        link: LinkId,
        /// In words, for the log.
        reason: String,
    },
    /// An operator's command.
    Command {
        /// Its name.
        id: CommandId,
        /// What.
        command: Command,
    },
    /// The deadline has come (or any time: it is harmless).
    Timer,
}

/// An error for a client, as NBD knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientError {
    /// EIO: the data could not be read or written.
    Io,
    /// ESHUTDOWN: the device is being closed.
    Shutdown,
}

/// Order in which a frame may leave (rule F17): everything that changes shared state is one FIFO;
/// acknowledgements and pings may overtake it, resync payloads may fall behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// May overtake everything but its own kind.
    Urgent,
    /// The one FIFO.
    Fifo,
    /// May fall behind everything but its own kind.
    Bulk,
}

/// How to close a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseHow {
    /// Send what is queued, then close.
    AfterSending,
    /// Reset it at once; nothing more of it may be read or sent (D15).
    Abort,
}

/// A wish of the engine. They are carried out in the order in which they were given.
#[derive(Debug)]
pub enum Output {
    /// Read `range` of the data into `buffer`.
    DiskRead {
        /// Name of the I/O.
        io: IoId,
        /// What.
        range: ByteRange,
        /// Where to, at its beginning.
        buffer: BufferId,
        /// Report the crc32c of what was read.
        checksum: bool,
    },
    /// Read `range` of the data into `buffer` and report both checksum and digest: answered by
    /// `Input::DigestDone`.
    DiskDigest {
        /// Name of the I/O.
        io: IoId,
        /// What, at most `SYNC_PIECE_BYTES_MAX`.
        range: ByteRange,
        /// Where to, at its beginning.
        buffer: BufferId,
    },
    /// Read `range` of the data, which begins with a block of 4 KiB, into `buffer` and report the
    /// digest of each block: answered by `Input::DigestsDone`.
    DiskDigests {
        /// Name of the I/O.
        io: IoId,
        /// What, at most `SYNC_PIECE_BYTES_MAX`.
        range: ByteRange,
        /// Where to, at its beginning.
        buffer: BufferId,
    },
    /// Write the beginning of `buffer` to `range` of the data.
    DiskWrite {
        /// Name of the I/O.
        io: IoId,
        /// Where to.
        range: ByteRange,
        /// From.
        buffer: BufferId,
        /// Durable when it completes.
        fua: bool,
    },
    /// Make `range` of the data read as zeroes.
    DiskZero {
        /// Name of the I/O.
        io: IoId,
        /// What.
        range: ByteRange,
        /// Durable when it completes.
        fua: bool,
        /// Space may be given back.
        may_unmap: bool,
    },
    /// Make everything durable whose I/O completed before.
    DiskFlush {
        /// Name of the I/O.
        io: IoId,
    },
    /// Write whole pages of metadata; durable when it completes. Writes are carried out one after
    /// the other, in order; when one fails, those that wait behind it fail untried (D13).
    MetadataWrite {
        /// Name of the I/O.
        io: IoId,
        /// Where in the metadata device, in bytes.
        offset_bytes: u64,
        /// A multiple of `PAGE_BYTES`.
        pages: Vec<u8>,
    },
    /// Send a message, with the first `bytes` of the payload's buffer if it carries one.
    Send {
        /// On which link.
        link: LinkId,
        /// What.
        message: Message,
        /// Its payload.
        payload: Option<Payload>,
        /// In which order.
        lane: Lane,
    },
    /// Copy bytes from the beginning of one buffer into another one.
    CopyInto {
        /// From its beginning.
        from: BufferId,
        /// Into this one.
        to: BufferId,
        /// At so many bytes from its beginning.
        offset_bytes: u32,
        /// How many.
        bytes: u32,
    },
    /// Answer a client. A read is answered with the bytes of the buffer that came with it.
    Reply {
        /// Which request.
        request: RequestId,
        /// How it ended.
        result: Result<(), ClientError>,
    },
    /// The engine has no more use for this buffer.
    Release(BufferId),
    /// Let clients in to a device of so many bytes. When the export is open already it gets another
    /// size: clients that are connected keep the size that they were told, and see the new one when
    /// they connect again.
    OpenExport {
        /// Size in bytes.
        size_bytes: u64,
        /// Smallest unit of a request, in bytes.
        block_bytes_min: u32,
        /// TRIM does something.
        trim: bool,
    },
    /// Turn clients away, with this message; clients that are connected stay (a demotion waits for
    /// them to go).
    CloseExport {
        /// What to tell them.
        message: String,
    },
    /// Dial the peer once.
    Dial,
    /// Close a link; the engine hears nothing more of it.
    CloseLink {
        /// Which.
        link: LinkId,
        /// How.
        how: CloseHow,
    },
    /// Answer a command.
    Answer {
        /// Which.
        command: CommandId,
        /// How.
        answer: Answer,
    },
    /// Tell the log.
    Event(Event),
    /// Open and lock the disk again and read its metadata: answered with `Input::DiskOpened` or
    /// `Input::DiskOpenFailed`.
    OpenDisk,
    /// Measure the devices, which may have grown: answered with `Input::DiskMeasured`. From here on
    /// the end that was measured is one of those where the metadata are looked for at a start
    /// (D20).
    MeasureDisk,
    /// The disk is given up: close it when its I/Os have returned (`Input::DiskClosed`).
    CloseDisk,
    /// Run a handler: answered with `Input::HandlerDone`. Never one that is not configured.
    RunHandler {
        /// Names the run.
        id: HandlerId,
        /// Which.
        handler: Handler,
    },
    /// Write the resume mark into the run directory, or remove it (G4): with it, and in the same
    /// boot, a daemon that starts again resumes as Primary (`Settings::resume`). Carried out before
    /// the outputs that follow.
    ResumeMark(ResumeMark),
    /// The daemon may end; everything is on disk.
    Stop,
}
