//! The activity log on the write path: no byte of a write goes anywhere before its extents are in
//! the log on stable storage (D1), and what leaves the log is durable or marked (D5).

use super::Node;
use super::flush::Pairs;
use super::persist::Then;
use crate::block_set::BlockSet;
use crate::mutation::Mutation;
use metadata::activity_log::format;
use metadata::hot_extents::HotExtents;
use metadata::page::Page;
use metadata::units::{BlockRange, ByteRange, EXTENT_BLOCKS};
use std::collections::VecDeque;
use std::time::Duration;

/// An extent that nobody wrote to for so long leaves with the next transaction that is written
/// anyway.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// Whose write waits for the log, by its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogUser {
    /// A client's.
    Write(u64),
    /// The peer's, while it has no disk of its own (D10).
    Guest(u64),
}

/// Writes that wait for the log.
#[derive(Debug, Default)]
pub(super) struct LogQueue {
    /// Want slots, in order.
    wanting: VecDeque<(LogUser, ByteRange)>,
    /// Have slots, and wait until those are durable.
    settling: Vec<(LogUser, ByteRange)>,
}

impl LogQueue {
    /// The disk is gone, and its log with it: whoever waited for either.
    pub(super) fn take_all(&mut self) -> Vec<LogUser> {
        let waiting = std::mem::take(&mut self.wanting).into_iter();
        waiting.chain(std::mem::take(&mut self.settling)).map(|(user, _)| user).collect()
    }
}

/// First and last extent of a range. The log numbers extents with 32 bits (16 EiB).
fn extents_of(range: ByteRange) -> (u32, u32) {
    let (first, last) = range.extents();
    let narrow =
        |extent: u64| u32::try_from(extent).expect("invariant: the layout bounds the device");
    (narrow(first), narrow(last))
}

impl Node {
    /// True when the write may go on at once: all its extents are hot and now held for it.
    /// Otherwise it will be started again when they are. Nobody overtakes a write that waits for
    /// slots, so that none starves.
    pub(super) fn log_take(&mut self, user: LogUser, range: ByteRange) -> bool {
        let (first, last) = extents_of(range);
        if self.breaks(Mutation::SkipLogWrite) {
            return true;
        }
        let may_go = !self.must_flush_first();
        let in_turn =
            self.writes.log_queue.wanting.is_empty() || self.breaks(Mutation::SlotsOutOfOrder);
        let Some(disk) = self.replica.writable() else { return true };
        if may_go && in_turn && disk.log.touch(first, last) {
            return true;
        }
        self.writes.log_queue.wanting.push_back((user, range));
        self.log_pump();
        false
    }

    pub(super) fn log_give_back(&mut self, range: ByteRange) {
        let (first, last) = extents_of(range);
        let now = self.now.0;
        if self.breaks(Mutation::SkipLogWrite) {
            return;
        }
        if let Some(disk) = self.replica.writable() {
            disk.log.release(first, last, now);
        }
        self.log_pump();
    }

    /// Gives slots to those who want them, as far as there are any, and writes the next
    /// transaction.
    pub(super) fn log_pump(&mut self) {
        let mut tries = self.writes.log_queue.wanting.len();
        while let Some((user, range)) = self.writes.log_queue.wanting.front().copied() {
            if self.must_flush_first() {
                self.flush_unasked();
                break;
            }
            let (first, last) = extents_of(range);
            let (unflushed, pairs, law) = (&self.unflushed, &self.pairs, self.eviction_law());
            let may_leave = |extent: u32| !holds(unflushed, pairs, extent, law);
            let Some(disk) = self.replica.writable() else { return };
            if !disk.log.reserve(first, last, may_leave) {
                // What stands in the way is in use, or waits for a flush.
                self.flush_unasked();
                if tries > 0 && self.breaks(Mutation::SlotsOutOfOrder) {
                    tries -= 1;
                    self.writes.log_queue.wanting.rotate_left(1);
                    continue;
                }
                break;
            }
            self.writes.log_queue.wanting.pop_front();
            self.writes.log_queue.settling.push((user, range));
        }
        self.log_commit();
        self.log_settle();
    }

