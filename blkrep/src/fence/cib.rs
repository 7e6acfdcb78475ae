//! Reads of the cluster's configuration and state (CIB) what a fencing handler must know.

use super::clone;
use super::constraint::{self, RoleName, Standing};
use super::peer_state::{self, PeerState};
use roxmltree::{Document, Node};

/// Values that Pacemaker takes for "yes".
const YES: [&str; 5] = ["true", "on", "yes", "y", "1"];

/// What the CIB says, seen from one node of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scene {
    /// The promotable clone that runs the resource.
    pub(super) clone: String,
    /// How this cluster calls the role of a promoted instance.
    pub(super) role: RoleName,
    /// This node and the peer, as the cluster names them.
    pub(super) me: String,
    pub(super) peer: String,
    /// This partition may act: it has quorum, or the administrator has said that it needs none.
    pub(super) may_act: bool,
    /// Lost nodes are fenced.
    pub(super) stonith: bool,
    /// The peer as a member of the cluster.
    pub(super) peer_state: PeerState,
    /// The cluster's last word on the peer's instance is that it is promoted.
    pub(super) peer_promoted: bool,
    /// The constraint of this resource, if there is one.
    pub(super) standing: Option<Standing>,
}

/// Who asks: the resource, and the names of its two nodes. The own ones are tried in turn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker<'a> {
    pub(super) resource: &'a str,
    pub(super) me: [&'a str; 2],
    pub(super) peer: &'a str,
}

/// Reads the output of `cibadmin --query`.
///
/// # Errors
/// It is no CIB, or one without this resource or these nodes: cause and next step.
pub(super) fn scene(text: &str, asker: Asker<'_>) -> Result<Scene, String> {
    let document = parse(text)?;
    let cib = document.root_element();
    let configuration = child(cib, "configuration").ok_or("the CIB has no configuration")?;
    let nodes = child(configuration, "nodes");
    let name = |wanted: &str| node_name(nodes, wanted);
    let peer = name(asker.peer).ok_or_else(|| {
        format!(
            "the cluster has no node {}; the names in [node.NAME] must be those that 'uname -n' \
             prints on the nodes",
            asker.peer
        )
    })?;
    let me = asker.me.into_iter().find_map(name).ok_or_else(|| {
        format!("the cluster has no node {}, which this one is", asker.me.join(" or "))
    })?;
    if me == peer {
        return Err(format!("both nodes of the resource are {me} for the cluster"));
    }
    let found = clone::find(configuration, asker.resource)?;
    let state = child(cib, "status").and_then(|status| {
        children(status, "node_state").find(|state| state.attribute("uname") == Some(&peer))
    });
    let property = |name: &str| property(configuration, name);
    // As Pacemaker: without a word, nodes are fenced.
    let stonith = property("stonith-enabled").is_none_or(is_yes);
    let quorum = cib.attribute("have-quorum").is_some_and(is_yes);
    Ok(Scene {
        role: RoleName::of_schema(cib.attribute("validate-with")),
        me,
        may_act: quorum || property("no-quorum-policy") == Some("ignore"),
        stonith,
        peer_state: peer_state::of(state),
        peer_promoted: state.is_some_and(|state| peer_state::is_promoted(state, &found.primitive)),
        standing: constraint::standing(configuration, asker.resource, &found.clone),
        clone: found.clone,
        peer,
    })
}

/// The state of a node as a member of the cluster, for who asks for nothing else.
///
/// # Errors
/// It is no CIB, or it has no such node.
pub(super) fn peer_state(text: &str, peer: &str) -> Result<(String, PeerState), String> {
    let document = parse(text)?;
    let cib = document.root_element();
    let nodes = child(cib, "configuration").and_then(|found| child(found, "nodes"));
    let peer = node_name(nodes, peer).ok_or_else(|| format!("the cluster has no node {peer}"))?;
    let state = child(cib, "status").and_then(|status| {
        children(status, "node_state").find(|state| state.attribute("uname") == Some(&peer))
    });
    Ok((peer, peer_state::of(state)))
}

fn parse(text: &str) -> Result<Document<'_>, String> {
    let document = Document::parse(text)
        .map_err(|error| format!("the answer of cibadmin is no XML: {error}"))?;
    if document.root_element().has_tag_name("cib") {
        Ok(document)
    } else {
        Err("the answer of cibadmin is no CIB".to_owned())
    }
}

/// The cluster's name of a node: the same, or the only one that is the same up to the first dot.
fn node_name(nodes: Option<Node<'_, '_>>, wanted: &str) -> Option<String> {
    let names: Vec<&str> =
        children(nodes?, "node").filter_map(|node| node.attribute("uname")).collect();
    if let Some(same) = names.iter().find(|name| name.eq_ignore_ascii_case(wanted)) {
        return Some((*same).to_owned());
    }
    let short = |name: &str| name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let mut alike = names.iter().filter(|name| short(name) == short(wanted));
    let only = alike.next()?;
    alike.next().is_none().then(|| (*only).to_owned())
}

fn property<'a>(configuration: Node<'a, '_>, name: &str) -> Option<&'a str> {
    let sets = children(child(configuration, "crm_config")?, "cluster_property_set");
    let mut pairs = sets.flat_map(|set| children(set, "nvpair"));
    pairs.find(|pair| pair.attribute("name") == Some(name))?.attribute("value")
}

/// True for what Pacemaker takes for a yes.
pub(super) fn is_yes(text: &str) -> bool {
    YES.iter().any(|yes| text.eq_ignore_ascii_case(yes))
}

/// The children of that name.
pub(super) fn children<'a, 'i>(
    parent: Node<'a, 'i>,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'i>> {
    parent.children().filter(move |node| node.has_tag_name(name))
}

/// The first of them.
pub(super) fn child<'a, 'i>(parent: Node<'a, 'i>, name: &'static str) -> Option<Node<'a, 'i>> {
    children(parent, name).next()
}

#[cfg(test)]
mod tests;
