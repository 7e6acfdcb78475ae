//! The block device of a node: `device` or `attach-helper`, and how long the kernel's waits for a
//! daemon that is gone.

use super::super::error::{ConfigError, Problem};
use super::super::resource::HandlerCommands;
use super::super::section::Section;
use super::super::units::write_time;
use super::handlers::command;
use replicator::event::Handler;
use replicator::settings::NetTimers;
use std::time::Duration;

/// The key of a node.
const HELPER_KEY: &str = "attach-helper";
/// The key of `[disk]`.
pub(in super::super) const TIMEOUT_KEY: &str = "device-timeout";
/// Default of `device-timeout`: long enough for an upgrade, and for a fence-peer handler of the
/// default length before it.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(600);
/// What a restart takes besides the waiting for peer and handler.
const RESTART: Duration = Duration::from_secs(60);
/// Longest: a day.
const TIMEOUT_MAX: Duration = Duration::from_secs(86_400);
/// The kernel's largest minor number is 2^20 - 1, and each device has 16 partitions.
const INDEX_MAX: u32 = (1 << 16) - 1;

/// N of `/dev/nbdN`.
pub(super) fn device(section: &Section<'_>) -> Result<Option<u32>, ConfigError> {
    let expected = "a device of the kernel's NBD client, like \"/dev/nbd0\"";
    let Some(found) = section.text("device", expected)? else { return Ok(None) };
    let digits = found.value.strip_prefix("/dev/nbd");
    let index = digits
        .filter(|digits| digits.chars().all(|c| c.is_ascii_digit()))
        .filter(|digits| *digits == "0" || !digits.starts_with('0'))
        .and_then(|digits| digits.parse().ok())
        .filter(|index| *index <= INDEX_MAX);
    match index {
        Some(index) => Ok(Some(index)),
        None => {
            let written = format!("\"{}\"", found.value);
            Err(section.bad("device", found.line, &written, expected))
        }
    }
}

/// The command that makes a block device where the kernel has no NBD client.
pub(super) fn attach_helper(
    section: &Section<'_>,
    device: Option<u32>,
) -> Result<Option<String>, ConfigError> {
    let Some(found) = command(section, HELPER_KEY)? else { return Ok(None) };
    if let Some(index) = device {
        let table = section.title().to_owned();
        return Err(section.error(found.line, Problem::TwoDevices { table, index }));
    }
    Ok(Some(found.value))
}

