//! Large zeroings in pieces: one that spans more than a quarter of the activity log would never get
//! all its slots at once (D1). mkfs begins with a TRIM of the whole disk.

use super::Node;
use crate::event::{ClientError, Output};
use crate::ids::RequestId;
use crate::mutation::Mutation;
use crate::settings::ZERO_PIECE_BYTES_MAX;
use metadata::units::{ByteRange, EXTENT_BYTES};
use std::collections::BTreeMap;

/// Names of pieces have this bit; those of clients' requests never do.
const PIECE_BIT: u64 = 1 << 63;
/// A write of one piece of a client's data may span two extents, whatever the size of the log.
const EXTENTS_MIN: u64 = 2;

/// A request that is executed in pieces.
#[derive(Debug)]
struct Whole {
    request: RequestId,
    pieces_left: u64,
    result: Result<(), ClientError>,
}

/// The requests that are executed in pieces.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    wholes: BTreeMap<u64, Whole>,
    /// Which whole a piece belongs to.
    owners: BTreeMap<u64, u64>,
    last: u64,
}

impl Pieces {
    fn begin(&mut self, request: RequestId, pieces: u64) -> Vec<RequestId> {
        self.last += 1;
        let whole = self.last;
        self.wholes.insert(whole, Whole { request, pieces_left: pieces, result: Ok(()) });
        (0..pieces)
            .map(|_| {
                self.last += 1;
                self.owners.insert(self.last, whole);
                RequestId(PIECE_BIT | self.last)
            })
            .collect()
    }

    /// What the client hears: nothing of a piece but the last one.
    pub(super) fn filter(&mut self, output: Output) -> Option<Output> {
        let Output::Reply { request: RequestId(id), result } = &output else { return Some(output) };
        if id & PIECE_BIT == 0 {
            return Some(output);
        }
        let whole = self.owners.remove(&(id & !PIECE_BIT))?;
        let entry = self.wholes.get_mut(&whole)?;
        entry.result = entry.result.and(*result);
        entry.pieces_left -= 1;
        if entry.pieces_left > 0 {
            return None;
        }
        let Whole { request, result, .. } = self.wholes.remove(&whole)?;
        Some(Output::Reply { request, result })
    }
}

/// `range` cut at every `extents_max`th border between extents.
fn cut(range: ByteRange, extents_max: u64) -> Vec<ByteRange> {
    let step = extents_max * EXTENT_BYTES;
    let mut pieces = Vec::new();
    let mut start = range.start();
    while start < range.end() {
        let end = ((start / EXTENT_BYTES * EXTENT_BYTES) + step).min(range.end());
        pieces.push(ByteRange::new(start, end - start));
        start = end;
    }
    pieces
}

impl Node {
    /// The pieces in which a zeroing is executed, in order, each with the name under which it is
    /// answered; the client's answer comes when all are.
    pub(super) fn pieces_of(
        &mut self,
        request: RequestId,
        range: ByteRange,
    ) -> Vec<(RequestId, ByteRange)> {
        let slots = self.replica.attached().map_or(u16::MAX, |disk| disk.log.slots());
        let on_wire = ZERO_PIECE_BYTES_MAX / EXTENT_BYTES;
        let extents_max = (u64::from(slots) / 4).max(EXTENTS_MIN).min(on_wire);
        let (first, last) = range.extents();
        if last - first < extents_max || self.breaks(Mutation::ZeroLargerThanLog) {
            return vec![(request, range)];
        }
        let ranges = cut(range, extents_max);
        let names = self.pieces.begin(request, ranges.len() as u64);
        names.into_iter().zip(ranges).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_the_range_and_span_no_more_extents_than_allowed() {
        for start in [0, 512, EXTENT_BYTES - 512, 3 * EXTENT_BYTES] {
            for bytes in [512, EXTENT_BYTES, 16 << 20, (16 << 20) + 512] {
                for extents_max in [2, 3, 16] {
                    let range = ByteRange::new(start, bytes);
                    let pieces = cut(range, extents_max);
                    assert_eq!(pieces.iter().map(|piece| piece.bytes()).sum::<u64>(), bytes);
                    let mut at = start;
                    for piece in pieces {
                        assert_eq!(piece.start(), at);
                        at = piece.end();
                        let (first, last) = piece.extents();
                        assert!(last - first < extents_max, "{piece:?} of {range:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_client_hears_once_when_the_last_piece_is_done_and_of_any_error() {
        let mut pieces = Pieces::default();
        let names = pieces.begin(RequestId(7), 3);
        let mut heard = Vec::new();
        for (request, result) in names.into_iter().zip([Ok(()), Err(ClientError::Io), Ok(())]) {
            heard.extend(pieces.filter(Output::Reply { request, result }));
        }
        assert!(
            matches!(
                heard[..],
                [Output::Reply { request: RequestId(7), result: Err(ClientError::Io) }]
            ),
            "{heard:?}"
        );
    }
}
