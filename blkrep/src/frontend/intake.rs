//! Requests of an NBD client on their way into the engine: header, budget, buffers, payload,
//! pieces.

use super::map::MAP_BYTES;
use super::request::{OPEN_REQUESTS_MAX, PieceName, RangeRest, RangeWork};
use super::session::{Phase, Session, SessionEnd, Surroundings, WAITING_REPLIES_MAX};
use crate::ring::arena::{Arena, Pool, Span};
use metadata::units::ByteRange;
use nbd_server::{
    Availability, Errno as NbdErrno, Operation, REQUEST_HEADER_BYTES, Rejected, ReplyHead, Request,
    RequestHeader, rejection_head, reply_head, validate,
};
use replicator::event::{ClientOp, Input, Lane, Payload};
use replicator::ids::BufferId;
use replicator::settings::{BUFFER_CLASS_BYTES, PIECE_BYTES_MAX, buffer_class};

const HEADER_BYTES: u32 = REQUEST_HEADER_BYTES as u32;

/// What the next bytes of the stream are.
#[derive(Debug)]
pub(super) enum Intake {
    /// The header of a request.
    Header,
    /// A request was read and waits for budget or buffers; what follows it is not looked at.
    Postponed(Request),
    /// The payload of a write.
    Payload(WriteIntake),
    /// The payload of a refused request.
    Skip(Refused),
}

/// A refused request. Its answer waits until its payload is read: a client that still sends the
/// payload (libnbd does) takes an answer to a request that it has not finished sending for a
/// server's bug and gives up.
#[derive(Debug)]
pub(super) struct Refused {
    left_bytes: u32,
    answer: ReplyHead,
}

/// A write whose payload is coming.
#[derive(Debug)]
pub(super) struct WriteIntake {
    slot: u8,
    next: u64,
    left_bytes: u32,
    fua: bool,
    /// The piece that is being filled.
    pub(super) filling: Option<Filling>,
}

/// A piece that is being filled.
#[derive(Debug)]
pub(super) struct Filling {
    /// All of it.
    pub(super) span: Span,
    /// Bytes that are there.
    pub(super) filled: u32,
}

impl Filling {
    /// The part that is missing.
    pub(super) fn rest(&self) -> Option<Span> {
        let Span { buffer, bytes, .. } = self.span;
        let rest = Span { buffer, start: self.filled, bytes: bytes - self.filled };
        (rest.bytes > 0).then_some(rest)
    }
}

impl Session {
    /// Takes the next step in the stream of requests; false when it must wait.
    pub(super) fn take_request(
        &mut self,
        around: &mut Surroundings<'_>,
    ) -> Result<bool, SessionEnd> {
        match &mut self.intake {
            Intake::Header => self.take_header(around.arena),
            Intake::Postponed(request) => {
                let request = *request;
                Ok(self.begin(around, request))
            }
            Intake::Payload(_) => Ok(self.take_payload(around)),
            Intake::Skip(Refused { left_bytes, answer }) => {
                let bytes = self.inbox.waiting_bytes().min(*left_bytes);
                self.inbox.consume(bytes);
                *left_bytes -= bytes;
                let is_over = *left_bytes == 0;
                if is_over {
                    self.queue.push(Lane::Fifo, answer.as_bytes(), None);
                    self.intake = Intake::Header;
                }
                Ok(is_over)
            }
        }
    }

    fn take_header(&mut self, arena: &Arena) -> Result<bool, SessionEnd> {
        let Phase::Serving(serving) = &self.phase else { return Ok(false) };
        let bytes = self.inbox.peek(arena, HEADER_BYTES);
        let Some(header) = bytes.and_then(|bytes| bytes.first_chunk()) else { return Ok(false) };
        if self.requests.count() >= OPEN_REQUESTS_MAX
            || self.queue.waiting_frames() >= WAITING_REPLIES_MAX
        {
            self.is_starved = true;
            return Ok(false);
        }
        let header = RequestHeader::parse(header);
        self.inbox.consume(HEADER_BYTES);
        match validate(&header, &serving.export, serving.negotiated) {
            Ok(request) => self.intake = Intake::Postponed(request),
            Err(Rejected::Reply { cookie, errno, skip_payload_bytes, why }) => {
                let answer = rejection_head(self.negotiated, cookie, errno, why);
                self.intake = Intake::Skip(Refused { left_bytes: skip_payload_bytes, answer });
            }
            Err(Rejected::Fatal(fatal)) => return Err(fatal.into()),
        }
        Ok(true)
    }

