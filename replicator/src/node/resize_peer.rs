//! Growing the device, as the Secondary takes part in it, and what the two do about a resize that
//! broke off when they meet again (rule D20).

use super::Node;
use super::peer::{Plan, With};
use super::persist::Then;
use super::replica::Attached;
use super::resize_disk::Proposal;
use crate::event::{Level, Output};
use crate::generation::{Decision, End};
use crate::ids::LinkId;
use crate::message::Message;
use crate::mutation::Mutation;
use crate::size::KnownSize;
use crate::state::Role;
use metadata::layout::Layout;
use metadata::units::{ByteRange, device_blocks};

/// What the Primary has this node do.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Led {
    #[default]
    Nothing,
    /// Measuring.
    Measuring,
    /// Measured; so it can be laid out.
    Measured(Layout),
    /// First step.
    Preparing(Proposal),
    /// Second step; the size before it in bytes.
    Committing { from_bytes: u64 },
}

impl Node {
    /// The proposal under way, own or the peer's.
    pub(super) const fn resize_proposal(&self) -> Option<Proposal> {
        match self.resize.led {
            Led::Preparing(proposal) => Some(proposal),
            Led::Nothing | Led::Measuring | Led::Measured(_) | Led::Committing { .. } => {
                self.resize.own_proposal()
            }
        }
    }

    pub(super) fn resize_ask_received(&mut self) {
        if self.role == Role::Primary {
            self.drop_session("the peer wants a Primary to follow its resize");
            return;
        }
        self.resize.led = Led::Measuring;
        self.wish(Output::MeasureDisk);
    }

    pub(super) fn resize_tell_room(&mut self, layout: Result<Layout, String>) {
        if !matches!(self.resize.led, Led::Measuring) {
            // For a resize that is off.
            return;
        }
        let (room_bytes, refusal) = match layout {
            Ok(layout) => {
                self.resize.led = Led::Measured(layout);
                (layout.data_bytes, None)
            }
            Err(why) => {
                self.resize.led = Led::Nothing;
                (0, Some(why))
            }
        };
        self.send(Message::ResizeRoom { room_bytes, refusal });
    }

    pub(super) fn resize_prepare_received(&mut self, size_bytes: u64, assume_clean: bool) {
        let now_bytes = self.replica.attached().map_or(0, Attached::size_bytes);
        match self.resize.led {
            Led::Measured(layout) if size_bytes > now_bytes && size_bytes <= layout.data_bytes => {
                self.resize.attempt += 1;
                let proposal = Proposal { layout, size_bytes, assume_clean };
                self.resize.led = Led::Preparing(proposal);
                self.resize_prepare(proposal);
            }
            // The disk failed meanwhile; the Primary has been told.
            Led::Nothing if self.replica.attached().is_none() => {}
            Led::Nothing
            | Led::Measuring
            | Led::Measured(_)
            | Led::Preparing(_)
            | Led::Committing { .. } => self.drop_session("a step of a resize came out of turn"),
        }
    }

    pub(super) fn resize_prepared_for_peer(&mut self) {
        if matches!(self.resize.led, Led::Preparing(_)) {
            self.send(Message::ResizePrepared);
        }
    }

    /// The size is agreed, and the Primary may use it when this is durable. Whether it does is not
    /// known here: until then the size counts as proposed, too.
    pub(super) fn resize_commit_received(&mut self) {
        let Led::Preparing(proposal) = self.resize.led else {
            if self.replica.attached().is_some() {
                self.drop_session("a step of a resize came out of turn");
            }
            return;
        };
        let Some(link) = self.peer.session.as_ref().map(|session| session.link) else { return };
        let Some(disk) = self.replica.attached() else { return };
        self.resize.led = Led::Committing { from_bytes: disk.size_bytes() };
        self.persist_superblock(
            |superblock| superblock.device_bytes = proposal.size_bytes,
            Some(Then::ResizeLed(link)),
        );
    }

    pub(super) fn resize_led_durable(&mut self, link: LinkId) {
        if self.is_session(link) && matches!(self.resize.led, Led::Committing { .. }) {
            self.send(Message::ResizeCommitted);
        }
    }

    /// Both have committed: should the own disk leave, the device is as large as the peer's.
    pub(super) fn peer_has_own_size(&mut self) {
        let Some(size_bytes) = self.replica.attached().map(Attached::size_bytes) else { return };
        if self.breaks(Mutation::ResizeForgottenWithoutDisk) {
            return;
        }
        if let Some(peer) = self.peer.connected_mut() {
            peer.size_bytes = size_bytes;
            // The resync of the new part begins from what was said in the handshake.
            peer.with.parameters.agreed_bytes = size_bytes;
        }
    }

