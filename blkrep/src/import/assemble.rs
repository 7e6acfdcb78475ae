//! Makes the configuration files of one resource of the tree: one for each of its volumes.

use super::convert::Conversion;
use super::draft::{Draft, quote};
use super::hosts::{Node, Pair, pair};
use super::notes::{Note, Placed, add};
use super::ports::Ports;
use super::tree::{Device, Document, MetaDisk, Resource, Setting, Settled, Volume};
use std::collections::BTreeSet;
use std::path::Path;

/// Where the data, metadata and device of one node are.
struct Place<'a> {
    disk: &'a Placed<String>,
    meta_disk: Option<&'a Placed<MetaDisk>>,
    device: Option<&'a Placed<Device>>,
}

/// The drafts of `resource`; what cannot be carried over is in `notes`.
pub(super) fn drafts(
    document: &Document,
    resource: &Resource,
    wanted: &[String],
    directory: &Path,
    ports: &mut Ports,
    notes: &mut Vec<Note>,
) -> Vec<Draft> {
    resource.notes.iter().for_each(|note| add(notes, note.clone()));
    let Some(pair) = pair(resource, wanted, notes) else { return Vec::new() };
    let numbers = numbers(resource, &pair);
    if numbers.is_empty() {
        let text = format!(
            "resource {} has no volume, expected 'device', 'disk' and 'meta-disk'",
            resource.name
        );
        notes.push(Note::error(&resource.place, text));
    }
    if numbers.len() > 1 {
        let text = format!(
            "resource {} has {} volumes; each becomes a resource with a connection and a port of \
             its own, {}. Nothing keeps the order of writes to different volumes: when a node is \
             lost one may be ahead of the other, so data that belong together (a database and its \
             log) belong on one volume",
            resource.name,
            numbers.len(),
            names(resource, &numbers)
        );
        notes.push(Note::warning(&resource.place, text));
    }
    let mut drafts = Vec::new();
    for (nth, number) in numbers.iter().enumerate() {
        let name = match numbers.len() {
            1 => resource.name.clone(),
            _ => format!("{}-{number}", resource.name),
        };
        let mut draft = Draft::new(name, resource.place.clone());
        let settled = settled(document, resource, &pair, *number, notes);
        let is_exposed = pair.nodes.iter().any(|node| !node.address.value.ip().is_loopback());
        Conversion { settled: &settled, draft: &mut draft, notes }.run(
            directory,
            is_exposed,
            &resource.place,
        );
        let offset = ports.offset(&pair, nth);
        for node in &pair.nodes {
            write_node(&mut draft, resource, node, *number, offset, notes);
        }
        drafts.push(draft);
    }
    drafts
}

fn names(resource: &Resource, numbers: &BTreeSet<u32>) -> String {
    let names: Vec<String> =
        numbers.iter().map(|number| format!("{}-{number}", resource.name)).collect();
    names.join(", ")
}

fn numbers(resource: &Resource, pair: &Pair<'_>) -> BTreeSet<u32> {
    let of_hosts = pair.nodes.iter().flat_map(|node| &node.host.volumes);
    let all = resource.volumes.iter().chain(of_hosts);
    all.map(|volume| volume.number).collect()
}

