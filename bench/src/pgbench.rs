//! pgbench on XFS over each contender, interleaved, as a table of transactions per second.

use crate::contender::Contender;
use crate::error::BenchError;
use std::path::Path;
use std::time::Duration;
use testbed::machine::{FileSystem, Machine, require_machines};
use testbed::postgresql::{Database, Programs};
use testbed::program::run;

/// Size of the device in bytes: the data of [`SCALE`], its log, and room.
pub(crate) const PGBENCH_DEVICE_BYTES: u64 = 1 << 30;
/// pgbench's scale: 15 MiB of data each, so that not all of them stay in PostgreSQL's own buffers.
const SCALE: &str = "5";
/// How many clients, one row of the table each.
const CLIENTS: [u32; 3] = [1, 4, 16];
/// PostgreSQL's settings beside those that durability rests on: no checkpoint falls into one
/// contender's run alone, since one is made before each run.
const SETTINGS: [&str; 2] = ["max_wal_size=512MB", "checkpoint_timeout=1h"];
/// What pgbench needs beyond the run itself, on a busy machine.
const GRACE: Duration = Duration::from_secs(120);
/// The ratio that a pair with both nodes on one disk is expected to reach.
const RATIO_EXPECTED: f64 = 0.7;

/// A contender with PostgreSQL on it.
struct Stand {
    name: &'static str,
    database: Database,
    machine: Machine,
}

impl Stand {
    fn new(
        contender: &Contender,
        programs: &Programs,
        directory: &Path,
    ) -> Result<Self, BenchError> {
        let name = contender.name();
        let log = directory.join(format!("{name}-machine.log"));
        let mut machine = Machine::boot(FileSystem::Xfs, &log);
        machine.attach(&contender.uri());
        machine.make_file_system();
        machine.mount();
        programs.make_cluster(&machine);
        let database = programs.start(&machine, &SETTINGS);
        let stand = Self { name, database, machine };
        stand.pgbench(&["-i", "-q", "-s", SCALE], GRACE)?;
        Ok(stand)
    }

    fn pgbench(&self, arguments: &[&str], limit: Duration) -> Result<String, BenchError> {
        let mut command = self.database.client("pgbench");
        let output = run(command.args(arguments), limit);
        if output.code != 0 {
            let (contender, stderr) = (self.name, output.stderr);
            return Err(BenchError::Pgbench { contender, stderr });
        }
        Ok(output.stdout)
    }

    /// Transactions per second of so many clients.
    fn measure(&self, clients: u32, seconds: f64) -> Result<f64, BenchError> {
        let _ = self.database.query("CHECKPOINT");
        let (clients, seconds) = (clients.to_string(), seconds.ceil().max(1.0));
        let time = seconds.to_string();
        let limit = GRACE + Duration::from_secs_f64(seconds);
        let printed = self.pgbench(&["-n", "-c", &clients, "-j", "2", "-T", &time], limit)?;
        tps_of(&printed).ok_or_else(|| {
            let stderr = format!("no rate in what it printed: {printed}");
            BenchError::Pgbench { contender: self.name, stderr }
        })
    }

    fn end(self, programs: &Programs) {
        let Self { database, mut machine, .. } = self;
        database.stop(&machine);
        programs.check_checksums(&machine);
        machine.unmount();
        machine.detach();
    }
}

/// Measures both contenders in turn, `rounds` times, and says what came out.
///
/// # Errors
/// PostgreSQL or the machine for it is missing, or pgbench failed.
pub(crate) fn measure(
    contenders: &[Contender; 2],
    directory: &Path,
    seconds: f64,
    rounds: u32,
) -> Result<String, BenchError> {
    let programs = Programs::require().filter(|_| require_machines(FileSystem::Xfs));
    let programs = programs.ok_or(BenchError::NoPostgresql)?;
    let [ours, yardstick] = contenders;
    let ours = Stand::new(ours, &programs, directory)?;
    let yardstick = Stand::new(yardstick, &programs, directory)?;
    let mut rows = Vec::new();
    for clients in CLIENTS {
        let mut pairs = Vec::new();
        for _ in 0..rounds.max(1) {
            pairs.push((ours.measure(clients, seconds)?, yardstick.measure(clients, seconds)?));
        }
        rows.push((clients, pairs));
    }
    let text = report(&rows, [ours.name, yardstick.name]);
    ours.end(&programs);
    yardstick.end(&programs);
    Ok(text)
}

/// The rate that pgbench printed.
fn tps_of(printed: &str) -> Option<f64> {
    let rate = printed.lines().find_map(|line| line.strip_prefix("tps = "))?;
    rate.split_whitespace().next()?.parse().ok()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// One row for each number of clients: medians of the rates, and of the rounds' ratios with their
/// range.
fn report(rows: &[(u32, Vec<(f64, f64)>)], names: [&str; 2]) -> String {
    let [ours, yardstick] = names.map(|name| format!("{name} tps"));
    let mut text = format!("clients  {ours:>12}  {yardstick:>12}  ratio  lowest  highest\n");
    for (clients, pairs) in rows {
        let ratios: Vec<f64> = pairs.iter().map(|(ours, yardstick)| ours / yardstick).collect();
        let (low, high) = ratios
            .iter()
            .fold((f64::MAX, f64::MIN), |(low, high), ratio| (low.min(*ratio), high.max(*ratio)));
        let rate = |of: fn(&(f64, f64)) -> f64| median(pairs.iter().map(of).collect());
        let ratio = median(ratios);
        // As it is shown: 0.698 is 0.70.
        let mark =
            if (ratio * 100.0).round() < RATIO_EXPECTED * 100.0 { "  below 0.70" } else { "" };
        text += &format!(
            "{clients:>7}  {:>12.0}  {:>12.0}  {ratio:>5.2}  {low:>6.2}  {high:>7.2}{mark}\n",
            rate(|pair| pair.0),
            rate(|pair| pair.1),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_found_in_what_pgbench_prints() {
        let printed = "latency average = 0.675 ms\n\
                       tps = 1481.679930 (without initial connection time)\n";
        assert_eq!(tps_of(printed), Some(1481.67993));
        assert_eq!(tps_of("pgbench: error"), None);
    }

    #[test]
    fn the_ratio_is_the_median_of_the_rounds_and_one_that_is_too_low_is_marked() {
        let good = vec![(80.0, 100.0), (90.0, 100.0), (10.0, 100.0)];
        let text = report(&[(1, good), (4, vec![(50.0, 100.0)])], ["a", "b"]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].ends_with("0.80    0.10     0.90"), "{text}");
        assert!(lines[2].ends_with("below 0.70"), "{text}");
    }
}
