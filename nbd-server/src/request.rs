//! Requests of the transmission phase: from 28 bytes to an operation that needs no further check.

use crate::export::{Export, PAYLOAD_BYTES_LIMIT};
use crate::handshake_outcome::Negotiated;
use crate::proto::{
    CMD_BLOCK_STATUS, CMD_CACHE, CMD_DISC, CMD_FLAG_DF, CMD_FLAG_FAST_ZERO, CMD_FLAG_FUA,
    CMD_FLAG_NO_HOLE, CMD_FLAG_REQ_ONE, CMD_FLUSH, CMD_READ, CMD_TRIM, CMD_WRITE, CMD_WRITE_ZEROES,
    Errno, REQUEST_MAGIC,
};
use crate::wire::{take_u16, take_u32, take_u64};

/// Length of a request without its payload, in bytes (proto.md "Request message").
pub const REQUEST_HEADER_BYTES: usize = 28;

/// The fields of a request as they came, unchecked (proto.md "Request message").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    /// Must be `REQUEST_MAGIC`.
    pub magic: u32,
    /// Command flags.
    pub flags: u16,
    /// Command.
    pub command: u16,
    /// Chosen by the client, returned in the reply; has no meaning here.
    pub cookie: u64,
    /// Offset in bytes.
    pub offset: u64,
    /// Length in bytes.
    pub bytes: u32,
}

impl RequestHeader {
    /// Splits the bytes into fields; whether they make sense is for [`validate`] to say.
    pub fn parse(bytes: &[u8; REQUEST_HEADER_BYTES]) -> RequestHeader {
        const FIXED: &str = "invariant: the fields of a request take 28 bytes";
        let mut rest = &bytes[..];
        RequestHeader {
            magic: take_u32(&mut rest).expect(FIXED),
            flags: take_u16(&mut rest).expect(FIXED),
            command: take_u16(&mut rest).expect(FIXED),
            cookie: take_u64(&mut rest).expect(FIXED),
            offset: take_u64(&mut rest).expect(FIXED),
            bytes: take_u32(&mut rest).expect(FIXED),
        }
    }
}

/// A request that was checked completely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// To be returned in the reply.
    pub cookie: u64,
    /// What to do.
    pub op: Operation,
}

/// What a client asks for (proto.md "Request types").
///
/// From [`validate`]: ranges are not empty, inside the export and aligned to its minimum block,
/// except for the unaligned tail of an export whose size is not a multiple. Offsets and lengths are
/// in bytes. `fua` means durable before the reply (rule D3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Read; at most the maximum payload.
    Read {
        /// Start in bytes.
        offset: u64,
        /// Length in bytes.
        bytes: u32,
        /// The client wants one content chunk; the replies of this crate have no other form.
        dont_fragment: bool,
    },
    /// Write the payload of `bytes` bytes that follows; at most the maximum payload.
    Write {
        /// Start in bytes.
        offset: u64,
        /// Length in bytes.
        bytes: u32,
        /// Durable before the reply.
        fua: bool,
    },
    /// Make the range read as zeroes; may be longer than the maximum payload.
    WriteZeroes {
        /// Start in bytes.
        offset: u64,
        /// Length in bytes.
        bytes: u32,
        /// Durable before the reply.
        fua: bool,
        /// Leave no hole.
        no_hole: bool,
        /// Answer ENOTSUP at once, and change nothing, unless it is faster than a write.
        fast: bool,
    },
    /// The client needs the range no longer; may be longer than the maximum payload.
    Trim {
        /// Start in bytes.
        offset: u64,
        /// Length in bytes.
        bytes: u32,
        /// Durable before the reply.
        fua: bool,
    },
    /// Make everything durable that was answered before.
    Flush,
    /// The client will read the range soon; may be answered at once without doing anything.
    Cache {
        /// Start in bytes.
        offset: u64,
        /// Length in bytes.
        bytes: u32,
    },
    /// Tell data from holes in the range; may be longer than the maximum payload.
    BlockStatus {
        /// Start in bytes.
        offset: u64,
        /// Length in bytes.
        bytes: u32,
        /// The client wants one extent.
        one_extent: bool,
    },
    /// End the connection when what is in flight is done; has no reply.
    Disconnect,
}

