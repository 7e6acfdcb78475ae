//! Many runs on all cores. Each run is one thread's alone, so a seed always gives the same run.

use crate::coverage::Coverage;
use crate::run::{Report, current_seed, run, run_broken};
use replicator::mutation::Mutation;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};

/// What to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// The first seed.
    pub base: u64,
    /// How many seeds.
    pub seeds: u64,
    /// The rule that the engines break on purpose.
    pub broken: Option<Mutation>,
    /// Go on after a run that broke a rule.
    pub keep_going: bool,
    /// Runs at once.
    pub threads: usize,
}

/// What came out.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Runs that were made.
    pub runs: u64,
    /// Runs that broke a rule: seed, and what was broken.
    pub failed: Vec<(u64, String)>,
    /// What happened how often, in all runs together.
    pub coverage: Coverage,
}

impl Outcome {
    fn add(&mut self, seed: u64, report: Report) {
        self.runs += 1;
        self.coverage.add(&report.coverage);
        self.failed.extend(report.violation.map(|why| (seed, why)));
    }
}

impl Batch {
    /// Makes the runs; `failed` hears of every one that broke a rule, as soon as it has.
    #[must_use]
    pub fn make(self, mut failed: impl FnMut(u64, &str)) -> Outcome {
        let (reports, done) = channel();
        let next = Arc::new(AtomicU64::new(0));
        for _ in 0..self.threads.max(1) {
            Worker { batch: self, next: Arc::clone(&next), reports: reports.clone() }.start();
        }
        drop(reports);
        let mut outcome = Outcome::default();
        for (seed, report) in done {
            if let Some(why) = &report.violation {
                failed(seed, why);
            }
            outcome.add(seed, report);
        }
        outcome.failed.sort();
        outcome
    }
}

/// One thread's share of a batch.
#[derive(Debug)]
struct Worker {
    batch: Batch,
    /// Runs that were begun, by all threads together.
    next: Arc<AtomicU64>,
    reports: Sender<(u64, Report)>,
}

thread_local! {
    /// Whose run this thread makes now.
    static WORKER: Cell<Option<Worker>> = const { Cell::new(None) };
}

impl Worker {
    fn start(self) {
        std::thread::spawn(move || self.work());
    }

    fn work(self) {
        let mut this = self;
        loop {
            let index = this.next.fetch_add(1, Ordering::Relaxed);
            if index >= this.batch.seeds {
                return;
            }
            let (seed, broken) = (this.batch.base.wrapping_add(index), this.batch.broken);
            WORKER.set(Some(this));
            let report = match broken {
                None => run(seed, false),
                Some(mutation) => run_broken(seed, false, mutation),
            };
            let Some(back) = WORKER.take() else { return };
            this = back;
            this.report(seed, report);
        }
    }

    fn report(&self, seed: u64, report: Report) {
        if report.violation.is_some() && !self.batch.keep_going {
            self.next.store(self.batch.seeds, Ordering::Relaxed);
        }
        // Nobody listens any more when the batch was given up.
        let _ = self.reports.send((seed, report));
    }
}

/// Where panics end the process: takes the run that panics out of its batch, whose other runs go
/// on. For a panic hook, on the thread that panics; does not return then. Returns where no run of a
/// batch is under way on this thread.
pub fn outlive_panic(words: String) {
    let Some(worker) = WORKER.take() else { return };
    worker.report(current_seed(), Report { violation: Some(words), coverage: Coverage::default() });
    worker.start();
    loop {
        std::thread::park();
    }
}

/// Cores of this machine: as many runs are made at once.
#[must_use]
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_of_a_batch_is_run_once_whatever_the_number_of_threads() {
        for threads in [1, 2] {
            let batch = Batch { base: 1, seeds: 6, broken: None, keep_going: true, threads };
            let outcome = batch.make(|_, _| {});
            assert_eq!((outcome.runs, outcome.failed.len()), (6, 0));
            let coverage: String = outcome.coverage.to_string();
            let mut alone = Coverage::default();
            for seed in 1..=6 {
                alone.add(&run(seed, false).coverage);
            }
            assert_eq!(coverage, alone.to_string());
        }
    }
}
