//! Demote: this node is Secondary, and nothing of a Primary is left on it; also when the Primary's
//! daemon is dead or frozen.

use super::agent::Agent;
use super::cure::NotUp;
use super::exit::{Exit, Fault, Outcome, note};
use super::secondary::{Secondary, Step};
use super::sight::Sight;

/// Demotes. After a death it starts the daemon again, as a Secondary: that is what a demoted
/// instance is, and the cluster may ask nothing more of it.
pub(super) fn demote(agent: &Agent) -> Outcome {
    let mut secondary = Secondary::default();
    let mut why = String::new();
    let mut was_cured = false;
    loop {
        agent.in_time(&why)?;
        match secondary.step(agent, &why) {
            Step::Stands(status) => {
                agent.rate(&status);
                return Ok(Exit::Success);
            }
            Step::Absent if was_cured => return Ok(started_again(agent)),
            Step::Absent => {
                let reason = format!("{} does not run here, so it cannot be demoted", agent.name);
                return Err(Fault::new(Exit::NotRunning, reason));
            }
            Step::Told => continue,
            Step::Cured => {
                was_cured = true;
                continue;
            }
            Step::Later(text) => why = text,
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
