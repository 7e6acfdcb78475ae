//! What an I/O error of the own disk means (`on-io-error`, D3, D12), and what follows when the disk
//! is given up.

use super::flush::Waiter;
use super::peer::Intent;
use super::persist::Then;
use super::promote::RoleChange;
use super::replica::Replica;
use super::route::Purpose;
use super::{Node, Sync};
use crate::block_set::BlockSet;
use crate::event::{Handler, Level, Output, Refusal, RefusalClass};
use crate::ids::LinkId;
use crate::io_error::describe;
use crate::message::Message;
use crate::mutation::Mutation;
use crate::settings::OnIoError;
use crate::state::{DiskState, Role};
use crate::timers::Timer;
use metadata::units::{BlockRange, ByteRange};

/// What the own disk did not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DiskFault {
    /// A read of data.
    Read,
    /// A write of data.
    Write,
    /// A flush: what was in its cache may be gone (D3).
    Flush,
    /// A write of metadata: nothing more is written there, lest both copies of the superblock are
    /// hit (D13).
    Metadata,
    /// An answer within `disk-timeout` (D15).
    Answer,
}

impl DiskFault {
    const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Flush => "flush",
            Self::Metadata => "metadata write",
            Self::Answer => "request (it did not return within disk-timeout)",
        }
    }
}

/// The own disk is being marked as not UpToDate; nothing is answered before both are true (D12,
/// D18).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Degrading {
    /// Writes of the mark that are not durable.
    marks_open: u32,
    /// Flushes of the peer that are not done.
    flushes_open: u32,
}

impl Node {
    /// A flush or a metadata write failed, or a write that the disk's policy does not forgive: the
    /// disk is given up (D3).
    pub(super) fn disk_failed(&mut self, what: DiskFault, errno: i32) {
        if self.replica.is_gone() {
            return;
        }
        let reason = format!("a {} failed ({})", what.name(), describe(errno));
        let old = self.replica.state();
        self.disk_changed(old, DiskState::Failed, &reason);
        self.notice(
            Level::Error,
            format!(
                "the local disk is given up: {reason}; mend it and run 'blkrep attach', or replace it \
                 and run 'blkrep create-md' before that to copy everything from the peer"
            ),
        );
        match what {
            DiskFault::Flush => {
                self.mark_cache_lost();
                self.mark_as_left();
            }
            DiskFault::Read | DiskFault::Write | DiskFault::Answer => self.mark_as_left(),
            DiskFault::Metadata => {}
        }
        self.give_disk_up(DiskState::Failed, "it is given up");
        if self.settings.disk.on_io_error == OnIoError::CallLocalIoError {
            self.run_handler(Handler::LocalIoError);
        }
    }

    /// A disk that leaves while data go on elsewhere is marked not UpToDate if it can still be
    /// written (D10). Whether it can is not waited for.
    pub(super) fn mark_as_left(&mut self) {
        if self.flush_is_under_way() {
            // It may still fail, and nobody would hear of it.
            self.mark_cache_lost();
        }
        let goes_on = self.peer.disk() == DiskState::UpToDate;
        if goes_on && !self.breaks(Mutation::LeftDiskStaysUpToDate) {
            self.persist_superblock(|superblock| superblock.flags.was_up_to_date = false, None);
        }
    }

    /// D3: what was in its cache may be gone, as after a loss of power.
    fn mark_cache_lost(&mut self) {
        if !self.breaks(Mutation::FailedFlushKeepsCache) {
            self.persist_superblock(|superblock| superblock.flags.lost_power = true, None);
        }
    }

