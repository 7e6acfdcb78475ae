//! The target of a resync drives it: asks for what its bitmap says, writes what comes (DESIGN 5,
//! D7).

use super::progress::Progress;
use super::route::Purpose;
use super::{Node, Sync};
use crate::block_set::BlockSet;
use crate::event::{IoOutcome, Lane, Level, Output, Payload};
use crate::ids::{BufferId, LinkId};
use crate::message::Message;
use crate::rate::Rate;
use crate::settings::SYNC_PIECE_BYTES_MAX;
use crate::timers::Timer;
use metadata::units::{BLOCK_BYTES, BlockRange, ByteRange};
use std::collections::{BTreeMap, VecDeque};

/// Blocks asked for at once.
const PIECE_BLOCKS_MAX: u64 = SYNC_PIECE_BYTES_MAX as u64 / BLOCK_BYTES;

/// One request on its way.
#[derive(Debug)]
struct Wanted {
    range: ByteRange,
    /// It has come and is being written.
    arrived: bool,
}

/// What the target keeps.
#[derive(Debug)]
pub(super) struct Target {
    /// Where the search for the next set bit goes on; one pass from the start to the end, then
    /// again.
    cursor_block: u64,
    next_number: u64,
    wanted: BTreeMap<u64, Wanted>,
    /// Written, not flushed on both.
    written: BlockSet,
    /// The same, covered by a pair of flushes that is under way.
    sealed: VecDeque<(u64, BlockSet)>,
    /// The source cannot read these.
    unreadable: BlockSet,
    /// Has reported that nothing is left and waits for the answer.
    reported: bool,
    rate: Option<Rate>,
    pub(super) progress: Progress,
}

impl Target {
    pub(super) fn clearing_blocks(&self) -> u64 {
        self.written.count() + self.sealed.iter().map(|(_, blocks)| blocks.count()).sum::<u64>()
    }

    /// What holds the resync back now.
    pub(super) fn limited_by(&self, window: usize) -> &'static str {
        if self.rate.as_ref().is_some_and(Rate::is_empty) {
            "rate"
        } else if self.wanted.values().filter(|wanted| wanted.arrived).count() * 2 > window {
            "disk"
        } else {
            "link"
        }
    }
}

impl Node {
    pub(super) const fn is_sync_target(&self) -> bool {
        matches!(self.sync, Sync::Target(_))
    }

    pub(super) fn sync_target_begin(&mut self) {
        let total = self.replica.attached().map_or(0, |disk| disk.bitmap.count());
        self.notice(Level::Info, format!("resync begins: {total} blocks of 4 KiB to fetch"));
        self.sync = Sync::Target(Target {
            cursor_block: 0,
            next_number: 0,
            wanted: BTreeMap::new(),
            written: BlockSet::default(),
            sealed: VecDeque::new(),
            unreadable: BlockSet::default(),
            reported: false,
            rate: self.settings.sync.rate_max.map(|rate| Rate::new(rate, self.now)),
            progress: Progress::begin(self.now, total),
        });
    }

    /// Asks for as much as window and rate allow. Rate acts here, before the grant, never after
    /// (D6).
    pub(super) fn sync_pump(&mut self) {
        let window = self.settings.sync_buffers as usize;
        loop {
            let now = self.now;
            let Sync::Target(target) = &mut self.sync else { return };
            let Some(disk) = self.replica.attached() else { return };
            if target.reported || target.wanted.len() >= window {
                return;
            }
            let Some(run) = disk.bitmap.next_run(target.cursor_block, PIECE_BLOCKS_MAX) else {
                self.sync_pass_over();
                return;
            };
            let range = run.bytes(disk.size_bytes());
            if let Some(rate) = &mut target.rate
                && let Err(again) = rate.take(now, range.bytes())
            {
                self.timers.set(Timer::SyncRate, again);
                return;
            }
            target.cursor_block = run.end();
            target.next_number += 1;
            let number = target.next_number;
            target.wanted.insert(number, Wanted { range, arrived: false });
            self.send(Message::SyncRequest { number, range });
            self.alive_work_began();
        }
    }

