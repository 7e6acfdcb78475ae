//! One measurement: fio on one contender with one workload, and what it cost the servers.

use crate::contender::Contender;
use crate::error::BenchError;
use crate::fio_report::{self, ClientView};
use crate::processes::{counted_calls, cpu_us, perf_arguments};
use crate::workload::{DEVICE_BYTES, FILL, Workload};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use testbed::program::{run, tied};
use testbed::skips::find_tool;

/// What fio needs for start and end on a busy machine, beyond the run itself.
const FIO_GRACE: Duration = Duration::from_secs(60);
/// Part of a run's time for which the system calls are counted. They are counted apart, since
/// counting slows each system call down, the client's too.
const COUNTING_SHARE: f64 = 0.4;

/// One cell of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Measurement {
    /// What the client saw.
    pub(crate) client: ClientView,
    /// Processor time of all servers per operation, in microseconds.
    pub(crate) cpu_us_per_op: f64,
    /// System calls of all servers per operation; none where they cannot be counted.
    pub(crate) calls_per_op: Option<f64>,
}

/// How long fio runs.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Extent {
    /// Over the whole device once.
    Once,
    /// For so many seconds.
    Seconds(f64),
}

/// Runs measurements and keeps fio's and perf's reports in a directory.
#[derive(Debug)]
pub(crate) struct Meter {
    directory: PathBuf,
    seconds: f64,
    counts_calls: bool,
}

impl Meter {
    /// With runs of `seconds`, reports in `directory`.
    pub(crate) fn new(directory: &Path, seconds: f64) -> Meter {
        let counts_calls = find_tool("perf").is_some();
        Meter { directory: directory.to_owned(), seconds, counts_calls }
    }

    /// Writes every block of the device once.
    ///
    /// # Errors
    /// [`BenchError::Fio`], [`BenchError::File`], [`BenchError::Report`].
    pub(crate) fn fill(&self, contender: &Contender) -> Result<(), BenchError> {
        let fio = self.fio_arguments(contender, &FILL, Extent::Once);
        self.run_fio(contender, &FILL, tied("fio").args(fio)).map(|_| ())
    }

    /// Measures one cell.
    ///
    /// # Errors
    /// fio failed, or a server has ended.
    pub(crate) fn measure(
        &self,
        contender: &Contender,
        workload: &Workload,
    ) -> Result<Measurement, BenchError> {
        let pids = contender.pids();
        let fio = self.fio_arguments(contender, workload, Extent::Seconds(self.seconds));
        let before_us = cpu_us(&pids)?;
        let client = self.run_fio(contender, workload, tied("fio").args(fio))?;
        let cpu_us_per_op = (cpu_us(&pids)? - before_us) / client.ops.max(1.0);
        let calls_per_op =
            if self.counts_calls { self.count_calls(contender, workload)? } else { None };
        Ok(Measurement { client, cpu_us_per_op, calls_per_op })
    }

    fn count_calls(
        &self,
        contender: &Contender,
        workload: &Workload,
    ) -> Result<Option<f64>, BenchError> {
        let report = self.directory.join("perf.csv");
        let seconds = self.seconds * COUNTING_SHARE;
        let mut command = tied("perf");
        command.args(perf_arguments(&contender.pids(), &report)).arg("fio");
        command.args(self.fio_arguments(contender, workload, Extent::Seconds(seconds)));
        // perf fails before it starts fio where counting is not allowed; fio itself was good above.
        let Ok(client) = self.run_fio(contender, workload, &mut command) else { return Ok(None) };
        let report = std::fs::read_to_string(&report).unwrap_or_default();
        Ok(counted_calls(&report).map(|calls| calls as f64 / client.ops.max(1.0)))
    }

    fn fio_arguments(
        &self,
        contender: &Contender,
        workload: &Workload,
        extent: Extent,
    ) -> Vec<String> {
        let mut arguments = vec![
            "--name=bench".to_owned(),
            "--ioengine=nbd".to_owned(),
            format!("--uri={}", contender.uri()),
            format!("--size={DEVICE_BYTES}"),
            "--lat_percentiles=1".to_owned(),
            "--clat_percentiles=0".to_owned(),
            "--output-format=json".to_owned(),
            format!("--output={}", self.fio_report().display()),
        ];
        arguments.extend(workload.fio_options());
        match extent {
            Extent::Once => {}
            Extent::Seconds(seconds) => {
                arguments.push("--time_based".to_owned());
                arguments.push(format!("--runtime={}ms", (seconds * 1e3).round()));
            }
        }
        arguments
    }

    fn fio_report(&self) -> PathBuf {
        self.directory.join("fio.json")
    }

    fn run_fio(
        &self,
        contender: &Contender,
        workload: &Workload,
        command: &mut Command,
    ) -> Result<ClientView, BenchError> {
        let limit = FIO_GRACE + Duration::from_secs_f64(self.seconds);
        let output = run(command.current_dir(&self.directory), limit);
        let failed = |stderr: String| BenchError::Fio {
            contender: contender.name(),
            workload: workload.name,
            stderr,
        };
        if output.code != 0 {
            return Err(failed(output.stderr));
        }
        let path = self.fio_report();
        let text =
            std::fs::read_to_string(&path).map_err(|source| BenchError::File { path, source })?;
        let report = serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
        fio_report::read(&report, workload)
    }
}
