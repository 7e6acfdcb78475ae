//! The constraint in the CIB that keeps every other node from being promoted.
//!
//! Its id is made of resource and clone, so that the cluster takes one only: of two nodes that
//! place theirs at once one fails. Each placing has a word of its own, so that who takes a
//! constraint back takes that one back and not a later one.

use super::cib::{child, children};
use roxmltree::Node;

/// First schema in which Pacemaker knows the role as Promoted (2.1.0).
const PROMOTED_SINCE: (u32, u32) = (3, 7);
/// What the ids of our constraints begin with.
const PREFIX: &str = "blkrep-fence-by-handler";

/// How a cluster calls the role of a promoted instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RoleName {
    Promoted,
    /// Before Pacemaker 2.1, and understood by it.
    Master,
}

impl RoleName {
    /// By the schema that the CIB is validated with. An old one is in use in new clusters too:
    /// there the old name is right. An unknown one says nothing: then the old name, which all know.
    pub(super) fn of_schema(validate_with: Option<&str>) -> Self {
        let version = validate_with
            .and_then(|name| name.strip_prefix("pacemaker-"))
            .and_then(|version| version.split_once('.'))
            .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        match version {
            Some(version) if version >= PROMOTED_SINCE => Self::Promoted,
            Some(_) | None => Self::Master,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Promoted => "Promoted",
            Self::Master => "Master",
        }
    }
}

/// A constraint that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    /// Its id.
    pub(super) id: String,
    /// The id of its rule, which no two placings share.
    pub(super) rule: String,
    /// The node that may be promoted; none when the constraint is not of our making.
    pub(super) owner: Option<String>,
}

/// The id of the constraint of a resource.
pub(super) fn id(resource: &str, clone: &str) -> String {
    format!("{PREFIX}-{resource}-{clone}")
}

/// The constraint as XML: nobody but `owner` is promoted. All names are those of the CIB, where
/// they are ids, or of a resource: none has a character that XML would mind.
pub(super) fn xml(id: &str, clone: &str, role: RoleName, owner: &str, word: &str) -> String {
    let role = role.name();
    format!(
        "<rsc_location id=\"{id}\" rsc=\"{clone}\">\
         <rule id=\"{id}-rule-{word}\" role=\"{role}\" score=\"-INFINITY\">\
         <expression id=\"{id}-expr\" attribute=\"#uname\" operation=\"ne\" value=\"{owner}\"/>\
         </rule></rsc_location>"
    )
}

/// The path that finds exactly this constraint.
pub(super) fn path(standing: &Standing) -> String {
    format!("//rsc_location[@id='{}' and rule/@id='{}']", standing.id, standing.rule)
}

/// The constraint of the resource, if it is there.
pub(super) fn standing(
    configuration: Node<'_, '_>,
    resource: &str,
    clone: &str,
) -> Option<Standing> {
    let id = id(resource, clone);
    let location = children(child(configuration, "constraints")?, "rsc_location")
        .find(|location| location.attribute("id") == Some(&id))?;
    let rule = child(location, "rule");
    let owner = rule.and_then(|rule| child(rule, "expression")).filter(|expression| {
        expression.attribute("attribute") == Some("#uname")
            && expression.attribute("operation") == Some("ne")
    });
    let text = |node: Option<Node<'_, '_>>, name: &str| {
        node.and_then(|node| node.attribute(name)).map(str::to_owned)
    };
    Some(Standing { id, rule: text(rule, "id").unwrap_or_default(), owner: text(owner, "value") })
}

#[cfg(test)]
mod tests;
