//! Runs a shell command of the administrator: its output into the log, a bound on its time, and at
//! its end everything in its process group is gone or was never meant to go.
//!
//! No descriptor of the daemon reaches it: all are opened close-on-exec, the disks with their lock
//! above all.

use rustix::process::{Pid, Signal, kill_process_group};
use std::ffi::OsString;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Longest line of the output in the log, in bytes; a longer one is cut into several.
const LINE_BYTES_MAX: u64 = 1024;
/// Most lines of one run in the log; the rest is read and dropped.
const LINES_MAX: usize = 200;
/// After its end the last lines are waited for so long: something that it left behind may hold the
/// pipe open for ever.
const LAST_LINES_MAX: Duration = Duration::from_secs(1);
/// A killed program is gone within this time, unless the kernel holds it.
const KILL_MAX: Duration = Duration::from_secs(5);

/// A command to be run.
#[derive(Debug)]
pub(crate) struct ShellRun<'a> {
    /// What it is called in the log.
    pub(crate) name: &'a str,
    /// For `/bin/sh -c`.
    pub(crate) command: &'a str,
    /// Its variables, besides those of this process.
    pub(crate) environment: Vec<(String, OsString)>,
    /// It is killed after so long.
    pub(crate) limit: Duration,
    /// It keeps the daemon's own protection against the OOM killer.
    pub(crate) is_protected: bool,
}

/// How it ended.
#[derive(Debug)]
pub(crate) enum End {
    /// By itself, with this exit code.
    Exited(i32),
    /// By a signal that was not ours.
    Signalled(ExitStatus),
    /// It took too long and was killed.
    TooLate,
    /// It was never there.
    NotStarted(io::Error),
    /// Nobody knows.
    NotSeen(io::Error),
}

/// What is left of a run.
#[derive(Debug)]
pub(crate) struct Ended {
    /// How it ended.
    pub(crate) end: End,
    /// The last line of its standard output that is not empty.
    pub(crate) last_line: String,
    /// The last line of its standard error that is not empty.
    pub(crate) last_error: String,
}

/// The last line that came, for whoever still reads and whoever waits no longer.
type Last = Arc<Mutex<String>>;

impl ShellRun<'_> {
    /// Runs it to its end.
    pub(crate) async fn run(&self) -> Ended {
        let (out, errors) = (Last::default(), Last::default());
        let end = match self.spawn() {
            Ok(child) => self.attend(child, &out, &errors).await,
            Err(error) => End::NotStarted(error),
        };
        let taken = |last: &Last| last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ended { end, last_line: taken(&out), last_error: taken(&errors) }
    }

    async fn attend(&self, mut child: Child, out: &Last, errors: &Last) -> End {
        if let Some(pid) = child.id()
            && !self.is_protected
        {
            std::fs::write(format!("/proc/{pid}/oom_score_adj"), "0").ok();
        }
        let name = self.name.to_owned();
        let pipes = (child.stdout.take(), child.stderr.take());
        let (out, errors) = (Arc::clone(out), Arc::clone(errors));
        let log = tokio::spawn(async move {
            tokio::join!(log_lines(&name, pipes.0, &out), log_lines(&name, pipes.1, &errors));
        });
        let end = match timeout(self.limit, child.wait()).await {
            Ok(Ok(status)) => status.code().map_or(End::Signalled(status), End::Exited),
            Ok(Err(error)) => End::NotSeen(error),
            Err(_) => {
                self.kill(&mut child).await;
                End::TooLate
            }
        };
        timeout(LAST_LINES_MAX, log).await.ok();
        end
    }

    fn spawn(&self) -> io::Result<Child> {
        Command::new("/bin/sh")
            .args(["-c", self.command])
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            // It is not the service that systemd waits for.
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
    }

    /// Kills it and everything in its process group.
    async fn kill(&self, child: &mut Child) {
        let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        if let Some(group) = pid {
            kill_process_group(group, Signal::KILL).ok();
        }
        if timeout(KILL_MAX, child.wait()).await.is_err() {
            tracing::error!("{}: killed and still there: the kernel holds it", self.name);
        }
    }
}

/// Logs what comes, line by line; what is too much is read all the same, so that the program never
/// waits for the daemon.
async fn log_lines(name: &str, pipe: Option<impl AsyncRead + Unpin>, last: &Last) {
    let Some(pipe) = pipe else { return };
    let mut reader = BufReader::new(pipe);
    let mut lines = 0;
    loop {
        let mut line = Vec::new();
        let mut bounded = (&mut reader).take(LINE_BYTES_MAX);
        match bounded.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        lines += 1;
        if lines <= LINES_MAX {
            tracing::info!("{name}: {text}");
        } else if lines == LINES_MAX + 1 {
            tracing::warn!("{name}: more than {LINES_MAX} lines, the rest is not logged");
        }
        if !text.is_empty() {
            text.clone_into(&mut last.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}
