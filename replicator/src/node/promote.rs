//! Becoming Primary: the peer's live consent, a quiet disk, a durable mark, then the export (G2,
//! G4, D8, D15).

use super::persist::Then;
use super::resume::RESUME;
use super::route::AfterFlush;
use super::{Node, Sync};
use crate::event::{Answer, Event, Output, Refusal, RefusalClass};
use crate::generation::rotate;
use crate::ids::{CommandId, NodeIndex};
use crate::message::Message;
use crate::mutation::Mutation;
use crate::state::{DiskState, Role};
use crate::timers::Timer;
use metadata::generations::PRIMARY_BIT;

/// The change of role that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RoleChange {
    None,
    /// Promotion: waits for the end of a handshake.
    AfterHandshake {
        command: CommandId,
        force: bool,
    },
    /// Promotion: the peer is out of sight and is being fenced (G5).
    Fencing {
        command: CommandId,
        force: bool,
    },
    /// Promotion: the peer was asked.
    Asked {
        command: CommandId,
        force: bool,
    },
    /// Promotion: waits until the peer's I/O on this disk has returned (D15).
    Quieting {
        command: CommandId,
        force: bool,
    },
    /// Promotion: the own disk is being flushed (D8).
    Flushing {
        command: CommandId,
        force: bool,
        attempt: u64,
    },
    /// Promotion: the mark is on its way to the disk.
    Marking {
        command: CommandId,
        force: bool,
    },
    /// Demotion: waits until everything clients began is done.
    Draining {
        command: CommandId,
    },
    /// Demotion: both disks are being flushed.
    FlushingBoth {
        command: CommandId,
    },
    /// Demotion: bitmap and mark are on their way to the disk.
    Unmarking {
        command: CommandId,
    },
}

/// Names a change of role that nobody asked for: it has no answer.
pub(super) const OWN_ACCORD: CommandId = CommandId(u64::MAX);

impl Node {
    pub(super) fn promote(&mut self, command: CommandId, force: bool) {
        if self.role == Role::Primary {
            self.answer(command, Ok(()));
            return;
        }
        if let Err(refusal) = self.may_promote(force) {
            self.answer(command, Err(refusal));
            return;
        }
        if self.peer.in_handshake() && self.breaks(Mutation::HandshakeForbidsPromotion) {
            self.answer(command, Err(state("a handshake is under way".into())));
        } else if self.peer.in_handshake() {
            self.role_change = RoleChange::AfterHandshake { command, force };
            self.timers.set(Timer::RoleChange, self.now.after(self.handshake_timeout()));
        } else if self.peer.is_connected() && !self.breaks(Mutation::PromoteUnasked) {
            self.promote_ask(command, force);
        } else if self.peer_cannot_go_on() {
            self.promote_quiet(command, force);
        } else {
            self.fence_for_promotion(command, force);
        }
    }

    /// What this node knows already. `--force` overrides a bad disk, never a connected Primary
    /// (G4).
    fn may_promote(&self, force: bool) -> Result<(), Refusal> {
        let (me, peer) = (self.settings.my_name(), self.settings.peer_name());
        // What was last heard of the peer forbids nothing: it is asked (G4).
        let heard_counts = self.breaks(Mutation::HeardRoleForbids);
        if heard_counts && self.peer.role() == Some(Role::Primary) {
            return Err(state(format!("{peer} is Primary; run 'blkrep secondary' there first")));
        }
        if heard_counts && self.peer.connected().is_some_and(|connected| connected.promoting) {
            return Err(state(format!("{peer} is becoming Primary")));
        }
        let disk = self.replica.state();
        let far =
            self.peer.disk() == DiskState::UpToDate && !self.breaks(Mutation::PeersDataDoNotCount);
        if far && disk != DiskState::Attaching && !force {
            // With the peer's data: reads go there (D12).
            return Ok(());
        }
        let good = |text: String| Err(Refusal { class: RefusalClass::NoGoodData, text });
        match disk {
            DiskState::UpToDate => Ok(()),
            DiskState::Diskless
            | DiskState::Failed
            | DiskState::Attaching
            | DiskState::DUnknown => good(format!(
                "{me} has no usable disk ({disk}); promote {peer}, or mend the disk and run 'blkrep up'"
            )),
            DiskState::Inconsistent if self.is_sync_target() => good(format!(
                "{me} is being resynced from {peer}; wait with 'blkrep wait-sync', or promote {peer}"
            )),
            DiskState::Inconsistent | DiskState::Outdated | DiskState::Consistent if force => {
                Ok(())
            }
            // Fencing the peer decides.
            DiskState::Consistent if !self.peer.is_connected() => Ok(()),
            DiskState::Inconsistent | DiskState::Outdated | DiskState::Consistent => good(format!(
                "Need access to UpToDate data: the disk of {me} is {disk}; connect to {peer} and wait for the \
                 resync, or run 'blkrep primary --force' if these data are to become the good ones"
            )),
        }
    }

