//! `[net]`: timers, memory, trust, and what is done about a split brain.

use super::super::error::{ConfigError, Problem};
use super::super::resource::{Net, NodeConfig, PeerTrust};
use super::super::section::{Found, Section};
use super::super::units::write_time;
use super::split_brain::split_brain;
use replicator::settings::NetTimers;
use std::time::Duration;

/// Default of `max-buffers`, in bytes.
const ARENA_BYTES_DEFAULT: usize = 64 << 20;
/// Least and most of `max-buffers`, in bytes: below, a few 1 MiB writes would fill it.
const ARENA_BYTES_MIN: u64 = 16 << 20;
const ARENA_BYTES_MAX: u64 = 4 << 30;
pub(in super::super) const NET_KEYS: [&str; 14] = [
    "protocol",
    "shared-secret-file",
    "allow-insecure",
    "timeout",
    "connect-int",
    "ping-int",
    "ping-timeout",
    "ko-count",
    "max-buffers",
    "after-sb-0pri",
    "after-sb-1pri",
    "after-sb-2pri",
    "always-asbp",
    "rr-conflict",
];

/// Reads the table; a missing secret is the fault of the first line with an address that others
/// may reach.
pub(super) fn net(
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
    let split_brain = split_brain(&net, nodes)?;
    Ok(Net { timers, arena_bytes, trust, split_brain })
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
