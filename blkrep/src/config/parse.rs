//! Makes a [`Resource`] of the text of a configuration file, or says on which line it is wrong.

use super::error::{ConfigError, Problem};
use super::resource::{MetaDisk, Net, NodeConfig, PeerTrust, Resource};
use super::section::{Found, Section, Source};
use super::units::write_time;
use replicator::settings::{NetTimers, OnIoError};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::DeTable;

/// Default of `max-buffers`, in bytes.
const ARENA_BYTES_DEFAULT: usize = 64 << 20;
/// Least and most of `max-buffers`, in bytes: below, a few 1 MiB writes would fill it.
const ARENA_BYTES_MIN: u64 = 16 << 20;
const ARENA_BYTES_MAX: u64 = 4 << 30;
/// Longest resource or node name, in bytes: paths and protocol fields stay far below their limits.
const NAME_BYTES_MAX: usize = 63;
/// Longest `wfc-timeout`, in seconds (drbd-facts 2.8).
const WFC_TIMEOUT_S_MAX: u64 = 300_000;

const TOP_KEYS: [&str; 7] = ["name", "net", "disk", "startup", "sync", "handlers", "node"];
const NET_KEYS: [&str; 9] = [
    "protocol",
    "shared-secret-file",
    "allow-insecure",
    "timeout",
    "connect-int",
    "ping-int",
    "ping-timeout",
    "ko-count",
    "max-buffers",
];
const NODE_KEYS: [&str; 5] = ["disk", "meta-disk", "address", "device", "nbd-listen"];
/// Handlers of DRBD (drbd-facts 5.4): their names are known, so that the answer is not "unknown
/// key".
const HANDLER_KEYS: [&str; 10] = [
    "fence-peer",
    "unfence-peer",
    "split-brain",
    "initial-split-brain",
    "pri-lost",
    "pri-lost-after-sb",
    "pri-on-incon-degr",
    "local-io-error",
    "before-resync-target",
    "after-resync-target",
];

