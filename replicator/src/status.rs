//! A picture of the whole resource at one moment, for status, scripts and metrics.

use crate::state::{ConnectionState, DiskState, ReplicationState, Role, StartupWait, Suspended};
use metadata::generations::Generations;
use metadata::superblock::Flags;
use std::time::Duration;

/// Progress of a running resync. Block counts are of 4 KiB.
#[derive(Debug, Clone, PartialEq)]
pub struct SyncProgress {
    /// Blocks that were out of sync when it began.
    pub total_blocks: u64,
    /// Blocks that are out of sync now.
    pub left_blocks: u64,
    /// Blocks copied by it so far (rewritten ones count again).
    pub copied_blocks: u64,
    /// Blocks that were compared and found equal, so that they were not copied.
    pub equal_blocks: u64,
    /// Bytes per second over the last seconds; 0 while it is paused.
    pub bytes_per_s: u64,
    /// Time left at that rate; none while nothing moves.
    pub eta: Option<Duration>,
    /// Time since it began, less pauses and interruptions.
    pub elapsed: Duration,
    /// What holds it back now, in one word: `rate`, `application`, `target-disk`,
    /// `source-disk`, `link`.
    pub limited_by: &'static str,
}

/// Progress of a verify under way. Block counts are of 4 KiB.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifyProgress {
    /// Its number among the verifies of this daemon; its result has the same.
    pub run: u64,
    /// Blocks to be compared.
    pub total_blocks: u64,
    /// Blocks that are not compared yet.
    pub left_blocks: u64,
    /// Blocks that were found to differ so far.
    pub differing_blocks: u64,
    /// Bytes per second over the last seconds; 0 while it is held.
    pub bytes_per_s: u64,
    /// Time left at that rate; none while nothing moves.
    pub eta: Option<Duration>,
    /// Time since it began, less pauses.
    pub elapsed: Duration,
    /// What holds it back now: a word of `SyncProgress::limited_by`, or `pause-sync`.
    pub limited_by: &'static str,
}

/// Why a verify did not come to its end, and where the next one goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenOff {
    /// In words.
    pub why: String,
    /// The first sector of 512 bytes that was not compared.
    pub next_sector: u64,
}

/// Result of the last verify, in whichever direction. Block counts are of 4 KiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Its number among the verifies of this daemon.
    pub run: u64,
    /// Time since it ended.
    pub since_end: Duration,
    /// How long it took, less pauses.
    pub took: Duration,
    /// Blocks that were compared.
    pub compared_blocks: u64,
    /// Blocks that differ, or could not be read on one of the nodes: all of them are marked.
    pub differing_blocks: u64,
    /// Those of them that could not be read.
    pub unreadable_blocks: u64,
    /// Those of them that are the same again, by a resync since.
    pub repaired_blocks: u64,
    /// `--repair` was given, and its resync is not over.
    pub repairing: bool,
    /// None: it is complete.
    pub broken_off: Option<BrokenOff>,
}

/// Counters since the daemon started, in bytes or numbers as named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes of clients' writes that went to the local disk.
    pub client_written_bytes: u64,
    /// Bytes that clients read.
    pub client_read_bytes: u64,
    /// Clients' writes, zeroings included.
    pub client_writes: u64,
    /// Clients' reads.
    pub client_reads: u64,
    /// Clients' flushes.
    pub client_flushes: u64,
    /// Payload bytes sent to the peer, resync included.
    pub sent_bytes: u64,
    /// Payload bytes received from the peer, resync included.
    pub received_bytes: u64,
    /// Bytes written to the local disk.
    pub disk_written_bytes: u64,
    /// Bytes read from the local disk.
    pub disk_read_bytes: u64,
    /// Transactions of the activity log.
    pub log_transactions: u64,
    /// Superblock, bitmap and log writes.
    pub metadata_writes: u64,
    /// Blocks that resyncs copied, in either direction.
    pub resynced_blocks: u64,
}

/// The picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// Name of the resource.
    pub resource: String,
    /// Index of this node, 0 or 1.
    pub node_index: u8,
    /// This node's name.
    pub node_name: String,
    /// The peer's name.
    pub peer_name: String,
    /// Own role.
    pub role: Role,
    /// The peer's role; none while not connected.
    pub peer_role: Option<Role>,
    /// Own disk.
    pub disk: DiskState,
    /// The peer's disk, as far as known.
    pub peer_disk: DiskState,
    /// The connection.
    pub connection: ConnectionState,
    /// What the replicas are doing.
    pub replication: ReplicationState,
    /// Why the last attempt to connect was refused, by either side, and what to do; none when there
    /// is nothing.
    pub refusal: Option<String>,
    /// StandAlone because a split brain was found and is not resolved (G3).
    pub split_brain: bool,
    /// Size of the device that clients see, in bytes; 0 while not known.
    pub size_bytes: u64,
    /// Blocks that differ or may differ between the replicas, in 4 KiB blocks.
    pub out_of_sync_blocks: u64,
    /// The running resync.
    pub sync: Option<SyncProgress>,
    /// Blocks that the source of the last resync could not read, so that its target stays
    /// Inconsistent (D9); 0 when it was complete.
    pub incomplete_blocks: u64,
    /// The verify under way.
    pub verify: Option<VerifyProgress>,
    /// The result of the last verify of this daemon.
    pub verified: Option<Verified>,
    /// NBD clients connected.
    pub clients: u32,
    /// Requests of clients that are open.
    pub requests_open: u32,
    /// Writes sent to the peer and not yet acknowledged by it.
    pub writes_unacked: u32,
    /// The peer's writes that this node has not yet acknowledged.
    pub peer_writes_open: u32,
    /// Local disk I/Os open.
    pub disk_open: u32,
    /// The generation identifiers; those of a fresh replica while no disk is known.
    pub generations: Generations,
    /// The flags of the superblock; none is set while no disk is known.
    pub flags: Flags,
    /// Why clients' I/O is frozen.
    pub suspended: Suspended,
    /// Promotions of this node, resumes not counted: with the boot it tells one Primary from the
    /// next (D16). 0 while no disk is known.
    pub promotion_number: u64,
    /// Which startup timeout holds for a wait that begins now: by what the start found, and what
    /// was seen of the peer since (G6).
    pub startup_wait: StartupWait,
    /// Counters.
    pub counters: Counters,
}