    /// Begins a request for which the budget and the buffers are there; false when they are not.
    fn begin(&mut self, around: &mut Surroundings<'_>, request: Request) -> bool {
        let Some(reply_to) = request.reply_to() else {
            // What came behind the disconnect is not looked at; what is open is answered first.
            self.phase = Phase::Leaving;
            return true;
        };
        if matches!(around.availability, Availability::Refused { .. }) {
            let answer = reply_head(self.negotiated, reply_to, Err(NbdErrno::Eshutdown));
            let left_bytes = payload_bytes(&request.op);
            self.intake = Intake::Skip(Refused { left_bytes, answer });
            return true;
        }
        let cost_bytes = buffer_bytes(&request.op);
        let open_bytes = self.requests.cost_bytes() + self.queue.payload_bytes();
        let limit_bytes = around.budget_bytes.min(fair_bytes(around.arena, &request.op));
        if open_bytes > 0 && open_bytes + cost_bytes > limit_bytes {
            self.is_starved = true;
            return false;
        }
        let range_rest = |offset, bytes: u32, fua, work| {
            Some(RangeRest { next: offset, end: offset + u64::from(bytes), fua, work })
        };
        self.intake = Intake::Header;
        match request.op {
            Operation::Read { offset, bytes, dont_fragment: _ } => {
                let slot = self.requests.open(reply_to, cost_bytes, None);
                if !self.start_read(around, slot, offset, bytes) {
                    self.requests.close(slot);
                    self.intake = Intake::Postponed(request);
                    self.is_starved = true;
                    return false;
                }
            }
            Operation::Write { offset, bytes, fua } => {
                let slot = self.requests.open(reply_to, cost_bytes, None);
                self.requests.get(slot).is_coming = true;
                let (next, left_bytes, filling) = (offset, bytes, None);
                self.intake = Intake::Payload(WriteIntake { slot, next, left_bytes, fua, filling });
            }
            Operation::WriteZeroes { offset, bytes, fua, no_hole, fast: _ } => {
                let work = RangeWork::Zero { may_unmap: !no_hole };
                let rest = range_rest(offset, bytes, fua, work);
                let slot = self.requests.open(reply_to, 0, rest);
                self.start_range_pieces(around, slot);
            }
            Operation::Trim { offset, bytes, fua } => {
                let rest = range_rest(offset, bytes, fua, RangeWork::Trim);
                let slot = self.requests.open(reply_to, 0, rest);
                self.start_range_pieces(around, slot);
            }
            Operation::Flush => {
                let slot = self.requests.open(reply_to, 0, None);
                self.start_piece(around, slot, ClientOp::Flush);
            }
            Operation::Cache { .. } => {
                let slot = self.requests.open(reply_to, 0, None);
                self.answer_if_done(around.arena, slot);
            }
            Operation::BlockStatus { offset, bytes, one_extent } => {
                let range = ByteRange::new(offset, u64::from(bytes));
                let block_bytes = self.block_bytes();
                if !self.start_map(around, reply_to, range, block_bytes, one_extent) {
                    self.intake = Intake::Postponed(request);
                    self.is_starved = true;
                    return false;
                }
            }
            Operation::Disconnect => {}
        }
        true
    }

    /// Smallest block that the client was told of.
    fn block_bytes(&self) -> u32 {
        match &self.phase {
            Phase::Serving(serving) => serving.export.block_bytes_min,
            Phase::Greeting(_) | Phase::Leaving => 1,
        }
    }

    /// Starts the pieces of a read, all of them or none.
    fn start_read(
        &mut self,
        around: &mut Surroundings<'_>,
        slot: u8,
        offset: u64,
        bytes: u32,
    ) -> bool {
        let mut done_bytes = 0;
        while done_bytes < bytes {
            let piece_bytes = (bytes - done_bytes).min(PIECE_BYTES_MAX);
            let Some(buffer) = around.arena.allocate(Pool::Client, piece_bytes) else {
                for span in self.requests.get(slot).read.drain(..) {
                    around.arena.release(span.buffer);
                }
                return false;
            };
            self.requests.get(slot).read.push(Span::head(buffer, piece_bytes));
            done_bytes += piece_bytes;
        }
        let mut start = offset;
        for piece in 0..self.requests.get(slot).read.len() {
            let Span { buffer, bytes, .. } = self.requests.get(slot).read[piece];
            // One hold is the engine's until it releases it, one is ours until the reply is sent.
            around.arena.retain(buffer);
            let range = ByteRange::new(start, u64::from(bytes));
            start = range.end();
            self.start_piece(around, slot, ClientOp::Read { range, buffer });
        }
        true
    }

