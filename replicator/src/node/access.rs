//! Where a Primary's good data are now, and so what a request may do (D2, D12, D15).

use super::Node;
use crate::mutation::Mutation;
use crate::settings::OnNoData;
use crate::state::{DiskState, Role, Suspended};

/// What a request may do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// Both disks.
    Mirror,
    /// The own disk, with bits and a generation of its own.
    Alone,
    /// The peer's disk: there is none of its own.
    Remote,
    /// Wait: for the end of a handshake, of a hand-over, or for data to come back.
    Hold,
    /// There are no good data.
    Fail,
}

impl Node {
    /// The gate of everything that clients ask for.
    pub(super) fn gate(&self) -> Gate {
        if self.role != Role::Primary {
            return Gate::Fail;
        }
        let in_handshake = self.peer.is_frozen() && !self.breaks(Mutation::WriteDuringHandshake);
        let hold = in_handshake || self.invalidation.holds_writes() || self.suspension.holds();
        if hold || self.is_changing_disks() {
            return Gate::Hold;
        }
        match self.replica.state() {
            DiskState::UpToDate if self.peer.has_disk() => Gate::Mirror,
            DiskState::UpToDate => Gate::Alone,
            DiskState::Inconsistent
                if self.breaks(Mutation::InconsistentGoesOnAlone) && !self.peer.has_disk() =>
            {
                Gate::Alone
            }
            DiskState::Diskless
            | DiskState::Attaching
            | DiskState::Failed
            | DiskState::Inconsistent
            | DiskState::Outdated
            | DiskState::DUnknown
            | DiskState::Consistent => self.gate_by_the_peers_data(),
        }
    }

    fn gate_by_the_peers_data(&self) -> Gate {
        if self.peer.disk() == DiskState::UpToDate {
            if self.replica.attached().is_some() {
                Gate::Mirror
            } else if self.far.is_taken_over() {
                Gate::Remote
            } else {
                Gate::Hold
            }
        } else if self.far.reconnect_until.is_some() {
            Gate::Hold
        } else {
            // D2: without UpToDate data anywhere nothing is acknowledged.
            match self.settings.disk.on_no_data {
                OnNoData::IoError => Gate::Fail,
                OnNoData::SuspendIo if self.suspension.is_waived() => Gate::Fail,
                OnNoData::SuspendIo => Gate::Hold,
            }
        }
    }

    /// Clients' I/O is frozen as long as there are no good data, if that is configured; with data,
    /// or without, everything is looked at again.
    pub(super) fn watch_for_data(&mut self) {
        let lacks = self.role == Role::Primary
            && self.settings.disk.on_no_data == OnNoData::SuspendIo
            && self.replica.state() != DiskState::UpToDate
            && self.peer.disk() != DiskState::UpToDate
            && self.far.reconnect_until.is_none();
        if !lacks {
            self.suspension.waive(false);
        }
        if self.replica.state() == DiskState::UpToDate && self.peer.disk() == DiskState::UpToDate {
            self.far_data_are_whole();
        }
        let no_data = lacks && !self.suspension.is_waived();
        if no_data != self.suspension.reasons().no_data {
            let new = Suspended { no_data, ..self.suspension.reasons() };
            let reason =
                if no_data { "no UpToDate data within reach" } else { "data are there again" };
            self.suspension_is(new, reason);
        }
    }

    /// A disk is leaving in order, or is being marked as not good: what is answered meanwhile would
    /// count on it.
    const fn is_changing_disks(&self) -> bool {
        self.detaching.is_some() || self.degrading.is_some()
    }
}
