//! The picture of the node for status and metrics.

use super::{Node, Sync};
use crate::ids::Moment;
use crate::status::{Status, SyncProgress};
use metadata::generations::Generations;
use metadata::superblock::Flags;
use metadata::units::BLOCK_BYTES;
use std::time::Duration;

impl Node {
    /// Everything that can be shown of the node at `now`.
    #[must_use]
    pub fn status(&self, now: Moment) -> Status {
        let disk = self.replica.known();
        Status {
            resource: self.settings.resource.clone(),
            node_index: self.settings.me.number(),
            node_name: self.settings.my_name().into(),
            peer_name: self.settings.peer_name().into(),
            role: self.role,
            peer_role: self.peer.role(),
            disk: self.replica.state(),
            peer_disk: self.peer.disk(),
            connection: self.peer.connection_state(),
            replication: self.replication(),
            refusal: self.peer.refusal.clone(),
            split_brain: self.peer.is_split_brain(),
            size_bytes: disk.map_or(0, super::replica::Attached::size_bytes),
            out_of_sync_blocks: self.out_of_sync_blocks(),
            sync: self.sync_progress(now),
            incomplete_blocks: self.hold.incomplete,
            verify: self.verify_progress(now),
            verified: self.verified(now),
            clients: self.clients,
            requests_open: count(self.writes.open_count() + self.suspension.held_count())
                + self.reads_open,
            writes_unacked: count(self.writes.unacked_count()),
            peer_writes_open: count(self.guest.open_count()),
            disk_open: count(self.ios.len()),
            generations: disk
                .map_or_else(Generations::just_created, |disk| disk.superblock.generations),
            flags: disk.map_or_else(Flags::default, |disk| disk.superblock.flags),
            suspended: self.suspension.reasons(),
            promotion_number: disk.map_or(0, |disk| disk.superblock.promotion_number),
            startup_wait: self.startup_wait(),
            counters: self.counters,
        }
    }

    /// Bits set, less those that only wait for a flush.
    pub(super) fn out_of_sync_blocks(&self) -> u64 {
        let set = self.replica.known().map_or(0, |disk| disk.bitmap.count());
        set.saturating_sub(self.clearing_blocks())
    }

    fn sync_progress(&self, now: Moment) -> Option<SyncProgress> {
        let (progress, limited_by) = match &self.sync {
            Sync::Idle => return None,
            Sync::Source(source) => (&source.progress, source.limited_by()),
            Sync::Target(target) => (&target.progress, target.limited_by(now)),
        };
        let left_blocks = self.out_of_sync_blocks();
        let (_, total_blocks) = progress.done_and_total(left_blocks);
        let bytes_per_s = progress.bytes_per_s(now);
        let eta = (left_blocks * BLOCK_BYTES).checked_div(bytes_per_s).map(Duration::from_secs);
        Some(SyncProgress {
            total_blocks,
            left_blocks,
            copied_blocks: progress.copied_blocks,
            equal_blocks: progress.equal_blocks,
            bytes_per_s,
            eta,
            elapsed: progress.elapsed(now),
            limited_by: limited_by.word(),
        })
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
