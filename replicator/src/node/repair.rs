//! Repair: the marked blocks of two UpToDate replicas are copied, over the connection that there
//! is. It goes the way of `invalidate`, for those blocks alone.

use super::Node;
use super::promote::{OWN_ACCORD, state};
use crate::event::{Level, Refusal, RepairFrom};
use crate::ids::CommandId;
use crate::message::Message;
use crate::mutation::Mutation;
use crate::state::{DiskState, Role};

impl Node {
    pub(super) fn repair(&mut self, command: CommandId, from: Option<RepairFrom>) {
        let from = match self.may_repair(from) {
            Ok(from) => from,
            Err(refusal) => return self.answer(command, Err(refusal)),
        };
        if self.out_of_sync_blocks() == 0 {
            self.notice(
                Level::Info,
                "no block is marked as out of sync; there is nothing to repair",
            );
            return self.answer(command, Ok(()));
        }
        match from {
            RepairFrom::Local => self.repair_as_source(command),
            RepairFrom::Peer => self.repair_as_target(command),
        }
    }

    fn may_repair(&self, from: Option<RepairFrom>) -> Result<RepairFrom, Refusal> {
        self.speaks_verify()?;
        let (me, peer) = (self.settings.my_name(), self.settings.peer_name());
        for (name, disk) in [(me, self.replica.state()), (peer, self.peer.disk())] {
            if disk != DiskState::UpToDate {
                return Err(state(format!(
                    "the disk of {name} is {disk}; what is marked is copied without being asked for as soon as \
                     both disks can be used: wait with 'blkrep wait-sync'"
                )));
            }
        }
        let of_primary = match (self.role, self.peer.role()) {
            (Role::Primary, _) => Some(RepairFrom::Local),
            (Role::Secondary, Some(Role::Primary)) => Some(RepairFrom::Peer),
            (Role::Secondary, Some(Role::Secondary) | None) => None,
        };
        let from = if self.breaks(Mutation::RepairGoesTheOtherWay) {
            from.map(|from| match from {
                RepairFrom::Local => RepairFrom::Peer,
                RepairFrom::Peer => RepairFrom::Local,
            })
        } else {
            from
        };
        from.or(of_primary).ok_or_else(|| {
            state(format!(
                "both nodes are Secondary, so nothing says which data are right; run 'blkrep repair --from local' \
                 on {me} to copy its blocks to {peer}, or 'blkrep repair --from peer' for the other way"
            ))
        })
    }

    /// Leader of a verify with `--repair`: the Primary's data count.
    pub(super) fn repair_after_verify(&mut self) {
        if self.role == Role::Primary {
            self.repair(OWN_ACCORD, None);
        }
        if !self.invalidation.is_busy() {
            let name = self.settings.my_name();
            let text = format!(
                "what the verify found is not repaired by itself: {name} is not Primary any more, or something \
                 else is under way; run 'blkrep repair'"
            );
            self.send(Message::VerifyAnswer { refusal: Some(text.clone()) });
            self.repair_not_begun(&text);
        }
    }

    pub(super) fn repair_not_begun(&mut self, why: &str) {
        if let Some((verified, _)) = &mut self.verify.last
            && std::mem::take(&mut verified.repairing)
        {
            self.notice(Level::Error, why);
        }
    }

    pub(super) fn repair_interrupted(&mut self) {
        if let Some((verified, _)) = &mut self.verify.last {
            verified.repairing = false;
        }
    }

    /// Both replicas are the same again, by whatever resync.
    pub(super) fn repair_complete(&mut self) {
        if let Some((verified, _)) = &mut self.verify.last {
            verified.repaired_blocks = verified.differing_blocks;
            verified.repairing = false;
        }
    }
}
