//! How the buffer memory of a resource is shared out: clients, the peer's window, resync, and what
//! sockets need.

use super::disk_io::ZEROES_BYTES;
use super::inbox::STAGING_BYTES;
use super::metadata_writer::CHUNK_BYTES;
use super::peer_port::LINKS_MAX;
use super::send_queue::HEADS_BYTES;
use crate::frontend::PLACES;
use crate::ring::arena::{Pool, Shelf};
use replicator::settings::{BUFFER_CLASS_BYTES, PeerWindow, SYNC_PIECE_BYTES_MAX};

/// Zeroings and flushes of the peer at once: they cost no buffer, only a place in the disk's queue.
const BARE_FRAMES: u32 = 128;
/// Fewest buffers of each class in a pool, so that small arenas still work.
const CLASS_COUNT_MIN: [u32; 3] = [64, 8, 4];
/// Resync buffers, at least and at most.
const SYNC_BUFFERS: (u32, u32) = (8, 128);

/// The shares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ArenaPlan {
    /// For [`crate::ring::arena::Arena::new`].
    pub(super) shelves: Vec<Shelf>,
    /// What this node can hold of the peer's frames.
    pub(super) window: PeerWindow,
    /// Resync buffers lent to the engine.
    pub(super) sync_buffers: u32,
    /// Payload bytes that one client may have open: a part of the large buffers, so that a client
    /// that does not read its replies leaves some to the others.
    pub(super) client_budget_bytes: u64,
}

impl ArenaPlan {
    /// Shares out `bytes` bytes; what sockets and metadata need (about 16 MiB) comes on top.
    pub(super) fn new(bytes: usize) -> Self {
        let bytes = bytes as u64;
        let sync_share = bytes / 16 / u64::from(SYNC_PIECE_BYTES_MAX);
        let sync_buffers = clamped(sync_share, SYNC_BUFFERS.0, SYNC_BUFFERS.1);
        let client = class_counts(bytes * 7 / 16);
        let peer = class_counts(bytes * 7 / 16);
        let mut shelves = Vec::new();
        for class in 0..BUFFER_CLASS_BYTES.len() {
            let bytes = BUFFER_CLASS_BYTES[class];
            shelves.push(Shelf { pool: Pool::Client, bytes, count: client[class] });
            shelves.push(Shelf { pool: Pool::Peer, bytes, count: peer[class] });
        }
        let sockets = (PLACES + LINKS_MAX) as u32;
        shelves.extend([
            Shelf { pool: Pool::Sync, bytes: SYNC_PIECE_BYTES_MAX, count: sync_buffers },
            Shelf { pool: Pool::Arrival, bytes: SYNC_PIECE_BYTES_MAX, count: sync_buffers },
            Shelf { pool: Pool::Staging, bytes: STAGING_BYTES, count: sockets },
            Shelf { pool: Pool::Heads, bytes: HEADS_BYTES, count: sockets },
            Shelf { pool: Pool::Pages, bytes: ZEROES_BYTES.max(CHUNK_BYTES), count: 2 },
        ]);
        let large_bytes = u64::from(client[2]) * u64::from(BUFFER_CLASS_BYTES[2]);
        Self {
            shelves,
            window: PeerWindow { frames: peer, bare: BARE_FRAMES },
            sync_buffers,
            client_budget_bytes: (large_bytes / 2).max(1 << 20),
        }
    }
}

/// A sixth of the bytes for each of the small classes, the rest for the large one.
fn class_counts(bytes: u64) -> [u32; 3] {
    let [small, middle, large] = BUFFER_CLASS_BYTES.map(u64::from);
    let counts = [bytes / 6 / small, bytes / 6 / middle, bytes * 2 / 3 / large];
    std::array::from_fn(|class| clamped(counts[class], CLASS_COUNT_MIN[class], 4096))
}

fn clamped(count: u64, least: u32, most: u32) -> u32 {
    u32::try_from(count).unwrap_or(most).clamp(least, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pool_has_buffers_and_the_shares_stay_within_the_memory_that_was_given() {
        for bytes in [16 << 20, 64 << 20, 1 << 30] {
            let plan = ArenaPlan::new(bytes);
            let is_data = |shelf: &&Shelf| {
                [Pool::Client, Pool::Peer, Pool::Sync, Pool::Arrival].contains(&shelf.pool)
            };
            let shared: u64 = plan
                .shelves
                .iter()
                .filter(is_data)
                .map(|shelf| u64::from(shelf.bytes) * u64::from(shelf.count))
                .sum();
            assert!(shared <= bytes as u64 + bytes as u64 / 8, "{shared} of {bytes}");
            assert!(plan.shelves.iter().all(|shelf| shelf.count > 0));
        }
    }

    #[test]
    fn the_window_is_what_the_peer_pool_has() {
        let plan = ArenaPlan::new(64 << 20);
        for (class, &bytes) in BUFFER_CLASS_BYTES.iter().enumerate() {
            let shelf = Shelf { pool: Pool::Peer, bytes, count: plan.window.frames[class] };
            assert!(plan.shelves.contains(&shelf), "{shelf:?}");
        }
    }
}
