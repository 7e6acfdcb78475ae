//! A drbd.conf as it is written: resources with their hosts, volumes, connections and options.

use super::notes::{Note, Place, Placed};
use super::options::{Row, Section, row};
use std::net::SocketAddr;

/// What an option is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Given {
    /// Of a flag.
    Flag(bool),
    /// Of any other: at least one.
    Words(Vec<String>),
}

impl Given {
    /// The value as the file would have it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Flag(true) => "yes".to_owned(),
            Self::Flag(false) => "no".to_owned(),
            Self::Words(words) => words.join(" "),
        }
    }
}

/// An option that is set.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Setting {
    pub(super) row: &'static Row,
    /// The name as it is written, which may be an old one.
    pub(super) written: String,
    pub(super) given: Given,
    pub(super) place: Place,
}

/// `device`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) shown: String,
    pub(super) minor: u32,
}

/// `meta-disk`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MetaDisk {
    Internal,
    /// A path; with an index it is one of the slots of a shared device.
    External(String, Option<u32>),
}

/// A volume, as far as one section says: one of a host is completed by that of the resource.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Volume {
    pub(super) number: u32,
    pub(super) place: Place,
    pub(super) device: Option<Placed<Device>>,
    pub(super) disk: Option<Placed<String>>,
    pub(super) meta_disk: Option<Placed<MetaDisk>>,
    pub(super) settings: Vec<Setting>,
}

impl Volume {
    pub(super) fn new(number: u32, place: Place) -> Self {
        let (device, disk, meta_disk) = (None, None, None);
        Self { number, place, device, disk, meta_disk, settings: Vec::new() }
    }
}

/// `on` or `floating`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Host {
    /// Those after `on`; none for `floating`.
    pub(super) names: Vec<String>,
    pub(super) place: Place,
    pub(super) address: Option<Placed<SocketAddr>>,
    pub(super) volumes: Vec<Volume>,
    pub(super) settings: Vec<Setting>,
}

/// `host` in a `connection` or a `path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) address: Option<SocketAddr>,
    pub(super) port: Option<u16>,
}

/// `connection` or `connection-mesh`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Connection {
    pub(super) place: Place,
    /// Each path with its hosts; those of a mesh are one path without addresses.
    pub(super) paths: Vec<Vec<End>>,
    pub(super) settings: Vec<Setting>,
    /// Only their options.
    pub(super) volumes: Vec<Volume>,
}

impl Connection {
    pub(super) fn new(place: Place) -> Self {
        Self { place, paths: Vec::new(), settings: Vec::new(), volumes: Vec::new() }
    }
}

/// `resource`, or `common`, which has no hosts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Resource {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) settings: Vec<Setting>,
    pub(super) volumes: Vec<Volume>,
    pub(super) hosts: Vec<Host>,
    pub(super) connections: Vec<Connection>,
    /// What was understood and cannot be carried over.
    pub(super) notes: Vec<Note>,
}

impl Resource {
    pub(super) fn new(name: String, place: Place) -> Self {
        Self {
            name,
            place,
            settings: Vec::new(),
            volumes: Vec::new(),
            hosts: Vec::new(),
            connections: Vec::new(),
            notes: Vec::new(),
        }
    }
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Document {
    pub(super) global: Vec<Setting>,
    pub(super) common: Vec<Resource>,
    pub(super) resources: Vec<Resource>,
    pub(super) notes: Vec<Note>,
}

/// The options that hold for one volume of a resource: of each the one that goes before the others.
#[derive(Debug, Default)]
pub(super) struct Settled(Vec<Setting>);

impl Settled {
    /// Adds options that go before all those that are there.
    pub(super) fn overrule(&mut self, settings: &[Setting]) {
        for setting in settings {
            self.0.retain(|known| known.row != setting.row);
            self.0.push(setting.clone());
        }
    }

    /// The option of that name, if it is set.
    pub(super) fn get(&self, section: Section, name: &str) -> Option<&Setting> {
        let wanted = row(section, name)?;
        self.0.iter().find(|setting| setting.row == wanted)
    }

    /// All of them, in the order of the table of options.
    pub(super) fn in_order(&self) -> impl Iterator<Item = &Setting> {
        super::options::rows().filter_map(|row| self.0.iter().find(|setting| setting.row == row))
    }
}
