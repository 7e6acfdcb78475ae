//! The peer's writes on this node's disk: applied as they come, acknowledged when completed (D2,
//! D11, D15).

use super::Node;
use super::disk_loss::DiskFault;
use super::log::LogUser;
use super::route::Purpose;
use crate::event::{IoOutcome, Lane, Output, Payload};
use crate::ids::{BufferId, LinkId};
use crate::message::Message;
use crate::mutation::Mutation;
use crate::overlap::Claim;
use crate::slab::Slab;
use crate::state::Role;
use metadata::units::ByteRange;

/// One write of the peer.
#[derive(Debug)]
struct GuestWrite {
    link: LinkId,
    number: u64,
    range: ByteRange,
    body: Body,
    fua: bool,
    /// Its extents are held in the own log (D10).
    logged: bool,
}

/// What is written.
#[derive(Debug, Clone, Copy)]
enum Body {
    Data(BufferId),
    Zero { may_unmap: bool },
}

/// The peer's work on this disk.
#[derive(Debug)]
pub(super) struct Guest {
    open: Slab<GuestWrite>,
    flushes_open: u32,
    /// Not begun: the disk is being detached.
    held: Vec<u64>,
    /// Resync writes of this node as target: the peer's data too.
    pub(super) sync_writes_open: u32,
}

impl Default for Guest {
    fn default() -> Self {
        Self { open: Slab::new(), flushes_open: 0, held: Vec::new(), sync_writes_open: 0 }
    }
}

impl Guest {
    /// True while I/O that the peer asked for has not returned (D15).
    pub(super) const fn is_busy(&self) -> bool {
        self.open.len() > self.held.len() || self.flushes_open > 0 || self.sync_writes_open > 0
    }

    pub(super) const fn open_count(&self) -> usize {
        self.open.len()
    }
}

