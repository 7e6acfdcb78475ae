//! A bitmap on the wire: the lengths of alternating clear and set runs, as LEB128 numbers.
//!
//! A piece is `clear, set, clear, set, ...` from a first block on. Only the first clear run may be
//! empty and only the last set run may be missing. A piece says itself where the next one begins.

use thiserror::Error;

use crate::bitmap::Bitmap;
use crate::units::BlockRange;

/// Least `max_bytes` of [`encode`]: one pair of runs always fits.
pub const PIECE_BYTES_MIN: usize = 2 * VARINT_BYTES_MAX;
/// Most bytes of one number of 64 bits.
const VARINT_BYTES_MAX: usize = 10;

/// Why bytes are no piece of a bitmap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RunsError {
    /// The last number is cut off.
    #[error(
        "a run length is cut off at byte {at}; the peer broke the protocol, drop the connection"
    )]
    CutOff {
        /// Offset at which the bytes end.
        at: usize,
    },
    /// A number of more than 64 bits, or one with needless bytes.
    #[error(
        "the run length at byte {at} is malformed; the peer broke the protocol, drop the connection"
    )]
    Malformed {
        /// Offset of the number.
        at: usize,
    },
    /// An empty run where none may be.
    #[error("the run at byte {at} is empty; the peer broke the protocol, drop the connection")]
    Empty {
        /// Offset of the number.
        at: usize,
    },
    /// A run goes on past the last block.
    #[error("a run ends past the last of {blocks} blocks; do both nodes agree on the size?")]
    PastEnd {
        /// Blocks of the bitmap.
        blocks: u64,
    },
}

/// The runs from `from_block` on in at most `max_bytes` bytes, and the block at which the next
/// piece begins: [`Bitmap::blocks`] when this was the last.
///
/// # Panics
/// When `max_bytes` is less than [`PIECE_BYTES_MIN`].
#[must_use]
pub fn encode(bitmap: &Bitmap, from_block: u64, max_bytes: usize) -> (Vec<u8>, u64) {
    assert!(max_bytes >= PIECE_BYTES_MIN, "invariant: every piece gets further");
    let mut piece = Vec::new();
    let mut at = from_block;
    while at < bitmap.blocks() {
        let run = bitmap.next_run(at, u64::MAX);
        let clear = run.map_or(bitmap.blocks(), |run| run.first) - at;
        let set = run.map_or(0, |run| run.count);
        if piece.len() + varint_bytes(clear) + varint_bytes(set) > max_bytes {
            break;
        }
        push_varint(&mut piece, clear);
        if set > 0 {
            push_varint(&mut piece, set);
        }
        at += clear + set;
    }
    (piece, at)
}

/// Calls `on_set` for each set run of a piece that begins at `from_block` of a bitmap of `blocks`
/// blocks, and returns where the next piece begins. The work is bounded by the number of bytes.
///
/// # Errors
/// [`RunsError`]; the runs before the bad place have been reported. To set bits early is
/// harmless (D7).
pub fn decode(
    piece: &[u8],
    from_block: u64,
    blocks: u64,
    mut on_set: impl FnMut(BlockRange),
) -> Result<u64, RunsError> {
    if from_block > blocks {
        return Err(RunsError::PastEnd { blocks });
    }
    let mut block = from_block;
    let mut at = 0;
    let mut is_set = false;
    while at < piece.len() {
        let (count, next_at) = take_varint(piece, at)?;
        let may_be_empty = at == 0;
        if count == 0 && !may_be_empty {
            return Err(RunsError::Empty { at });
        }
        if count > blocks - block {
            return Err(RunsError::PastEnd { blocks });
        }
        if is_set {
            on_set(BlockRange { first: block, count });
        }
        block += count;
        at = next_at;
        is_set = !is_set;
    }
    Ok(block)
}

