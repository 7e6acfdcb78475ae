//! The node whose disk a Primary uses in place of its own: it keeps the log (D10), marks what the
//! Primary's disk lacks, and acknowledges what is durable (D18).

use super::Node;
use super::log::LogUser;
use super::persist::Then;
use super::route::AfterFlush;
use crate::event::Lane;
use crate::generation::rotate;
use crate::ids::LinkId;
use crate::message::Message;
use crate::mutation::Mutation;
use crate::state::{DiskState, Role};
use metadata::generations::same_generation;
use metadata::units::ByteRange;

/// What a node does for a Primary without good data of its own.
#[derive(Debug, Default)]
pub(super) struct SoleCopy {
    /// The connection on which this node keeps the log; `None`: the Primary keeps it.
    keeps_log: Option<LinkId>,
    /// Written and not flushed: acknowledged by the next flush.
    unflushed: Vec<Unflushed>,
    /// The flush under way will acknowledge these.
    flushing: Option<Vec<Unflushed>>,
}

/// A write of the peer that waits for a flush.
#[derive(Debug, Clone, Copy)]
struct Unflushed {
    link: LinkId,
    number: u64,
    /// Its extents are held in the own log.
    logged: Option<ByteRange>,
}

impl Node {
    /// True while this node keeps the log for a Primary without a disk.
    pub(super) fn keeps_log_for_peer(&self) -> bool {
        let link = self.peer.session.as_ref().map(|session| session.link);
        link.is_some() && self.sole.keeps_log == link
    }

    /// True while the peer is a Primary whose own disk is not UpToDate (D18).
    fn acknowledges_durable(&self) -> bool {
        self.peer.role() == Some(Role::Primary) && self.peer.disk() != DiskState::UpToDate
    }

    /// The order: bits (they came before), own flush, generation, then the answer.
    pub(super) fn take_over_received(&mut self, current: u64) {
        let Some(session) = &self.peer.session else { return };
        let link = session.link;
        if self.role == Role::Primary {
            self.drop_session("the peer wants a Primary to take over");
            return;
        }
        if self.replica.state() != DiskState::UpToDate {
            // It has been told, or is being told now; it waits in vain.
            return;
        }
        self.sole.keeps_log = Some(link);
        self.flush_then(AfterFlush::TakeOver { link, current });
    }

    pub(super) fn take_over_flushed(&mut self, link: LinkId, current: u64) {
        if !self.is_session(link) || self.replica.attached().is_none() {
            return;
        }
        self.persist_bitmap();
        self.persist_superblock(
            |superblock| {
                if !same_generation(superblock.generations.current, current) {
                    let (generations, covers) = rotate(superblock.generations, current);
                    superblock.generations = generations;
                    superblock.flags.bitmap_covers_history |= covers;
                }
                // The Primary goes on on this generation: a promotion without it must begin another
                // one (G2, G7).
                superblock.flags.peer_may_hold_current = true;
            },
            Some(Then::TookOver(link)),
        );
    }

    pub(super) fn took_over(&mut self, link: LinkId) {
        if let Some(disk) = self.replica.attached()
            && self.is_session(link)
        {
            let current = Self::without_primary_bit(disk.superblock.generations.current);
            self.send(Message::TookOver { current });
        }
    }

    /// Before a write of the peer is submitted: true when it may be now. The log first, then the
    /// bits (D1, D2).
    pub(super) fn guest_may_begin(&mut self, key: u64, range: ByteRange) -> bool {
        if !self.keeps_log_for_peer() {
            return true;
        }
        if !self.breaks(Mutation::FarKeeperSkipsLog) && !self.log_take(LogUser::Guest(key), range) {
            return false;
        }
        self.guest_logs(key);
        self.mark_out_of_sync(range.blocks_touched());
        true
    }

    /// A write of the peer is completed: acknowledged at once, or after a flush.
    pub(super) fn guest_acknowledge(
        &mut self,
        link: LinkId,
        number: u64,
        fua: bool,
        logged: Option<ByteRange>,
    ) {
        let at_once = fua
            || !self.acknowledges_durable()
            || self.breaks(Mutation::SoleCopyAcknowledgesCached);
        if at_once {
            self.guest_done(Unflushed { link, number, logged });
            return;
        }
        self.sole.unflushed.push(Unflushed { link, number, logged });
        self.sole_flush();
    }

    /// One flush at a time, covering all that is completed when it begins.
    fn sole_flush(&mut self) {
        if self.sole.flushing.is_none() && !self.sole.unflushed.is_empty() {
            self.sole.flushing = Some(std::mem::take(&mut self.sole.unflushed));
            self.flush_then(AfterFlush::SoleCopy);
        }
    }

    pub(super) fn sole_flushed(&mut self) {
        for write in self.sole.flushing.take().unwrap_or_default() {
            self.guest_done(write);
        }
        self.sole_flush();
    }

    fn guest_done(&mut self, write: Unflushed) {
        if let Some(range) = write.logged {
            self.log_give_back(range);
        }
        if self.is_session(write.link) && self.replica.attached().is_some() {
            self.send_in(Lane::Urgent, Message::WriteDone { number: write.number }, None);
        }
    }

    /// A flush that acknowledges is under way: I/O that the peer asked for (D15).
    /// A disk that was given up holds nobody up.
    pub(super) fn sole_is_busy(&self) -> bool {
        self.sole.flushing.is_some() && !self.replica.is_gone()
    }

    /// The own disk is gone, and its log with it.
    pub(super) fn sole_loses_disk(&mut self) {
        self.sole.keeps_log = None;
        self.sole.unflushed.clear();
        if let Some(flushing) = &mut self.sole.flushing {
            flushing.clear();
        }
    }

    /// What was kept for a Primary without a disk is in the bitmap, and that is durable: the log
    /// moves back (D10).
    pub(super) fn give_log_back(&mut self) {
        let used = self.replica.attached().is_some_and(|disk| !disk.log.is_empty());
        if self.role == Role::Secondary && used {
            self.sole.keeps_log = None;
            self.empty_log();
        }
    }
}
