//! The verbs `attach` and `detach` on a running node (D10, D15).

use super::Node;
use super::flush::Waiter;
use super::peer::Intent;
use super::persist::Then;
use super::promote::{RoleChange, state};
use super::replica::Replica;
use super::route::AfterFlush;
use crate::event::{Answer, Level, Output, Refusal, RefusalClass};
use crate::ids::CommandId;
use crate::mutation::Mutation;
use crate::state::{DiskState, Role};
use metadata::units::BlockRange;

/// A detach in order: waits until nothing is under way, then flushes and marks the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Detaching {
    command: CommandId,
    flush_begun: bool,
}

impl Node {
    pub(super) fn detach(&mut self, command: CommandId, force: bool) {
        if self.replica.is_gone() {
            self.answer(command, Ok(()));
            return;
        }
        if let Err(refusal) = self.may_detach(force) {
            self.answer(command, Err(refusal));
            return;
        }
        if force {
            let old = self.replica.state();
            self.disk_changed(old, DiskState::Failed, "detach --force");
            self.mark_as_left();
            self.give_disk_up(DiskState::Failed, "detach --force");
            self.answer(command, Ok(()));
            return;
        }
        self.detaching = Some(Detaching { command, flush_begun: false });
    }

    fn may_detach(&self, force: bool) -> Result<(), Refusal> {
        // The source of a resync that is about to begin would leave with the only good copy.
        let is_needed = self.invalidation.is_busy() && !self.breaks(Mutation::SourceMayLeave);
        let busy = self.detaching.is_some()
            || is_needed
            || self.role_change != RoleChange::None
            || self.replica.state() == DiskState::Attaching;
        if busy && !force {
            let text =
                "the disk, the role or the peer's data are changing; try again when that is over"
                    .to_owned();
            return Err(state(text));
        }
        if force { Ok(()) } else { self.may_still_detach() }
    }

    fn may_still_detach(&self) -> Result<(), Refusal> {
        let (me, peer) = (self.settings.my_name(), self.settings.peer_name());
        let somebody_is_primary =
            self.role == Role::Primary || self.peer.role() == Some(Role::Primary);
        if somebody_is_primary && self.peer.disk() != DiskState::UpToDate {
            return Err(Refusal {
                class: RefusalClass::NoGoodData,
                text: format!(
                    "the disk of {me} holds the only UpToDate data of a Primary; connect {peer} and wait \
                     with 'blkrep wait-sync' first, or use --force to lose access to the data"
                ),
            });
        }
        Ok(())
    }

    /// Everything that was begun on the disk is done: it is flushed, then marked.
    pub(super) fn detach_when_quiet(&mut self) {
        let Some(Detaching { command, flush_begun: false }) = self.detaching else { return };
        // Reads that wait for the end of this, or for the peer, are not on the disk.
        let reads = if self.breaks(Mutation::DetachWaitsForParked) {
            self.reads_open
        } else {
            self.reads_here
        };
        let quiet = self.writes.local_is_quiet()
            && reads == 0
            && self.pairs.is_idle()
            && !self.guest.is_busy()
            && !self.sole_is_busy();
        if quiet {
            self.detaching = Some(Detaching { command, flush_begun: true });
            let with_peer = self.role == Role::Primary && self.peer.has_disk();
            if with_peer && !self.breaks(Mutation::DetachFlushesAlone) {
                self.pair_begin(vec![Waiter::Detach]);
            } else {
                self.flush_then(AfterFlush::Detach);
            }
        }
    }

    /// The peer's disk is not there any more: a detach that has not begun to mark the own one would
    /// take the last good copy.
    pub(super) fn detach_without_peer(&mut self) {
        if let Some(Detaching { flush_begun: false, .. }) = self.detaching {
            self.detach_is_still_right();
        }
    }

    /// False when it is not, and that is told.
    fn detach_is_still_right(&mut self) -> bool {
        let Some(Detaching { command, .. }) = self.detaching else { return false };
        let Err(refusal) = self.may_still_detach() else { return true };
        self.detaching = None;
        self.answer(command, Err(refusal));
        self.guest_submits_held();
        self.sync_pump();
        self.resume_parked();
        false
    }

