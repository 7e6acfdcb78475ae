//! The life of a client's write on the Primary, from the request to the answer (D2, D6, D11, D14).
//!
//! claim its range -> its extents into the activity log -> (peer usable: a place in its window,
//! frame to the peer, then the local disk) or (alone: bits, new generation, local disk) -> all
//! disks done -> answer.

use super::Node;
use super::log::LogQueue;
use super::route::Purpose;
use crate::event::{ClientOp, IoOutcome, Lane, Output, Payload};
use crate::ids::{Moment, RequestId};
use crate::message::Message;
use crate::mutation::Mutation;
use crate::overlap::Claim;
use crate::slab::Slab;
use crate::state::{DiskState, Role};
use crate::window::FrameCost;
use metadata::units::ByteRange;
use std::collections::VecDeque;

/// What is written.
#[derive(Debug, Clone, Copy)]
enum Body {
    Data(Payload),
    Zero { may_unmap: bool },
}

/// How far one disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    NotBegun,
    UnderWay,
    Done,
    /// That disk does not take part.
    Missing,
}

/// One write.
#[derive(Debug)]
struct Write {
    request: RequestId,
    range: ByteRange,
    body: Body,
    fua: bool,
    /// Its extents are hot on stable storage and held for it (D1).
    logged: bool,
    local: Part,
    peer: Part,
    sent: Moment,
    /// Its answer was an error already; only the buffers are still busy.
    failed: bool,
}

/// All open writes and what they wait for. A key may be in at most one of the queues.
#[derive(Debug, Default)]
pub(super) struct Writes {
    open: WriteSlab,
    /// Hold their range; wait for the activity log.
    pub(super) log_queue: LogQueue,
    /// Hold their range; wait for the end of a handshake.
    parked: VecDeque<u64>,
    /// Hold their range; wait for a place in the peer's window.
    for_window: VecDeque<u64>,
    /// Written; wait for the new generation.
    for_generation: Vec<u64>,
    /// Sent to the peer, in order, for `ko-count`; finished ones are dropped lazily.
    sent: VecDeque<u64>,
}

#[derive(Debug)]
struct WriteSlab(Slab<Write>);

impl Default for WriteSlab {
    fn default() -> Self {
        Self(Slab::new())
    }
}

impl Writes {
    pub(super) const fn open_count(&self) -> usize {
        self.open.0.len()
    }

    /// Writes that the peer has and has not acknowledged; some finished ones behind the oldest
    /// count too.
    pub(super) fn unacked_count(&self) -> usize {
        self.sent.len()
    }

    /// When the oldest write was sent that the peer has not acknowledged.
    pub(super) fn oldest_sent(&mut self) -> Option<Moment> {
        while let Some(key) = self.sent.front() {
            match self.open.0.get_mut(*key) {
                Some(write) if write.peer == Part::UnderWay => return Some(write.sent),
                Some(_) | None => self.sent.pop_front(),
            };
        }
        None
    }
}

/// What a write may do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// Both disks.
    Mirror,
    /// The own disk, with bits and a generation of its own.
    Alone,
    /// Wait for the end of the handshake.
    Hold,
    /// No disk to write to.
    Fail,
}

impl Node {
    pub(super) fn gate(&self) -> Gate {
        if self.role != Role::Primary || self.replica.state() != DiskState::UpToDate {
            Gate::Fail
        } else if self.peer.is_frozen() {
            Gate::Hold
        } else if self.peer.has_disk() {
            Gate::Mirror
        } else {
            Gate::Alone
        }
    }

    pub(super) fn request(&mut self, request: RequestId, op: ClientOp) {
        self.sync_sees_application();
        match op {
            ClientOp::Read { range, buffer } => self.client_read(request, range, buffer),
            ClientOp::Write { range, payload, fua } => {
                self.counters.client_writes += 1;
                self.counters.client_written_bytes += range.bytes();
                self.write_begin(request, range, Body::Data(payload), fua);
            }
            ClientOp::Zero { range, fua, may_unmap } => {
                self.counters.client_writes += 1;
                self.counters.client_written_bytes += range.bytes();
                self.write_begin(request, range, Body::Zero { may_unmap }, fua);
            }
            ClientOp::Trim { range, fua } => {
                if self.trim_is_cheap() {
                    self.write_begin(request, range, Body::Zero { may_unmap: true }, fua);
                } else if fua {
                    self.client_flush(request);
                } else {
                    self.wish(Output::Reply { request, result: Ok(()) });
                }
            }
            ClientOp::Flush => {
                self.counters.client_flushes += 1;
                self.client_flush(request);
            }
        }
    }

    /// D11: zeroing where both disks do it cheaply, else nothing on both.
    fn trim_is_cheap(&self) -> bool {
        self.replica.attached().is_some_and(|disk| disk.zeroes_cheaply)
            && self.peer.connected().is_none_or(|peer| peer.zeroes_cheaply)
    }

