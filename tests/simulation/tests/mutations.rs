//! Rules broken on purpose: every one must be noticed, by the scenario that is written for it or by
//! a random run; and every scenario must end well as long as no rule is broken.

use replicator::mutation::Mutation;
use simulation::{SCENARIOS, run_broken, scenario_of};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Random runs after which a broken rule counts as not noticed.
const RUNS_MAX: u64 = 400;

fn is_caught(mutation: Mutation) -> bool {
    match scenario_of(mutation) {
        Some(scenario) => scenario.play(Some(mutation)).is_err(),
        None => (1..=RUNS_MAX).any(|seed| run_broken(seed, false, mutation).violation.is_some()),
    }
}

#[test]
fn every_broken_rule_is_noticed() {
    // Broken engines panic, too; the report says enough.
    std::panic::set_hook(Box::new(|_| {}));
    let (next, missed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(mutation) = Mutation::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if !is_caught(*mutation) {
                        missed.lock().unwrap().push(mutation.name());
                    }
                }
            });
        }
    });
    let _ = std::panic::take_hook();
    let missed = missed.into_inner().unwrap();
    assert!(missed.is_empty(), "not noticed: {missed:?}");
}

#[test]
fn every_scenario_ends_well_with_sound_engines() {
    for scenario in SCENARIOS {
        assert_eq!(scenario.play(None), Ok(()), "{}", scenario.name);
    }
}
