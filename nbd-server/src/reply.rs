//! The heads of replies in the transmission phase, in fixed buffers without allocation.

use crate::handshake_outcome::Negotiated;
use crate::proto::{
    CONTEXT_ID, Errno, REPLY_FLAG_DONE, REPLY_TYPE_BLOCK_STATUS, REPLY_TYPE_ERROR, REPLY_TYPE_NONE,
    REPLY_TYPE_OFFSET_DATA, SIMPLE_REPLY_MAGIC, STRUCTURED_REPLY_MAGIC,
};
use crate::request::{Operation, Refusal, Request};

/// The longest text in an error chunk, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 64;
/// The longest head of a reply, in bytes: an error chunk with its text.
pub const REPLY_HEAD_BYTES_MAX: usize = CHUNK_HEADER_BYTES + ERROR_FIELDS_BYTES + MESSAGE_BYTES_MAX;

/// Magic, flags, type, cookie, length (proto.md "Structured reply chunk message").
const CHUNK_HEADER_BYTES: usize = 20;
/// Error and length of the message (proto.md "Structured reply types", `NBD_REPLY_TYPE_ERROR`).
const ERROR_FIELDS_BYTES: usize = 6;
/// The offset that precedes the data (`NBD_REPLY_TYPE_OFFSET_DATA`).
const OFFSET_BYTES: u32 = 8;

/// What must be remembered of a request until its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyTo {
    cookie: u64,
    kind: ReplyKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReplyKind {
    Data { offset: u64, bytes: u32 },
    Status,
}

impl Request {
    /// What the reply needs to know; `None` for a disconnect, which has no reply.
    pub fn reply_to(&self) -> Option<ReplyTo> {
        let kind = match self.op {
            Operation::Read { offset, bytes, dont_fragment: _ } => {
                ReplyKind::Data { offset, bytes }
            }
            Operation::Write { .. }
            | Operation::WriteZeroes { .. }
            | Operation::Trim { .. }
            | Operation::Flush
            | Operation::Cache { .. } => ReplyKind::Status,
            // Until it is known how many extents there are; see `extents_head`.
            Operation::BlockStatus { .. } => ReplyKind::Status,
            Operation::Disconnect => return None,
        };
        Some(ReplyTo { cookie: self.cookie, kind })
    }
}

/// The first bytes of a reply, and how much data must follow them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyHead {
    bytes: [u8; REPLY_HEAD_BYTES_MAX],
    len: usize,
    payload_bytes: u32,
}

impl ReplyHead {
    /// The bytes to send.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// How many bytes of data to send after the head: the length of a read that succeeded, else 0.
    pub fn payload_bytes(&self) -> u32 {
        self.payload_bytes
    }

    fn empty() -> ReplyHead {
        ReplyHead { bytes: [0; REPLY_HEAD_BYTES_MAX], len: 0, payload_bytes: 0 }
    }

    /// Private, and every caller's sum of lengths is at most [`REPLY_HEAD_BYTES_MAX`].
    fn push(&mut self, field: &[u8]) {
        self.bytes[self.len..self.len + field.len()].copy_from_slice(field);
        self.len += field.len();
    }
}

/// The head of the reply to a request that was carried out, or failed with an errno.
///
/// A read that succeeded is one chunk, always with all its data, so `DF` is honoured as it is.
pub fn reply_head(
    negotiated: Negotiated,
    reply_to: ReplyTo,
    outcome: Result<(), Errno>,
) -> ReplyHead {
    let ReplyTo { cookie, kind } = reply_to;
    match outcome {
        Ok(()) if negotiated.structured_replies() => structured_success(cookie, kind),
        Ok(()) => {
            let mut head = simple(cookie, 0);
            head.payload_bytes = kind.payload_bytes();
            head
        }
        Err(errno) => error_head(negotiated, cookie, errno, errno.message()),
    }
}

/// The head of the reply to a `BLOCK_STATUS` that was carried out; so many bytes of
/// [`crate::ExtentList::encode`] follow it.
pub fn extents_head(reply_to: ReplyTo, extents_bytes: u32) -> ReplyHead {
    let context = CONTEXT_ID.to_be_bytes();
    let length = extents_bytes + context.len() as u32;
    let mut head = chunk(REPLY_TYPE_BLOCK_STATUS, reply_to.cookie, length);
    head.push(&context);
    head.payload_bytes = extents_bytes;
    head
}

