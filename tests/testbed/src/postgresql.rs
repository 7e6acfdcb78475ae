//! PostgreSQL on a machine's file system: made, started with recovery, asked, checked, ended.

use crate::machine::{DATA, Machine, RUN};
use crate::program::{Server, run, tied};
use crate::skips::{find_tool, require_root, skip};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Where Debian keeps the programs of the release that is tested, away from PATH.
const DEBIAN_PROGRAMS: &str = "/usr/lib/postgresql/15/bin";
/// PostgreSQL does not run as root.
const USER: &str = "postgres";
/// Longest start with recovery, stop with its last checkpoint, or check.
const COMMAND_MAX: Duration = Duration::from_secs(120);
const PROGRAMS: [&str; 7] =
    ["postgres", "initdb", "pg_ctl", "psql", "pgbench", "pg_amcheck", "pg_checksums"];
/// Everything that durability rests on is said, whatever the defaults are. Checkpoints come often,
/// so that failures meet them.
const SETTINGS: [&str; 9] = [
    "fsync=on",
    "synchronous_commit=on",
    "full_page_writes=on",
    "listen_addresses=",
    "shared_buffers=32MB",
    "max_connections=40",
    "checkpoint_timeout=30s",
    "max_wal_size=16MB",
    "log_checkpoints=off",
];

/// The programs of one release.
#[derive(Debug, Clone)]
pub struct Programs {
    directory: PathBuf,
}

impl Programs {
    /// PostgreSQL as it is installed; none, with a noted skip, when it is not, or when there is
    /// nobody whom it may run as.
    #[must_use]
    pub fn require() -> Option<Self> {
        if !require_root("PostgreSQL as a user of its own") {
            return None;
        }
        let has_all = |directory: &Path| PROGRAMS.iter().all(|name| directory.join(name).is_file());
        let in_path = || find_tool("postgres").and_then(|file| Some(file.parent()?.to_owned()));
        let directory = [Some(PathBuf::from(DEBIAN_PROGRAMS)), in_path()]
            .into_iter()
            .flatten()
            .find(|directory| has_all(directory));
        let Some(directory) = directory else {
            skip("PostgreSQL is not installed; install postgresql-15");
            return None;
        };
        if run(tied("id").args(["-u", USER]), COMMAND_MAX).code != 0 {
            skip(&format!("there is no user '{USER}' to run PostgreSQL as"));
            return None;
        }
        Some(Self { directory })
    }

    fn path(&self, program: &str) -> PathBuf {
        self.directory.join(program)
    }

    /// A command inside `machine`, as PostgreSQL's user.
    fn command(&self, machine: &Machine, program: &str) -> Command {
        let mut command = machine.command("setpriv");
        command.arg(format!("--reuid={USER}")).arg(format!("--regid={USER}"));
        command.args(["--clear-groups", "--"]).arg(self.path(program));
        command.current_dir("/");
        command
    }

    fn must(&self, machine: &Machine, program: &str, arguments: &[&str]) -> String {
        let mut command = self.command(machine, program);
        run(command.args(arguments), COMMAND_MAX).expect_success(program).stdout
    }

    /// Makes a cluster with data checksums on the mounted file system.
    ///
    /// # Panics
    /// When `initdb` fails.
    pub fn make_cluster(&self, machine: &Machine) {
        machine.run("chown", &[USER, DATA]).expect_success("chown");
        // Small segments: a new one is begun many times in a round.
        let arguments = ["--auth=trust", "--no-locale", "--encoding=UTF8", "--wal-segsize=1"];
        self.must(machine, "initdb", &[&["-k", "-D", CLUSTER][..], &arguments].concat());
    }

    /// Starts the server, with more `settings` than those that durability rests on, and waits until
    /// it has recovered what is to be recovered and answers.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn start(&self, machine: &Machine, settings: &[&str]) -> Database {
        // A machine that was just switched on has no old postmaster, whatever the file says.
        std::fs::remove_file(machine.path(CLUSTER).join("postmaster.pid")).ok();
        machine.run("chown", &[USER, RUN]).expect_success("chown");
        let mut command = self.command(machine, "postgres");
        command.args(["-D", CLUSTER, "-k", RUN]);
        command.args(SETTINGS.iter().chain(settings).flat_map(|setting| ["-c", setting]));
        let server = machine.serve(command);
        let mut database = Database { programs: self.clone(), server, socket: machine.path(RUN) };
        let begun = Instant::now();
        while database.try_query("SELECT 1").is_none() {
            let ended = database.server.ended();
            assert!(ended.is_none(), "PostgreSQL ended with {ended:?}:\n{}", machine.log());
            assert!(begun.elapsed() < COMMAND_MAX, "PostgreSQL does not answer: {}", machine.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        database
    }

    /// Checks every page of the cluster, which must not be running, against its checksum.
    ///
    /// # Panics
    /// When one is wrong.
    pub fn check_checksums(&self, machine: &Machine) {
        let printed = self.must(machine, "pg_checksums", &["--check", "-D", CLUSTER]);
        assert!(printed.contains("Bad checksums:  0"), "{printed}");
    }
}

/// Where the cluster is, inside the machine.
const CLUSTER: &str = "/mnt/data/cluster";

/// A running server.
#[derive(Debug)]
pub struct Database {
    programs: Programs,
    server: Server,
    socket: PathBuf,
}

impl Database {
    /// A client program connected to it, from outside of the machine; database `postgres`.
    #[must_use]
    pub fn client(&self, program: &str) -> Command {
        let mut command = tied(self.programs.path(program));
        command.env("PGHOST", &self.socket).env("PGUSER", USER).env("PGDATABASE", "postgres");
        command.env("PGCONNECT_TIMEOUT", "10").current_dir("/");
        command
    }

    fn try_query(&self, sql: &str) -> Option<String> {
        let mut command = self.client("psql");
        command.args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql]);
        let output = run(&mut command, COMMAND_MAX);
        (output.code == 0).then_some(output.stdout)
    }

    /// What a statement returns: a line for each row, columns separated by `|`.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn query(&self, sql: &str) -> String {
        let mut command = self.client("psql");
        command.args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql]);
        run(&mut command, COMMAND_MAX).expect_success(sql).stdout
    }

    /// Every table and every index of every database is whole, and each row is in its indexes.
    ///
    /// # Panics
    /// When one is not.
    pub fn check_indexes(&self) {
        let mut command = self.client("pg_amcheck");
        command.args(["--all", "--install-missing", "--heapallindexed", "--parent-check"]);
        run(&mut command, COMMAND_MAX).expect_success("pg_amcheck");
    }

    /// Ends it in order: clients are sent away, a last checkpoint is written.
    ///
    /// # Panics
    /// When it does not end.
    pub fn stop(mut self, machine: &Machine) {
        let arguments = ["stop", "--mode=fast", "--wait", "-s", "-D", CLUSTER];
        self.programs.must(machine, "pg_ctl", &arguments);
        self.server.wait_end(COMMAND_MAX);
    }
}
