//! The command line: many fresh seeds, one seed again with a trace, or the proof that broken rules
//! are noticed.

mod order;
mod proof;

use order::{Many, One, Order, USAGE};
use replicator::mutation::Mutation;
use simulation::{Batch, MARKS, current_seed, never_taken, run, run_broken, scenario_of, table};
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let order = match Order::parse(&arguments) {
        Ok(order) => order,
        Err(why) => {
            eprintln!("{why}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    std::panic::set_hook(Box::new(|panic| {
        println!("seed {}: panic: {panic}", current_seed());
    }));
    let well = match order {
        Order::One(order) => one(order),
        Order::Many(order) => many(order),
        Order::Scenario(mutation) => scenario(mutation),
        Order::Mutations { seeds } => proof::every_mutation_is_caught(seeds),
    };
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn one(One { seed, tracing, broken }: One) -> bool {
    let report = match broken {
        None => run(seed, tracing),
        Some(mutation) => run_broken(seed, tracing, mutation),
    };
    print!("{}", report.coverage);
    match &report.violation {
        Some(why) => println!("seed {seed}: {why}"),
        None => println!("seed {seed}: all is well"),
    }
    report.violation.is_none()
}

fn many(Many { seeds, base, keep_going, broken, threads }: Many) -> bool {
    let fresh = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(1, |since| since.as_secs() % 1_000_000_000 * 1000)
    };
    let base = base.unwrap_or_else(fresh);
    println!("base seed {base}");
    let began = Instant::now();
    let batch = Batch { base, seeds, broken, keep_going, threads };
    let outcome = batch.make(|seed, why| println!("seed {seed}: {why}"));
    print!("{}\n{}", outcome.coverage, table(&outcome.coverage));
    let never = never_taken(&outcome.coverage);
    if !never.is_empty() {
        println!("{} of {} interesting paths were never taken", never.len(), MARKS.len());
    }
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    let (runs, failed) = (outcome.runs, outcome.failed.len());
    println!("{runs} runs, {failed} failed, {:.0} runs a minute", runs as f64 / minutes);
    failed == 0
}

/// The scenario that is written for a broken rule, with that rule broken.
fn scenario(mutation: Mutation) -> bool {
    let Some(scenario) = scenario_of(mutation) else {
        println!("no scenario is written for {}", mutation.name());
        return true;
    };
    match scenario.play(Some(mutation)) {
        Ok(()) => println!("{}: all is well", scenario.name),
        Err(why) => {
            println!("{}: {why}", scenario.name);
            return false;
        }
    }
    true
}
