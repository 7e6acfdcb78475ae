//! What can be in the way of the kernel's device, with who or what it is.

use super::netlink::NetlinkError;
use std::io;

/// Why the device is not attached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttachError {
    /// The kernel.
    #[error("{device}: {source}")]
    Netlink {
        /// Which.
        device: String,
        /// Why.
        source: NetlinkError,
    },
    /// It belongs to others.
    #[error(
        "{device} is connected by {by}; free it (nbd-client -d), or configure another 'device'"
    )]
    Foreign {
        /// Which.
        device: String,
        /// Whose it is.
        by: String,
    },
    /// One of ours that was disconnected is still open.
    #[error("{device} is disconnected, and still held from before that: {held}; end that")]
    Held {
        /// Which.
        device: String,
        /// By whom.
        held: String,
    },
    /// A file of the kernel.
    #[error("{device}: cannot {what}: {source}")]
    Io {
        /// Which.
        device: String,
        /// What was tried.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The I/O thread did not take the socket.
    #[error("{device}: {reason}")]
    NotTaken {
        /// Which.
        device: String,
        /// Why.
        reason: String,
    },
}

/// Who keeps a device from being taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{device} is held: {held}")]
pub(crate) struct Held {
    /// Which.
    pub(crate) device: String,
    /// By whom.
    pub(crate) held: String,
}