    fn write_begin(&mut self, request: RequestId, range: ByteRange, body: Body, fua: bool) {
        if self.gate() == Gate::Fail {
            if let Body::Data(payload) = body {
                self.wish(Output::Release(payload.buffer));
            }
            self.fail_request(request);
            return;
        }
        let write = Write {
            request,
            range,
            body,
            fua,
            logged: false,
            local: Part::NotBegun,
            peer: Part::NotBegun,
            sent: self.now,
            failed: false,
        };
        let key = self.writes.open.0.insert(write);
        if self.overlap.claim(range, Claim::Write(key)) {
            self.write_start(key);
        }
    }

    /// The range is ours: log it, then write where writing is possible now.
    pub(super) fn write_start(&mut self, key: u64) {
        let gate = self.gate();
        let Some(write) = self.writes.open.0.get_mut(key) else { return };
        if !write.logged && gate != Gate::Fail {
            let range = write.range;
            if !self.log_take(key, range) {
                return;
            }
            self.write_logged(key);
        }
        match gate {
            Gate::Mirror => self.write_both(key),
            Gate::Alone => self.write_alone(key),
            Gate::Hold => self.writes.parked.push_back(key),
            Gate::Fail => self.write_abort(key),
        }
    }

    /// Its extents are hot and held.
    pub(super) fn write_logged(&mut self, key: u64) {
        if let Some(write) = self.writes.open.0.get_mut(key) {
            write.logged = true;
        }
    }

    pub(super) fn write_range(&mut self, key: u64) -> Option<ByteRange> {
        self.writes.open.0.get_mut(key).map(|write| write.range)
    }

    fn write_both(&mut self, key: u64) {
        let now = self.now;
        let Some(write) = self.writes.open.0.get_mut(key) else { return };
        let Some(peer) = self.peer.connected_mut() else { return };
        let cost = write.cost();
        if !self.writes.for_window.is_empty() || !peer.window.take(cost) {
            self.writes.for_window.push_back(key);
            return;
        }
        write.peer = Part::UnderWay;
        write.sent = now;
        let (range, fua) = (write.range, write.fua);
        let (message, payload) = match write.body {
            Body::Data(payload) => (Message::Write { number: key, range, fua }, Some(payload)),
            Body::Zero { may_unmap } => {
                (Message::Zero { number: key, range, fua, may_unmap }, None)
            }
        };
        self.counters.sent_bytes += payload.map_or(0, |payload| u64::from(payload.bytes));
        self.writes.sent.push_back(key);
        // The peer's frame before the local write: the longer way begins first.
        self.send_in(Lane::Fifo, message, payload);
        self.write_local(key);
        self.alive_work_began();
    }

    fn write_alone(&mut self, key: u64) {
        let Some(write) = self.writes.open.0.get_mut(key) else { return };
        write.peer = Part::Missing;
        let touched = write.range.blocks_touched();
        // D2: the bits are set before the write is submitted, so no bitmap sent meanwhile can miss
        // them.
        self.mark_out_of_sync(touched);
        self.begin_alone();
        self.write_local(key);
    }

    fn write_local(&mut self, key: u64) {
        let io = self.io(Purpose::ClientWrite(key));
        let Some(write) = self.writes.open.0.get_mut(key) else { return };
        write.local = Part::UnderWay;
        let (range, fua) = (write.range, write.fua);
        self.counters.disk_written_bytes += range.bytes();
        let wish = match write.body {
            Body::Data(payload) => Output::DiskWrite { io, range, buffer: payload.buffer, fua },
            Body::Zero { may_unmap } => Output::DiskZero { io, range, fua, may_unmap },
        };
        self.wish(wish);
    }

    pub(super) fn local_write_done(&mut self, key: u64, outcome: IoOutcome) {
        if let IoOutcome::Failed { errno } = outcome {
            self.disk_failed("write", errno);
        }
        if let Some(write) = self.writes.open.0.get_mut(key) {
            write.local = Part::Done;
            self.write_check(key);
        }
    }

    /// The peer has written it.
    pub(super) fn write_done_received(&mut self, number: u64) {
        let lenient = self.breaks(Mutation::AckBeforePeer);
        let cost = match self.writes.open.0.get_mut(number) {
            Some(write) if write.peer == Part::UnderWay => {
                write.peer = Part::Done;
                write.cost()
            }
            None if lenient => return,
            Some(_) | None => {
                self.drop_session("the peer acknowledged a write that was not sent");
                return;
            }
        };
        if let Some(peer) = self.peer.connected_mut() {
            peer.window.give(cost);
        }
        self.writes.oldest_sent();
        self.write_check(number);
        self.window_has_room();
    }

    fn window_has_room(&mut self) {
        if self.gate() != Gate::Mirror {
            return;
        }
        let mut waiting = std::mem::take(&mut self.writes.for_window);
        while let Some(key) = waiting.pop_front() {
            self.write_both(key);
            if !self.writes.for_window.is_empty() {
                break;
            }
        }
        self.writes.for_window.append(&mut waiting);
    }

