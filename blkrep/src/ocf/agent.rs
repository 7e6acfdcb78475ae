//! What every action works with: the resource, the time that is left, and orders to the daemon.

use super::action::Action;
use super::attribute::Attribute;
use super::environment::Environment;
use super::exit::{Exit, Fault, note};
use super::parameters::Parameters;
use super::score::Score;
use super::service::Service;
use super::sight::{self, Sight};
use crate::cli::context::Context;
use crate::control::client::{ControlError, ask_within};
use crate::control::protocol::{RefusalKind, Request, Response};
use replicator::status::Status;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A daemon that does not answer, and was not stopped, is asked so often.
const ASKED_MAX: u32 = 3;
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(200);
/// An action that is late is killed, and nobody hears its reason: it ends itself before.
const MARGIN_MAX: Duration = Duration::from_secs(5);
/// Of a short timeout this part is kept.
const MARGIN_PART: u32 = 5;

/// The agent of one resource, for the time of one action.
#[derive(Debug)]
pub(super) struct Agent {
    /// Where things are.
    pub(super) context: Context,
    /// The resource.
    pub(super) name: String,
    /// What the cluster says.
    pub(super) told: Environment,
    /// What the resource is configured to do.
    pub(super) parameters: Parameters,
    /// Where the score goes.
    pub(super) attribute: Attribute,
    /// Who starts the daemon.
    pub(super) service: Service,
    deadline: Instant,
}

/// Why the daemon did not do what it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Denied {
    /// It answers that it does not.
    Refused(RefusalKind, String),
    /// It is not there, or does not answer: a look shows more.
    Silent(String),
}

impl Denied {
    /// In words.
    pub(super) fn text(self) -> String {
        match self {
            Self::Refused(_, text) | Self::Silent(text) => text,
        }
    }
}

impl Agent {
    /// For `action`, from now on.
    pub(super) fn new(
        context: &Context,
        name: String,
        told: Environment,
        parameters: Parameters,
        action: Action,
    ) -> Self {
        let timeout = told.timeout().unwrap_or_else(|| action.timeout());
        let margin = MARGIN_MAX.min(timeout / MARGIN_PART);
        let deadline = Instant::now() + timeout.saturating_sub(margin);
        let context = context.clone();
        let service = Service::new(&context, &name);
        let attribute = Attribute::new(&told);
        Self { context, name, told, parameters, attribute, service, deadline }
    }

    /// Looks at the resource. A daemon that is slow on a busy machine is not taken for a frozen
    /// one, which would be killed.
    pub(super) fn look(&self) -> Sight {
        let mut asked = 1;
        loop {
            let sight = sight::look(&self.context.run_dir, &self.name);
            let may_be_slow = matches!(sight, Sight::Frozen { is_stopped: false, .. });
            if !may_be_slow || asked >= ASKED_MAX {
                return sight;
            }
            asked += 1;
        }
    }

    /// True when the node was Primary and has not been told otherwise since.
    pub(super) fn is_marked(&self) -> bool {
        sight::is_marked(&self.context.run_dir, &self.name)
    }

    /// The time that is left.
    pub(super) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Goes on without a pause.
    ///
    /// # Errors
    /// There is no time left: a failure, for the reason `why`.
    pub(super) fn in_time(&self, why: &str) -> Result<(), Fault> {
        if self.left().is_zero() { Err(self.too_late(why)) } else { Ok(()) }
    }

    /// Waits a little before the next try.
    ///
    /// # Errors
    /// There is no time for one: a failure, for the reason `why`.
    pub(super) fn rest(&self, why: &str) -> Result<(), Fault> {
        if self.left() <= PAUSE {
            return Err(self.too_late(why));
        }
        sleep(PAUSE);
        Ok(())
    }

    fn too_late(&self, why: &str) -> Fault {
        if why.is_empty() {
            let reason = format!("{}: not done in time; look into the daemon's log", self.name);
            return Fault::new(Exit::Generic, reason);
        }
        Fault::new(Exit::Generic, why)
    }

    /// Why it does not go on, in words: that the last try was cut short by the end of the time says
    /// less than what the try before it was told (`last`).
    pub(super) fn reason(&self, denied: Denied, last: String) -> String {
        match denied {
            Denied::Silent(_) if self.left().is_zero() && !last.is_empty() => last,
            Denied::Silent(text) | Denied::Refused(_, text) => text,
        }
    }

    /// Tells the daemon to do something within `limit`.
    ///
    /// # Errors
    /// It does not.
    pub(super) fn order(&self, request: Request, limit: Duration) -> Result<(), Denied> {
        match ask_within(&self.context.run_dir, &self.name, request, limit) {
            Ok(Response::Done | Response::Status(_)) => Ok(()),
            Ok(Response::Refused { kind, text }) => Err(Denied::Refused(kind, text)),
            Err(
                error @ (ControlError::NotUp { resource: _ }
                | ControlError::Unreachable { socket: _, source: _ }
                | ControlError::NoAnswer { source: _ }
                | ControlError::Nonsense { reason: _ }),
            ) => Err(Denied::Silent(format!("'{}': {error}", request.verb()))),
        }
    }

    /// Makes the score what the state is worth.
    pub(super) fn rate(&self, status: &Status) {
        self.attribute.set(self.parameters.ladder.score(status));
    }

    /// Takes the score away.
    pub(super) fn rate_nothing(&self) {
        self.attribute.set(Score::Delete);
    }

    /// Marks this node's data as Outdated where that is configured and the resource stays Promoted
    /// on the other node. True when it is marked.
    pub(super) fn outdate_if_wanted(&self) -> bool {
        if !self.parameters.stop_outdates_secondary {
            return false;
        }
        let elsewhere = self.told.promoted_elsewhere(&[&self.context.node]);
        let Some(primary) = elsewhere.first() else { return false };
        match crate::cli::outdate::outdate(&self.context, &self.name) {
            Ok(()) => {
                note(format!("{}: Outdated, since {primary} stays Promoted", self.name));
                true
            }
            Err(failure) => {
                note(format!("{}: not marked as Outdated: {failure}", self.name));
                false
            }
        }
    }
}