    /// The own disk has a flush that it has not returned.
    fn flush_is_under_way(&mut self) -> bool {
        self.ios.keys().into_iter().any(|key| match self.ios.get_mut(key) {
            Some(Purpose::PairFlush(_) | Purpose::GuestFlush { .. } | Purpose::FlushThen(_)) => {
                true
            }
            Some(
                Purpose::ClientRead { .. }
                | Purpose::VoidRead(_)
                | Purpose::GuestRead { .. }
                | Purpose::ClientWrite(_)
                | Purpose::Guest(_)
                | Purpose::SyncRead { .. }
                | Purpose::SyncDigest { .. }
                | Purpose::SyncWrite { .. }
                | Purpose::VerifyRead(_)
                | Purpose::ResizeZero { .. }
                | Purpose::Metadata(_),
            )
            | None => false,
        })
    }

    /// Everything that hung on the disk is settled here, in this order. What it holds counts for
    /// nothing until it is attached again.
    pub(super) fn give_disk_up(&mut self, old: DiskState, reason: &str) {
        let mut lost: Vec<BlockRange> = self.unflushed.runs().collect();
        lost.extend(self.pairs.sealed_runs());
        lost.extend(self.open_write_blocks());
        self.replica = match std::mem::take(&mut self.replica) {
            Replica::Attached(disk) | Replica::Attaching(disk) | Replica::Failed(disk) => {
                Replica::Failed(disk)
            }
            Replica::Diskless => Replica::Diskless,
        };
        self.disk_changed(old, DiskState::Diskless, reason);
        self.wish(Output::CloseDisk);
        self.disk_open = true;
        self.sync_stop();
        self.invalidation_ends();
        self.by_hand_interrupted();
        self.unflushed = BlockSet::default();
        self.pairs.forget_unflushed();
        self.timers.stop(Timer::Flush);
        self.disk_watch_ends();
        self.reads_have_grace();
        self.outdating_without_disk();
        self.generation_pending = false;
        self.degrading = None;
        self.fencing_without_disk();
        self.guest_loses_disk();
        self.detach_without_disk();
        self.attach_over(Err(Refusal {
            class: RefusalClass::NoGoodData,
            text: "the disk failed while it was attached; see the log".into(),
        }));
        self.role_change_without_disk();
        self.send_state();
        if self.role == Role::Primary {
            self.far_data_needed(lost);
            self.writes_lose_disk();
            self.pairs_lose_disk();
            self.resume_parked();
        } else {
            // The source of a resync runs pairs, too: one left open would be the last.
            self.pairs_lose_disk();
        }
        self.resize_not_led();
        self.resize_gives_up("the local disk failed");
        // A handshake may have waited for the generation; a connection for the attachment.
        self.send_data_when_settled();
        if matches!(self.peer.intent, Intent::Waiting) && self.leaving.is_none() {
            self.connect();
        }
    }

    /// No change of role can go on without the disk; each is answered.
    fn role_change_without_disk(&mut self) {
        match self.role_change {
            RoleChange::None | RoleChange::FlushingBoth { .. } => {}
            RoleChange::AfterHandshake { command, .. }
            | RoleChange::Fencing { command, .. }
            | RoleChange::Asked { command, .. }
            | RoleChange::Quieting { command, .. }
            | RoleChange::Flushing { command, .. }
            | RoleChange::Marking { command, .. } => {
                let text = format!("the disk of {} failed", self.settings.my_name());
                let refusal = Refusal { class: RefusalClass::NoGoodData, text };
                self.role_change_ends(command, Err(refusal));
            }
            RoleChange::Draining { .. } => {}
            RoleChange::Unmarking { .. } => self.demote_failed("the local disk failed"),
        }
    }

    /// A client's write failed on the own disk.
    pub(super) fn write_failed(&mut self, blocks: BlockRange, errno: i32) {
        match self.settings.disk.on_io_error {
            OnIoError::Detach | OnIoError::CallLocalIoError => {
                self.disk_failed(DiskFault::Write, errno)
            }
            OnIoError::PassOn => self.degrade(blocks, DiskFault::Write, errno),
        }
    }

    /// A client's read failed on the own disk. It is tried on the peer's, when that may answer.
    pub(super) fn read_failed(&mut self, range: ByteRange, errno: i32) {
        match self.settings.disk.on_io_error {
            OnIoError::Detach | OnIoError::CallLocalIoError => {
                self.disk_failed(DiskFault::Read, errno)
            }
            OnIoError::PassOn => self.degrade(range.blocks_touched(), DiskFault::Read, errno),
        }
    }

