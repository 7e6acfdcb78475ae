//! What the status section of the CIB says of the peer: a member, lost, or down for certain.

use super::cib::{child, children, is_yes};
use roxmltree::Node;

/// The peer as a member of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PeerState {
    /// It takes part. What the cluster says may be some seconds old.
    Member,
    /// It does not, or not fully, and nobody knows what it does.
    Lost,
    /// It was fenced, or it left in good order, its resources stopped.
    Down {
        /// Not even the membership layer runs on it.
        machine: bool,
    },
}

/// By the `node_state` of the peer; none when the cluster has never seen it.
pub(super) fn of(state: Option<Node<'_, '_>>) -> PeerState {
    let Some(state) = state else { return PeerState::Lost };
    let in_membership = state.attribute("in_ccm").is_some_and(is_since);
    let controller = state.attribute("crmd").is_some_and(is_since);
    let (join, expected) = (state.attribute("join"), state.attribute("expected"));
    if is_to_be_fenced(state) {
        PeerState::Lost
    } else if in_membership && controller {
        // Joining, or on its way out: wait for what comes of it.
        let whole = join == Some("member") && expected == Some("member");
        if whole { PeerState::Member } else { PeerState::Lost }
    } else if !controller && expected == Some("down") {
        PeerState::Down { machine: !in_membership }
    } else {
        PeerState::Lost
    }
}

/// Older clusters write a word, newer ones the time since when it holds, 0 for not.
fn is_since(text: &str) -> bool {
    is_yes(text) || text == "online" || text.parse().is_ok_and(|since: i64| since > 0)
}

/// Somebody has asked for it, and it is not done: doing it takes the mark away.
fn is_to_be_fenced(state: Node<'_, '_>) -> bool {
    children(state, "transient_attributes")
        .flat_map(|transient| children(transient, "instance_attributes"))
        .flat_map(|set| children(set, "nvpair"))
        .filter(|pair| pair.attribute("name") == Some("terminate"))
        .filter_map(|pair| pair.attribute("value"))
        .any(is_since)
}

/// True when the last operation that is recorded of `primitive` on that node has left it promoted,
/// and none is under way.
pub(super) fn is_promoted(state: Node<'_, '_>, primitive: &str) -> bool {
    let Some(resources) = child(state, "lrm").and_then(|lrm| child(lrm, "lrm_resources")) else {
        return false;
    };
    let ours = children(resources, "lrm_resource").filter(|resource| {
        let id = resource.attribute("id").unwrap_or_default();
        // An instance of a clone may have a number behind its name.
        id == primitive || id.strip_prefix(primitive).is_some_and(|rest| rest.starts_with(':'))
    });
    let mut last = None;
    for operation in ours.flat_map(|resource| children(resource, "lrm_rsc_op")) {
        let number =
            |name: &str| operation.attribute(name).and_then(|text| text.parse::<i64>().ok());
        let kind = operation.attribute("operation").unwrap_or_default();
        if !["start", "stop", "promote", "demote", "monitor"].contains(&kind) {
            continue;
        }
        let (Some(call), Some(code)) = (number("call-id"), number("rc-code")) else { return false };
        if call < 0 || number("op-status") == Some(-1) {
            return false;
        }
        // A monitor's 8 and 191 mean promoted.
        let promoted = matches!((kind, code), ("promote", 0) | ("monitor", 8 | 191));
        if last.is_none_or(|(latest, _)| call > latest) {
            last = Some((call, promoted));
        }
    }
    last.is_some_and(|(_, promoted)| promoted)
}
