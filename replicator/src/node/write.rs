//! The life of a client's write on the Primary, from the request to the answer (D2, D6, D11, D14).
//!
//! claim its range -> its extents into the activity log -> (peer usable: a place in its window,
//! frame to the peer, then the local disk) or (alone: bits, new generation, local disk) -> all
//! disks done -> answer.

use super::Node;
use super::access::Gate;
use super::log::{LogQueue, LogUser};
use super::route::Purpose;
use crate::event::{ClientOp, IoOutcome, Lane, Output, Payload};
use crate::ids::{Moment, RequestId};
use crate::message::Message;
use crate::mutation::Mutation;
use crate::overlap::Claim;
use crate::slab::Slab;
use crate::state::DiskState;
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
pub(super) enum Part {
    NotBegun,
    UnderWay,
    Done,
    /// That disk does not take part.
    Missing,
}

/// Where a write ended up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Both,
    /// On the peer's disk alone.
    Far,
    /// On the own disk alone.
    Near,
    Nowhere,
}

/// One write.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) request: RequestId,
    pub(super) range: ByteRange,
    body: Body,
    fua: bool,
    /// Its extents are hot on stable storage and held for it (D1).
    pub(super) logged: bool,
    pub(super) local: Part,
    pub(super) peer: Part,
    sent: Moment,
    /// Its answer was an error already; only its I/O has not returned.
    pub(super) failed: bool,
}

/// All open writes and what they wait for. A key may be in at most one of the queues.
#[derive(Debug, Default)]
pub(super) struct Writes {
    pub(super) open: WriteSlab,
    /// Hold their range; wait for the activity log.
    pub(super) log_queue: LogQueue,
    /// Hold their range; wait for the end of a handshake.
    pub(super) parked: VecDeque<u64>,
    /// Hold their range; wait for a place in the peer's window.
    pub(super) for_window: VecDeque<u64>,
    /// Written; wait for the new generation, or for the end of a hand-over.
    pub(super) for_generation: Vec<u64>,
    /// Sent to the peer, in order, for `ko-count`; finished ones are dropped lazily.
    pub(super) sent: VecDeque<u64>,
}

