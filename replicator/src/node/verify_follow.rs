//! The follower of a verify: reads what the leader asks for, and marks what it is told.

use super::Node;
use super::route::Purpose;
use super::verify::{Part, Running};
use super::verify_lead::{VerifyRead, is_piece};
use crate::digest::Digest;
use crate::event::{Level, Output};
use crate::ids::LinkId;
use crate::message::Message;
use crate::pace::SyncLimit;
use metadata::units::{BlockRange, ByteRange};
use std::collections::{BTreeMap, VecDeque};

/// A leader may have so many requests open; more is a fault of the peer.
const REQUESTS_OPEN_MAX: usize = 1024;

/// What the follower keeps.
#[derive(Debug, Default)]
pub(super) struct Follow {
    /// Requests that were not answered.
    open: BTreeMap<u64, ByteRange>,
    /// Those of them that wait for a buffer.
    for_buffer: VecDeque<u64>,
    /// What the leader said last.
    pub(super) limit: SyncLimit,
    /// The leader has compared everything before this block, as it said last.
    pub(super) next_block: Option<u64>,
}

impl Running {
    const fn follows(&mut self) -> Option<&mut Follow> {
        match &mut self.part {
            Part::Follow(follow) => Some(follow),
            Part::Lead(_) => None,
        }
    }
}

impl Node {
    fn verify_follow(&mut self) -> Option<&mut Follow> {
        self.verify.running.as_mut().filter(|running| running.closing.is_none())?.follows()
    }

    pub(super) fn verify_read_received(
        &mut self,
        number: u64,
        range: ByteRange,
        limit: SyncLimit,
        next_block: u64,
    ) {
        let size_bytes = self.replica.attached().map_or(0, super::replica::Attached::size_bytes);
        // None: on its way when this end was over.
        let Some(follow) = self.verify_follow() else { return };
        let sane = is_piece(range, size_bytes)
            && follow.open.len() < REQUESTS_OPEN_MAX
            && !follow.open.contains_key(&number);
        if !sane {
            self.drop_session("a verify asks for what there is not, or for too much");
            return;
        }
        follow.limit = limit;
        follow.next_block = Some(next_block);
        follow.open.insert(number, range);
        follow.for_buffer.push_back(number);
        self.verify_reads_more();
    }

    /// Reads as long as there are buffers.
    pub(super) fn verify_reads_more(&mut self) {
        loop {
            let Some(session) = &self.peer.session else { return };
            let link: LinkId = session.link;
            if self.sync_buffers.is_empty() {
                return;
            }
            let Some(follow) = self.verify_follow() else { return };
            let Some(number) = follow.for_buffer.pop_front() else { return };
            let Some(range) = follow.open.get(&number).copied() else { continue };
            let Some(buffer) = self.sync_buffers.pop() else { return };
            let io =
                self.io(Purpose::VerifyRead(VerifyRead { link, number, buffer, leads: false }));
            self.counters.disk_read_bytes += range.bytes();
            self.wish(Output::DiskDigests { io, range, buffer });
        }
    }

    /// Tells the leader what was read.
    pub(super) fn verify_answers(&mut self, number: u64, read: Result<Vec<Digest>, i32>) {
        let Some(follow) = self.verify_follow() else { return };
        let Some(range) = follow.open.remove(&number) else { return };
        match read {
            Ok(digests) => {
                let blocks = digests.len() as u64;
                self.send(Message::VerifyDigests { number, digests });
                self.verify_compared(blocks);
            }
            Err(errno) => {
                let why = crate::io_error::describe(errno);
                let (bytes, start) = (range.bytes(), range.start());
                let text = format!("verify cannot read {bytes} bytes at {start}: {why}");
                self.notice(Level::Error, text);
                self.send(Message::VerifyUnreadable { number });
                let blocks = range.blocks_touched();
                if blocks.count == 1 {
                    self.verify_compared(1);
                }
            }
        }
    }

    /// The leader has found these blocks.
    pub(super) fn verify_differs_received(&mut self, blocks: BlockRange, unreadable: bool) {
        if blocks.end() > self.replica.attached().map_or(u64::MAX, |disk| disk.bitmap.blocks()) {
            self.drop_session("a difference lies past the end of the device");
            return;
        }
        self.verify_marks(blocks, unreadable);
    }
}
