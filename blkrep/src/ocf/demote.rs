//! Demote: this node is Secondary, and nothing of a Primary is left on it; also when the Primary's
//! daemon is dead or frozen.

use super::agent::Agent;
use super::cure::NotUp;
use super::exit::{Exit, Fault, Outcome, note};
use super::sight::Sight;
use crate::cli::lifecycle::is_starting;
use crate::control::protocol::Request;
use replicator::state::Role;

/// What keeps a demoted node from being one for good.
const MARK_STAYS: &str =
    "it is Secondary, and its resume mark is still there; check the run directory";

/// Demotes. After a death it starts the daemon again, as a Secondary: that is what a demoted
/// instance is, and the cluster may ask nothing more of it.
pub(super) fn demote(agent: &Agent) -> Outcome {
    let mut why = String::new();
    let mut was_cured = false;
    let mut was_told = false;
    loop {
        agent.in_time(&why)?;
        match agent.look() {
            Sight::Running(status) if is_starting(&status) => {}
            Sight::Running(status) if status.role == Role::Primary || agent.is_marked() => {
                match agent.order(Request::Secondary, agent.left()) {
                    Ok(()) if !was_told => {
                        was_told = true;
                        continue;
                    }
                    Ok(()) => why = MARK_STAYS.to_owned(),
                    // Somebody uses the device, and may soon not; or it is frozen, and the next
                    // look shows that.
                    Err(denied) => why = agent.reason(denied, why),
                }
            }
            Sight::Running(status) => {
                agent.rate(&status);
                return Ok(Exit::Success);
            }
            Sight::Absent if was_cured => return Ok(started_again(agent)),
            Sight::Absent => {
                let reason = format!("{} does not run here, so it cannot be demoted", agent.name);
                return Err(Fault::new(Exit::NotRunning, reason));
            }
            Sight::Dead { left } => match agent.bury(&left) {
                Ok(()) => {
                    was_cured = true;
                    continue;
                }
                Err(text) => why = text,
            },
            Sight::Frozen { process, is_stopped: _, how } => match agent.end(process, &how) {
                Ok(()) => {
                    was_cured = true;
                    continue;
                }
                Err(text) => why = text,
            },
            Sight::Passing { pid } => {
                why = format!("process {pid} is starting or stopping {}", agent.name);
            }
            Sight::Unclear { exit: _, why: text } => why = text,
        }
        agent.rest(&why)?;
    }
}

/// Nothing of the Primary is left. A daemon that does not come up again is for the next monitor or
/// the stop that follows a failure: the demotion is done.
fn started_again(agent: &Agent) -> Exit {
    match agent.bring_up() {
        Ok(()) => {
            if let Sight::Running(status) = agent.look() {
                agent.rate(&status);
            }
        }
        Err(NotUp::Later(text) | NotUp::Failed(text)) => {
            note(format!("{}: demoted, and its daemon is not up: {text}", agent.name));
            agent.rate_nothing();
        }
        Err(NotUp::Never(fault)) => {
            note(format!("{}: demoted, and its daemon is not up: {}", agent.name, fault.reason));
            agent.rate_nothing();
        }
    }
    Exit::Success
}
