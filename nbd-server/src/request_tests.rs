//! Every refusal of a request, and that what is accepted is what was asked.

use super::*;

const SIMPLE: Negotiated = Negotiated::Simple;
const STRUCTURED: Negotiated = Negotiated::Structured { block_status: false };
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
        0x25, 0x60, 0x95, 0x13, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0x10, 0, 0,
        0, 0x20, 0,
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
        let flags =
            if no_hole { CMD_FLAG_NO_HOLE } else { 0 } | if fast { CMD_FLAG_FAST_ZERO } else { 0 };
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
fn block_status_needs_the_context_and_takes_one_flag() {
    let allocation = Negotiated::Structured { block_status: true };
    for negotiated in [SIMPLE, STRUCTURED] {
        let refusal = refused(header(CMD_BLOCK_STATUS, 0, 0, 4096), &export(), negotiated);
        assert_eq!(refusal, (Errno::Einval, Refusal::NoMetadataContext));
    }
    for (flags, one_extent) in [(0, false), (CMD_FLAG_REQ_ONE, true)] {
        let bytes = export().size_bytes as u32;
        let request = validate(&header(CMD_BLOCK_STATUS, flags, 0, bytes), &export(), allocation);
        let op = Operation::BlockStatus { offset: 0, bytes, one_extent };
        assert_eq!(request.map(|request| request.op), Ok(op), "longer than a payload");
    }
    for (flags, bytes, why) in [
        (CMD_FLAG_DF, 4096, Refusal::Flags),
        (0, 0, Refusal::ZeroLength),
        (0, u32::MAX, Refusal::BeyondEnd),
    ] {
        let refusal = refused(header(CMD_BLOCK_STATUS, flags, 0, bytes), &export(), allocation);
        assert_eq!(refusal, (Errno::Einval, why));
    }
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
    let export =
        Export { block_bytes_min: 0, payload_bytes_max: u32::MAX, ..Export::new("r0", u64::MAX) };
    let unaligned = refused(header(CMD_READ, 0, 512, 512), &export, STRUCTURED);
    assert_eq!(unaligned, (Errno::Einval, Refusal::Unaligned));
    let export = Export { block_bytes_min: 1, ..export };
    let too_long = refused(header(CMD_READ, 0, 0, u32::MAX), &export, STRUCTURED);
    assert_eq!(too_long, (Errno::Eoverflow, Refusal::PayloadTooLong));
}
