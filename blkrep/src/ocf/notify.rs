//! Notify: what the cluster does with the other instance. The score follows; nothing fails.

use super::agent::Agent;
use super::exit::{Exit, note};
use super::score::Score;
use super::sight::Sight;
use replicator::state::{DiskState, Role};

/// Hears of an action of any instance. Before a start there is nothing to prepare: the daemons dial
/// each other by themselves.
pub(super) fn notify(agent: &Agent) -> Exit {
    let notice = agent.told.notice();
    if notice.kind != "post" {
        return Exit::Success;
    }
    refresh(agent, &notice.operation);
    Exit::Success
}

/// The parameters have changed that need no restart: the score is all that follows from them.
pub(super) fn reload(agent: &Agent) -> Exit {
    refresh(agent, "reload");
    Exit::Success
}

fn refresh(agent: &Agent, what: &str) {
    match agent.look() {
        Sight::Running(status) => {
            let may_outdate = what != "reload"
                && status.role == Role::Secondary
                && status.peer_disk == DiskState::DUnknown
                && status.disk >= DiskState::Consistent;
            if may_outdate && agent.outdate_if_wanted() {
                agent.attribute.set(Score::Never);
            } else {
                agent.rate(&status);
            }
        }
        // The monitor says what is wrong; whoever mends it sets the score.
        Sight::Frozen { .. } | Sight::Dead { .. } | Sight::Absent | Sight::Passing { .. } => {}
        Sight::Unclear { exit: _, why } => note(format!("{}: after {what}: {why}", agent.name)),
    }
}
