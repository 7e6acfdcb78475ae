//! The target of a resync drives it: asks for what its bitmap says, writes what comes (DESIGN 5,
//! D7).

use super::disk_loss::DiskFault;
use super::progress::Progress;
use super::route::Purpose;
use super::{Node, Sync};
use crate::block_set::BlockSet;
use crate::digest::Digested;
use crate::event::{IoOutcome, Lane, Level, Output, Payload};
use crate::generation::End;
use crate::ids::{BufferId, LinkId, Moment};
use crate::message::{Message, SourceLoad};
use crate::mutation::Mutation;
use crate::overlap::Claim;
use crate::pace::{Pace, SyncLimit};
use crate::settings::SYNC_PIECE_BYTES_MAX;
use crate::timers::Timer;
use metadata::units::{BLOCK_BYTES, BlockRange, ByteRange};
use std::collections::{BTreeMap, VecDeque};

/// Blocks asked for at once.
const PIECE_BLOCKS_MAX: u64 = SYNC_PIECE_BYTES_MAX as u64 / BLOCK_BYTES;
/// Blocks compared at once: one that differs has the others of its piece copied, too.
const COMPARE_BLOCKS_MAX: u64 = 8;

/// One request on its way.
#[derive(Debug)]
struct Wanted {
    range: ByteRange,
    /// It has come and is being written, or the own copy is being read for comparison.
    on_disk: bool,
    /// The peer wrote there since the own copy was read: the digest says nothing any more.
    stale: bool,
}

/// What the target keeps.
#[derive(Debug)]
pub(super) struct Target {
    /// Where the search for the next set bit goes on; one pass from the start to the end, then
    /// again.
    cursor_block: u64,
    /// Blocks of a piece that the source could not read as a whole.
    singly: VecDeque<BlockRange>,
    next_number: u64,
    wanted: BTreeMap<u64, Wanted>,
    /// The source cannot read these.
    unreadable: BlockSet,
    /// Has reported that nothing is left and waits for the answer.
    reported: bool,
    /// Compares before it lets copy.
    compares: bool,
    pace: Pace,
    /// What the source said last.
    source_load: SourceLoad,
    pub(super) progress: Progress,
}

impl Target {
    /// What holds the resync back now.
    pub(super) fn limited_by(&self, now: Moment) -> SyncLimit {
        let on_disk = self.wanted.values().filter(|wanted| wanted.on_disk).count();
        match self.pace.held_by(now) {
            Some(limit) => limit,
            None if on_disk * 2 > self.wanted.len() => SyncLimit::TargetDisk,
            None if self.source_load.disk => SyncLimit::SourceDisk,
            None => SyncLimit::Link,
        }
    }

    /// The next blocks to ask for.
    fn next_run(&self, bitmap: &metadata::bitmap::Bitmap) -> Option<BlockRange> {
        let most = if self.compares { COMPARE_BLOCKS_MAX } else { PIECE_BLOCKS_MAX };
        self.singly.front().copied().or_else(|| bitmap.next_run(self.cursor_block, most))
    }

    /// These are asked for.
    fn step_over(&mut self, run: BlockRange) {
        if self.singly.pop_front().is_none() {
            self.cursor_block = run.end();
        }
    }
}

impl Node {
    pub(super) const fn is_sync_target(&self) -> bool {
        matches!(self.sync, Sync::Target(_))
    }

    pub(super) fn sync_target_begin(&mut self) {
        let total = self.replica.attached().map_or(0, |disk| disk.bitmap.count());
        let compares = std::mem::take(&mut self.hold.compares);
        let how = if compares { ", compared before they are copied" } else { "" };
        self.notice(Level::Info, format!("resync begins: {total} blocks of 4 KiB to fetch{how}"));
        let settings = self.settings.sync;
        let progress = self.progress_begins(End::Target, total);
        self.sync = Sync::Target(Target {
            cursor_block: 0,
            singly: VecDeque::new(),
            next_number: 0,
            wanted: BTreeMap::new(),
            unreadable: BlockSet::default(),
            reported: false,
            compares,
            pace: Pace::new(settings.rate_max, settings.rate_floor, total, self.now),
            source_load: SourceLoad::default(),
            progress,
        });
    }

