//! One byte stream to the peer: frames out of it and into it, whatever the pieces in which the
//! bytes come.

use super::inbox::{DIRECT_BYTES_MIN, Inbox};
use super::send_queue::SendQueue;
use super::token::{Source, Token};
use crate::ring::arena::{Arena, Pool, Span};
use crate::ring::{Operation, Ring};
use replicator::event::{Lane, Payload};
use replicator::ids::{BufferId, LinkId};
use replicator::message::Message;
use replicator::wire::{self, FrameHead, HEADER_BYTES, WireError};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};

/// Why a link is over.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    /// The other end closed it.
    #[error("closed by the other end")]
    Ended,
    /// The network says so.
    #[error("{0}")]
    Socket(#[from] Errno),
    /// What came is no frame.
    #[error("{0}")]
    Wire(#[from] WireError),
    /// The payload is not what the sender's client wrote (rule D11).
    #[error(
        "a payload arrived with crc32c {found:#010x} instead of {expected:#010x}; the link is opened anew; if it \
         comes again, check cable and memory"
    )]
    Damaged {
        /// As announced.
        expected: u32,
        /// As computed.
        found: u32,
    },
    /// It sent more than it was allowed to (rule D14).
    #[error(
        "the peer sent a payload of {bytes} bytes beyond its window; check that both nodes run one release"
    )]
    BeyondWindow {
        /// Length of the payload in bytes.
        bytes: u32,
    },
}

/// A payload that is coming.
#[derive(Debug)]
struct Incoming {
    message: Message,
    buffer: BufferId,
    bytes: u32,
    filled: u32,
    crc32c: u32,
}

/// One link.
#[derive(Debug)]
pub(super) struct PeerLink {
    id: LinkId,
    place: u16,
    fd: OwnedFd,
    inbox: Inbox,
    queue: SendQueue,
    incoming: Option<Incoming>,
    /// Bytes of the receive under way that go directly into the payload.
    direct_bytes: u32,
    is_receiving: bool,
}

impl PeerLink {
    /// A link on a connected socket; none when there is no buffer for it.
    pub(super) fn new(arena: &mut Arena, id: LinkId, place: u16, fd: OwnedFd) -> Option<Self> {
        let inbox = Inbox::new(arena)?;
        let Some(queue) = SendQueue::new(arena) else {
            inbox.free(arena);
            return None;
        };
        let incoming = None;
        Some(Self { id, place, fd, inbox, queue, incoming, direct_bytes: 0, is_receiving: false })
    }

    /// Its name.
    pub(super) const fn id(&self) -> LinkId {
        self.id
    }

    /// Its socket.
    pub(super) const fn socket(&self) -> &OwnedFd {
        &self.fd
    }

    /// True when everything that was queued is sent.
    pub(super) fn is_sent(&self) -> bool {
        self.queue.is_empty()
    }

    /// The name of its receive or send.
    pub(super) const fn token(&self, source: Source) -> Token {
        Token { source, place: self.place, use_number: (self.id.0 & 0xffff_ffff) as u32 }
    }

    /// Queues a message. `scratch` is room for its head and body.
    pub(super) fn send(
        &mut self,
        arena: &mut Arena,
        scratch: &mut Vec<u8>,
        message: &Message,
        payload: Option<Payload>,
        lane: Lane,
    ) {
        scratch.clear();
        wire::encode(message, payload.map(|data| (data.bytes, data.crc32c)), scratch);
        let span = payload.map(|data| Span::head(data.buffer, data.bytes));
        if let Some(span) = span {
            arena.retain(span.buffer);
        }
        self.queue.push(lane, scratch, span);
    }

    /// Starts sending what waits and receiving what comes, where that is not under way.
    pub(super) fn kick(&mut self, ring: &mut Ring) {
        let token = self.token(Source::LinkSend).pack();
        self.queue.kick(ring, self.fd.as_fd(), token);
        if self.is_receiving || (self.inbox.is_full() && self.missing_bytes() == 0) {
            return;
        }
        let token = self.token(Source::LinkReceive).pack();
        let fd = self.fd.as_fd();
        let room = self.inbox.room(ring.arena_mut());
        match &self.incoming {
            Some(incoming) if incoming.bytes - incoming.filled >= DIRECT_BYTES_MIN => {
                self.direct_bytes = incoming.bytes - incoming.filled;
                let (buffer, start) = (incoming.buffer, incoming.filled);
                let direct = Span { buffer, start, bytes: self.direct_bytes };
                ring.submit(token, Operation::Receive { fd, into: &[direct, room] });
            }
            Some(_) | None => ring.submit(token, Operation::Receive { fd, into: &[room] }),
        }
        self.is_receiving = true;
    }

