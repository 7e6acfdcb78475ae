//! The disk's coming and going: marks at attach (D8, D13), what a failure means.

use super::Node;
use super::peer::Intent;
use super::persist::Then;
use super::promote::RoleChange;
use super::replica::{Attached, Replica, found_at_attach};
use super::route::AfterFlush;
use crate::block_set::BlockSet;
use crate::event::{DiskImage, Event, Level, Output, Refusal, RefusalClass};
use crate::message::Message;
use crate::state::{DiskState, Role};
use crate::timers::Timer;
use metadata::hot_extents::HotExtents;
use metadata::units::device_blocks;

impl Node {
    /// Takes a disk on. Order (D8): flush what a predecessor may have left in its cache, bits,
    /// marks, then use it.
    pub(super) fn attach(&mut self, image: DiskImage) {
        assert!(
            matches!(self.replica, Replica::Diskless),
            "invariant: a disk is attached to a diskless node"
        );
        let mut superblock = image.superblock.clone();
        let size_bytes = match superblock.device_bytes {
            0 => superblock.capacity_bytes,
            agreed => agreed,
        };
        let found = found_at_attach(&image, device_blocks(size_bytes));
        for reason in &found.notices {
            self.notice(Level::Warning, format!("counts as out of sync: {reason}"));
        }
        let crashed = superblock.flags.primary;
        let unclean = !superblock.flags.bitmap_clean && superblock.attach_number > 0;
        if unclean && superblock.boot_id != image.boot_id {
            superblock.flags.lost_power = true;
        }
        superblock.flags.crashed_primary |= crashed;
        if superblock.met.superblock == superblock.sequence {
            // It was connected when this was written: the log, too, is as the peer knows it (G8).
            let newest = found.next_sequence.saturating_sub(1);
            superblock.met.log = superblock.met.log.max(newest);
        }
        superblock.logical_block_bytes =
            superblock.logical_block_bytes.max(image.logical_block_bytes);
        self.replica = Replica::Attaching(Box::new(Attached {
            superblock,
            layout: image.layout,
            bitmap: found.bitmap,
            log: HotExtents::new(image.layout.log, found.next_sequence),
            logical_block_bytes: image.logical_block_bytes,
            zeroes_cheaply: image.zeroes_cheaply,
        }));
        self.disk_changed(DiskState::Diskless, DiskState::Attaching, "the disk is open");
        self.attach_marks(image.boot_id, found.log_used);
    }

    fn attach_marks(&mut self, boot_id: [u8; 16], log_used: bool) {
        // Pages carry the attach number, so it is raised before the first one is written.
        self.persist_superblock(
            |superblock| {
                superblock.attach_number += 1;
                superblock.boot_id = boot_id;
                superblock.flags.bitmap_clean = false;
            },
            None,
        );
        self.persist_bitmap();
        if log_used {
            self.empty_log();
        }
        self.persist_superblock(|superblock| superblock.flags.primary = false, None);
        self.flush_then(AfterFlush::Attach);
    }

    pub(super) fn attach_flushed(&mut self) {
        self.persist_superblock(|_| {}, Some(Then::Attached));
    }

    pub(super) fn attached(&mut self) {
        self.replica = match std::mem::take(&mut self.replica) {
            Replica::Attaching(disk) => Replica::Attached(disk),
            // It failed meanwhile.
            other @ (Replica::Diskless | Replica::Failed(_) | Replica::Attached(_)) => {
                self.replica = other;
                return;
            }
        };
        let state = self.replica.state();
        self.disk_changed(DiskState::Attaching, state, "its metadata say so");
        if self.leaving.is_none() && matches!(self.peer.intent, Intent::Waiting) {
            self.connect();
        }
        self.leave_when_quiet();
    }

    /// The disk is given up. What it holds counts for nothing until it is attached again; a Primary
    /// cannot serve.
    pub(super) fn disk_failed(&mut self, what: &str, errno: i32) {
        if self.replica.is_gone() {
            return;
        }
        let old = self.replica.state();
        self.replica = match std::mem::take(&mut self.replica) {
            Replica::Attached(disk) | Replica::Attaching(disk) | Replica::Failed(disk) => {
                Replica::Failed(disk)
            }
            Replica::Diskless => Replica::Diskless,
        };
        let reason = format!("a {what} failed with error {errno}");
        self.disk_changed(old, DiskState::Failed, &reason);
        self.disk_changed(DiskState::Failed, DiskState::Diskless, "it is given up");
        self.notice(
            Level::Error,
            format!(
                "the local disk is given up: {reason}; replace it, run 'blkrep down', 'blkrep create-md' and \
                 'blkrep up' to copy everything from the peer"
            ),
        );
        self.wish(Output::CloseDisk);
        self.sync_stop();
        self.unflushed = BlockSet::default();
        self.pairs.forget_unflushed();
        self.timers.stop(Timer::Flush);
        self.generation_pending = false;
        if self.role == Role::Primary {
            self.fail_everything();
        }
        self.role_change_without_disk();
        self.send_state();
        // A handshake may have waited for the generation; a connection for the attachment.
        self.send_data_when_settled();
        if matches!(self.peer.intent, Intent::Waiting) && self.leaving.is_none() {
            self.connect();
        }
    }

    pub(super) fn disk_open_failed(&mut self, reason: &str) {
        self.notice(Level::Error, format!("the disk was not attached: {reason}"));
    }

    /// Nothing of the disk that was given up can reach it any more.
    pub(super) fn disk_closed(&mut self) {
        self.leave_when_quiet();
    }

    /// No change of role can go on without the disk; each is answered.
    fn role_change_without_disk(&mut self) {
        match self.role_change {
            RoleChange::None | RoleChange::FlushingBoth { .. } => {}
            RoleChange::AfterHandshake { command, .. }
            | RoleChange::Asked { command, .. }
            | RoleChange::Quieting { command, .. }
            | RoleChange::Flushing { command, .. }
            | RoleChange::Marking { command, .. } => {
                let text = format!("the disk of {} failed", self.settings.my_name());
                let refusal = Refusal { class: RefusalClass::NoGoodData, text };
                self.role_change_ends(command, Err(refusal));
            }
            RoleChange::Draining { .. } => self.demote_when_quiet(),
            RoleChange::Unmarking { .. } => self.demote_failed("the local disk failed"),
        }
    }

    /// Tells the peer, if it is connected, what this node is now.
    pub(super) fn send_state(&mut self) {
        if self.peer.is_connected() {
            let message = Message::State { role: self.role, disk: self.replica.state() };
            self.send(message);
        }
    }

    pub(super) fn disk_changed(&mut self, old: DiskState, new: DiskState, reason: &str) {
        if old != new {
            self.tell(Event::Disk { old, new, reason: reason.into() });
        }
    }
}
