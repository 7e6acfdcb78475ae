//! The disk's coming and going: marks at attach (D8, D13), what a failure means.

use super::Node;
use super::peer::Intent;
use super::persist::Then;
use super::replica::{Attached, Replica, found_at_attach};
use super::route::AfterFlush;
use crate::event::{DiskImage, Event, Level, Refusal, RefusalClass};
use crate::message::Message;
use crate::mutation::Mutation;
use crate::settings::Fencing;
use crate::state::{DiskState, Role};
use metadata::activity_log::Transaction;
use metadata::bitmap::Bitmap;
use metadata::hot_extents::HotExtents;
use metadata::page::Page;
use metadata::units::{PAGE_BYTES, device_blocks};

impl Node {
    /// Takes a disk on. Order (D8): flush what a predecessor may have left in its cache, bits,
    /// marks, then use it.
    pub(super) fn attach(&mut self, image: DiskImage) {
        self.forget_failed_disk();
        assert!(
            matches!(self.replica, Replica::Diskless),
            "invariant: a disk is attached to a diskless node"
        );
        let mut superblock = image.superblock.clone();
        let size_bytes = match superblock.device_bytes {
            0 => superblock.capacity_bytes,
            agreed => agreed,
        };
        let mut found = found_at_attach(&image, device_blocks(size_bytes));
        if self.breaks(Mutation::TornTransactionIsRot) && has_a_bad_page(&image) {
            found.bitmap = Bitmap::all_set(device_blocks(size_bytes));
        }
        for reason in &found.notices {
            self.notice(Level::Warning, format!("counts as out of sync: {reason}"));
        }
        self.startup_found(&superblock.flags);
        self.resume_if_same_boot(&superblock, image.boot_id);
        let peer_outdated = superblock.flags.peer_outdated;
        self.peer.known_disk = peer_outdated.then_some(DiskState::Outdated);
        let trusted = peer_outdated
            || self.settings.disk.fencing == Fencing::DontCare
            || self.breaks(Mutation::FencedAlone);
        let crashed = superblock.flags.primary;
        let unclean = !superblock.flags.bitmap_clean && superblock.attach_number > 0;
        if unclean
            && superblock.boot_id != image.boot_id
            && !self.breaks(Mutation::LostPowerForgotten)
        {
            superblock.flags.lost_power = !self.breaks(Mutation::CrashedIsSource);
        } else if self.breaks(Mutation::LostPowerClearedByAttach) {
            superblock.flags.lost_power = false;
        }
        superblock.flags.peer_may_hold_current &= !self.breaks(Mutation::MayHoldMarkForgotten);
        let trusted = trusted
            && !(self.breaks(Mutation::CrashedWaitsForPeer)
                && crashed
                && superblock.flags.lost_power);
        superblock.flags.crashed_primary |= crashed && !self.breaks(Mutation::CrashForgotten);
        if superblock.met.superblock == superblock.sequence {
            // It was connected when this was written: the log, too, is as the peer knows it (G8).
            let newest = found.next_sequence.saturating_sub(1);
            superblock.met.log = superblock.met.log.max(newest);
        }
        // Under a live Primary the peer's data go on; these are older (D10).
        superblock.flags.was_up_to_date &= self.role == Role::Secondary;
        superblock.logical_block_bytes =
            superblock.logical_block_bytes.max(image.logical_block_bytes);
        self.replica = Replica::Attaching(Box::new(Attached {
            superblock,
            layout: image.layout,
            bitmap: found.bitmap,
            log: HotExtents::new(image.layout.log, found.next_sequence),
            logical_block_bytes: image.logical_block_bytes,
            zeroes_cheaply: image.zeroes_cheaply,
            trusted,
        }));
        for offsets in image.stale_superblocks {
            // Inside of the agreed size there are data (D20).
            if offsets[0] >= size_bytes {
                self.void_superblocks(offsets, None);
            }
        }
        self.disk_changed(DiskState::Diskless, DiskState::Attaching, "the disk is open");
        self.attach_marks(image.boot_id, found.log_used);
    }

    fn attach_marks(&mut self, boot_id: [u8; 16], log_used: bool) {
        if log_used && self.breaks(Mutation::LogEmptiedFirst) {
            self.empty_log();
        }
        // Pages carry the attach number, so it is raised before the first one is written.
        self.persist_superblock(
            |superblock| {
                superblock.attach_number += 1;
                superblock.boot_id = boot_id;
                superblock.flags.bitmap_clean = false;
            },
            None,
        );
        if self.breaks(Mutation::LogEmptiedBeforeBits) && log_used {
            self.empty_log();
        }
        self.persist_bitmap();
        if log_used {
            self.empty_log();
        }
        let primary = self.role == Role::Primary;
        self.persist_superblock(|superblock| superblock.flags.primary = primary, None);
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
                self.attach_over(Err(Refusal {
                    class: RefusalClass::NoGoodData,
                    text: "the disk failed while it was attached; see the log".into(),
                }));
                return;
            }
        };
        let state = self.replica.state();
        self.disk_changed(DiskState::Attaching, state, "its metadata say so");
        if self.leaving.is_none() && matches!(self.peer.intent, Intent::Waiting) {
            self.connect();
        }
        self.attach_over(Ok(()));
        if self.peer.session.is_some() {
            // What was said on this connection was said without the disk.
            self.reconnect("the disk is attached; the two must compare their data anew");
        }
        self.resume_begin();
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

/// For the simulator: a page of the log fails its check, the one that a power cut may have torn
/// included (F19a).
fn has_a_bad_page(image: &DiskImage) -> bool {
    let (owner, log) = (image.superblock.identity(), image.layout.log);
    (0_u64..).zip(image.log_ring.chunks_exact(PAGE_BYTES)).any(|(ring_index, bytes)| {
        let page = <&Page>::try_from(bytes).expect("invariant: a page has its size");
        Transaction::decode(page, ring_index, &owner, log).is_err()
    })
}
