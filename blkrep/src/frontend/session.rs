//! One NBD client: handshake, requests in, replies out.

use super::intake::{Intake, WriteIntake};
use super::map::MapWish;
use super::request::OpenRequests;
use crate::dataplane::inbox::{DIRECT_BYTES_MIN, Inbox};
use crate::dataplane::send_queue::SendQueue;
use crate::dataplane::token::{Source, Token};
use crate::ring::arena::{Arena, Span};
use crate::ring::{Operation, Ring};
use nbd_server::{
    Availability, Errno as NbdErrno, Export, Handshake, Negotiated, Progress, extents_head,
    reply_head,
};
use replicator::event::{ClientError, Input, Lane};
use replicator::ids::Moment;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// A client must have finished its handshake after so long.
const HANDSHAKE_TIMEOUT_MS: u64 = 30_000;
/// Replies that wait to be sent; beyond it the client is not read, since it does not read us.
pub(super) const WAITING_REPLIES_MAX: usize = 256;

/// What a session needs from its surroundings while it parses.
#[derive(Debug)]
pub(super) struct Surroundings<'a> {
    /// The buffers.
    pub(super) arena: &'a mut Arena,
    /// Whether and what is served.
    pub(super) availability: &'a Availability,
    /// Where requests for the engine go.
    pub(super) inputs: &'a mut VecDeque<Input>,
    /// Where questions for the disk go.
    pub(super) maps: &'a mut VecDeque<MapWish>,
    /// Payload bytes that one client may have open.
    pub(super) budget_bytes: u64,
}

/// Where the session is.
#[derive(Debug)]
pub(super) enum Phase {
    /// Before transmission.
    Greeting(Handshake),
    /// Transmission.
    Serving(Serving),
    /// Nothing more is read; what is queued is sent and what is open is answered.
    Leaving,
}

/// What transmission needs.
#[derive(Debug)]
pub(super) struct Serving {
    /// As it was told to the client.
    pub(super) export: Export,
    /// As it was agreed.
    pub(super) negotiated: Negotiated,
}

/// Why a session is over; the text is for the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionEnd {
    /// The client went away.
    #[error("the client closed the connection")]
    Closed,
    /// It said goodbye, and everything is answered.
    #[error("the client disconnected")]
    Finished,
    /// The socket says so.
    #[error("{0}")]
    Socket(#[from] Errno),
    /// The client does not speak the protocol.
    #[error("{0}")]
    Protocol(#[from] nbd_server::FatalRequest),
    /// The handshake took too long.
    #[error("the handshake was not finished in time")]
    HandshakeTimeout,
}

/// One client.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) place: u16,
    pub(super) use_number: u32,
    fd: OwnedFd,
    pub(super) inbox: Inbox,
    pub(super) queue: SendQueue,
    pub(super) phase: Phase,
    pub(super) negotiated: Negotiated,
    pub(super) intake: Intake,
    pub(super) requests: OpenRequests,
    /// It waits for buffers, or for its own replies to go; nothing is read from it meanwhile.
    pub(super) is_starved: bool,
    handshake_deadline: Moment,
    direct_bytes: u32,
    is_receiving: bool,
}

impl Session {
    /// A session on an accepted socket, with the greeting queued; none when there is no buffer for
    /// it.
    pub(super) fn new(
        arena: &mut Arena,
        place: u16,
        use_number: u32,
        fd: OwnedFd,
        now: Moment,
    ) -> Option<Self> {
        let phase = Phase::Greeting(Handshake::new());
        let mut session = Self::in_phase(arena, place, use_number, fd, phase)?;
        session.queue.push(Lane::Fifo, &Handshake::greeting(), None);
        session.handshake_deadline = now.after(Duration::from_millis(HANDSHAKE_TIMEOUT_MS));
        Some(session)
    }

    fn in_phase(
        arena: &mut Arena,
        place: u16,
        use_number: u32,
        fd: OwnedFd,
        phase: Phase,
    ) -> Option<Self> {
        let inbox = Inbox::new(arena)?;
        let Some(queue) = SendQueue::new(arena) else {
            inbox.free(arena);
            return None;
        };
        Some(Self {
            place,
            use_number,
            fd,
            inbox,
            queue,
            phase,
            negotiated: Negotiated::Simple,
            intake: Intake::Header,
            requests: OpenRequests::default(),
            is_starved: false,
            handshake_deadline: Moment::default(),
            direct_bytes: 0,
            is_receiving: false,
        })
    }

