//! Bodies of messages: which fields in which order, for every kind.

use super::cursor::{BodyReader, BodyWriter};
use super::{BITMAP_RUNS_BYTES_MAX, Kind, TEXT_BYTES_MAX, WireError, handshake, verify};
use crate::digest::DIGEST_BYTES;
use crate::message::{Message, SourceLoad};
use crate::pace::SyncLimit;
use crate::settings::{SYNC_PIECE_BYTES_MAX, ZERO_PIECE_BYTES_MAX};
use crate::state::{DiskState, Role};
use metadata::generations::Generations;

/// Bytes of a `Bitmap` body before its runs.
pub(super) const BITMAP_FIXED_BYTES: usize = 8 + 1;
/// Exact length of a `Write` body: number, range, FUA.
pub(super) const WRITE_BYTES: usize = 8 + RANGE_BYTES + 1;
/// Exact length of a `Zero` body: number, range, FUA, unmap.
pub(super) const ZERO_BYTES: usize = 8 + RANGE_BYTES + 2;
/// Exact length of a `Read` or `ReadData` body: number, range.
pub(super) const SYNC_RANGE_BYTES: usize = 8 + RANGE_BYTES;
/// Exact length of a `SyncRequest` body: number, range, limit.
pub(super) const SYNC_REQUEST_BYTES: usize = 8 + RANGE_BYTES + 1;
/// Exact length of a `SyncCompare` body: the same and a digest.
pub(super) const SYNC_COMPARE_BYTES: usize = SYNC_REQUEST_BYTES + DIGEST_BYTES;
/// Exact length of a `SyncData` body: number, range, two flags of load.
pub(super) const SYNC_DATA_BYTES: usize = 8 + RANGE_BYTES + 2;
/// Longest `PromoteAnswer` or `SyncAsk` body: refused, and a text of full length.
pub(super) const PROMOTE_ANSWER_BYTES_MAX: usize = 2 + TEXT_BYTES_MAX;
/// Shortest `ResizeRoom` body: bytes, and no refusal.
pub(super) const RESIZE_ROOM_BYTES_MIN: usize = 8 + 1;
/// Longest `ResizeRoom` body: bytes, refused, and a text of full length.
pub(super) const RESIZE_ROOM_BYTES_MAX: usize = RESIZE_ROOM_BYTES_MIN + 1 + TEXT_BYTES_MAX;
/// Exact length of a `ResizePrepare` body: size, zeroed.
pub(super) const RESIZE_PREPARE_BYTES: usize = 8 + 1;
/// Bytes of a generation tuple: current, bitmap, two of history.
pub(super) const GENERATIONS_BYTES: usize = 4 * 8;
/// Bytes of a range: start and length.
const RANGE_BYTES: usize = 8 + 8;