    /// Answers when all disks are done, and gives the range to who waits for it.
    fn write_check(&mut self, key: u64) {
        let Some(write) = self.writes.open.0.get_mut(key) else { return };
        let (local, peer, failed) = (write.local, write.peer, write.failed);
        let alone = match (local, peer) {
            (Part::Done, Part::UnderWay) if self.breaks(Mutation::AckBeforePeer) => false,
            (Part::Done | Part::Missing, Part::Done) => false,
            (Part::Done | Part::Missing, Part::Missing) => true,
            (Part::NotBegun | Part::UnderWay, _) | (_, Part::NotBegun | Part::UnderWay) => return,
        };
        if !failed && alone && !self.begin_alone() {
            self.writes.for_generation.push(key);
            return;
        }
        self.write_finish(key);
    }

    fn write_finish(&mut self, key: u64) {
        let Some(write) = self.writes.open.0.remove(key) else { return };
        if let Body::Data(payload) = write.body {
            self.wish(Output::Release(payload.buffer));
        }
        if !write.failed {
            if !write.fua {
                self.unflushed.insert(write.range.blocks_touched());
                self.flush_soon();
            }
            self.wish(Output::Reply { request: write.request, result: Ok(()) });
        }
        if write.logged {
            self.log_give_back(write.range);
        }
        self.give_range_back(write.range);
        self.demote_when_quiet();
    }

    pub(super) fn give_range_back(&mut self, range: ByteRange) {
        let mut granted = Vec::new();
        self.overlap.release(range, &mut granted);
        for claim in granted {
            match claim {
                Claim::Write(key) => self.write_start(key),
                Claim::Sync(number) => self.sync_granted(number),
            }
        }
    }

    /// The peer is gone: what it has not acknowledged goes on alone, its bits set (D4).
    pub(super) fn writes_lose_peer(&mut self) {
        self.writes.sent.clear();
        let waiting = std::mem::take(&mut self.writes.for_window);
        let mut on_their_way = Vec::new();
        for key in self.writes.open.0.keys() {
            let Some(write) = self.writes.open.0.get_mut(key) else { continue };
            match write.peer {
                // Done: the peer has it in a cache that may be lost with it, and the local disk is
                // still busy. What is in flight at the loss counts as acknowledged alone (G2).
                Part::UnderWay | Part::Done => {
                    write.peer = Part::Missing;
                    on_their_way.push((key, write.range.blocks_touched()));
                }
                Part::NotBegun | Part::Missing => {}
            }
        }
        for (_, blocks) in &on_their_way {
            self.mark_out_of_sync(*blocks);
        }
        // Parked for whoever decides next: the caller resumes them when the session is really over.
        self.writes.parked.extend(waiting);
        for (key, _) in on_their_way {
            self.write_check(key);
        }
    }

    pub(super) fn writes_answer_alone(&mut self) {
        for key in std::mem::take(&mut self.writes.for_generation) {
            self.write_check(key);
        }
    }

    /// The handshake is over, or the session: whoever waited for that goes on.
    pub(super) fn resume_parked(&mut self) {
        if self.gate() == Gate::Hold {
            return;
        }
        for key in std::mem::take(&mut self.writes.parked) {
            self.write_start(key);
        }
        self.writes_answer_alone();
        self.pairs_answer_alone();
        self.flushes_resume();
        self.window_has_room();
    }

    fn write_abort(&mut self, key: u64) {
        if let Some(write) = self.writes.open.0.get_mut(key) {
            write.local = Part::Missing;
            write.peer = if write.peer == Part::UnderWay { Part::UnderWay } else { Part::Missing };
            if !write.failed {
                write.failed = true;
                let request = write.request;
                self.fail_request(request);
            }
            self.write_check(key);
        }
    }

    /// The local disk is gone under a Primary: every client gets its error now; buffers stay until
    /// I/O returns.
    pub(super) fn fail_everything(&mut self) {
        let stuck: Vec<u64> = std::mem::take(&mut self.writes.parked)
            .into_iter()
            .chain(std::mem::take(&mut self.writes.for_window))
            .chain(self.writes.log_queue.take_all())
            .collect();
        for key in self.writes.open.0.keys() {
            let Some(write) = self.writes.open.0.get_mut(key) else { continue };
            if !write.failed {
                write.failed = true;
                let request = write.request;
                self.fail_request(request);
            }
        }
        for key in stuck.into_iter().chain(std::mem::take(&mut self.writes.for_generation)) {
            self.write_abort(key);
        }
        self.flushes_fail();
    }
}

impl Write {
    fn cost(&self) -> FrameCost {
        match self.body {
            Body::Data(payload) => FrameCost::of(payload.bytes),
            Body::Zero { .. } => FrameCost::Bare,
        }
    }
}
