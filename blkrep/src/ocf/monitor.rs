//! The monitor: what is the matter with the resource here, and what its data are worth.
//!
//! The monitor of a Promoted instance does one thing more than look. The cluster stops whatever
//! uses the device before it demotes, and no file system can be unmounted from a device that waits
//! for a dead or frozen daemon: the node would be fenced for that. So the daemon that does not
//! answer is ended, and its device gives its users errors, unless systemd starts it again and it
//! goes on.
//!
//! A failure leaves the score as it is, for the demotion or stop that follows. A score that changes
//! has the cluster make new plans at once and cancel the very monitor that changed it: the failure
//! would never be recorded, nor counted for migration-threshold.

use super::agent::Agent;
use super::device;
use super::exit::{Exit, Fault, Outcome};
use super::sight::Sight;
use crate::cli::lifecycle::is_starting;
use replicator::state::Role;
use std::time::{Duration, Instant};

/// What is under way is waited for so long, if the action has the time: a daemon that starts, gets
/// its role or its device back.
const SETTLE_MAX: Duration = Duration::from_secs(12);

/// A moment's finding.
enum Finding {
    /// It is so.
    Is(Exit),
    /// Something is wrong.
    Wrong(Fault),
    /// It is changing; if it has not by the end of the wait, that is wrong.
    Changes(Fault),
}

/// Looks, and sets the score.
pub(super) fn monitor(agent: &Agent) -> Outcome {
    let settled = Instant::now() + SETTLE_MAX.min(agent.left());
    loop {
        match finding(agent) {
            Finding::Is(exit) => return Ok(exit),
            Finding::Wrong(fault) => return Err(fault),
            Finding::Changes(fault) => {
                if Instant::now() >= settled || agent.rest("").is_err() {
                    return Err(fault);
                }
            }
        }
    }
}

fn finding(agent: &Agent) -> Finding {
    let name = &agent.name;
    // A role that was there before is a failed Primary's now.
    let failed = |was_primary: bool| {
        if was_primary { Exit::FailedPromoted } else { Exit::Generic }
    };
    match agent.look() {
        Sight::Running(status) => {
            agent.rate(&status);
            if status.role == Role::Primary {
                if device::is_wanted(&agent.context, name) && !device::is_there(name) {
                    let reason = format!(
                        "{name} is Primary, and its device /dev/blkrep/by-res/{name}/0 is not there; \
                         look into the daemon's log"
                    );
                    return Finding::Changes(Fault::new(Exit::FailedPromoted, reason));
                }
                Finding::Is(Exit::RunningPromoted)
            } else if agent.is_marked() && !is_starting(&status) {
                let reason = format!(
                    "the daemon of {name} was Primary, was started again and is not Primary yet; its \
                     log says what it waits for"
                );
                Finding::Changes(Fault::new(Exit::FailedPromoted, reason))
            } else {
                Finding::Is(Exit::Success)
            }
        }
        Sight::Absent if agent.service.is_at_work() => {
            let reason = format!("systemd starts the daemon of {name}, and it is not up yet");
            Finding::Changes(Fault::new(Exit::Generic, reason))
        }
        Sight::Absent => Finding::Is(Exit::NotRunning),
        Sight::Passing { pid } => {
            let reason =
                format!("process {pid} is starting or stopping {name} and does not get on");
            Finding::Changes(Fault::new(failed(agent.is_marked()), reason))
        }
        Sight::Frozen { process, is_stopped: _, how } => {
            let was_primary = agent.is_marked();
            let reason = format!("the daemon of {name} is frozen: {how}; demote or stop ends it");
            let fault = Fault::new(failed(was_primary), reason);
            if !was_primary || agent.told.is_probe() {
                return Finding::Wrong(fault);
            }
            match agent.kill(process, &how) {
                Ok(()) if agent.service.is_at_work() => Finding::Changes(fault),
                Ok(()) => {
                    agent.give_errors();
                    Finding::Wrong(fault)
                }
                Err(text) => Finding::Wrong(Fault::new(fault.exit, text)),
            }
        }
        Sight::Dead { left } => {
            let reason = format!(
                "the daemon of {name} is dead and was Primary: {left} is still there; demote or stop \
                 removes that"
            );
            let fault = Fault::new(Exit::FailedPromoted, reason);
            if agent.service.is_at_work() {
                return Finding::Changes(fault);
            }
            if !agent.told.is_probe() {
                agent.give_errors();
            }
            Finding::Wrong(fault)
        }
        Sight::Unclear { exit, why } => Finding::Changes(Fault::new(exit, why)),
    }
}
