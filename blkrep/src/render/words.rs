//! The one-word answers of DRBD 8.4 to `role`, `cstate` and `dstate` (drbd-facts 2.1 and 6.2).

use replicator::state::{ConnectionState, ReplicationState};
use replicator::status::Status;

/// `Primary/Secondary`: own role and the peer's, `Unknown` while not connected.
#[must_use]
pub fn role(status: &Status) -> String {
    let peer = status.peer_role.map_or("Unknown", |role| role.name());
    format!("{}/{peer}", status.role)
}

/// The connection in the one enum of 8.4: while connected it is what the replicas do.
#[must_use]
pub fn cstate(status: &Status) -> &'static str {
    match status.connection {
        ConnectionState::Connecting => "WFConnection",
        ConnectionState::Connected => match status.replication {
            // As DRBD 9 prints its own state in 8.4's words: connected, not yet replicating.
            ReplicationState::Off => "WFReportParams",
            ReplicationState::Established => "Connected",
            ReplicationState::WFBitMapS
            | ReplicationState::WFBitMapT
            | ReplicationState::SyncSource
            | ReplicationState::SyncTarget
            | ReplicationState::PausedSyncS
            | ReplicationState::PausedSyncT
            | ReplicationState::VerifyS
            | ReplicationState::VerifyT => status.replication.name(),
        },
        ConnectionState::StandAlone
        | ConnectionState::Disconnecting
        | ConnectionState::Unconnected => status.connection.name(),
    }
}

/// `UpToDate/UpToDate`: own disk and the peer's.
#[must_use]
pub fn dstate(status: &Status) -> String {
    format!("{}/{}", status.disk, status.peer_disk)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::sample_status;
    use replicator::state::{DiskState, Role};

    #[test]
    fn a_running_resync_has_the_words_of_84() {
        let status = sample_status();
        assert_eq!(role(&status), "Primary/Secondary");
        assert_eq!(cstate(&status), "SyncSource");
        assert_eq!(dstate(&status), "UpToDate/Inconsistent");
    }

    #[test]
    fn the_connection_has_the_names_of_84() {
        let mut status = sample_status();
        for (connection, replication, word) in [
            (ConnectionState::StandAlone, ReplicationState::Off, "StandAlone"),
            (ConnectionState::Unconnected, ReplicationState::Off, "Unconnected"),
            (ConnectionState::Connecting, ReplicationState::Off, "WFConnection"),
            (ConnectionState::Connected, ReplicationState::Off, "WFReportParams"),
            (ConnectionState::Connected, ReplicationState::Established, "Connected"),
            (ConnectionState::Connected, ReplicationState::WFBitMapT, "WFBitMapT"),
        ] {
            (status.connection, status.replication) = (connection, replication);
            assert_eq!(cstate(&status), word);
        }
    }

    #[test]
    fn without_a_connection_the_peer_is_unknown() {
        let mut status = sample_status();
        (status.role, status.peer_role) = (Role::Secondary, None);
        status.peer_disk = DiskState::DUnknown;
        assert_eq!(role(&status), "Secondary/Unknown");
        assert_eq!(dstate(&status), "UpToDate/DUnknown");
    }
}