    /// The application reads or writes: the resync yields for a while (DESIGN 5).
    pub(super) fn sync_sees_application(&mut self) {
        let now = self.now;
        if let Sync::Target(target) = &mut self.sync {
            target.pace.application_seen(now);
        }
    }

    /// Asks for as much as window and pace allow. Pause and pace act here, before the grant, never
    /// after (D6).
    pub(super) fn sync_pump(&mut self) {
        let window = self.settings.sync_buffers as usize;
        loop {
            let now = self.now;
            let (held, no_buffer) = (self.sync_is_held(), self.sync_buffers.is_empty());
            // What waits until the disk is quiet would wait for the whole resync.
            let leaves = self.detaching.is_some() || self.promotion_quiets();
            let Sync::Target(target) = &mut self.sync else { return };
            let Some(disk) = self.replica.attached() else { return };
            if target.reported || held || leaves || target.wanted.len() >= window {
                return;
            }
            let Some(run) = target.next_run(&disk.bitmap) else {
                self.sync_pass_over();
                return;
            };
            if target.compares && no_buffer {
                return;
            }
            let range = run.bytes(disk.size_bytes());
            target.pace.ground(now, disk.bitmap.count());
            if let Err(again) = target.pace.take(now, range.bytes()) {
                self.timers.set(Timer::SyncRate, again);
                return;
            }
            target.step_over(run);
            target.next_number += 1;
            let number = target.next_number;
            target.wanted.insert(number, Wanted { range, on_disk: false, stale: false });
            let locks = self.is_arbiter() || self.breaks(Mutation::TargetLocksToo);
            if !locks || self.overlap.claim(range, Claim::Sync(number)) {
                self.sync_begin(number);
            }
        }
    }

    /// The range is this resync's now: compares it first, or asks for it.
    pub(super) fn sync_begin(&mut self, number: u64) {
        let Sync::Target(target) = &self.sync else { return };
        let Some(wanted) = target.wanted.get(&number) else { return };
        let (range, compares) = (wanted.range, target.compares);
        if compares {
            self.sync_digest(number, range);
        } else {
            self.sync_ask(number, range);
        }
    }

    /// The target as arbiter: the range is free again.
    fn sync_target_done_with(&mut self, range: ByteRange) {
        if self.is_arbiter() || self.breaks(Mutation::TargetLocksToo) {
            self.give_range_back(range);
        }
    }

    fn sync_ask(&mut self, number: u64, range: ByteRange) {
        let limit = self.sync_limit();
        self.send(Message::SyncRequest { number, range, limit });
        self.alive_work_began();
    }

    fn sync_limit(&self) -> SyncLimit {
        match &self.sync {
            Sync::Target(target) => target.limited_by(self.now),
            Sync::Idle | Sync::Source(_) => SyncLimit::default(),
        }
    }

    /// Reads what is here, to see whether it must be copied at all. Not under the arbiter's lock: a
    /// write of the peer meanwhile makes the digest stale ([`Self::sync_sees_guest_write`]).
    fn sync_digest(&mut self, number: u64, range: ByteRange) {
        let Some(buffer) = self.sync_buffers.pop() else {
            return self.sync_ask(number, range);
        };
        let Some(session) = &self.peer.session else { return };
        let link = session.link;
        let stale = self.guest_writes_to(range);
        if let Sync::Target(target) = &mut self.sync
            && let Some(wanted) = target.wanted.get_mut(&number)
        {
            (wanted.on_disk, wanted.stale) = (true, stale);
        }
        self.counters.disk_read_bytes += range.bytes();
        let io = self.io(Purpose::SyncDigest { link, number, buffer });
        self.wish(Output::DiskDigest { io, range, buffer });
    }

