//! The proof that broken rules are noticed: each mutation in processes of its own, because an
//! engine that finds itself broken stops its process.

use replicator::mutation::Mutation;
use simulation::{Verdict, Verdicts, cores, scenario_of};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Seeds of the mutated runs begin here; any number will do.
const BASE: u64 = 1_000_000;

/// Breaks every rule in turn, in `seeds` runs each and in the scenario written for it. True when
/// every one was noticed.
pub(crate) fn every_mutation_is_caught(seeds: u64) -> bool {
    let next = AtomicUsize::new(0);
    let verdicts = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..cores() {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(mutation) = Mutation::ALL.get(index) else { return };
                    let verdict = judge(*mutation, seeds);
                    if let Ok(mut verdicts) = verdicts.lock() {
                        verdicts.push(verdict);
                    }
                }
            });
        }
    });
    let mut verdicts = verdicts.into_inner().unwrap_or_default();
    verdicts.sort_by_key(|verdict: &Verdict| verdict.mutation);
    print!("seeds from {BASE}\n{}", Verdicts(&verdicts));
    for mutation in Mutation::ALL {
        println!("{}: {}", mutation.name(), mutation.what());
    }
    verdicts.len() == Mutation::ALL.len() && verdicts.iter().all(Verdict::is_caught)
}

fn judge(mutation: Mutation, seeds: u64) -> Verdict {
    let mut verdict = Verdict { mutation, scenarios: Vec::new(), runs: 0, caught: 0 };
    while verdict.runs < seeds {
        let (first, left) = (BASE + verdict.runs, seeds - verdict.runs);
        let Some(output) = this_program(&[
            "--break",
            mutation.name(),
            "--seeds",
            &left.to_string(),
            "--base",
            &first.to_string(),
            "--keep-going",
            "--threads",
            "1",
        ]) else {
            break;
        };
        let failed = failed_seeds(&output);
        verdict.caught += failed.len() as u64;
        // A process that stopped itself has made all runs up to the one that stopped it.
        verdict.runs = match (output.status.code(), failed.last()) {
            (None, Some(last)) => last + 1 - BASE,
            (Some(_), _) | (None, None) => seeds,
        };
    }
    if let Some(scenario) = scenario_of(mutation) {
        let output = this_program(&["--scenario", mutation.name()]);
        let noticed = output.is_some_and(|output| !output.status.success());
        verdict.scenarios.push((scenario.name, noticed));
    }
    verdict
}

fn this_program(arguments: &[&str]) -> Option<Output> {
    let program = std::env::current_exe().ok()?;
    Command::new(program).args(arguments).output().ok()
}

/// The seeds of the lines that tell of a broken rule.
fn failed_seeds(output: &Output) -> Vec<u64> {
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.strip_prefix("seed ")?.split_once(": ")?.0.parse().ok())
        .collect()
}
