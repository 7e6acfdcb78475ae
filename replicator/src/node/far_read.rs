//! Reads from the peer's disk (D12): in pieces of one resync frame, as many as fit into the window.

use super::Node;
use super::read::ClientRead;
use super::route::Purpose;
use crate::event::{IoOutcome, Lane, Output, Payload};
use crate::ids::{BufferId, LinkId};
use crate::message::Message;
use crate::settings::SYNC_PIECE_BYTES_MAX;
use crate::slab::Slab;
use crate::state::{DiskState, Role};
use metadata::units::ByteRange;
use std::collections::{BTreeMap, VecDeque};

/// Reads that the peer may have open here; more is a fault of the peer.
const GUEST_READS_MAX: usize = 1024;
/// Pieces on their way at most.
const PIECES_MAX: usize = 64;

/// A client's read that is served by the peer.
#[derive(Debug)]
struct FarRead {
    read: ClientRead,
    /// Where the next piece begins, in bytes of the device.
    next: u64,
    /// Pieces on their way.
    open: u32,
    /// A piece failed.
    failed: bool,
}

/// Both ends of reading over the link.
#[derive(Debug, Default)]
pub(super) struct FarReads {
    open: Option<Slab<FarRead>>,
    /// Reads with pieces that have not left.
    waiting: VecDeque<u64>,
    /// Pieces on their way, by number: of which read, and what.
    pieces: BTreeMap<u64, (u64, ByteRange)>,
    last_number: u64,
    /// The peer's reads that wait for a buffer.
    guests: VecDeque<(LinkId, u64, ByteRange)>,
}

impl Node {
    pub(super) fn far_read_begin(&mut self, read: ClientRead) {
        let next = read.range.start();
        let reads = self.far_reads.open.get_or_insert_with(Slab::new);
        let key = reads.insert(FarRead { read, next, open: 0, failed: false });
        self.far_reads.waiting.push_back(key);
        self.far_reads_more();
    }

    /// Sends pieces as long as this node has buffers for the answers: as Primary it receives no
    /// writes, so the window that it announced for those is theirs.
    pub(super) fn far_reads_more(&mut self) {
        let frames = self.settings.window.frames;
        let window = PIECES_MAX.min(frames[0].min(frames[1]).max(1) as usize);
        while self.far_reads.pieces.len() < window {
            let Some(key) = self.far_reads.waiting.front().copied() else { return };
            let Some(far) = self.far_reads.open.as_mut().and_then(|reads| reads.get_mut(key))
            else {
                self.far_reads.waiting.pop_front();
                continue;
            };
            let left = far.read.range.end() - far.next;
            let range = ByteRange::new(far.next, left.min(u64::from(SYNC_PIECE_BYTES_MAX)));
            far.next = range.end();
            far.open += 1;
            if far.next == far.read.range.end() {
                self.far_reads.waiting.pop_front();
            }
            self.far_reads.last_number += 1;
            let number = self.far_reads.last_number;
            self.far_reads.pieces.insert(number, (key, range));
            self.send(Message::Read { number, range });
            self.alive_work_began();
        }
    }

    pub(super) fn far_read_waits(&self) -> bool {
        !self.far_reads.pieces.is_empty()
    }

    pub(super) fn read_data_received(&mut self, number: u64, range: ByteRange, payload: Payload) {
        let piece = self.far_reads.pieces.remove(&number);
        let wanted = piece.filter(|(_, wanted)| *wanted == range);
        if let Some((key, _)) = wanted
            && let Some(far) = self.far_reads.open.as_mut().and_then(|reads| reads.get_mut(key))
        {
            let offset = range.start() - far.read.range.start();
            let to = far.read.buffer;
            self.wish(Output::CopyInto {
                from: payload.buffer,
                to,
                offset_bytes: u32::try_from(offset).expect("invariant: a read is one piece"),
                bytes: payload.bytes,
            });
            self.counters.received_bytes += range.bytes();
        }
        self.wish(Output::Release(payload.buffer));
        match wanted {
            Some((key, _)) => self.far_piece_done(key, true),
            None => self.drop_session("read data came that were not asked for"),
        }
    }

