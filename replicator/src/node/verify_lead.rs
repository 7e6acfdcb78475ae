//! The leader of a verify: grants itself a piece, has both nodes read it, compares, gives it back
//! (D6).

use super::Node;
use super::route::Purpose;
use super::verify::{Part, Running};
use crate::digest::Digest;
use crate::event::{Level, Output};
use crate::ids::{BufferId, LinkId, Moment};
use crate::message::Message;
use crate::mutation::Mutation;
use crate::overlap::Claim;
use crate::pace::{Pace, SyncLimit};
use crate::settings::SYNC_PIECE_BYTES_MAX;
use crate::timers::Timer;
use metadata::units::{BLOCK_BYTES, BlockRange, ByteRange};
use std::collections::{BTreeMap, VecDeque};

/// Pieces under way at most, however many buffers there are: a write that begins while the verify
/// runs at full speed finds no more than 4 MiB of reads before it on the disks.
const PIECES_MAX: usize = 32;
/// Blocks read at once.
const PIECE_BLOCKS_MAX: u64 = SYNC_PIECE_BYTES_MAX as u64 / BLOCK_BYTES;

/// What one node found in a piece; an error when it could not be read.
type Found = Result<Vec<Digest>, ()>;

/// A piece that is being compared.
#[derive(Debug)]
struct Piece {
    blocks: BlockRange,
    /// For the own read; none while that is under way, or is over.
    buffer: Option<BufferId>,
    /// The range is granted, so no write overlaps it.
    holds: bool,
    mine: Option<Found>,
    theirs: Option<Found>,
}

/// What the leader keeps.
#[derive(Debug)]
pub(super) struct Lead {
    /// The next block that was not asked for.
    cursor_block: u64,
    end_block: u64,
    /// Of pieces that could not be read as a whole.
    singly: VecDeque<BlockRange>,
    open: BTreeMap<u64, Piece>,
    pace: Pace,
}

impl Lead {
    pub(super) const fn new(blocks: BlockRange, pace: Pace) -> Self {
        Self {
            cursor_block: blocks.first,
            end_block: blocks.end(),
            singly: VecDeque::new(),
            open: BTreeMap::new(),
            pace,
        }
    }

    /// The next blocks to be read.
    fn next(&self) -> Option<BlockRange> {
        let left = self.end_block - self.cursor_block;
        let run = BlockRange { first: self.cursor_block, count: left.min(PIECE_BLOCKS_MAX) };
        self.singly.front().copied().or((left > 0).then_some(run))
    }

    fn step_over(&mut self, blocks: BlockRange) {
        if self.singly.pop_front().is_none() {
            self.cursor_block = blocks.end();
        }
    }

    /// Everything before this block was compared.
    pub(super) fn next_block(&self) -> u64 {
        let open = self.open.values().map(|piece| piece.blocks.first);
        let single = self.singly.iter().map(|blocks| blocks.first);
        open.chain(single).min().unwrap_or(self.cursor_block).min(self.cursor_block)
    }

    fn is_done(&self) -> bool {
        self.open.is_empty() && self.next().is_none()
    }

    pub(super) fn limited_by(&self, now: Moment) -> SyncLimit {
        let waits_for = |half: fn(&Piece) -> bool| self.open.values().filter(|p| half(p)).count();
        let here = waits_for(|piece| piece.mine.is_none());
        let there = waits_for(|piece| piece.theirs.is_none());
        match self.pace.held_by(now) {
            Some(limit) => limit,
            None if here > there => SyncLimit::SourceDisk,
            None if there > here => SyncLimit::TargetDisk,
            None => SyncLimit::Link,
        }
    }
}

impl Running {
    pub(super) const fn leads(&mut self) -> Option<&mut Lead> {
        match &mut self.part {
            Part::Lead(lead) => Some(lead),
            Part::Follow(_) => None,
        }
    }
}

impl Node {
    /// As a resync yields, so does a verify. It changes no bit, so it cannot lose ground.
    pub(super) fn verify_pace(&self) -> Pace {
        Pace::new(self.settings.sync.rate_max, self.settings.sync.rate_floor, 0, self.now)
    }

    /// The leader, as long as it is one.
    fn verify_lead(&mut self) -> Option<&mut Lead> {
        self.verify.running.as_mut().filter(|running| running.closing.is_none())?.leads()
    }

    /// The application reads or writes: the verify yields for a while.
    pub(super) fn verify_sees_application(&mut self) {
        let now = self.now;
        if let Some(lead) = self.verify_lead() {
            lead.pace.application_seen(now);
        }
    }

