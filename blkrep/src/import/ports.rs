//! What the resources of one file must not share: addresses, minors, devices of metadata; and ports
//! for volumes that become resources of their own.

use super::hosts::Pair;
use super::notes::{Note, Place};
use super::tree::{Document, MetaDisk, Resource, Volume};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// The addresses that are in use.
#[derive(Debug)]
pub(super) struct Ports {
    used: BTreeSet<SocketAddr>,
}

impl Ports {
    /// Those of the whole file.
    pub(super) fn of(document: &Document) -> Self {
        let used = document.resources.iter().flat_map(addresses).map(|(address, _)| address);
        Self { used: used.collect() }
    }

    /// What to add to both ports of the `nth` volume, so that they are free. Volume 0 keeps them.
    pub(super) fn offset(&mut self, pair: &Pair<'_>, nth: usize) -> u16 {
        if nth == 0 {
            return 0;
        }
        let ends = pair.nodes.each_ref().map(|node| node.address.value);
        let moved = |offset: u16| {
            ends.map(|end| Some(SocketAddr::new(end.ip(), end.port().checked_add(offset)?)))
        };
        let is_free = |offset: &u16| {
            moved(*offset).iter().all(|end| end.is_some_and(|end| !self.used.contains(&end)))
        };
        // Nobody has 65535 volumes; without a free port the parser names the address twice.
        let offset = (1..u16::MAX).find(is_free).unwrap_or(0);
        self.used.extend(moved(offset).into_iter().flatten());
        offset
    }
}

fn addresses(resource: &Resource) -> Vec<(SocketAddr, Place)> {
    let of_hosts = resource.hosts.iter().filter_map(|host| host.address.as_ref());
    let mut found: Vec<(SocketAddr, Place)> =
        of_hosts.map(|address| (address.value, address.place.clone())).collect();
    let ends = resource.connections.iter().flat_map(|one| one.paths.iter().flatten());
    found.extend(ends.filter_map(|end| Some((end.address?, end.place.clone()))));
    found
}

/// What two resources of one file must not have in common, as errors at the second of them. Only
/// `resources` are looked at.
pub(super) fn shared(resources: &[&Resource]) -> Vec<Note> {
    let mut notes = Vec::new();
    let mut addresses_seen: BTreeMap<SocketAddr, &str> = BTreeMap::new();
    for resource in resources {
        let mut own: BTreeMap<SocketAddr, Place> = BTreeMap::new();
        for (address, place) in addresses(resource) {
            own.entry(address).or_insert(place);
        }
        for (address, place) in own {
            if let Some(other) = addresses_seen.insert(address, &resource.name) {
                let text = format!(
                    "{address} is an address of resource {other} as well; give each its own port"
                );
                notes.push(Note::error(&place, text));
            }
        }
    }
    shared_on_a_host(resources, &mut notes);
    notes
}

/// Devices of one host. A host is known by its name, one without a name by its IP address.
fn shared_on_a_host(resources: &[&Resource], notes: &mut Vec<Note>) {
    let mut seen: BTreeMap<(String, String), (&str, u32)> = BTreeMap::new();
    for resource in resources {
        for host in &resource.hosts {
            let ip = host.address.as_ref().map(|address| address.value.ip());
            let known_as = match host.names.first() {
                Some(name) => name.clone(),
                None => ip.as_ref().map(IpAddr::to_string).unwrap_or_default(),
            };
            for volume in host.volumes.iter().chain(&resource.volumes) {
                for (what, place, next) in used(volume) {
                    let owner = (resource.name.as_str(), volume.number);
                    let before = seen.insert((known_as.clone(), what.clone()), owner);
                    if let Some(other) = before.filter(|other| *other != owner) {
                        let text = format!(
                            "{what} is used on {known_as} by resource {} as well; {next}",
                            other.0
                        );
                        notes.push(Note::error(place, text));
                    }
                }
            }
        }
    }
}

/// What a volume has for itself, with what to do when it has not.
fn used(volume: &Volume) -> Vec<(String, &Place, &'static str)> {
    let mut found = Vec::new();
    if let Some(device) = &volume.device {
        let what = format!("the minor {}", device.value.minor);
        found.push((what, &device.place, "give each a minor of its own"));
    }
    if let Some(disk) = volume.disk.as_ref().filter(|disk| disk.value != "none") {
        found.push((disk.value.clone(), &disk.place, "give each a disk of its own"));
    }
    if let Some(meta_disk) = &volume.meta_disk
        && let MetaDisk::External(path, _) = &meta_disk.value
    {
        let next = "blkrep has no slots in a shared device of metadata: make a partition, a logical \
                    volume or a file for each (1 MiB and 32 KiB for each GiB of data are enough), \
                    or choose one resource by --resource";
        found.push((path.clone(), &meta_disk.place, next));
    }
    found
}
