//! The end of a resync, in four messages of which each may be lost (D9).

use super::persist::Then;
use super::route::AfterFlush;
use super::{Node, Sync};
use crate::event::{Event, Handler, Level};
use crate::generation::retire_bitmap;
use crate::ids::LinkId;
use crate::message::Message;
use crate::mutation::Mutation;
use crate::state::{DiskState, ReplicationState};
use metadata::generations::Generations;

impl Node {
    /// Target: nothing is left to ask for. Flush, then say so.
    pub(super) fn sync_none_left(&mut self) {
        if let Some(session) = &self.peer.session {
            let link = session.link;
            self.flush_then(AfterFlush::NoneLeft(link));
        }
    }

    pub(super) fn none_left_flushed(&mut self, link: LinkId) {
        if self.is_session(link) && self.is_sync_target() && self.replica.attached().is_some() {
            self.send(Message::SyncNoneLeft);
        }
    }

    /// Source: grants if its own bitmap is empty too (both have flushed since: bits fall only
    /// then), else answers with its bits.
    pub(super) fn none_left_received(&mut self) {
        let Sync::Source(_) = &self.sync else {
            self.drop_session("the end of a resync came out of turn");
            return;
        };
        let Some(session) = &self.peer.session else { return };
        let link = session.link;
        if self.has_bits() {
            self.sync_not_yet();
        } else {
            self.grant_prepare(link);
        }
    }

    /// The end of a resync is in sight only where no bit is set.
    fn has_bits(&self) -> bool {
        let bits = self.replica.attached().map_or(0, |disk| disk.bitmap.count());
        bits > 0 && !self.breaks(Mutation::GrantDespiteBits)
    }

    fn sync_not_yet(&mut self) {
        self.send(Message::SyncNotYet);
        self.send_bitmap();
    }

    /// Target: all that is left cannot be read at the source. The resync ends without a grant; the
    /// next handshake tries again (D9).
    pub(super) fn sync_incomplete(&mut self, blocks: u64) {
        self.send(Message::SyncIncomplete { blocks });
        self.incomplete_ends(blocks);
    }

    /// Source: the same, as the target says.
    pub(super) fn incomplete_received(&mut self, blocks: u64) {
        if matches!(self.sync, Sync::Source(_)) {
            self.incomplete_ends(blocks);
        } else {
            self.drop_session("the end of a resync came out of turn");
        }
    }

    fn incomplete_ends(&mut self, blocks: u64) {
        let old = self.replication();
        self.sync_stop();
        self.repair_interrupted();
        self.hold.incomplete = blocks;
        self.notice(
            Level::Error,
            format!(
                "the resync is incomplete: {blocks} blocks of 4 KiB cannot be read at the source, and the \
                 target stays Inconsistent; mend the source's disk, then run 'blkrep disconnect' and \
                 'blkrep connect' to try again"
            ),
        );
        self.replication_changed(old, "the resync is incomplete");
    }

    /// G2, G5: from now on the target may hold the current generation, and is not outdated any
    /// more.
    fn grant_prepare(&mut self, link: LinkId) {
        let late = self.breaks(Mutation::PeerOutdatedClearedLate);
        let silent = self.breaks(Mutation::GrantWithoutMark);
        self.persist_superblock(
            |superblock| {
                superblock.flags.peer_may_hold_current |= !silent;
                superblock.flags.peer_outdated &= late;
            },
            Some(Then::Granted(link)),
        );
    }

    pub(super) fn grant_durable(&mut self, link: LinkId) {
        if !self.is_session(link) || !matches!(self.sync, Sync::Source(_)) {
            return;
        }
        let Some(disk) = self.replica.attached() else { return };
        if !disk.superblock.flags.peer_may_hold_current && !self.breaks(Mutation::GrantWithoutMark)
        {
            // A forced promotion has begun a generation meanwhile: the mark must be durable for
            // that one (G2).
            self.grant_prepare(link);
            return;
        }
        let generations = disk.superblock.generations;
        if self.has_bits() {
            // Set while the mark was on its way (D17).
            self.sync_not_yet();
            return;
        }
        self.send(Message::SyncGrant { generations });
        if self.breaks(Mutation::RetireBeforeConfirm) {
            self.persist_superblock(
                |superblock| superblock.generations = retire_bitmap(superblock.generations),
                None,
            );
        }
    }