    fn promote_ask(&mut self, command: CommandId, force: bool) {
        self.role_change = RoleChange::Asked { command, force };
        self.send(Message::PromoteAsk);
        self.timers.set(Timer::RoleChange, self.now.after(self.settings.net.ping_timeout));
    }

    /// The peer wants to become Primary. Crossing requests: the first node in configured order
    /// wins.
    pub(super) fn promote_ask_received(&mut self) {
        let me = self.settings.my_name().to_owned();
        let refusal = match self.role_change {
            _ if self.role == Role::Primary => {
                Some(format!("{me} is Primary; run 'blkrep secondary' there first"))
            }
            RoleChange::None | RoleChange::AfterHandshake { .. } | RoleChange::Fencing { .. } => {
                None
            }
            RoleChange::Asked { .. } if self.breaks(Mutation::CrossingPromotionsGranted) => None,
            RoleChange::Asked { command, .. } => match self.settings.me {
                NodeIndex::First => Some(format!("{me} is becoming Primary at this moment")),
                NodeIndex::Second => {
                    let peer = self.settings.peer_name();
                    let lost = state(format!("{peer} is becoming Primary at this moment"));
                    self.role_change_ends(command, Err(lost));
                    None
                }
            },
            RoleChange::Quieting { .. }
            | RoleChange::Flushing { .. }
            | RoleChange::Marking { .. } => {
                Some(format!("{me} is becoming Primary at this moment"))
            }
            RoleChange::Draining { .. }
            | RoleChange::FlushingBoth { .. }
            | RoleChange::Unmarking { .. } => Some(format!("{me} is still Primary")),
        };
        if let Some(peer) = self.peer.connected_mut() {
            peer.promoting = refusal.is_none();
        }
        if refusal.is_none() {
            // The arbiter changes: no range is granted when the peer goes on (D6).
            self.verify_watch();
            self.resume_yields();
        }
        self.send(Message::PromoteAnswer { refusal });
    }

    pub(super) fn promote_answer_received(&mut self, refusal: Option<String>) {
        let RoleChange::Asked { command, force } = self.role_change else { return };
        match refusal {
            Some(text) => self.role_change_ends(command, Err(state(text))),
            None => self.promote_quiet(command, force),
        }
    }

    /// No answer within the ping timeout, or no verdict in time: without that connection, then
    /// (D15, G4).
    pub(super) fn role_change_overdue(&mut self) {
        match self.role_change {
            RoleChange::Asked { command, force } if self.breaks(Mutation::PromoteOverSlowPeer) => {
                self.promote_quiet(command, force);
            }
            RoleChange::Asked { .. } | RoleChange::AfterHandshake { .. } => {
                self.drop_session("no answer to a request for promotion");
            }
            RoleChange::None
            | RoleChange::Fencing { .. }
            | RoleChange::Quieting { .. }
            | RoleChange::Flushing { .. }
            | RoleChange::Marking { .. }
            | RoleChange::Draining { .. }
            | RoleChange::FlushingBoth { .. }
            | RoleChange::Unmarking { .. } => {}
        }
    }

    /// The session has ended under a promotion: it is one alone now.
    pub(super) fn role_change_without_peer(&mut self) {
        match self.role_change {
            // Consent is worth nothing any more: the peer may go on alone, so it is fenced first.
            RoleChange::Asked { command, force }
            | RoleChange::AfterHandshake { command, force }
            | RoleChange::Quieting { command, force }
            | RoleChange::Flushing { command, force, .. } => {
                self.role_change = RoleChange::None;
                self.promote(command, force);
            }
            RoleChange::None
            | RoleChange::Fencing { .. }
            | RoleChange::Marking { .. }
            | RoleChange::Draining { .. }
            | RoleChange::FlushingBoth { .. }
            | RoleChange::Unmarking { .. } => {}
        }
    }