    /// A session of the kernel's client on its socket: it was told all that a handshake agrees, so
    /// its first bytes are requests. None when there is no buffer for it.
    pub(super) fn of_kernel(
        arena: &mut Arena,
        place: u16,
        use_number: u32,
        fd: OwnedFd,
        export: Export,
    ) -> Option<Self> {
        let negotiated = Negotiated::Simple;
        let phase = Phase::Serving(Serving { export, negotiated });
        Self::in_phase(arena, place, use_number, fd, phase)
    }

    /// The export has another size: only the kernel's client is told so while it is connected.
    pub(super) fn grow(&mut self, size_bytes: u64) {
        if let Phase::Serving(serving) = &mut self.phase {
            serving.export.size_bytes = size_bytes;
        }
    }

    /// True when it counts as an opener of the device.
    pub(super) fn is_client(&self) -> bool {
        match &self.phase {
            Phase::Greeting(_) => false,
            Phase::Serving(_) => true,
            Phase::Leaving => self.requests.count() > 0,
        }
    }

    /// When the handshake must be over; none after it.
    pub(super) fn deadline(&self) -> Option<Moment> {
        matches!(self.phase, Phase::Greeting(_)).then_some(self.handshake_deadline)
    }

    /// The name of its receive or send.
    pub(super) const fn token(&self, source: Source) -> Token {
        Token { source, place: self.place, use_number: self.use_number }
    }

    /// Starts sending what waits and receiving what comes, where that is not under way.
    pub(super) fn kick(&mut self, ring: &mut Ring) {
        let token = self.token(Source::ClientSend).pack();
        self.queue.kick(ring, self.fd.as_fd(), token);
        if self.is_receiving || self.is_starved || matches!(self.phase, Phase::Leaving) {
            return;
        }
        let direct = match &self.intake {
            Intake::Payload(WriteIntake { filling: Some(filling), .. }) => filling.rest(),
            Intake::Payload(_) | Intake::Header | Intake::Postponed(_) | Intake::Skip(_) => None,
        };
        if self.inbox.is_full() {
            return;
        }
        let token = self.token(Source::ClientReceive).pack();
        let fd = self.fd.as_fd();
        let room = self.inbox.room(ring.arena_mut());
        match direct {
            Some(direct) if direct.bytes >= DIRECT_BYTES_MIN => {
                self.direct_bytes = direct.bytes;
                ring.submit(token, Operation::Receive { fd, into: &[direct, room] });
            }
            Some(_) | None => ring.submit(token, Operation::Receive { fd, into: &[room] }),
        }
        self.is_receiving = true;
    }

    /// Takes the result of the send under way.
    ///
    /// # Errors
    /// When the session is over.
    pub(super) fn sent(&mut self, ring: &mut Ring, result: i32) -> Result<(), SessionEnd> {
        let token = self.token(Source::ClientSend).pack();
        self.queue.sent(ring, self.fd.as_fd(), token, result)?;
        self.end_if_finished()
    }

    /// Takes the result of the receive under way.
    ///
    /// # Errors
    /// When the session is over; what was not parsed is forgotten then (rule D16).
    pub(super) fn arrived(&mut self, result: i32) -> Result<(), SessionEnd> {
        self.is_receiving = false;
        let direct_limit = std::mem::take(&mut self.direct_bytes);
        let Ok(bytes) = u32::try_from(result) else {
            let errno = Errno::from_raw_os_error(-result);
            let passing = errno == Errno::AGAIN || errno == Errno::INTR;
            return if passing { Ok(()) } else { Err(SessionEnd::Socket(errno)) };
        };
        if bytes == 0 {
            return Err(SessionEnd::Closed);
        }
        let direct_bytes = bytes.min(direct_limit);
        if let Intake::Payload(WriteIntake { filling: Some(filling), .. }) = &mut self.intake {
            filling.filled += direct_bytes;
        }
        self.inbox.arrived(bytes - direct_bytes);
        Ok(())
    }

