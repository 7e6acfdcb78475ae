//! The two nodes of a demo: their files, their daemons, and what they are asked.

use super::DemoError;
use super::scratch_dir::ScratchDir;
use crate::cli::DemoArgs;
use crate::config::{self, control_socket, log_file, nbd_socket};
use crate::control::client::{ControlError, ask};
use crate::control::protocol::{Request, Response};
use crate::create_md::create_md;
use replicator::status::Status;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Name of the demo's resource.
pub(super) const RESOURCE: &str = "demo";
/// How long a daemon may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);
/// Lines of a log that are shown when its daemon ended.
const LAST_LINES: usize = 5;

/// Which node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NodeId {
    Alpha,
    Beta,
}

impl NodeId {
    pub(super) const BOTH: [Self; 2] = [Self::Alpha, Self::Beta];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Alpha => "alpha",
            Self::Beta => "beta",
        }
    }
}

/// The two nodes. When it is dropped the daemons are killed and, unless `--dir` was given, all
/// files removed.
#[derive(Debug)]
pub(super) struct Pair {
    children: [Option<Child>; 2],
    data_bytes: u64,
    dir: ScratchDir,
}

impl Pair {
    /// Makes the directory, the configuration, the secret and both disks with their metadata.
    pub(super) fn prepare(args: &DemoArgs) -> Result<Self, DemoError> {
        let what = |what: &str| what.to_owned();
        let dir = match &args.dir {
            None => ScratchDir::create("blkrep-demo"),
            Some(path) => ScratchDir::keep(path),
        };
        let dir = dir.map_err(|source| DemoError::Io { what: what("make a directory"), source })?;
        let mut pair = Self { children: [None, None], data_bytes: 0, dir };
        pair.refuse_a_foreign_directory()?;
        pair.write_files(args.size)
            .map_err(|source| DemoError::Io { what: what("write the demo's files"), source })?;
        let resource = config::load(pair.dir.path(), RESOURCE)
            .expect("invariant: the demo writes a configuration that is right");
        for id in NodeId::BOTH {
            let index = resource
                .node_index(id.name())
                .expect("invariant: the demo's configuration has both nodes");
            // The disk is the demo's own, made anew a moment ago.
            let created = create_md(RESOURCE, index, resource.node(index), resource.log, true)?;
            pair.data_bytes = created.layout.data_bytes;
        }
        Ok(pair)
    }

    fn refuse_a_foreign_directory(&self) -> Result<(), DemoError> {
        let path = self.dir.path();
        let is_empty = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
        if is_empty || self.config_file().exists() {
            return Ok(());
        }
        Err(DemoError::NotADemo { directory: path.to_owned() })
    }

    fn config_file(&self) -> PathBuf {
        self.dir.path().join(format!("{RESOURCE}.toml"))
    }