/// The head of the reply to a [`crate::Rejected::Reply`].
pub fn rejection_head(
    negotiated: Negotiated,
    cookie: u64,
    errno: Errno,
    why: Refusal,
) -> ReplyHead {
    error_head(negotiated, cookie, errno, why.message())
}

impl ReplyKind {
    fn payload_bytes(self) -> u32 {
        match self {
            ReplyKind::Data { offset: _, bytes } => bytes,
            ReplyKind::Status => 0,
        }
    }
}

fn structured_success(cookie: u64, kind: ReplyKind) -> ReplyHead {
    match kind {
        ReplyKind::Data { offset, bytes } => {
            let chunk_bytes =
                bytes.checked_add(OFFSET_BYTES).expect("invariant: validate limits reads");
            let mut head = chunk(REPLY_TYPE_OFFSET_DATA, cookie, chunk_bytes);
            head.push(&offset.to_be_bytes());
            head.payload_bytes = bytes;
            head
        }
        ReplyKind::Status => chunk(REPLY_TYPE_NONE, cookie, 0),
    }
}

fn error_head(negotiated: Negotiated, cookie: u64, errno: Errno, message: &str) -> ReplyHead {
    if !negotiated.structured_replies() {
        return simple(cookie, errno.wire_value());
    }
    // The texts are constants of this crate and short enough; a test holds them to it.
    let message = &message.as_bytes()[..message.len().min(MESSAGE_BYTES_MAX)];
    let fields_bytes = ERROR_FIELDS_BYTES + message.len();
    let mut head = chunk(REPLY_TYPE_ERROR, cookie, fields_bytes as u32);
    head.push(&errno.wire_value().to_be_bytes());
    head.push(&(message.len() as u16).to_be_bytes());
    head.push(message);
    head
}

/// proto.md "Simple reply message".
fn simple(cookie: u64, error: u32) -> ReplyHead {
    let mut head = ReplyHead::empty();
    head.push(&SIMPLE_REPLY_MAGIC.to_be_bytes());
    head.push(&error.to_be_bytes());
    head.push(&cookie.to_be_bytes());
    head
}

