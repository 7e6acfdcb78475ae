//! The source of a resync, who is also the arbiter of ranges (D6): grants, reads, compares, sends.

use super::follow::Follow;
use super::progress::Progress;
use super::route::Purpose;
use super::{Node, Sync};
use crate::digest::{Digest, Digested};
use crate::event::{IoOutcome, Lane, Level, Output, Payload};
use crate::generation::End;
use crate::ids::{BufferId, LinkId};
use crate::io_error::describe;
use crate::message::{Message, SourceLoad};
use crate::mutation::Mutation;
use crate::overlap::Claim;
use crate::pace::SyncLimit;
use crate::settings::SYNC_PIECE_BYTES_MAX;
use crate::timers::Timer;
use metadata::units::ByteRange;
use std::collections::{BTreeMap, VecDeque};

/// A target may have so many requests open; more is a fault of the peer.
const REQUESTS_OPEN_MAX: usize = 1024;

/// One request of the target.
#[derive(Debug, Clone, Copy)]
struct Asked {
    range: ByteRange,
    /// What the target has there, if it wants to know whether that is the same.
    digest: Option<Digest>,
    /// Its data are on their way to the target.
    sent: bool,
}

/// What the source keeps.
#[derive(Debug)]
pub(super) struct Source {
    /// The target's open requests.
    requests: BTreeMap<u64, Asked>,
    /// Not granted: the resync is held.
    held: VecDeque<u64>,
    /// Granted; wait for a buffer.
    for_buffer: VecDeque<u64>,
    /// What the target said last.
    target_limit: SyncLimit,
    /// Clients' requests up to the last answer.
    client_requests: u64,
    pub(super) progress: Progress,
}

impl Source {
    /// Most of what is open waits for the own disk.
    fn disk_is_slow(&self) -> bool {
        let sent = self.requests.values().filter(|asked| asked.sent).count();
        self.requests.len() > 1 && sent * 2 < self.requests.len() - self.held.len()
    }

    /// What holds the resync back now, both ends taken together.
    pub(super) fn limited_by(&self) -> SyncLimit {
        match self.target_limit {
            SyncLimit::Rate
            | SyncLimit::Application
            | SyncLimit::TargetDisk
            | SyncLimit::SourceDisk => self.target_limit,
            SyncLimit::Link if self.disk_is_slow() => SyncLimit::SourceDisk,
            SyncLimit::Link => SyncLimit::Link,
        }
    }
}

impl Node {
    pub(super) fn sync_source_begin(&mut self) {
        let total = self.replica.attached().map_or(0, |disk| disk.bitmap.count());
        let progress = self.progress_begins(End::Source, total);
        self.notice(Level::Info, format!("resync begins: {total} blocks of 4 KiB to send"));
        self.sync = Sync::Source(Source {
            requests: BTreeMap::new(),
            held: VecDeque::new(),
            for_buffer: VecDeque::new(),
            target_limit: SyncLimit::default(),
            client_requests: self.client_requests(),
            progress,
        });
    }

    const fn client_requests(&self) -> u64 {
        self.counters.client_reads + self.counters.client_writes
    }

    /// The target asks. A pause acts here, before the grant, never after (D6).
    pub(super) fn sync_request_received(
        &mut self,
        number: u64,
        range: ByteRange,
        limit: SyncLimit,
        digest: Option<Digest>,
    ) {
        let size_bytes = self.replica.attached().map_or(0, super::replica::Attached::size_bytes);
        let held = self.sync_is_held();
        let throttles_late = self.breaks(Mutation::ThrottleAfterGrant);
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
        source.target_limit = limit;
        source.requests.insert(number, Asked { range, digest, sent: false });
        source.held.push_back(number);
        if !held || throttles_late {
            self.sync_grant_held();
        }
    }

    /// Grants what waits, or lets it wait for the writes before it.
    pub(super) fn sync_grant_held(&mut self) {
        loop {
            let Sync::Source(source) = &mut self.sync else { return };
            let Some(number) = source.held.pop_front() else { return };
            let Some(asked) = source.requests.get(&number) else { continue };
            let range = asked.range;
            // A Primary that is the target has granted the range already.
            if !self.is_arbiter() || self.overlap.claim(range, Claim::Sync(number)) {
                self.sync_granted(number);
            }
        }
    }

    /// The range is this resync's until the target has written it.
    pub(super) fn sync_granted(&mut self, number: u64) {
        match &mut self.sync {
            Sync::Idle => {}
            Sync::Source(source) => {
                source.for_buffer.push_back(number);
                self.sync_read_more();
            }
            Sync::Target(_) => self.sync_begin(number),
        }
    }

    fn sync_source_done_with(&mut self, range: ByteRange) {
        if self.is_arbiter() {
            self.give_range_back(range);
        }
    }

    /// Reads as long as there are buffers.
    pub(super) fn sync_read_more(&mut self) {
        loop {
            if self.breaks(Mutation::ThrottleAfterGrant) && self.sync_is_held() {
                return;
            }
            let Sync::Source(source) = &mut self.sync else { return };
            if source.for_buffer.is_empty() {
                return;
            }
            let Some(buffer) = self.sync_buffers.pop() else { return };
            let Some(number) = source.for_buffer.pop_front() else { return };
            let (Some(asked), Some(session)) =
                (source.requests.get(&number).copied(), &self.peer.session)
            else {
                self.sync_buffers.push(buffer);
                return;
            };
            let (link, range) = (session.link, asked.range);
            let io = self.io(Purpose::SyncRead { link, number, buffer });
            self.counters.disk_read_bytes += range.bytes();
            if asked.digest.is_some() {
                self.wish(Output::DiskDigest { io, range, buffer });
            } else {
                self.wish(Output::DiskRead { io, range, buffer, checksum: true });
            }
        }
    }

