//! Outdated and back: `outdate`, leaving a Primary in order, and the end of doubt when the two meet
//! (G5, drbd-facts 2.7).

use super::Node;
use super::persist::Then;
use super::promote::{RoleChange, state};
use crate::event::{Refusal, RefusalClass};
use crate::ids::{CommandId, LinkId};
use crate::message::Message;
use crate::mutation::Mutation;
use crate::settings::Fencing as Policy;
use crate::state::{DiskState, ReplicationState, Role};
use crate::timers::Timer;

/// What waits for a disk to be Outdated.
#[derive(Debug, Default)]
pub(super) struct Outdating {
    /// `outdate`: waits for the own disk's mark.
    asked: Option<CommandId>,
    /// `disconnect` or `down`: waits for the disk of the Secondary to be Outdated.
    parting: Option<Parting>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Parting {
    /// The `disconnect` to answer.
    command: Option<CommandId>,
}

impl Outdating {
    pub(super) const fn is_parting(&self) -> bool {
        self.parting.is_some()
    }
}

impl Node {
    /// `outdate`: this node's data are old and must not be promoted.
    pub(super) fn outdate(&mut self, command: CommandId) {
        let me = self.settings.my_name();
        let refusal = |class: RefusalClass, text: String| Err(Refusal { class, text });
        let result = match self.replica.state() {
            _ if self.role == Role::Primary => refusal(
                RefusalClass::NoGoodData,
                format!("{me} is Primary; run 'blkrep secondary' first"),
            ),
            _ if self.role_change != RoleChange::None || self.outdating.asked.is_some() => {
                Err(state("a change of role is under way; try again when it is over".into()))
            }
            DiskState::Outdated => Ok(()),
            disk @ (DiskState::Diskless
            | DiskState::Attaching
            | DiskState::Failed
            | DiskState::Inconsistent) => refusal(
                RefusalClass::LowerThanOutdated,
                format!("the disk of {me} is {disk}, which is worse than Outdated already"),
            ),
            DiskState::DUnknown | DiskState::Consistent | DiskState::UpToDate
                if self.peer.is_connected() =>
            {
                Err(state(
                    "Refusing to be Outdated while Connected; run 'blkrep disconnect' first".into(),
                ))
            }
            DiskState::DUnknown | DiskState::Consistent | DiskState::UpToDate => {
                if self.peer.in_handshake() {
                    // What was said in it does not hold any more (G1).
                    self.drop_session("outdated during a handshake; it begins anew");
                }
                self.outdating.asked = Some(command);
                self.own_disk_is_outdated("asked to", Some(Then::Outdated));
                return;
            }
        };
        self.answer(command, result);
    }

    pub(super) fn outdated_durable(&mut self) {
        if let Some(command) = self.outdating.asked.take() {
            self.answer(command, Ok(()));
        }
    }

    pub(super) fn own_disk_is_outdated(&mut self, reason: &str, then: Option<Then>) {
        let old = self.replica.state();
        self.persist_superblock(|superblock| superblock.flags.was_up_to_date = false, then);
        let new = self.replica.state();
        self.disk_changed(old, new, reason);
    }

    /// Whole data that are known to be the newest: no doubt is left.
    pub(super) fn own_disk_is_up_to_date(&mut self, reason: &str) {
        let old = self.replica.state();
        let Some(disk) = self.replica.writable() else { return };
        disk.trusted = true;
        if !disk.superblock.flags.was_up_to_date {
            self.persist_superblock(|superblock| superblock.flags.was_up_to_date = true, None);
        }
        let new = self.replica.state();
        self.disk_changed(old, new, reason);
        self.send_state();
        self.unfence_when_good();
    }