impl Node {
    /// True while I/O that the peer asked for may still reach the disk (D15). A disk that was given
    /// up is nobody's successor's: its I/O holds nothing up.
    pub(super) fn guest_holds_disk(&self) -> bool {
        let given_up = self.replica.is_gone() && !self.breaks(Mutation::GivenUpDiskHoldsUp);
        self.guest.is_busy() && !given_up
    }

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
        let fua = fua && !self.breaks(Mutation::FuaPlainOnPeer);
        self.guest_begin(number, range, fua, Body::Data(payload.buffer));
    }

    pub(super) fn guest_zero(&mut self, number: u64, range: ByteRange, fua: bool, may_unmap: bool) {
        if self.guest_may_write(range) {
            self.sync_sees_application();
            self.guest_begin(number, range, fua, Body::Zero { may_unmap });
        }
    }

    fn guest_begin(&mut self, number: u64, range: ByteRange, fua: bool, body: Body) {
        let link = self.peer.session.as_ref().map_or(LinkId(0), |session| session.link);
        self.sync_sees_guest_write(range);
        let write = GuestWrite { link, number, range, body, fua, logged: false };
        let key = self.guest.open.insert(write);
        if self.detaching.is_some() && !self.breaks(Mutation::DetachStarves) {
            // It would not end while the peer's clients write. The peer is told when it is over.
            self.guest.held.push(key);
            return;
        }
        self.guest_starts(key, range);
    }

    /// The detach was broken off: what it has held back goes on, unless its connection is over.
    pub(super) fn guest_submits_held(&mut self) {
        for key in std::mem::take(&mut self.guest.held) {
            let Some(write) = self.guest.open.get_mut(key) else { continue };
            let (link, range) = (write.link, write.range);
            if self.is_session(link) {
                self.guest_starts(key, range);
            } else {
                self.guest_forget(key);
            }
        }
    }

    fn guest_starts(&mut self, key: u64, range: ByteRange) {
        let free =
            !self.breaks(Mutation::TargetLocksToo) || self.overlap.claim(range, Claim::Write(key));
        if free && self.guest_may_begin(key, range) {
            self.guest_submit(key);
        }
    }

    /// A write of the peer there has not ended.
    pub(super) fn guest_writes_to(&mut self, range: ByteRange) -> bool {
        let open = &mut self.guest.open;
        open.keys()
            .into_iter()
            .any(|key| open.get_mut(key).is_some_and(|write| write.range.overlaps(range)))
    }

    /// Its extents are held in the own log from now on.
    pub(super) fn guest_logs(&mut self, key: u64) {
        if let Some(write) = self.guest.open.get_mut(key) {
            write.logged = true;
        }
    }

    /// The extents that it waited for are durably hot.
    pub(super) fn guest_logged(&mut self, key: u64) {
        self.guest_logs(key);
        let Some(write) = self.guest.open.get_mut(key) else { return };
        let (link, range) = (write.link, write.range);
        if self.is_session(link) {
            self.mark_out_of_sync(range.blocks_touched());
            self.guest_submit(key);
        } else {
            self.log_give_back(range);
            self.guest_forget(key);
        }
    }

    pub(super) fn guest_submit(&mut self, key: u64) {
        let io = self.io(Purpose::Guest(key));
        let Some(write) = self.guest.open.get_mut(key) else { return };
        let (range, fua) = (write.range, write.fua);
        self.counters.disk_written_bytes += range.bytes();
        let wish = match write.body {
            Body::Data(buffer) => Output::DiskWrite { io, range, buffer, fua },
            Body::Zero { may_unmap } => Output::DiskZero { io, range, fua, may_unmap },
        };
        self.wish(wish);
    }

    /// It will not be written.
    fn guest_forget(&mut self, key: u64) {
        if let Some(GuestWrite { body: Body::Data(buffer), .. }) = self.guest.open.remove(key) {
            self.wish(Output::Release(buffer));
        }
    }

    /// The own disk is gone, and its log with it: the peer's writes that waited for it will not be
    /// written, clients' go elsewhere.
    pub(super) fn guest_loses_disk(&mut self) {
        for key in std::mem::take(&mut self.guest.held) {
            self.guest_forget(key);
        }
        for user in self.writes.log_queue.take_all() {
            match user {
                LogUser::Guest(key) => self.guest_forget(key),
                LogUser::Write(key) => self.writes.parked.push_back(key),
            }
        }
        for key in self.guest.open.keys() {
            if let Some(write) = self.guest.open.get_mut(key) {
                write.logged = false;
            }
        }
        self.sole_loses_disk();
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
        let logged = write.logged.then_some(write.range);
        if self.breaks(Mutation::TargetLocksToo) {
            self.give_range_back(write.range);
        }
        match outcome {
            IoOutcome::Failed { errno } => {
                if let Some(range) = logged {
                    self.log_give_back(range);
                }
                self.guest_write_failed(write.link, write.number, write.range, errno);
            }
            IoOutcome::Done { .. } => {
                self.guest_acknowledge(write.link, write.number, write.fua, logged);
            }
        }
        if let Body::Data(buffer) = write.body {
            self.wish(Output::Release(buffer));
        }
    }

    /// Everything acknowledged before is completed, so one flush of the disk covers it (D3).
    pub(super) fn guest_flush(&mut self, number: u64) {
        if self.replica.attached().is_none() {
            return;
        }
        self.follow.seal(number);
        if self.breaks(Mutation::PeerSkipsFlush) {
            self.send_in(Lane::Urgent, Message::FlushDone { number }, None);
            return;
        }
        let link = self.peer.session.as_ref().map_or(LinkId(0), |session| session.link);
        self.guest.flushes_open += 1;
        let io = self.io(Purpose::GuestFlush { link, number });
        self.wish(Output::DiskFlush { io });
    }

    pub(super) fn guest_flush_done(&mut self, link: LinkId, number: u64, outcome: IoOutcome) {
        self.guest.flushes_open -= 1;
        match outcome {
            IoOutcome::Failed { errno } => self.disk_failed(DiskFault::Flush, errno),
            IoOutcome::Done { .. }
                if self.is_session(link) && self.replica.attached().is_some() =>
            {
                self.send_in(Lane::Urgent, Message::FlushDone { number }, None);
            }
            IoOutcome::Done { .. } => {}
        }
    }
}
