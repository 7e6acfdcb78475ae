//! One step towards a Secondary, for the actions that end with one: whatever the daemon is, it is
//! told, waited for, ended or buried until it runs as a Secondary or does not run.

use super::agent::Agent;
use super::sight::Sight;
use crate::cli::lifecycle::is_starting;
use crate::control::protocol::Request;
use replicator::state::Role;
use replicator::status::Status;

/// What keeps a demoted node from being one for good.
const MARK_STAYS: &str =
    "it is Secondary, and its resume mark is still there; check the run directory";

/// How far it is.
#[derive(Debug)]
pub(super) enum Step {
    /// The daemon runs and is Secondary, and would be after its next start.
    Stands(Box<Status>),
    /// There is no daemon, and nothing of one.
    Absent,
    /// It has just become Secondary: look again at once.
    Told,
    /// A dead or frozen daemon is gone: look again at once.
    Cured,
    /// Not yet, for this reason.
    Later(String),
}

/// The way there.
#[derive(Debug, Default)]
pub(super) struct Secondary {
    was_told: bool,
}

impl Secondary {
    /// Looks, and does what is next. `last` is why the step before it did not get there.
    pub(super) fn step(&mut self, agent: &Agent, last: &str) -> Step {
        let cured = |result: Result<(), String>| match result {
            Ok(()) => Step::Cured,
            Err(text) => Step::Later(text),
        };
        match agent.look() {
            Sight::Running(status) if is_starting(&status) => Step::Later(last.to_owned()),
            Sight::Running(status) if status.role == Role::Primary || agent.is_marked() => {
                match agent.order(Request::Secondary, agent.left()) {
                    Ok(()) if !self.was_told => {
                        self.was_told = true;
                        Step::Told
                    }
                    Ok(()) => Step::Later(MARK_STAYS.to_owned()),
                    // Somebody uses the device, and may soon not; or it is frozen, and the next
                    // look shows that.
                    Err(denied) => Step::Later(agent.reason(denied, last.to_owned())),
                }
            }
            Sight::Running(status) => Step::Stands(status),
            Sight::Absent => Step::Absent,
            Sight::Dead { left } => cured(agent.bury(&left)),
            Sight::Frozen { process, is_stopped: _, how } => cured(agent.end(process, &how)),
            Sight::Passing { pid } => {
                Step::Later(format!("process {pid} is starting or stopping {}", agent.name))
            }
            Sight::Unclear { exit: _, why } => Step::Later(why),
        }
    }
}