#[derive(Debug)]
pub(super) struct WriteSlab(pub(super) Slab<Write>);

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

    /// True when no write has I/O on the own disk, or holds its log.
    pub(super) fn local_is_quiet(&mut self) -> bool {
        self.open.0.keys().into_iter().all(|key| {
            self.open.0.get_mut(key).is_none_or(|write| {
                write.local != Part::UnderWay && (!write.logged || write.local == Part::NotBegun)
            })
        })
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

impl Node {
    pub(super) fn request(&mut self, request: RequestId, op: ClientOp) {
        let Some(op) = self.hold_request(request, op) else { return };
        self.sync_sees_application();
        self.verify_sees_application();
        if self.resize.holds() && !matches!(op, ClientOp::Read { .. }) {
            self.resize.hold(request, op);
            return;
        }
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
                for (request, range) in self.pieces_of(request, range) {
                    self.write_begin(request, range, Body::Zero { may_unmap }, fua);
                }
            }
            ClientOp::Trim { range, fua } => {
                if self.trim_is_cheap() {
                    for (request, range) in self.pieces_of(request, range) {
                        self.write_begin(request, range, Body::Zero { may_unmap: true }, fua);
                    }
                } else if fua {
                    self.client_flush(request);
                } else {
                    self.reply(request, Ok(()), None);
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
        if self.breaks(Mutation::OverlapNotSerialised)
            || self.overlap.claim(range, Claim::Write(key))
        {
            self.write_start(key);
        }
    }

    /// The range is ours: log it, then write where writing is possible now.
    pub(super) fn write_start(&mut self, key: u64) {
        let gate = self.gate();
        let spared = self.breaks(Mutation::TargetPrimaryKeepsNoLog)
            && self.replica.state() != DiskState::UpToDate;
        let Some(write) = self.writes.open.0.get_mut(key) else { return };
        let keeps_log = match gate {
            Gate::Mirror | Gate::Alone => !spared,
            Gate::Remote | Gate::Hold | Gate::Fail => false,
        };
        if keeps_log && !write.logged {
            let range = write.range;
            if !self.log_take(LogUser::Write(key), range) {
                return;
            }
            self.write_logged(key);
        }
        match gate {
            Gate::Mirror => self.write_to_peer(key, Part::NotBegun),
            Gate::Remote => self.write_to_peer(key, Part::Missing),
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

    /// To the peer, and to the own disk unless that is missing.
    fn write_to_peer(&mut self, key: u64, local: Part) {
        let (now, overruns) = (self.now, self.breaks(Mutation::WindowIgnored));
        let Some(write) = self.writes.open.0.get_mut(key) else { return };
        let Some(peer) = self.peer.connected_mut() else { return };
        let cost = write.cost();
        let room = self.writes.for_window.is_empty() && peer.window.take(cost);
        if !room && !overruns {
            self.writes.for_window.push_back(key);
            return;
        }
        (write.local, write.peer) = (local, Part::UnderWay);
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
        if self.breaks(Mutation::WriteCancelsClear) {
            self.pairs.cancel_clear(range.blocks_touched());
        }
        // The peer's frame before the local write: the longer way begins first.
        self.send_in(Lane::Fifo, message, payload);
        if local == Part::NotBegun {
            self.write_local(key);
        }
        self.alive_work_began();
    }

    fn write_alone(&mut self, key: u64) {
        let Some(write) = self.writes.open.0.get_mut(key) else { return };
        write.peer = Part::Missing;
        let range = write.range;
        // D2: the bits are set before the write is submitted, so no bitmap sent meanwhile can miss
        // them.
        let late = self.breaks(Mutation::BitsAfterWrite);
        if !self.breaks(Mutation::AloneWithoutBits) && !late {
            self.mark_written_alone(range);
        }
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
        // Of a disk that was given up meanwhile: its writes go on without it.
        let Some(write) = self.writes.open.0.get_mut(key) else { return };
        if write.local != Part::UnderWay {
            return;
        }
        match outcome {
            IoOutcome::Done { .. } => {
                write.local = Part::Done;
                let (range, alone) = (write.range, write.peer == Part::Missing);
                if alone && self.breaks(Mutation::BitsAfterWrite) {
                    self.mark_written_alone(range);
                }
            }
            IoOutcome::Failed { errno } => {
                let blocks = write.range.blocks_touched();
                write.local = Part::Missing;
                self.write_failed(blocks, errno);
            }
        }
        self.write_check(key);
    }

    /// The peer has written it.
    pub(super) fn write_done_received(&mut self, number: u64) {
        if self.peer_answered(number) {
            self.write_check(number);
            self.window_has_room();
        }
    }

    /// The peer's disk, which is kept, does not have it (D12).
    pub(super) fn write_failed_received(&mut self, number: u64) {
        if !self.peer_answered(number) {
            return;
        }
        if let Some(write) = self.writes.open.0.get_mut(number) {
            let blocks = write.range.blocks_touched();
            self.mark_out_of_sync(blocks);
        }
        self.write_check(number);
        self.window_has_room();
    }

    fn peer_answered(&mut self, number: u64) -> bool {
        let lenient = self.breaks(Mutation::AckBeforePeer);
        let cost = match self.writes.open.0.get_mut(number) {
            Some(write) if write.peer == Part::UnderWay => {
                write.peer = Part::Done;
                write.cost()
            }
            None if lenient => return false,
            Some(_) | None => {
                self.drop_session("the peer acknowledged a write that was not sent");
                return false;
            }
        };
        let kept = self.breaks(Mutation::WindowPlaceLost);
        if let Some(peer) = self.peer.connected_mut().filter(|_| !kept) {
            peer.window.give(cost);
        }
        self.writes.oldest_sent();
        self.log_drops_at_the_peers_word(number);
        true
    }

    fn window_has_room(&mut self) {
        // Without good data there is no window to wait for any more: the rest is refused.
        match self.gate() {
            Gate::Mirror | Gate::Remote | Gate::Alone => {}
            Gate::Fail if !self.breaks(Mutation::WindowOutlivesData) => {}
            Gate::Fail | Gate::Hold => return,
        }
        let mut waiting = std::mem::take(&mut self.writes.for_window);
        while let Some(key) = waiting.pop_front() {
            self.write_start(key);
            if !self.writes.for_window.is_empty() {
                break;
            }
        }
        self.writes.for_window.append(&mut waiting);
    }

    /// Answers when all disks are done, and gives the range to who waits for it.
    pub(super) fn write_check(&mut self, key: u64) {
        let Some(write) = self.writes.open.0.get_mut(key) else { return };
        let (local, peer, failed) = (write.local, write.peer, write.failed);
        let ending = match (local, peer) {
            (Part::Done, Part::UnderWay) if self.breaks(Mutation::AckBeforePeer) => Ending::Both,
            (Part::UnderWay, Part::Done) if self.breaks(Mutation::AckBeforeOwnDisk) => Ending::Both,
            (Part::Done, Part::Done) => Ending::Both,
            (Part::Missing, Part::Done) => Ending::Far,
            (Part::Done, Part::Missing) => Ending::Near,
            (Part::Missing, Part::Missing) => Ending::Nowhere,
            (Part::NotBegun | Part::UnderWay, _) | (_, Part::NotBegun | Part::UnderWay) => return,
        };
        if failed {
            self.write_finish(key);
            return;
        }
        let up_to_date = self.replica.state() == DiskState::UpToDate
            || self.breaks(Mutation::InconsistentGoesOnAlone);
        match ending {
            Ending::Both if up_to_date => self.write_finish(key),
            Ending::Both | Ending::Far if self.far_answers_count() => self.write_finish(key),
            Ending::Near if up_to_date && self.begin_alone() => self.write_finish(key),
            Ending::Both | Ending::Far if self.peer.disk() == DiskState::UpToDate => {
                self.writes.for_generation.push(key);
            }
            Ending::Near if up_to_date => self.writes.for_generation.push(key),
            // D2: no UpToDate disk has it.
            Ending::Both | Ending::Far | Ending::Near | Ending::Nowhere => self.write_restart(key),
        }
    }

    fn write_finish(&mut self, key: u64) {
        let Some(write) = self.writes.open.0.remove(key) else { return };
        if let Body::Data(payload) = write.body {
            self.wish(Output::Release(payload.buffer));
        }
        if !write.failed {
            if write.fua && self.breaks(Mutation::PartFlushClears) {
                self.unflushed.remove(write.range.blocks_touched());
            }
            if !write.fua && write.local == Part::Done {
                self.unflushed.insert(write.range.blocks_touched());
                self.flush_soon();
            }
            self.reply(write.request, Ok(()), None);
        }
        if write.logged {
            self.log_give_back(write.range);
        }
        self.give_range_back(write.range);
    }

    pub(super) fn give_range_back(&mut self, range: ByteRange) {
        let mut granted = Vec::new();
        if self.breaks(Mutation::OverlapNotSerialised) {
            return;
        }
        self.overlap.release(range, &mut granted);
        for claim in granted {
            match claim {
                Claim::Write(key)
                    if self.breaks(Mutation::TargetLocksToo) && !self.is_arbiter() =>
                {
                    self.guest_submit(key);
                }
                Claim::Write(key) => self.write_start(key),
                Claim::Sync(number) => self.sync_granted(number),
                Claim::Verify(number) => self.verify_granted(number),
            }
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
        self.answer_held();
        self.writes_answer_alone();
        self.pairs_answer_alone();
        self.reads_resume();
        self.flushes_resume();
        self.window_has_room();
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
