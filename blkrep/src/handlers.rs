//! Runs the handlers: which, when, and with what environment (drbd-facts 5.4).

use crate::config::HandlerCommands;
use crate::daemon::DaemonPlan;
use crate::shell_run::{End, ShellRun};
use replicator::event::Handler;
use replicator::ids::HandlerId;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedReceiver;

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
        let name = format!("handler {}", handler.name());
        let command = self.commands.get(handler)?;
        tracing::info!("{name}: running {command}");
        let mut environment = self.environment.clone();
        environment.push(("BLKREP_HANDLER".into(), handler.name().into()));
        let limit = self.commands.timeout;
        // The daemon's own protection against the OOM killer is not for whatever this runs.
        let run = ShellRun { name: &name, command, environment, limit, is_protected: false };
        match run.run().await.end {
            End::Exited(code) => return Some(code),
            End::Signalled(status) => tracing::error!("{name}: ended by a signal ({status})"),
            End::TooLate => tracing::error!(
                "{name}: not done after {} s, killed; raise 'handler-timeout' if it needs longer",
                limit.as_secs()
            ),
            End::NotStarted(error) => {
                tracing::error!("{name}: /bin/sh could not be started: {error}");
            }
            End::NotSeen(error) => tracing::error!("{name}: its end was not seen: {error}"),
        }
        None
    }
}

/// The variables of DRBD's handlers under its names and under ours, and what the command line of
/// this program needs to find this daemon.
pub(crate) fn environment(plan: &DaemonPlan) -> Vec<(String, OsString)> {
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
