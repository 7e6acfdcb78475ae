//! The proof that broken rules are noticed: each mutation in processes of its own, because an
//! engine that finds itself broken stops its process.

use replicator::mutation::Mutation;
use simulation::{cores, scenario_of};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Seeds of the mutated runs begin here; any number will do.
const BASE: u64 = 1_000_000;

/// How a mutation fared.
#[derive(Debug, Clone, Copy, Default)]
struct Verdict {
    runs: u64,
    caught: u64,
    /// The scenario written for it noticed it; none when there is none.
    scenario: Option<bool>,
}

impl Verdict {
    fn is_caught(self) -> bool {
        self.caught > 0 || self.scenario == Some(true)
    }
}

/// Breaks every rule in turn, in `seeds` runs each and in the scenario written for it. True when
/// every one was noticed.
pub(crate) fn every_mutation_is_caught(seeds: u64) -> bool {
    let next = AtomicUsize::new(0);
    let verdicts = Mutex::new(vec![Verdict::default(); Mutation::ALL.len()]);
    std::thread::scope(|scope| {
        for _ in 0..cores() {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(mutation) = Mutation::ALL.get(index) else { return };
                    let verdict = judge(*mutation, seeds);
                    if let Ok(mut verdicts) = verdicts.lock() {
                        verdicts[index] = verdict;
                    }
                }
            });
        }
    });
    let verdicts = verdicts.into_inner().unwrap_or_default();
    print_table(&verdicts);
    let caught = verdicts.iter().filter(|verdict| verdict.is_caught()).count();
    println!("{caught} of {} broken rules were noticed", Mutation::ALL.len());
    caught == Mutation::ALL.len()
}

fn print_table(verdicts: &[Verdict]) {
    let name_width = Mutation::ALL.iter().map(|mutation| mutation.name().len()).max().unwrap_or(0);
    println!(
        "{:name_width$}  {:>12}  {:32}  the rule, and what is done instead",
        "mutation", "caught in", "scenario"
    );
    for (mutation, verdict) in Mutation::ALL.iter().zip(verdicts) {
        let scenario = match (scenario_of(*mutation), verdict.scenario) {
            (Some(scenario), Some(true)) => scenario.name,
            (Some(_), _) => "NOT NOTICED",
            (None, _) => "",
        };
        let runs = format!("{} of {}", verdict.caught, verdict.runs);
        let missed = if verdict.is_caught() { "" } else { "NOT CAUGHT  " };
        println!(
            "{:name_width$}  {runs:>12}  {scenario:32}  {missed}{}",
            mutation.name(),
            mutation.what()
        );
    }
}

fn judge(mutation: Mutation, seeds: u64) -> Verdict {
    let mut verdict = Verdict::default();
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
    if scenario_of(mutation).is_some() {
        let output = this_program(&["--scenario", mutation.name()]);
        verdict.scenario = Some(output.is_some_and(|output| !output.status.success()));
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
