//! What the configuration file tells the engine about one resource, already checked.

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

/// What to do when the local disk fails (drbd-facts 2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnIoError {
    /// Give the disk up.
    Detach,
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
    /// The shared secret; none: the peer is believed.
    pub secret: Option<Vec<u8>>,
    /// Timers of the connection.
    pub net: NetTimers,
    /// What this node can hold of the peer's frames.
    pub window: PeerWindow,
    /// Number of resync buffers that the event loop gives to the engine.
    pub sync_buffers: u32,
    /// Cap of the resync in bytes per second (`[sync] rate`); none: as fast as it goes.
    pub sync_rate_max: Option<u64>,
    /// What to do when the local disk fails.
    pub on_io_error: OnIoError,
}

impl Settings {
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
