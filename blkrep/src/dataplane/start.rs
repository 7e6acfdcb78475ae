//! From a plan to a running I/O thread: everything that can fail is done before the thread is left
//! alone.

use super::arena_plan::ArenaPlan;
use super::disk::DiskError;
use super::disk_slot::DiskSlot;
use super::disk_source::DiskSource;
use super::handle::{self, Handle};
use super::io_thread::{IoThread, Parts};
use super::listener::ListenError;
use super::peer_port::PeerPort;
use super::resume_mark::{MarkError, ResumeMark};
use crate::daemon::DaemonPlan;
use crate::frontend::FrontEnd;
use crate::frontend::news::{self, News};
use crate::handlers::HandlerRun;
use crate::ring::arena::{Arena, ArenaError};
use crate::ring::{Ring, RingError};
use replicator::event::Input;
use replicator::node::Node;
use std::io;
use std::thread::JoinHandle;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::{oneshot, watch};

/// The data plane could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Another process has the resource.
    #[error(transparent)]
    Mark(#[from] MarkError),
    /// An address.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Memory.
    #[error(transparent)]
    Arena(#[from] ArenaError),
    /// A way to do I/O.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// Randomness.
    #[error("the operating system gave no random numbers: {0}; check /dev/urandom")]
    Random(getrandom::Error),
    /// A thread or an eventfd.
    #[error(
        "the I/O thread could not be started: {0}; check the limits of processes and open files"
    )]
    Thread(io::Error),
}

/// A running data plane.
#[derive(Debug)]
pub struct DataPlane {
    /// For commands.
    pub handle: Handle,
    /// Comes when the I/O thread has ended; an error when the kernel refused its ring.
    pub ended: oneshot::Receiver<io::Result<()>>,
    /// The thread.
    pub thread: JoinHandle<()>,
    /// The handlers that the engine wants to be run.
    pub wishes: UnboundedReceiver<HandlerRun>,
    /// What the block device has to follow.
    pub(crate) news: watch::Receiver<News>,
}

/// Opens and locks the disks, listens, maps the buffers and starts the I/O thread. Blocks until the
/// thread runs. A disk that has failed or is gone is no reason not to start: the resource is up
/// without it, as in DRBD, and a later attach takes it back.
///
/// # Errors
/// The first thing that is in the way; nothing is left behind then.
pub fn start(plan: &DaemonPlan) -> Result<DataPlane, StartError> {
    let arena_plan = ArenaPlan::new(plan.arena_bytes);
    let mut settings = plan.settings.clone();
    settings.window = arena_plan.window;
    settings.sync_buffers = arena_plan.sync_buffers;
    let resume_mark = ResumeMark::take(&plan.control_socket)?;
    settings.resume = resume_mark.is_present();
    let (teller, news) = news::pair(resume_mark.promotion());
    let source = DiskSource {
        data_path: plan.data_path.clone(),
        meta: plan.meta.clone(),
        ends: plan.disk_ends.clone(),
        settings: settings.clone(),
    };
    let found = match source.open() {
        Err(error) if !error.is_failure() => return Err(error.into()),
        found => found,
    };
    let peer = PeerPort::open(plan.listen, plan.peer)?;
    let budget_bytes = arena_plan.client_budget_bytes;
    let clients =
        FrontEnd::open(&settings, &plan.nbd_socket, plan.nbd_listen, budget_bytes, teller)?;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(StartError::Random)?;
    let (handle, orders) = handle::pair().map_err(|errno| StartError::Thread(errno.into()))?;
    let (started_sender, started) = std::sync::mpsc::channel();
    let (ended_sender, ended) = oneshot::channel();
    let (handler_wishes, wishes) = unbounded_channel();
    let to_itself = handle.clone();
    let body = move || {
        // Ring and arena belong to the thread that uses them.
        let opened = Arena::new(&arena_plan.shelves)
            .map_err(StartError::from)
            .and_then(|arena| Ring::new(arena).map_err(StartError::from));
        let mut ring = match opened {
            Ok(ring) => ring,
            Err(error) => return drop(started_sender.send(Err(error))),
        };
        let mut disk = DiskSlot::new(source, to_itself);
        let first = match found {
            Ok(opened) => Input::DiskOpened(Box::new(disk.put(&mut ring, opened))),
            Err(error) => Input::DiskOpenFailed { reason: error.to_string() },
        };
        let node = Node::new(settings, seed);
        let parts = Parts { ring, node, peer, clients, disk, orders, handler_wishes, resume_mark };
        drop(started_sender.send(Ok(())));
        let result = IoThread::new(parts).run(first);
        drop(ended_sender.send(result));
    };
    let thread = std::thread::Builder::new()
        .name("io".to_owned())
        .spawn(body)
        .map_err(StartError::Thread)?;
    let gone = || StartError::Thread(io::Error::other("it ended at once"));
    started.recv().map_err(|_| gone())??;
    Ok(DataPlane { handle, ended, thread, wishes, news })
}
