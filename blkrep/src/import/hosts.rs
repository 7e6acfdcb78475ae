//! Which two hosts of a resource become the two nodes, under which names, and at which addresses.

use super::notes::{Note, Placed};
use super::tree::{Connection, End, Host, Resource};
use std::net::SocketAddr;

/// One of the two nodes.
#[derive(Debug)]
pub(super) struct Node<'a> {
    pub(super) name: String,
    pub(super) host: &'a Host,
    pub(super) address: Placed<SocketAddr>,
}

/// The two nodes, and the connection between them if the file has one.
#[derive(Debug)]
pub(super) struct Pair<'a> {
    pub(super) nodes: [Node<'a>; 2],
    pub(super) connection: Option<&'a Connection>,
}

/// A host with the name that it gets.
struct Named<'a> {
    name: String,
    host: &'a Host,
    wanted: bool,
}

/// Chooses the two: those that `wanted` names when there are more, and the names of those that have
/// none in the order of the file. None when that is not possible, with a note that says why.
pub(super) fn pair<'a>(
    resource: &'a Resource,
    wanted: &[String],
    notes: &mut Vec<Note>,
) -> Option<Pair<'a>> {
    let named = match named(resource, wanted) {
        Ok(named) => named,
        Err(note) => {
            notes.push(note);
            return None;
        }
    };
    let [first, second] = two(resource, named, notes)?;
    let connection = resource.connections.iter().find(|connection| {
        let ends = || connection.paths.iter().flatten();
        [&first, &second].iter().all(|one| ends().any(|end| is_end_of(end, one)))
    });
    if let Some(connection) = connection
        && connection.paths.len() > 1
    {
        let text = "several paths: there is one connection, over the first; bond the links beneath";
        notes.push(Note::warning(&connection.place, text));
    }
    for other in resource.connections.iter().filter(|one| !connection.is_some_and(|it| it == *one))
    {
        let text = "this connection is not between the two nodes and is left out";
        notes.push(Note::warning(&other.place, text));
    }
    let first = node(first, connection, notes);
    let second = node(second, connection, notes);
    Some(Pair { nodes: [first?, second?], connection })
}

fn is_end_of(end: &End, one: &Named<'_>) -> bool {
    end.name == one.name || one.host.names.contains(&end.name)
}

fn named<'a>(resource: &'a Resource, wanted: &[String]) -> Result<Vec<Named<'a>>, Note> {
    let of_on = |name: &String| resource.hosts.iter().any(|host| host.names.contains(name));
    let mut free = wanted.iter().filter(|name| !of_on(name));
    let mut named = Vec::new();
    for host in &resource.hosts {
        let chosen = host.names.iter().find(|name| wanted.contains(name));
        let (name, is_wanted) = match (chosen, host.names.first()) {
            (Some(name), _) => (name, true),
            (None, Some(name)) => (name, false),
            (None, None) => match free.next() {
                Some(name) => (name, true),
                None => {
                    let text = "'floating' does not tell the host's name, by which blkrep finds its \
                                own section; give --node NAME for each of them, in the order of \
                                the file";
                    return Err(Note::error(&host.place, text));
                }
            },
        };
        named.push(Named { name: name.clone(), host, wanted: is_wanted });
    }
    Ok(named)
}

fn two<'a>(
    resource: &Resource,
    mut named: Vec<Named<'a>>,
    notes: &mut Vec<Note>,
) -> Option<[Named<'a>; 2]> {
    let names: Vec<String> = named.iter().map(|one| one.name.clone()).collect();
    if named.len() > 2 {
        let left_out: Vec<&Named<'_>> = named.iter().filter(|one| !one.wanted).collect();
        for one in left_out {
            let text = format!("the host '{}' is left out: there are two nodes", one.name);
            notes.push(Note::warning(&one.host.place, text));
        }
        named.retain(|one| one.wanted);
    }
    let count = named.len();
    let Ok(two) = <[Named<'a>; 2]>::try_from(named) else {
        let text = if names.len() < 2 {
            format!(
                "resource {} has {} host sections, expected 'on HOST' or 'floating' twice",
                resource.name,
                names.len()
            )
        } else {
            format!(
                "resource {} has the hosts {}, of which {count} are chosen; blkrep keeps two \
                 copies: give --node HOST --node HOST for the two that stay",
                resource.name,
                names.join(", ")
            )
        };
        notes.push(Note::error(&resource.place, text));
        return None;
    };
    if two[0].name == two[1].name {
        let text = format!("both hosts are called '{}', expected two names", two[0].name);
        notes.push(Note::error(&two[1].host.place, text));
        return None;
    }
    for one in &two {
        if one.host.names.len() > 1 {
            let text = format!(
                "'on {}': a node has one name, '{}' is taken (choose by --node); on the others \
                 start it with --node {}",
                one.host.names.join(" "),
                one.name,
                one.name
            );
            notes.push(Note::warning(&one.host.place, text));
        }
    }
    Some(two)
}

/// The address of the connection goes before that of the host.
fn node<'a>(
    one: Named<'a>,
    connection: Option<&Connection>,
    notes: &mut Vec<Note>,
) -> Option<Node<'a>> {
    let ends = connection.into_iter().flat_map(|connection| connection.paths.iter().flatten());
    let end = ends.into_iter().find(|end| is_end_of(end, &one));
    let own = one.host.address.clone();
    let address = match end {
        None => own,
        Some(End { address: Some(address), place, .. }) => {
            Some(Placed::new(*address, place.clone()))
        }
        Some(End { port, .. }) => own.map(|mut own| {
            own.value.set_port(port.unwrap_or(own.value.port()));
            own
        }),
    };
    let Some(address) = address else {
        let text = format!(
            "the host '{}' has no address, expected 'address' in its section or its connection",
            one.name
        );
        notes.push(Note::error(&one.host.place, text));
        return None;
    };
    Some(Node { name: one.name, host: one.host, address })
}
