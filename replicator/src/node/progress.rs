//! Progress of a resync: how much, how fast, how long still.

use crate::ids::Moment;
use std::collections::VecDeque;
use std::time::Duration;

/// Marks are this far apart, and the rate is that over all of them (DRBD: 8 marks of 3 s).
const MARK_EVERY: Duration = Duration::from_millis(500);
const MARKS: usize = 8;

/// Counts of 4 KiB blocks.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) began: Moment,
    pub(super) total_blocks: u64,
    pub(super) copied_blocks: u64,
    marks: VecDeque<(Moment, u64)>,
}

impl Progress {
    pub(super) fn begin(now: Moment, total_blocks: u64) -> Self {
        Self { began: now, total_blocks, copied_blocks: 0, marks: VecDeque::from([(now, 0)]) }
    }

    pub(super) fn copied(&mut self, now: Moment, blocks: u64) {
        self.copied_blocks += blocks;
        let newest = self.marks.back().map_or(self.began, |(at, _)| *at);
        if now.since(newest) >= MARK_EVERY {
            self.marks.push_back((now, self.copied_blocks));
            if self.marks.len() > MARKS {
                self.marks.pop_front();
            }
        }
    }

    /// Bytes per second since the oldest mark.
    pub(super) fn bytes_per_s(&self, now: Moment) -> u64 {
        let (since, before) = self.marks.front().copied().unwrap_or((self.began, 0));
        let micros = now.since(since).as_micros().max(1);
        let bytes =
            u128::from(self.copied_blocks - before) * u128::from(metadata::units::BLOCK_BYTES);
        u64::try_from(bytes * 1_000_000 / micros).unwrap_or(u64::MAX)
    }

    pub(super) fn summary(&self, now: Moment) -> String {
        let took = now.since(self.began);
        let micros = took.as_micros().max(1);
        let kib = u128::from(self.copied_blocks) * 4;
        format!(
            "Resync done (total {:.1} sec; {} K/sec; {} blocks of 4 KiB copied)",
            took.as_secs_f64(),
            kib * 1_000_000 / micros,
            self.copied_blocks
        )
    }
}
