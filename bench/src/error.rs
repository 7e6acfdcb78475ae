//! Why a run has no table.

use std::path::PathBuf;
use std::time::Duration;

/// Why a run failed. Every message names the next step.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// There is nothing to measure.
    #[error("there is no program {}; run 'cargo build --release -p blkrep' first", path.display())]
    NoBinary {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// fio or its NBD engine is missing.
    #[error("fio with its nbd engine is needed; install fio")]
    NoFio,
    /// The pair could not be made.
    #[error("this machine has no network for a pair; see the line above")]
    NoPair,
    /// fio ended with an error.
    #[error("fio failed on {contender}, {workload}: {stderr}; look into the log of the server")]
    Fio {
        /// On whom.
        contender: &'static str,
        /// With which workload.
        workload: &'static str,
        /// What it printed.
        stderr: String,
    },
    /// PostgreSQL, or what it stands on, is missing.
    #[error("PostgreSQL on XFS over a loop device is not possible here; see the line above")]
    NoPostgresql,
    /// There is nothing to compare with.
    #[error("qemu-nbd is needed to compare with; install qemu-utils")]
    NoYardstick,
    /// pgbench ended with an error.
    #[error("pgbench failed on {contender}: {stderr}; look into the log of the server")]
    Pgbench {
        /// On whom.
        contender: &'static str,
        /// What it printed.
        stderr: String,
    },
    /// fio's report is not as expected.
    #[error("fio's report has no number at {pointer}; use fio 3.33 or newer")]
    Report {
        /// The JSON pointer that leads nowhere.
        pointer: String,
    },
    /// A file could not be used.
    #[error("{}: {source}; set TMPDIR to a writable directory on the disk to measure", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A server has ended.
    #[error("the processor time of process {pid} cannot be read: {source}; it may have ended")]
    ProcessGone {
        /// Its process id.
        pid: i32,
        /// Why.
        source: std::io::Error,
    },
    /// A server does not listen.
    #[error("{contender} did not listen within {after:?}; look whether it runs by hand")]
    NotListening {
        /// Who.
        contender: &'static str,
        /// How long it was waited for.
        after: Duration,
    },
    /// What must never happen.
    #[error("the replicas differ after the run at byte {offset}; keep this run, it is a bug")]
    ReplicasDiffer {
        /// The first byte that differs.
        offset: u64,
    },
}