/// Common, resource, connection, volume: the later goes before the earlier (drbd-facts 5.2).
fn settled(
    document: &Document,
    resource: &Resource,
    pair: &Pair<'_>,
    number: u32,
    notes: &mut Vec<Note>,
) -> Settled {
    let mut settled = Settled::default();
    let volumes = |volumes: &[Volume]| -> Vec<Setting> {
        let mine = volumes.iter().filter(|volume| volume.number == number);
        mine.flat_map(|volume| volume.settings.clone()).collect()
    };
    let mut layer = |settings: &[Setting]| {
        for (at, setting) in settings.iter().enumerate() {
            if let Some(again) = settings[at + 1..].iter().find(|it| it.row == setting.row) {
                let text = format!(
                    "'{}' is given again on line {}, which counts",
                    setting.written, again.place.line
                );
                add(notes, Note::warning(&setting.place, text));
            }
        }
        settled.overrule(settings);
    };
    for common in &document.common {
        layer(&common.settings);
    }
    layer(&resource.settings);
    layer(&volumes(&resource.volumes));
    if let Some(connection) = pair.connection {
        layer(&connection.settings);
        layer(&volumes(&connection.volumes));
    }
    let of_hosts = pair.nodes.each_ref().map(|node| {
        let mut settings = node.host.settings.clone();
        settings.extend(volumes(&node.host.volumes));
        settings
    });
    for settings in &of_hosts {
        layer(settings);
    }
    for setting in of_hosts.iter().flatten() {
        let is_on = |one: &Vec<Setting>| {
            one.iter().any(|it| it.row == setting.row && it.given == setting.given)
        };
        if !of_hosts.iter().all(is_on) {
            let text = format!(
                "'{}' is set on one host only; there is one value for both nodes, the last one",
                setting.written
            );
            add(notes, Note::warning(&setting.place, text));
        }
    }
    settled
}

/// The table `[node.NAME]`.
fn write_node(
    draft: &mut Draft,
    resource: &Resource,
    node: &Node<'_>,
    number: u32,
    port_offset: u16,
    notes: &mut Vec<Note>,
) {
    let Some(place) = place(resource, node, number, notes) else { return };
    draft.begin_node(&node.name, &node.host.place);
    draft.set_in_node("disk", &quote(&place.disk.value), &place.disk.place);
    let (meta_disk, at) = match place.meta_disk {
        // 8.4's default.
        None => ("internal", &place.disk.place),
        Some(Placed { value: MetaDisk::Internal, place }) => ("internal", place),
        Some(Placed { value: MetaDisk::External(path, _), place }) => (path.as_str(), place),
    };
    draft.set_in_node("meta-disk", &quote(meta_disk), at);
    let mut address = node.address.value;
    address.set_port(address.port().saturating_add(port_offset));
    if port_offset != 0 {
        let text = format!("volume {number} of {} listens on {address}", node.name);
        add(notes, Note::remark(&node.address.place, text));
    }
    draft.set_in_node("address", &quote(&address.to_string()), &node.address.place);
    match place.device {
        Some(device) => {
            let nbd = format!("/dev/nbd{}", device.value.minor);
            let text = format!(
                "{} becomes {nbd}, there while this node is Primary; mount it by its link \
                 /dev/blkrep/by-res/{}/0",
                device.value.shown, draft.name
            );
            add(notes, Note::remark(&device.place, text));
            draft.set_in_node("device", &quote(&nbd), &device.place);
        }
        None => {
            let text = format!(
                "no 'device': {} has no block device on {}, its data are on a socket alone",
                draft.name, node.name
            );
            add(notes, Note::warning(&node.host.place, text));
        }
    }
}

/// What the host says, completed by what the resource says.
fn place<'a>(
    resource: &'a Resource,
    node: &'a Node<'a>,
    number: u32,
    notes: &mut Vec<Note>,
) -> Option<Place<'a>> {
    let of = |volumes: &'a [Volume]| volumes.iter().find(|volume| volume.number == number);
    let (host, common) = (of(&node.host.volumes), of(&resource.volumes));
    let both = || [host, common].into_iter().flatten();
    let Some(disk) = both().find_map(|volume| volume.disk.as_ref()) else {
        let text = format!(
            "volume {number} of resource {} has no 'disk' on the host '{}', expected one",
            resource.name, node.name
        );
        notes.push(Note::error(&node.host.place, text));
        return None;
    };
    if disk.value == "none" {
        let text = format!(
            "'disk none' on '{}': a node without a disk is what blkrep cannot do; choose two with \
             disks by --node",
            node.name
        );
        notes.push(Note::error(&disk.place, text));
        return None;
    }
    Some(Place {
        disk,
        meta_disk: both().find_map(|volume| volume.meta_disk.as_ref()),
        device: both().find_map(|volume| volume.device.as_ref()),
    })
}
