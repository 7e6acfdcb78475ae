//! The daemon of one resource: the data plane on its thread, the control room on this one, signals,
//! readiness.

use crate::config::HandlerCommands;
use crate::control::server;
use crate::dataplane::handle::Handle;
use crate::dataplane::start::{DataPlane, start};
use crate::disk_ends::DiskEnds;
use crate::frontend::keeper::{Keeper, Stays};
use crate::handlers::{self, Runner};
use anyhow::Context as _;
use replicator::event::{Answer, Command};
use replicator::settings::Settings;
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// After the first signal the daemon ends in order; after so long it ends at once.
const ORDERLY_END_MS_MAX: u64 = 10_000;
/// The kernel kills others first: the device hangs with this process (oom_score_adj, proc(5)).
const OOM_SCORE: &str = "-900";

/// Where the metadata are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetaPlace {
    /// At the end of the data disk.
    Internal,
    /// In a file or device of their own.
    External(PathBuf),
}

/// The kernel's device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelDevicePlan {
    /// N of `/dev/nbdN`.
    pub index: u32,
    /// How long its requests wait for a daemon that is gone; whole seconds.
    pub dead_connection: Duration,
}

/// How a Primary gets a block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockDevicePlan {
    /// The kernel's NBD client.
    Kernel(KernelDevicePlan),
    /// The administrator's program, a shell command.
    Helper(String),
}

/// Everything that a daemon is started with.
#[derive(Debug, Clone)]
pub struct DaemonPlan {
    /// For the engine; `window` and `sync_buffers` are filled in from `arena_bytes`.
    pub settings: Settings,
    /// The data disk.
    pub data_path: PathBuf,
    /// The metadata.
    pub meta: MetaPlace,
    /// Own address for the peer.
    pub listen: SocketAddr,
    /// The peer's address.
    pub peer: SocketAddr,
    /// The unix socket that serves NBD.
    pub nbd_socket: PathBuf,
    /// An address that serves NBD as well.
    pub nbd_listen: Option<SocketAddr>,
    /// The block device that is attached on a Primary.
    pub block_device: Option<BlockDevicePlan>,
    /// Where the data disk was known to end.
    pub disk_ends: DiskEnds,
    /// The unix socket for commands.
    pub control_socket: PathBuf,
    /// Memory for data in flight, in bytes.
    pub arena_bytes: usize,
    /// The administrator's programs.
    pub handlers: HandlerCommands,
    /// The file that all this is from, for them.
    pub config_file: PathBuf,
}

/// Runs the daemon until it is told to go down. Returns when everything is on disk.
///
/// # Errors
/// When it cannot start, or when the data path ended by itself.
pub fn run(plan: &DaemonPlan) -> anyhow::Result<()> {
    prepare_process(plan.block_device.is_some());
    let plane = start(plan)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the control room could not be started")?;
    let result = runtime.block_on(attend(plan, plane));
    // The control socket goes last: as long as it is there, `up` believes in this daemon.
    if let Err(error) = std::fs::remove_file(&plan.control_socket)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!("{} was not removed: {error}", plan.control_socket.display());
    }
    result
}

async fn attend(plan: &DaemonPlan, plane: DataPlane) -> anyhow::Result<()> {
    let DataPlane { handle, mut ended, thread, wishes, news } = plane;
    let keeper = Keeper::of(plan, handle.clone(), news).map(Arc::new);
    let listener = server::bind(&plan.control_socket)
        .with_context(|| format!("cannot listen on {}", plan.control_socket.display()))?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let for_server = (handle.clone(), keeper.clone());
    let serving = tokio::spawn(server::serve(listener, move |command| {
        let (handle, keeper) = for_server.clone();
        async move {
            match keeper {
                // To its end, also when whoever asked waits no longer: a device half let go would
                // be nobody's.
                Some(keeper) => {
                    match tokio::spawn(async move { keeper.command(command).await }).await {
                        Ok(result) => result,
                        Err(error) => panic!("invariant: a command is never cancelled: {error}"),
                    }
                }
                None => Ok(handle.command(command).await?.into()),
            }
        }
    }));
    if let Some(keeper) = keeper.clone() {
        tokio::spawn(async move { keeper.follow().await });
    }
    let for_handlers = handle.clone();
    tokio::spawn(handlers::serve(Runner::new(plan), wishes, move |id, exit| {
        // Nobody is left to be told when the I/O thread has ended.
        for_handlers.handler_done(id, exit).ok();
    }));
    // Without systemd there is nobody to notify.
    drop(sd_notify::notify(false, &[sd_notify::NotifyState::Ready]));
    tracing::info!("resource {} is up", plan.settings.resource);
    let result = tokio::select! {
        result = &mut ended => result,
        () = next_signal(&mut terminate, &mut interrupt) => {
            end_in_order(&handle, keeper.as_deref(), &mut ended, &mut terminate, &mut interrupt).await
        }
    };
    drop(sd_notify::notify(false, &[sd_notify::NotifyState::Stopping]));
    // Answers that are on their way still leave.
    tokio::time::sleep(Duration::from_millis(50)).await;
    serving.abort();
    let outcome = result.context("the I/O thread ended without a word")?;
    drop(thread.join());
    tracing::info!("resource {} is down", plan.settings.resource);
    outcome.context("the data path failed")
}

