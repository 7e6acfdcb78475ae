//! `new-current-uuid`: a generation begun by hand, and the skipping of the initial sync
//! (drbd-facts 1.3 and 6.2, schedule R31).
//!
//! `--clear-bitmap` is the one exception from D7 and D11: the operator says that two disks that
//! were just created are equal. The peer takes the generation first; a cut between the two steps
//! leaves one node just created, which is a full sync.

use super::persist::Then;
use super::promote::{RoleChange, state};
use super::route::AfterFlush;
use super::{Node, Sync};
use crate::event::{Level, Refusal, RefusalClass};
use crate::generation::rotate;
use crate::ids::{CommandId, LinkId};
use crate::message::Message;
use crate::mutation::Mutation;
use crate::state::{DiskState, Role};
use metadata::generations::{Generations, same_generation};

impl Node {
    pub(super) fn new_generation(&mut self, command: CommandId, clear_bitmap: bool) {
        let allowed = self.may_begin_generation(clear_bitmap);
        match allowed {
            Err(refusal) => self.answer(command, Err(refusal)),
            Ok(()) if clear_bitmap => {
                let current = Self::without_primary_bit(self.entropy.generation());
                self.by_hand = Some((command, current));
                self.send(Message::NewGeneration { current });
            }
            Ok(()) => {
                self.by_hand = Some((command, 0));
                // A generation begins on a flushed disk.
                self.flush_then(AfterFlush::ByHand);
            }
        }
    }

    fn may_begin_generation(&self, clear_bitmap: bool) -> Result<(), Refusal> {
        let peer = self.settings.peer_name();
        let configuration =
            |text: String| Err(Refusal { class: RefusalClass::Configuration, text });
        let Some(disk) = self.replica.attached() else {
            return Err(state("there is no disk; run 'blkrep attach' first".into()));
        };
        if self.by_hand.is_some() || self.generation_pending {
            return Err(state("a new generation is being begun; try again".into()));
        }
        if self.role_change != RoleChange::None {
            return Err(state("a change of role is under way; try again when it is over".into()));
        }
        if !clear_bitmap {
            return match self.peer.session {
                None => Ok(()),
                Some(_) => configuration(format!(
                    "{peer} is connected; run 'blkrep disconnect' first, or use --clear-bitmap on two \
                     replicas that were just created"
                )),
            };
        }
        let both_created = disk.superblock.generations.is_just_created()
            && self.peer.connected().is_some_and(|connected| connected.just_created);
        let both_created = both_created || self.breaks(Mutation::ClearBitmapAlways);
        if !both_created || !matches!(self.sync, Sync::Idle) || self.role == Role::Primary {
            return configuration(
                "--clear-bitmap skips the initial sync of two replicas that were both just created and are \
                 connected; run 'blkrep create-md' and 'blkrep up' on both"
                    .into(),
            );
        }
        Ok(())
    }

    /// The disk is flushed: without the peer, the old current becomes the bitmap identifier.
    pub(super) fn by_hand_flushed(&mut self) {
        let Some((command, _)) = self.by_hand else { return };
        if self.peer.session.is_some() || self.replica.attached().is_none() {
            self.by_hand_ends(command, Err(state("the peer came back meanwhile".into())));
            return;
        }
        let drawn = self.entropy.generation();
        self.persist_superblock(
            |superblock| {
                let (generations, covers) = rotate(superblock.generations, drawn);
                superblock.generations = generations;
                superblock.flags.bitmap_covers_history |= covers;
                superblock.flags.peer_may_hold_current = false;
            },
            Some(Then::ByHand),
        );
    }

    /// A change of the own identifiers is on its way to the disk: no statement about them may be
    /// sent before (G1).
    pub(super) fn by_hand_changes(&self) -> bool {
        self.by_hand.is_some_and(|(_, current)| current == 0)
    }

    pub(super) fn by_hand_durable(&mut self) {
        let Some((command, _)) = self.by_hand else { return };
        if self.role == Role::Primary && !self.breaks(Mutation::NewGenerationUnexposed) {
            // What its clients are answered from now on is of this one (G7).
            self.expose(self.replica.attached().map(|disk| disk.superblock.generations.current));
        }
        self.by_hand_ends(command, Ok(()));
    }

    fn by_hand_ends(&mut self, command: CommandId, result: Result<(), Refusal>) {
        self.by_hand = None;
        self.answer(command, result);
        self.send_data_when_settled();
    }

    /// The peer's operator says that both are equal.
    pub(super) fn new_generation_received(&mut self, current: u64) {
        let Some(session) = &self.peer.session else { return };
        let link = session.link;
        let fits = self.role == Role::Secondary
            && self.by_hand.is_none()
            && matches!(self.sync, Sync::Idle)
            && (self.breaks(Mutation::ClearBitmapAlways)
                || self
                    .replica
                    .attached()
                    .is_some_and(|disk| disk.superblock.generations.is_just_created()));
        if !fits {
            self.drop_session("a new generation was announced to a replica that has one");
            return;
        }
        self.notice(Level::Warning, "declared equal by the operator: the initial sync is skipped");
        self.take_generation(current, Then::Declared(link));
    }

    fn take_generation(&mut self, current: u64, then: Then) {
        let old = self.replica.state();
        if let Some(disk) = self.replica.writable() {
            let all = disk.bitmap.blocks();
            disk.bitmap.clear(metadata::units::BlockRange { first: 0, count: all.max(1) });
            disk.trusted = true;
        }
        self.persist_bitmap();
        self.persist_superblock(
            |superblock| {
                superblock.generations = Generations { current, bitmap: 0, history: [0; 2] };
                superblock.flags.consistent = true;
                superblock.flags.was_up_to_date = true;
                superblock.flags.peer_may_hold_current = true;
            },
            Some(then),
        );
        let new = self.replica.state();
        self.disk_changed(old, new, "declared equal by the operator");
    }

    /// The receiver has it durably.
    pub(super) fn declared(&mut self, link: LinkId) {
        if !self.is_session(link) {
            return;
        }
        self.peer_has_own_generation();
        if self.by_hand.is_none() {
            self.send(Message::NewGenerationDone);
        }
        self.send_state();
        if let Some((command, _)) = self.by_hand {
            self.by_hand_ends(command, Ok(()));
        }
    }

    /// The peer has taken it: now this node does.
    pub(super) fn new_generation_done_received(&mut self) {
        let Some((_, current)) = self.by_hand else { return };
        let Some(session) = &self.peer.session else { return };
        let link = session.link;
        let created = self
            .replica
            .attached()
            .is_some_and(|disk| disk.superblock.generations.is_just_created());
        let created = created || self.breaks(Mutation::ClearBitmapAlways);
        if created && !same_generation(current, 0) {
            self.peer_disk_is(DiskState::UpToDate, "declared equal by the operator");
            self.take_generation(current, Then::Declared(link));
        }
    }

    /// The connection, or the disk, is gone in the middle: a full sync decides (rules 20 and 30).
    pub(super) fn by_hand_interrupted(&mut self) {
        if let Some((command, current)) = self.by_hand
            && (current != 0 || self.replica.is_gone())
        {
            let text =
                "connection or disk was lost in the middle; see 'blkrep get-gi' on both".into();
            self.by_hand_ends(command, Err(state(text)));
        }
    }
}
