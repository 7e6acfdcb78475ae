//! The requests of one NBD client that are not answered yet: cut into pieces, one reply when all
//! pieces are done.

use crate::ring::arena::Span;
use metadata::units::ByteRange;
use nbd_server::{Errno, ReplyTo};
use replicator::event::{ClientError, ClientOp};
use replicator::ids::RequestId;
use replicator::settings::ZERO_PIECE_BYTES_MAX;

/// Most requests of one client that are open at once; reading stops beyond it.
pub(super) const OPEN_REQUESTS_MAX: usize = 128;
/// Most pieces of one zeroing or trimming request under way at once, so that it does not crowd out
/// others.
const ZERO_PIECES_OPEN_MAX: u32 = 4;

/// Where a piece belongs. Packed into the `RequestId` that the engine returns with the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PieceName {
    /// Which use of the session's place.
    pub(super) use_number: u32,
    /// The session's place.
    pub(super) place: u16,
    /// The request's slot in the session.
    pub(super) slot: u8,
    /// Number of the piece in the request, modulo 256; not needed to find it, but open names are
    /// unique by it.
    pub(super) piece: u8,
}

impl PieceName {
    /// As the engine carries it.
    pub(super) fn pack(self) -> RequestId {
        RequestId(
            u64::from(self.use_number) << 32
                | u64::from(self.place) << 16
                | u64::from(self.slot) << 8
                | u64::from(self.piece),
        )
    }

    /// From the engine.
    pub(super) fn unpack(id: RequestId) -> Self {
        Self {
            use_number: (id.0 >> 32) as u32,
            place: (id.0 >> 16 & 0xffff) as u16,
            slot: (id.0 >> 8 & 0xff) as u8,
            piece: (id.0 & 0xff) as u8,
        }
    }
}

/// What a request that is cut by range, not by payload, does with each piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RangeWork {
    /// Make it read as zeroes; space may be given back.
    Zero {
        /// Space may be given back.
        may_unmap: bool,
    },
    /// The client does not need it.
    Trim,
}

/// The part of a zeroing or trimming request that is not started.
#[derive(Debug, Clone, Copy)]
pub(super) struct RangeRest {
    /// Next byte to do.
    pub(super) next: u64,
    /// One past the last byte.
    pub(super) end: u64,
    /// Durable before the answer.
    pub(super) fua: bool,
    /// What to do.
    pub(super) work: RangeWork,
}

impl RangeRest {
    /// Takes the next piece off, cut at multiples of `ZERO_PIECE_BYTES_MAX` so that it touches no
    /// extent in vain.
    fn take(&mut self) -> Option<ClientOp> {
        if self.next >= self.end {
            return None;
        }
        let boundary = (self.next / ZERO_PIECE_BYTES_MAX + 1) * ZERO_PIECE_BYTES_MAX;
        let range = ByteRange::new(self.next, boundary.min(self.end) - self.next);
        self.next = range.end();
        let fua = self.fua;
        Some(match self.work {
            RangeWork::Zero { may_unmap } => ClientOp::Zero { range, fua, may_unmap },
            RangeWork::Trim => ClientOp::Trim { range, fua },
        })
    }
}

/// One request between its header and its reply.
#[derive(Debug)]
pub(super) struct OpenRequest {
    /// For the reply.
    pub(super) reply_to: ReplyTo,
    /// Payload bytes that count against the client's budget.
    pub(super) cost_bytes: u64,
    /// What a read brings, in order. The session holds these buffers.
    pub(super) read: Vec<Span>,
    /// The first error; it wins over later ones.
    pub(super) error: Option<Errno>,
    /// The payload of a write is still coming.
    pub(super) is_coming: bool,
    /// It asks where the disk has holes: `read` becomes the extents.
    pub(super) is_map: bool,
    rest: Option<RangeRest>,
    pieces_open: u32,
    pieces_started: u32,
}

impl OpenRequest {
    /// Counts a piece that goes to the engine; its number.
    pub(super) fn start_piece(&mut self) -> u8 {
        self.pieces_open += 1;
        self.pieces_started += 1;
        (self.pieces_started & 0xff) as u8
    }

    /// The next piece of a range request, if it may start now.
    pub(super) fn next_range_piece(&mut self) -> Option<ClientOp> {
        if self.pieces_open >= ZERO_PIECES_OPEN_MAX {
            return None;
        }
        self.rest.as_mut()?.take()
    }

