//! The end of a verify: what was found is durable on both nodes, then it is told (D7).

use super::Node;
use super::persist::Then;
use super::replica::Attached;
use super::verify::{Part, Running};
use crate::event::{Handler, Level};
use crate::message::Message;
use crate::mutation::Mutation;
use crate::pace::SyncLimit;
use crate::status::{BrokenOff, Verified, VerifyProgress};
use crate::{block_set::BlockSet, ids::Moment};
use metadata::layout::SECTOR_BYTES;
use metadata::units::{BLOCK_BYTES, BlockRange};
use std::time::Duration;

/// Ranges that are told one by one; the number of the others is told.
const RANGES_TOLD_MAX: usize = 1000;

/// What is left to be waited for.
#[derive(Debug)]
pub(super) struct Closing {
    broken_off: Option<BrokenOff>,
    /// The own marks are on their way to the disk.
    here: bool,
    /// The follower has not said that its marks are durable.
    there: bool,
}

impl Node {
    /// Leader: everything is compared. The follower makes its marks durable at the same time.
    pub(super) fn verify_complete(&mut self) {
        let Some(running) = &self.verify.running else { return };
        let (compared_blocks, next_block) = (running.compared_blocks, running.order.blocks.end());
        self.send(Message::VerifyEnd { compared_blocks, next_block, broken_off: None });
        self.alive_work_began();
        let there = !self.breaks(Mutation::VerifyDoneBeforeMarks);
        self.verify_closes(None, there);
    }

    /// It does not go on: what was found so far stays marked.
    pub(super) fn verify_broken_off(&mut self, why: &str) {
        let Some(running) = &mut self.verify.running else { return };
        if let Some(closing) = &mut running.closing {
            // Compared, but nobody knows whether the peer has its marks.
            if std::mem::take(&mut closing.there) {
                let next_sector = running.order.blocks.end() * (BLOCK_BYTES / SECTOR_BYTES);
                closing.broken_off = Some(BrokenOff { why: why.into(), next_sector });
            }
            self.verify_when_marked();
            return;
        }
        let next_block = match &running.part {
            Part::Lead(lead) => lead.next_block(),
            Part::Follow(follow) => follow.next_block.unwrap_or(running.order.blocks.first),
        };
        let (compared_blocks, leads) =
            (running.compared_blocks, matches!(running.part, Part::Lead(_)));
        if leads && self.peer.is_connected() {
            let broken_off = Some(why.into());
            self.send(Message::VerifyEnd { compared_blocks, next_block, broken_off });
        }
        let next_sector = next_block * (BLOCK_BYTES / SECTOR_BYTES);
        self.verify_closes(Some(BrokenOff { why: why.into(), next_sector }), false);
    }

    /// Follower: it is over.
    pub(super) fn verify_end_received(
        &mut self,
        compared_blocks: u64,
        next_block: u64,
        why: Option<String>,
    ) {
        let Some(running) = &mut self.verify.running else { return };
        if running.closing.is_some() || matches!(running.part, Part::Lead(_)) {
            return;
        }
        running.compared_blocks = compared_blocks;
        let next_sector = next_block * (BLOCK_BYTES / SECTOR_BYTES);
        self.verify_closes(why.map(|why| BrokenOff { why, next_sector }), false);
    }

    /// Nothing new is found from here on; the marks go to stable storage.
    fn verify_closes(&mut self, broken_off: Option<BrokenOff>, there: bool) {
        self.verify_releases();
        let Some(running) = &mut self.verify.running else { return };
        let marks = !running.differing.is_empty() && !self.replica.is_gone();
        running.closing = Some(Closing { broken_off, here: marks, there });
        let run = running.run;
        if marks && !self.breaks(Mutation::VerifyMarksInMemory) {
            self.persist_bitmap();
            self.persist_superblock(|_| {}, Some(Then::VerifyMarked { run }));
            return;
        }
        self.verify_marked(run);
    }

    /// The own marks are durable.
    pub(super) fn verify_marked(&mut self, marked: u64) {
        let Some(Running { run, closing: Some(closing), .. }) = &mut self.verify.running else {
            return;
        };
        if *run == marked {
            closing.here = false;
            self.verify_when_marked();
        }
    }

    /// Leader: so are the follower's.
    pub(super) fn verify_ended_received(&mut self) {
        let Some(Running { closing: Some(closing), .. }) = &mut self.verify.running else { return };
        closing.there = false;
        self.verify_when_marked();
    }

