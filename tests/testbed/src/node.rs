//! One node of a pair: its files, its daemon, and the command line as its operator uses it.

use crate::mount_space::MountSpace;
use crate::network::Network;
use crate::program::{Output, Running, Server, run};
use crate::state::State;
use crate::wait::wait_until;
use rustix::net::sockopt::socket_peercred;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// Name of the resource of every pair.
pub const RESOURCE: &str = "r0";
/// Longest run of one command line: a change of role may wait for the peer and for two disks.
const COMMAND_MAX: Duration = Duration::from_secs(70);
/// A daemon answers within this time from its start.
const START_MAX: Duration = Duration::from_secs(15);
/// What a daemon says that was started before the kernel has ended its predecessor's I/O.
const DISK_HELD: &str = " is locked by ";
/// Lines of a log that a failed test shows.
const TAIL_LINES: usize = 200;

/// The daemon of a node, as the test bed holds it.
#[derive(Debug)]
enum Daemon {
    /// None was started, or it was killed.
    None,
    /// `blkrep daemon`, a child of the test.
    Child(Server),
    /// `blkrep up` put it into the background; only its process id is known.
    Background(Pid),
}

/// A node. Its daemon ends with the value.
#[derive(Debug)]
pub struct Node {
    name: &'static str,
    index: usize,
    binary: PathBuf,
    directory: PathBuf,
    disk: PathBuf,
    network: Arc<Network>,
    mounts: Option<MountSpace>,
    daemon: Daemon,
}

impl Node {
    /// Makes the directories of a node below `scratch`.
    ///
    /// # Panics
    /// When they cannot be made.
    #[must_use]
    pub fn new(
        name: &'static str,
        index: usize,
        binary: &Path,
        scratch: &Path,
        disk: PathBuf,
        network: Arc<Network>,
    ) -> Self {
        let directory = scratch.join(name);
        for part in ["etc", "run"] {
            fs::create_dir_all(directory.join(part)).expect("the scratch directory is writable");
        }
        let binary = binary.to_owned();
        let (mounts, daemon) = (None, Daemon::None);
        Self { name, index, binary, directory, disk, network, mounts, daemon }
    }

    /// Its name in the configuration.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The backing disk: data from offset 0, metadata behind them.
    #[must_use]
    pub fn disk(&self) -> &Path {
        &self.disk
    }

