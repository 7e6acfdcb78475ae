//! Runs the administrator's programs: their environment, their output into the log, a bound on
//! their time (drbd-facts 5.4).
//!
//! No descriptor of the daemon reaches a handler: all are opened close-on-exec, the disks with
//! their lock above all.

use crate::config::HandlerCommands;
use crate::daemon::DaemonPlan;
use replicator::event::Handler;
use replicator::ids::HandlerId;
use rustix::process::{Pid, Signal, kill_process_group};
use std::ffi::OsString;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

/// Longest line of a handler's output in the log, in bytes; a longer one is cut into several.
const LINE_BYTES_MAX: u64 = 1024;
/// Most lines of one run in the log; the rest is read and dropped.
const LINES_MAX: usize = 200;
/// After its end a handler's last lines are waited for so long: something that it left behind may
/// hold the pipe open for ever.
const LAST_LINES_MAX: Duration = Duration::from_secs(1);
/// A killed handler is gone within this time, unless the kernel holds it.
const KILL_MAX: Duration = Duration::from_secs(5);

/// A wish of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandlerRun {
    /// Names the run.
    pub id: HandlerId,
    /// Which handler.
    pub handler: Handler,
}

/// What every run needs.
#[derive(Debug)]
pub struct Runner {
    commands: HandlerCommands,
    environment: Vec<(String, OsString)>,
}

/// Runs what is wished, any number side by side, until nobody can wish any more. `done` is told how
/// each run ended.
pub async fn serve(
    runner: Runner,
    mut wishes: UnboundedReceiver<HandlerRun>,
    done: impl Fn(HandlerId, Option<i32>) + Clone + Send + Sync + 'static,
) {
    let runner = Arc::new(runner);
    while let Some(HandlerRun { id, handler }) = wishes.recv().await {
        let (runner, done) = (Arc::clone(&runner), done.clone());
        tokio::spawn(async move {
            let exit = runner.run(handler).await;
            done(id, exit);
        });
    }
}

impl Runner {
    /// For the daemon of `plan`.
    #[must_use]
    pub fn new(plan: &DaemonPlan) -> Self {
        Self { commands: plan.handlers.clone(), environment: environment(plan) }
    }

    /// Runs a handler to its end. Its exit code; none when it could not be started, was killed by a
    /// signal or took too long.
    async fn run(&self, handler: Handler) -> Option<i32> {
        let name = handler.name();
        let command = self.commands.get(handler)?;
        tracing::info!("handler {name}: running {command}");
        let mut child = match self.spawn(handler, command) {
            Ok(child) => child,
            Err(error) => {
                tracing::error!("handler {name}: /bin/sh could not be started: {error}");
                return None;
            }
        };
        // The daemon's own protection against the OOM killer is not for whatever this runs.
        if let Some(pid) = child.id() {
            std::fs::write(format!("/proc/{pid}/oom_score_adj"), "0").ok();
        }
        let (out, errors) = (child.stdout.take(), child.stderr.take());
        let log = tokio::spawn(async move {
            tokio::join!(log_lines(name, out), log_lines(name, errors));
        });
        let limit = self.commands.timeout;
        let exit = match timeout(limit, child.wait()).await {
            Ok(Ok(status)) => code(name, status),
            Ok(Err(error)) => {
                tracing::error!("handler {name}: its end was not seen: {error}");
                None
            }
            Err(_) => {
                let limit_s = limit.as_secs();
                tracing::error!(
                    "handler {name}: not done after {limit_s} s, killed; raise 'handler-timeout' if \
                     it needs longer"
                );
                kill(&mut child).await;
                None
            }
        };
        timeout(LAST_LINES_MAX, log).await.ok();
        exit
    }

    fn spawn(&self, handler: Handler, command: &str) -> std::io::Result<Child> {
        Command::new("/bin/sh")
            .args(["-c", command])
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("BLKREP_HANDLER", handler.name())
            // A handler is not the service that systemd waits for.
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
    }
}

fn code(name: &str, status: ExitStatus) -> Option<i32> {
    if status.code().is_none() {
        tracing::error!("handler {name}: ended by a signal ({status})");
    }
    status.code()
}

/// Kills the handler and everything in its process group.
async fn kill(child: &mut Child) {
    let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
    if let Some(group) = pid {
        kill_process_group(group, Signal::KILL).ok();
    }
    if timeout(KILL_MAX, child.wait()).await.is_err() {
        tracing::error!("a killed handler is still there: the kernel holds it");
    }
}

/// Logs what comes, line by line; what is too much is read all the same, so that the handler never
/// waits for the daemon.
async fn log_lines(name: &str, pipe: Option<impl AsyncRead + Unpin>) {
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
        lines += 1;
        if lines <= LINES_MAX {
            tracing::info!("handler {name}: {}", String::from_utf8_lossy(&line).trim_end());
        } else if lines == LINES_MAX + 1 {
            tracing::warn!("handler {name}: more than {LINES_MAX} lines, the rest is not logged");
        }
    }
}

/// The variables of DRBD's handlers under its names and under ours, and what the command line of
/// this program needs to find this daemon.
fn environment(plan: &DaemonPlan) -> Vec<(String, OsString)> {
    let settings = &plan.settings;
    let (me, peer) = (settings.me, settings.me.other());
    let family = if plan.peer.is_ipv4() { "ipv4" } else { "ipv6" };
    let mut shared: Vec<(String, OsString)> = vec![
        ("RESOURCE".into(), (&settings.resource).into()),
        ("CONF".into(), (&plan.config_file).into()),
        ("VOLUME".into(), "0".into()),
        ("LL_DISK".into(), (&plan.data_path).into()),
        ("MY_NODE_ID".into(), me.number().to_string().into()),
        ("PEER_NODE_ID".into(), peer.number().to_string().into()),
        ("PEER".into(), settings.peer_name().into()),
        ("PEERS".into(), settings.peer_name().into()),
        ("PEER_AF".into(), family.into()),
        ("PEER_ADDRESS".into(), plan.peer.ip().to_string().into()),
    ];
    for (id, name) in settings.node_names.iter().enumerate() {
        shared.push((format!("NODE_ID_{id}"), name.into()));
    }
    let folder = |path: &Path| path.parent().map(Into::into).unwrap_or_default();
    let own: [(String, OsString); 5] = [
        ("DRBD_MINOR".into(), "0".into()),
        ("BLKREP_DEVICE".into(), (&plan.nbd_socket).into()),
        ("BLKREP_CONFIG_DIR".into(), folder(&plan.config_file)),
        ("BLKREP_RUN_DIR".into(), folder(&plan.control_socket)),
        ("BLKREP_NODE".into(), settings.my_name().into()),
    ];
    let both = shared.into_iter().flat_map(|(name, value)| {
        [(format!("DRBD_{name}"), value.clone()), (format!("BLKREP_{name}"), value)]
    });
    both.chain(own).collect()
}

#[cfg(test)]
mod tests;
