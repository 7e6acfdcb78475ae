//! `wait-connect` and `wait-sync`: poll a daemon until it is where it should be (drbd-facts 2.8).

use super::context::Context;
use super::failure::Failure;
use crate::config::units::write_time;
use crate::render::words::{cstate, dstate};
use replicator::state::{ConnectionState, DiskState, ReplicationState};
use replicator::status::Status;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(200);
/// A daemon that has just started is StandAlone for a moment, before it is told to connect.
const STAND_ALONE_GRACE: Duration = Duration::from_secs(1);

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// The handshake is over.
    Connected,
    /// Connected, and both disks are UpToDate.
    InSync,
}

/// How far a resource is.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    Reached,
    OnTheWay,
    /// It does not try, because of this.
    Refused(String),
    /// It does not try, and nobody refused it.
    Disconnected,
}

impl Goal {
    fn standing(self, status: &Status) -> Standing {
        if status.connection == ConnectionState::StandAlone {
            return match &status.refusal {
                Some(refusal) => Standing::Refused(refusal.clone()),
                None => Standing::Disconnected,
            };
        }
        let replicates = match status.replication {
            ReplicationState::Off => false,
            ReplicationState::Established
            | ReplicationState::WFBitMapS
            | ReplicationState::WFBitMapT
            | ReplicationState::SyncSource
            | ReplicationState::SyncTarget
            | ReplicationState::PausedSyncS
            | ReplicationState::PausedSyncT => status.connection == ConnectionState::Connected,
        };
        let in_sync = status.replication == ReplicationState::Established
            && status.disk == DiskState::UpToDate
            && status.peer_disk == DiskState::UpToDate;
        match self {
            Self::Connected if replicates => Standing::Reached,
            Self::InSync if replicates && in_sync => Standing::Reached,
            Self::Connected | Self::InSync => Standing::OnTheWay,
        }
    }
}

/// Waits; `timeout` none is the configured `wfc-timeout`, zero is for ever.
pub(super) fn wait(
    context: &Context,
    name: &str,
    goal: Goal,
    timeout: Option<Duration>,
) -> Result<(), Failure> {
    let timeout = match timeout {
        Some(timeout) => timeout,
        None => context.load(name)?.wfc_timeout,
    };
    let start = Instant::now();
    let mut alone_since = None;
    loop {
        let status = context.status(name)?;
        match goal.standing(&status) {
            Standing::Reached => return Ok(()),
            Standing::Refused(reason) => return Err(Failure::StandAlone { reason }),
            Standing::OnTheWay => alone_since = None,
            Standing::Disconnected => {
                let since = *alone_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= STAND_ALONE_GRACE {
                    let reason = format!("not trying to connect; run 'blkrep connect {name}'");
                    return Err(Failure::StandAlone { reason });
                }
            }
        }
        if !timeout.is_zero() && start.elapsed() >= timeout {
            let state = format!("{} {}", cstate(&status), dstate(&status));
            return Err(Failure::WaitTimedOut { state, waited: write_time(timeout) });
        }
        let left = timeout.saturating_sub(start.elapsed());
        std::thread::sleep(if timeout.is_zero() { POLL } else { POLL.min(left) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::sample_status;

    #[test]
    fn a_resync_is_connected_and_not_in_sync() {
        let status = sample_status();
        assert_eq!(Goal::Connected.standing(&status), Standing::Reached);
        assert_eq!(Goal::InSync.standing(&status), Standing::OnTheWay);
    }

    #[test]
    fn in_sync_is_established_with_two_good_disks() {
        let mut status = sample_status();
        status.replication = ReplicationState::Established;
        assert_eq!(Goal::InSync.standing(&status), Standing::OnTheWay);
        status.peer_disk = DiskState::UpToDate;
        assert_eq!(Goal::InSync.standing(&status), Standing::Reached);
    }

    #[test]
    fn stand_alone_is_never_on_the_way() {
        let mut status = sample_status();
        (status.connection, status.replication) =
            (ConnectionState::StandAlone, ReplicationState::Off);
        assert_eq!(Goal::Connected.standing(&status), Standing::Disconnected);
        status.refusal = Some("split brain".to_owned());
        let refused = Standing::Refused("split brain".to_owned());
        assert_eq!(Goal::InSync.standing(&status), refused);
        status.connection = ConnectionState::Connecting;
        assert_eq!(Goal::Connected.standing(&status), Standing::OnTheWay);
    }
}
