//! `BLOCK_STATUS` on its way: what a client asks, until the disk has been asked where its holes
//! are.

use super::request::PieceName;
use super::session::{Session, Surroundings};
use crate::ring::arena::{Pool, Span};
use metadata::units::ByteRange;
use nbd_server::{EXTENT_BYTES, ExtentList, ReplyTo};

/// Buffer of one answer, in bytes.
pub(super) const MAP_BYTES: u32 = 4096;

/// A question for the disk.
#[derive(Debug)]
pub(crate) struct MapWish {
    name: PieceName,
    /// Where.
    pub(crate) range: ByteRange,
    /// Extents begin and end at multiples of so many bytes.
    pub(crate) block_bytes: u32,
    one_extent: bool,
}

impl MapWish {
    /// An answer that says nothing yet, which means: everything is data.
    pub(crate) fn unknown(&self) -> ExtentList {
        let limit = if self.one_extent { 1 } else { MAP_BYTES / EXTENT_BYTES };
        let bytes =
            u32::try_from(self.range.bytes()).expect("invariant: a request's length is u32");
        ExtentList::new(bytes, limit as usize)
    }

    /// Which request it is.
    pub(super) const fn name(&self) -> PieceName {
        self.name
    }
}

impl Session {
    /// Has the disk asked; false when there is no buffer for the answer.
    pub(super) fn start_map(
        &mut self,
        around: &mut Surroundings<'_>,
        reply_to: ReplyTo,
        range: ByteRange,
        block_bytes: u32,
        one_extent: bool,
    ) -> bool {
        let Some(buffer) = around.arena.allocate(Pool::Client, MAP_BYTES) else { return false };
        let slot = self.requests.open(reply_to, u64::from(MAP_BYTES), None);
        let request = self.requests.get(slot);
        request.is_map = true;
        request.read.push(Span::head(buffer, MAP_BYTES));
        let piece = request.start_piece();
        let name = PieceName { use_number: self.use_number, place: self.place, slot, piece };
        around.maps.push_back(MapWish { name, range, block_bytes, one_extent });
        true
    }

    /// Puts the answer into its buffer and sends it.
    pub(super) fn mapped(
        &mut self,
        around: &mut Surroundings<'_>,
        slot: u8,
        extents: ExtentList,
    ) -> Result<(), super::session::SessionEnd> {
        // Not the write path: a client asks once for many megabytes.
        let mut encoded = Vec::new();
        extents.encode(&mut encoded);
        let request = self.requests.get(slot);
        let span = request.read.first_mut().expect("invariant: a map has its buffer");
        span.bytes = u32::try_from(encoded.len()).expect("invariant: the list was limited");
        around.arena.bytes_mut(*span).copy_from_slice(&encoded);
        self.piece_done(around, slot, Ok(()))
    }
}