    /// Writes what waits as one transaction (group commit), if none is under way. The bits of what
    /// leaves go first (D5).
    fn log_commit(&mut self) {
        let idle_since =
            self.now.0.saturating_sub(IDLE_MAX.as_micros().try_into().unwrap_or(u64::MAX));
        let (unflushed, pairs, law) = (&self.unflushed, &self.pairs, self.eviction_law());
        let bits_first = !self.breaks(Mutation::BitsAfterEviction);
        let Some(disk) = self.replica.writable() else { return };
        if !disk.log.wants_transaction() {
            return;
        }
        disk.log.retire(idle_since, |extent| !holds(unflushed, pairs, extent, law));
        let mut writes: Vec<(u64, Vec<u8>)> = Vec::new();
        let identity = disk.superblock.identity();
        let (transaction, left) = disk.log.begin_transaction();
        for extent in left {
            let first = u64::from(extent) * EXTENT_BLOCKS;
            let last = (first + EXTENT_BLOCKS).min(disk.bitmap.blocks());
            let blocks = BlockRange { first, count: last - first };
            for page in page_numbers(blocks) {
                if bits_first && disk.bitmap.next_dirty_page(page) == Some(page) {
                    let bytes = disk.bitmap.encode_page(page, &identity);
                    writes.push((disk.layout.bitmap_page_offset(page), bytes.to_vec()));
                }
            }
        }
        let log_page: Box<Page> = transaction.encode(disk.layout.log, &identity);
        let log_offset = disk.layout.ring_page_offset(transaction.sequence());
        for (offset_bytes, page) in writes {
            self.metadata_write(offset_bytes, page, None);
        }
        self.counters.log_transactions += 1;
        let io = self.metadata_write(log_offset, log_page.to_vec(), Some(Then::Logged));
        self.log_will_be_durable(io);
    }

    /// The transaction under way is durable.
    pub(super) fn logged(&mut self) {
        if let Some(disk) = self.replica.writable() {
            disk.log.transaction_durable();
        }
        self.log_pump();
    }

    /// Starts the writes all of whose extents are durably hot now.
    fn log_settle(&mut self) {
        let settling = std::mem::take(&mut self.writes.log_queue.settling);
        let mut ready = Vec::new();
        for (user, range) in settling {
            let (first, last) = extents_of(range);
            let Some(disk) = self.replica.attached() else { return };
            if disk.log.is_hot(first, last) {
                ready.push(user);
            } else {
                self.writes.log_queue.settling.push((user, range));
            }
        }
        for user in ready {
            match user {
                LogUser::Write(key) => {
                    self.write_logged(key);
                    self.write_start(key);
                }
                LogUser::Guest(key) => self.guest_logged(key),
            }
        }
    }

    fn eviction_law(&self) -> EvictionLaw {
        if self.breaks(Mutation::LogFillsAlone) && !self.peer.has_disk() {
            EvictionLaw::Nothing
        } else if self.breaks(Mutation::UnflushedLeavesLog) {
            EvictionLaw::None
        } else if self.breaks(Mutation::PeerFlushLeavesLog) {
            EvictionLaw::PeerOnly
        } else {
            EvictionLaw::Both
        }
    }

    /// Three quarters of the log's slots cannot be taken before a flush: time for one (D4).
    pub(super) fn log_is_mostly_unflushed(&self) -> bool {
        self.replica
            .attached()
            .is_some_and(|disk| self.unflushed.extents() * 4 >= usize::from(disk.log.slots()) * 3)
    }

    /// Empties the log: what was in it is durable, or its bits are (D5, D8). Sequence numbers go
    /// on.
    pub(super) fn empty_log(&mut self) {
        let Some(disk) = self.replica.writable() else { return };
        let (geometry, identity) = (disk.layout.log, disk.superblock.identity());
        let first_sequence = disk.log.next_sequence();
        let pages = format(first_sequence, &identity, geometry);
        let next_sequence = first_sequence + pages.len() as u64;
        disk.log = HotExtents::new(geometry, next_sequence);
        let writes: Vec<(u64, Vec<u8>)> = pages
            .into_iter()
            .map(|(sequence, page)| (disk.layout.ring_page_offset(sequence), page.to_vec()))
            .collect();
        for (offset_bytes, page) in writes {
            self.metadata_write(offset_bytes, page, None);
        }
    }
}

/// Whose flushes an extent waits for. Anything but `Both` breaks D5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EvictionLaw {
    Both,
    PeerOnly,
    None,
    /// Nothing may leave at all.
    Nothing,
}

/// True when something in the extent is written and not flushed: it must not leave the log (D5).
fn holds(unflushed: &BlockSet, pairs: &Pairs, extent: u32, law: EvictionLaw) -> bool {
    let extent = u64::from(extent);
    match law {
        EvictionLaw::Both => unflushed.has_extent(extent) || pairs.seals_extent(extent),
        EvictionLaw::PeerOnly => unflushed.has_extent(extent) || pairs.seals_extent_on_peer(extent),
        EvictionLaw::None => false,
        EvictionLaw::Nothing => true,
    }
}

fn page_numbers(blocks: BlockRange) -> std::ops::RangeInclusive<u64> {
    use metadata::bitmap::Bitmap;
    Bitmap::page_of(blocks.first)..=Bitmap::page_of(blocks.end() - 1)
}
