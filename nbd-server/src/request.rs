//! Requests of the transmission phase: from 28 bytes to an operation that needs no further check.

use crate::export::{Export, PAYLOAD_BYTES_LIMIT};
use crate::handshake_outcome::Negotiated;
use crate::proto::{
    CMD_BLOCK_STATUS, CMD_CACHE, CMD_DISC, CMD_FLAG_DF, CMD_FLAG_FAST_ZERO, CMD_FLAG_FUA,
    CMD_FLAG_NO_HOLE, CMD_FLUSH, CMD_READ, CMD_TRIM, CMD_WRITE, CMD_WRITE_ZEROES, Errno,
    REQUEST_MAGIC,
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
    /// `BLOCK_STATUS` without a metadata context, of which this server has none.
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
            check_flags(header, if negotiated.structured_replies { CMD_FLAG_DF } else { 0 })?;
            check_range(header, export, Errno::Einval)?;
            // EOVERFLOW tells the client to split, but only where DF is offered ("Error values").
            let too_long =
                if negotiated.structured_replies { Errno::Eoverflow } else { Errno::Einval };
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
        CMD_BLOCK_STATUS => Err((Errno::Einval, Refusal::NoMetadataContext)),
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
mod tests {
    use super::*;

    const SIMPLE: Negotiated = Negotiated { structured_replies: false };
    const STRUCTURED: Negotiated = Negotiated { structured_replies: true };
    const SIZE_BYTES: u64 = 1 << 30;
    const PAYLOAD_COMMANDS: [u16; 2] = [CMD_READ, CMD_WRITE];
    const RANGE_COMMANDS: [u16; 5] = [CMD_READ, CMD_WRITE, CMD_WRITE_ZEROES, CMD_TRIM, CMD_CACHE];

    fn export() -> Export {
        Export { trim: true, fast_zero: true, ..Export::new("r0", SIZE_BYTES) }
    }

    fn header(command: u16, flags: u16, offset: u64, bytes: u32) -> RequestHeader {
        RequestHeader { magic: REQUEST_MAGIC, flags, command, cookie: 0xc0, offset, bytes }
    }

    fn accepted(header: RequestHeader) -> Operation {
        let request = validate(&header, &export(), STRUCTURED).expect("the request is good");
        assert_eq!(request.cookie, 0xc0);
        request.op
    }

    /// The errno and the cause of a refusal; checks that just a write's payload is skipped.
    fn refused(header: RequestHeader, export: &Export, negotiated: Negotiated) -> (Errno, Refusal) {
        match validate(&header, export, negotiated) {
            Err(Rejected::Reply { cookie, errno, skip_payload_bytes, why }) => {
                assert_eq!(cookie, 0xc0);
                let payload_bytes = if header.command == CMD_WRITE { header.bytes } else { 0 };
                assert_eq!(skip_payload_bytes, payload_bytes);
                (errno, why)
            }
            other @ (Ok(_) | Err(Rejected::Fatal(_))) => panic!("{header:?} gave {other:?}"),
        }
    }

    fn beyond_end_errno(command: u16) -> Errno {
        match command {
            CMD_WRITE | CMD_WRITE_ZEROES => Errno::Enospc,
            _ => Errno::Einval,
        }
    }

    #[test]
    fn a_request_is_parsed_from_the_bytes_of_the_protocol() {
        let bytes = [
            0x25, 0x60, 0x95, 0x13, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0x10, 0,
            0, 0, 0x20, 0,
        ];
        let parsed = RequestHeader::parse(&bytes);
        let cookie = 0x0102_0304_0506_0708;
        let expected = RequestHeader {
            magic: 0x2560_9513,
            flags: 1,
            command: 6,
            cookie,
            offset: 4096,
            bytes: 8192,
        };
        assert_eq!(parsed, expected);
        let op = Operation::WriteZeroes {
            offset: 4096,
            bytes: 8192,
            fua: true,
            no_hole: false,
            fast: false,
        };
        assert_eq!(validate(&parsed, &export(), SIMPLE), Ok(Request { cookie, op }));
    }

    #[test]
    fn each_command_becomes_its_operation_with_its_flags() {
        let (offset, bytes, fua) = (4096, 8192, true);
        let table = [
            (CMD_READ, CMD_FLAG_DF, Operation::Read { offset, bytes, dont_fragment: true }),
            (CMD_READ, 0, Operation::Read { offset, bytes, dont_fragment: false }),
            (CMD_WRITE, CMD_FLAG_FUA, Operation::Write { offset, bytes, fua }),
            (CMD_WRITE, 0, Operation::Write { offset, bytes, fua: false }),
            (CMD_TRIM, CMD_FLAG_FUA, Operation::Trim { offset, bytes, fua }),
            (CMD_TRIM, 0, Operation::Trim { offset, bytes, fua: false }),
            (CMD_CACHE, 0, Operation::Cache { offset, bytes }),
        ];
        for (command, flags, expected) in table {
            assert_eq!(accepted(header(command, flags, offset, bytes)), expected);
        }
        for (no_hole, fast) in [(false, false), (true, false), (false, true), (true, true)] {
            let flags = if no_hole { CMD_FLAG_NO_HOLE } else { 0 }
                | if fast { CMD_FLAG_FAST_ZERO } else { 0 };
            let expected = Operation::WriteZeroes { offset, bytes, fua: false, no_hole, fast };
            assert_eq!(accepted(header(CMD_WRITE_ZEROES, flags, offset, bytes)), expected);
        }
        assert_eq!(accepted(header(CMD_FLUSH, 0, 0, 0)), Operation::Flush);
    }

    #[test]
    fn a_wrong_magic_is_fatal() {
        let found = REQUEST_MAGIC ^ 1;
        let header = RequestHeader { magic: found, ..header(CMD_WRITE, 0, 0, 4096) };
        let error = Rejected::Fatal(FatalRequest::WrongMagic { found });
        assert_eq!(validate(&header, &export(), SIMPLE), Err(error));
    }

    #[test]
    fn an_unknown_command_is_refused() {
        for command in [8, 9, 256, u16::MAX] {
            let refusal = refused(header(command, 0, 0, 4096), &export(), STRUCTURED);
            assert_eq!(refusal, (Errno::Einval, Refusal::UnknownCommand));
        }
    }

    #[test]
    fn block_status_is_refused_since_no_context_can_be_negotiated() {
        let refusal = refused(header(CMD_BLOCK_STATUS, 0, 0, 4096), &export(), STRUCTURED);
        assert_eq!(refusal, (Errno::Einval, Refusal::NoMetadataContext));
    }

    #[test]
    fn fua_is_accepted_with_every_command() {
        for command in RANGE_COMMANDS {
            accepted(header(command, CMD_FLAG_FUA, 0, 4096));
        }
        assert_eq!(accepted(header(CMD_FLUSH, CMD_FLAG_FUA, 0, 0)), Operation::Flush);
        assert_eq!(accepted(header(CMD_DISC, CMD_FLAG_FUA, 0, 0)), Operation::Disconnect);
    }

    #[test]
    fn every_flag_that_does_not_belong_to_the_command_is_refused() {
        for command in RANGE_COMMANDS.into_iter().chain([CMD_FLUSH]) {
            let allowed = CMD_FLAG_FUA
                | match command {
                    CMD_READ => CMD_FLAG_DF,
                    CMD_WRITE_ZEROES => CMD_FLAG_NO_HOLE | CMD_FLAG_FAST_ZERO,
                    _ => 0,
                };
            let bytes = if command == CMD_FLUSH { 0 } else { 4096 };
            for flag in (0..16).map(|bit| 1 << bit).filter(|flag| flag & allowed == 0) {
                let refusal = refused(header(command, flag, 0, bytes), &export(), STRUCTURED);
                assert_eq!(refusal, (Errno::Einval, Refusal::Flags), "{command} {flag:#x}");
            }
        }
    }

    #[test]
    fn df_without_structured_replies_is_refused() {
        let refusal = refused(header(CMD_READ, CMD_FLAG_DF, 0, 4096), &export(), SIMPLE);
        assert_eq!(refusal, (Errno::Einval, Refusal::Flags));
    }

    #[test]
    fn fast_zero_where_it_was_not_advertised_is_refused() {
        let slow = Export { fast_zero: false, ..export() };
        let refusal = refused(header(CMD_WRITE_ZEROES, CMD_FLAG_FAST_ZERO, 0, 4096), &slow, SIMPLE);
        assert_eq!(refusal, (Errno::Einval, Refusal::Flags));
    }

    #[test]
    fn trim_where_it_was_not_advertised_is_refused() {
        let without = Export { trim: false, ..export() };
        let refusal = refused(header(CMD_TRIM, 0, 0, 4096), &without, SIMPLE);
        assert_eq!(refusal, (Errno::Einval, Refusal::TrimNotOffered));
    }

    #[test]
    fn a_length_of_zero_is_refused() {
        for command in RANGE_COMMANDS {
            for offset in [0, SIZE_BYTES, u64::MAX] {
                let refusal = refused(header(command, 0, offset, 0), &export(), STRUCTURED);
                assert_eq!(refusal, (Errno::Einval, Refusal::ZeroLength));
            }
        }
    }

    #[test]
    fn a_range_beyond_the_end_is_enospc_for_writes_and_einval_for_the_rest() {
        let ranges = [
            (SIZE_BYTES - 4096, 8192),
            (SIZE_BYTES, 512),
            (SIZE_BYTES - 512, 513),
            (u64::MAX - 511, 512),
            (u64::MAX, u32::MAX),
        ];
        for command in RANGE_COMMANDS {
            accepted(header(command, 0, SIZE_BYTES - 4096, 4096));
            for (offset, bytes) in ranges {
                let refusal = refused(header(command, 0, offset, bytes), &export(), STRUCTURED);
                assert_eq!(refusal, (beyond_end_errno(command), Refusal::BeyondEnd));
            }
        }
    }

    #[test]
    fn an_unaligned_offset_or_length_is_refused() {
        for command in RANGE_COMMANDS {
            for (offset, bytes) in [(1, 512), (512, 511), (256, 256), (SIZE_BYTES - 1, 1)] {
                let refusal = refused(header(command, 0, offset, bytes), &export(), SIMPLE);
                assert_eq!(refusal, (Errno::Einval, Refusal::Unaligned));
            }
        }
    }

    #[test]
    fn the_unaligned_tail_of_an_odd_export_is_reached_only_up_to_its_end() {
        let odd = Export { size_bytes: 1_000, ..export() };
        for command in RANGE_COMMANDS {
            assert!(validate(&header(command, 0, 512, 488), &odd, SIMPLE).is_ok());
            assert!(validate(&header(command, 0, 0, 1_000), &odd, SIMPLE).is_ok());
            let refusal = refused(header(command, 0, 512, 400), &odd, SIMPLE);
            assert_eq!(refusal, (Errno::Einval, Refusal::Unaligned));
            let refusal = refused(header(command, 0, 600, 400), &odd, SIMPLE);
            assert_eq!(refusal, (Errno::Einval, Refusal::Unaligned));
        }
    }

    #[test]
    fn a_payload_over_the_maximum_is_refused_and_one_of_the_maximum_is_not() {
        let max = export().payload_bytes_max;
        for command in PAYLOAD_COMMANDS {
            accepted(header(command, 0, 0, max));
        }
        let over =
            |command, negotiated| refused(header(command, 0, 0, max + 512), &export(), negotiated);
        let why = Refusal::PayloadTooLong;
        assert_eq!(over(CMD_READ, STRUCTURED), (Errno::Eoverflow, why));
        assert_eq!(over(CMD_READ, SIMPLE), (Errno::Einval, why));
        assert_eq!(over(CMD_WRITE, STRUCTURED), (Errno::Einval, why));
        assert_eq!(over(CMD_WRITE, SIMPLE), (Errno::Einval, why));
    }

    #[test]
    fn commands_without_a_payload_may_be_longer_than_the_maximum() {
        for command in [CMD_WRITE_ZEROES, CMD_TRIM, CMD_CACHE] {
            accepted(header(command, 0, 0, SIZE_BYTES as u32));
        }
    }

    #[test]
    fn the_payload_of_a_refused_write_is_skipped_however_long_it_is() {
        let refusal = refused(header(CMD_WRITE, 0, 0, u32::MAX), &export(), SIMPLE);
        assert_eq!(refusal, (Errno::Enospc, Refusal::BeyondEnd));
    }

    #[test]
    fn a_flush_with_a_range_is_refused() {
        for (offset, bytes) in [(4096, 0), (0, 4096)] {
            let refusal = refused(header(CMD_FLUSH, 0, offset, bytes), &export(), SIMPLE);
            assert_eq!(refusal, (Errno::Einval, Refusal::FlushWithRange));
        }
    }

    #[test]
    fn a_disconnect_is_obeyed_whatever_its_other_fields_say() {
        assert_eq!(accepted(header(CMD_DISC, 0, 0, 0)), Operation::Disconnect);
        assert_eq!(accepted(header(CMD_DISC, u16::MAX, 1, 1)), Operation::Disconnect);
    }

    #[test]
    fn an_export_that_was_never_checked_does_not_break_the_limits() {
        let export = Export {
            block_bytes_min: 0,
            payload_bytes_max: u32::MAX,
            ..Export::new("r0", u64::MAX)
        };
        let unaligned = refused(header(CMD_READ, 0, 512, 512), &export, STRUCTURED);
        assert_eq!(unaligned, (Errno::Einval, Refusal::Unaligned));
        let export = Export { block_bytes_min: 1, ..export };
        let too_long = refused(header(CMD_READ, 0, 0, u32::MAX), &export, STRUCTURED);
        assert_eq!(too_long, (Errno::Eoverflow, Refusal::PayloadTooLong));
    }
}