    /// The peer has told its state, so its marks of this meeting are durable: it does not take this
    /// node for outdated any more. Whole data that need no copy are UpToDate from here on, and not
    /// before (G5).
    pub(super) fn doubt_is_over(&mut self) {
        let peer_is_whole = self.peer.disk() > DiskState::Inconsistent;
        let serves_peer = self.peer.disk() == DiskState::Diskless
            && self.peer.role() == Some(Role::Primary)
            && self.replica.state() == DiskState::Consistent;
        if self.replication() != ReplicationState::Established
            || !(peer_is_whole || serves_peer)
            || self.outdating.is_parting()
        {
            return;
        }
        match self.replica.state() {
            DiskState::Consistent => self.own_disk_is_up_to_date("the peer is there"),
            // Both are here: nobody has newer data.
            DiskState::Outdated
                if self.out_of_sync_blocks() == 0 || self.peer.disk() == DiskState::Outdated =>
            {
                self.own_disk_is_up_to_date("the peer's data are not newer");
            }
            DiskState::Diskless
            | DiskState::Attaching
            | DiskState::Failed
            | DiskState::Inconsistent
            | DiskState::Outdated
            | DiskState::DUnknown
            | DiskState::UpToDate => {}
        }
    }

    /// The same before the peer's mark is durable: only when the rule is broken on purpose.
    pub(super) fn doubt_is_over_early(&mut self) {
        if self.breaks(Mutation::UpToDateBeforePeersMark) {
            self.doubt_is_over();
        }
    }

    /// True when one that leaves must not be able to go on alone, and it has to be seen to first.
    fn must_part_in_order(&self) -> bool {
        let good = |disk: DiskState| disk > DiskState::Outdated;
        let both_good = good(self.replica.state()) && good(self.peer.disk());
        let one_primary = self.role == Role::Primary || self.peer.role() == Some(Role::Primary);
        self.settings.disk.fencing != Policy::DontCare
            && self.peer.is_connected()
            && one_primary
            && both_good
    }

    /// Leaves the peer, on purpose. The Secondary of a Primary marks its disk Outdated first; a
    /// Primary asks it to. True when that is to be waited for.
    pub(super) fn part_in_order(&mut self, command: Option<CommandId>) -> bool {
        if self.outdating.is_parting() || !self.must_part_in_order() {
            return false;
        }
        let Some(link) = self.peer.session.as_ref().map(|session| session.link) else {
            return false;
        };
        self.outdating.parting = Some(Parting { command });
        if self.role == Role::Primary {
            self.send(Message::Outdate);
            self.timers.set(Timer::Parting, self.now.after(self.settings.net.timeout));
        } else {
            self.own_disk_is_outdated("leaves a Primary", Some(Then::PartingOutdated(link)));
        }
        true
    }

    /// The Primary leaves and wants this disk to be Outdated first.
    pub(super) fn outdate_received(&mut self) {
        if self.role == Role::Primary || self.peer.role() != Some(Role::Primary) {
            self.drop_session("a request to be outdated came out of turn");
            return;
        }
        let Some(link) = self.peer.session.as_ref().map(|session| session.link) else { return };
        match self.replica.state() {
            DiskState::Consistent | DiskState::UpToDate => {
                self.own_disk_is_outdated("the Primary leaves", Some(Then::PartingOutdated(link)));
            }
            DiskState::Diskless
            | DiskState::Attaching
            | DiskState::Failed
            | DiskState::Inconsistent
            | DiskState::Outdated
            | DiskState::DUnknown => self.send_state(),
        }
    }

    /// Now the Primary may know.
    pub(super) fn parting_outdated_durable(&mut self, link: LinkId) {
        if self.is_session(link) {
            self.send_state();
            self.part();
        }
    }

    /// The peer has told its state: it may be the one that a parting Primary waits for.
    pub(super) fn part_when_outdated(&mut self) {
        if self.role == Role::Primary && self.peer.disk() <= DiskState::Outdated {
            self.part();
        }
    }

    /// Goes, if that is what is waited for: in order, or because the other is gone or silent.
    pub(super) fn part(&mut self) {
        let Some(parting) = self.outdating.parting.take() else { return };
        self.timers.stop(Timer::Parting);
        self.disconnect_now();
        if let Some(command) = parting.command {
            self.answer(command, Ok(()));
        }
    }

    /// The own disk has failed: whoever waited for its mark is told.
    pub(super) fn outdating_without_disk(&mut self) {
        if let Some(command) = self.outdating.asked.take() {
            let text = format!("the disk of {} failed", self.settings.my_name());
            let refusal = Refusal { class: RefusalClass::LowerThanOutdated, text };
            self.answer(command, Err(refusal));
        }
        self.part();
    }
}
