//! Many runs on all cores. Each run is one thread's alone, so a seed always gives the same run.

use crate::coverage::Coverage;
use crate::run::{Report, run, run_broken};
use replicator::mutation::Mutation;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

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
    pub fn make(&self, failed: impl Fn(u64, &str) + Sync) -> Outcome {
        let next = AtomicU64::new(0);
        let outcome = Mutex::new(Outcome::default());
        std::thread::scope(|scope| {
            for _ in 0..self.threads.max(1) {
                scope.spawn(|| self.work(&next, &outcome, &failed));
            }
        });
        let mut outcome = outcome.into_inner().unwrap_or_default();
        outcome.failed.sort();
        outcome
    }

    fn work(
        &self,
        next: &AtomicU64,
        outcome: &Mutex<Outcome>,
        failed: &(impl Fn(u64, &str) + Sync),
    ) {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= self.seeds {
                return;
            }
            let seed = self.base.wrapping_add(index);
            let report = match self.broken {
                None => run(seed, false),
                Some(mutation) => run_broken(seed, false, mutation),
            };
            if let Some(why) = &report.violation {
                failed(seed, why);
                if !self.keep_going {
                    next.store(self.seeds, Ordering::Relaxed);
                }
            }
            if let Ok(mut outcome) = outcome.lock() {
                outcome.add(seed, report);
            }
        }
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
