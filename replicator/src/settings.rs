//! What the configuration file tells the engine about one resource, already checked.

use crate::event::Handler;
use crate::ids::NodeIndex;
use std::time::Duration;

/// Largest payload of one piece of a client's request, in bytes; the front end cuts larger
/// requests.
pub const PIECE_BYTES_MAX: u32 = 1 << 20;
/// Largest range of one zeroing or trimming piece, in bytes: four extents, so that it never fills
/// the log (D1).
pub const ZERO_PIECE_BYTES_MAX: u64 = 16 << 20;
/// Largest payload of one resync frame, in bytes (DESIGN 7: a bulk frame <= 128 KiB).
pub const SYNC_PIECE_BYTES_MAX: u32 = 128 << 10;
/// Payload sizes of the three buffer classes, in bytes. Part of the protocol: windows count buffers
/// of each class.
pub const BUFFER_CLASS_BYTES: [u32; 3] = [16 << 10, 128 << 10, PIECE_BYTES_MAX];

/// How many frames of each kind a node can hold at once (rule D14): announced at the handshake, the
/// sender stays inside, an acknowledgement gives the place back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerWindow {
    /// Frames with a payload, by buffer class.
    pub frames: [u32; 3],
    /// Frames without a payload that cost disk I/O (zeroing).
    pub bare: u32,
}

/// Index into [`BUFFER_CLASS_BYTES`] of the smallest class that holds `bytes`.
///
/// # Panics
/// When no class does: callers check against [`PIECE_BYTES_MAX`].
#[must_use]
pub fn buffer_class(bytes: u32) -> usize {
    BUFFER_CLASS_BYTES
        .iter()
        .position(|&class| bytes <= class)
        .expect("invariant: a payload is at most one piece")
}

/// What to do when the local disk fails (`on-io-error`, drbd-facts 2.6). A failed flush and a
/// failed metadata write give the disk up whatever is set (D3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnIoError {
    /// Give the disk up and go on with the peer's.
    #[default]
    Detach,
    /// Keep the disk, which is not UpToDate any more; clients hear of the error only when the peer
    /// cannot serve them.
    PassOn,
    /// Like `Detach`, and run the `local-io-error` handler.
    CallLocalIoError,
}

/// What a Primary without any UpToDate data does with I/O (`on-no-data-accessible`, D2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnNoData {
    /// It fails.
    #[default]
    IoError,
    /// It waits until data are there again.
    SuspendIo,
}

/// What a Primary does about a peer that it cannot see (`fencing`, G5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fencing {
    /// Nothing.
    #[default]
    DontCare,
    /// Run the `fence-peer` handler; I/O goes on meanwhile.
    ResourceOnly,
    /// Freeze all I/O until the `fence-peer` handler has succeeded or the peer is back.
    ResourceAndStonith,
}

/// `after-sb-0pri`: a split brain with no Primary now (drbd-facts 1.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AfterSb0Pri {
    /// An operator decides.
    #[default]
    Disconnect,
    /// Who was Primary at the split keeps its data.
    DiscardYoungerPrimary,
    /// Who became Primary after the split keeps its data.
    DiscardOlderPrimary,
    /// Who changed nothing yields.
    DiscardZeroChanges,
    /// Who changed less yields.
    DiscardLeastChanges,
    /// This node always yields (`discard-node-NAME`).
    DiscardNode(NodeIndex),
}

/// `after-sb-1pri`: a split brain with one Primary now (drbd-facts 1.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AfterSb1Pri {
    /// An operator decides.
    #[default]
    Disconnect,
    /// As `after-sb-0pri` says, if that discards the Secondary; else an operator decides.
    Consensus,
    /// As `after-sb-0pri` says.
    ViolentlyAs0p,
    /// The Secondary yields, whatever `after-sb-0pri` says.
    DiscardSecondary,
    /// As `after-sb-0pri` says; a Primary that shall yield is demoted first, or its
    /// `pri-lost-after-sb` handler is run and an operator decides.
    CallPriLostAfterSb,
}

/// `after-sb-2pri`: a split brain with two Primaries now (drbd-facts 1.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AfterSb2Pri {
    /// An operator decides.
    #[default]
    Disconnect,
    /// As `after-sb-0pri` says.
    ViolentlyAs0p,
    /// As `after-sb-0pri` says; the Primary that shall yield is demoted first, or its
    /// `pri-lost-after-sb` handler is run and an operator decides.
    CallPriLostAfterSb,
}

/// `rr-conflict`: the verdict makes a Primary the target of a resync (drbd-facts 1.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RrConflict {
    /// Both stay alone.
    #[default]
    Disconnect,
    /// Drop the connection and try again.
    RetryConnect,
    /// Run the `pri-lost` handler, then as `Disconnect`.
    CallPriLost,
    /// Copy over the data of the live Primary.
    Violently,
}

