//! Progress of a resync: how much, how fast, how long still. It never goes back: what is rewritten
//! meanwhile makes the whole larger, not the part that is done smaller.

use crate::ids::Moment;
use std::collections::VecDeque;
use std::time::Duration;

/// Marks are this far apart, and the rate is that over all of them (DRBD: 8 marks of 3 s).
const MARK_EVERY: Duration = Duration::from_millis(500);
const MARKS: usize = 8;

/// Counts of 4 KiB blocks.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    began: Moment,
    /// Held, by a pause or because the nodes did not see each other.
    held: Duration,
    held_since: Option<Moment>,
    total_blocks: u64,
    done_blocks: u64,
    pub(super) copied_blocks: u64,
    /// Compared and not copied.
    pub(super) equal_blocks: u64,
    marks: VecDeque<(Moment, u64)>,
}

impl Progress {
    pub(super) fn begin(now: Moment, total_blocks: u64) -> Self {
        Self {
            began: now,
            held: Duration::ZERO,
            held_since: None,
            total_blocks,
            done_blocks: 0,
            copied_blocks: 0,
            equal_blocks: 0,
            marks: VecDeque::from([(now, 0)]),
        }
    }

    /// The same resync goes on after an interruption: what was done stays done.
    pub(super) fn go_on(mut self, now: Moment, left_blocks: u64) -> Self {
        self.total_blocks = self.done_blocks + left_blocks;
        self.hold(now, false);
        self
    }

    /// It is held from now on, or no longer.
    pub(super) fn hold(&mut self, now: Moment, held: bool) {
        if held {
            self.held_since.get_or_insert(now);
        } else if let Some(since) = self.held_since.take() {
            self.held += now.since(since);
            self.marks = VecDeque::from([(now, self.handled())]);
        }
    }

    pub(super) fn copied(&mut self, now: Moment, blocks: u64) {
        self.copied_blocks += blocks;
        self.mark(now);
    }

    pub(super) fn equal(&mut self, now: Moment, blocks: u64) {
        self.equal_blocks += blocks;
        self.mark(now);
    }

    const fn handled(&self) -> u64 {
        self.copied_blocks + self.equal_blocks
    }

    fn mark(&mut self, now: Moment) {
        let newest = self.marks.back().map_or(self.began, |(at, _)| *at);
        if now.since(newest) >= MARK_EVERY {
            self.marks.push_back((now, self.handled()));
            if self.marks.len() > MARKS {
                self.marks.pop_front();
            }
        }
    }

    /// So many blocks are left now.
    pub(super) fn see(&mut self, left_blocks: u64) {
        (self.done_blocks, self.total_blocks) = self.done_and_total(left_blocks);
    }

    /// Blocks done and their total if so many are left.
    pub(super) fn done_and_total(&self, left_blocks: u64) -> (u64, u64) {
        let done = self.total_blocks.saturating_sub(left_blocks).max(self.done_blocks);
        (done, done + left_blocks)
    }

    /// Bytes per second since the oldest mark; 0 while it is held.
    pub(super) fn bytes_per_s(&self, now: Moment) -> u64 {
        if self.held_since.is_some() {
            return 0;
        }
        let (since, before) = self.marks.front().copied().unwrap_or((self.began, 0));
        let micros = now.since(since).as_micros().max(1);
        let blocks = u128::from(self.handled() - before);
        let bytes = blocks * u128::from(metadata::units::BLOCK_BYTES);
        u64::try_from(bytes * 1_000_000 / micros).unwrap_or(u64::MAX)
    }

    /// Time since it began, less the time for which it was held.
    pub(super) fn elapsed(&self, now: Moment) -> Duration {
        now.since(self.began).saturating_sub(self.held_until(now))
    }

    fn held_until(&self, now: Moment) -> Duration {
        self.held + self.held_since.map_or(Duration::ZERO, |since| now.since(since))
    }

    pub(super) fn summary(&self, now: Moment) -> String {
        let took = self.elapsed(now);
        let micros = took.as_micros().max(1);
        let kib = u128::from(self.handled()) * 4;
        let mut text = format!(
            "Resync done (total {:.1} sec; paused {:.1} sec; {} K/sec; {} blocks of 4 KiB copied)",
            took.as_secs_f64(),
            self.held_until(now).as_secs_f64(),
            kib * 1_000_000 / micros,
            self.copied_blocks
        );
        if self.equal_blocks > 0 {
            let percent = self.equal_blocks * 100 / self.handled();
            let eliminated = self.equal_blocks * 4;
            text += &format!("; {percent} % had equal checksums, eliminated: {eliminated}K");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_rewritten_never_takes_back_what_was_done() {
        let mut progress = Progress::begin(Moment(0), 100);
        progress.see(60);
        assert_eq!(progress.done_and_total(60), (40, 100));
        progress.see(75);
        assert_eq!(progress.done_and_total(75), (40, 115));
        progress.see(0);
        assert_eq!(progress.done_and_total(0), (115, 115));
    }

    #[test]
    fn an_interruption_keeps_what_was_done_and_does_not_count_as_time() {
        let mut progress = Progress::begin(Moment(0), 100);
        progress.copied(Moment(1_000_000), 40);
        progress.see(60);
        progress.hold(Moment(1_000_000), true);
        assert_eq!(progress.bytes_per_s(Moment(5_000_000)), 0);
        let progress = progress.go_on(Moment(9_000_000), 70);
        assert_eq!(progress.done_and_total(70), (40, 110));
        assert_eq!(progress.elapsed(Moment(10_000_000)), Duration::from_secs(2));
    }
}
