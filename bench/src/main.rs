//! The benchmark: fio's workloads, or pgbench, on a replicated pair and on a yardstick, in turns.
//! Prints a table.
//!
//! docs/performance.md says how to run it and what the columns mean.

mod contender;
mod error;
mod fio_report;
mod measure;
mod pgbench;
mod processes;
mod table;
mod workload;

use clap::Parser;
use contender::Contender;
use error::BenchError;
use measure::Meter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use table::{Cell, table};
use testbed::fio::require_fio;
use testbed::scratch::Scratch;
use workload::{DEVICE_BYTES, WORKLOADS};

/// The contender that all others are compared with.
const YARDSTICK: &str = "qemu-nbd";
/// Seconds of one run with `--short`: ten cells and their counting in about 20 s.
const SHORT_SECONDS: f64 = 1.0;
/// Seconds of one run without.
const LONG_SECONDS: f64 = 3.0;
/// Rounds without `--short`.
const LONG_ROUNDS: u32 = 3;

/// Measures a replicated pair on this machine beside an unreplicated qemu-nbd.
#[derive(Debug, Parser)]
struct Args {
    /// One round of short runs, about 20 s in all
    #[arg(long)]
    short: bool,
    /// pgbench on XFS instead of fio; as root
    #[arg(long)]
    pgbench: bool,
    /// Seconds of each run
    #[arg(long)]
    seconds: Option<f64>,
    /// How often everything is measured; the table shows medians
    #[arg(long)]
    rounds: Option<u32>,
    /// The program to measure; by default `blkrep` beside this program
    #[arg(long)]
    blkrep: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<String, BenchError> {
    let binary = args.blkrep.clone().unwrap_or_else(beside_this_program);
    let seconds = args.seconds.unwrap_or(if args.short { SHORT_SECONDS } else { LONG_SECONDS });
    let rounds = args.rounds.unwrap_or(if args.short { 1 } else { LONG_ROUNDS });
    if args.pgbench {
        run_pgbench(&binary, seconds, rounds)
    } else {
        run_fio(&binary, seconds, rounds)
    }
}

fn run_pgbench(binary: &Path, seconds: f64, rounds: u32) -> Result<String, BenchError> {
    let scratch = Scratch::new();
    let ours = Contender::replicated(binary, pgbench::PGBENCH_DEVICE_BYTES)?;
    let yardstick = Contender::qemu_nbd(scratch.path(), pgbench::PGBENCH_DEVICE_BYTES)?;
    let contenders = [ours, yardstick.ok_or(BenchError::NoYardstick)?];
    let text = pgbench::measure(&contenders, scratch.path(), seconds, rounds)?;
    for contender in &contenders {
        contender.check()?;
    }
    Ok(text)
}

fn run_fio(binary: &Path, seconds: f64, rounds: u32) -> Result<String, BenchError> {
    if !require_fio() {
        return Err(BenchError::NoFio);
    }
    let scratch = Scratch::new();
    let mut contenders = vec![Contender::replicated(binary, DEVICE_BYTES)?];
    contenders.extend(Contender::qemu_nbd(scratch.path(), DEVICE_BYTES)?);
    let meter = Meter::new(scratch.path(), seconds);
    for contender in &contenders {
        meter.fill(contender)?;
    }
    let mut cells = Vec::new();
    for workload in &WORKLOADS {
        for contender in &contenders {
            let (workload, contender) = (workload.name, contender.name());
            cells.push(Cell { workload, contender, rounds: Vec::new() });
        }
    }
    for _ in 0..rounds.max(1) {
        // Interleaved, so that what else happens on the machine meets all alike.
        let pairs = WORKLOADS
            .iter()
            .flat_map(|workload| contenders.iter().map(move |contender| (workload, contender)));
        for ((workload, contender), cell) in pairs.zip(&mut cells) {
            cell.rounds.push(meter.measure(contender, workload)?);
        }
    }
    for contender in &contenders {
        contender.check()?;
    }
    Ok(table(&cells, YARDSTICK))
}

fn beside_this_program() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.with_file_name("blkrep")
}