/// What [`validate`] found wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// Answer with [`crate::rejection_head`]; the connection lives on.
    #[error("request {cookie:#x} was refused: {why}")]
    Reply {
        /// To be returned in the reply.
        cookie: u64,
        /// The error for the client.
        errno: Errno,
        /// How many bytes of payload to read and drop before the next request.
        skip_payload_bytes: u32,
        /// The cause.
        why: Refusal,
    },
    /// End this connection: where the next request begins is unknown.
    #[error(transparent)]
    Fatal(FatalRequest),
}

/// Why a connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FatalRequest {
    /// The stream is out of step.
    #[error("a request began with {found:#010x} instead of the magic; the client is broken")]
    WrongMagic {
        /// What came instead of the magic.
        found: u32,
    },
}

/// Why a request was refused. The text is at most 64 bytes long and is sent to the client when
/// replies are structured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The command is not one that this server knows.
    UnknownCommand,
    /// `BLOCK_STATUS` without the metadata context.
    NoMetadataContext,
    /// A flag that does not belong to the command or was not advertised.
    Flags,
    /// TRIM where it was not advertised.
    TrimNotOffered,
    /// Length zero; proto.md leaves the behaviour open, and a client that sends it is mistaken.
    ZeroLength,
    /// The range ends beyond the export.
    BeyondEnd,
    /// Offset or length are not multiples of the minimum block.
    Unaligned,
    /// The payload is longer than the advertised maximum.
    PayloadTooLong,
    /// A flush with an offset or a length, which are reserved.
    FlushWithRange,
}

impl Refusal {
    /// A text for the user of the client, in ASCII and at most 64 bytes long.
    pub const fn message(self) -> &'static str {
        match self {
            Refusal::UnknownCommand => "unknown command",
            Refusal::NoMetadataContext => "no metadata context was negotiated",
            Refusal::Flags => "a command flag is unknown or was not advertised",
            Refusal::TrimNotOffered => "trim was not advertised",
            Refusal::ZeroLength => "the length is zero",
            Refusal::BeyondEnd => "the range ends beyond the export",
            Refusal::Unaligned => "offset or length is not a multiple of the minimum block",
            Refusal::PayloadTooLong => "longer than the maximum payload; split the request",
            Refusal::FlushWithRange => "a flush takes no offset and no length",
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.message())
    }
}

/// Checks a request against what was advertised, so that whoever carries it out need not.
///
/// # Errors
/// [`Rejected::Reply`] with the errno that proto.md ("Error values", "Size constraints") asks for;
/// [`Rejected::Fatal`] when the magic is wrong.
pub fn validate(
    header: &RequestHeader,
    export: &Export,
    negotiated: Negotiated,
) -> Result<Request, Rejected> {
    if header.magic != REQUEST_MAGIC {
        return Err(Rejected::Fatal(FatalRequest::WrongMagic { found: header.magic }));
    }
    match operation(header, export, negotiated) {
        Ok(op) => Ok(Request { cookie: header.cookie, op }),
        Err((errno, why)) => Err(Rejected::Reply {
            cookie: header.cookie,
            errno,
            skip_payload_bytes: if header.command == CMD_WRITE { header.bytes } else { 0 },
            why,
        }),
    }
}

type Checked<T> = Result<T, (Errno, Refusal)>;