/// Reads the message whose body `r` stands at the beginning of; its payload is `data_bytes` long.
pub(super) fn get(r: &mut BodyReader<'_>, data_bytes: u32) -> Result<Message, WireError> {
    Ok(match r.kind() {
        Kind::Hello => Message::Hello(handshake::hello(r)?),
        Kind::Proof => Message::Proof(r.array()?),
        Kind::Parameters => Message::Parameters(handshake::parameters(r)?),
        Kind::Data => Message::Data(handshake::data(r)?),
        Kind::Refuse => Message::Refuse(handshake::refuse(r)?),
        Kind::Bitmap => {
            Message::Bitmap { from_block: r.u64()?, last: r.flag()?, runs: r.rest().to_vec() }
        }
        Kind::SyncStart => Message::SyncStart { sync_generation: r.u64()? },
        Kind::SyncStarted => Message::SyncStarted,
        Kind::State => Message::State {
            role: r.code(Role::from_code, "an unknown role")?,
            disk: r.code(DiskState::from_code, "an unknown disk state")?,
        },
        Kind::PromoteAsk => Message::PromoteAsk,
        Kind::PromoteAnswer => Message::PromoteAnswer { refusal: explanation(r)? },
        Kind::SyncAsk => Message::SyncAsk { refusal: explanation(r)? },
        Kind::SyncIncomplete => Message::SyncIncomplete { blocks: r.u64()? },
        Kind::InvalidateOffer => Message::InvalidateOffer,
        Kind::InvalidateAsk => Message::InvalidateAsk,
        Kind::NewGeneration => Message::NewGeneration { current: r.u64()? },
        Kind::NewGenerationDone => Message::NewGenerationDone,
        Kind::Write => {
            let number = r.u64()?;
            Message::Write { number, range: r.data_range(data_bytes)?, fua: r.flag()? }
        }
        Kind::Zero => Message::Zero {
            number: r.u64()?,
            range: r.range(ZERO_PIECE_BYTES_MAX)?,
            fua: r.flag()?,
            may_unmap: r.flag()?,
        },
        Kind::WriteDone => Message::WriteDone { number: r.u64()? },
        Kind::Flush => Message::Flush { number: r.u64()? },
        Kind::FlushDone => Message::FlushDone { number: r.u64()? },
        Kind::PairDone => Message::PairDone { number: r.u64()? },
        Kind::SyncRequest => Message::SyncRequest {
            number: r.u64()?,
            range: r.range(u64::from(SYNC_PIECE_BYTES_MAX))?,
            limit: r.code(SyncLimit::from_code, "an unknown limit")?,
        },
        Kind::SyncCompare => Message::SyncCompare {
            number: r.u64()?,
            range: r.range(u64::from(SYNC_PIECE_BYTES_MAX))?,
            limit: r.code(SyncLimit::from_code, "an unknown limit")?,
            digest: r.array()?,
        },
        Kind::SyncData => {
            Message::SyncData { number: r.u64()?, range: r.data_range(data_bytes)?, load: load(r)? }
        }
        Kind::SyncEqual => Message::SyncEqual { number: r.u64()?, load: load(r)? },
        Kind::SyncPause => Message::SyncPause { paused: r.flag()? },
        Kind::SyncUnreadable => Message::SyncUnreadable { number: r.u64()? },
        Kind::SyncWritten => Message::SyncWritten { number: r.u64()? },
        Kind::SyncNoneLeft => Message::SyncNoneLeft,
        Kind::SyncNotYet => Message::SyncNotYet,
        Kind::SyncGrant => Message::SyncGrant { generations: generations(r)? },
        Kind::SyncConfirm => Message::SyncConfirm,
        Kind::Ping => Message::Ping { number: r.u64()? },
        Kind::Pong => Message::Pong { number: r.u64()? },
        Kind::ResizeAsk => Message::ResizeAsk,
        Kind::ResizeRoom => Message::ResizeRoom { room_bytes: r.u64()?, refusal: explanation(r)? },
        Kind::ResizePrepare => {
            Message::ResizePrepare { size_bytes: r.u64()?, assume_clean: r.flag()? }
        }
        Kind::ResizePrepared => Message::ResizePrepared,
        Kind::ResizeCommit => Message::ResizeCommit,
        Kind::ResizeCommitted => Message::ResizeCommitted,
        Kind::ResizeEnd => Message::ResizeEnd { done: r.flag()? },
        Kind::VerifyAsk => Message::VerifyAsk { blocks: r.blocks()?, repair: r.flag()? },
        Kind::VerifyBegin => {
            Message::VerifyBegin { blocks: r.blocks()?, repair: r.flag()?, asked: r.flag()? }
        }
        Kind::VerifyAnswer => Message::VerifyAnswer { refusal: explanation(r)? },
        Kind::VerifyRead => verify::read(r)?,
        Kind::VerifyDigests => verify::digests(r)?,
        Kind::VerifyUnreadable => Message::VerifyUnreadable { number: r.u64()? },
        Kind::VerifyDiffers => {
            Message::VerifyDiffers { blocks: r.blocks()?, unreadable: r.flag()? }
        }
        Kind::VerifyEnd => verify::end(r)?,
        Kind::VerifyEnded => Message::VerifyEnded,
        Kind::RepairOffer => Message::RepairOffer,
        Kind::RepairAsk => Message::RepairAsk,
        Kind::Bye => Message::Bye,
        Kind::Outdate => Message::Outdate,
        Kind::OutOfSync => Message::OutOfSync { blocks: r.blocks()? },
        Kind::TakeOver => Message::TakeOver { current: r.u64()? },
        Kind::TookOver => Message::TookOver { current: r.u64()? },
        Kind::Read => {
            Message::Read { number: r.u64()?, range: r.range(u64::from(SYNC_PIECE_BYTES_MAX))? }
        }
        Kind::ReadData => Message::ReadData { number: r.u64()?, range: r.data_range(data_bytes)? },
        Kind::ReadFailed => Message::ReadFailed { number: r.u64()? },
        Kind::WriteFailed => Message::WriteFailed { number: r.u64()? },
        Kind::Durable => Message::Durable { sequences: handshake::sequences(r)? },
    })
}

