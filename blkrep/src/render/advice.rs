//! What an administrator may have to do about a state: the cause, and the command to type.

use replicator::state::{ConnectionState, DiskState, ReplicationState, Role};
use replicator::status::Status;

/// One sentence for each thing that will not pass by itself; none in ordinary operation.
#[must_use]
pub fn advice(status: &Status) -> Vec<String> {
    [about_disk(status), about_connection(status), about_resync(status), about_findings(status)]
        .into_iter()
        .flatten()
        .collect()
}

fn about_disk(status: &Status) -> Option<String> {
    let name = &status.resource;
    let is_connected = status.connection == ConnectionState::Connected;
    match (status.disk, status.replication) {
        (DiskState::Diskless, _) => Some(format!(
            "no disk on this node; mend it and run 'blkrep attach {name}', or replace it and run \
             'blkrep create-md {name}' before that: everything is then copied from the peer"
        )),
        (DiskState::Inconsistent, ReplicationState::Off) if !is_connected => Some(format!(
            "the data here are incomplete until they are copied from the peer; only when its data are \
             lost for ever: 'blkrep primary --force {name}'"
        )),
        (DiskState::Inconsistent, ReplicationState::Established) => match status.peer_disk {
            DiskState::UpToDate if failed_and_kept(status) => Some(format!(
                "{} blocks could not be written or read on this node's disk, which is kept \
                 (on-io-error = \"pass_on\"); mend it, then run 'blkrep detach {name}' and \
                 'blkrep attach {name}': what it missed is copied from the peer",
                status.out_of_sync_blocks
            )),
            // Either it is about to be copied, or the status says how much cannot be.
            DiskState::UpToDate => None,
            DiskState::Inconsistent => Some(format!(
                "neither node has good data yet; on the one whose data count, run \
                 'blkrep primary --force {name}'"
            )),
            DiskState::Diskless
            | DiskState::Attaching
            | DiskState::Failed
            | DiskState::Outdated
            | DiskState::DUnknown
            | DiskState::Consistent => Some(format!(
                "the data here are incomplete, and the peer has none that are good; mend its disk, \
                 or run 'blkrep primary --force {name}' on the node whose data count"
            )),
        },
        (DiskState::Outdated, _) if !is_connected => Some(format!(
            "the peer has newer data; they are copied when it is connected; only when they are lost \
             for ever: 'blkrep primary --force {name}'"
        )),
        (DiskState::Consistent, _) if !is_connected => Some(format!(
            "whether the peer has newer data is not known until it is connected; \
             'blkrep primary {name}' makes sure of the peer by the fence-peer handler"
        )),
        (
            DiskState::Attaching
            | DiskState::Failed
            | DiskState::Inconsistent
            | DiskState::Outdated
            | DiskState::DUnknown
            | DiskState::Consistent
            | DiskState::UpToDate,
            _,
        ) => None,
    }
}

/// The disk missed something, and no resync is there to bring it.
const fn failed_and_kept(status: &Status) -> bool {
    status.out_of_sync_blocks > 0 && status.sync.is_none() && status.incomplete_blocks == 0
}

/// A refusal says itself what to do.
fn about_connection(status: &Status) -> Option<String> {
    let is_alone = status.connection == ConnectionState::StandAlone && status.refusal.is_none();
    is_alone.then(|| {
        format!("this node does not try to connect; run 'blkrep connect {}'", status.resource)
    })
}

fn about_resync(status: &Status) -> Option<String> {
    match status.replication {
        ReplicationState::PausedSyncS | ReplicationState::PausedSyncT => Some(format!(
            "the resync is held; run 'blkrep resume-sync {}' where it was paused",
            status.resource
        )),
        ReplicationState::Off
        | ReplicationState::Established
        | ReplicationState::WFBitMapS
        | ReplicationState::WFBitMapT
        | ReplicationState::SyncSource
        | ReplicationState::SyncTarget
        | ReplicationState::VerifyS
        | ReplicationState::VerifyT => None,
    }
}