    pub(super) fn sync_digest_done(
        &mut self,
        link: LinkId,
        number: u64,
        buffer: BufferId,
        read: Result<Digested, i32>,
    ) {
        self.wish(Output::Release(buffer));
        if !self.is_session(link) || self.replica.attached().is_none() {
            return;
        }
        let Sync::Target(target) = &mut self.sync else { return };
        let Some(wanted) = target.wanted.get_mut(&number) else { return };
        wanted.on_disk = false;
        let (range, stale) = (wanted.range, std::mem::take(&mut wanted.stale));
        match read {
            Ok(own) if !stale => {
                let limit = self.sync_limit();
                let digest = own.digest;
                self.send(Message::SyncCompare { number, range, limit, digest });
                self.alive_work_began();
            }
            // What cannot be read here is overwritten.
            Ok(_) | Err(_) => self.sync_ask(number, range),
        }
    }

    /// The end of the device is reached. Done when all bits have fallen; otherwise again from the
    /// start.
    fn sync_pass_over(&mut self) {
        let clearing_blocks = self.clearing_blocks();
        let breaks = self.breaks(Mutation::GrantDespiteBits);
        let Sync::Target(target) = &mut self.sync else { return };
        if !target.wanted.is_empty() {
            return;
        }
        if clearing_blocks > 0 {
            // Nothing more to ask for: no need to wait for the window's time to flush.
            if self.is_arbiter() {
                self.flush_unasked();
            }
            return;
        }
        let left = self.replica.attached().map_or(0, |disk| disk.bitmap.count());
        let unreadable = target.unreadable.count();
        if left > unreadable {
            target.cursor_block = 0;
            self.sync_pump();
        } else if unreadable == 0 || breaks {
            target.reported = true;
            self.sync_none_left();
        } else {
            self.sync_incomplete(unreadable);
        }
    }

    fn sync_hears_load(&mut self, load: SourceLoad) {
        if let Sync::Target(target) = &mut self.sync {
            target.source_load = load;
        }
        if load.application {
            self.sync_sees_application();
        }
    }

    pub(super) fn sync_data_received(
        &mut self,
        number: u64,
        range: ByteRange,
        load: SourceLoad,
        payload: Payload,
    ) {
        let Sync::Target(target) = &mut self.sync else {
            self.wish(Output::Release(payload.buffer));
            if self.replica.attached().is_none() {
                // On its way when the disk failed.
                return;
            }
            self.drop_session("resync data came out of turn");
            return;
        };
        match target.wanted.get_mut(&number) {
            Some(wanted) if wanted.range == range && !wanted.on_disk => {
                wanted.on_disk = true;
            }
            Some(_) | None => {
                self.wish(Output::Release(payload.buffer));
                self.drop_session("resync data came that were not asked for");
                return;
            }
        }
        self.sync_hears_load(load);
        self.counters.received_bytes += range.bytes();
        self.counters.disk_written_bytes += range.bytes();
        let Some(session) = &self.peer.session else { return };
        let link = session.link;
        let io = self.io(Purpose::SyncWrite { link, number, buffer: payload.buffer });
        self.guest.sync_writes_open += 1;
        self.wish(Output::DiskWrite { io, range, buffer: payload.buffer, fua: false });
    }

    /// The peer writes here. Both disks get it, unless the source's fails: then the source still
    /// has what the digest was made of and this disk has not, so the digest must not count (D7).
    pub(super) fn sync_sees_guest_write(&mut self, range: ByteRange) {
        if self.breaks(Mutation::StaleDigestCounts) {
            return;
        }
        if let Sync::Target(target) = &mut self.sync {
            for wanted in target.wanted.values_mut().filter(|wanted| wanted.range.overlaps(range)) {
                wanted.stale = true;
            }
        }
    }

    /// The source found what this disk had, and that was written since: copied after all. Its bits
    /// fall there unless it is told (D7, D17).
    fn sync_ask_again(&mut self, range: ByteRange) {
        self.found_out_of_sync(range.blocks_touched());
        let Sync::Target(target) = &mut self.sync else { return };
        target.next_number += 1;
        let number = target.next_number;
        target.wanted.insert(number, Wanted { range, on_disk: false, stale: false });
        self.sync_ask(number, range);
    }

