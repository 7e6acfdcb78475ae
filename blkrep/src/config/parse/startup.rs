//! `[startup]`: how long the commands that wait for the peer wait.

use super::super::error::ConfigError;
use super::super::section::Section;
use super::super::startup::Startup;
use std::time::Duration;

pub(in super::super) const STARTUP_KEYS: [&str; 4] =
    ["wfc-timeout", "degr-wfc-timeout", "outdated-wfc-timeout", "wait-after-sb"];
/// Longest of the timeouts (drbd-facts 2.8).
const TIMEOUT_MAX: Duration = Duration::from_secs(300_000);

/// Reads the table. Timeouts that are out of order are no error: DRBD files have them.
pub(super) fn startup(top: &Section<'_>) -> Result<Startup, ConfigError> {
    let startup = top.open("startup", &STARTUP_KEYS)?;
    let time = |key| {
        let words = "at most 300000s (\"0s\" waits for ever)";
        let found = startup.time(key, Duration::ZERO..=TIMEOUT_MAX, words)?;
        Ok::<_, ConfigError>(found.map_or(Duration::ZERO, |found| found.value))
    };
    Ok(Startup {
        wfc_timeout: time("wfc-timeout")?,
        degr_wfc_timeout: time("degr-wfc-timeout")?,
        outdated_wfc_timeout: time("outdated-wfc-timeout")?,
        wait_after_sb: startup.boolean("wait-after-sb")?.is_some_and(|found| found.value),
    })
}
