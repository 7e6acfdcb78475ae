//! The part of a resize that both nodes do on their own disk (rule D20): metadata complete at the
//! new end, the superblock there, the old one voided; bits of the new part set, or the part zeroed.

use super::Node;
use super::disk_loss::DiskFault;
use super::persist::Then;
use super::route::{AfterFlush, Purpose};
use crate::event::{IoOutcome, Output};
use crate::mutation::Mutation;
use crate::settings::ZERO_PIECE_BYTES_MAX;
use metadata::layout::Layout;
use metadata::units::{BLOCK_BYTES, ByteRange, PAGE_BYTES, device_blocks};

/// The size that both nodes shall have, and where this node's metadata lie then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Proposal {
    pub(super) layout: Layout,
    pub(super) size_bytes: u64,
    /// The new part is zeroed instead of being copied.
    pub(super) assume_clean: bool,
}

impl Node {
    /// The first step. Nothing else uses the disk's metadata meanwhile: clients wait and the log is
    /// empty. Each write is durable before the next begins, so whatever interrupts them leaves
    /// either the old metadata or the new ones whole.
    pub(super) fn resize_prepare(&mut self, proposal: Proposal) {
        let attempt = self.resize.attempt;
        let unsafely = self.breaks(Mutation::ResizeWithoutBits);
        let Some(disk) = self.replica.writable() else { return };
        let (old, old_bytes) = (disk.layout, disk.size_bytes());
        let new = proposal.layout;
        disk.bitmap.resize(device_blocks(proposal.size_bytes));
        let part = ByteRange::new(old_bytes, proposal.size_bytes - old_bytes);
        if !proposal.assume_clean && !unsafely {
            disk.bitmap.set(part.blocks_touched());
        } else if let Some(shared) = shared_block(old_bytes, proposal.size_bytes) {
            // The block that has data as well is not zeroed.
            disk.bitmap.set(shared.blocks_touched());
        }
        let moves = old.moves_to(&new);
        if moves {
            for page in 0..disk.bitmap.page_count() {
                disk.bitmap.mark_dirty(page);
            }
        }
        disk.layout = new;
        self.persist_bitmap();
        if moves {
            self.empty_log();
        }
        let then = Then::ResizePrepared { attempt };
        self.persist_superblock(
            |superblock| {
                superblock.capacity_bytes = new.data_bytes;
                superblock.proposed_bytes = proposal.size_bytes;
            },
            Some(then).filter(|_| !moves),
        );
        if moves {
            self.void_superblocks(old.superblock_offsets, Some(then));
        }
    }

    /// Zeroes a pair of superblocks that does not count any more, one after the other.
    pub(super) fn void_superblocks(&mut self, offsets: [u64; 2], then: Option<Then>) {
        let [first, second] = offsets;
        self.metadata_write(first, vec![0; PAGE_BYTES], None);
        self.metadata_write(second, vec![0; PAGE_BYTES], then);
    }

    /// The metadata are durable; with `--assume-clean` the new part is zeroed now.
    pub(super) fn resize_metadata_durable(&mut self, attempt: u64) {
        if attempt != self.resize.attempt {
            return;
        }
        let Some(proposal) = self.resize_proposal() else { return };
        let Some(disk) = self.replica.attached() else { return };
        let old_bytes = disk.size_bytes();
        if proposal.assume_clean {
            let from =
                shared_block(old_bytes, proposal.size_bytes).map_or(old_bytes, ByteRange::end);
            self.resize_zero(from, attempt);
        } else {
            self.resize_prepared(attempt);
        }
    }

    /// Zeroes the next piece, or flushes when there is none.
    fn resize_zero(&mut self, from: u64, attempt: u64) {
        let Some(proposal) = self.resize_proposal() else { return };
        if from >= proposal.size_bytes {
            self.flush_then(AfterFlush::ResizeZeroed { attempt });
            return;
        }
        let bytes = (proposal.size_bytes - from).min(ZERO_PIECE_BYTES_MAX);
        let range = ByteRange::new(from, bytes);
        let io = self.io(Purpose::ResizeZero { attempt, end: range.end() });
        self.wish(Output::DiskZero { io, range, fua: false, may_unmap: true });
    }

    pub(super) fn resize_zero_done(&mut self, attempt: u64, end: u64, outcome: IoOutcome) {
        if let IoOutcome::Failed { errno } = outcome {
            self.disk_failed(DiskFault::Write, errno);
        } else if attempt == self.resize.attempt {
            self.resize_zero(end, attempt);
        }
    }

    pub(super) fn resize_zeroed(&mut self, attempt: u64) {
        if attempt == self.resize.attempt && self.replica.attached().is_some() {
            self.resize_prepared(attempt);
        }
    }

    fn resize_prepared(&mut self, attempt: u64) {
        if self.resize.is_under_way() {
            self.resize_prepared_here(attempt);
        } else {
            self.resize_prepared_for_peer();
        }
    }

    /// A resize is over, in whatever way: the bitmap in memory covers what is agreed. Bits that lie
    /// above it on the disk are dropped by the next attach.
    pub(super) fn bitmap_has_agreed_size(&mut self) {
        let Some(disk) = self.replica.writable() else { return };
        let blocks = device_blocks(disk.size_bytes());
        if disk.bitmap.blocks() != blocks {
            disk.bitmap.resize(blocks);
        }
    }
}

/// The part of the last old block that the new part begins with, if the old size ends inside of a
/// block.
fn shared_block(old_bytes: u64, new_bytes: u64) -> Option<ByteRange> {
    let end = old_bytes.next_multiple_of(BLOCK_BYTES).min(new_bytes);
    (end > old_bytes).then(|| ByteRange::new(old_bytes, end - old_bytes))
}