    /// Takes the result of the send under way.
    ///
    /// # Errors
    /// When the socket is dead.
    pub(super) fn sent(&mut self, ring: &mut Ring, result: i32) -> Result<(), LinkError> {
        let token = self.token(Source::LinkSend).pack();
        Ok(self.queue.sent(ring, self.fd.as_fd(), token, result)?)
    }

    /// Takes the result of the receive under way.
    ///
    /// # Errors
    /// When the stream has ended or the socket is dead.
    pub(super) fn arrived(&mut self, result: i32) -> Result<(), LinkError> {
        self.is_receiving = false;
        let direct_limit = std::mem::take(&mut self.direct_bytes);
        let Ok(bytes) = u32::try_from(result) else {
            let errno = Errno::from_raw_os_error(-result);
            let passing = errno == Errno::AGAIN || errno == Errno::INTR;
            return if passing { Ok(()) } else { Err(LinkError::Socket(errno)) };
        };
        if bytes == 0 {
            return Err(LinkError::Ended);
        }
        let direct_bytes = bytes.min(direct_limit);
        if let Some(incoming) = &mut self.incoming {
            incoming.filled += direct_bytes;
        }
        self.inbox.arrived(bytes - direct_bytes);
        Ok(())
    }

    /// The next message, if all of it has come. The caller owns the payload's buffer.
    ///
    /// # Errors
    /// When what came is no frame, is damaged, or does not fit; the link must be given up.
    pub(super) fn next(
        &mut self,
        arena: &mut Arena,
    ) -> Result<Option<(Message, Option<Payload>)>, LinkError> {
        if self.incoming.is_none() {
            let Some((head, message)) = self.next_message(arena)? else { return Ok(None) };
            if !head.kind.carries_data() {
                return Ok(Some((message, None)));
            }
            let bytes = head.data_bytes;
            let buffer =
                payload_buffer(arena, &message, bytes).ok_or(LinkError::BeyondWindow { bytes })?;
            let crc32c = head.data_crc32c;
            self.incoming = Some(Incoming { message, buffer, bytes, filled: 0, crc32c });
        }
        let Some(incoming) = &mut self.incoming else { return Ok(None) };
        let (buffer, start) = (incoming.buffer, incoming.filled);
        let rest = Span { buffer, start, bytes: incoming.bytes - start };
        incoming.filled += self.inbox.take_into(arena, rest);
        if incoming.filled < incoming.bytes {
            return Ok(None);
        }
        let found = crc32c::crc32c(arena.bytes(Span::head(buffer, incoming.bytes)));
        if found != incoming.crc32c {
            return Err(LinkError::Damaged { expected: incoming.crc32c, found });
        }
        let payload = Payload { buffer, bytes: incoming.bytes, crc32c: found };
        Ok(self.incoming.take().map(|whole| (whole.message, Some(payload))))
    }

    /// Throws away what has come: nobody listens any more.
    pub(super) fn discard(&mut self) {
        self.inbox.consume(self.inbox.waiting_bytes());
    }

    /// Gives everything up and closes the socket.
    pub(super) fn close(self, ring: &mut Ring) {
        ring.cancel(self.token(Source::LinkReceive).pack());
        ring.cancel(self.token(Source::LinkSend).pack());
        let arena = ring.arena_mut();
        if let Some(incoming) = self.incoming {
            arena.release(incoming.buffer);
        }
        self.inbox.free(arena);
        self.queue.free(arena);
        if let Err(error) = ring.close(self.fd) {
            tracing::warn!("a link to the peer was closed late: {error}");
        }
    }

    fn missing_bytes(&self) -> u32 {
        self.incoming.as_ref().map_or(0, |incoming| incoming.bytes - incoming.filled)
    }

    fn next_message(&mut self, arena: &Arena) -> Result<Option<(FrameHead, Message)>, LinkError> {
        const HEAD: u32 = HEADER_BYTES as u32;
        let Some(head_bytes) = self.inbox.peek(arena, HEAD).and_then(|bytes| bytes.first_chunk())
        else {
            return Ok(None);
        };
        let head = wire::decode_head(head_bytes)?;
        let frame_bytes = HEAD + head.body_bytes;
        let Some(frame) = self.inbox.peek(arena, frame_bytes) else { return Ok(None) };
        let message = wire::decode_body(&head, head_bytes, &frame[HEADER_BYTES..])?;
        self.inbox.consume(frame_bytes);
        Ok(Some((head, message)))
    }
}

