//! The command line: many fresh seeds, one seed again with a trace, or the proof that broken rules
//! are noticed.

mod order;
mod proof;

use order::{Many, One, Order, Play, USAGE};
use simulation::{
    Batch, MARKS, current_seed, never_taken, outlive_panic, run, run_broken, scenario_named, table,
};
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
        if cfg!(panic = "abort") {
            outlive_panic(format!("panic: {panic}"));
        }
        println!("seed {}: panic: {panic}", current_seed());
    }));
    let well = match order {
        Order::One(order) => one(order),
        Order::Many(order) => many(order),
        Order::Scenario(order) => scenario(order),
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

/// One scenario, with sound engines or with a rule broken.
fn scenario(Play { name, tracing, broken }: Play) -> bool {
    let Some(scenario) = scenario_named(name) else { return false };
    let ending = if tracing { scenario.show(broken) } else { scenario.play(broken) };
    match &ending {
        Ok(()) => println!("{name}: all is well"),
        Err(why) => println!("{name}: {why}"),
    }
    ending.is_ok()
}