fn varint_bytes(number: u64) -> usize {
    let bits = u64::BITS - (number | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

fn push_varint(piece: &mut Vec<u8>, number: u64) {
    let mut rest = number;
    while rest >= 0x80 {
        piece.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    piece.push(rest as u8);
}

/// The number at offset `start` and the offset after it.
fn take_varint(piece: &[u8], start: usize) -> Result<(u64, usize), RunsError> {
    let mut number = 0;
    for index in 0..VARINT_BYTES_MAX {
        let at = start + index;
        let byte = *piece.get(at).ok_or(RunsError::CutOff { at })?;
        let is_last = byte & 0x80 == 0;
        let is_needless = is_last && byte == 0 && index > 0;
        let is_too_big = index == VARINT_BYTES_MAX - 1 && byte > 1;
        if is_needless || is_too_big {
            break;
        }
        number |= u64::from(byte & 0x7f) << (7 * index);
        if is_last {
            return Ok((number, at + 1));
        }
    }
    Err(RunsError::Malformed { at: start })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeded::Seeded;

    /// Sends a bitmap in pieces of at most `max_bytes`; returns what arrives and the number of
    /// bytes.
    fn sent(bitmap: &Bitmap, max_bytes: usize) -> (Bitmap, usize) {
        let mut arrived = Bitmap::new(bitmap.blocks());
        let (mut from, mut bytes) = (0, 0);
        while from < bitmap.blocks() {
            let (piece, next) = encode(bitmap, from, max_bytes);
            assert!(piece.len() <= max_bytes && next > from);
            let decoded = decode(&piece, from, bitmap.blocks(), |run| {
                arrived.set(run);
            });
            assert_eq!(decoded, Ok(next));
            bytes += piece.len();
            from = next;
        }
        (arrived, bytes)
    }

    #[test]
    fn random_bitmaps_arrive_as_they_were_in_pieces_of_any_size() {
        for seed in 0..60 {
            let mut random = Seeded::new(seed);
            let blocks = 1 + random.below(50_000);
            let longest = 1 + random.below(500);
            let mut bitmap = Bitmap::new(blocks);
            for _ in 0..random.below(200) {
                let first = random.below(blocks);
                bitmap.set(BlockRange { first, count: 1 + random.below(longest) });
            }
            let max_bytes = PIECE_BYTES_MIN + random.below(200) as usize;
            let (arrived, _) = sent(&bitmap, max_bytes);
            assert_eq!(arrived, bitmap, "seed {seed}");
        }
    }

    #[test]
    fn an_even_bitmap_costs_next_to_nothing() {
        let blocks = 1 << 28;
        let (arrived, bytes) = sent(&Bitmap::new(blocks), 100);
        assert!(arrived.all_clear());
        assert_eq!(bytes, 5);
        let (arrived, bytes) = sent(&Bitmap::all_set(blocks), 100);
        assert_eq!((arrived.count(), bytes), (blocks, 6));
    }

    #[test]
    fn an_alternating_bitmap_arrives_too() {
        let mut bitmap = Bitmap::new(4001);
        for first in (0..4001).step_by(2) {
            bitmap.set(BlockRange { first, count: 1 });
        }
        let (arrived, bytes) = sent(&bitmap, 64);
        assert_eq!(arrived.count(), 2001);
        assert_eq!(arrived, bitmap);
        assert!(bytes <= 4100, "{bytes} bytes");
    }

    #[test]
    fn the_bytes_are_those_of_the_protocol() {
        let mut bitmap = Bitmap::new(1000);
        bitmap.set(BlockRange { first: 300, count: 2 });
        assert_eq!(encode(&bitmap, 0, 64), (vec![0xac, 0x02, 2, 0xba, 0x05], 1000));
        assert_eq!(encode(&bitmap, 301, 64), (vec![0, 1, 0xba, 0x05], 1000));
        assert_eq!(encode(&bitmap, 1000, 64), (vec![], 1000));
    }

    #[test]
    fn malformed_pieces_are_errors() {
        let verdict = |piece: &[u8]| decode(piece, 0, 1000, |_| ());
        assert_eq!(verdict(&[0x80]), Err(RunsError::CutOff { at: 1 }));
        assert_eq!(verdict(&[0x80, 0]), Err(RunsError::Malformed { at: 0 }));
        assert_eq!(verdict(&[0xff; 11]), Err(RunsError::Malformed { at: 0 }));
        assert_eq!(verdict(&[1, 0]), Err(RunsError::Empty { at: 1 }));
        assert_eq!(verdict(&[1, 1, 0]), Err(RunsError::Empty { at: 2 }));
        assert_eq!(verdict(&[0xe9, 0x07]), Err(RunsError::PastEnd { blocks: 1000 }));
        assert_eq!(verdict(&[0xe8, 0x07]), Ok(1000));
        assert_eq!(decode(&[], 1001, 1000, |_| ()), Err(RunsError::PastEnd { blocks: 1000 }));
        let mut largest = vec![0xff; 9];
        largest.push(1);
        assert_eq!(decode(&largest, 0, u64::MAX, |_| ()), Ok(u64::MAX));
        largest[9] = 2;
        let too_big = decode(&largest, 0, u64::MAX, |_| ());
        assert_eq!(too_big, Err(RunsError::Malformed { at: 0 }));
        largest[9] = 1;
        assert_eq!(
            decode(&largest, 1, u64::MAX, |_| ()),
            Err(RunsError::PastEnd { blocks: u64::MAX })
        );
    }

    #[test]
    fn random_bytes_never_report_a_run_outside_of_the_bitmap() {
        let seed = 77;
        let mut random = Seeded::new(seed);
        let mut accepted = 0;
        for round in 0..20_000 {
            let length = random.below(12);
            let piece: Vec<u8> =
                (0..length).map(|_| random.below(256) as u8 >> random.below(8)).collect();
            let decoded = decode(&piece, 10, 5000, |run| {
                assert!(run.first >= 10 && run.count > 0, "seed {seed} round {round}");
                assert!(run.end() <= 5000, "seed {seed} round {round}");
            });
            accepted += u32::from(decoded.is_ok());
        }
        assert!(accepted > 1000, "too few pieces were legal: {accepted}");
    }
}
