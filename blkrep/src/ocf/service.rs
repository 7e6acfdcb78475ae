//! The resource's unit, where systemd is the first process: a daemon that the cluster's own service
//! started would end with it.

use super::exit::note;
use crate::bounded_run;
use crate::cli::context::Context;
use crate::config::RUN_DIR;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Is there when systemd is the first process (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";
/// Where a unit's daemon looks for its configuration.
const CONFIG_DIR: &str = "/etc/blkrep.d";
/// A question to systemd is answered within this time.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// The unit of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Service {
    /// Its name; none where the agent starts the daemon itself.
    unit: Option<String>,
}

impl Service {
    /// The unit of `name`. A unit knows the standard directories alone.
    pub(super) fn new(context: &Context, name: &str) -> Self {
        let is_booted = Path::new(BOOTED).exists();
        let is_standard =
            context.run_dir == Path::new(RUN_DIR) && context.config_dir == Path::new(CONFIG_DIR);
        Self::of(is_booted && is_standard, name)
    }

    fn of(is_used: bool, name: &str) -> Self {
        Self { unit: is_used.then(|| format!("blkrep@{name}.service")) }
    }

    /// Starts the unit and waits until it is ready; none where there is none.
    pub(super) fn start(&self, limit: Duration) -> Option<Result<(), String>> {
        let unit = self.unit.as_ref()?;
        // Starts that failed earlier do not count against this one.
        systemctl(&["reset-failed", unit], ANSWER_MAX).ok();
        let started = systemctl(&["start", unit], limit);
        if started.is_err() && Self::property(unit, "LoadState") == "not-found" {
            note(format!("there is no unit {unit}; the daemon is started without systemd"));
            return None;
        }
        Some(started.map(drop).map_err(|why| {
            format!("'systemctl start {unit}' failed: {why}; look into 'journalctl -u {unit}'")
        }))
    }

    /// Tells systemd not to start the daemon again; returns at once.
    pub(super) fn forbid(&self) {
        let Some(unit) = &self.unit else { return };
        if let Err(why) = systemctl(&["stop", "--no-block", unit], ANSWER_MAX) {
            note(format!("'systemctl stop {unit}' failed: {why}"));
        }
    }

    /// True while systemd starts the daemon, is about to start it again, or has not seen yet that
    /// it has ended.
    pub(super) fn is_at_work(&self) -> bool {
        let Some(unit) = &self.unit else { return false };
        !matches!(Self::property(unit, "ActiveState").as_str(), "inactive" | "failed" | "")
    }

    fn property(unit: &str, name: &str) -> String {
        systemctl(&["show", "-p", name, "--value", unit], ANSWER_MAX).unwrap_or_default()
    }
}

fn systemctl(arguments: &[&str], limit: Duration) -> Result<String, String> {
    let ended = bounded_run::run(Command::new("systemctl").args(arguments), limit)
        .map_err(|error| error.to_string())?;
    match ended.code {
        Some(0) => Ok(ended.stdout.trim().to_owned()),
        Some(_) | None => Err(format!("{:?} {}", ended.code, ended.stderr.trim())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_systemd_nothing_is_asked_of_it() {
        let none = Service::of(false, "r0");
        assert_eq!(none.start(ANSWER_MAX), None);
        assert!(!none.is_at_work());
        none.forbid();
        assert_eq!(Service::of(true, "r0").unit.as_deref(), Some("blkrep@r0.service"));
    }
}