    pub(super) fn sync_read_done(
        &mut self,
        link: LinkId,
        number: u64,
        buffer: BufferId,
        outcome: IoOutcome,
    ) {
        let read = match outcome {
            IoOutcome::Done { crc32c } => Ok(crc32c),
            IoOutcome::Failed { errno } => Err(errno),
        };
        if self.is_session(link) {
            self.sync_answer(number, buffer, read);
        }
        self.wish(Output::Release(buffer));
    }

    /// The same for a read that compares.
    pub(super) fn sync_compare_done(
        &mut self,
        link: LinkId,
        number: u64,
        buffer: BufferId,
        read: Result<Digested, i32>,
    ) {
        if self.is_session(link) {
            match read {
                Ok(found) if self.target_has(number) == Some(found.digest) => {
                    self.sync_equal(number);
                }
                Ok(found) => self.sync_answer(number, buffer, Ok(found.crc32c)),
                Err(errno) => self.sync_answer(number, buffer, Err(errno)),
            }
        }
        self.wish(Output::Release(buffer));
    }

    fn target_has(&self, number: u64) -> Option<Digest> {
        match &self.sync {
            Sync::Source(source) => source.requests.get(&number).and_then(|asked| asked.digest),
            Sync::Idle | Sync::Target(_) => None,
        }
    }

    /// Nothing is to be copied. It counts as a write: what is equal may be in a cache on either
    /// side, so the bits fall with the next pair of flushes (D7). In the FIFO, so that the target
    /// knows of it before it hears of that pair.
    fn sync_equal(&mut self, number: u64) {
        let Some(range) = source_forget(&mut self.sync, number) else { return };
        let load = self.source_load();
        self.send(Message::SyncEqual { number, load });
        let size_bytes = self.replica.attached().map_or(0, super::replica::Attached::size_bytes);
        if let Some(blocks) = range.blocks_covered(size_bytes) {
            if self.breaks(Mutation::EqualClearsAtOnce) {
                self.clear_unflushed(blocks);
            } else {
                self.sync_clears_later(blocks);
            }
            let now = self.now;
            if let Sync::Source(source) = &mut self.sync {
                source.progress.equal(now, blocks.count);
            }
            self.progress_sees();
        }
        self.sync_source_done_with(range);
        self.sync_source_idle();
    }

    /// What the target cannot see of this node: clients' reads, and how busy the disk is.
    fn source_load(&mut self) -> SourceLoad {
        let client_requests = self.client_requests();
        let Sync::Source(source) = &mut self.sync else { return SourceLoad::default() };
        let before = std::mem::replace(&mut source.client_requests, client_requests);
        SourceLoad { application: client_requests != before, disk: source.disk_is_slow() }
    }

    fn sync_answer(&mut self, number: u64, buffer: BufferId, read: Result<u32, i32>) {
        let Sync::Source(source) = &mut self.sync else { return };
        let Some(asked) = source.requests.get_mut(&number) else { return };
        let range = asked.range;
        match read {
            Ok(crc32c) => {
                asked.sent = true;
                let bytes =
                    u32::try_from(range.bytes()).expect("invariant: a resync piece is small");
                let payload = Payload { buffer, bytes, crc32c };
                // A range that a client's write waits for travels with the write's priority (D6).
                let lane =
                    if self.overlap.write_waits_for(range) { Lane::Fifo } else { Lane::Bulk };
                self.counters.sent_bytes += u64::from(bytes);
                let load = self.source_load();
                self.send_in(lane, Message::SyncData { number, range, load }, Some(payload));
                if self.breaks(Mutation::RangeGivenBackWhenSent) {
                    self.sync_source_done_with(range);
                }
            }
            Err(errno) => {
                self.notice(
                    Level::Error,
                    format!(
                        "resync cannot read {} bytes at {}: {}",
                        range.bytes(),
                        range.start(),
                        describe(errno)
                    ),
                );
                self.send(Message::SyncUnreadable { number });
                source_forget(&mut self.sync, number);
                // Whatever clear is on its way here or there is void.
                self.found_out_of_sync(range.blocks_touched());
                self.sync_source_done_with(range);
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
            self.sync_clears_later(blocks);
            self.counters.resynced_blocks += blocks.count;
            let now = self.now;
            if let Sync::Source(source) = &mut self.sync {
                source.progress.copied(now, blocks.count);
            }
            self.progress_sees();
        }
        if !self.breaks(Mutation::RangeGivenBackWhenSent) {
            self.sync_source_done_with(range);
        }
        self.sync_source_idle();
    }

    /// Nothing is asked for at the moment: no need to wait for the window's time to flush.
    pub(super) fn sync_source_idle(&mut self) {
        if let Sync::Source(source) = &self.sync
            && source.requests.is_empty()
            && self.is_arbiter()
        {
            self.flush_unasked();
        }
    }

    /// The resync is over for this session: the ranges go back. Buffers come back when their I/O
    /// returns.
    pub(super) fn sync_stop(&mut self) {
        match std::mem::replace(&mut self.sync, Sync::Idle) {
            Sync::Idle => return,
            Sync::Source(source) => self.progress_interrupted(End::Source, source.progress),
            Sync::Target(target) => {
                self.progress_interrupted(End::Target, target.progress);
                self.timers.stop(Timer::SyncRate);
            }
        }
        self.pairs.forget_clears();
        self.follow = Follow::default();
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
    }
}

fn source_forget(sync: &mut Sync, number: u64) -> Option<ByteRange> {
    match sync {
        Sync::Source(source) => source.requests.remove(&number).map(|asked| asked.range),
        Sync::Idle | Sync::Target(_) => None,
    }
}
