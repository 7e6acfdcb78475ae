//! Rules broken on purpose: every one must be noticed by each scenario that is written for it, and
//! the test says in how many random runs it is noticed besides; every scenario must end well as
//! long as no rule is broken.

use replicator::mutation::Mutation;
use simulation::{Verdict, Verdicts, all_scenarios, cores, is_covered, run_broken, scenario_of};
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Seeds of the mutated runs begin here; any number will do.
const BASE: u64 = 1_000_000;
/// Random runs of each mutation: a sample. `simulation --mutations` makes more.
const RUNS: u64 = 20;

fn judge(mutation: Mutation) -> Verdict {
    let scenarios = all_scenarios()
        .filter(|scenario| scenario.catches.contains(&mutation))
        .map(|scenario| (scenario.name, scenario.play(Some(mutation)).is_err()))
        .collect();
    let broken = |seed: &u64| run_broken(*seed, false, mutation).violation.is_some();
    let caught = (BASE..BASE + RUNS).filter(broken).count() as u64;
    Verdict { mutation, scenarios, runs: RUNS, caught }
}

#[test]
fn every_broken_rule_is_noticed() {
    // Broken engines panic, too; the report says enough.
    std::panic::set_hook(Box::new(|_| {}));
    let (next, verdicts) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..cores() {
            scope.spawn(|| {
                while let Some(mutation) = Mutation::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let verdict = judge(*mutation);
                    verdicts.lock().unwrap().push(verdict);
                }
            });
        }
    });
    let _ = std::panic::take_hook();
    let mut verdicts = verdicts.into_inner().unwrap();
    verdicts.sort_by_key(|verdict| verdict.mutation);
    // Past the capture of the test harness: whoever runs the tests shall read it.
    write!(std::io::stdout(), "\nseeds from {BASE}\n{}", Verdicts(&verdicts)).unwrap();
    let missed: Vec<&Verdict> = verdicts
        .iter()
        .filter(|verdict| {
            !verdict.is_caught() || verdict.scenarios.iter().any(|(_, noticed)| !noticed)
        })
        .collect();
    assert!(missed.is_empty(), "not noticed: {missed:#?}");
}

#[test]
fn every_mutation_has_a_scenario_of_its_own() {
    let without: Vec<&str> = Mutation::ALL
        .iter()
        .filter(|mutation| scenario_of(**mutation).is_none() && !is_covered(**mutation))
        .map(|mutation| mutation.name())
        .collect();
    assert!(without.is_empty(), "nothing but luck notices these: {without:?}");
}

#[test]
fn every_scenario_fails_with_some_rule_broken() {
    let idle: Vec<&str> = all_scenarios()
        .filter(|scenario| scenario.catches.is_empty())
        .map(|scenario| scenario.name)
        .collect();
    assert!(idle.is_empty(), "nothing shows that these can fail: {idle:?}");
}

#[test]
fn every_scenario_ends_well_with_sound_engines() {
    for scenario in all_scenarios() {
        assert_eq!(scenario.play(None), Ok(()), "{}", scenario.name);
    }
}
