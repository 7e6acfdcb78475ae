//! Looks after the kernel's device: it is attached while this node is Primary, let go before a
//! demotion, and one of an earlier promotion is disconnected (rules D16 and G4).
//!
//! One thing at a time is done with the device. What fails is tried again as long as there is a
//! reason for it, so that a module that is loaded later or a predecessor that ends late needs no
//! hand.

use super::attach::KernelDevice;
use super::faults::AttachError;
use super::news::News;
use crate::control::protocol::{RefusalKind, Response};
use crate::dataplane::handle::{CommandError, Handle};
use replicator::event::{Answer, Command};
use replicator::state::Role;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use tokio::task::spawn_blocking;

/// What failed is tried again after so long.
const RETRY_PAUSE: Duration = Duration::from_secs(10);
/// A disconnected device's session ends within this time: its socket is closed.
const SESSION_END_MAX: Duration = Duration::from_secs(5);
/// Between two looks at a device whose state changes: nothing may spin.
const CALM: Duration = Duration::from_millis(200);

/// Why a device was not let go.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stays {
    /// Somebody uses it, or may: its I/O is frozen.
    #[error("{0}")]
    InUse(String),
    /// The kernel or the data path did not do it.
    #[error("{0}")]
    Failed(String),
}

/// What was done last; the lock on it is the right to do something with the device.
#[derive(Debug, Default)]
struct Done {
    size_bytes: u64,
    /// The daemon ends: nothing is attached any more.
    is_over: bool,
}

/// The keeper.
#[derive(Debug)]
pub(crate) struct Keeper {
    device: Arc<KernelDevice>,
    handle: Handle,
    news: watch::Receiver<News>,
    resource: String,
    done: Mutex<Done>,
}

impl Keeper {
    /// A keeper of `device`, which follows `news`.
    pub(crate) fn new(
        device: KernelDevice,
        handle: Handle,
        news: watch::Receiver<News>,
        resource: String,
    ) -> Self {
        let (device, done) = (Arc::new(device), Mutex::default());
        Self { device, handle, news, resource, done }
    }

    /// The device.
    pub(crate) fn device(&self) -> &KernelDevice {
        &self.device
    }

    /// Follows the export until the I/O thread is gone.
    pub(crate) async fn follow(&self) {
        let mut news = self.news.clone();
        let mut complaint = None;
        loop {
            news.mark_unchanged();
            let result = self.settle(&mut *self.done.lock().await).await;
            let failed = result.is_err();
            let text = result.err().map(|error| error.to_string());
            if text.is_some() && text != complaint {
                let text = text.as_deref().unwrap_or_default();
                tracing::error!("the kernel's device is not attached: {text}; it is tried again");
            }
            complaint = text;
            let retry = tokio::time::sleep(RETRY_PAUSE);
            tokio::select! {
                changed = news.changed() => if changed.is_err() { return },
                () = retry, if failed => {}
            }
            tokio::time::sleep(CALM).await;
        }
    }

    /// Carries out a command whose meaning includes the device.
    ///
    /// # Errors
    /// The I/O thread gives no answer.
    pub(crate) async fn command(&self, command: Command) -> Result<Response, CommandError> {
        match command {
            Command::Primary { .. } | Command::Resize { .. } => {
                let answer = self.handle.command(command).await?;
                if answer != Answer::Done {
                    return Ok(answer.into());
                }
                Ok(match self.settle(&mut *self.done.lock().await).await {
                    Ok(()) => Response::Done,
                    Err(error) => self.done_without_device(command, &error),
                })
            }
            Command::Secondary | Command::Down => {
                let mut done = self.done.lock().await;
                match self.let_go(&mut done, command).await {
                    // While it is locked nobody attaches it again.
                    Ok(()) => Ok(self.handle.command(command).await?.into()),
                    Err(Stays::InUse(text)) => {
                        Ok(Response::Refused { kind: RefusalKind::State, text })
                    }
                    Err(Stays::Failed(text)) => {
                        Ok(Response::Refused { kind: RefusalKind::KernelDevice, text })
                    }
                }
            }
            Command::Connect { .. }
            | Command::Disconnect
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
            | Command::Status => Ok(self.handle.command(command).await?.into()),
        }
    }