/// The device first, then clients, then the role, then everything; a second signal or too long a
/// wait ends it at once.
async fn end_in_order(
    handle: &Handle,
    keeper: Option<&Keeper>,
    ended: &mut oneshot::Receiver<io::Result<()>>,
    terminate: &mut Signal,
    interrupt: &mut Signal,
) -> Result<io::Result<()>, oneshot::error::RecvError> {
    tracing::info!("a signal came: ending in order");
    let leave = async {
        if let Some(keeper) = keeper
            && let Err(stays) = keeper.release().await
        {
            stay_primary(&keeper.fate().await, &stays);
        }
        if handle.shut_clients().is_ok() {
            ask(handle, Command::Secondary).await;
            ask(handle, Command::Down).await;
        }
        ended.await
    };
    tokio::select! {
        result = leave => result,
        () = next_signal(terminate, interrupt) => give_up("a second signal came"),
        () = tokio::time::sleep(Duration::from_millis(ORDERLY_END_MS_MAX)) => {
            give_up("the orderly end took too long")
        }
    }
}

/// Ends the process under a device that is in use: the next daemon is Primary again (G4). An
/// upgrade is that.
fn stay_primary(fate: &str, stays: &Stays) -> ! {
    tracing::warn!("{stays}; this daemon ends as a Primary, and {fate}");
    std::process::exit(0)
}

/// Ends the process as it is; the next start deals with it as with a crash.
fn give_up(reason: &str) -> ! {
    tracing::error!("{reason}: ending at once");
    std::process::exit(1)
}

async fn ask(handle: &Handle, command: Command) {
    match handle.command(command).await {
        Ok(Answer::Refused(refusal)) => {
            tracing::warn!("{command:?} was refused: {}", refusal.text);
        }
        Ok(Answer::Done | Answer::Status(_)) => {}
        Err(error) => tracing::warn!("{command:?} was not answered: {error}"),
    }
}

async fn next_signal(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// What a part of the kernel's write-back path needs (rule D14). None of it is fatal: tests run
/// without privileges. `is_needed` when a block device will be attached.
fn prepare_process(is_needed: bool) {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let flusher = rustix::process::configure_io_flusher_behavior(true);
    let locked = lock_memory();
    for (what, result) in
        [("open files", raised), ("I/O flusher", flusher), ("locked memory", locked)]
    {
        if let Err(errno) = result {
            not_granted(is_needed, what, &errno);
        }
    }
    if let Err(error) = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE) {
        not_granted(is_needed, "OOM score", &error);
    }
}

fn not_granted(is_needed: bool, what: &str, error: &dyn std::fmt::Display) {
    if is_needed {
        tracing::warn!(
            "{what}: not granted ({error}): the machine may hang when it writes to the block device \
             and has no memory left; run the daemon as root"
        );
    } else {
        tracing::debug!("{what}: not granted: {error}");
    }
}

/// Keeps what was touched in memory: a page that must be read back from a disk could wait for this
/// very process. Only where the limit may be made infinite, since otherwise a later allocation
/// would fail.
fn lock_memory() -> rustix::io::Result<()> {
    setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None })?;
    mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)
}
