//! The peer's writes on this node's disk: applied as they come, acknowledged when completed (D2,
//! D11, D15).

use super::Node;
use super::route::Purpose;
use crate::event::{IoOutcome, Lane, Output, Payload};
use crate::ids::{BufferId, LinkId};
use crate::message::Message;
use crate::slab::Slab;
use crate::state::Role;
use metadata::units::ByteRange;

/// One write of the peer.
#[derive(Debug)]
struct GuestWrite {
    link: LinkId,
    number: u64,
    buffer: Option<BufferId>,
}

/// The peer's work on this disk.
#[derive(Debug)]
pub(super) struct Guest {
    open: Slab<GuestWrite>,
    flushes_open: u32,
    /// Resync writes of this node as target: the peer's data too.
    pub(super) sync_writes_open: u32,
}

impl Default for Guest {
    fn default() -> Self {
        Self { open: Slab::new(), flushes_open: 0, sync_writes_open: 0 }
    }
}

impl Guest {
    /// True while I/O that the peer asked for has not returned (D15).
    pub(super) const fn is_busy(&self) -> bool {
        self.open.len() > 0 || self.flushes_open > 0 || self.sync_writes_open > 0
    }

    pub(super) const fn open_count(&self) -> usize {
        self.open.len()
    }
}

impl Node {
    pub(super) fn guest_write(
        &mut self,
        number: u64,
        range: ByteRange,
        fua: bool,
        payload: Payload,
    ) {
        if !self.guest_may_write(range) {
            self.wish(Output::Release(payload.buffer));
            return;
        }
        self.sync_sees_application();
        self.counters.received_bytes += u64::from(payload.bytes);
        let io = self.guest_io(number, Some(payload.buffer), range);
        self.wish(Output::DiskWrite { io, range, buffer: payload.buffer, fua });
    }

    pub(super) fn guest_zero(&mut self, number: u64, range: ByteRange, fua: bool, may_unmap: bool) {
        if self.guest_may_write(range) {
            self.sync_sees_application();
            let io = self.guest_io(number, None, range);
            self.wish(Output::DiskZero { io, range, fua, may_unmap });
        }
    }

    fn guest_io(
        &mut self,
        number: u64,
        buffer: Option<BufferId>,
        range: ByteRange,
    ) -> crate::ids::IoId {
        let link = self.peer.session.as_ref().map_or(LinkId(0), |session| session.link);
        self.counters.disk_written_bytes += range.bytes();
        let key = self.guest.open.insert(GuestWrite { link, number, buffer });
        self.io(Purpose::Guest(key))
    }

    /// A Primary never applies a peer's write (D15). Without a disk the peer has been told, and
    /// counts it as lost.
    fn guest_may_write(&mut self, range: ByteRange) -> bool {
        let Some(disk) = self.replica.attached() else { return false };
        let inside = range.end() <= disk.size_bytes();
        let aligned = (range.start() | range.bytes())
            .is_multiple_of(u64::from(disk.logical_block_bytes))
            || range.end() == disk.size_bytes();
        if self.role == Role::Primary {
            self.drop_session("the peer wrote to a Primary");
            return false;
        }
        if !inside || !aligned {
            self.drop_session("the peer wrote past the end of the device, or unaligned");
            return false;
        }
        true
    }

    pub(super) fn guest_write_done(&mut self, key: u64, outcome: IoOutcome) {
        let Some(write) = self.guest.open.remove(key) else { return };
        match outcome {
            IoOutcome::Failed { errno } => self.disk_failed("write", errno),
            IoOutcome::Done { .. }
                if self.is_session(write.link) && self.replica.attached().is_some() =>
            {
                self.send_in(Lane::Urgent, Message::WriteDone { number: write.number }, None);
            }
            IoOutcome::Done { .. } => {}
        }
        if let Some(buffer) = write.buffer {
            self.wish(Output::Release(buffer));
        }
        self.promote_when_quiet();
    }

    /// Everything acknowledged before is completed, so one flush of the disk covers it (D3).
    pub(super) fn guest_flush(&mut self, number: u64) {
        if self.replica.attached().is_none() {
            return;
        }
        self.follow.seal(number);
        let link = self.peer.session.as_ref().map_or(LinkId(0), |session| session.link);
        self.guest.flushes_open += 1;
        let io = self.io(Purpose::GuestFlush { link, number });
        self.wish(Output::DiskFlush { io });
    }

    pub(super) fn guest_flush_done(&mut self, link: LinkId, number: u64, outcome: IoOutcome) {
        self.guest.flushes_open -= 1;
        match outcome {
            IoOutcome::Failed { errno } => self.disk_failed("flush", errno),
            IoOutcome::Done { .. }
                if self.is_session(link) && self.replica.attached().is_some() =>
            {
                self.send_in(Lane::Urgent, Message::FlushDone { number }, None);
            }
            IoOutcome::Done { .. } => {}
        }
        self.promote_when_quiet();
    }
}