    pub(super) fn read_failed_received(&mut self, number: u64) {
        match self.far_reads.pieces.remove(&number) {
            Some((key, _)) => self.far_piece_done(key, false),
            None => self.drop_session("the peer failed a read that was not asked for"),
        }
    }

    fn far_piece_done(&mut self, key: u64, is_good: bool) {
        let Some(reads) = &mut self.far_reads.open else { return };
        let Some(far) = reads.get_mut(key) else { return };
        far.open -= 1;
        far.failed |= !is_good;
        if far.open == 0 && (far.failed || far.next == far.read.range.end()) {
            let (read, failed) = (far.read, far.failed);
            reads.remove(key);
            if failed {
                // Neither disk can give it.
                self.fail_read(read);
            } else {
                self.read_answer(read);
            }
        }
        self.far_reads_more();
    }

    /// The connection, or the peer's disk, is gone: everything from the start, wherever reading is
    /// possible then.
    pub(super) fn far_reads_lose_peer(&mut self) {
        self.far_reads.pieces.clear();
        self.far_reads.waiting.clear();
        self.far_reads.guests.clear();
        let Some(mut reads) = self.far_reads.open.take() else { return };
        for key in reads.keys() {
            if let Some(far) = reads.remove(key) {
                self.reads_parked.push_back(far.read);
            }
        }
    }

    /// The peer, a Primary without the data, reads here.
    pub(super) fn guest_read_received(&mut self, number: u64, range: ByteRange) {
        let Some(session) = &self.peer.session else { return };
        let link = session.link;
        let size_bytes = self.replica.attached().map_or(0, super::replica::Attached::size_bytes);
        if self.role == Role::Primary || self.far_reads.guests.len() >= GUEST_READS_MAX {
            self.drop_session("a read came out of turn, or there are too many");
            return;
        }
        let is_good = self.replica.state() == DiskState::UpToDate && range.end() <= size_bytes;
        if !is_good {
            self.send(Message::ReadFailed { number });
            return;
        }
        self.far_reads.guests.push_back((link, number, range));
        self.guest_reads_more();
    }

    /// Reads as long as there are buffers; a client waits for it, so it goes before the resync.
    pub(super) fn guest_reads_more(&mut self) {
        while let Some((link, number, range)) = self.far_reads.guests.front().copied() {
            let Some(buffer) = self.sync_buffers.pop() else { return };
            self.far_reads.guests.pop_front();
            if self.replica.attached().is_none() {
                self.sync_buffers.push(buffer);
                self.send(Message::ReadFailed { number });
                continue;
            }
            let io = self.io(Purpose::GuestRead { link, number, buffer, range });
            self.counters.disk_read_bytes += range.bytes();
            self.wish(Output::DiskRead { io, range, buffer, checksum: true });
        }
    }

    pub(super) fn guest_read_done(
        &mut self,
        link: LinkId,
        number: u64,
        buffer: BufferId,
        range: ByteRange,
        outcome: IoOutcome,
    ) {
        match outcome {
            IoOutcome::Done { crc32c } => {
                if self.is_session(link) {
                    let bytes = u32::try_from(range.bytes()).expect("invariant: one piece");
                    let payload = Payload { buffer, bytes, crc32c };
                    self.counters.sent_bytes += range.bytes();
                    self.send_in(Lane::Bulk, Message::ReadData { number, range }, Some(payload));
                }
            }
            IoOutcome::Failed { errno } => {
                if self.is_session(link) {
                    self.send(Message::ReadFailed { number });
                }
                self.read_failed(range, errno);
            }
        }
        self.wish(Output::Release(buffer));
    }
}
