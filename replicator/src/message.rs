//! What the two nodes say to each other. The bytes are in `wire`; the order of the handshake in
//! `handshake`.

use crate::digest::Digest;
use crate::ids::NodeIndex;
use crate::pace::SyncLimit;
use crate::settings::{PeerWindow, SplitBrainPolicies};
use crate::state::{DiskState, Role};
use metadata::generations::Generations;
use metadata::superblock::{PeerMinimum, Sequences, Session};
use metadata::units::{BlockRange, ByteRange};

pub use crate::refusal::{RefusalCode, RefusalMessage};

/// First version of the protocol that this program speaks.
pub const PROTOCOL_VERSION_MIN: u16 = 1;
/// Last version of the protocol that this program speaks.
pub const PROTOCOL_VERSION_MAX: u16 = 2;
/// First version that has the messages of verify and repair.
pub const PROTOCOL_VERSION_VERIFY: u16 = 2;
/// Bytes of the random number that each end draws for the authentication.
pub const NONCE_BYTES: usize = 32;
/// Bytes of the authentication's proof (HMAC-SHA-256).
pub const PROOF_BYTES: usize = 32;

/// First message on every link, both ways: who speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Oldest version spoken.
    pub version_min: u16,
    /// Newest version spoken.
    pub version_max: u16,
    /// Which node of the pair.
    pub node: NodeIndex,
    /// Its name.
    pub node_name: String,
    /// The resource it wants to talk about.
    pub resource: String,
    /// A fresh random number.
    pub nonce: [u8; NONCE_BYTES],
    /// It has a shared secret and demands a proof.
    pub secret: bool,
}

/// What must agree, or be known, before data are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    /// Replication protocol; only `b'C'` exists.
    pub protocol: u8,
    /// What the sender can hold of our frames.
    pub window: PeerWindow,
    /// Own capacity in bytes; 0 without a disk.
    pub capacity_bytes: u64,
    /// Size agreed earlier, in bytes; 0 if never.
    pub agreed_bytes: u64,
    /// Size of a resize that may not be complete on the other node (D20), in bytes; 0: none.
    pub proposed_bytes: u64,
    /// Alignment that the disk wants, in bytes.
    pub logical_block_bytes: u32,
    /// Zeroing costs no writing of zeroes.
    pub zeroes_cheaply: bool,
    /// What is done about a split brain (G3); must be the same on both.
    pub split_brain: SplitBrainPolicies,
}

/// Which data a node has: the generation tuple and everything that G1 looks at besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataStatement {
    /// The tuple.
    pub generations: Generations,
    /// Drawn at create-md (G8).
    pub instance_id: u64,
    /// Own role now.
    pub role: Role,
    /// Own disk now.
    pub disk: DiskState,
    /// It was Primary when it went down.
    pub crashed_primary: bool,
    /// It has lost power since it was last in sync (G1(a)).
    pub lost_power: bool,
    /// The bitmap also covers the youngest history entry (G1(b)).
    pub bitmap_covers_history: bool,
    /// Bits set in the bitmap, in 4 KiB blocks.
    pub out_of_sync_blocks: u64,
    /// Its operator gives its changes up, should it come to a split brain (G3).
    pub discard_my_data: bool,
    /// The session agreed on last (G8).
    pub session: Session,
    /// A random number for the identifier of the session that begins now.
    pub session_draw: u64,
    /// How far its own numbers had come when the peer saw them last; durable (G8).
    pub met: Sequences,
    /// What it demands of the peer (G8).
    pub peer_minimum: PeerMinimum,
    /// Generations on which it may go on as a Primary without complete data of its own; 0: none
    /// (G7).
    pub accepted: [u64; 2],
}

impl DataStatement {
    /// The session that begins with these two statements: the same from both ends (G8).
    #[must_use]
    pub fn agreed_session(&self, other: &Self) -> Session {
        Session {
            id: self.session_draw ^ other.session_draw,
            number: self.session.number.max(other.session.number) + 1,
        }
    }
}

/// What the source of a resync says of itself with every answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SourceLoad {
    /// Clients have read or written there since the last answer.
    pub application: bool,
    /// Most open requests wait for its disk.
    pub disk: bool,
}