/// `device-timeout`. A restarted daemon may first wait for its peer and for a handler: the device
/// must wait longer (G4).
pub(super) fn device_timeout(
    disk: &Section<'_>,
    timers: &NetTimers,
    handlers: &HandlerCommands,
) -> Result<Duration, ConfigError> {
    let handler = handlers.get(Handler::FencePeer).map_or(Duration::ZERO, |_| handlers.timeout);
    let least = timers.timeout + handler;
    let range = Duration::from_secs(1)..=TIMEOUT_MAX;
    let Some(found) = disk.time(TIMEOUT_KEY, range, "1s to 24h")? else {
        return Ok(TIMEOUT_DEFAULT.max(least + RESTART));
    };
    // The kernel counts in seconds.
    let value = Duration::from_secs(found.value.as_secs());
    if value != found.value {
        let written = write_time(found.value);
        return Err(disk.bad(TIMEOUT_KEY, found.line, &written, "whole seconds"));
    }
    if value <= least {
        let problem = Problem::DeviceTimeout { value: write_time(value), least: write_time(least) };
        return Err(disk.error(found.line, problem));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::super::tests::GOOD;
    use super::super::{Resource, parse};
    use super::*;
    use std::path::Path;

    fn with(old: &str, new: &str) -> Result<Resource, ConfigError> {
        assert!(GOOD.contains(old), "the test replaces nothing");
        parse(Path::new("/etc/blkrep.d/r0.toml"), &GOOD.replacen(old, new, 1))
    }

    fn device_is(text: &str) -> Result<Option<u32>, String> {
        let line = format!("[node.bob]\ndevice = {text}\n");
        with("[node.bob]\n", &line).map(|r| r.nodes[0].device).map_err(|e| e.to_string())
    }

    #[test]
    fn a_device_is_one_of_the_kernels_nbd_client() {
        assert_eq!(device_is("\"/dev/nbd0\""), Ok(Some(0)));
        assert_eq!(device_is("\"/dev/nbd65535\""), Ok(Some(65535)));
        assert_eq!(with("rate", "rate").unwrap().nodes[0].device, None);
        for bad in [
            "/dev/sda",
            "/dev/nbd",
            "/dev/nbd01",
            "/dev/nbd0p1",
            "/dev/nbd65536",
            "nbd0",
            "/dev/nbd-1",
        ] {
            let message = device_is(&format!("\"{bad}\"")).unwrap_err();
            assert!(message.contains("like \"/dev/nbd0\""), "{message}");
            assert!(message.starts_with("/etc/blkrep.d/r0.toml:11: "), "{message}");
        }
    }

    #[test]
    fn an_attach_helper_is_a_command_and_stands_in_place_of_a_device() {
        let helper_is = |lines: &str| {
            with("[node.bob]\n", &format!("[node.bob]\n{lines}\n"))
                .map(|r| r.nodes[0].attach_helper.clone())
                .map_err(|error| error.to_string())
        };
        assert_eq!(helper_is(""), Ok(None));
        let command = "/usr/lib/blkrep/blkrep-attach-loop --loop /dev/loop7";
        let line = format!("attach-helper = \"{command}\"");
        assert_eq!(helper_is(&line), Ok(Some(command.to_owned())));
        for bad in ["\" \"", "true"] {
            let message = helper_is(&format!("attach-helper = {bad}")).unwrap_err();
            assert!(message.contains(":11: 'attach-helper' is "), "{message}");
        }
        let message = helper_is(&format!("device = \"/dev/nbd4\"\n{line}")).unwrap_err();
        assert!(message.contains(":12: [node.bob] has a 'device' and an 'attach-"), "{message}");
        assert!(message.contains("/dev/nbd4 if the kernel has the module 'nbd'"), "{message}");
        // The other node may have what this one has not.
        let other = format!("[node.alice]\n{line}\n");
        let mixed = GOOD.replace("[node.bob]\n", "[node.bob]\ndevice = \"/dev/nbd4\"\n");
        let mixed = mixed.replace("[node.alice]\n", &other);
        let resource = parse(Path::new("/etc/blkrep.d/r0.toml"), &mixed).unwrap();
        assert_eq!(resource.nodes[0].device, Some(4));
        assert!(resource.nodes[1].attach_helper.is_some());
    }

    #[test]
    fn the_device_waits_longer_than_peer_and_handler_are_waited_for() {
        let timeout = |lines: &str| {
            let text = format!("{lines}\n[sync]");
            with("[sync]", &text).map(|r| r.device_timeout).map_err(|e| e.to_string())
        };
        let s = Duration::from_secs;
        assert_eq!(timeout(""), Ok(s(600)));
        assert_eq!(timeout("[disk]\ndevice-timeout = \"30s\""), Ok(s(30)));
        let fenced = "[handlers]\nfence-peer = \"/bin/true\"\nhandler-timeout = \"20min\"\n";
        assert_eq!(timeout(fenced), Ok(s(20 * 60 + 6 + 60)));
        let message = timeout("[disk]\ndevice-timeout = \"6s\"").unwrap_err();
        assert!(message.contains("must be longer than 6s"), "{message}");
        let message = timeout(&format!("{fenced}[disk]\ndevice-timeout = \"20min\"")).unwrap_err();
        assert!(message.contains("must be longer than 1206s"), "{message}");
        let message = timeout("[disk]\ndevice-timeout = \"7500ms\"").unwrap_err();
        assert!(message.contains("whole seconds"), "{message}");
    }
}
