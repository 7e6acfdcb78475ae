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

/// Stops. Fails only when the device of a daemon that lives is in use.
pub(super) fn stop(agent: &Agent) -> Outcome {
    let begun = Instant::now();
    let patience = agent.left() / PATIENCE_PART;
    let mut why = format!("{} did not stop in time", agent.name);
    loop {
        agent.in_time(&why)?;
        let is_late = begun.elapsed() >= patience;
        let result = match agent.look() {
            Sight::Absent => break,
            Sight::Dead { left } => agent.bury(&left),
            Sight::Frozen { process, is_stopped: _, how } => agent.end(process, &how),
            Sight::Running(status) => {
                let is_primary = status.role == Role::Primary || agent.is_marked();
                let limit = patience.saturating_sub(begun.elapsed()).max(PASSING_MAX.min(patience));
                end(agent, is_primary, limit, is_late)
            }
            Sight::Passing { pid } => {
                let text = format!("process {pid} is starting or stopping {}", agent.name);
                // A command that stops it is no daemon, and is not killed.
                match sight::daemon_with_lock(&agent.context.run_dir, &agent.name) {
                    Some(process) if begun.elapsed() >= PASSING_MAX.min(patience) => {
                        agent.end(Some(process), &text)
                    }
                    Some(_) | None => Err(text),
                }
            }
            Sight::Unclear { exit: _, why } if is_late => {
                agent.end(sight::daemon_with_lock(&agent.context.run_dir, &agent.name), &why)
            }
            Sight::Unclear { exit: _, why } => Err(why),
        };
        match result {
            // What is left shows in the next look.
            Ok(()) => {}
            Err(text) => {
                why = text;
                agent.rest(&why)?;
            }
        }
    }
    // A unit that has failed, or is to be started again, is stopped for systemd as well.
    agent.service.forbid();
    agent.outdate_if_wanted();
    agent.rate_nothing();
    Ok(Exit::Success)
}

/// Ends a daemon that answers, in order if it can be.
fn end(agent: &Agent, is_primary: bool, limit: Duration, is_late: bool) -> Result<(), String> {
    let process = DaemonProcess::of(&agent.context.run_dir, &agent.name);
    let orders: &[Request] =
        if is_primary { &[Request::Secondary, Request::Down] } else { &[Request::Down] };
    for order in orders {
        match agent.order(*order, limit) {
            Ok(()) => {}
            // In use: whoever uses it may be about to end.
            Err(Denied::Refused(RefusalKind::State, text)) => return Err(text),
            Err(denied) if is_late => return agent.end(process, &denied.text()),
            Err(denied) => return Err(denied.text()),
        }
    }
    match process {
        Some(process) if !process.wait_for_end(limit) => {
            agent.end(Some(process), "it said that it ends, and does not")
        }
        Some(_) | None => Ok(()),
    }
}
