//! Start: the daemon runs, has its disk, is Unpromoted, and has had the time to find its peer.

use super::agent::Agent;
use super::cure::NotUp;
use super::exit::{Exit, Fault, Outcome, note};
use super::secondary::{Secondary, Step};
use super::sight::Sight;
use super::validate;
use crate::control::protocol::Request;
use replicator::state::{ConnectionState, DiskState};
use replicator::status::Status;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A daemon that does not come up for an unknown reason is tried so often; what a lock holds is
/// tried as long as there is time.
const TRIES: u32 = 2;
/// Between two looks at the connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Starts.
pub(super) fn start(agent: &Agent) -> Outcome {
    validate::limits(&agent.told, &agent.parameters)?;
    agent.configuration()?;
    let mut secondary = Secondary::default();
    let mut tries = 0;
    let mut brought_up = false;
    let mut why = String::new();
    loop {
        agent.in_time(&why)?;
        match secondary.step(agent, &why) {
            Step::Stands(status) if brought_up && status.disk == DiskState::Diskless => {
                return disk_back(agent);
            }
            Step::Stands(status) => return Ok(ready(agent, &status)),
            Step::Absent => match agent.bring_up() {
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
            Step::Told | Step::Cured => continue,
            Step::Later(text) => why = text,
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
