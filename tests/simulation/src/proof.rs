//! The proof that broken rules are noticed: each mutation in processes of its own, because a
//! scenario whose engine finds itself broken stops its process.

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
    let mut verdict = Verdict { mutation, scenarios: Vec::new(), runs: seeds, caught: 0 };
    let (base, runs) = (BASE.to_string(), seeds.to_string());
    let many = ["--seeds", &runs, "--base", &base, "--keep-going", "--threads", "1"];
    let output = this_program(&[&["--break", mutation.name()], &many[..]].concat());
    verdict.caught = output.map_or(0, |output| failed_seeds(&output));
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

/// How many lines tell of a seed that broke a rule.
fn failed_seeds(output: &Output) -> u64 {
    let lines = String::from_utf8_lossy(&output.stdout);
    lines.lines().filter(|line| line.starts_with("seed ")).count() as u64
}