    /// Begins as many pieces as there are buffers. Pause and pace act here, before the grant, never
    /// after (D6).
    pub(super) fn verify_pump(&mut self) {
        loop {
            let (now, held) = (self.now, self.sync_is_held());
            let unlocked = self.breaks(Mutation::VerifyTakesNoLock);
            let size_bytes =
                self.replica.attached().map_or(0, super::replica::Attached::size_bytes);
            if held || self.sync_buffers.is_empty() {
                return;
            }
            let Some(lead) = self.verify_lead() else { return };
            if lead.open.len() >= PIECES_MAX {
                return;
            }
            let Some(blocks) = lead.next() else {
                if lead.is_done() {
                    self.verify_complete();
                }
                return;
            };
            let range = blocks.bytes(size_bytes);
            if let Err(again) = lead.pace.take(now, range.bytes()) {
                self.timers.set(Timer::SyncRate, again);
                return;
            }
            lead.step_over(blocks);
            self.verify.last_number += 1;
            let number = self.verify.last_number;
            let buffer = self.sync_buffers.pop();
            let piece = Piece { blocks, buffer, holds: !unlocked, mine: None, theirs: None };
            if let Some(lead) = self.verify_lead() {
                lead.open.insert(number, piece);
            }
            if unlocked || self.overlap.claim(range, Claim::Verify(number)) {
                self.verify_granted(number);
            }
        }
    }

    /// What was written there before is on both disks, and no write overlaps the piece before it is
    /// given back: both nodes read.
    pub(super) fn verify_granted(&mut self, number: u64) {
        let now = self.now;
        let size_bytes = self.replica.attached().map_or(0, super::replica::Attached::size_bytes);
        let Some(lead) = self.verify_lead() else { return };
        let (limit, next_block) = (lead.limited_by(now), lead.next_block());
        let Some(piece) = lead.open.get_mut(&number) else { return };
        let Some(buffer) = piece.buffer.take() else { return };
        let range = piece.blocks.bytes(size_bytes);
        let Some(session) = &self.peer.session else { return };
        let link = session.link;
        self.send(Message::VerifyRead { number, range, limit, next_block });
        self.alive_work_began();
        let io = self.io(Purpose::VerifyRead(VerifyRead { link, number, buffer, leads: true }));
        self.counters.disk_read_bytes += range.bytes();
        self.wish(Output::DiskDigests { io, range, buffer });
    }

    /// The own read of a piece is over; what it was for may be, too.
    fn verify_read_here(&mut self, number: u64, read: Result<Vec<Digest>, i32>) {
        if let Err(errno) = read {
            self.verify_says_unreadable(number, errno);
        }
        let Some(lead) = self.verify_lead() else { return };
        let Some(piece) = lead.open.get_mut(&number) else { return };
        piece.mine = Some(read.map_err(drop));
        let blocks = piece.blocks;
        if self.breaks(Mutation::VerifyGivesRangeBackEarly) {
            self.verify_gives_back(number, blocks);
        }
        self.verify_compare(number);
    }

    fn verify_says_unreadable(&mut self, number: u64, errno: i32) {
        let Some(lead) = self.verify_lead() else { return };
        let Some(piece) = lead.open.get(&number) else { return };
        let (first, count) = (piece.blocks.first, piece.blocks.count);
        let why = crate::io_error::describe(errno);
        let text = format!("verify cannot read {count} blocks of 4 KiB at block {first}: {why}");
        self.notice(Level::Error, text);
    }

    /// The follower has read it; what it was for may be over.
    pub(super) fn verify_read_there(&mut self, number: u64, found: Found) {
        let Some(lead) = self.verify_lead() else { return };
        let Some(piece) = lead.open.get_mut(&number) else { return };
        let count = found.as_ref().map_or(piece.blocks.count, |digests| digests.len() as u64);
        if piece.buffer.is_some() || piece.theirs.is_some() || count != piece.blocks.count {
            self.drop_session("digests came that were not asked for");
            return;
        }
        piece.theirs = Some(found);
        self.verify_compare(number);
    }

    /// Compares what both have read, if both have.
    fn verify_compare(&mut self, number: u64) {
        let misses = self.breaks(Mutation::VerifyMissesLastBlock);
        let Some(lead) = self.verify_lead() else { return };
        let Some(piece) = lead.open.get_mut(&number) else { return };
        if piece.mine.is_none() || piece.theirs.is_none() {
            return;
        }
        let (blocks, mine, theirs) = (piece.blocks, piece.mine.take(), piece.theirs.take());
        let (Some(mine), Some(theirs)) = (mine, theirs) else { return };
        match (mine, theirs) {
            (Ok(mine), Ok(theirs)) => {
                let mut pairs = mine.len();
                if misses && pairs > 1 {
                    pairs -= 1;
                }
                for run in differing_runs(blocks.first, &mine[..pairs], &theirs[..pairs]) {
                    self.verify_found(run, false);
                }
                self.verify_compared(blocks.count);
            }
            (Err(()), _) | (_, Err(())) if blocks.count > 1 => {
                // Block by block, so that one bad block costs no other.
                if let Some(lead) = self.verify_lead() {
                    let single = |first| BlockRange { first, count: 1 };
                    lead.singly.extend((blocks.first..blocks.end()).map(single));
                }
            }
            (Err(()), _) | (_, Err(())) => {
                self.verify_found(blocks, true);
                self.verify_compared(blocks.count);
            }
        }
        self.verify_gives_back(number, blocks);
        if let Some(lead) = self.verify_lead() {
            lead.open.remove(&number);
        }
        self.verify_pump();
    }