    pub(super) fn detach_flushed(&mut self) {
        if self.replica.attached().is_none() || !self.detach_is_still_right() {
            return;
        }
        // D5: what the peer has not flushed leaves the log with its bits, also what a flush under
        // way has sealed. With the peer's flush before this (D10) neither should be left.
        let mut unflushed: Vec<BlockRange> = self.unflushed.runs().collect();
        unflushed.extend(self.pairs.sealed_runs());
        for run in unflushed {
            self.mark_out_of_sync(run);
        }
        self.persist_bitmap();
        self.empty_log();
        let goes_on = self.peer.disk() == DiskState::UpToDate
            && !self.breaks(Mutation::LeftDiskStaysUpToDate);
        self.persist_superblock(
            |superblock| {
                superblock.flags.primary = false;
                superblock.flags.was_up_to_date &= !goes_on;
            },
            Some(Then::Detached),
        );
    }

    pub(super) fn detached(&mut self) {
        let Some(detaching) = self.detaching.take() else { return };
        if !self.replica.is_gone() {
            let old = self.replica.state();
            self.give_disk_up(old, "detached");
        }
        self.detach_answer = Some(detaching.command);
    }

    /// The disk is closed, and the peer has taken a Primary's data over or is gone: an attach may
    /// follow at once.
    pub(super) fn detach_answer_when_over(&mut self) {
        let is_under_way = self.disk_open || self.peer_takes_over();
        if is_under_way && self.leaving.is_none() && !self.breaks(Mutation::DetachAnswersEarly) {
            return;
        }
        if let Some(command) = self.detach_answer.take() {
            self.answer(command, Ok(()));
        }
    }

    fn peer_takes_over(&self) -> bool {
        self.role == Role::Primary
            && self.far.hands_over()
            && self.peer.disk() == DiskState::UpToDate
    }

    /// The disk went by itself before the detach was over: that is what was asked for.
    pub(super) fn detach_without_disk(&mut self) {
        if let Some(detaching) = self.detaching.take() {
            self.answer(detaching.command, Ok(()));
        }
    }

    pub(super) fn attach_asked(&mut self, command: CommandId) {
        let (me, peer) = (self.settings.my_name(), self.settings.peer_name());
        if !self.replica.is_gone() {
            self.answer(command, Ok(()));
            return;
        }
        if self.opening.is_some() {
            self.answer(command, Err(state("the disk is being attached already".into())));
            return;
        }
        if self.disk_open && !self.breaks(Mutation::AttachUnderOldWrites) {
            let text = format!(
                "I/O of the disk that {me} gave up has not returned; wait for it, or restart the daemon \
                 with 'blkrep down' and 'blkrep up'"
            );
            self.answer(command, Err(state(text)));
            return;
        }
        if self.peer_takes_over() {
            let text =
                format!("{peer} is just taking over the data of {me}; try again in a moment");
            self.answer(command, Err(state(text)));
            return;
        }
        if self.role == Role::Primary && !self.far.is_taken_over() {
            let text = format!(
                "{me} is Primary and its clients have seen errors, or data that this disk may lack; connect \
                 {peer}, or stop what uses the device and run 'blkrep secondary' first"
            );
            self.answer(command, Err(Refusal { class: RefusalClass::NoGoodData, text }));
            return;
        }
        self.opening = Some(command);
        self.wish(Output::OpenDisk);
    }

    pub(super) fn disk_open_failed(&mut self, reason: &str) {
        self.notice(Level::Error, format!("the disk was not attached: {reason}"));
        self.attach_over(Err(Refusal {
            class: RefusalClass::Configuration,
            text: format!("the disk was not attached: {reason}"),
        }));
        // At the start: the node takes part without its disk, as in DRBD.
        if matches!(self.peer.intent, Intent::Waiting) && self.leaving.is_none() {
            self.connect();
        }
    }

    /// The disk is in use, or it is clear that it will not be.
    pub(super) fn attach_over(&mut self, result: Result<(), Refusal>) {
        if let Some(command) = self.opening.take() {
            let answer = match result {
                Ok(()) => Answer::Done,
                Err(refusal) => Answer::Refused(refusal),
            };
            self.wish(Output::Answer { command, answer });
        }
    }

    /// Nothing of the disk that was given up can reach it any more.
    pub(super) fn disk_closed(&mut self) {
        self.disk_open = false;
    }

    /// The place of the disk that was given up is free for the one that is opened now.
    pub(super) fn forget_failed_disk(&mut self) {
        if matches!(self.replica, Replica::Failed(_)) {
            self.replica = Replica::Diskless;
        }
    }
}
