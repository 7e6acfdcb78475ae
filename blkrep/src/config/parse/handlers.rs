//! `[handlers]`: the administrator's programs, and the rules about which must be there.

use super::super::error::{ConfigError, Problem};
use super::super::resource::HandlerCommands;
use super::super::section::{Found, Section};
use replicator::event::Handler;
use replicator::settings::{DiskSettings, Fencing, OnIoError};
use std::time::Duration;

/// The key for the bound on every run.
pub(in super::super) const TIMEOUT_KEY: &str = "handler-timeout";
/// Default of `handler-timeout`: a fencing agent may wait for a power switch and for the cluster
/// manager, and the I/O of a frozen Primary waits for it.
pub(in super::super) const TIMEOUT_DEFAULT: Duration = Duration::from_secs(300);
/// Longest command, in bytes.
const COMMAND_BYTES_MAX: usize = 4096;

/// The keys of `[handlers]`.
pub(in super::super) fn handler_keys() -> Vec<&'static str> {
    Handler::ALL.iter().map(|handler| handler.name()).chain([TIMEOUT_KEY]).collect()
}

/// Reads the table.
pub(super) fn handlers(
    top: &Section<'_>,
    disk: &DiskSettings,
) -> Result<HandlerCommands, ConfigError> {
    let section = top.open("handlers", &handler_keys())?;
    let mut commands = HandlerCommands { commands: Vec::new(), timeout: TIMEOUT_DEFAULT };
    for handler in Handler::ALL {
        if let Some(found) = command(&section, handler.name())? {
            commands.commands.push((handler, found.value));
        }
    }
    let range = Duration::from_secs(1)..=Duration::from_secs(3600);
    if let Some(found) = section.time(TIMEOUT_KEY, range, "1s to 1h")? {
        commands.timeout = found.value;
    }
    check_needed(&section, &commands, disk)?;
    Ok(commands)
}

/// A shell command.
pub(super) fn command(
    section: &Section<'_>,
    key: &str,
) -> Result<Option<Found<String>>, ConfigError> {
    let expected = "a shell command in quotes, of 1 to 4096 bytes";
    let Some(found) = section.text(key, expected)? else { return Ok(None) };
    let is_command = !found.value.trim().is_empty()
        && found.value.len() <= COMMAND_BYTES_MAX
        && !found.value.contains('\0');
    if !is_command {
        let written = if found.value.trim().is_empty() { "empty" } else { "no such command" };
        return Err(section.bad(key, found.line, written, expected));
    }
    Ok(Some(found))
}

/// A policy that waits for a handler needs one: without it I/O would be frozen at each loss of the
/// peer until somebody types `resume-io`, and an I/O error would be called to nobody.
fn check_needed(
    section: &Section<'_>,
    commands: &HandlerCommands,
    disk: &DiskSettings,
) -> Result<(), ConfigError> {
    let needed = match (disk.fencing, disk.on_io_error) {
        (Fencing::ResourceAndStonith, _) if commands.get(Handler::FencePeer).is_none() => {
            ("fencing", "resource-and-stonith", Handler::FencePeer)
        }
        (_, OnIoError::CallLocalIoError) if commands.get(Handler::LocalIoError).is_none() => {
            ("on-io-error", "call-local-io-error", Handler::LocalIoError)
        }
        (Fencing::DontCare | Fencing::ResourceOnly | Fencing::ResourceAndStonith, _) => {
            return Ok(());
        }
    };
    let (key, value, handler) = needed;
    let problem = Problem::HandlerMissing { key, value, handler: handler.name() };
    Err(section.error(section.line(), problem))
}
