//! How the control room talks to the I/O thread: commands by a channel and an eventfd, answers by
//! oneshot.

use super::disk::DiskError;
use super::disk_map::MapAnswer;
use super::disk_source::OpenedDisk;
use replicator::event::{Answer, Command};
use replicator::ids::HandlerId;
use rustix::event::{EventfdFlags, eventfd};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use tokio::sync::oneshot;

/// A command that is not answered after so long, is reported as such; it may still be carried out.
pub const COMMAND_TIMEOUT_MS: u64 = 60_000;
/// Status comes from memory: an I/O thread that does not give it after so long is stalled.
pub const STATUS_TIMEOUT_MS: u64 = 5_000;

/// Why a command has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The I/O thread does not answer.
    #[error(
        "the daemon did not answer within {} s; look at its log and at the disk, and ask again",
        after.as_secs()
    )]
    Stalled {
        /// How long it was waited for.
        after: Duration,
    },
    /// The I/O thread has ended.
    #[error("the daemon is ending; start it again with `up`")]
    Ended,
}

/// What the control room wants of the I/O thread.
#[derive(Debug)]
pub(super) enum Order {
    /// Ask the engine.
    Command {
        /// What.
        command: Command,
        /// Where the answer goes.
        answer: oneshot::Sender<Answer>,
    },
    /// Serve the kernel's device on this socket.
    AdoptKernel {
        /// The server's end.
        socket: OwnedFd,
        /// Whether it was taken, or why not.
        answer: oneshot::Sender<Result<(), String>>,
    },
    /// End all NBD sessions and let nobody in any more.
    ShutClients,
    /// A handler has ended, with this exit code if it has one.
    HandlerDone {
        /// Which run.
        id: HandlerId,
        /// How.
        exit: Option<i32>,
    },
    /// The disk that the engine asked for was opened, or not.
    DiskOpened(Box<Result<OpenedDisk, DiskError>>),
    /// Where the disk has holes, as a client has asked.
    Mapped(MapAnswer),
}

/// The control room's end. Clones lead to the same I/O thread.
#[derive(Debug, Clone)]
pub struct Handle {
    orders: Sender<Order>,
    wake: Arc<OwnedFd>,
}

/// The I/O thread's end.
#[derive(Debug)]
pub(super) struct Orders {
    pub(super) orders: Receiver<Order>,
    pub(super) wake: Arc<OwnedFd>,
}

/// Both ends of a new channel.
///
/// # Errors
/// When the kernel has no eventfd for it.
pub(super) fn pair() -> rustix::io::Result<(Handle, Orders)> {
    let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    let (sender, receiver) = channel();
    let handle = Handle { orders: sender, wake: Arc::clone(&wake) };
    Ok((handle, Orders { orders: receiver, wake }))
}

impl Handle {
    /// Asks the engine and waits for its answer, at most [`COMMAND_TIMEOUT_MS`] (status:
    /// [`STATUS_TIMEOUT_MS`]).
    ///
    /// # Errors
    /// When the I/O thread has ended or does not answer in time.
    pub async fn command(&self, command: Command) -> Result<Answer, CommandError> {
        let timeout_ms = match command {
            Command::Status => STATUS_TIMEOUT_MS,
            Command::Connect { .. }
            | Command::Disconnect
            | Command::Primary { .. }
            | Command::Secondary
            | Command::Attach
            | Command::Detach { .. }
            | Command::Invalidate
            | Command::InvalidateRemote
            | Command::Outdate
            | Command::PauseSync
            | Command::ResumeSync
            | Command::SuspendIo
            | Command::ResumeIo
            | Command::NewCurrentUuid { .. }
            | Command::Resize { .. }
            | Command::Verify { .. }
            | Command::Repair { .. }
            | Command::Down => COMMAND_TIMEOUT_MS,
        };
        self.command_within(command, Duration::from_millis(timeout_ms)).await
    }

    /// As [`Handle::command`], but waits at most `limit`.
    ///
    /// # Errors
    /// When the I/O thread has ended or does not answer in time.
    pub async fn command_within(
        &self,
        command: Command,
        limit: Duration,
    ) -> Result<Answer, CommandError> {
        let (sender, receiver) = oneshot::channel();
        self.order(Order::Command { command, answer: sender })?;
        match tokio::time::timeout(limit, receiver).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(CommandError::Ended),
            Err(_) => Err(CommandError::Stalled { after: limit }),
        }
    }

    /// Ends all NBD sessions and lets nobody in any more: the daemon is about to end.
    ///
    /// # Errors
    /// When the I/O thread has ended.
    pub fn shut_clients(&self) -> Result<(), CommandError> {
        self.order(Order::ShutClients)
    }

    /// Has the I/O thread serve the kernel's device on this socket. Blocks until it does.
    ///
    /// # Errors
    /// Why it does not, in words.
    pub(crate) fn adopt_kernel(&self, socket: OwnedFd) -> Result<(), String> {
        let (answer, taken) = oneshot::channel();
        self.order(Order::AdoptKernel { socket, answer }).map_err(|error| error.to_string())?;
        taken.blocking_recv().unwrap_or_else(|_| Err(CommandError::Ended.to_string()))
    }

    /// A handler has ended, with this exit code if it has one.
    ///
    /// # Errors
    /// When the I/O thread has ended.
    pub fn handler_done(&self, id: HandlerId, exit: Option<i32>) -> Result<(), CommandError> {
        self.order(Order::HandlerDone { id, exit })
    }

    /// Gives the I/O thread something to deal with.
    pub(super) fn order(&self, order: Order) -> Result<(), CommandError> {
        self.orders.send(order).map_err(|_| CommandError::Ended)?;
        // The counter is full only when the thread was woken already, so a failure changes nothing.
        let _ = rustix::io::write(&*self.wake, &1u64.to_ne_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, poll};

    fn block_on<F: Future>(future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime").block_on(future)
    }

    #[test]
    fn a_command_is_answered_by_the_other_end_and_wakes_it() {
        let (handle, orders) = pair().expect("an eventfd");
        let io = std::thread::spawn(move || {
            let Ok(Order::Command { command: Command::Down, answer }) = orders.orders.recv() else {
                panic!("not the command that was given");
            };
            answer.send(Answer::Done).expect("somebody waits");
            // The order is there before the counter is raised.
            let mut raised = [PollFd::new(&*orders.wake, PollFlags::IN)];
            poll(&mut raised, None).expect("it can be polled");
            let mut count = [0; 8];
            rustix::io::read(&*orders.wake, &mut count).expect("it was raised");
        });
        assert_eq!(block_on(handle.command(Command::Down)), Ok(Answer::Done));
        io.join().expect("the thread ends well");
    }

    #[test]
    fn a_stalled_thread_makes_the_command_time_out_and_an_ended_one_says_so() {
        let (handle, orders) = pair().expect("an eventfd");
        let after = Duration::from_millis(20);
        let answer = block_on(handle.command_within(Command::Status, after));
        assert_eq!(answer, Err(CommandError::Stalled { after }));
        drop(orders);
        assert_eq!(block_on(handle.command(Command::Status)), Err(CommandError::Ended));
    }
}