/// Both are good, and not equal: nothing but an operator can say which counts (D7).
fn about_findings(status: &Status) -> Option<String> {
    let blocks = status.out_of_sync_blocks;
    let is_undecided = blocks > 0
        && status.replication == ReplicationState::Established
        && (status.disk, status.peer_disk) == (DiskState::UpToDate, DiskState::UpToDate);
    let is_led = [Some(status.role), status.peer_role].contains(&Some(Role::Primary));
    is_undecided.then(|| {
        let name = &status.resource;
        if is_led {
            return format!(
                "{blocks} blocks may differ; 'blkrep repair {name}' copies them from the Primary"
            );
        }
        format!(
            "{blocks} blocks may differ, and nothing says which copy is right; on the node whose data \
             count, run 'blkrep repair --from local {name}': its blocks are copied"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::sample_status;

    fn status(disk: DiskState, connection: ConnectionState, peer_disk: DiskState) -> Status {
        let replication = match connection {
            ConnectionState::Connected => ReplicationState::Established,
            ConnectionState::StandAlone
            | ConnectionState::Disconnecting
            | ConnectionState::Unconnected
            | ConnectionState::Connecting => ReplicationState::Off,
        };
        let (role, peer_role) = (Role::Secondary, Some(Role::Secondary));
        let (sync, out_of_sync_blocks) = (None, 0);
        Status {
            disk,
            connection,
            peer_disk,
            replication,
            role,
            peer_role,
            sync,
            out_of_sync_blocks,
            ..sample_status()
        }
    }

    #[test]
    fn ordinary_operation_needs_no_advice() {
        use ConnectionState::{Connected, Connecting};
        for (disk, connection, peer_disk) in [
            (DiskState::UpToDate, Connected, DiskState::UpToDate),
            (DiskState::UpToDate, Connecting, DiskState::DUnknown),
            (DiskState::Attaching, ConnectionState::Unconnected, DiskState::DUnknown),
            (DiskState::UpToDate, Connected, DiskState::Inconsistent),
        ] {
            let found = advice(&status(disk, connection, peer_disk));
            assert_eq!(found, Vec::<String>::new(), "{disk} {connection}");
        }
        let mut target =
            status(DiskState::Inconsistent, ConnectionState::Connected, DiskState::UpToDate);
        target.replication = ReplicationState::SyncTarget;
        assert_eq!(advice(&target), Vec::<String>::new());
    }

    #[test]
    fn what_does_not_pass_by_itself_names_the_command() {
        use ConnectionState::{Connected, Connecting, StandAlone};
        for (disk, connection, peer_disk, command) in [
            (DiskState::Diskless, Connected, DiskState::UpToDate, "blkrep attach r0"),
            (DiskState::Inconsistent, Connecting, DiskState::DUnknown, "primary --force r0"),
            (DiskState::Inconsistent, Connected, DiskState::Inconsistent, "primary --force r0"),
            (DiskState::Inconsistent, Connected, DiskState::Outdated, "primary --force r0"),
            (DiskState::Outdated, Connecting, DiskState::DUnknown, "primary --force r0"),
            (DiskState::Consistent, Connecting, DiskState::DUnknown, "blkrep primary r0"),
            (DiskState::UpToDate, StandAlone, DiskState::DUnknown, "blkrep connect r0"),
        ] {
            let found = advice(&status(disk, connection, peer_disk));
            assert_eq!(found.len(), 1, "{disk} {connection}: {found:?}");
            assert!(found[0].contains(command), "{disk} {connection}: {found:?}");
        }
    }

    #[test]
    fn a_disk_that_failed_and_is_kept_is_to_be_mended_and_attached_anew() {
        use ConnectionState::Connected;
        let mut kept = status(DiskState::Inconsistent, Connected, DiskState::UpToDate);
        assert_eq!(advice(&kept), Vec::<String>::new(), "it is about to be copied");
        kept.out_of_sync_blocks = 4;
        assert!(advice(&kept)[0].starts_with("4 blocks could not be written"));
        assert!(advice(&kept)[0].contains("'blkrep attach r0'"));
        kept.incomplete_blocks = 4;
        assert_eq!(advice(&kept), Vec::<String>::new(), "the peer's disk is to be mended");
    }

    #[test]
    fn a_refusal_is_not_said_twice_and_a_pause_and_findings_are_said() {
        let mut alone =
            status(DiskState::UpToDate, ConnectionState::StandAlone, DiskState::DUnknown);
        alone.refusal = Some("split brain".to_owned());
        assert_eq!(advice(&alone), Vec::<String>::new());
        let mut equal =
            status(DiskState::UpToDate, ConnectionState::Connected, DiskState::UpToDate);
        equal.out_of_sync_blocks = 3;
        assert!(advice(&equal)[0].starts_with("3 blocks may differ"));
        assert!(advice(&equal)[0].contains("'blkrep repair --from local r0'"));
        equal.role = Role::Primary;
        assert!(advice(&equal)[0].contains("'blkrep repair r0'"));
        equal.replication = ReplicationState::PausedSyncS;
        assert!(advice(&equal)[0].contains("blkrep resume-sync r0"));
    }
}