/// What is done about a split brain. Must be the same on both nodes (G3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SplitBrainPolicies {
    /// `after-sb-0pri`.
    pub zero_primaries: AfterSb0Pri,
    /// `after-sb-1pri`.
    pub one_primary: AfterSb1Pri,
    /// `after-sb-2pri`.
    pub two_primaries: AfterSb2Pri,
    /// `always-asbp`: the policies hold also where the two have no common base (rule 100).
    pub always: bool,
    /// `rr-conflict`.
    pub rr_conflict: RrConflict,
}

/// When blocks are compared by checksum before they are copied (`csums-alg`, DESIGN 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChecksumUse {
    /// Bits that came from an activity log: most of those blocks are equal (D8).
    #[default]
    AfterCrash,
    /// In every resync.
    Always,
    /// Never.
    Never,
}

/// How a resync goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncSettings {
    /// Cap in bytes per second (`[sync] rate`); none: as fast as it goes.
    pub rate_max: Option<u64>,
    /// While the application is busy the resync yields to it, but not below so many bytes per
    /// second (`min-rate`, DRBD's `c-min-rate`).
    pub rate_floor: u64,
    /// When blocks are compared before they are copied.
    pub checksums: ChecksumUse,
}

impl Default for SyncSettings {
    fn default() -> Self {
        Self { rate_max: None, rate_floor: 4 << 20, checksums: ChecksumUse::default() }
    }
}

/// What is done about the local disk and the peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskSettings {
    /// When an I/O of the local disk fails.
    pub on_io_error: OnIoError,
    /// An I/O that does not return for so long fails the disk (`disk-timeout`, D15); none: never.
    pub timeout: Option<Duration>,
    /// About a peer that cannot be seen.
    pub fencing: Fencing,
    /// Without UpToDate data.
    pub on_no_data: OnNoData,
}

/// Which handlers are configured: one that is not counts as absent, and is never asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Handlers(u16);

impl Handlers {
    /// The same and `handler`.
    #[must_use]
    pub const fn with(self, handler: Handler) -> Self {
        Self(self.0 | 1 << handler as u16)
    }

    /// True when there is one.
    #[must_use]
    pub const fn has(self, handler: Handler) -> bool {
        self.0 & 1 << handler as u16 != 0
    }
}

/// Timers of the connection (drbd-facts 2.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetTimers {
    /// `timeout`: an expected answer that does not come for so long means a dead peer. Default 6 s.
    pub timeout: Duration,
    /// `connect-int`: pause between two dials. Default 10 s.
    pub connect_int: Duration,
    /// `ping-int`: idle time before a ping. Default 10 s.
    pub ping_int: Duration,
    /// `ping-timeout`: time for the answer to a ping. Default 500 ms.
    pub ping_timeout: Duration,
    /// `ko-count`: a write that is not done after so many `timeout`s drops the peer; 0 switches it
    /// off. Default 7.
    pub ko_count: u32,
}

impl Default for NetTimers {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(6),
            connect_int: Duration::from_secs(10),
            ping_int: Duration::from_secs(10),
            ping_timeout: Duration::from_millis(500),
            ko_count: 7,
        }
    }
}

/// Everything the engine is told about its resource.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Name of the resource.
    pub resource: String,
    /// Which node this is.
    pub me: NodeIndex,
    /// Names of both nodes, in the order of the configuration.
    pub node_names: [String; 2],
    /// The shared secret; none: whoever answers is believed to be the peer.
    pub secret: Option<Vec<u8>>,
    /// Timers of the connection.
    pub net: NetTimers,
    /// What this node can hold of the peer's frames.
    pub window: PeerWindow,
    /// Number of resync buffers that the event loop gives to the engine.
    pub sync_buffers: u32,
    /// How a resync goes.
    pub sync: SyncSettings,
    /// What is done about the local disk and the peer's.
    pub disk: DiskSettings,
    /// What is done about a split brain.
    pub split_brain: SplitBrainPolicies,
    /// Which handlers there are.
    pub handlers: Handlers,
    /// The resume mark of this resource is there: in the same boot this node goes on as the Primary
    /// that it was (G4, `Output::ResumeMark`).
    pub resume: bool,
}

impl Settings {
    /// The defaults for a resource: DRBD's, no secret, and no buffers yet.
    #[must_use]
    pub fn new(resource: String, me: NodeIndex, node_names: [String; 2]) -> Self {
        Self {
            resource,
            me,
            node_names,
            secret: None,
            net: NetTimers::default(),
            window: PeerWindow { frames: [0; 3], bare: 0 },
            sync_buffers: 0,
            sync: SyncSettings::default(),
            disk: DiskSettings::default(),
            split_brain: SplitBrainPolicies::default(),
            handlers: Handlers::default(),
            resume: false,
        }
    }

    /// This node's name.
    #[must_use]
    pub fn my_name(&self) -> &str {
        &self.node_names[usize::from(self.me.number())]
    }

    /// The peer's name.
    #[must_use]
    pub fn peer_name(&self) -> &str {
        &self.node_names[usize::from(self.me.other().number())]
    }
}