    /// The end of the device is reached. Done when all bits have fallen; otherwise again from the
    /// start.
    fn sync_pass_over(&mut self) {
        let Sync::Target(target) = &mut self.sync else { return };
        if !target.wanted.is_empty() || target.clearing_blocks() > 0 {
            return;
        }
        let left = self.replica.attached().map_or(0, |disk| disk.bitmap.count());
        if left > target.unreadable.count() {
            target.cursor_block = 0;
            self.sync_pump();
        } else if left == 0 {
            target.reported = true;
            self.sync_none_left();
        }
    }

    pub(super) fn sync_data_received(&mut self, number: u64, range: ByteRange, payload: Payload) {
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
            Some(wanted) if wanted.range == range && !wanted.arrived => {
                wanted.arrived = true;
            }
            Some(_) | None => {
                self.wish(Output::Release(payload.buffer));
                self.drop_session("resync data came that were not asked for");
                return;
            }
        }
        self.counters.received_bytes += range.bytes();
        self.counters.disk_written_bytes += range.bytes();
        let Some(session) = &self.peer.session else { return };
        let link = session.link;
        let io = self.io(Purpose::SyncWrite { link, number, buffer: payload.buffer });
        self.guest.sync_writes_open += 1;
        self.wish(Output::DiskWrite { io, range, buffer: payload.buffer, fua: false });
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
        self.promote_when_quiet();
        if let IoOutcome::Failed { errno } = outcome {
            self.disk_failed("write", errno);
            return;
        }
        if !self.is_session(link) {
            return;
        }
        let size_bytes = self.replica.attached().map_or(0, super::replica::Attached::size_bytes);
        let now = self.now;
        let Sync::Target(target) = &mut self.sync else { return };
        let Some(wanted) = target.wanted.remove(&number) else { return };
        if let Some(blocks) = wanted.range.blocks_covered(size_bytes) {
            target.written.insert(blocks);
            target.progress.copied(now, blocks.count);
            self.counters.resynced_blocks += blocks.count;
        }
        self.send_in(Lane::Urgent, Message::SyncWritten { number }, None);
        self.sync_pump();
    }

    pub(super) fn sync_unreadable_received(&mut self, number: u64) {
        let Sync::Target(target) = &mut self.sync else { return };
        let Some(wanted) = target.wanted.remove(&number) else { return };
        target.unreadable.insert(wanted.range.blocks_touched());
        self.notice(
            Level::Error,
            format!(
                "the source cannot read {} bytes at {}; the resync will stay incomplete and this disk Inconsistent",
                wanted.range.bytes(),
                wanted.range.start()
            ),
        );
        self.sync_pump();
    }

    /// The source flushes both disks: what is written here by now is covered by that pair.
    pub(super) fn sync_seal(&mut self, number: u64) {
        if let Sync::Target(target) = &mut self.sync {
            let written = std::mem::take(&mut target.written);
            if !written.is_empty() {
                target.sealed.push_back((number, written));
            }
        }
    }

    /// Both have flushed: the bits of what was sealed fall (D7).
    pub(super) fn pair_done_received(&mut self, number: u64) {
        let Sync::Target(target) = &mut self.sync else { return };
        while let Some((sealed, blocks)) = target.sealed.front() {
            if *sealed > number {
                break;
            }
            if let Some(disk) = self.replica.writable() {
                for run in blocks.runs() {
                    disk.bitmap.clear(run);
                }
            }
            target.sealed.pop_front();
        }
        self.persist_cleared_bits();
        self.sync_pump();
    }

    pub(super) fn sync_cancel_clear(&mut self, blocks: BlockRange) {
        if let Sync::Target(target) = &mut self.sync {
            target.written.remove(blocks);
            for (_, sealed) in &mut target.sealed {
                sealed.remove(blocks);
            }
        }
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
