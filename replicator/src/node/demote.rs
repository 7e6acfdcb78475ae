//! Becoming Secondary: drain, flush both, bitmap, primary mark off, in this order (D8).

use super::Node;
use super::flush::Waiter;
use super::persist::Then;
use super::promote::{RoleChange, state};
use crate::event::{Event, Output};
use crate::ids::CommandId;
use crate::mutation::Mutation;
use crate::state::Role;

impl Node {
    pub(super) fn demote(&mut self, command: CommandId) {
        if self.role == Role::Secondary {
            self.resume_mark_void();
            self.answer(command, Ok(()));
            return;
        }
        if self.clients > 0 {
            let who = match self.clients {
                1 => "1 NBD client is connected".to_owned(),
                count => format!("{count} NBD clients are connected"),
            };
            let text = format!(
                "{who}; unmount and disconnect first (umount, nbd-client -d, stop the programs)"
            );
            self.answer(command, Err(state(text)));
            return;
        }
        if self.suspension.holds() {
            let reasons = self.suspension.reasons();
            let text = format!(
                "clients' I/O is suspended ({reasons}); run 'blkrep resume-io' first, or wait for the peer"
            );
            self.answer(command, Err(state(text)));
            return;
        }
        self.resume_mark_void();
        self.wish(Output::CloseExport { message: self.turned_away_message("is being demoted") });
        self.role_change = RoleChange::Draining { command };
    }

    /// What clients are told where the export is not served.
    pub(super) fn turned_away_message(&self, why: &str) -> String {
        let (resource, me, peer) =
            (&self.settings.resource, self.settings.my_name(), self.settings.peer_name());
        format!(
            "resource {resource} on {me} {why}; use {peer}, or run 'blkrep primary {resource}' on {me}"
        )
    }

    pub(super) fn demote_when_quiet(&mut self) {
        let RoleChange::Draining { command } = self.role_change else { return };
        let busy = self.writes.open_count() > 0 || self.reads_open > 0 || !self.pairs.is_quiet();
        if busy {
            return;
        }
        self.role_change = RoleChange::FlushingBoth { command };
        if self.replica.is_gone() {
            self.demoted_diskless(command);
            return;
        }
        if self.breaks(Mutation::DemoteUnflushed) {
            self.demote_flushed();
            return;
        }
        self.pair_begin(vec![Waiter::Demotion]);
    }

    fn demoted_diskless(&mut self, command: CommandId) {
        self.become_secondary();
        self.role_change_ends(command, Ok(()));
    }

    pub(super) fn demote_flushed(&mut self) {
        let RoleChange::FlushingBoth { command } = self.role_change else { return };
        if self.replica.is_gone() && !self.breaks(Mutation::DemotionNeedsDisk) {
            // It has failed under the flush; the peer has taken over, and has flushed.
            self.demoted_diskless(command);
            return;
        }
        self.role_change = RoleChange::Unmarking { command };
        if self.breaks(Mutation::MarkOffFirst) {
            self.empty_log();
            self.persist_superblock(|superblock| superblock.flags.primary = false, None);
        }
        self.persist_bitmap();
        self.empty_log();
        self.persist_superblock(
            |superblock| {
                superblock.flags.primary = false;
                superblock.generations.current =
                    Self::without_primary_bit(superblock.generations.current);
            },
            Some(Then::Demoted),
        );
    }

    pub(super) fn demote_failed(&mut self, why: &str) {
        if let RoleChange::FlushingBoth { command } | RoleChange::Unmarking { command } =
            self.role_change
        {
            self.become_secondary();
            let text = format!("demoted, but not cleanly: {why}; its data count as crashed");
            self.role_change_ends(command, Err(state(text)));
        }
    }

    pub(super) fn demoted(&mut self) {
        let RoleChange::Unmarking { command } = self.role_change else { return };
        self.become_secondary();
        self.role_change_ends(command, Ok(()));
    }

    fn become_secondary(&mut self) {
        self.role = Role::Secondary;
        self.forget_far_data();
        self.tell(Event::Role { old: Role::Primary, new: Role::Secondary, reason: "asked to" });
        self.wish(Output::CloseExport { message: self.turned_away_message("is Secondary") });
        self.send_state();
        if self.is_sync_target() && !self.breaks(Mutation::ArbiterLeavesAtOnce) {
            // The source is the arbiter from now on (D6).
            self.drop_session("demoted; the two begin the resync anew");
        }
    }
}