    /// Marked on both nodes.
    fn verify_found(&mut self, blocks: BlockRange, unreadable: bool) {
        self.verify_marks(blocks, unreadable);
        if !self.breaks(Mutation::VerifyMarksOneSide) {
            self.send(Message::VerifyDiffers { blocks, unreadable });
        }
    }

    pub(super) fn verify_compared(&mut self, blocks: u64) {
        let now = self.now;
        if let Some(running) = &mut self.verify.running {
            running.compared_blocks += blocks;
            running.progress.equal(now, blocks);
        }
    }

    /// Writes may overlap the piece again.
    fn verify_gives_back(&mut self, number: u64, blocks: BlockRange) {
        let size_bytes = self.replica.known().map_or(0, super::replica::Attached::size_bytes);
        let piece = self.verify_lead().and_then(|lead| lead.open.get_mut(&number));
        if piece.is_some_and(|piece| std::mem::take(&mut piece.holds)) {
            self.give_range_back(blocks.bytes(size_bytes));
        }
    }

    /// The verify is over: pieces that are under way are nobody's any more.
    pub(super) fn verify_releases(&mut self) {
        let Some(lead) = self.verify.running.as_mut().and_then(Running::leads) else { return };
        for piece in std::mem::take(&mut lead.open).into_values() {
            self.sync_buffers.extend(piece.buffer);
        }
        let claims = self.overlap.verify_claims();
        for (_, number, held) in &claims {
            if !held {
                self.overlap.forget_waiting(Claim::Verify(*number));
            }
        }
        for (range, _, held) in claims {
            if held {
                self.give_range_back(range);
            }
        }
    }

    /// A read for the verify ended, on either end.
    pub(super) fn verify_read_done(&mut self, read: VerifyRead, result: Result<Vec<Digest>, i32>) {
        self.wish(Output::Release(read.buffer));
        if !self.is_session(read.link) {
            return;
        }
        if read.leads {
            self.verify_read_here(read.number, result);
        } else {
            self.verify_answers(read.number, result);
        }
    }
}

/// A read under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct VerifyRead {
    pub(super) link: LinkId,
    pub(super) number: u64,
    pub(super) buffer: BufferId,
    pub(super) leads: bool,
}

/// Adjacent blocks that differ are one run.
fn differing_runs(first: u64, mine: &[Digest], theirs: &[Digest]) -> Vec<BlockRange> {
    let mut runs: Vec<BlockRange> = Vec::new();
    for (block, (one, other)) in (first..).zip(mine.iter().zip(theirs)) {
        if one == other {
            continue;
        }
        match runs.last_mut() {
            Some(run) if run.end() == block => run.count += 1,
            Some(_) | None => runs.push(BlockRange { first: block, count: 1 }),
        }
    }
    runs
}

/// True when a range is one that a leader may ask for, in a device of so many bytes.
pub(super) fn is_piece(range: ByteRange, size_bytes: u64) -> bool {
    let whole = range.end() == size_bytes || range.end().is_multiple_of(BLOCK_BYTES);
    range.end() <= size_bytes && whole && range.start().is_multiple_of(BLOCK_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjacent_blocks_that_differ_are_one_run() {
        let digest = |byte: u8| [byte; 32];
        let mine: Vec<Digest> = (0..6).map(digest).collect();
        let mut theirs = mine.clone();
        for block in [0, 2, 3, 5] {
            theirs[block][31] ^= 1;
        }
        let run = |first, count| BlockRange { first, count };
        assert_eq!(differing_runs(10, &mine, &theirs), [run(10, 1), run(12, 2), run(15, 1)]);
        assert!(differing_runs(10, &mine, &mine).is_empty());
    }

    #[test]
    fn the_next_block_is_the_first_that_was_not_compared() {
        let pace = Pace::new(None, 0, 0, Moment(0));
        let mut lead = Lead::new(BlockRange { first: 3, count: 100 }, pace);
        for number in 1..=2 {
            let blocks = lead.next().unwrap();
            lead.step_over(blocks);
            lead.open.insert(
                number,
                Piece { blocks, buffer: None, holds: true, mine: None, theirs: None },
            );
        }
        assert_eq!((lead.next_block(), lead.cursor_block), (3, 67));
        lead.open.remove(&1);
        assert_eq!(lead.next_block(), 35);
        lead.open.remove(&2);
        lead.singly.push_back(BlockRange { first: 40, count: 1 });
        assert_eq!((lead.next_block(), lead.next().unwrap().first), (40, 40));
        lead.step_over(BlockRange { first: 40, count: 1 });
        assert_eq!(lead.next_block(), 67);
        assert!(!lead.is_done());
    }
}
