//! What came from a socket and is not yet parsed: one staging buffer, filled at its end and emptied
//! at its front.

use crate::ring::arena::{Arena, Pool, Span};
use replicator::ids::BufferId;

/// Size of a staging buffer in bytes (dataplane decision: 256 KiB per socket).
pub(crate) const STAGING_BYTES: u32 = 256 << 10;
/// A payload of which more than so many bytes are missing is received directly into its buffer; a
/// shorter one is copied, which costs less than a second span.
pub(crate) const DIRECT_BYTES_MIN: u32 = 16 << 10;

/// The staging buffer of one socket. Invariant: no receive is under way while it is parsed or
/// [`Inbox::room`] is called.
#[derive(Debug)]
pub(crate) struct Inbox {
    buffer: BufferId,
    start: u32,
    end: u32,
}

impl Inbox {
    /// Takes a staging buffer; none when all are in use.
    pub(crate) fn new(arena: &mut Arena) -> Option<Self> {
        let buffer = arena.allocate(Pool::Staging, STAGING_BYTES)?;
        Some(Self { buffer, start: 0, end: 0 })
    }

    /// Gives the buffer back; it stays busy while the kernel still fills it.
    pub(crate) fn free(self, arena: &mut Arena) {
        arena.release(self.buffer);
    }

    /// Number of bytes that wait to be parsed.
    pub(crate) const fn waiting_bytes(&self) -> u32 {
        self.end - self.start
    }

    /// The next `bytes` bytes, if so many have come.
    pub(crate) fn peek<'a>(&self, arena: &'a Arena, bytes: u32) -> Option<&'a [u8]> {
        let span = Span { buffer: self.buffer, start: self.start, bytes };
        (self.waiting_bytes() >= bytes).then(|| arena.bytes(span))
    }

    /// Everything that waits.
    pub(crate) fn all<'a>(&self, arena: &'a Arena) -> &'a [u8] {
        arena.bytes(Span { buffer: self.buffer, start: self.start, bytes: self.waiting_bytes() })
    }

    /// Forgets the next `bytes` bytes, which have come.
    pub(crate) fn consume(&mut self, bytes: u32) {
        assert!(bytes <= self.waiting_bytes(), "invariant: only what has come is consumed");
        self.start += bytes;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Moves at most `most_bytes` bytes to `to` and says how many there were.
    pub(crate) fn take_into(&mut self, arena: &mut Arena, to: Span) -> u32 {
        let bytes = self.waiting_bytes().min(to.bytes);
        if bytes > 0 {
            let from = Span { buffer: self.buffer, start: self.start, bytes };
            arena.copy(from, Span { bytes, ..to });
            self.consume(bytes);
        }
        bytes
    }

    /// Where the next bytes may be received; at least one byte, since parsers never leave a full
    /// buffer.
    pub(crate) fn room(&mut self, arena: &mut Arena) -> Span {
        if self.start > STAGING_BYTES / 2 {
            let bytes = self.waiting_bytes();
            arena.move_to_front(Span { buffer: self.buffer, start: self.start, bytes });
            (self.start, self.end) = (0, bytes);
        }
        let room = Span { buffer: self.buffer, start: self.end, bytes: STAGING_BYTES - self.end };
        assert!(room.bytes > 0, "invariant: a receive has room");
        room
    }

    /// True when not a single byte can be received.
    pub(crate) const fn is_full(&self) -> bool {
        self.start == 0 && self.end == STAGING_BYTES
    }

    /// Notes that `bytes` bytes came into the room.
    pub(crate) fn arrived(&mut self, bytes: u32) {
        self.end += bytes;
        assert!(self.end <= STAGING_BYTES, "invariant: no more comes than there is room");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::arena::Shelf;

    #[test]
    fn bytes_leave_in_the_order_in_which_they_came_also_when_the_rest_moves_to_the_front() {
        let shelf = Shelf { pool: Pool::Staging, bytes: STAGING_BYTES, count: 1 };
        let mut arena = Arena::new(&[shelf]).expect("a mapping");
        let mut inbox = Inbox::new(&mut arena).expect("one is there");
        let mut sent = 0u32;
        let mut seen = 0u32;
        for round in 0..2000 {
            let room = inbox.room(&mut arena);
            let bytes = room.bytes.min(1000 + round);
            for at in 0..bytes {
                let one = Span { start: room.start + at, bytes: 1, ..room };
                arena.bytes_mut(one)[0] = (sent % 251) as u8;
                sent += 1;
            }
            inbox.arrived(bytes);
            let some = inbox.waiting_bytes() - inbox.waiting_bytes() % 7;
            for &byte in inbox.peek(&arena, some).expect("so many are there") {
                assert_eq!(byte, (seen % 251) as u8);
                seen += 1;
            }
            inbox.consume(some);
        }
        assert!(seen > 8 * STAGING_BYTES);
        inbox.free(&mut arena);
        assert_eq!(arena.free_count(Pool::Staging, 1), 1);
    }
}