    /// The disk is kept, and is not UpToDate any more: durably, and with the peer's disk flushed,
    /// before a client gets its answer (D12, D18).
    fn degrade(&mut self, blocks: BlockRange, what: DiskFault, errno: i32) {
        if self.replica.is_gone() {
            return;
        }
        // A disk that fails once fails often: the first time says all, and the status how much.
        if self.replica.state() > DiskState::Inconsistent || !matches!(self.sync, Sync::Idle) {
            self.notice(
                Level::Error,
                format!(
                    "a {} of the local disk failed at block {} ({}); these data are not UpToDate any \
                     more; mend the disk, then run 'blkrep detach' and 'blkrep attach' to copy what it \
                     missed",
                    what.name(),
                    blocks.first,
                    describe(errno)
                ),
            );
        }
        self.peer_may_have_lost();
        self.mark_out_of_sync(blocks);
        if self.peer.has_disk() && !self.breaks(Mutation::NoNotice) {
            self.send(Message::OutOfSync { blocks });
        }
        let old = self.replica.state();
        self.persist_bitmap();
        if self.breaks(Mutation::BadBlockStaysUpToDate) {
            return;
        }
        let with_peer = self.peer.has_disk() && self.role == Role::Primary;
        let degrading = self.degrading.get_or_insert(Degrading { marks_open: 0, flushes_open: 0 });
        degrading.marks_open += 1;
        degrading.flushes_open += u32::from(with_peer);
        self.persist_superblock(
            |superblock| {
                superblock.flags.consistent = false;
                superblock.flags.was_up_to_date = false;
            },
            Some(Then::Degraded),
        );
        let new = self.replica.state();
        self.disk_changed(old, new, "a block could not be written or read");
        self.send_state();
        if with_peer {
            self.pair_begin(vec![Waiter::Degraded]);
        }
        if self.peer.is_frozen() && !self.breaks(Mutation::DegradesInHandshake) {
            // What was said of this disk is not so any more (G1).
            self.drop_session_to_meet_again("a block went bad in the middle of a handshake");
        }
    }

    pub(super) fn degraded_mark_durable(&mut self) {
        if let Some(degrading) = &mut self.degrading {
            degrading.marks_open = degrading.marks_open.saturating_sub(1);
        }
        self.degraded_check();
    }

    /// What the peer acknowledged from its cache is durable there, or the peer is gone.
    pub(super) fn degraded_flushed(&mut self) {
        if let Some(degrading) = &mut self.degrading {
            degrading.flushes_open = degrading.flushes_open.saturating_sub(1);
        }
        self.degraded_check();
    }

    fn degraded_check(&mut self) {
        let Some(degrading) = self.degrading else { return };
        if degrading.marks_open > 0 || degrading.flushes_open > 0 {
            return;
        }
        self.degrading = None;
        self.failed_guest_writes_told();
        // A detach may hold back everything else, and waits for these.
        self.writes_answer_alone();
        self.resume_parked();
    }

    /// The peer's write failed here.
    pub(super) fn guest_write_failed(
        &mut self,
        link: LinkId,
        number: u64,
        range: ByteRange,
        errno: i32,
    ) {
        match self.settings.disk.on_io_error {
            OnIoError::Detach | OnIoError::CallLocalIoError => {
                self.disk_failed(DiskFault::Write, errno)
            }
            OnIoError::PassOn => {
                self.failed_guest_writes.push((link, number));
                self.degrade(range.blocks_touched(), DiskFault::Write, errno);
            }
        }
    }

    /// The mark is durable: the Primary may count without this disk.
    fn failed_guest_writes_told(&mut self) {
        for (link, number) in std::mem::take(&mut self.failed_guest_writes) {
            if self.is_session(link) {
                self.send(Message::WriteFailed { number });
            }
        }
    }
}
