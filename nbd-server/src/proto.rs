//! The numbers of the NBD protocol, each with the section of `doc/proto.md` that defines it.
//!
//! Names follow proto.md without the prefix `NBD_`. Numbers that this server neither sends nor
//! understands are absent, except options that it names to refuse them.

use std::fmt;

/// First magic of the greeting, ASCII `NBDMAGIC` ("Newstyle negotiation").
pub const NBD_MAGIC: u64 = 0x4e42_444d_4147_4943;
/// Magic of the greeting and of each option, ASCII `IHAVEOPT` ("Newstyle negotiation").
pub const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
/// Magic of each reply to an option ("Fixed newstyle negotiation").
pub const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;

/// The server speaks fixed newstyle ("Handshake flags", bit 0).
pub const FLAG_FIXED_NEWSTYLE: u16 = 1 << 0;
/// The server can leave out the zeroes after `EXPORT_NAME` ("Handshake flags", bit 1).
pub const FLAG_NO_ZEROES: u16 = 1 << 1;
/// The client speaks fixed newstyle ("Client flags", bit 0).
pub const FLAG_C_FIXED_NEWSTYLE: u32 = 1 << 0;
/// The client wants no zeroes after `EXPORT_NAME` ("Client flags", bit 1).
pub const FLAG_C_NO_ZEROES: u32 = 1 << 1;

/// The field of flags is valid ("Transmission flags", bit 0).
pub const FLAG_HAS_FLAGS: u16 = 1 << 0;
/// `CMD_FLUSH` is served ("Transmission flags", bit 2).
pub const FLAG_SEND_FLUSH: u16 = 1 << 2;
/// `CMD_FLAG_FUA` is honoured ("Transmission flags", bit 3).
pub const FLAG_SEND_FUA: u16 = 1 << 3;
/// `CMD_TRIM` is served ("Transmission flags", bit 5).
pub const FLAG_SEND_TRIM: u16 = 1 << 5;
/// `CMD_WRITE_ZEROES` is served ("Transmission flags", bit 6).
pub const FLAG_SEND_WRITE_ZEROES: u16 = 1 << 6;
/// `CMD_FLAG_DF` is honoured; only with structured replies ("Transmission flags", bit 7).
pub const FLAG_SEND_DF: u16 = 1 << 7;
/// A flush on one connection covers all connections ("Transmission flags", bit 8).
pub const FLAG_CAN_MULTI_CONN: u16 = 1 << 8;
/// `CMD_CACHE` is served ("Transmission flags", bit 10).
pub const FLAG_SEND_CACHE: u16 = 1 << 10;
/// `CMD_FLAG_FAST_ZERO` is honoured ("Transmission flags", bit 11).
pub const FLAG_SEND_FAST_ZERO: u16 = 1 << 11;

/// Choose an export and start; has no error reply ("Option types").
pub const OPT_EXPORT_NAME: u32 = 1;
/// End the handshake ("Option types").
pub const OPT_ABORT: u32 = 2;
/// List the exports ("Option types").
pub const OPT_LIST: u32 = 3;
/// Start TLS ("Option types").
pub const OPT_STARTTLS: u32 = 5;
/// Describe an export ("Option types").
pub const OPT_INFO: u32 = 6;
/// Describe an export and start ("Option types").
pub const OPT_GO: u32 = 7;
/// Use structured replies ("Option types").
pub const OPT_STRUCTURED_REPLY: u32 = 8;
/// List metadata contexts ("Option types").
pub const OPT_LIST_META_CONTEXT: u32 = 9;
/// Select metadata contexts ("Option types").
pub const OPT_SET_META_CONTEXT: u32 = 10;
/// Use extended headers ("Option types").
pub const OPT_EXTENDED_HEADERS: u32 = 11;

/// The option is done ("Option reply types").
pub const REP_ACK: u32 = 1;
/// One export of the list ("Option reply types").
pub const REP_SERVER: u32 = 2;
/// One piece of information on an export ("Option reply types").
pub const REP_INFO: u32 = 3;
/// One metadata context ("Option reply types").
pub const REP_META_CONTEXT: u32 = 4;
/// The option is not known or not served ("Option reply types").
pub const REP_ERR_UNSUP: u32 = (1 << 31) + 1;
/// The option is known, and refused now ("Option reply types").
pub const REP_ERR_POLICY: u32 = (1 << 31) + 2;
/// The data of the option are malformed ("Option reply types").
pub const REP_ERR_INVALID: u32 = (1 << 31) + 3;
/// There is no export of this name ("Option reply types").
pub const REP_ERR_UNKNOWN: u32 = (1 << 31) + 6;
/// The option is too long ("Option reply types").
pub const REP_ERR_TOO_BIG: u32 = (1 << 31) + 9;

/// Size and transmission flags ("Option reply types", `NBD_REP_INFO`).
pub const INFO_EXPORT: u16 = 0;
/// The canonical name ("Option reply types", `NBD_REP_INFO`).
pub const INFO_NAME: u16 = 1;
/// Text for a human ("Option reply types", `NBD_REP_INFO`).
pub const INFO_DESCRIPTION: u16 = 2;
/// The size constraints ("Option reply types", `NBD_REP_INFO`).
pub const INFO_BLOCK_SIZE: u16 = 3;

/// Magic of each request ("Request message").
pub const REQUEST_MAGIC: u32 = 0x2560_9513;
/// Magic of a simple reply ("Simple reply message").
pub const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
/// Magic of each chunk of a structured reply ("Structured reply chunk message").
pub const STRUCTURED_REPLY_MAGIC: u32 = 0x668e_33ef;