    fn verify_when_marked(&mut self) {
        let Some(Running { closing: Some(closing), .. }) = &self.verify.running else { return };
        if !closing.here && !closing.there {
            self.verify_over();
        }
    }

    /// Now it may be told.
    pub(super) fn verify_over(&mut self) {
        let old = self.replication();
        let Some(running) = self.verify.running.take() else { return };
        let Some(closing) = running.closing else { return };
        let (now, connected) = (self.now, self.peer.is_connected());
        let leads = matches!(running.part, Part::Lead(_));
        let complete = closing.broken_off.is_none();
        let differing_blocks = running.differing.count();
        if complete && !leads {
            self.send(Message::VerifyEnded);
        }
        self.verify_tells(&running.differing);
        let took = running.progress.elapsed(now);
        let micros = took.as_micros().max(1);
        let speed = u128::from(running.compared_blocks) * 4 * 1_000_000 / micros;
        let (compared_blocks, seconds) = (running.compared_blocks, took.as_secs_f64());
        let text = match &closing.broken_off {
            None => format!(
                "Online verify done (total {seconds:.1} sec; {speed} K/sec; {compared_blocks} blocks of 4 KiB \
                 compared)"
            ),
            Some(BrokenOff { why, next_sector }) => format!(
                "Online verify broken off: {why}; 'blkrep verify --start {next_sector}' goes on where it was"
            ),
        };
        self.notice(if complete { Level::Info } else { Level::Warning }, text);
        let repairing = running.order.repair && complete && differing_blocks > 0 && connected;
        let verified = Verified {
            run: running.run,
            since_end: Duration::ZERO,
            took,
            compared_blocks,
            differing_blocks,
            unreadable_blocks: running.unreadable_blocks,
            repaired_blocks: 0,
            repairing,
            broken_off: closing.broken_off,
        };
        self.verify.last = Some((verified, now));
        if differing_blocks > 0 {
            let found = format!("Online verify found {differing_blocks} 4k block out of sync!");
            self.notice(Level::Error, found);
            self.run_handler(Handler::OutOfSync);
        }
        self.replication_changed(old, "the verify is over");
        if repairing && leads {
            self.repair_after_verify();
        }
    }

    /// One line for each run of adjacent blocks, in DRBD's words.
    fn verify_tells(&mut self, differing: &BlockSet) {
        let size_bytes = self.replica.known().map_or(u64::MAX, Attached::size_bytes);
        let mut runs: Vec<BlockRange> = Vec::new();
        let mut untold = 0_u64;
        for run in differing.runs() {
            let has_room = runs.len() < RANGES_TOLD_MAX;
            match runs.last_mut() {
                Some(last) if last.end() == run.first && untold == 0 => last.count += run.count,
                Some(_) | None if has_room => runs.push(run),
                Some(_) | None => untold += 1,
            }
        }
        for run in runs {
            let range = run.bytes(size_bytes);
            let (start, size) =
                (range.start() / SECTOR_BYTES, range.bytes().div_ceil(SECTOR_BYTES));
            self.notice(Level::Error, format!("Out of sync: start={start}, size={size} (sectors)"));
        }
        if untold > 0 {
            self.notice(Level::Error, format!("Out of sync: {untold} more ranges"));
        }
    }

    /// The progress of the verify under way.
    pub(super) fn verify_progress(&self, now: Moment) -> Option<VerifyProgress> {
        let running = self.verify.running.as_ref()?;
        let total_blocks = running.order.blocks.count;
        let left_blocks = total_blocks.saturating_sub(running.compared_blocks);
        let bytes_per_s = running.progress.bytes_per_s(now);
        let limit = match &running.part {
            Part::Lead(lead) => lead.limited_by(now),
            Part::Follow(follow) => follow.limit,
        };
        Some(VerifyProgress {
            run: running.run,
            total_blocks,
            left_blocks,
            differing_blocks: running.differing.count(),
            bytes_per_s,
            eta: (left_blocks * BLOCK_BYTES).checked_div(bytes_per_s).map(Duration::from_secs),
            elapsed: running.progress.elapsed(now),
            limited_by: if self.sync_is_held() { SyncLimit::PAUSE_WORD } else { limit.word() },
        })
    }

    /// The result of the last one.
    pub(super) fn verified(&self, now: Moment) -> Option<Verified> {
        let (verified, ended) = self.verify.last.as_ref()?;
        Some(Verified { since_end: now.since(*ended), ..verified.clone() })
    }
}