    /// A handshake has ended well under a promotion.
    pub(super) fn role_change_with_peer(&mut self) {
        match self.role_change {
            // Begun without the peer, or before it was known: now the peer must be asked (G4).
            RoleChange::AfterHandshake { command, force }
            | RoleChange::Fencing { command, force }
            | RoleChange::Quieting { command, force }
            | RoleChange::Flushing { command, force, .. } => {
                self.role_change = RoleChange::None;
                // Who resumes looks at what the peer has been meanwhile before it asks.
                if command != RESUME || self.breaks(Mutation::ResumePastThePeer) {
                    self.promote(command, force);
                }
            }
            RoleChange::None
            | RoleChange::Asked { .. }
            | RoleChange::Marking { .. }
            | RoleChange::Draining { .. }
            | RoleChange::FlushingBoth { .. }
            | RoleChange::Unmarking { .. } => {}
        }
    }

    /// A promotion waits until nothing of the peer's is under way.
    pub(super) const fn promotion_quiets(&self) -> bool {
        matches!(self.role_change, RoleChange::Quieting { .. })
    }

    pub(super) fn promote_quiet(&mut self, command: CommandId, force: bool) {
        self.timers.stop(Timer::RoleChange);
        self.role_change = RoleChange::Quieting { command, force };
    }

    pub(super) fn promote_when_quiet(&mut self) {
        let RoleChange::Quieting { command, force } = self.role_change else { return };
        let busy = self.guest_holds_disk() || self.sole_is_busy();
        if busy && !self.breaks(Mutation::PromoteWhileBusy) {
            return;
        }
        if self.replica.is_gone() {
            self.role_change = RoleChange::Marking { command, force };
            self.promoted();
        } else {
            self.promotion_attempts += 1;
            let attempt = self.promotion_attempts;
            self.role_change = RoleChange::Flushing { command, force, attempt };
            self.flush_then(AfterFlush::Promote { attempt });
        }
    }

    pub(super) fn promote_flushed(&mut self, flushed: u64) {
        let RoleChange::Flushing { command, force, attempt } = self.role_change else { return };
        if attempt != flushed {
            return;
        }
        let usable = self.replica.attached().is_some();
        let has_data = self.replica.state() == DiskState::UpToDate
            || self.peer.disk() == DiskState::UpToDate
            || force;
        if !usable || !has_data {
            let refusal = Refusal {
                class: RefusalClass::NoGoodData,
                text: format!("the disk of {} is not UpToDate any more", self.settings.my_name()),
            };
            self.role_change_ends(command, Err(refusal));
            return;
        }
        self.role_change = RoleChange::Marking { command, force };
        if self.peer.is_frozen() {
            // A change of the own identifiers restarts the handshake (G1).
            self.drop_session("promoted during a handshake; it begins anew");
        }
        let (connected, with_peers_data) = (self.peer.is_connected(), self.peer.has_disk());
        let resumed = command == RESUME && !self.breaks(Mutation::ResumeCountsAsPromotion);
        self.resume.goes_on = resumed;
        let spared = self.breaks(Mutation::PromoteOnOldGeneration);
        let drawn = self.entropy.generation();
        let old = self.replica.state();
        self.persist_superblock(
            |superblock| {
                superblock.flags.primary = true;
                superblock.flags.connected &= connected;
                superblock.promotion_number += u64::from(!resumed);
                if superblock.device_bytes == 0 {
                    superblock.device_bytes = superblock.capacity_bytes;
                }
                if superblock.proposed_bytes == superblock.device_bytes {
                    // D20: from here on data may be written above the size that the peer knows.
                    superblock.proposed_bytes = 0;
                }
                // G2: a promotion without the peer's data begins a generation, `--force` always
                // does.
                let must_rotate =
                    !with_peers_data && !spared && superblock.flags.peer_may_hold_current;
                if force || must_rotate {
                    let (generations, covers) = rotate(superblock.generations, drawn);
                    superblock.generations = generations;
                    superblock.flags.bitmap_covers_history |= covers;
                    superblock.flags.peer_may_hold_current = false;
                }
                if force {
                    superblock.flags.consistent = true;
                    superblock.flags.was_up_to_date = true;
                }
                superblock.generations.current |= PRIMARY_BIT;
            },
            Some(Then::Promoted),
        );
        if force && let Some(disk) = self.replica.writable() {
            disk.trusted = true;
        }
        let new = self.replica.state();
        self.disk_changed(old, new, "forced: these data are the good ones now");
        if self.breaks(Mutation::ExportBeforeMark) {
            self.promoted();
        }
    }

