//! A fixed set of seeds, so that every change of the engine is judged by the same runs; and in that
//! set every rule's interesting path is taken.

use simulation::{Batch, Outcome, cores, never_taken, run, table};

/// Where the set begins.
const BASE: u64 = 10001;
/// Enough runs to take every path of the table at least once, in well below a minute.
const RUNS: u64 = 2500;

#[test]
fn every_run_of_the_fixed_seeds_keeps_the_promise_and_ends_in_sync() {
    let threads = cores();
    let batch = Batch { base: BASE, seeds: RUNS, broken: None, keep_going: true, threads };
    let Outcome { failed, coverage, .. } = batch.make(|_, _| {});
    assert!(failed.is_empty(), "replay with: simulation --seed S --trace\n{failed:#?}");
    let never = never_taken(&coverage);
    assert!(never.is_empty(), "never taken: {never:?}\n{}", table(&coverage));
}

#[test]
fn a_seed_is_replayed_to_the_same_counts() {
    for seed in [3, 5, 8] {
        let [first, second] = [(); 2].map(|()| run(seed, false).coverage.to_string());
        assert_eq!(first, second, "seed {seed}");
    }
}