    /// The source has the same there. It counts as written: it may be in a cache on either side.
    pub(super) fn sync_equal_received(&mut self, number: u64, load: SourceLoad) {
        let size_bytes = self.replica.attached().map_or(0, super::replica::Attached::size_bytes);
        let (now, breaks) = (self.now, self.breaks(Mutation::EqualClearsAtOnce));
        let Sync::Target(target) = &mut self.sync else { return };
        let Some(wanted) = target.wanted.remove(&number) else {
            self.drop_session("a comparison was answered that was not asked for");
            return;
        };
        if wanted.stale {
            self.sync_hears_load(load);
            self.sync_ask_again(wanted.range);
            return;
        }
        if let Some(blocks) = wanted.range.blocks_covered(size_bytes) {
            target.progress.equal(now, blocks.count);
            if breaks {
                self.clear_unflushed(blocks);
            } else {
                self.sync_clears_later(blocks);
            }
        }
        self.sync_target_done_with(wanted.range);
        self.progress_sees();
        self.sync_hears_load(load);
        self.sync_pump();
    }

    pub(super) fn sync_write_done(
        &mut self,
        link: LinkId,
        number: u64,
        buffer: BufferId,
        outcome: IoOutcome,
    ) {
        self.guest.sync_writes_open -= 1;
        self.wish(Output::Release(buffer));
        if let IoOutcome::Failed { errno } = outcome {
            self.disk_failed(DiskFault::Write, errno);
            return;
        }
        if !self.is_session(link) {
            return;
        }
        let size_bytes = self.replica.attached().map_or(0, super::replica::Attached::size_bytes);
        let now = self.now;
        let Sync::Target(target) = &mut self.sync else { return };
        let Some(wanted) = target.wanted.remove(&number) else { return };
        let copied = wanted.range.blocks_covered(size_bytes);
        if let Some(blocks) = copied {
            target.progress.copied(now, blocks.count);
            self.counters.resynced_blocks += blocks.count;
        }
        self.progress_sees();
        // In the FIFO where this end runs the pairs: a flush that was sent before must not cover
        // it.
        let lane = if self.is_arbiter() { Lane::Fifo } else { Lane::Urgent };
        self.send_in(lane, Message::SyncWritten { number }, None);
        if let Some(blocks) = copied {
            self.sync_clears_later(blocks);
        }
        self.sync_target_done_with(wanted.range);
        self.sync_pump();
    }

    /// The source cannot read it: block by block, then, so that one bad block costs no other.
    pub(super) fn sync_unreadable_received(&mut self, number: u64) {
        let Sync::Target(target) = &mut self.sync else { return };
        let Some(wanted) = target.wanted.remove(&number) else { return };
        let blocks = wanted.range.blocks_touched();
        if blocks.count > 1 {
            target
                .singly
                .extend((blocks.first..blocks.end()).map(|first| BlockRange { first, count: 1 }));
        } else {
            target.unreadable.insert(blocks);
            self.notice(
                Level::Error,
                format!(
                    "the source cannot read {} bytes at {}; the resync will stay incomplete and this disk \
                     Inconsistent",
                    wanted.range.bytes(),
                    wanted.range.start()
                ),
            );
        }
        self.sync_target_done_with(wanted.range);
        self.sync_pump();
    }

    /// Source and target have these blocks: their bits fall once both have flushed (D7).
    pub(super) fn sync_clears_later(&mut self, blocks: BlockRange) {
        if self.is_arbiter() {
            self.clear_after_flush(blocks);
        } else {
            self.follow.insert(blocks);
        }
    }

    /// Blocks whose bits only wait for a flush.
    pub(super) fn clearing_blocks(&self) -> u64 {
        self.pairs.clearing_blocks() + self.follow.clearing_blocks()
    }

    /// The source has bits that were not known here: another pass.
    pub(super) fn sync_goes_on(&mut self) {
        if let Sync::Target(target) = &mut self.sync {
            target.reported = false;
            target.cursor_block = 0;
        }
        self.sync_pump();
    }
}
