//! Promote: this node becomes Primary, with a device if it is to have one; or says at once that its
//! data are not good enough.

use super::agent::{Agent, Denied};
use super::device;
use super::exit::{Exit, Fault, Outcome};
use super::score::Score;
use super::sight::Sight;
use super::validate;
use crate::control::protocol::{RefusalKind, Request};
use replicator::state::Role;

/// DRBD's agent says it in these words, and people look for them.
const NO_GOOD_DATA: &str = "Refusing to be promoted to Primary without access to UpToDate data";

/// Promotes. The first try is made at once.
pub(super) fn promote(agent: &Agent) -> Outcome {
    validate::limits(&agent.told, &agent.parameters)?;
    let mut why = String::new();
    let mut was_done = false;
    loop {
        agent.in_time(&why)?;
        match agent.look() {
            Sight::Running(status) => {
                if status.role == Role::Primary && has_its_device(agent) {
                    agent.rate(&status);
                    return Ok(Exit::Success);
                }
                match agent.order(Request::Primary { force: false }, agent.left()) {
                    Ok(()) if !has_its_device(agent) => {
                        why = format!("{} is Primary and has no device yet", agent.name);
                    }
                    // The next look shows it.
                    Ok(()) if !was_done => {
                        was_done = true;
                        continue;
                    }
                    Ok(()) => why = format!("{} is demoted as soon as it is promoted", agent.name),
                    Err(Denied::Refused(RefusalKind::NoGoodData, text)) if is_settled(agent) => {
                        let reason = format!("{NO_GOOD_DATA}: {text}");
                        return Err(Fault::new(Exit::Generic, reason));
                    }
                    // The peer is Primary or is believed to be alive; or this node is Primary and
                    // its device is not there.
                    Err(denied) => why = agent.reason(denied, why),
                }
            }
            Sight::Absent | Sight::Dead { .. } => {
                let reason = format!("{} does not run here; it must be started first", agent.name);
                return Err(Fault::new(Exit::NotRunning, reason));
            }
            // The recovery that follows a failure ends it and starts another one.
            Sight::Frozen { process: _, is_stopped: _, how } => {
                let reason = format!("the daemon of {} is frozen: {how}; stop ends it", agent.name);
                return Err(Fault::new(Exit::Generic, reason));
            }
            Sight::Passing { pid } => {
                why = format!("process {pid} is starting or stopping {}", agent.name);
            }
            Sight::Unclear { exit: _, why: text } => why = text,
        }
        agent.rest(&why)?;
    }
}

fn has_its_device(agent: &Agent) -> bool {
    !device::is_wanted(&agent.context, &agent.name) || device::is_there(&agent.name)
}

/// True when the data are what they are: not while the disk is being attached.
fn is_settled(agent: &Agent) -> bool {
    match agent.look() {
        Sight::Running(status) => {
            agent.rate(&status);
            agent.parameters.ladder.score(&status) != Score::Keep
        }
        Sight::Passing { .. }
        | Sight::Frozen { .. }
        | Sight::Absent
        | Sight::Dead { .. }
        | Sight::Unclear { .. } => false,
    }
}