/// Resync payloads have their own buffers: they are asked for, and must not eat up the window of
/// the peer's writes.
fn payload_buffer(arena: &mut Arena, message: &Message, bytes: u32) -> Option<BufferId> {
    let own = match matches!(message, Message::SyncData { .. }) {
        true => arena.allocate(Pool::Arrival, bytes),
        false => None,
    };
    own.or_else(|| arena.allocate(Pool::Peer, bytes))
}

#[cfg(test)]
mod tests {
    use super::super::inbox::STAGING_BYTES;
    use super::super::send_queue::HEADS_BYTES;
    use super::*;
    use crate::ring::arena::Shelf;
    use metadata::units::ByteRange;
    use std::os::unix::net::UnixStream;

    fn arena() -> Arena {
        Arena::new(&[
            Shelf { pool: Pool::Staging, bytes: STAGING_BYTES, count: 2 },
            Shelf { pool: Pool::Heads, bytes: HEADS_BYTES, count: 2 },
            Shelf { pool: Pool::Peer, bytes: 1 << 20, count: 2 },
        ])
        .expect("a mapping")
    }

    fn link(arena: &mut Arena) -> PeerLink {
        let (near, _far) = UnixStream::pair().expect("a pair");
        PeerLink::new(arena, LinkId(1), 0, near.into()).expect("buffers are free")
    }

    fn frame(message: &Message, data: Option<&[u8]>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let crc = |data: &[u8]| (u32::try_from(data.len()).expect("short"), crc32c::crc32c(data));
        wire::encode(message, data.map(crc), &mut bytes);
        bytes.extend_from_slice(data.unwrap_or_default());
        bytes
    }

    fn feed(link: &mut PeerLink, arena: &mut Arena, bytes: &[u8]) {
        let room = link.inbox.room(arena);
        let bytes_u32 = u32::try_from(bytes.len()).expect("short");
        arena.bytes_mut(Span { bytes: bytes_u32, ..room }).copy_from_slice(bytes);
        link.arrived(i32::try_from(bytes.len()).expect("short")).expect("the stream lives");
    }

    #[test]
    fn frames_fed_one_byte_at_a_time_come_out_whole_and_in_order() {
        let mut arena = arena();
        let mut link = link(&mut arena);
        let data: Vec<u8> = (0..512u32).map(|at| (at % 251) as u8).collect();
        let write = Message::Write { number: 7, range: ByteRange::new(4096, 512), fua: false };
        let mut stream = frame(&Message::Ping { number: 1 }, None);
        stream.extend(frame(&write, Some(&data)));
        stream.extend(frame(&Message::WriteDone { number: 9 }, None));
        let mut seen = Vec::new();
        for byte in stream {
            feed(&mut link, &mut arena, &[byte]);
            while let Some((message, payload)) = link.next(&mut arena).expect("good frames") {
                if let Some(payload) = payload {
                    assert_eq!(arena.bytes(Span::head(payload.buffer, payload.bytes)), data);
                    arena.release(payload.buffer);
                }
                seen.push(message);
            }
        }
        assert_eq!(seen, [Message::Ping { number: 1 }, write, Message::WriteDone { number: 9 }]);
        assert_eq!(arena.free_count(Pool::Peer, 1), 2);
    }

    #[test]
    fn a_damaged_payload_ends_the_link() {
        let mut arena = arena();
        let mut link = link(&mut arena);
        let write = Message::Write { number: 7, range: ByteRange::new(0, 512), fua: false };
        let mut stream = frame(&write, Some(&[5; 512]));
        *stream.last_mut().expect("not empty") ^= 1;
        feed(&mut link, &mut arena, &stream);
        assert!(matches!(link.next(&mut arena), Err(LinkError::Damaged { .. })));
    }

    #[test]
    fn a_payload_beyond_the_window_ends_the_link() {
        let mut arena = arena();
        let mut link = link(&mut arena);
        let write = Message::Write { number: 7, range: ByteRange::new(0, 512), fua: false };
        for _ in 0..2 {
            feed(&mut link, &mut arena, &frame(&write, Some(&[5; 512])));
            assert!(link.next(&mut arena).expect("it fits").is_some());
        }
        feed(&mut link, &mut arena, &frame(&write, Some(&[5; 512])));
        assert!(matches!(link.next(&mut arena), Err(LinkError::BeyondWindow { bytes: 512 })));
    }

    #[test]
    fn the_end_of_the_stream_and_strange_bytes_end_the_link() {
        let mut arena = arena();
        let mut link = link(&mut arena);
        assert!(matches!(link.arrived(0), Err(LinkError::Ended)));
        feed(&mut link, &mut arena, &[0x55; 64]);
        assert!(matches!(link.next(&mut arena), Err(LinkError::Wire(_))));
    }
}
