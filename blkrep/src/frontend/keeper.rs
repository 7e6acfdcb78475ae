//! Looks after the block device: it is attached while this node is Primary, let go before a
//! demotion, and one of an earlier promotion is got rid of (rules D16 and G4).
//!
//! One thing at a time is done with the device. What fails is tried again as long as there is a
//! reason for it, so that a module that is loaded later or a predecessor that ends late needs no
//! hand.

use super::helper::{self, Helper};
use super::kernel::{self, attach::KernelDevice};
use super::news::News;
use crate::control::protocol::{RefusalKind, Response};
use crate::daemon::{BlockDevicePlan, DaemonPlan};
use crate::dataplane::handle::{CommandError, Handle};
use replicator::event::{Answer, Command};
use replicator::state::Role;
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard, watch};
use tokio::task::spawn_blocking;

/// What failed is tried again after so long; a device that tells nobody of its end is looked at as
/// often.
const RETRY_PAUSE: Duration = Duration::from_secs(10);
/// Between two looks at a device whose state changes: nothing may spin.
const CALM: Duration = Duration::from_millis(200);

/// Why a device was not let go.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stays {
    /// Somebody uses it, or may: its I/O is frozen.
    #[error("{0}")]
    InUse(String),
    /// The kernel, the helper or the data path did not do it.
    #[error("{0}")]
    Failed(String),
}

/// A device that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    /// This daemon serves it.
    pub(crate) is_served: bool,
    /// The clients that are the device's own; none when that is not known.
    pub(crate) clients: Option<u32>,
    /// Its file, for people.
    pub(crate) name: String,
}

/// The two kinds, with what was done last.
#[derive(Debug)]
enum Kept {
    Kernel(kernel::Kept),
    Helper(Box<helper::Kept>),
}

#[derive(Debug)]
struct State {
    kept: Kept,
    /// The daemon ends: nothing is attached any more.
    is_over: bool,
}

/// The keeper.
#[derive(Debug)]
pub(crate) struct Keeper {
    handle: Handle,
    news: watch::Receiver<News>,
    resource: String,
    /// What failed, as its messages begin.
    what: &'static str,
    /// The lock is the right to do something with the device.
    state: Mutex<State>,
}

impl Keeper {
    /// The keeper of the device of `plan`, which follows `news`; none when it has no device.
    pub(crate) fn of(
        plan: &DaemonPlan,
        handle: Handle,
        news: watch::Receiver<News>,
    ) -> Option<Self> {
        let resource = plan.settings.resource.clone();
        let (kept, what) = match plan.block_device.as_ref()? {
            BlockDevicePlan::Kernel(device) => {
                let device = KernelDevice::of(&resource, plan.settings.my_name(), *device);
                (Kept::Kernel(kernel::Kept::new(device)), "the kernel's device")
            }
            BlockDevicePlan::Helper(command) => {
                let helper = Helper::of(plan, command);
                (Kept::Helper(Box::new(helper::Kept::new(helper))), "the attach helper's device")
            }
        };
        let state = Mutex::new(State { kept, is_over: false });
        Some(Self { handle, news, resource, what, state })
    }