/// Read ("Request types").
pub const CMD_READ: u16 = 0;
/// Write; the payload follows the header ("Request types").
pub const CMD_WRITE: u16 = 1;
/// Disconnect; has no reply ("Request types").
pub const CMD_DISC: u16 = 2;
/// Flush ("Request types").
pub const CMD_FLUSH: u16 = 3;
/// Trim ("Request types").
pub const CMD_TRIM: u16 = 4;
/// Read ahead ("Request types").
pub const CMD_CACHE: u16 = 5;
/// Write zeroes without a payload ("Request types").
pub const CMD_WRITE_ZEROES: u16 = 6;
/// Ask for the status of blocks ("Request types").
pub const CMD_BLOCK_STATUS: u16 = 7;

/// Durable before the reply ("Command flags", bit 0).
pub const CMD_FLAG_FUA: u16 = 1 << 0;
/// Make no hole; with `CMD_WRITE_ZEROES` ("Command flags", bit 1).
pub const CMD_FLAG_NO_HOLE: u16 = 1 << 1;
/// One content chunk only; with `CMD_READ` ("Command flags", bit 2).
pub const CMD_FLAG_DF: u16 = 1 << 2;
/// One extent only; with `CMD_BLOCK_STATUS` ("Command flags", bit 3).
pub const CMD_FLAG_REQ_ONE: u16 = 1 << 3;
/// Fast or not at all; with `CMD_WRITE_ZEROES` ("Command flags", bit 4).
pub const CMD_FLAG_FAST_ZERO: u16 = 1 << 4;

/// Last chunk of a reply ("Structured reply flags", bit 0).
pub const REPLY_FLAG_DONE: u16 = 1 << 0;
/// Success without data ("Structured reply types").
pub const REPLY_TYPE_NONE: u16 = 0;
/// Data with their offset ("Structured reply types").
pub const REPLY_TYPE_OFFSET_DATA: u16 = 1;
/// Extents and their status ("Structured reply types").
pub const REPLY_TYPE_BLOCK_STATUS: u16 = 5;
/// An error with a text ("Structured reply types").
pub const REPLY_TYPE_ERROR: u16 = (1 << 15) + 1;

/// The number by which this server calls its one context, base:allocation; any would do.
pub const CONTEXT_ID: u32 = 1;
/// The extent is not allocated ("Metadata contexts", base:allocation).
pub const STATE_HOLE: u32 = 1 << 0;
/// The extent reads as zeroes ("Metadata contexts", base:allocation).
pub const STATE_ZERO: u32 = 1 << 1;

/// The longest string that the protocol allows, in bytes ("Conventions").
pub const STRING_BYTES_MAX: usize = 4096;
/// The largest minimum block size that may be advertised, in bytes ("Size constraints").
pub const BLOCK_BYTES_MIN_LIMIT: u32 = 65_536;
/// The smallest preferred block size that may be advertised, in bytes ("Size constraints").
pub const BLOCK_BYTES_PREFERRED_FLOOR: u32 = 512;
/// Reserved zeroes at the end of the reply to `EXPORT_NAME`, in bytes ("Newstyle negotiation").
pub const EXPORT_NAME_ZEROES_BYTES: usize = 124;

/// An error of the transmission phase; the protocol allows no other values ("Error values").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errno {
    /// Operation not permitted.
    Eperm,
    /// Input or output error.
    Eio,
    /// Out of memory; proto.md asks servers to avoid it.
    Enomem,
    /// Bad request: unknown, not advertised, malformed, or a read or trim beyond the end.
    Einval,
    /// No space, or a write beyond the end.
    Enospc,
    /// The length is more than the server takes in one request.
    Eoverflow,
    /// Only for a fast zero request that would not be fast.
    Enotsup,
    /// The server is going away.
    Eshutdown,
}

impl Errno {
    /// The number on the wire; never zero, since zero is success.
    pub const fn wire_value(self) -> u32 {
        match self {
            Errno::Eperm => 1,
            Errno::Eio => 5,
            Errno::Enomem => 12,
            Errno::Einval => 22,
            Errno::Enospc => 28,
            Errno::Eoverflow => 75,
            Errno::Enotsup => 95,
            Errno::Eshutdown => 108,
        }
    }

    /// A text for the user of the client, in ASCII and at most 64 bytes long.
    pub const fn message(self) -> &'static str {
        match self {
            Errno::Eperm => "operation not permitted",
            Errno::Eio => "input/output error; the server's log has the cause",
            Errno::Enomem => "the server is out of memory; retry later",
            Errno::Einval => "invalid request",
            Errno::Enospc => "no space left on the device",
            Errno::Eoverflow => "the length is too large; retry with less",
            Errno::Enotsup => "zeroing is not fast here; write zeroes instead",
            Errno::Eshutdown => "the server is shutting down; connect again later",
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_magics_are_the_ascii_words_of_the_protocol() {
        assert_eq!(&NBD_MAGIC.to_be_bytes(), b"NBDMAGIC");
        assert_eq!(&OPTION_MAGIC.to_be_bytes(), b"IHAVEOPT");
    }

    #[test]
    fn each_errno_has_the_number_that_the_protocol_gives_it() {
        let table = [
            (Errno::Eperm, 1),
            (Errno::Eio, 5),
            (Errno::Enomem, 12),
            (Errno::Einval, 22),
            (Errno::Enospc, 28),
            (Errno::Eoverflow, 75),
            (Errno::Enotsup, 95),
            (Errno::Eshutdown, 108),
        ];
        for (errno, number) in table {
            assert_eq!(errno.wire_value(), number, "{errno:?}");
        }
    }
}
