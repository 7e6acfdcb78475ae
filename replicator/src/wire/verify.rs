//! Bodies of the messages of a verify (version 2).

use super::body::{SYNC_REQUEST_BYTES, explanation, put_explanation};
use super::cursor::{BodyReader, BodyWriter};
use super::{TEXT_BYTES_MAX, WireError};
use crate::digest::{DIGEST_BYTES, Digest};
use crate::message::Message;
use crate::pace::SyncLimit;
use crate::settings::SYNC_PIECE_BYTES_MAX;
use metadata::units::{BLOCK_BYTES, BlockRange};

/// Bytes of a run of blocks.
const BLOCKS_BYTES: usize = 8 + 8;
/// Exact length of a `VerifyAsk` body: blocks, repair.
pub(super) const ASK_BYTES: usize = BLOCKS_BYTES + 1;
/// Exact length of a `VerifyBegin` body: the same, asked.
pub(super) const BEGIN_BYTES: usize = ASK_BYTES + 1;
/// Most digests of one message: those of the blocks of one piece.
const DIGESTS_MAX: usize = (SYNC_PIECE_BYTES_MAX as u64 / BLOCK_BYTES) as usize;
/// Shortest `VerifyDigests` body: number, one digest.
pub(super) const DIGESTS_BYTES_MIN: usize = 8 + DIGEST_BYTES;
/// Longest `VerifyDigests` body: those of a whole piece.
pub(super) const DIGESTS_BYTES_MAX: usize = 8 + DIGESTS_MAX * DIGEST_BYTES;
/// Exact length of a `VerifyDiffers` body: blocks, unreadable.
pub(super) const DIFFERS_BYTES: usize = BLOCKS_BYTES + 1;
/// Shortest `VerifyEnd` body: compared blocks, next block, complete.
pub(super) const END_BYTES_MIN: usize = 8 + 8 + 1;
/// Longest `VerifyEnd` body: broken off, and a text of full length.
pub(super) const END_BYTES_MAX: usize = END_BYTES_MIN + 1 + TEXT_BYTES_MAX;
/// Exact length of a `VerifyRead` body: as a `SyncRequest`, and the next block.
pub(super) const READ_BYTES: usize = SYNC_REQUEST_BYTES + 8;

pub(super) fn read(r: &mut BodyReader<'_>) -> Result<Message, WireError> {
    let number = r.u64()?;
    let range = r.range(u64::from(SYNC_PIECE_BYTES_MAX))?;
    if !range.start().is_multiple_of(BLOCK_BYTES) {
        return Err(r.malformed("a range to be verified does not begin with a block"));
    }
    let limit = r.code(SyncLimit::from_code, "an unknown limit")?;
    Ok(Message::VerifyRead { number, range, limit, next_block: r.u64()? })
}

pub(super) fn digests(r: &mut BodyReader<'_>) -> Result<Message, WireError> {
    let number = r.u64()?;
    let (whole, left) = r.rest().as_chunks::<DIGEST_BYTES>();
    if !left.is_empty() {
        return Err(r.malformed("a digest is cut off"));
    }
    Ok(Message::VerifyDigests { number, digests: whole.to_vec() })
}

pub(super) fn put_digests(number: u64, digests: &[Digest], w: &mut BodyWriter<'_>) {
    assert!(
        !digests.is_empty() && digests.len() <= DIGESTS_MAX,
        "invariant: a piece has its blocks"
    );
    w.u64(number);
    for digest in digests {
        w.bytes(digest);
    }
}

pub(super) fn end(r: &mut BodyReader<'_>) -> Result<Message, WireError> {
    Ok(Message::VerifyEnd {
        compared_blocks: r.u64()?,
        next_block: r.u64()?,
        broken_off: explanation(r)?,
    })
}

pub(super) fn put_end(
    compared_blocks: u64,
    next_block: u64,
    broken_off: Option<&String>,
    w: &mut BodyWriter<'_>,
) {
    w.u64(compared_blocks);
    w.u64(next_block);
    put_explanation(broken_off, w);
}

pub(super) fn put_blocks(blocks: BlockRange, w: &mut BodyWriter<'_>) {
    w.u64(blocks.first);
    w.u64(blocks.count);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Kind;
    use metadata::units::ByteRange;

    fn reader(kind: Kind, body: &[u8]) -> BodyReader<'_> {
        BodyReader::new(kind, body)
    }

    #[test]
    fn a_cut_digest_and_a_range_that_begins_inside_a_block_are_refused() {
        let whole = [7_u8; 8 + 2 * DIGEST_BYTES];
        assert!(digests(&mut reader(Kind::VerifyDigests, &whole)).is_ok());
        let cut = digests(&mut reader(Kind::VerifyDigests, &whole[..whole.len() - 1]));
        assert!(matches!(cut, Err(WireError::Malformed { .. })), "{cut:?}");
        let mut body = Vec::new();
        let mut w = BodyWriter::new(&mut body);
        w.u64(1);
        w.range(ByteRange::new(512, 4096), 4096);
        w.u8(0);
        w.u64(0);
        let inside = read(&mut reader(Kind::VerifyRead, &body));
        assert!(matches!(inside, Err(WireError::Malformed { .. })), "{inside:?}");
    }
}