    pub(super) fn resize_end_received(&mut self, done: bool) {
        match (std::mem::take(&mut self.resize.led), done) {
            (Led::Committing { .. }, true) => {
                self.persist_superblock(|superblock| superblock.proposed_bytes = 0, None);
                self.peer_has_own_size();
                self.resync_in_session(End::Target);
            }
            (Led::Committing { from_bytes }, false) => {
                // Nobody has written above the former size: the Primary has not committed.
                self.persist_superblock(
                    |superblock| {
                        superblock.device_bytes = from_bytes;
                        superblock.proposed_bytes = 0;
                    },
                    None,
                );
                self.bitmap_has_agreed_size();
            }
            (Led::Nothing | Led::Measuring | Led::Measured(_) | Led::Preparing(_), false) => {
                self.bitmap_has_agreed_size();
            }
            // The disk failed meanwhile. The size is known again when the two have met.
            (Led::Nothing, true) if self.replica.attached().is_none() => {
                self.drop_session_to_meet_again("the device has grown without this node's disk");
            }
            (Led::Nothing | Led::Measuring | Led::Measured(_) | Led::Preparing(_), true) => {
                self.drop_session("the end of a resize came out of turn");
            }
        }
    }

    /// The session or the own disk is gone: nobody leads any more. A commit stays.
    pub(super) fn resize_not_led(&mut self) {
        self.resize.led = Led::Nothing;
        self.bitmap_has_agreed_size();
    }

    /// Copies what the bitmaps say from the Primary without leaving the connection. Both nodes come
    /// here at the same point of the stream.
    pub(super) fn resync_in_session(&mut self, end: End) {
        let differs = self.replica.attached().is_some_and(|disk| !disk.bitmap.all_clear());
        let Some(disk) = self.replica.attached() else { return };
        let generations = disk.superblock.generations;
        let Some(connected) = self.peer.connected() else { return };
        if !differs {
            return;
        }
        let mut with: With = connected.with.clone();
        if let Some(data) = &mut with.data {
            // Both are UpToDate, so both have the same generation.
            data.generations.current = Self::without_primary_bit(generations.current);
            (data.role, data.disk) = (connected.role, connected.disk);
        }
        let decision = Decision::agreed(end, generations);
        let old = self.peer.connection_state();
        self.begin_bitmaps(with, Plan { decision, end: Some(end) });
        self.connection_changed(old, "the new part of the device is to be copied");
        self.timers.set(crate::timers::Timer::Handshake, self.now.after(self.handshake_timeout()));
    }

    /// What this node knows of the device's size.
    pub(super) fn known_size(&self) -> KnownSize {
        self.replica.attached().map_or(KnownSize { agreed: 0, proposed: 0 }, |disk| KnownSize {
            agreed: disk.superblock.device_bytes,
            proposed: disk.superblock.proposed_bytes,
        })
    }

    /// Takes the size on which both nodes go on. Bits of a part that is new here are durable before
    /// it is.
    pub(super) fn take_size(
        &mut self,
        size_bytes: u64,
        logical_block_bytes: u32,
        theirs: KnownSize,
    ) {
        let mine = self.known_size();
        if mine.is_pending() && mine != theirs && self.breaks(Mutation::ResizeKeepsLarger) {
            return;
        }
        // A proposal is forgotten when the peer is known to be past it.
        let proposed =
            if mine.agreed == size_bytes && theirs.agreed != size_bytes && theirs.agreed != 0 {
                mine.proposed
            } else {
                0
            };
        let Some(disk) = self.replica.writable() else { return };
        let superblock = &disk.superblock;
        if superblock.device_bytes == size_bytes
            && superblock.proposed_bytes == proposed
            && superblock.logical_block_bytes == logical_block_bytes
        {
            return;
        }
        disk.bitmap.resize(device_blocks(size_bytes));
        if mine.agreed != 0 && mine.agreed < size_bytes {
            let part = ByteRange::new(mine.agreed, size_bytes - mine.agreed);
            disk.bitmap.set(part.blocks_touched());
            self.persist_bitmap();
        }
        let is_other_size = mine.agreed != 0 && mine.agreed != size_bytes;
        self.persist_superblock(
            |superblock| {
                superblock.device_bytes = size_bytes;
                superblock.proposed_bytes = proposed;
                superblock.logical_block_bytes = logical_block_bytes;
            },
            is_other_size.then_some(Then::SizeTaken),
        );
        if is_other_size {
            let text = format!(
                "a resize broke off: the device has {size_bytes} bytes now, as on {}",
                self.settings.peer_name()
            );
            self.notice(Level::Warning, text);
            if self.breaks(Mutation::SizeServedEarly) {
                self.export_has_size();
            }
        }
    }
}
