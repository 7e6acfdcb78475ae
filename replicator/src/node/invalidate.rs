//! `invalidate` and `invalidate-remote`: one replica's data are given up and copied anew, all of
//! them, over the connection that there is (drbd-facts 6.2, schedule F22g).
//!
//! The victim sets all bits and is Inconsistent, both durably, before it asks the source to begin;
//! the source sets all of its bits durably before the victim's identifier changes (D9, F20). Lost
//! at any step with the link, the next handshake comes to the same end: an Inconsistent disk with
//! all bits set is a target.

use super::flush::Waiter;
use super::persist::Then;
use super::promote::{RoleChange, state};
use super::route::AfterFlush;
use super::{Node, Sync};
use crate::event::{Level, Refusal, RefusalClass};
use crate::generation::End;
use crate::ids::{CommandId, LinkId, NodeIndex};
use crate::message::Message;
use crate::mutation::Mutation;
use crate::settings::ChecksumUse;
use crate::state::{DiskState, Role};

/// How much of a replica is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Extent {
    #[default]
    Everything,
    /// The blocks that are marked on either node (`repair`).
    Marked,
}

/// What is under way.
#[derive(Debug, Default)]
pub(super) struct Invalidation {
    /// The command that waits for the peer.
    command: Option<CommandId>,
    /// It is `invalidate`: the peer was asked to be the source.
    offered: bool,
    /// The offer was dropped for the peer's; its refusal is on its way.
    dropped: bool,
    extent: Extent,
    /// A resync is about to begin on a finished handshake, and this node is that end of it.
    pub(super) begins: Option<End>,
}

impl Node {
    /// `invalidate`: the peer is asked to be the source, for two that give their data up at once
    /// would leave none.
    pub(super) fn invalidate(&mut self, command: CommandId) {
        self.give_up_asked(command, Extent::Everything);
    }

    /// `repair --from peer`.
    pub(super) fn repair_as_target(&mut self, command: CommandId) {
        self.give_up_asked(command, Extent::Marked);
    }

    fn give_up_asked(&mut self, command: CommandId, extent: Extent) {
        match self.may_be_invalidated() {
            Ok(()) => {
                self.invalidation.command = Some(command);
                self.invalidation.offered = true;
                self.invalidation.extent = extent;
                self.send(match extent {
                    Extent::Everything => Message::InvalidateOffer,
                    Extent::Marked => Message::RepairOffer,
                });
            }
            Err(refusal) => self.answer(command, Err(refusal)),
        }
    }

    /// The peer wants to give its data up. Crossing offers: the first node in configured order
    /// wins.
    pub(super) fn invalidate_offer_received(&mut self, extent: Extent) {
        if self.invalidation.offered && self.settings.me == NodeIndex::Second {
            let text = format!("{} is being invalidated", self.settings.peer_name());
            self.invalidation_refused(text);
            self.invalidation.dropped = !self.breaks(Mutation::RefusalEndsConsent);
        }
        match self.may_be_source() {
            Ok(()) => {
                self.consent(extent);
            }
            Err(refusal) => self.send(Message::SyncAsk { refusal: Some(refusal.text) }),
        }
    }

    /// Refused unless a good copy is left: the peer must be connected and UpToDate.
    fn may_be_invalidated(&self) -> Result<(), Refusal> {
        let (me, peer) = (self.settings.my_name(), self.settings.peer_name());
        self.may_begin_resync()?;
        if self.role == Role::Primary || self.role_change != RoleChange::None {
            return Err(state(format!(
                "{me} is Primary; run 'blkrep invalidate-remote' on {me} to copy its data to {peer}, or \
                 'blkrep secondary' first"
            )));
        }
        if self.peer.disk() != DiskState::UpToDate && !self.breaks(Mutation::InvalidateUnasked) {
            let text = format!(
                "Need access to UpToDate data: the disk of {peer} is {}; nothing would be left to copy from",
                self.peer.disk()
            );
            return Err(Refusal { class: RefusalClass::NoGoodData, text });
        }
        Ok(())
    }