    /// The configuration file of this node. Both nodes have one each, equal until a test changes
    /// it.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.directory.join("etc").join(format!("{RESOURCE}.toml"))
    }

    /// The socket on which it serves NBD.
    #[must_use]
    pub fn nbd_socket(&self) -> PathBuf {
        self.directory.join("run").join(format!("{RESOURCE}.nbd"))
    }

    /// The NBD URI of its export, as libnbd reads it.
    #[must_use]
    pub fn nbd_uri(&self) -> String {
        format!("nbd+unix:///{RESOURCE}?socket={}", self.nbd_socket().display())
    }

    /// Where it listens for its peer.
    #[must_use]
    pub fn peer_address(&self) -> std::net::SocketAddr {
        self.network.address(self.index)
    }

    /// From now on everything on this node has mounts and `/dev/blkrep` of its own, as on a machine
    /// of its own; false, with a noted skip, where the machine does not allow it.
    #[must_use]
    pub fn own_mounts(&mut self) -> bool {
        self.mounts = MountSpace::new(&self.directory.join("mounts.log"));
        self.mounts.is_some()
    }

    /// The run directory.
    #[must_use]
    pub fn run_dir(&self) -> PathBuf {
        self.directory.join("run")
    }

    /// Where the block device of this node is linked, as the test can open it.
    #[must_use]
    pub fn device_link(&self) -> PathBuf {
        let root = self.mounts.as_ref().map_or_else(|| PathBuf::from("/"), MountSpace::root);
        root.join("dev/blkrep/by-res").join(RESOURCE).join("0")
    }

    /// Runs `program` where this node sees network and mounts, tied to the test.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        match &self.mounts {
            None => self.network.command(self.index, program),
            Some(mounts) => {
                let mut command = self.network.command(self.index, "nsenter");
                command.arg(mounts.option()).arg("--").arg(program);
                command
            }
        }
    }

    fn blkrep(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(&self.binary);
        for variable in ["BLKREP_CONFIG_DIR", "BLKREP_RUN_DIR", "BLKREP_NODE"] {
            command.env_remove(variable);
        }
        command.arg("--config-dir").arg(self.directory.join("etc"));
        command.arg("--run-dir").arg(self.directory.join("run"));
        command.args(["--node", self.name]).args(arguments);
        command
    }

    /// Runs `blkrep ARGUMENTS` on this node.
    ///
    /// # Panics
    /// When it does not end within 70 s.
    pub fn run(&self, arguments: &[&str]) -> Output {
        run(&mut self.blkrep(arguments), COMMAND_MAX)
    }

    /// Starts `blkrep ARGUMENTS` on this node, to run beside the test.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn begin(&self, arguments: &[&str]) -> Running {
        Running::start(&mut self.blkrep(arguments))
    }

    /// Runs `blkrep ARGUMENTS` on this node, which must succeed.
    ///
    /// # Panics
    /// When it does not.
    pub fn must(&self, arguments: &[&str]) -> Output {
        self.run(arguments).expect_success(&format!(
            "blkrep {} on {}",
            arguments.join(" "),
            self.name
        ))
    }

    /// Runs `blkrep ARGUMENTS` on this node beside the test; its outputs are appended to `log`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn begin_logged(&self, arguments: &[&str], log: &Path) -> Server {
        Server::start(self.blkrep(arguments), log)
    }

    /// Forgets that a dead daemon was Primary, as a cluster manager's stop does before it promotes
    /// the other node (G4): a restart waits to be promoted.
    ///
    /// # Panics
    /// When the daemon runs.
    pub fn forget_role(&self) {
        assert!(matches!(self.daemon, Daemon::None), "the daemon of {} runs", self.name);
        let mark = self.directory.join("run").join(format!("{RESOURCE}.resume"));
        fs::remove_file(mark).ok();
    }

    /// Starts the daemon as a child of the test and waits until its disk is attached. As a service
    /// manager does, starts it again while I/O of a killed predecessor still holds its disk (D15).
    ///
    /// # Panics
    /// When it does not come up, or one runs already.
    pub fn up(&mut self) {
        assert!(matches!(self.daemon, Daemon::None), "the daemon of {} runs already", self.name);
        let start = || Server::start(self.blkrep(&["daemon", RESOURCE]), &self.log_file());
        let mut logged_bytes = self.log().len();
        let mut server = start();
        let what = format!("the daemon of {} has its disk", self.name);
        wait_until(&what, START_MAX, || {
            if let Some(code) = server.ended() {
                let log = self.log();
                let held = log[logged_bytes..].contains(DISK_HELD);
                assert!(
                    held,
                    "the daemon of {} ended with {code}:\n{}",
                    self.name,
                    self.log_tail()
                );
                logged_bytes = log.len();
                server = start();
            }
            let attached = |state: &State| !["Diskless", "Attaching"].contains(&&*state.disk);
            self.try_status().is_some_and(|status| attached(&State::new(&status)))
        });
        self.daemon = Daemon::Child(server);
    }

    /// Starts the daemon with `blkrep up`, as an operator does.
    ///
    /// # Panics
    /// When that fails, or nobody answers afterwards.
    pub fn up_by_command(&mut self) {
        self.must(&["up", RESOURCE]);
        let socket = self.directory.join("run").join(format!("{RESOURCE}.control"));
        let stream = UnixStream::connect(&socket).expect("an up resource has a control socket");
        let peer = socket_peercred(&stream).expect("a Unix socket knows who listens");
        self.daemon = Daemon::Background(peer.pid);
    }

    /// Ends the daemon with `blkrep down` and waits until its process is gone.
    ///
    /// # Panics
    /// When the command fails or the process stays.
    pub fn down(&mut self) {
        self.must(&["down", RESOURCE]);
        match std::mem::replace(&mut self.daemon, Daemon::None) {
            Daemon::None => {}
            Daemon::Child(mut server) => {
                let code = server.wait_end(START_MAX);
                assert!(code == 0, "the daemon of {} ended with {code} after 'down'", self.name);
            }
            Daemon::Background(pid) => {
                wait_until("the daemon is gone", START_MAX, || test_kill_process(pid).is_err());
            }
        }
    }

    /// The daemon's process id.
    ///
    /// # Panics
    /// When none runs.
    #[must_use]
    pub fn pid(&self) -> Pid {
        match &self.daemon {
            Daemon::None => panic!("no daemon runs on {}", self.name),
            Daemon::Child(server) => server.pid(),
            Daemon::Background(pid) => *pid,
        }
    }

    /// Kills the daemon (SIGKILL) and waits until it is gone. Nothing happens when none runs.
    pub fn kill9(&mut self) {
        match std::mem::replace(&mut self.daemon, Daemon::None) {
            Daemon::None => {}
            Daemon::Child(mut server) => server.kill(),
            Daemon::Background(pid) => {
                kill_process(pid, Signal::KILL).ok();
                let gone = || test_kill_process(pid).is_err();
                // In a drop there is nobody to tell; the signal was sent.
                (0..200).find(|_| {
                    std::thread::sleep(Duration::from_millis(10));
                    gone()
                });
            }
        }
    }

    /// Stops the daemon (SIGSTOP): it keeps its sockets and does nothing.
    ///
    /// # Panics
    /// When none runs.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a stopped daemon go on.
    ///
    /// # Panics
    /// When none runs.
    pub fn cont(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the daemon of this node runs");
    }

    /// True while the daemon's process lives.
    pub fn is_alive(&mut self) -> bool {
        match &mut self.daemon {
            Daemon::None => false,
            Daemon::Child(server) => server.ended().is_none(),
            Daemon::Background(pid) => test_kill_process(*pid).is_ok(),
        }
    }

    /// The resource's element of `status --json`; none when the daemon does not answer.
    #[must_use]
    pub fn try_status(&self) -> Option<Value> {
        let output = self.run(&["status", "--json", RESOURCE]);
        if output.code != 0 {
            return None;
        }
        let array: Value = serde_json::from_str(&output.stdout).ok()?;
        // A resource that is not up may be shown as such, without devices.
        array.get(0).filter(|status| status.get("blkrep").is_some_and(Value::is_object)).cloned()
    }

    /// The resource's element of `status --json`.
    ///
    /// # Panics
    /// When the daemon does not answer.
    #[must_use]
    pub fn status(&self) -> Value {
        self.try_status().unwrap_or_else(|| {
            let output = self.run(&["status", "--json", RESOURCE]);
            panic!("{} shows no status: {output:?}", self.name)
        })
    }

    /// What a test looks at in the status.
    ///
    /// # Panics
    /// When the daemon does not answer.
    #[must_use]
    pub fn state(&self) -> State {
        State::new(&self.status())
    }

    /// The current generation identifier, without the mark of a Primary; also while its daemon is
    /// down.
    ///
    /// # Panics
    /// When `get-gi` fails.
    #[must_use]
    pub fn current_generation(&self) -> u64 {
        let line = self.must(&["get-gi", RESOURCE]).stdout;
        let current = line.split(':').next().unwrap_or_default();
        u64::from_str_radix(current, 16).unwrap_or_else(|_| panic!("get-gi printed '{line}'")) & !1
    }

    /// Waits until the state of this node is as wanted; `what` is in words.
    ///
    /// # Panics
    /// When it is not within `limit`; shows the last state that was seen.
    pub fn wait_state(&self, what: &str, limit: Duration, mut holds: impl FnMut(&State) -> bool) {
        let begun = std::time::Instant::now();
        loop {
            let state = self.state();
            if holds(&state) {
                return;
            }
            let waited = begun.elapsed();
            assert!(waited < limit, "{}: waited {waited:?} for: {what}; {state:#?}", self.name);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Everything the daemons of this node have logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// The last lines of the log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    /// Copies the log of a failed test to where it outlives the scratch directory, and says where.
    fn keep_log(&self) {
        let pair = self.directory.parent().and_then(Path::file_name).unwrap_or_default();
        let kept = std::env::temp_dir().join("blkrep-failed").join(format!(
            "{}-{}.log",
            pair.display(),
            self.name
        ));
        let directory = kept.parent().expect("invariant: it was joined");
        match fs::create_dir_all(directory).and_then(|()| fs::copy(self.log_file(), &kept)) {
            Ok(_) => eprintln!("---- all of it is in {}", kept.display()),
            Err(error) => eprintln!("---- it cannot be kept: {error}"),
        }
    }

    fn log_file(&self) -> PathBuf {
        self.directory.join("run").join(format!("{RESOURCE}.log"))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- the last lines of the log of {}:\n{}", self.name, self.log_tail());
            self.keep_log();
        }
        self.kill9();
    }
}
