//! Stop: nothing of the resource is left on this node. A stop that fails has the node fenced, so it
//! asks for nothing that may be broken: not the configuration, not a daemon that answers.

use super::agent::{Agent, Denied};
use super::exit::{Exit, Outcome};
use super::sight::{self, Sight};
use crate::control::client::DaemonProcess;
use crate::control::protocol::{RefusalKind, Request};
use replicator::state::Role;
use std::time::{Duration, Instant};

/// The part of the time after which a daemon that answers and does not end is killed.
const PATIENCE_PART: u32 = 2;
/// Somebody who starts or stops the resource beside this action is waited for so long.
const PASSING_MAX: Duration = Duration::from_secs(10);

/// Why the resource is still there.
enum Stays {
    /// Its daemon says who uses it.
    InUse(String),
    /// Something else.
    Otherwise(String),
}

impl From<String> for Stays {
    fn from(text: String) -> Self {
        Self::Otherwise(text)
    }
}

/// Stops. Fails only when the device of a daemon that lives is in use, or a killed process stays.
pub(super) fn stop(agent: &Agent) -> Outcome {
    let begun = Instant::now();
    let patience = agent.left() / PATIENCE_PART;
    let mut why = String::new();
    let mut in_use = None;
    loop {
        agent.in_time(in_use.as_deref().unwrap_or(&why))?;
        // A daemon that has said who uses the device is not killed under that user, however long
        // its next answer takes.
        let is_late = begun.elapsed() >= patience && in_use.is_none();
        let result = match agent.look() {
            Sight::Absent => break,
            Sight::Dead { left } => agent.bury(&left).map_err(Stays::from),
            Sight::Frozen { process, is_stopped: _, how } => {
                agent.end(process, &how).map_err(Stays::from)
            }
            Sight::Running(status) => {
                let is_primary = status.role == Role::Primary || agent.is_marked();
                let limit = patience.saturating_sub(begun.elapsed()).max(PASSING_MAX.min(patience));
                end(agent, is_primary, limit, is_late)
            }
            Sight::Passing { pid } => {
                passing(agent, pid, begun.elapsed() >= PASSING_MAX.min(patience))
            }
            Sight::Unclear { exit: _, why } if is_late => {
                let process = sight::daemon_with_lock(&agent.context.run_dir, &agent.name);
                agent.end(process, &why).map_err(Stays::from)
            }
            Sight::Unclear { exit: _, why } => Err(Stays::Otherwise(why)),
        };
        match result {
            // What is left shows in the next look.
            Ok(()) => continue,
            Err(Stays::InUse(text)) => in_use = Some(text),
            Err(Stays::Otherwise(text)) => why = text,
        }
        agent.rest(in_use.as_deref().unwrap_or(&why))?;
    }
    // A unit that has failed, or is to be started again, is stopped for systemd as well.
    agent.service.forbid();
    agent.outdate_if_wanted();
    agent.rate_nothing();
    Ok(Exit::Success)
}

/// A process has the resource and does not listen. A command that stops it is no daemon, and is not
/// killed.
fn passing(agent: &Agent, pid: u32, is_late: bool) -> Result<(), Stays> {
    let text = format!("process {pid} is starting or stopping {}", agent.name);
    match sight::daemon_with_lock(&agent.context.run_dir, &agent.name) {
        Some(process) if is_late => agent.end(Some(process), &text).map_err(Stays::from),
        Some(_) | None => Err(Stays::Otherwise(text)),
    }
}

/// Ends a daemon that answers, in order if it can be.
fn end(agent: &Agent, is_primary: bool, limit: Duration, is_late: bool) -> Result<(), Stays> {
    let process = DaemonProcess::of(&agent.context.run_dir, &agent.name);
    let orders: &[Request] =
        if is_primary { &[Request::Secondary, Request::Down] } else { &[Request::Down] };
    for order in orders {
        match agent.order(*order, limit) {
            Ok(()) => {}
            // Whoever uses it may be about to end.
            Err(Denied::Refused(RefusalKind::State, text)) => return Err(Stays::InUse(text)),
            Err(denied) if is_late => {
                return agent.end(process, &denied.text()).map_err(Stays::from);
            }
            Err(denied) => return Err(Stays::Otherwise(denied.text())),
        }
    }
    match process {
        Some(process) if !process.wait_for_end(limit) => {
            agent.end(Some(process), "it said that it ends, and does not").map_err(Stays::from)
        }
        Some(_) | None => Ok(()),
    }
}