    /// Parses as much as has come and may start now.
    ///
    /// # Errors
    /// When the session is over.
    pub(super) fn advance(&mut self, around: &mut Surroundings<'_>) -> Result<(), SessionEnd> {
        self.is_starved = false;
        loop {
            let goes_on = match &self.phase {
                Phase::Greeting(_) => self.greet(around),
                Phase::Serving(_) => self.take_request(around)?,
                Phase::Leaving => {
                    self.inbox.consume(self.inbox.waiting_bytes());
                    false
                }
            };
            if !goes_on {
                return self.end_if_finished();
            }
        }
    }

    /// Takes the engine's answer to a piece.
    ///
    /// # Errors
    /// When that was the last thing that the session waited for.
    pub(super) fn piece_done(
        &mut self,
        around: &mut Surroundings<'_>,
        slot: u8,
        result: Result<(), ClientError>,
    ) -> Result<(), SessionEnd> {
        self.requests.get(slot).piece_done(result);
        self.start_range_pieces(around, slot);
        self.answer_if_done(around.arena, slot);
        self.end_if_finished()
    }

    /// Queues the reply of a request all of whose pieces are done.
    pub(super) fn answer_if_done(&mut self, arena: &mut Arena, slot: u8) {
        let request = self.requests.get(slot);
        if !request.is_done() {
            return;
        }
        let outcome = request.error.map_or(Ok(()), Err::<(), NbdErrno>);
        let head = match (outcome, request.read.first()) {
            (Ok(()), Some(extents)) if request.is_map => {
                extents_head(request.reply_to, extents.bytes)
            }
            (outcome, _) => reply_head(self.negotiated, request.reply_to, outcome),
        };
        if head.payload_bytes() == 0 {
            for span in request.read.drain(..) {
                arena.release(span.buffer);
            }
            self.queue.push(Lane::Fifo, head.as_bytes(), None);
        }
        let mut head_bytes = head.as_bytes();
        for span in request.read.drain(..) {
            self.queue.push(Lane::Fifo, head_bytes, Some(span));
            head_bytes = &[];
        }
        self.requests.close(slot);
    }

    /// Gives everything up and closes the socket.
    pub(super) fn close(mut self, ring: &mut Ring) {
        ring.cancel(self.token(Source::ClientReceive).pack());
        ring.cancel(self.token(Source::ClientSend).pack());
        let arena = ring.arena_mut();
        if let Intake::Payload(WriteIntake { filling: Some(filling), .. }) = &self.intake {
            arena.release(filling.span.buffer);
        }
        for Span { buffer, .. } in self.requests.drain_reads() {
            arena.release(buffer);
        }
        self.inbox.free(arena);
        self.queue.free(arena);
        if let Err(error) = ring.close(self.fd) {
            tracing::warn!("an NBD connection was closed late: {error}");
        }
    }

    fn greet(&mut self, around: &mut Surroundings<'_>) -> bool {
        let Phase::Greeting(handshake) = &mut self.phase else { return false };
        // Not the write path: a handshake happens once for each connection.
        let mut out = Vec::new();
        let bytes = self.inbox.all(around.arena);
        let progress = handshake.receive(bytes, around.availability, &mut out);
        if !out.is_empty() {
            self.queue.push(Lane::Fifo, &out, None);
        }
        let (consumed, next) = match (progress, around.availability) {
            (Progress::NeedMore { consumed }, _) => (consumed, None),
            (Progress::Serve { consumed, negotiated }, Availability::Served(export)) => {
                self.negotiated = negotiated;
                let export = export.clone();
                (consumed, Some(Phase::Serving(Serving { export, negotiated })))
            }
            (Progress::Serve { consumed, .. }, Availability::Refused { .. }) => {
                (consumed, Some(Phase::Leaving))
            }
            (Progress::Close { consumed, reason }, _) => {
                tracing::debug!("an NBD handshake ended: {reason}");
                (consumed, Some(Phase::Leaving))
            }
        };
        self.inbox.consume(u32::try_from(consumed).expect("invariant: it is in the inbox"));
        let goes_on = next.is_some();
        if let Some(phase) = next {
            self.phase = phase;
        }
        goes_on
    }

    fn end_if_finished(&self) -> Result<(), SessionEnd> {
        let is_leaving = matches!(self.phase, Phase::Leaving);
        if is_leaving && self.requests.count() == 0 && self.queue.is_empty() {
            return Err(SessionEnd::Finished);
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
