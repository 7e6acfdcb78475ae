//! Leaving: disconnect, and the clean detach at the end (D13).

use super::Node;
use super::peer::Intent;
use super::persist::Then;
use super::promote::{RoleChange, state};
use super::route::AfterFlush;
use crate::event::Output;
use crate::ids::CommandId;
use crate::message::{Message, RefusalCode, RefusalMessage};
use crate::mutation::Mutation;
use crate::state::Role;

impl Node {
    pub(super) fn disconnect(&mut self, command: CommandId) {
        if self.part_in_order(Some(command)) {
            return;
        }
        self.disconnect_now();
        self.answer(command, Ok(()));
    }

    pub(super) fn disconnect_now(&mut self) {
        if matches!(self.peer.intent, Intent::StandAlone(_)) {
            return;
        }
        self.send(Message::Bye);
        self.peer.refusal = None;
        self.stand_alone(RefusalMessage {
            code: RefusalCode::StandAlone,
            text: format!(
                "{} was told to disconnect; run 'blkrep connect' there",
                self.settings.my_name()
            ),
        });
    }

    pub(super) fn leave(&mut self, command: CommandId) {
        if self.role == Role::Primary || self.role_change != RoleChange::None {
            let text = "this node is Primary; run 'blkrep secondary' first".to_owned();
            self.answer(command, Err(state(text)));
            return;
        }
        if let Some(earlier) = self.leaving.replace(command) {
            self.answer(earlier, Ok(()));
        }
        self.resume_mark_void();
        if !self.part_in_order(None) {
            self.disconnect_now();
        }
    }

    /// Detaches when nothing is under way any more; a disk that was given up is simply left.
    pub(super) fn leave_when_quiet(&mut self) {
        if self.leaving.is_none() {
            return;
        }
        // What a disk that was given up has not returned holds nobody up (D15).
        let busy = self.guest_holds_disk()
            || self.sole_is_busy()
            || !(self.persist.is_idle() || self.replica.is_gone());
        if busy || self.outdating.is_parting() {
            return;
        }
        if self.replica.is_gone() {
            self.left();
        } else if self.replica.attached().is_some() && !self.leave_begun {
            self.leave_begun = true;
            self.flush_then(AfterFlush::Leave);
        }
    }

    pub(super) fn leave_flushed(&mut self) {
        self.persist_bitmap();
        self.give_log_back();
        let keeps_digest = !self.breaks(Mutation::NoBitmapDigest);
        let digest = self.replica.attached().map_or(0, |disk| disk.bitmap.digest());
        self.persist_superblock(
            |superblock| {
                superblock.flags.bitmap_clean = keeps_digest;
                superblock.bitmap_digest = digest;
            },
            Some(Then::Left),
        );
    }

    pub(super) fn left(&mut self) {
        if let Some(command) = self.leaving.take() {
            self.replica = super::replica::Replica::Diskless;
            self.wish(Output::CloseDisk);
            self.answer(command, Ok(()));
            self.wish(Output::Stop);
        }
    }
}