    /// The own data can be copied to the peer.
    fn may_be_source(&self) -> Result<(), Refusal> {
        let (me, peer) = (self.settings.my_name(), self.settings.peer_name());
        self.may_begin_resync()?;
        if self.peer.role() == Some(Role::Primary) {
            let text = format!("{peer} is Primary; run 'blkrep secondary' there first");
            return Err(state(text));
        }
        let disk = self.replica.state();
        if disk != DiskState::UpToDate && !self.breaks(Mutation::InvalidateUnasked) {
            let text = format!("Need access to UpToDate data: the disk of {me} is {disk}");
            return Err(Refusal { class: RefusalClass::NoGoodData, text });
        }
        if self.detaching.is_some() && !self.breaks(Mutation::SourceMayLeave) {
            return Err(state(format!("the disk of {me} is being detached; the peer's is needed")));
        }
        Ok(())
    }

    fn may_begin_resync(&self) -> Result<(), Refusal> {
        let peer = self.settings.peer_name();
        if !self.peer.is_connected() {
            let text = format!("{peer} is not connected; run 'blkrep connect' and wait for it");
            return Err(state(text));
        }
        if self.replica.attached().is_none() || !self.peer.has_disk() {
            return Err(state("both nodes need an attached disk; run 'blkrep attach'".into()));
        }
        if self.verify.is_busy() {
            return Err(state(
                "a verify is under way; try again when it is over, or end it with 'blkrep disconnect' and \
                 'blkrep connect'"
                    .into(),
            ));
        }
        if self.resize.changes_the_size() && !self.breaks(Mutation::ResyncWhileGrowing) {
            return Err(state("a resize is under way; try again when it is over".into()));
        }
        let busy = self.invalidation.is_busy() && !self.breaks(Mutation::InvalidateUnasked);
        if !matches!(self.sync, Sync::Idle) || busy {
            return Err(state(
                "a resync is running already; wait for it with 'blkrep wait-sync'".into(),
            ));
        }
        Ok(())
    }

    /// `invalidate-remote`: the peer gives its data up, if it can.
    pub(super) fn invalidate_remote(&mut self, command: CommandId) {
        self.be_source_asked(command, Extent::Everything);
    }

    /// `repair --from local`.
    pub(super) fn repair_as_source(&mut self, command: CommandId) {
        self.be_source_asked(command, Extent::Marked);
    }

    fn be_source_asked(&mut self, command: CommandId, extent: Extent) {
        match self.may_be_source() {
            Ok(()) => {
                self.invalidation.command = Some(command);
                self.consent(extent);
            }
            Err(refusal) => self.answer(command, Err(refusal)),
        }
    }

    /// The peer gives up what it has: what both had must not be in a cache here (decision 5). New
    /// writes wait until the resync has begun, as in a handshake.
    fn consent(&mut self, extent: Extent) {
        self.invalidation.extent = extent;
        self.invalidation.begins = Some(End::Source);
        self.pair_begin(vec![Waiter::Consent]);
    }

    /// Again, until nothing is under way and nothing unflushed.
    pub(super) fn consent_flushed(&mut self) {
        if !self.invalidation.holds_writes() || !self.peer.has_disk() {
            return;
        }
        if self.writes_under_way() || !self.unflushed.is_empty() {
            self.pair_begin(vec![Waiter::Consent]);
        } else {
            self.send(match self.invalidation.extent {
                Extent::Everything => Message::InvalidateAsk,
                Extent::Marked => Message::RepairAsk,
            });
        }
    }

    /// The peer is ready to be the source.
    pub(super) fn invalidate_ask_received(&mut self, extent: Extent) {
        // What was offered was checked then; only what has changed since is of interest.
        let command = self.invalidation.command.take_if(|_| self.invalidation.offered);
        self.invalidation.offered = false;
        match self.may_be_invalidated() {
            Ok(()) => {
                self.invalidation.command = command;
                self.invalidation.extent = extent;
                self.give_data_up();
            }
            Err(refusal) => {
                self.send(Message::SyncAsk { refusal: Some(refusal.text.clone()) });
                if let Some(command) = command {
                    self.answer(command, Err(refusal));
                }
            }
        }
    }