    /// Lets the device go before the daemon ends.
    ///
    /// # Errors
    /// It stays.
    pub(crate) async fn release(&self) -> Result<(), Stays> {
        let mut done = self.done.lock().await;
        self.let_go(&mut done, Command::Secondary).await?;
        done.is_over = true;
        Ok(())
    }

    fn done_without_device(&self, command: Command, error: &AttachError) -> Response {
        let resource = &self.resource;
        let is_resized = matches!(command, Command::Resize { .. });
        let done = if is_resized { "has its new size" } else { "is Primary" };
        let text = format!(
            "{error}; {resource} {done} all the same, and is served on its NBD socket; when the cause is mended, run \
             'blkrep primary {resource}' again"
        );
        Response::Refused { kind: RefusalKind::KernelDevice, text }
    }

    /// Makes the device what the export wants it to be.
    async fn settle(&self, done: &mut Done) -> Result<(), AttachError> {
        if done.is_over {
            return Ok(());
        }
        let news = self.news.borrow().clone();
        let device = Arc::clone(&self.device);
        let (Some(export), Some(promotion)) = (news.export, news.promotion.clone()) else {
            // Not Primary. What may still be resumed is left waiting.
            let promotion = news.promotion;
            return blocking(move || device.drop_old(promotion.as_deref()).map(drop)).await;
        };
        let size_bytes = export.size_bytes;
        if !news.is_attached {
            let handle = self.handle.clone();
            let adopt = move |socket| handle.adopt_kernel(socket);
            blocking(move || device.attach(&export, &promotion, adopt)).await?;
        } else if done.size_bytes != size_bytes {
            blocking(move || device.resize(&export, &promotion)).await?;
        }
        done.size_bytes = size_bytes;
        Ok(())
    }

    /// Disconnects the device before `command`, unless somebody uses it. Where the engine will
    /// refuse the command for a reason of its own, it does so, and the device stays as it is.
    async fn let_go(&self, done: &mut Done, command: Command) -> Result<(), Stays> {
        let mut news = self.news.clone();
        let is_attached = news.borrow_and_update().is_attached;
        let device = Arc::clone(&self.device);
        // A kernel that keeps no cookies does not know whose it is.
        if !is_attached && !blocking(move || device.is_ours()).await {
            return Ok(());
        }
        if self.will_be_refused(is_attached, command).await? {
            return Ok(());
        }
        let device = Arc::clone(&self.device);
        let taken = blocking(move || device.take(is_attached)).await;
        let taken =
            taken.map_err(|held| Stays::InUse(format!("{held}; unmount or close it first")))?;
        let device = Arc::clone(&self.device);
        let disconnected = blocking(move || device.disconnect(taken)).await;
        disconnected.map_err(|error| Stays::Failed(error.to_string()))?;
        done.size_bytes = 0;
        let ended = news.wait_for(|news| !news.is_attached);
        match tokio::time::timeout(SESSION_END_MAX, ended).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Stays::Failed("the device's session has not ended".to_owned())),
        }
    }

    /// Whether others than the device are connected, or a Primary is told to go down.
    async fn will_be_refused(&self, is_attached: bool, command: Command) -> Result<bool, Stays> {
        let status = match self.handle.command(Command::Status).await {
            Ok(Answer::Status(status)) => status,
            Ok(Answer::Done | Answer::Refused(_)) => return Ok(false),
            Err(error) => return Err(Stays::Failed(error.to_string())),
        };
        if command == Command::Down && status.role == Role::Primary {
            return Ok(true);
        }
        if is_attached && status.suspended.any() {
            let text = format!(
                "clients' I/O is suspended, so {} cannot be let go; run 'blkrep resume-io {}' first, or \
                 wait for the peer",
                self.device.name(),
                self.resource
            );
            return Err(Stays::InUse(text));
        }
        Ok(status.clients > u32::from(is_attached))
    }
}

/// Runs what may wait for the kernel beside the control room.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => panic!("invariant: blocking work is never cancelled: {error}"),
        },
    }
}
