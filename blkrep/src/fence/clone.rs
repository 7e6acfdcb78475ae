//! Finds the promotable clone that runs a resource, in the CIB's configuration.

use super::cib::{child, children};
use roxmltree::Node;

/// Parameters of the agent that name the resource.
const PARAMETERS: [&str; 2] = ["resource", "drbd_resource"];
/// Name of the agent, and of its provider.
const AGENT: &str = "blkrep";

/// Where a resource runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Id of the clone (or of the `master` of older configurations).
    pub(super) clone: String,
    /// Id of the primitive in it.
    pub(super) primitive: String,
}

/// The clone of the primitive whose parameter is `resource`.
///
/// # Errors
/// There is none, or more than one.
pub(super) fn find(configuration: Node<'_, '_>, resource: &str) -> Result<Found, String> {
    let resources = child(configuration, "resources").ok_or("the CIB has no resources")?;
    let mut found = Vec::new();
    let mut alone = None;
    for primitive in resources.descendants().filter(|node| node.has_tag_name("primitive")) {
        if !runs(resources, primitive, resource) {
            continue;
        }
        let clone = primitive
            .ancestors()
            .find(|node| node.has_tag_name("clone") || node.has_tag_name("master"));
        match clone.and_then(|clone| clone.attribute("id")).zip(primitive.attribute("id")) {
            Some((clone, primitive)) => {
                found.push(Found { clone: clone.to_owned(), primitive: primitive.to_owned() });
            }
            None => alone = primitive.attribute("id"),
        }
    }
    match (found.pop(), alone) {
        (Some(first), _) if found.is_empty() => Ok(first),
        (Some(second), _) => Err(format!(
            "two resources of the cluster run {resource}: {} and {}; remove one of them",
            found[0].clone, second.clone
        )),
        (None, Some(primitive)) => Err(format!(
            "{primitive} runs {resource} and is no clone; make a promotable clone of it"
        )),
        (None, None) => Err(format!(
            "no resource of the cluster runs {resource}; is there a clone of ocf:blkrep:blkrep with \
             resource={resource}?"
        )),
    }
}

/// True for a primitive of our agent with that resource. What it does not say itself its template
/// does.
fn runs(resources: Node<'_, '_>, primitive: Node<'_, '_>, resource: &str) -> bool {
    let template = primitive.attribute("template").and_then(|id| {
        children(resources, "template").find(|template| template.attribute("id") == Some(id))
    });
    let attribute = |name: &str| {
        primitive.attribute(name).or_else(|| template.and_then(|found| found.attribute(name)))
    };
    let is_ours = attribute("class") == Some("ocf")
        && (attribute("provider") == Some(AGENT) || attribute("type") == Some(AGENT));
    is_ours
        && named_resources(primitive)
            .or_else(|| template.and_then(named_resources))
            .is_some_and(|names| names.contains(&resource))
}

/// The values of the parameters that name the resource; none when there are no such parameters.
fn named_resources<'a>(owner: Node<'a, '_>) -> Option<Vec<&'a str>> {
    let names: Vec<&str> = children(owner, "instance_attributes")
        .map(|set| referred(set, "instance_attributes"))
        .flat_map(|set| set.children().filter(|pair| pair.has_tag_name("nvpair")))
        .filter_map(|pair| {
            let target = referred(pair, "nvpair");
            let name = pair.attribute("name").or_else(|| target.attribute("name"))?;
            PARAMETERS.contains(&name).then(|| target.attribute("value")).flatten()
        })
        .collect();
    (!names.is_empty()).then_some(names)
}

/// What an element with `id-ref` stands for; any other stands for itself.
fn referred<'a, 'i>(element: Node<'a, 'i>, tag: &str) -> Node<'a, 'i> {
    let Some(id) = element.attribute("id-ref") else { return element };
    let root = element.document().root_element();
    root.descendants()
        .find(|node| node.has_tag_name(tag) && node.attribute("id") == Some(id))
        .unwrap_or(element)
}