    /// All bits, then Inconsistent, in this order on stable storage.
    fn give_data_up(&mut self) {
        let Some(session) = &self.peer.session else { return };
        let link = session.link;
        let old = self.replica.state();
        self.invalidation.begins = Some(End::Target);
        self.hold.compares = self.settings.sync.checksums == ChecksumUse::Always;
        self.set_bits_to_copy();
        self.persist_superblock(
            |superblock| {
                superblock.flags.consistent = false;
                superblock.flags.was_up_to_date = false;
            },
            Some(Then::GivenUp(link)),
        );
        let new = self.replica.state();
        let why = match self.invalidation.extent {
            Extent::Everything => "invalidated",
            Extent::Marked => "its marked blocks are given up",
        };
        self.disk_changed(old, new, why);
    }

    fn set_bits_to_copy(&mut self) {
        let all = match self.invalidation.extent {
            Extent::Everything => true,
            Extent::Marked => self.breaks(Mutation::RepairCopiesAll),
        };
        if let Some(disk) = self.replica.writable().filter(|_| all) {
            disk.bitmap.set_all();
        }
        if self.breaks(Mutation::FoundBitsStayInMemory) {
            return;
        }
        self.persist_bitmap();
    }

    pub(super) fn given_up(&mut self, link: LinkId) {
        if let Some(command) = self.invalidation.command.take() {
            self.answer(command, Ok(()));
        }
        if self.is_session(link) {
            // A source that has lost its disk meanwhile must not count on this one.
            self.send_state();
            if self.invalidation.begins == Some(End::Target) {
                self.send(Message::SyncAsk { refusal: None });
            }
        }
    }

    /// The peer has given its data up, durably: this node is the source. Writes go on meanwhile,
    /// mirrored.
    pub(super) fn sync_ask_received(&mut self, refusal: Option<String>) {
        if let Some(text) = refusal {
            // Crossing: what it refuses is an offer that this node has dropped, or has made before
            // it gave its data up for the peer's own wish.
            let dropped = std::mem::take(&mut self.invalidation.dropped);
            let given_up = self.invalidation.begins == Some(End::Target);
            if !dropped && (!given_up || self.breaks(Mutation::RefusalEndsConsent)) {
                self.invalidation_refused(text);
            }
            return;
        }
        if let Some(command) = self.invalidation.command.take() {
            self.answer(command, Ok(()));
        }
        let Some(session) = &self.peer.session else { return };
        let link = session.link;
        let agreed = self.invalidation.begins == Some(End::Source);
        if !agreed || self.replica.state() != DiskState::UpToDate {
            self.drop_session("the peer gave its data up, and this node has none to copy");
            return;
        }
        let text = match self.invalidation.extent {
            Extent::Everything => "the peer's data were given up; everything is copied to it",
            Extent::Marked => "what is marked on either node is copied to the peer",
        };
        self.notice(Level::Warning, text);
        self.set_bits_to_copy();
        self.flush_then(AfterFlush::SyncStart(link));
    }

    fn invalidation_refused(&mut self, text: String) {
        self.repair_not_begun(&text);
        if let Some(command) = std::mem::take(&mut self.invalidation).command {
            self.answer(command, Err(state(text)));
        }
        self.resume_parked();
    }

    /// On a finished handshake: the resync begins now.
    pub(super) fn invalidation_began(&mut self) {
        self.invalidation = Invalidation::default();
        self.resume_parked();
    }

    /// The connection is over: what it was to do is done by the next handshake.
    pub(super) fn invalidation_ends(&mut self) {
        let given_up = self.invalidation.begins == Some(End::Target);
        let Some(command) = std::mem::take(&mut self.invalidation).command else { return };
        // Given up, the bits and the mark are on their way to the disk, whatever becomes of the
        // link.
        let result = if given_up {
            Ok(())
        } else {
            let peer = self.settings.peer_name();
            let text = format!("the connection to {peer} was lost; try again when it is back");
            Err(state(text))
        };
        self.answer(command, result);
    }
}

impl Invalidation {
    /// This node has agreed to be the source, and the resync has not begun.
    pub(super) const fn holds_writes(&self) -> bool {
        matches!(self.begins, Some(End::Source))
    }

    pub(super) const fn is_busy(&self) -> bool {
        self.command.is_some() || self.begins.is_some()
    }
}