/// A message. Those that carry a payload say so; its length and crc32c travel in the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Handshake, first.
    Hello(Hello),
    /// Handshake, second: HMAC over both nonces, the direction and the transcript.
    Proof([u8; PROOF_BYTES]),
    /// Handshake, third.
    Parameters(Parameters),
    /// Handshake, fourth; frozen from here to the verdict (G1).
    Data(DataStatement),
    /// No, and why. The sender closes the link after it.
    Refuse(RefusalMessage),
    /// A stretch of the sender's bitmap, run-length coded (`metadata::runs`); the last one ends the
    /// exchange.
    Bitmap {
        /// First block of the stretch.
        from_block: u64,
        /// The runs.
        runs: Vec<u8>,
        /// Nothing follows.
        last: bool,
    },
    /// Source to target: the identifier of this resync (bitmap identifier plus an offset,
    /// drbd-facts 1.1).
    SyncStart {
        /// What the target's current becomes.
        sync_generation: u64,
    },
    /// Target to source: that identifier, Inconsistent and the united bitmap are durable here (D9,
    /// G2).
    SyncStarted,
    /// Own role and disk changed.
    State {
        /// Role.
        role: Role,
        /// Disk.
        disk: DiskState,
    },
    /// May I become Primary? (G4)
    PromoteAsk,
    /// The answer; a refusal says why.
    PromoteAnswer {
        /// None: yes.
        refusal: Option<String>,
    },
    /// Application write; payload.
    Write {
        /// Its number; never twice on a connection.
        number: u64,
        /// Where.
        range: ByteRange,
        /// Durable before it is acknowledged.
        fua: bool,
    },
    /// Application zeroing.
    Zero {
        /// Its number; never twice on a connection.
        number: u64,
        /// What.
        range: ByteRange,
        /// Durable before it is acknowledged.
        fua: bool,
        /// Space may be given back.
        may_unmap: bool,
    },
    /// The write of that number is on the disk (completed; durable if FUA).
    WriteDone {
        /// Which.
        number: u64,
    },
    /// Make durable everything you have acknowledged (D3, D4).
    Flush {
        /// Number of the flush pair.
        number: u64,
    },
    /// That is done.
    FlushDone {
        /// Which pair.
        number: u64,
    },
    /// Arbiter to the other end: pair `number` is durable on both; blocks of it may be cleared
    /// (D7).
    PairDone {
        /// Which pair.
        number: u64,
    },
    /// Target to source: send me this.
    SyncRequest {
        /// Its number; never twice on a connection.
        number: u64,
        /// What, at most `SYNC_PIECE_BYTES_MAX`.
        range: ByteRange,
        /// What holds the resync back, as the target sees it.
        limit: SyncLimit,
    },
    /// Target to source: send me this unless yours has this digest, too.
    SyncCompare {
        /// Its number; shares the numbers of `SyncRequest`.
        number: u64,
        /// What, at most `SYNC_PIECE_BYTES_MAX`.
        range: ByteRange,
        /// What holds the resync back, as the target sees it.
        limit: SyncLimit,
        /// Of what the target has there.
        digest: Digest,
    },
    /// Source to target: here it is; payload.
    SyncData {
        /// Which request.
        number: u64,
        /// What.
        range: ByteRange,
        /// What the target cannot see.
        load: SourceLoad,
    },
    /// Source to target: yours is the same. Counts as written: its bits fall when both have flushed
    /// after it (D7).
    SyncEqual {
        /// Which request.
        number: u64,
        /// What the target cannot see.
        load: SourceLoad,
    },
    /// Target to source: all that is left you could not read; this resync is over, without a grant
    /// (D9).
    SyncIncomplete {
        /// How many blocks are left.
        blocks: u64,
    },
    /// I want to give my data up; will you be the source? (`invalidate`)
    InvalidateOffer,
    /// Give your data up; I am the source (`invalidate-remote`, and yes to an offer).
    InvalidateAsk,
    /// They are given up, durably: begin. Or no, to either of the two.
    SyncAsk {
        /// None: they are given up.
        refusal: Option<String>,
    },
    /// Both replicas were just created, and the operator says that they are equal: take this
    /// generation (`new-current-uuid --clear-bitmap`).
    NewGeneration {
        /// What the current identifier becomes on both.
        current: u64,
    },
    /// It is durable here.
    NewGenerationDone,
    /// Hold the resync, or do not on my account any more (`pause-sync`).
    SyncPause {
        /// Hold it.
        paused: bool,
    },
    /// Source to target: it cannot be read (D9).
    SyncUnreadable {
        /// Which request.
        number: u64,
    },
    /// Target to source: it is written (not flushed).
    SyncWritten {
        /// Which request.
        number: u64,
    },
    /// Target to source: my bitmap is empty and everything is flushed (D9, first of four).
    SyncNoneLeft,
    /// Source to target: mine is not; what I have left follows as `Bitmap` messages (D9).
    SyncNotYet,
    /// Source to target: take my generation and be UpToDate (D9).
    SyncGrant {
        /// The tuple to take.
        generations: Generations,
    },
    /// Target to source: done, durably (D9).
    SyncConfirm,
    /// These blocks differ, or may (D17): a write that was not mirrored, a read error, a cache that
    /// was lost.
    OutOfSync {
        /// Which.
        blocks: BlockRange,
    },
    /// Primary without a disk to the node whose disk it uses from now on: keep the log, acknowledge
    /// what is durable (D10, D18). What was lost with the disk went before as `OutOfSync`.
    TakeOver {
        /// What the receiver's current must be from now on; a new one begins a generation.
        current: u64,
    },
    /// The answer: bits, generation and flush are durable, the log is on.
    TookOver {
        /// As in the request.
        current: u64,
    },
    /// Primary to the node whose disk it uses: read this for me (D12).
    Read {
        /// Its number; never twice on a connection.
        number: u64,
        /// What, at most `SYNC_PIECE_BYTES_MAX`.
        range: ByteRange,
    },
    /// The answer; payload.
    ReadData {
        /// Which request.
        number: u64,
        /// What.
        range: ByteRange,
    },
    /// The answer when it cannot be read.
    ReadFailed {
        /// Which request.
        number: u64,
    },
    /// The write of that number failed on a disk that is kept (`on-io-error = pass_on`): the sender
    /// is durably not UpToDate, and the blocks are out of sync.
    WriteFailed {
        /// Which.
        number: u64,
    },
    /// Are you there?
    Ping {
        /// Comes back in the answer.
        number: u64,
    },
    /// Yes.
    Pong {
        /// Of the ping.
        number: u64,
    },
    /// Primary to Secondary: measure your disk, the device is to grow (D20).
    ResizeAsk,
    /// Secondary to Primary: so many bytes of data it can have, or why it cannot grow.
    ResizeRoom {
        /// Bytes.
        room_bytes: u64,
        /// None: it can.
        refusal: Option<String>,
    },
    /// Primary to Secondary, first step: make the metadata for this size complete and durable, the
    /// bits of the new part set or the new part zeroed.
    ResizePrepare {
        /// The size, in bytes.
        size_bytes: u64,
        /// The new part is zeroed instead of being copied.
        assume_clean: bool,
    },
    /// Secondary to Primary: that is done.
    ResizePrepared,
    /// Primary to Secondary, second step: the size is agreed.
    ResizeCommit,
    /// Secondary to Primary: that is durable.
    ResizeCommitted,
    /// Primary to Secondary: it is durable here as well, or the resize is off.
    ResizeEnd {
        /// It is durable.
        done: bool,
    },
    /// I leave on purpose.
    Bye,
    /// So far my own numbers are durable here (G8).
    Durable {
        /// Those of superblock and log.
        sequences: Sequences,
    },
    /// To the Primary: compare these blocks of both replicas, and copy what differs if `repair`.
    VerifyAsk {
        /// Which.
        blocks: BlockRange,
        /// Copy what differs from the Primary afterwards.
        repair: bool,
    },
    /// Leader to follower: a verify is to begin (D6: the leader is the arbiter).
    VerifyBegin {
        /// Which.
        blocks: BlockRange,
        /// As in `VerifyAsk`.
        repair: bool,
        /// It was asked for by the receiver's `VerifyAsk`.
        asked: bool,
    },
    /// To `VerifyBegin`: yes or no; to `VerifyAsk` only no; after a verify: it is not repaired.
    VerifyAnswer {
        /// None: yes.
        refusal: Option<String>,
    },
    /// Leader to follower: read this now. No write overlaps it until the answer is there.
    VerifyRead {
        /// Its number; never twice on a connection.
        number: u64,
        /// What, at most `SYNC_PIECE_BYTES_MAX`; begins with a block.
        range: ByteRange,
        /// What holds the verify back, for the follower's status.
        limit: SyncLimit,
        /// Everything before this block was compared.
        next_block: u64,
    },
    /// The answer: what was read.
    VerifyDigests {
        /// Of the request.
        number: u64,
        /// One for each block.
        digests: Vec<Digest>,
    },
    /// The answer when it cannot be read.
    VerifyUnreadable {
        /// Of the request.
        number: u64,
    },
    /// Leader to follower: these blocks differ, or one of the two cannot be read.
    VerifyDiffers {
        /// Which.
        blocks: BlockRange,
        /// They cannot be read on one of the nodes.
        unreadable: bool,
    },
    /// Leader to follower: it is over, everything that differs was told.
    VerifyEnd {
        /// Blocks that were compared.
        compared_blocks: u64,
        /// Everything before this block was compared.
        next_block: u64,
        /// None: it is complete; else why it was broken off.
        broken_off: Option<String>,
    },
    /// Follower to leader: all marks of a complete verify are durable here.
    VerifyEnded,
    /// As `InvalidateOffer`, for the marked blocks alone.
    RepairOffer,
    /// As `InvalidateAsk`, for the marked blocks alone.
    RepairAsk,
    /// Primary to Secondary: I leave; mark your disk Outdated, durably, and say so by `State` (G5).
    Outdate,
}
