//! The command line: many fresh seeds, or one seed again with a trace.

use simulation::{CURRENT_SEED, Coverage, run};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

const USAGE: &str = "usage: simulation --seeds N [--base B] [--keep-going] | --seed S [--trace]";

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Many { seeds: u64, base: Option<u64>, keep_going: bool },
    One { seed: u64, tracing: bool },
}

fn order(arguments: &[String]) -> Option<Order> {
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse::<u64>().ok()
    };
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    match (value("--seed"), value("--seeds")) {
        (Some(seed), None) => Some(Order::One { seed, tracing: has("--trace") }),
        (None, Some(seeds)) => {
            Some(Order::Many { seeds, base: value("--base"), keep_going: has("--keep-going") })
        }
        (Some(_), Some(_)) | (None, None) => None,
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(order) = order(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("seed {}: {panic}", CURRENT_SEED.load(Ordering::Relaxed));
    }));
    match order {
        Order::One { seed, tracing } => one(seed, tracing),
        Order::Many { seeds, base, keep_going } => many(seeds, base, keep_going),
    }
}

fn one(seed: u64, tracing: bool) -> ExitCode {
    let report = run(seed, tracing);
    print!("{}", report.coverage);
    match report.violation {
        Some(why) => {
            println!("seed {seed}: {why}");
            ExitCode::FAILURE
        }
        None => {
            println!("seed {seed}: all is well");
            ExitCode::SUCCESS
        }
    }
}

fn many(seeds: u64, base: Option<u64>, keep_going: bool) -> ExitCode {
    let fresh = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(1, |since| since.as_secs() % 1_000_000_000 * 1000)
    };
    let base = base.unwrap_or_else(fresh);
    println!("base seed {base}");
    let began = Instant::now();
    let (mut coverage, mut failed, mut runs) = (Coverage::default(), 0_u64, 0_u64);
    for seed in base..base + seeds {
        let report = run(seed, false);
        runs += 1;
        coverage.add(&report.coverage);
        if let Some(why) = report.violation {
            failed += 1;
            println!("seed {seed}: {why}");
            if !keep_going {
                break;
            }
        }
    }
    print!("{coverage}");
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    println!("{runs} runs, {failed} failed, {:.0} runs a minute", runs as f64 / minutes);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn one_seed_or_many_are_understood_and_both_at_once_are_not() {
        let many = Order::Many { seeds: 5, base: None, keep_going: true };
        assert_eq!(order(&words("--seeds 5 --keep-going")), Some(many));
        let one = Order::One { seed: 7, tracing: true };
        assert_eq!(order(&words("--seed 7 --trace")), Some(one));
        assert_eq!(order(&words("--seed 7 --seeds 5")), None);
        assert_eq!(order(&words("--seed x")), None);
    }
}