    fn write_files(&self, disk_bytes: u64) -> io::Result<()> {
        let secret_file = self.dir.path().join("secret");
        let mut secret = [0; 16];
        getrandom::fill(&mut secret).map_err(|error| io::Error::other(error.to_string()))?;
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&secret_file)?
            .write_all(format!("{:032x}\n", u128::from_le_bytes(secret)).as_bytes())?;
        // Both are held until both are known: otherwise they could be the same.
        let ports = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
        let quote = |path: &Path| toml::Value::from(path.to_string_lossy().as_ref()).to_string();
        // Short timers: a lost peer is noticed within two seconds.
        let mut config = format!(
            "name = \"{RESOURCE}\"\n\n[net]\nshared-secret-file = {}\ntimeout = \"900ms\"\n\
             connect-int = \"1s\"\nping-int = \"1s\"\nping-timeout = \"500ms\"\n",
            quote(&secret_file)
        );
        for (id, port) in NodeId::BOTH.into_iter().zip(&ports) {
            fs::create_dir_all(self.run_dir(id))?;
            File::create(self.disk(id))?.set_len(disk_bytes)?;
            config += &format!(
                "\n[node.{}]\ndisk = {}\nmeta-disk = \"internal\"\naddress = \"{}\"\n",
                id.name(),
                quote(&self.disk(id)),
                port.local_addr()?
            );
        }
        fs::write(self.config_file(), config)
    }

    pub(super) fn directory(&self) -> &Path {
        self.dir.path()
    }

    /// Bytes of user data that the device has.
    pub(super) fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    pub(super) fn disk(&self, id: NodeId) -> PathBuf {
        self.run_dir(id).join("disk")
    }

    fn run_dir(&self, id: NodeId) -> PathBuf {
        self.dir.path().join(id.name())
    }

    pub(super) fn nbd_socket(&self, id: NodeId) -> PathBuf {
        nbd_socket(&self.run_dir(id), RESOURCE)
    }

    pub(super) fn uri(&self, id: NodeId) -> String {
        format!("nbd+unix:///{RESOURCE}?socket={}", self.nbd_socket(id).display())
    }

    /// How to call this program for a node, up to the verb.
    pub(super) fn command_line(&self, id: NodeId) -> String {
        let config_dir = self.dir.path().display();
        let run_dir = self.run_dir(id);
        format!(
            "blkrep --config-dir {config_dir} --run-dir {} --node {}",
            run_dir.display(),
            id.name()
        )
    }

    /// Starts the daemon and waits until it answers.
    pub(super) fn start(&mut self, id: NodeId) -> Result<(), DemoError> {
        let child = self.spawn(id).map_err(|source| {
            let what = format!("start the daemon of {}", id.name());
            DemoError::Io { what, source }
        })?;
        self.children[id as usize] = Some(child);
        let deadline = Instant::now() + PATIENCE;
        while ask(&self.run_dir(id), RESOURCE, Request::Status).is_err() {
            self.check_alive(id)?;
            if Instant::now() >= deadline {
                let waited_s = PATIENCE.as_secs();
                return Err(DemoError::TooSlow { what: "the start of a daemon", waited_s });
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    fn spawn(&self, id: NodeId) -> io::Result<Child> {
        let run_dir = self.run_dir(id);
        let log = OpenOptions::new().create(true).append(true).open(self.log(id))?;
        Command::new(std::env::current_exe()?)
            .args(["daemon", RESOURCE, "--node", id.name()])
            .args(["--end-with-parent", &std::process::id().to_string()])
            .arg("--config-dir")
            .arg(self.dir.path())
            .arg("--run-dir")
            .arg(run_dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C is for the demo alone: it ends the nodes in order.
            .process_group(0)
            .spawn()
    }

    fn log(&self, id: NodeId) -> PathBuf {
        log_file(&self.run_dir(id), RESOURCE)
    }

    pub(super) fn is_running(&self, id: NodeId) -> bool {
        self.children[id as usize].is_some()
    }

    /// An error when a daemon that should run has ended.
    pub(super) fn check_alive(&mut self, id: NodeId) -> Result<(), DemoError> {
        let Some(child) = &mut self.children[id as usize] else { return Ok(()) };
        let Ok(Some(status)) = child.try_wait() else { return Ok(()) };
        self.children[id as usize] = None;
        let log = fs::read_to_string(self.log(id)).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let log = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
        Err(DemoError::Ended { node: id.name(), status: status.to_string(), log })
    }

    /// Kills the daemon without warning. This is a crash of the process, not a loss of power: what
    /// the kernel has taken still reaches the disk.
    pub(super) fn kill(&mut self, id: NodeId) -> Result<(), DemoError> {
        let Some(mut child) = self.children[id as usize].take() else { return Ok(()) };
        child.kill().and_then(|()| child.wait().map(drop)).map_err(|source| {
            let what = format!("kill the daemon of {}", id.name());
            DemoError::Io { what, source }
        })
    }

    /// Ends the daemon cleanly and waits for it.
    pub(super) fn down(&mut self, id: NodeId) -> Result<(), DemoError> {
        if !self.is_running(id) {
            return Ok(());
        }
        self.command(id, Request::Down)?;
        let deadline = Instant::now() + PATIENCE;
        while let Some(child) = &mut self.children[id as usize] {
            if let Ok(Some(_)) = child.try_wait() {
                self.children[id as usize] = None;
            } else if Instant::now() >= deadline {
                let waited_s = PATIENCE.as_secs();
                return Err(DemoError::TooSlow { what: "the end of a daemon", waited_s });
            } else {
                std::thread::sleep(POLL);
            }
        }
        Ok(())
    }

    fn ask(&self, id: NodeId, request: Request) -> Result<Response, DemoError> {
        ask(&self.run_dir(id), RESOURCE, request)
            .map_err(|source| DemoError::Control { node: id.name(), source })
    }

    pub(super) fn command(&self, id: NodeId, request: Request) -> Result<(), DemoError> {
        let verb = request.verb();
        match self.ask(id, request)? {
            Response::Done | Response::Status(_) => Ok(()),
            Response::Refused { kind: _, text } => {
                Err(DemoError::Refused { node: id.name(), verb, text })
            }
        }
    }

    pub(super) fn status(&self, id: NodeId) -> Result<Status, DemoError> {
        match self.ask(id, Request::Status)? {
            Response::Status(status) => Ok(*status),
            Response::Refused { kind: _, text } => {
                Err(DemoError::Refused { node: id.name(), verb: "status", text })
            }
            Response::Done => {
                let source = ControlError::Nonsense { reason: "no status in it".to_owned() };
                Err(DemoError::Control { node: id.name(), source })
            }
        }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for id in NodeId::BOTH {
            // Already on the way out: what cannot be killed dies with this process.
            self.kill(id).ok();
            fs::remove_file(control_socket(&self.run_dir(id), RESOURCE)).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(dir: Option<PathBuf>) -> DemoArgs {
        DemoArgs { dir, size: 8 << 20, failover: false }
    }

    #[test]
    fn the_files_of_a_demo_are_complete_and_gone_afterwards() {
        let pair = Pair::prepare(&args(None)).unwrap();
        let directory = pair.directory().to_owned();
        let resource = config::load(&directory, RESOURCE).unwrap();
        for id in NodeId::BOTH {
            let plan = resource.to_plan(id.name(), &pair.run_dir(id)).unwrap();
            assert_eq!(plan.data_path, pair.disk(id));
            assert_eq!(plan.nbd_socket, pair.nbd_socket(id));
            assert_eq!(plan.settings.secret.unwrap().len(), 32);
        }
        assert!(pair.data_bytes() > 0 && pair.data_bytes() < 8 << 20);
        drop(pair);
        assert!(!directory.exists());
    }

    #[test]
    fn a_directory_with_something_else_in_it_is_not_touched() {
        let dir = ScratchDir::new("demo-foreign");
        fs::write(dir.path().join("thesis.tex"), "x").unwrap();
        let error = Pair::prepare(&args(Some(dir.path().to_owned()))).unwrap_err();
        assert!(matches!(error, DemoError::NotADemo { directory: _ }), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_that_was_given_stays_and_can_be_used_again() {
        let dir = ScratchDir::new("demo-kept");
        for _ in 0..2 {
            drop(Pair::prepare(&args(Some(dir.path().to_owned()))).unwrap());
            assert!(dir.path().join("alpha").join("disk").exists());
        }
    }
}