/// The header of the one and last chunk of a reply.
fn chunk(kind: u16, cookie: u64, chunk_bytes: u32) -> ReplyHead {
    let mut head = ReplyHead::empty();
    head.push(&STRUCTURED_REPLY_MAGIC.to_be_bytes());
    head.push(&REPLY_FLAG_DONE.to_be_bytes());
    head.push(&kind.to_be_bytes());
    head.push(&cookie.to_be_bytes());
    head.push(&chunk_bytes.to_be_bytes());
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIMPLE: Negotiated = Negotiated::Simple;
    const STRUCTURED: Negotiated = Negotiated::Structured { block_status: false };
    const COOKIE: u64 = 0x0102_0304_0506_0708;
    const READ: Operation = Operation::Read { offset: 4096, bytes: 512, dont_fragment: false };

    fn reply_to(op: Operation) -> ReplyTo {
        Request { cookie: COOKIE, op }.reply_to().expect("the operation has a reply")
    }

    fn status_operations() -> [Operation; 5] {
        let (offset, bytes, fua) = (0, 512, false);
        [
            Operation::Write { offset, bytes, fua },
            Operation::WriteZeroes { offset, bytes, fua, no_hole: false, fast: false },
            Operation::Trim { offset, bytes, fua },
            Operation::Flush,
            Operation::Cache { offset, bytes },
        ]
    }

    #[test]
    fn a_simple_reply_has_the_bytes_of_the_protocol() {
        let golden = [0x67, 0x44, 0x66, 0x98, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
        for op in status_operations() {
            let head = reply_head(SIMPLE, reply_to(op), Ok(()));
            assert_eq!((head.as_bytes(), head.payload_bytes()), (&golden[..], 0));
        }
        let head = reply_head(SIMPLE, reply_to(READ), Ok(()));
        assert_eq!((head.as_bytes(), head.payload_bytes()), (&golden[..], 512));
    }

    #[test]
    fn a_simple_error_has_its_number_and_no_data() {
        let golden = [0x67, 0x44, 0x66, 0x98, 0, 0, 0, 5, 1, 2, 3, 4, 5, 6, 7, 8];
        for op in status_operations().into_iter().chain([READ]) {
            let head = reply_head(SIMPLE, reply_to(op), Err(Errno::Eio));
            assert_eq!((head.as_bytes(), head.payload_bytes()), (&golden[..], 0));
        }
    }

    #[test]
    fn a_structured_read_is_one_last_chunk_with_its_offset_before_the_data() {
        let golden = [
            0x66, 0x8e, 0x33, 0xef, 0, 1, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 2, 8, 0, 0, 0, 0, 0,
            0, 0x10, 0,
        ];
        let head = reply_head(STRUCTURED, reply_to(READ), Ok(()));
        assert_eq!((head.as_bytes(), head.payload_bytes()), (&golden[..], 512));
    }

    #[test]
    fn a_structured_success_without_data_is_one_empty_chunk() {
        let golden = [0x66, 0x8e, 0x33, 0xef, 0, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0];
        for op in status_operations() {
            let head = reply_head(STRUCTURED, reply_to(op), Ok(()));
            assert_eq!((head.as_bytes(), head.payload_bytes()), (&golden[..], 0));
        }
    }

    #[test]
    fn extents_follow_their_head_and_context() {
        let op = Operation::BlockStatus { offset: 0, bytes: 4096, one_extent: false };
        let head = extents_head(reply_to(op), 16);
        let golden = [0x66, 0x8e, 0x33, 0xef, 0, 1, 0, 5, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 20];
        assert_eq!(head.as_bytes(), [&golden[..], &[0, 0, 0, 1]].concat());
        assert_eq!(head.payload_bytes(), 16);
    }

    #[test]
    fn a_structured_error_is_one_last_error_chunk_with_a_text() {
        let golden = [
            0x66, 0x8e, 0x33, 0xef, 0, 1, 0x80, 1, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 21, 0, 0, 0,
            22, 0, 15,
        ];
        let why = Refusal::UnknownCommand;
        let head = rejection_head(STRUCTURED, COOKIE, Errno::Einval, why);
        assert_eq!(head.as_bytes(), [&golden[..], b"unknown command"].concat());
        assert_eq!(head.payload_bytes(), 0);
        let read = reply_head(STRUCTURED, reply_to(READ), Err(Errno::Eio));
        assert_eq!(read.as_bytes()[6..8], [0x80, 1]);
        assert_eq!(read.payload_bytes(), 0);
    }

    #[test]
    fn a_rejection_without_structured_replies_is_a_simple_error() {
        let golden = [0x67, 0x44, 0x66, 0x98, 0, 0, 0, 28, 1, 2, 3, 4, 5, 6, 7, 8];
        let head = rejection_head(SIMPLE, COOKIE, Errno::Enospc, Refusal::BeyondEnd);
        assert_eq!(head.as_bytes(), golden);
    }

    #[test]
    fn every_text_fits_into_its_chunk_and_is_ascii() {
        let errnos = [
            Errno::Eperm,
            Errno::Eio,
            Errno::Enomem,
            Errno::Einval,
            Errno::Enospc,
            Errno::Eoverflow,
            Errno::Enotsup,
            Errno::Eshutdown,
        ];
        let refusals = [
            Refusal::UnknownCommand,
            Refusal::NoMetadataContext,
            Refusal::Flags,
            Refusal::TrimNotOffered,
            Refusal::ZeroLength,
            Refusal::BeyondEnd,
            Refusal::Unaligned,
            Refusal::PayloadTooLong,
            Refusal::FlushWithRange,
        ];
        let texts = errnos.map(Errno::message).into_iter().chain(refusals.map(Refusal::message));
        for text in texts {
            assert!((1..=MESSAGE_BYTES_MAX).contains(&text.len()) && text.is_ascii(), "{text}");
        }
    }

    #[test]
    fn a_disconnect_has_no_reply() {
        assert_eq!(Request { cookie: COOKIE, op: Operation::Disconnect }.reply_to(), None);
    }

    #[test]
    fn the_largest_read_that_can_be_offered_fits_the_length_of_a_chunk() {
        let bytes = crate::export::PAYLOAD_BYTES_LIMIT;
        let read = Operation::Read { offset: 0, bytes, dont_fragment: true };
        let head = reply_head(STRUCTURED, reply_to(read), Ok(()));
        assert_eq!(head.as_bytes()[16..20], (bytes + 8).to_be_bytes());
        assert_eq!(head.payload_bytes(), bytes);
    }
}
