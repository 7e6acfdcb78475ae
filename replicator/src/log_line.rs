//! What the engine tells the log: changes of state with old, new and reason, and anything else.

use crate::state::{ConnectionState, DiskState, ReplicationState, Role, Suspended};

/// How bad a line of the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Good to know.
    Info,
    /// Something to look at.
    Warning,
    /// Something is broken.
    Error,
}

/// Something that an administrator wants to see in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Own role.
    Role {
        /// Before.
        old: Role,
        /// After.
        new: Role,
        /// Why.
        reason: &'static str,
    },
    /// Own disk.
    Disk {
        /// Before.
        old: DiskState,
        /// After.
        new: DiskState,
        /// Why.
        reason: String,
    },
    /// The peer's disk.
    PeerDisk {
        /// Before.
        old: DiskState,
        /// After.
        new: DiskState,
        /// Why.
        reason: String,
    },
    /// The connection.
    Connection {
        /// Before.
        old: ConnectionState,
        /// After.
        new: ConnectionState,
        /// Why.
        reason: String,
    },
    /// Replication.
    Replication {
        /// Before.
        old: ReplicationState,
        /// After.
        new: ReplicationState,
        /// Why.
        reason: String,
    },
    /// Clients' I/O is frozen, or goes on.
    Suspension {
        /// The reasons before.
        old: Suspended,
        /// The reasons after.
        new: Suspended,
        /// Why.
        reason: &'static str,
    },
    /// Anything else.
    Notice {
        /// How bad.
        level: Level,
        /// In words.
        text: String,
    },
}