fn operation(
    header: &RequestHeader,
    export: &Export,
    negotiated: Negotiated,
) -> Checked<Operation> {
    let RequestHeader { offset, bytes, .. } = *header;
    let fua = header.flags & CMD_FLAG_FUA != 0;
    match header.command {
        CMD_READ => {
            check_flags(header, if negotiated.structured_replies() { CMD_FLAG_DF } else { 0 })?;
            check_range(header, export, Errno::Einval)?;
            // EOVERFLOW tells the client to split, but only where DF is offered ("Error values").
            let too_long =
                if negotiated.structured_replies() { Errno::Eoverflow } else { Errno::Einval };
            check_payload(header, export, too_long)?;
            let dont_fragment = header.flags & CMD_FLAG_DF != 0;
            Ok(Operation::Read { offset, bytes, dont_fragment })
        }
        CMD_WRITE => {
            check_flags(header, 0)?;
            check_range(header, export, Errno::Enospc)?;
            check_payload(header, export, Errno::Einval)?;
            Ok(Operation::Write { offset, bytes, fua })
        }
        CMD_WRITE_ZEROES => {
            let fast_zero = if export.fast_zero { CMD_FLAG_FAST_ZERO } else { 0 };
            check_flags(header, CMD_FLAG_NO_HOLE | fast_zero)?;
            check_range(header, export, Errno::Enospc)?;
            let no_hole = header.flags & CMD_FLAG_NO_HOLE != 0;
            let fast = header.flags & CMD_FLAG_FAST_ZERO != 0;
            Ok(Operation::WriteZeroes { offset, bytes, fua, no_hole, fast })
        }
        CMD_TRIM => {
            if !export.trim {
                return Err((Errno::Einval, Refusal::TrimNotOffered));
            }
            check_flags(header, 0)?;
            check_range(header, export, Errno::Einval)?;
            Ok(Operation::Trim { offset, bytes, fua })
        }
        CMD_FLUSH => {
            check_flags(header, 0)?;
            if offset != 0 || bytes != 0 {
                return Err((Errno::Einval, Refusal::FlushWithRange));
            }
            Ok(Operation::Flush)
        }
        CMD_CACHE => {
            check_flags(header, 0)?;
            check_range(header, export, Errno::Einval)?;
            Ok(Operation::Cache { offset, bytes })
        }
        // There is no reply that could refuse it, so its other fields do not matter.
        CMD_DISC => Ok(Operation::Disconnect),
        CMD_BLOCK_STATUS if !negotiated.block_status() => {
            Err((Errno::Einval, Refusal::NoMetadataContext))
        }
        CMD_BLOCK_STATUS => {
            check_flags(header, CMD_FLAG_REQ_ONE)?;
            check_range(header, export, Errno::Einval)?;
            let one_extent = header.flags & CMD_FLAG_REQ_ONE != 0;
            Ok(Operation::BlockStatus { offset, bytes, one_extent })
        }
        _ => Err((Errno::Einval, Refusal::UnknownCommand)),
    }
}

/// FUA is valid with every command once it was advertised (proto.md "Command flags", bit 0).
fn check_flags(header: &RequestHeader, allowed: u16) -> Checked<()> {
    if header.flags & !(allowed | CMD_FLAG_FUA) == 0 {
        Ok(())
    } else {
        Err((Errno::Einval, Refusal::Flags))
    }
}

fn check_range(header: &RequestHeader, export: &Export, beyond_end: Errno) -> Checked<()> {
    if header.bytes == 0 {
        return Err((Errno::Einval, Refusal::ZeroLength));
    }
    let length_bytes = u64::from(header.bytes);
    let end = match header.offset.checked_add(length_bytes) {
        Some(end) if end <= export.size_bytes => end,
        Some(_) | None => return Err((beyond_end, Refusal::BeyondEnd)),
    };
    let block_bytes = u64::from(export.block_bytes_min);
    let whole_blocks = length_bytes.is_multiple_of(block_bytes);
    if !header.offset.is_multiple_of(block_bytes) || !(whole_blocks || end == export.size_bytes) {
        return Err((Errno::Einval, Refusal::Unaligned));
    }
    Ok(())
}

fn check_payload(header: &RequestHeader, export: &Export, too_long: Errno) -> Checked<()> {
    // The second limit holds for an export that was never checked: the length of a chunk is u32.
    if header.bytes > export.payload_bytes_max.min(PAYLOAD_BYTES_LIMIT) {
        return Err((too_long, Refusal::PayloadTooLong));
    }
    Ok(())
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
