//! The source of a resync, who is also the arbiter of ranges (D6): grants, reads, sends.

use super::progress::Progress;
use super::route::Purpose;
use super::{Node, Sync};
use crate::event::{IoOutcome, Lane, Level, Output, Payload};
use crate::ids::{BufferId, LinkId};
use crate::message::Message;
use crate::overlap::Claim;
use crate::settings::SYNC_PIECE_BYTES_MAX;
use crate::timers::Timer;
use metadata::units::ByteRange;
use std::collections::{BTreeMap, VecDeque};

/// A target may have so many requests open; more is a fault of the peer.
const REQUESTS_OPEN_MAX: usize = 1024;

/// What the source keeps.
#[derive(Debug)]
pub(super) struct Source {
    /// The target's open requests.
    requests: BTreeMap<u64, ByteRange>,
    /// Granted; wait for a buffer.
    for_buffer: VecDeque<u64>,
    pub(super) progress: Progress,
}

impl Node {
    pub(super) fn sync_source_begin(&mut self) {
        let total = self.replica.attached().map_or(0, |disk| disk.bitmap.count());
        let progress = Progress::begin(self.now, total);
        self.notice(Level::Info, format!("resync begins: {total} blocks of 4 KiB to send"));
        self.sync = Sync::Source(Source {
            requests: BTreeMap::new(),
            for_buffer: VecDeque::new(),
            progress,
        });
    }

    pub(super) fn sync_request_received(&mut self, number: u64, range: ByteRange) {
        let size_bytes = self.replica.attached().map_or(0, super::replica::Attached::size_bytes);
        let Sync::Source(source) = &mut self.sync else {
            if self.replica.attached().is_none() {
                // On its way when the disk failed.
                return;
            }
            self.drop_session("a resync request came out of turn");
            return;
        };
        let sane = range.end() <= size_bytes
            && range.bytes() <= u64::from(SYNC_PIECE_BYTES_MAX)
            && source.requests.len() < REQUESTS_OPEN_MAX
            && !source.requests.contains_key(&number);
        if !sane {
            self.drop_session("a resync request is out of range, or there are too many");
            return;
        }
        source.requests.insert(number, range);
        if self.overlap.claim(range, Claim::Sync(number)) {
            self.sync_granted(number);
        }
    }

    pub(super) fn sync_granted(&mut self, number: u64) {
        if let Sync::Source(source) = &mut self.sync {
            source.for_buffer.push_back(number);
        }
        self.sync_read_more();
    }

    /// Reads as long as there are buffers.
    pub(super) fn sync_read_more(&mut self) {
        loop {
            let Sync::Source(source) = &mut self.sync else { return };
            if source.for_buffer.is_empty() {
                return;
            }
            let Some(buffer) = self.sync_buffers.pop() else { return };
            let Some(number) = source.for_buffer.pop_front() else { return };
            let (Some(range), Some(session)) =
                (source.requests.get(&number).copied(), &self.peer.session)
            else {
                self.sync_buffers.push(buffer);
                return;
            };
            let link = session.link;
            let io = self.io(Purpose::SyncRead { link, number, buffer });
            self.counters.disk_read_bytes += range.bytes();
            self.wish(Output::DiskRead { io, range, buffer, checksum: true });
        }
    }

    pub(super) fn sync_read_done(
        &mut self,
        link: LinkId,
        number: u64,
        buffer: BufferId,
        outcome: IoOutcome,
    ) {
        if self.is_session(link) {
            self.sync_answer(number, buffer, outcome);
        }
        self.wish(Output::Release(buffer));
    }

    fn sync_answer(&mut self, number: u64, buffer: BufferId, outcome: IoOutcome) {
        let Sync::Source(source) = &mut self.sync else { return };
        let Some(range) = source.requests.get(&number).copied() else { return };
        match outcome {
            IoOutcome::Done { crc32c } => {
                let bytes =
                    u32::try_from(range.bytes()).expect("invariant: a resync piece is small");
                let payload = Payload { buffer, bytes, crc32c };
                // A range that a client's write waits for travels with the write's priority (D6).
                let lane =
                    if self.overlap.write_waits_for(range) { Lane::Fifo } else { Lane::Bulk };
                self.counters.sent_bytes += u64::from(bytes);
                self.send_in(lane, Message::SyncData { number, range }, Some(payload));
            }
            IoOutcome::Failed { errno } => {
                self.notice(
                    Level::Error,
                    format!(
                        "resync cannot read {} bytes at {}: error {errno}",
                        range.bytes(),
                        range.start()
                    ),
                );
                self.send(Message::SyncUnreadable { number });
                source_forget(&mut self.sync, number);
                self.give_range_back(range);
            }
        }
    }

    /// The target has it: others may write there, and the bits fall with the next pair of flushes.
    pub(super) fn sync_written_received(&mut self, number: u64) {
        let size_bytes = self.replica.attached().map_or(0, super::replica::Attached::size_bytes);
        if self.replica.attached().is_none() {
            return;
        }
        let Some(range) = source_forget(&mut self.sync, number) else {
            self.drop_session("the peer acknowledged a resync block that was not sent");
            return;
        };
        if let Some(blocks) = range.blocks_covered(size_bytes) {
            self.clear_after_flush(blocks);
            self.counters.resynced_blocks += blocks.count;
            let now = self.now;
            if let Sync::Source(source) = &mut self.sync {
                source.progress.copied(now, blocks.count);
            }
        }
        self.give_range_back(range);
        self.sync_source_idle();
    }

    /// Nothing is asked for at the moment: no need to wait for the window's time to flush.
    pub(super) fn sync_source_idle(&mut self) {
        if let Sync::Source(source) = &self.sync
            && source.requests.is_empty()
        {
            self.flush_unasked();
        }
    }

    /// The resync is over for this session: the ranges go back. Buffers come back when their I/O
    /// returns.
    pub(super) fn sync_stop(&mut self) {
        match std::mem::replace(&mut self.sync, Sync::Idle) {
            Sync::Idle => {}
            Sync::Source(_) => {
                let claims = self.overlap.sync_claims();
                for (_, number, held) in &claims {
                    if !held {
                        self.overlap.forget_waiting(Claim::Sync(*number));
                    }
                }
                for (range, _, held) in claims {
                    if held {
                        self.give_range_back(range);
                    }
                }
                self.pairs.forget_clears();
            }
            Sync::Target(_) => self.timers.stop(Timer::SyncRate),
        }
    }
}

fn source_forget(sync: &mut Sync, number: u64) -> Option<ByteRange> {
    match sync {
        Sync::Source(source) => source.requests.remove(&number),
        Sync::Idle | Sync::Target(_) => None,
    }
}