/// Appends the body of `message`, whose payload is `data_bytes` long. Must mirror [`get`] field by
/// field.
pub(super) fn put(message: &Message, data_bytes: u32, w: &mut BodyWriter<'_>) {
    match message {
        Message::Hello(hello) => handshake::put_hello(hello, w),
        Message::Proof(proof) => w.bytes(proof),
        Message::Parameters(parameters) => handshake::put_parameters(parameters, w),
        Message::Data(data) => handshake::put_data(data, w),
        Message::Refuse(refusal) => handshake::put_refuse(refusal, w),
        Message::Bitmap { from_block, runs, last } => {
            assert!(runs.len() <= BITMAP_RUNS_BYTES_MAX, "invariant: runs fit into one message");
            w.u64(*from_block);
            w.flag(*last);
            w.bytes(runs);
        }
        Message::SyncStart { sync_generation } => w.u64(*sync_generation),
        Message::State { role, disk } => {
            w.u8(role.code());
            w.u8(disk.code());
        }
        Message::SyncIncomplete { blocks } => w.u64(*blocks),
        Message::NewGeneration { current } => w.u64(*current),
        Message::PromoteAnswer { refusal }
        | Message::SyncAsk { refusal }
        | Message::VerifyAnswer { refusal } => put_explanation(refusal.as_ref(), w),
        Message::Write { number, range, fua } => {
            w.u64(*number);
            w.data_range(*range, data_bytes);
            w.flag(*fua);
        }
        Message::Zero { number, range, fua, may_unmap } => {
            w.u64(*number);
            w.range(*range, ZERO_PIECE_BYTES_MAX);
            w.flag(*fua);
            w.flag(*may_unmap);
        }
        Message::SyncRequest { number, range, limit } => {
            w.u64(*number);
            w.range(*range, u64::from(SYNC_PIECE_BYTES_MAX));
            w.u8(limit.code());
        }
        Message::SyncCompare { number, range, limit, digest } => {
            w.u64(*number);
            w.range(*range, u64::from(SYNC_PIECE_BYTES_MAX));
            w.u8(limit.code());
            w.bytes(digest);
        }
        Message::SyncData { number, range, load } => {
            w.u64(*number);
            w.data_range(*range, data_bytes);
            put_load(*load, w);
        }
        Message::Read { number, range } => {
            w.u64(*number);
            w.range(*range, u64::from(SYNC_PIECE_BYTES_MAX));
        }
        Message::ReadData { number, range } => {
            w.u64(*number);
            w.data_range(*range, data_bytes);
        }
        Message::SyncEqual { number, load } => {
            w.u64(*number);
            put_load(*load, w);
        }
        Message::SyncPause { paused } => w.flag(*paused),
        Message::WriteDone { number }
        | Message::Flush { number }
        | Message::FlushDone { number }
        | Message::PairDone { number }
        | Message::SyncUnreadable { number }
        | Message::SyncWritten { number }
        | Message::ReadFailed { number }
        | Message::WriteFailed { number }
        | Message::VerifyUnreadable { number }
        | Message::Ping { number }
        | Message::Pong { number } => w.u64(*number),
        Message::TakeOver { current } | Message::TookOver { current } => w.u64(*current),
        Message::OutOfSync { blocks } => verify::put_blocks(*blocks, w),
        Message::VerifyAsk { blocks, repair } => {
            verify::put_blocks(*blocks, w);
            w.flag(*repair);
        }
        Message::VerifyBegin { blocks, repair, asked } => {
            verify::put_blocks(*blocks, w);
            w.flag(*repair);
            w.flag(*asked);
        }
        Message::VerifyRead { number, range, limit, next_block } => {
            w.u64(*number);
            w.range(*range, u64::from(SYNC_PIECE_BYTES_MAX));
            w.u8(limit.code());
            w.u64(*next_block);
        }
        Message::VerifyDigests { number, digests } => verify::put_digests(*number, digests, w),
        Message::VerifyDiffers { blocks, unreadable } => {
            verify::put_blocks(*blocks, w);
            w.flag(*unreadable);
        }
        Message::VerifyEnd { compared_blocks, next_block, broken_off } => {
            verify::put_end(*compared_blocks, *next_block, broken_off.as_ref(), w);
        }
        Message::ResizeRoom { room_bytes, refusal } => {
            w.u64(*room_bytes);
            put_explanation(refusal.as_ref(), w);
        }
        Message::ResizePrepare { size_bytes, assume_clean } => {
            w.u64(*size_bytes);
            w.flag(*assume_clean);
        }
        Message::ResizeEnd { done } => w.flag(*done),
        Message::SyncGrant { generations } => put_generations(*generations, w),
        Message::Durable { sequences } => handshake::put_sequences(*sequences, w),
        Message::SyncStarted
        | Message::InvalidateOffer
        | Message::InvalidateAsk
        | Message::NewGenerationDone
        | Message::PromoteAsk
        | Message::SyncNoneLeft
        | Message::SyncNotYet
        | Message::SyncConfirm
        | Message::Outdate
        | Message::ResizeAsk
        | Message::ResizePrepared
        | Message::ResizeCommit
        | Message::ResizeCommitted
        | Message::VerifyEnded
        | Message::RepairOffer
        | Message::RepairAsk
        | Message::Bye => {}
    }
}

/// A flag, and words if it is set.
pub(super) fn explanation(r: &mut BodyReader<'_>) -> Result<Option<String>, WireError> {
    if r.flag()? { r.text().map(Some) } else { Ok(None) }
}

/// The same.
pub(super) fn put_explanation(text: Option<&String>, w: &mut BodyWriter<'_>) {
    w.flag(text.is_some());
    if let Some(text) = text {
        w.explanation(text);
    }
}

fn load(r: &mut BodyReader<'_>) -> Result<SourceLoad, WireError> {
    Ok(SourceLoad { application: r.flag()?, disk: r.flag()? })
}

fn put_load(load: SourceLoad, w: &mut BodyWriter<'_>) {
    w.flag(load.application);
    w.flag(load.disk);
}

pub(super) fn generations(r: &mut BodyReader<'_>) -> Result<Generations, WireError> {
    Ok(Generations { current: r.u64()?, bitmap: r.u64()?, history: [r.u64()?, r.u64()?] })
}

pub(super) fn put_generations(generations: Generations, w: &mut BodyWriter<'_>) {
    w.u64(generations.current);
    w.u64(generations.bitmap);
    for history in generations.history {
        w.u64(history);
    }
}