    /// Target: the source's generation and UpToDate in one superblock write.
    pub(super) fn grant_received(&mut self, theirs: Generations) {
        let Some(session) = &self.peer.session else { return };
        let link = session.link;
        if !self.is_sync_target() {
            self.drop_session("the grant of a resync came out of turn");
            return;
        }
        if self.has_bits() {
            // Set since the report (D17): the grant is void, and there will be another report.
            self.sync_goes_on();
            return;
        }
        let old = self.replica.state();
        // The bits have fallen; a crash should not bring them back.
        self.persist_bitmap();
        self.persist_superblock(
            |superblock| {
                let mut taken = retire_bitmap(theirs);
                taken.current = Self::without_primary_bit(taken.current);
                superblock.generations = taken;
                superblock.flags.consistent = true;
                superblock.flags.was_up_to_date = true;
                superblock.flags.full_sync = false;
                superblock.flags.crashed_primary = false;
                superblock.flags.lost_power = false;
                superblock.flags.bitmap_covers_history = false;
                superblock.flags.peer_may_hold_current = true;
            },
            Some(Then::Adopted(link)),
        );
        if let Some(disk) = self.replica.writable() {
            disk.trusted = true;
        }
        let new = self.replica.state();
        self.disk_changed(old, new, "the resync is complete");
    }

    pub(super) fn adopted(&mut self, link: LinkId) {
        if !self.is_session(link) {
            return;
        }
        if !self.is_sync_target() {
            // The source's disk has gone meanwhile. Its clients may go on with this one.
            if !self.breaks(Mutation::AdoptionUnsaid) {
                self.send_state();
            }
            return;
        }
        self.peer_has_own_generation();
        self.send(Message::SyncConfirm);
        self.send_state();
        self.sync_over();
        self.run_handler(Handler::AfterResyncTarget);
        self.unfence_when_good();
    }

    /// Source: both have the same data.
    pub(super) fn confirm_received(&mut self) {
        if !matches!(self.sync, Sync::Source(_)) {
            self.drop_session("the confirmation of a grant came out of turn");
            return;
        }
        self.persist_bitmap();
        let retires = !self.breaks(Mutation::BitmapIdentifierStays);
        self.persist_superblock(
            |superblock| {
                if retires {
                    superblock.generations = retire_bitmap(superblock.generations);
                }
                superblock.flags.bitmap_covers_history = false;
                superblock.flags.crashed_primary = false;
                superblock.flags.lost_power = false;
                superblock.flags.peer_outdated = false;
            },
            None,
        );
        self.peer_has_own_generation();
        self.peer_disk_is(DiskState::UpToDate, "the resync is complete");
        self.sync_over();
    }

    /// Both nodes have the same generation now, whatever they said in the handshake: should this
    /// node serve the peer's data, clients see that one (G7).
    pub(super) fn peer_has_own_generation(&mut self) {
        let own = self.replica.attached().map(|disk| disk.superblock.generations.current);
        if self.breaks(Mutation::PeersGenerationStays) {
            return;
        }
        if let (Some(peer), Some(current)) = (self.peer.connected_mut(), own) {
            peer.current = current;
        }
    }

    fn sync_over(&mut self) {
        let old = self.replication();
        let now = self.now;
        let summary = match &self.sync {
            Sync::Idle => return,
            Sync::Source(source) => source.progress.summary(now),
            Sync::Target(target) => target.progress.summary(now),
        };
        self.sync_stop();
        self.progress_complete();
        self.repair_complete();
        self.hold.incomplete = 0;
        self.notice(Level::Info, summary);
        self.replication_changed(old, "the resync is complete");
    }

    pub(super) fn replication(&self) -> ReplicationState {
        if !self.peer.is_connected() {
            return self.peer.handshake_replication();
        }
        match (&self.sync, self.sync_is_held()) {
            (Sync::Idle, _) => self.idle_replication(),
            (Sync::Source(_), false) => ReplicationState::SyncSource,
            (Sync::Target(_), false) => ReplicationState::SyncTarget,
            (Sync::Source(_), true) => ReplicationState::PausedSyncS,
            (Sync::Target(_), true) => ReplicationState::PausedSyncT,
        }
    }

    pub(super) fn replication_changed(&mut self, old: ReplicationState, reason: &str) {
        let new = self.replication();
        if old != new {
            self.tell(Event::Replication { old, new, reason: reason.into() });
        }
    }

    pub(super) fn peer_disk_is(&mut self, new: DiskState, reason: &str) {
        let old = self.peer.disk();
        if let Some(peer) = self.peer.connected_mut() {
            peer.disk = new;
        }
        self.unfence_when_good();
        if old != new {
            self.tell(Event::PeerDisk { old, new, reason: reason.into() });
        }
    }
}
