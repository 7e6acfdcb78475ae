//! Makes a [`Resource`] of the text of a configuration file, or says on which line it is wrong.

mod device;
mod disk;
mod handlers;
mod net;
mod split_brain;
mod startup;

use super::error::{ConfigError, Problem};
use super::resource::{MetaDisk, NodeConfig, Resource};
use super::section::{Found, Section, Source};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use toml::de::DeTable;

/// Longest resource or node name, in bytes: paths and protocol fields stay far below their limits.
const NAME_BYTES_MAX: usize = 63;

const TOP_KEYS: [&str; 7] = ["name", "net", "disk", "startup", "sync", "handlers", "node"];
const NODE_KEYS: [&str; 6] =
    ["disk", "meta-disk", "address", "device", "attach-helper", "nbd-listen"];

/// The tables of a file with their keys; `NODE` stands for a node's name.
#[cfg(test)]
pub(super) fn tables() -> Vec<(&'static str, Vec<&'static str>)> {
    vec![
        ("the file", TOP_KEYS.into()),
        ("[net]", net::NET_KEYS.into()),
        ("[disk]", disk::DISK_KEYS.into()),
        ("[startup]", startup::STARTUP_KEYS.into()),
        ("[sync]", disk::SYNC_KEYS.into()),
        ("[handlers]", handlers::handler_keys()),
        ("[node.NODE]", NODE_KEYS.into()),
    ]
}

/// Parses and checks `text`, the content of `file`.
pub(crate) fn parse(file: &Path, text: &str) -> Result<Resource, ConfigError> {
    let source = Source { file, text };
    let document = DeTable::parse(text).map_err(|error| {
        let line = source.line(error.span().map_or(0, |span| span.start));
        source.error(line, Problem::Syntax(error.message().to_owned()))
    })?;
    let top = Section::top(source, document.get_ref(), &TOP_KEYS)?;
    let name = name(&top, file)?;
    let (disk_section, disk, log) = disk::disk(&top)?;
    let handlers = handlers::handlers(&top, &disk)?;
    let startup = startup::startup(&top)?;
    let sync = disk::sync(&top)?;
    let (nodes, address_lines) = nodes(&top)?;
    let net = net::net(&top, &nodes, address_lines)?;
    let device_timeout = device::device_timeout(&disk_section, &net.timers, &handlers)?;
    let file = file.to_owned();
    Ok(Resource { name, file, net, disk, log, device_timeout, startup, sync, handlers, nodes })
}

/// True for what may be a file name on every system and a word in every shell.
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= NAME_BYTES_MAX
        && !text.starts_with(['.', '-'])
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

const NAME_FORM: &str = "1 to 63 of the characters A-Z a-z 0-9 _ . -, not beginning with . or -";

fn name(top: &Section<'_>, file: &Path) -> Result<String, ConfigError> {
    let Found { value: name, line } =
        top.text("name", NAME_FORM)?.ok_or_else(|| top.missing("name", "name = \"RESOURCE\""))?;
    if !is_name(&name) {
        return Err(top.bad("name", line, &format!("\"{name}\""), NAME_FORM));
    }
    // "all" stands for every resource on the command line.
    if name == "all" {
        return Err(top.bad("name", line, "\"all\"", "another name: 'all' means every resource"));
    }
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    if name != stem {
        return Err(top.error(line, Problem::NameMismatch { name, stem }));
    }
    Ok(name)
}

/// Both nodes, and the lines of their addresses.
fn nodes(top: &Section<'_>) -> Result<([NodeConfig; 2], [usize; 2]), ConfigError> {
    let sections = top.open_each("node", &NODE_KEYS)?;
    let count = sections.len();
    let [(first_name, first), (second_name, second)] = <[_; 2]>::try_from(sections)
        .map_err(|_| top.error(top.line(), Problem::NodeCount { count }))?;
    let (first, first_line) = node(first_name, &first)?;
    let (second_node, second_line) = node(second_name, &second)?;
    if first.address == second_node.address {
        let what = format!("the address {}", first.address);
        return Err(second.error(second_line, Problem::SameOnBothNodes { what }));
    }
    Ok(([first, second_node], [first_line, second_line]))
}

fn node(name: String, section: &Section<'_>) -> Result<(NodeConfig, usize), ConfigError> {
    if !is_name(&name) {
        return Err(section.bad(
            section.title(),
            section.line(),
            &format!("\"{name}\""),
            NAME_FORM,
        ));
    }
    let disk = section
        .path("disk")?
        .ok_or_else(|| section.missing("disk", "disk = \"/dev/vg0/data\""))?
        .value;
    let meta_disk = meta_disk(section, &disk)?;
    let device = device::device(section)?;
    let attach_helper = device::attach_helper(section, device)?;
    let nbd_listen = address(section, "nbd-listen")?.map(|found| found.value);
    let Found { value: address, line } = address(section, "address")?
        .ok_or_else(|| section.missing("address", "address = \"192.168.0.91:7791\""))?;
    if address.ip().is_unspecified() {
        let expected = "the one address that the peer dials";
        return Err(section.bad("address", line, &format!("\"{address}\""), expected));
    }
    let node = NodeConfig { name, disk, meta_disk, address, device, attach_helper, nbd_listen };
    Ok((node, line))
}

fn address(section: &Section<'_>, key: &str) -> Result<Option<Found<SocketAddr>>, ConfigError> {
    let expected = "an IP address with a port, like \"192.168.0.91:7791\" or \"[fd00::1]:7791\"";
    let Some(Found { value, line }) = section.text(key, expected)? else { return Ok(None) };
    match value.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok(Some(Found { value: address, line })),
        Ok(_) | Err(_) => Err(section.bad(key, line, &format!("\"{value}\""), expected)),
    }
}

/// `internal` is not the default: whoever writes the file decides where metadata go.
fn meta_disk(section: &Section<'_>, disk: &Path) -> Result<MetaDisk, ConfigError> {
    let expected = "\"internal\" or an absolute path";
    let Found { value, line } = section
        .text("meta-disk", expected)?
        .ok_or_else(|| section.missing("meta-disk", "meta-disk = \"internal\""))?;
    if value == "internal" {
        return Ok(MetaDisk::Internal);
    }
    let path = PathBuf::from(&value);
    if !path.is_absolute() {
        return Err(section.bad("meta-disk", line, &format!("\"{value}\""), expected));
    }
    if path == disk {
        return Err(section.error(line, Problem::MetaDiskIsDisk { path: value }));
    }
    Ok(MetaDisk::External(path))
}

#[cfg(test)]
pub(super) mod tests;