    /// Takes the result of a piece. After an error nothing more is started.
    pub(super) fn piece_done(&mut self, result: Result<(), ClientError>) {
        self.pieces_open =
            self.pieces_open.checked_sub(1).expect("invariant: a piece is answered once");
        if let Err(error) = result {
            self.rest = None;
            self.error.get_or_insert(match error {
                ClientError::Io => Errno::Eio,
                ClientError::Shutdown => Errno::Eshutdown,
            });
        }
    }

    /// True when it can be answered.
    pub(super) fn is_done(&self) -> bool {
        let all_started = self.rest.is_none_or(|rest| rest.next >= rest.end);
        self.pieces_open == 0 && !self.is_coming && all_started
    }
}

/// The open requests of one session. Invariant: at most [`OPEN_REQUESTS_MAX`].
#[derive(Debug, Default)]
pub(super) struct OpenRequests {
    slots: Vec<OpenRequest>,
    idle: Vec<u8>,
    cost_bytes: u64,
}

impl OpenRequests {
    /// Opens a request; its slot.
    pub(super) fn open(
        &mut self,
        reply_to: ReplyTo,
        cost_bytes: u64,
        rest: Option<RangeRest>,
    ) -> u8 {
        self.cost_bytes += cost_bytes;
        if let Some(slot) = self.idle.pop() {
            let request = self.get(slot);
            request.reply_to = reply_to;
            request.cost_bytes = cost_bytes;
            request.rest = rest;
            request.error = None;
            request.is_coming = false;
            request.is_map = false;
            request.pieces_started = 0;
            return slot;
        }
        let slot = u8::try_from(self.slots.len()).expect("invariant: OPEN_REQUESTS_MAX is kept");
        self.slots.push(OpenRequest {
            reply_to,
            cost_bytes,
            read: Vec::new(),
            error: None,
            is_coming: false,
            is_map: false,
            rest,
            pieces_open: 0,
            pieces_started: 0,
        });
        slot
    }

    /// The request in a slot.
    pub(super) fn get(&mut self, slot: u8) -> &mut OpenRequest {
        &mut self.slots[usize::from(slot)]
    }

    /// Closes a request that is answered; its `read` must be empty.
    pub(super) fn close(&mut self, slot: u8) {
        let request = self.get(slot);
        assert!(request.read.is_empty(), "invariant: an answered read gave its buffers on");
        let cost_bytes = request.cost_bytes;
        self.cost_bytes -= cost_bytes;
        self.idle.push(slot);
    }

    /// Requests that are open.
    pub(super) fn count(&self) -> usize {
        self.slots.len() - self.idle.len()
    }

    /// Payload bytes of the open requests.
    pub(super) const fn cost_bytes(&self) -> u64 {
        self.cost_bytes
    }

    /// Takes all buffers of reads away.
    pub(super) fn drain_reads(&mut self) -> impl Iterator<Item = Span> {
        self.slots.iter_mut().flat_map(|request| request.read.drain(..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use replicator::settings::ZERO_PIECE_BYTES_MAX as PIECE;

    #[test]
    fn every_name_comes_back_as_it_was_packed() {
        let name = PieceName { use_number: u32::MAX, place: 31, slot: 127, piece: 255 };
        assert_eq!(PieceName::unpack(name.pack()), name);
        let name = PieceName { use_number: 1, place: 0, slot: 2, piece: 3 };
        assert_eq!(PieceName::unpack(name.pack()), name);
    }

    #[test]
    fn a_range_is_cut_at_piece_boundaries_without_gap_or_overlap() {
        let mut rest =
            RangeRest { next: 512, end: 3 * PIECE + 4096, fua: true, work: RangeWork::Trim };
        let mut at = 512;
        let mut pieces = 0;
        while let Some(op) = rest.take() {
            let ClientOp::Trim { range, fua: true } = op else { panic!("not a trim: {op:?}") };
            assert_eq!(range.start(), at);
            assert!(range.start() / PIECE == (range.end() - 1) / PIECE, "{range:?}");
            at = range.end();
            pieces += 1;
        }
        assert_eq!((at, pieces), (3 * PIECE + 4096, 4));
    }
}