/// Parses and checks `text`, the content of `file`.
pub(super) fn parse(file: &Path, text: &str) -> Result<Resource, ConfigError> {
    let source = Source { file, text };
    let document = DeTable::parse(text).map_err(|error| {
        let line = source.line(error.span().map_or(0, |span| span.start));
        source.error(line, Problem::Syntax(error.message().to_owned()))
    })?;
    let top = Section::top(source, document.get_ref(), &TOP_KEYS)?;
    let name = name(&top, file)?;
    refuse_handlers(&top)?;
    let on_io_error = on_io_error(&top)?;
    let wfc_timeout = top
        .open("startup", &["wfc-timeout"])?
        .time(
            "wfc-timeout",
            Duration::ZERO..=Duration::from_secs(WFC_TIMEOUT_S_MAX),
            "at most 300000s (\"0s\" waits for ever)",
        )?
        .map_or(Duration::ZERO, |found| found.value);
    let sync_rate_max = top
        .open("sync", &["rate"])?
        .size("rate", 4096..=u64::MAX, "per second, at least 4K")?
        .map(|found| found.value);
    let (nodes, address_lines) = nodes(&top)?;
    let net = net(&top, &nodes, address_lines)?;
    let file = file.to_owned();
    Ok(Resource { name, file, net, on_io_error, wfc_timeout, sync_rate_max, nodes })
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

fn refuse_handlers(top: &Section<'_>) -> Result<(), ConfigError> {
    let handlers = top.open("handlers", &HANDLER_KEYS)?;
    let Some(Found { value: key, line }) = handlers.first_key() else { return Ok(()) };
    let found = "a handler".to_owned();
    let supported = "no handler is run yet; remove it from [handlers]".to_owned();
    Err(handlers.error(line, Problem::Unsupported { key, found, supported }))
}

/// Only `detach`: passing errors on, or calling a handler, needs an engine that goes on with a bad
/// disk.
fn on_io_error(top: &Section<'_>) -> Result<OnIoError, ConfigError> {
    let disk = top.open("disk", &["on-io-error"])?;
    let Some(found) = disk.text("on-io-error", "\"detach\"")? else { return Ok(OnIoError::Detach) };
    match found.value.as_str() {
        "detach" => Ok(OnIoError::Detach),
        "pass_on" | "call-local-io-error" => Err(disk.error(
            found.line,
            Problem::Unsupported {
                key: "on-io-error".to_owned(),
                found: format!("\"{}\"", found.value),
                supported: "only \"detach\" is supported".to_owned(),
            },
        )),
        other => Err(disk.bad("on-io-error", found.line, &format!("\"{other}\""), "\"detach\"")),
    }
}

fn net(
    top: &Section<'_>,
    nodes: &[NodeConfig; 2],
    address_lines: [usize; 2],
) -> Result<Net, ConfigError> {
    let net = top.open("net", &NET_KEYS)?;
    if let Some(protocol) = net.text("protocol", "\"C\"")? {
        match protocol.value.as_str() {
            "C" => {}
            "A" | "B" => {
                let problem = Problem::Unsupported {
                    key: "protocol".to_owned(),
                    found: format!("\"{}\"", protocol.value),
                    supported: "only \"C\" is supported: a write is acknowledged by both disks"
                        .to_owned(),
                };
                return Err(net.error(protocol.line, problem));
            }
            other => {
                return Err(net.bad("protocol", protocol.line, &format!("\"{other}\""), "\"C\""));
            }
        }
    }
    let arena = net.size("max-buffers", ARENA_BYTES_MIN..=ARENA_BYTES_MAX, "16M to 4G")?;
    let arena_bytes = arena.map_or(ARENA_BYTES_DEFAULT, |found| {
        usize::try_from(found.value).expect("invariant: 4 GiB fit into a 64-bit usize")
    });
    let timers = timers(&net)?;
    let trust = trust(&net, nodes, address_lines)?;
    Ok(Net { timers, arena_bytes, trust })
}

/// The ranges are DRBD's (drbd-facts 2.9), with times below a second where DRBD counts in tenths.
fn timers(net: &Section<'_>) -> Result<NetTimers, ConfigError> {
    let ms = Duration::from_millis;
    let s = Duration::from_secs;
    let default = NetTimers::default();
    let timeout = net.time("timeout", ms(100)..=s(60), "100ms to 60s")?;
    let connect_int = net.time("connect-int", ms(200)..=s(120), "200ms to 120s")?;
    let ping_int = net.time("ping-int", ms(200)..=s(120), "200ms to 120s")?;
    let ping_timeout = net.time("ping-timeout", ms(50)..=s(30), "50ms to 30s")?;
    let ko_count = net.count("ko-count", 0..=200)?;
    let line = [&timeout, &connect_int, &ping_int].into_iter().flatten().map(|found| found.line);
    let line = line.min().unwrap_or(net.line());
    let or = |found: Option<Found<Duration>>, default| found.map_or(default, |found| found.value);
    let timers = NetTimers {
        timeout: or(timeout, default.timeout),
        connect_int: or(connect_int, default.connect_int),
        ping_int: or(ping_int, default.ping_int),
        ping_timeout: or(ping_timeout, default.ping_timeout),
        ko_count: ko_count.map_or(default.ko_count, |found| found.value),
    };
    for (other, value) in [("connect-int", timers.connect_int), ("ping-int", timers.ping_int)] {
        if timers.timeout >= value {
            let problem = Problem::TimerOrder {
                timeout: write_time(timers.timeout),
                other,
                other_value: write_time(value),
            };
            return Err(net.error(line, problem));
        }
    }
    Ok(timers)
}

fn trust(
    net: &Section<'_>,
    nodes: &[NodeConfig; 2],
    address_lines: [usize; 2],
) -> Result<PeerTrust, ConfigError> {
    let allow_insecure = net.boolean("allow-insecure")?.is_some_and(|found| found.value);
    if let Some(secret) = net.path("shared-secret-file")? {
        return Ok(PeerTrust::Secret(secret.value));
    }
    let exposed =
        nodes.iter().zip(address_lines).find(|(node, _)| !node.address.ip().is_loopback());
    match exposed {
        None => Ok(PeerTrust::Loopback),
        Some(_) if allow_insecure => Ok(PeerTrust::AllowInsecure),
        Some((node, line)) => {
            Err(net.error(line, Problem::NoSecret { address: node.address.to_string() }))
        }
    }
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
    if let Some(device) = section.text("device", "a device")? {
        let supported = format!(
            "it serves NBD on a socket; remove 'device' and attach by hand with \
             'nbd-client -unix /run/blkrep/RESOURCE.nbd {} -name RESOURCE'",
            device.value
        );
        let (key, found) = ("device".to_owned(), format!("\"{}\"", device.value));
        return Err(section.error(device.line, Problem::Unsupported { key, found, supported }));
    }
    let disk = section
        .path("disk")?
        .ok_or_else(|| section.missing("disk", "disk = \"/dev/vg0/data\""))?
        .value;
    let meta_disk = meta_disk(section, &disk)?;
    let nbd_listen = address(section, "nbd-listen")?.map(|found| found.value);
    let Found { value: address, line } = address(section, "address")?
        .ok_or_else(|| section.missing("address", "address = \"192.168.0.91:7791\""))?;
    if address.ip().is_unspecified() {
        let expected = "the one address that the peer dials";
        return Err(section.bad("address", line, &format!("\"{address}\""), expected));
    }
    Ok((NodeConfig { name, disk, meta_disk, address, nbd_listen }, line))
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