    pub(super) fn promoted(&mut self) {
        let RoleChange::Marking { command, force } = self.role_change else { return };
        let good = self.replica.state() == DiskState::UpToDate;
        let own_current = self.replica.attached().map(|disk| disk.superblock.generations.current);
        let peer_current = self.peer.connected().map(|peer| peer.current);
        let Some(export) = self.export() else {
            let text = "the connection was lost, and there are no good data here".to_owned();
            let refusal = Refusal { class: RefusalClass::NoGoodData, text };
            self.role_change_ends(command, Err(refusal));
            return;
        };
        self.role = Role::Primary;
        if self.peer.session.is_none() && !self.breaks(Mutation::PromotedPastFencing) {
            // Lost while the mark was written: consent is worth nothing any more (G5).
            self.peer_out_of_sight(self.peer.disk());
        }
        self.expose(if good { own_current } else { peer_current });
        self.peer.discard_my_data &= self.breaks(Mutation::DiscardStays);
        self.tell(Event::Role { old: Role::Secondary, new: Role::Primary, reason: "asked to" });
        self.resume_mark_set();
        self.wish(export);
        self.send_state();
        self.role_change_ends(command, Ok(()));
        self.far_data_for_promotion();
        // Forced: the own identifiers have changed. Bits set: this node's data are the right ones
        // now (D7). A target: the arbiter changes (D6). The two must meet again to see what that
        // means (G1).
        let bits_tell = matches!(self.sync, Sync::Idle)
            && self.out_of_sync_blocks() > 0
            && !self.breaks(Mutation::BitsGetNoDirection);
        let target = self.replica.attached().is_some()
            && !good
            && !self.breaks(Mutation::ArbiterChangesAtOnce);
        if self.peer.session.is_some() && (force || bits_tell || target) {
            self.reconnect("promoted; the two must compare their data anew");
        }
    }

    /// The export of the device, as the own disk or the peer knows it.
    fn export(&self) -> Option<Output> {
        let peer = self.peer.connected();
        match (self.replica.attached(), peer) {
            (Some(disk), _) => Some(Output::OpenExport {
                size_bytes: disk.size_bytes(),
                block_bytes_min: disk.superblock.logical_block_bytes,
                trim: disk.zeroes_cheaply,
            }),
            (None, Some(peer)) => Some(Output::OpenExport {
                size_bytes: peer.size_bytes,
                block_bytes_min: peer.logical_block_bytes,
                trim: peer.zeroes_cheaply,
            }),
            (None, None) => None,
        }
    }

    pub(super) fn role_change_ends(&mut self, command: CommandId, result: Result<(), Refusal>) {
        self.role_change = RoleChange::None;
        self.yielded();
        self.timers.stop(Timer::RoleChange);
        self.send_data_when_settled();
        self.sync_pump();
        if result.is_err() {
            // A peer that gave its consent waits to hear what came of it.
            self.send_state();
        }
        self.answer(command, result);
    }

    pub(super) fn answer(&mut self, command: CommandId, result: Result<(), Refusal>) {
        if command == RESUME {
            self.resume_ended(&result);
        }
        if command == OWN_ACCORD || command == RESUME {
            return;
        }
        let answer = match result {
            Ok(()) => Answer::Done,
            Err(refusal) => Answer::Refused(refusal),
        };
        self.wish(Output::Answer { command, answer });
    }
}

/// A refusal by state (exit code 11).
pub(super) const fn state(text: String) -> Refusal {
    Refusal { class: RefusalClass::State, text }
}
