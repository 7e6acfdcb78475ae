//! Where the answer of each I/O goes.

use super::Node;
use super::broken::follows_a_start;
use super::disk_loss::DiskFault;
use super::persist::Then;
use super::verify_lead::VerifyRead;
use crate::digest::{Digest, Digested};
use crate::event::{ClientError, IoOutcome, Output};
use crate::ids::{BufferId, IoId, LinkId, RequestId};
use crate::mutation::Mutation;
use crate::state::Role;
use metadata::units::ByteRange;

/// What an I/O was for.
#[derive(Debug)]
pub(super) enum Purpose {
    /// A client's read.
    ClientRead { request: RequestId, buffer: BufferId, range: ByteRange },
    /// A client's read whose client has had an error: only the buffer waits for it.
    VoidRead(BufferId),
    /// The peer's read, by its number.
    GuestRead { link: LinkId, number: u64, buffer: BufferId, range: ByteRange },
    /// The local part of a client's write, by its key.
    ClientWrite(u64),
    /// The local part of a pair of flushes, by its number.
    PairFlush(u64),
    /// The peer's write, by its key.
    Guest(u64),
    /// The peer's flush.
    GuestFlush { link: LinkId, number: u64 },
    /// The source's read for a resync request, by its number.
    SyncRead { link: LinkId, number: u64, buffer: BufferId },
    /// The target's read for comparison, by the request's number.
    SyncDigest { link: LinkId, number: u64, buffer: BufferId },
    /// A read for a verify, on either end.
    VerifyRead(VerifyRead),
    /// The target's write of what came, by the request's number.
    SyncWrite { link: LinkId, number: u64, buffer: BufferId },
    /// Zeroing the new part of the device up to `end`, for the resize of that number.
    ResizeZero { attempt: u64, end: u64 },
    /// A flush before something else may go on.
    FlushThen(AfterFlush),
    /// A metadata write.
    Metadata(Option<Then>),
}

/// What waits for a flush of the own disk alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AfterFlush {
    /// The attachment (after a start everything counts as unflushed, D3).
    Attach,
    /// The new generation of a Primary alone (G2).
    Alone,
    /// The source's identifier of a resync (D9).
    SyncStart(LinkId),
    /// The promotion (D8); a flush of an earlier attempt does not count.
    Promote {
        /// Which attempt.
        attempt: u64,
    },
    /// The target's report that nothing is left (D9).
    NoneLeft(LinkId),
    /// The hand-over of a Primary that has lost its disk (D10).
    TakeOver {
        /// Of which connection.
        link: LinkId,
        /// The generation that it asked for.
        current: u64,
    },
    /// Acknowledging for such a Primary (D18).
    SoleCopy,
    /// The detach under a running node.
    Detach,
    /// `new-current-uuid`.
    ByHand,
    /// The first step of the resize of that number: the new part is zeroed (D20).
    ResizeZeroed {
        /// Which.
        attempt: u64,
    },
    /// The clean detach.
    Leave,
}

impl Node {
    pub(super) fn disk_done(&mut self, io: IoId, outcome: IoOutcome) {
        let Some(purpose) = self.ios.remove(io.0) else {
            unreachable!("invariant: an I/O ends once, and only if it was begun");
        };
        match purpose {
            Purpose::ClientRead { request, buffer, range } => {
                self.client_read_done(request, buffer, range, outcome);
            }
            Purpose::VoidRead(buffer) => self.wish(Output::Release(buffer)),
            Purpose::GuestRead { link, number, buffer, range } => {
                self.guest_read_done(link, number, buffer, range, outcome);
            }
            Purpose::ClientWrite(key) => self.local_write_done(key, outcome),
            Purpose::PairFlush(number) => self.pair_local_done(number, outcome),
            Purpose::Guest(key) => self.guest_write_done(key, outcome),
            Purpose::GuestFlush { link, number } => self.guest_flush_done(link, number, outcome),
            Purpose::SyncRead { link, number, buffer } => {
                self.sync_read_done(link, number, buffer, outcome);
            }
            Purpose::SyncWrite { link, number, buffer } => {
                self.sync_write_done(link, number, buffer, outcome);
            }
            Purpose::VerifyRead(_) => unreachable!("invariant: digests end as such"),
            Purpose::SyncDigest { .. } => unreachable!("invariant: a digest ends as such"),
            Purpose::ResizeZero { attempt, end } => self.resize_zero_done(attempt, end, outcome),
            Purpose::FlushThen(after) => self.flush_then_done(after, outcome),
            Purpose::Metadata(_) => unreachable!("invariant: metadata writes end as such"),
        }
    }

    /// A read for comparison ended, on either end of a resync.
    pub(super) fn digest_done(&mut self, io: IoId, read: Result<Digested, i32>) {
        match self.ios.remove(io.0) {
            Some(Purpose::SyncRead { link, number, buffer }) => {
                self.sync_compare_done(link, number, buffer, read);
            }
            Some(Purpose::SyncDigest { link, number, buffer }) => {
                self.sync_digest_done(link, number, buffer, read);
            }
            other => unreachable!("invariant: {other:?} asks for no digest"),
        }
    }

    /// A read for a verify ended, on either end.
    pub(super) fn digests_done(&mut self, io: IoId, result: Result<Vec<Digest>, i32>) {
        match self.ios.remove(io.0) {
            Some(Purpose::VerifyRead(read)) => self.verify_read_done(read, result),
            other => unreachable!("invariant: {other:?} asks for no digests"),
        }
    }

    pub(super) fn flush_then(&mut self, after: AfterFlush) {
        if self.breaks(Mutation::StartCountsAsFlushed) && follows_a_start(after) {
            return self.flush_then_done(after, IoOutcome::Done { crc32c: 0 });
        }
        let io = self.io(Purpose::FlushThen(after));
        self.wish(Output::DiskFlush { io });
    }

    fn flush_then_done(&mut self, after: AfterFlush, outcome: IoOutcome) {
        if let IoOutcome::Failed { errno } = outcome {
            self.disk_failed(DiskFault::Flush, errno);
        }
        match after {
            AfterFlush::Attach => self.attach_flushed(),
            AfterFlush::Alone => self.alone_flushed(),
            AfterFlush::SyncStart(link) => self.source_flushed(link),
            AfterFlush::Promote { attempt } => self.promote_flushed(attempt),
            AfterFlush::NoneLeft(link) => self.none_left_flushed(link),
            AfterFlush::TakeOver { link, current } => self.take_over_flushed(link, current),
            AfterFlush::SoleCopy => self.sole_flushed(),
            AfterFlush::Detach => self.detach_flushed(),
            AfterFlush::ByHand => self.by_hand_flushed(),
            AfterFlush::ResizeZeroed { attempt } => self.resize_zeroed(attempt),
            AfterFlush::Leave => self.leave_flushed(),
        }
    }

    /// There are no good data, or this node does not serve (any more).
    pub(super) fn fail_request(&mut self, request: RequestId) {
        self.reply(request, Err(self.client_error()), None);
    }

    /// What a client hears that cannot be served.
    pub(super) const fn client_error(&self) -> ClientError {
        match self.role {
            Role::Primary => ClientError::Io,
            Role::Secondary => ClientError::Shutdown,
        }
    }
}