    fn take_payload(&mut self, around: &mut Surroundings<'_>) -> bool {
        let Intake::Payload(write) = &mut self.intake else { return false };
        let slot = write.slot;
        if write.left_bytes == 0 {
            self.intake = Intake::Header;
            self.requests.get(slot).is_coming = false;
            self.answer_if_done(around.arena, slot);
            return true;
        }
        if write.filling.is_none() {
            let Some(span) = write_buffer(around.arena, write.left_bytes) else {
                self.is_starved = true;
                return false;
            };
            write.filling = Some(Filling { span, filled: 0 });
        }
        let Some(filling) = &mut write.filling else { return false };
        if let Some(rest) = filling.rest() {
            filling.filled += self.inbox.take_into(around.arena, rest);
        }
        if filling.rest().is_some() {
            return false;
        }
        let span = filling.span;
        let range = ByteRange::new(write.next, u64::from(span.bytes));
        let crc32c = crc32c::crc32c(around.arena.bytes(span));
        let payload = Payload { buffer: span.buffer, bytes: span.bytes, crc32c };
        let fua = write.fua;
        write.filling = None;
        write.next = range.end();
        write.left_bytes -= span.bytes;
        self.start_piece(around, slot, ClientOp::Write { range, payload, fua });
        true
    }

    /// Starts as many pieces of a zeroing or trimming request as may be under way.
    pub(super) fn start_range_pieces(&mut self, around: &mut Surroundings<'_>, slot: u8) {
        while let Some(op) = self.requests.get(slot).next_range_piece() {
            self.start_piece(around, slot, op);
        }
    }

    fn start_piece(&mut self, around: &mut Surroundings<'_>, slot: u8, op: ClientOp) {
        let piece = self.requests.get(slot).start_piece();
        let (use_number, place) = (self.use_number, self.place);
        let id = PieceName { use_number, place, slot, piece }.pack();
        around.inputs.push_back(Input::Request { id, op });
    }
}

/// A buffer for the next piece of a write of which `left_bytes` are missing: the largest piece for
/// which there is one.
fn write_buffer(arena: &mut Arena, left_bytes: u32) -> Option<Span> {
    let sized =
        |buffer: BufferId, class_bytes: u32| Span::head(buffer, left_bytes.min(class_bytes));
    BUFFER_CLASS_BYTES.iter().rev().find_map(|&class_bytes| {
        let bytes = left_bytes.min(class_bytes);
        arena.allocate(Pool::Client, bytes).map(|buffer| sized(buffer, class_bytes))
    })
}

/// What a client may have open together with this request, besides its budget. A client that does
/// not read its replies keeps the buffers of its reads for ever; so with reads nobody takes more
/// than is left to the others.
fn fair_bytes(arena: &Arena, op: &Operation) -> u64 {
    match op {
        Operation::BlockStatus { .. } => {
            arena.free_count(Pool::Client, MAP_BYTES) as u64 * u64::from(MAP_BYTES)
        }
        Operation::Read { bytes, .. } => {
            let class_bytes = BUFFER_CLASS_BYTES[buffer_class((*bytes).min(PIECE_BYTES_MAX))];
            arena.free_count(Pool::Client, class_bytes) as u64 * u64::from(class_bytes)
        }
        Operation::Write { .. }
        | Operation::WriteZeroes { .. }
        | Operation::Trim { .. }
        | Operation::Flush
        | Operation::Cache { .. }
        | Operation::Disconnect => u64::MAX,
    }
}

/// Bytes that follow the header in the stream.
fn payload_bytes(op: &Operation) -> u32 {
    match op {
        Operation::Write { bytes, .. } => *bytes,
        Operation::Read { .. }
        | Operation::BlockStatus { .. }
        | Operation::WriteZeroes { .. }
        | Operation::Trim { .. }
        | Operation::Flush
        | Operation::Cache { .. }
        | Operation::Disconnect => 0,
    }
}

/// Bytes of buffers that the request needs.
fn buffer_bytes(op: &Operation) -> u64 {
    match op {
        Operation::Write { bytes, .. } | Operation::Read { bytes, .. } => u64::from(*bytes),
        Operation::BlockStatus { .. } => u64::from(MAP_BYTES),
        Operation::WriteZeroes { .. }
        | Operation::Trim { .. }
        | Operation::Flush
        | Operation::Cache { .. }
        | Operation::Disconnect => 0,
    }
}
