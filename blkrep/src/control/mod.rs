//! The control room: how commands reach a running daemon and answers come back.
//!
//! A Unix socket `<run-dir>/<resource>.control` of mode 0600; one JSON object per line each way.

pub mod client;
pub mod protocol;
pub mod server;
mod status_wire;
mod verify_wire;

#[cfg(test)]
pub(crate) use status_wire::tests::sample as sample_status;
#[cfg(test)]
pub(crate) use verify_wire::tests::{progress_sample, result_sample};
