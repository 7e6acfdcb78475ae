//! Start: the daemon runs, has its disk, is Unpromoted, and has had the time to find its peer.

use super::agent::Agent;
use super::cure::NotUp;
use super::exit::{Exit, Fault, Outcome, note};
use super::sight::Sight;
use super::validate;
use crate::cli::lifecycle::is_starting;
use crate::control::protocol::Request;
use replicator::state::{ConnectionState, DiskState, Role};
use replicator::status::Status;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A daemon that does not come up for an unknown reason is tried so often; what a lock holds is
/// tried as long as there is time.
const TRIES: u32 = 2;
/// Between two looks at the connection.
const PAUSE: Duration = Duration::from_millis(100);

/// What keeps a demoted node from being one for good.
const MARK_STAYS: &str =
    "it is Secondary, and its resume mark is still there; check the run directory";

/// Starts.
pub(super) fn start(agent: &Agent) -> Outcome {
    validate::limits(&agent.told, &agent.parameters)?;
    agent.configuration()?;
    let mut tries = 0;
    let mut brought_up = false;
    let mut why = String::new();
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
                    Err(denied) => why = agent.reason(denied, why),
                }
            }
            Sight::Running(status) if brought_up && status.disk == DiskState::Diskless => {
                return disk_back(agent);
            }
            Sight::Running(status) => return Ok(ready(agent, &status)),
            Sight::Absent => match agent.bring_up() {
                Ok(()) => {
                    brought_up = true;
                    continue;
                }
                Err(NotUp::Never(fault)) => return Err(fault),
                Err(NotUp::Later(text)) => why = text,
                Err(NotUp::Failed(text)) => {
                    tries += 1;
                    if tries >= TRIES {
                        return Err(Fault::new(Exit::Generic, text));
                    }
                    why = text;
                }
            },
            Sight::Frozen { process, is_stopped: _, how } => match agent.end(process, &how) {
                Ok(()) => continue,
                Err(text) => why = text,
            },
            Sight::Dead { left } => match agent.bury(&left) {
                Ok(()) => continue,
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

/// The daemon is up without its disk: once more, and then it is of no use as an instance.
fn disk_back(agent: &Agent) -> Outcome {
    if let Err(denied) = agent.order(Request::Attach, agent.left()) {
        let reason = format!(
            "{} has no disk: {}; mend it, then 'crm resource cleanup'",
            agent.name,
            denied.text()
        );
        return Err(Fault::new(Exit::Generic, reason));
    }
    match agent.look() {
        Sight::Running(status) => Ok(ready(agent, &status)),
        Sight::Passing { .. }
        | Sight::Frozen { .. }
        | Sight::Absent
        | Sight::Dead { .. }
        | Sight::Unclear { .. } => {
            let reason = format!("the daemon of {} went away; look into its log", agent.name);
            Err(Fault::new(Exit::Generic, reason))
        }
    }
}

/// Connects as far as that needs nobody's decision, gives the peer its time, and sets the score.
fn ready(agent: &Agent, status: &Status) -> Exit {
    if status.connection == ConnectionState::StandAlone
        && let Err(denied) = agent.order(Request::Connect { discard_my_data: false }, agent.left())
    {
        note(format!("{}: does not connect: {}", agent.name, denied.text()));
    }
    let until = Instant::now() + agent.parameters.wfc_timeout.min(agent.left());
    let mut last = None;
    loop {
        if let Sight::Running(status) = agent.look() {
            let is_over = matches!(
                status.connection,
                ConnectionState::Connected | ConnectionState::StandAlone
            );
            last = Some(status);
            if is_over {
                break;
            }
        }
        if Instant::now() >= until {
            break;
        }
        sleep(PAUSE);
    }
    if let Some(status) = last {
        agent.rate(&status);
    }
    Exit::Success
}
