//! The NBD protocol of the server's side as bytes in, decisions and bytes out.
//!
//! This crate owns no socket, no clock and no thread. The caller reads bytes from a client, hands
//! them in, sends what comes out and carries out what was decided. The same bytes always give the
//! same answer, so the crate can be tested and fuzzed without a network.
//!
//! # How a connection runs
//!
//! 1. Send [`Handshake::greeting`]. Feed what the client sends to [`Handshake::receive`], in pieces
//!    of any size, and send what it appends to `out`, until it says [`Progress::Serve`] or
//!    [`Progress::Close`]. Bytes it did not consume belong to the transmission phase.
//! 2. For each [`REQUEST_HEADER_BYTES`] bytes: [`RequestHeader::parse`], then [`validate`]. An
//!    `Ok` is a request that needs no further check; a write is followed by its payload. A
//!    [`Rejected::Reply`] is answered by [`rejection_head`] after its payload was skipped, and the
//!    connection lives on. A [`Rejected::Fatal`] ends this connection and no other.
//! 3. When a request is done, send [`reply_head`], for a good read followed by exactly
//!    [`ReplyHead::payload_bytes`] bytes of data.
//!
//! # Invariants
//!
//! - Nothing a client sends makes this crate panic.
//! - The handshake keeps at most [`OPTION_DATA_BYTES_MAX`] bytes of the client's, whatever lengths
//!   it claims. The transmission phase allocates nothing.
//! - What is advertised is honoured, and a request that was not advertised is refused.
//!
//! # Protocol support
//!
//! The source is `doc/proto.md` of the NBD project; `docs/nbd.md` has the full table with tests.
//!
//! | feature | support |
//! |---|---|
//! | oldstyle handshake, TLS | no |
//! | fixed newstyle, `NO_ZEROES` | yes |
//! | `EXPORT_NAME`, `ABORT`, `LIST`, `INFO`, `GO` | yes |
//! | `STRUCTURED_REPLY` | yes, one chunk for each reply |
//! | metadata contexts, `BLOCK_STATUS` | `base:allocation` |
//! | extended headers | no |
//! | `READ` (with `DF`), `WRITE`, `FLUSH`, `DISC` | yes |
//! | `FUA` | yes, accepted with every command |
//! | `WRITE_ZEROES` with `NO_HOLE` | yes |
//! | `FAST_ZERO`, `TRIM`, multi-conn | when the [`Export`] says so |
//! | `CACHE` | yes, as a hint |

mod export;
mod extents;
mod handshake;
mod handshake_outcome;
mod meta_context;
mod option_reply;
mod options;
pub mod proto;
mod reply;
mod request;
mod wire;

#[cfg(test)]
mod mutated_stream_tests;
#[cfg(test)]
mod random_input_tests;
#[cfg(test)]
mod test_client;

pub use export::{
    Availability, BLOCK_BYTES_MIN_DEFAULT, BLOCK_BYTES_PREFERRED_DEFAULT, Export, ExportError,
    PAYLOAD_BYTES_LIMIT, PAYLOAD_BYTES_MAX_DEFAULT,
};
pub use extents::{EXTENT_BYTES, Extent, ExtentList};
pub use handshake::{
    GREETING_BYTES, Handshake, OPTION_DATA_BYTES_MAX, OPTION_SKIP_BYTES_MAX, OPTIONS_MAX,
};
pub use handshake_outcome::{CloseReason, Negotiated, Progress};
pub use meta_context::BASE_ALLOCATION;
pub use proto::Errno;
pub use reply::{
    MESSAGE_BYTES_MAX, REPLY_HEAD_BYTES_MAX, ReplyHead, ReplyTo, extents_head, rejection_head,
    reply_head,
};
pub use request::{
    FatalRequest, Operation, REQUEST_HEADER_BYTES, Refusal, Rejected, Request, RequestHeader,
    validate,
};