    /// Follows the export until the I/O thread is gone.
    pub(crate) async fn follow(&self) {
        let mut news = self.news.clone();
        let mut complaint = None;
        loop {
            news.mark_unchanged();
            let (result, is_silent) = {
                let mut state = self.state.lock().await;
                (self.settle(&mut state).await, state.kept.is_silent())
            };
            let failed = result.is_err();
            let text = result.err();
            if let Some(text) = &text
                && complaint.as_ref() != Some(text)
            {
                tracing::error!("{} is not attached: {text}; it is tried again", self.what);
            }
            complaint = text;
            let pause = tokio::time::sleep(RETRY_PAUSE);
            tokio::select! {
                changed = news.changed() => if changed.is_err() { return },
                () = pause, if failed || is_silent => {}
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
                let mut state = self.state.lock().await;
                Ok(match self.settle(&mut state).await {
                    Ok(()) => Response::Done,
                    Err(error) => self.done_without_device(command, &error),
                })
            }
            Command::Secondary | Command::Down => {
                let mut state = self.state.lock().await;
                let kind_and_text = match self.let_go(&mut state, command).await {
                    // While it is locked nobody attaches it again.
                    Ok(()) => match self.handle.command(command).await? {
                        Answer::Done => return Ok(Response::Done),
                        refused @ (Answer::Refused(_) | Answer::Status(_)) => {
                            self.settle_again(state).await;
                            return Ok(refused.into());
                        }
                    },
                    Err(Stays::InUse(text)) => (RefusalKind::State, text),
                    Err(Stays::Failed(text)) => (RefusalKind::KernelDevice, text),
                };
                self.settle_again(state).await;
                let (kind, text) = kind_and_text;
                Ok(Response::Refused { kind, text })
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
            | Command::Verify { .. }
            | Command::Repair { .. }
            | Command::Status => Ok(self.handle.command(command).await?.into()),
        }
    }

    /// Lets the device go before the daemon ends.
    ///
    /// # Errors
    /// It stays.
    pub(crate) async fn release(&self) -> Result<(), Stays> {
        let mut state = self.state.lock().await;
        self.let_go(&mut state, Command::Secondary).await?;
        state.is_over = true;
        Ok(())
    }

    /// What becomes of the device when the daemon ends under its users.
    pub(crate) async fn fate(&self) -> String {
        match &self.state.lock().await.kept {
            Kept::Kernel(kept) => kept.fate(),
            Kept::Helper(kept) => kept.fate(),
        }
    }

    fn done_without_device(&self, command: Command, error: &str) -> Response {
        let resource = &self.resource;
        let is_resized = matches!(command, Command::Resize { .. });
        let done = if is_resized { "has its new size" } else { "is Primary" };
        let text = format!(
            "{error}; {resource} {done} all the same, and is served on its NBD socket; when the cause is mended, run \
             'blkrep primary {resource}' again"
        );
        Response::Refused { kind: RefusalKind::KernelDevice, text }
    }

    /// A device that was let go for nothing is there again at once.
    async fn settle_again(&self, mut state: MutexGuard<'_, State>) {
        if let Err(error) = self.settle(&mut state).await {
            tracing::warn!("{} is not attached again: {error}", self.what);
        }
    }

    /// Makes the device what the export wants it to be; why not, in words.
    async fn settle(&self, state: &mut State) -> Result<(), String> {
        if state.is_over {
            return Ok(());
        }
        let news = self.news.borrow().clone();
        match &mut state.kept {
            Kept::Kernel(kept) => {
                kept.settle(&news, &self.handle).await.map_err(|error| error.to_string())
            }
            Kept::Helper(kept) => kept.settle(&news).await.map_err(|error| error.to_string()),
        }
    }

    /// Lets the device go before `command`, unless somebody uses it. Where the engine will refuse
    /// the command for a reason of its own, it does so, and the device stays as it is.
    async fn let_go(&self, state: &mut State, command: Command) -> Result<(), Stays> {
        let mut news = self.news.clone();
        let now = news.borrow_and_update().clone();
        let held = match &state.kept {
            Kept::Kernel(kept) => kept.held(&now).await,
            Kept::Helper(kept) => kept.held(),
        };
        let Some(held) = held else { return Ok(()) };
        if self.will_be_refused(&held, command).await? {
            return Ok(());
        }
        match &mut state.kept {
            Kept::Kernel(kept) => kept.let_go(&mut news).await,
            Kept::Helper(kept) => kept.let_go(&mut news).await,
        }
    }

    /// Whether others than the device are connected, or a Primary is told to go down.
    async fn will_be_refused(&self, held: &Held, command: Command) -> Result<bool, Stays> {
        let status = match self.handle.command(Command::Status).await {
            Ok(Answer::Status(status)) => status,
            Ok(Answer::Done | Answer::Refused(_)) => return Ok(false),
            Err(error) => return Err(Stays::Failed(error.to_string())),
        };
        if command == Command::Down && status.role == Role::Primary {
            return Ok(true);
        }
        if held.is_served && status.suspended.any() {
            let text = format!(
                "clients' I/O is suspended, so {} cannot be let go; run 'blkrep resume-io {}' first, or \
                 wait for the peer",
                held.name, self.resource
            );
            return Err(Stays::InUse(text));
        }
        Ok(held.clients.is_some_and(|own| status.clients > own))
    }
}

impl Kept {
    /// True while the device may end without a word.
    fn is_silent(&self) -> bool {
        match self {
            Self::Kernel(_) => false,
            Self::Helper(kept) => kept.is_attached(),
        }
    }
}

/// Runs what may wait for the kernel beside the control room.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => panic!("invariant: blocking work is never cancelled: {error}"),
        },
    }
}
