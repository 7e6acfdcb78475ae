//! Bits that are set while connected, outside of a handshake: known to both before a resync ends
//! (D17), and durable before anything is told of them (D7).

use super::Node;
use crate::block_set::BlockSet;
use crate::message::Message;
use crate::mutation::Mutation;
use metadata::bitmap::Bitmap;
use metadata::units::{BlockRange, EXTENT_BLOCKS};

/// Notices that one input may cause; the rest goes with the next ones. They need no buffer at the
/// receiver, and this bounds what they need of the sender's queue (D14).
const NOTICES_AT_ONCE: usize = 64;

impl Node {
    /// These blocks differ or may differ: marks them here, tells the peer, and sees to it that the
    /// bits are on stable storage where no hot extent lies over them, which would bring them back
    /// after a crash. Whoever reports them does it after `persist_superblock` or a later metadata
    /// write is durable.
    pub(super) fn found_out_of_sync(&mut self, blocks: BlockRange) {
        self.mark_out_of_sync(blocks);
        self.persist_uncovered(blocks);
        if self.peer.is_connected() {
            self.notices.insert(blocks);
        }
    }

    /// The peer has found them. It has told us, so it need not be told.
    pub(super) fn out_of_sync_received(&mut self, blocks: BlockRange) {
        if blocks.end() > self.replica.attached().map_or(u64::MAX, |disk| disk.bitmap.blocks()) {
            self.drop_session("an out-of-sync notice lies past the end of the device");
            return;
        }
        self.mark_out_of_sync(blocks);
        self.persist_uncovered(blocks);
        self.progress_sees();
        self.sync_pump();
    }

    /// Sends what was found since, adjacent blocks as one notice. In the one FIFO: before the end
    /// of a resync that is granted later.
    pub(super) fn notices_send(&mut self) {
        if self.notices.is_empty() {
            return;
        }
        if !self.peer.is_connected() {
            // The next handshake tells everything.
            self.notices = BlockSet::default();
            return;
        }
        let runs: Vec<BlockRange> = self.notices.runs().take(NOTICES_AT_ONCE).collect();
        for blocks in runs {
            self.notices.remove(blocks);
            self.send(Message::OutOfSync { blocks });
        }
        if self.notices.is_empty() {
            self.notices = BlockSet::default();
        }
    }

    /// What was found while metadata writes were under way goes to the disk when they are done.
    pub(super) fn persist_found(&mut self) {
        if self.persist.is_idle() && std::mem::take(&mut self.bits_uncovered) {
            self.persist_bitmap();
        }
    }

    /// Writes the pages of the bitmap that hold these blocks, unless all of it lies under extents
    /// that are hot on stable storage (F19e).
    pub(super) fn persist_uncovered(&mut self, blocks: BlockRange) {
        if self.breaks(Mutation::FoundBitsStayInMemory) {
            return;
        }
        if !self.persist.is_idle() {
            // Many notices become one write.
            self.bits_uncovered = true;
            return;
        }
        let Some(disk) = self.replica.writable() else { return };
        let extent = |block: u64| u32::try_from(block / EXTENT_BLOCKS).unwrap_or(u32::MAX);
        if disk.log.is_hot(extent(blocks.first), extent(blocks.end() - 1)) {
            return;
        }
        let identity = disk.superblock.identity();
        let mut writes = Vec::new();
        for page in Bitmap::page_of(blocks.first)..=Bitmap::page_of(blocks.end() - 1) {
            if disk.bitmap.next_dirty_page(page) == Some(page) {
                let bytes = disk.bitmap.encode_page(page, &identity);
                writes.push((disk.layout.bitmap_page_offset(page), bytes.to_vec()));
            }
        }
        for (offset_bytes, page) in writes {
            self.metadata_write(offset_bytes, page, None);
        }
    }
}
