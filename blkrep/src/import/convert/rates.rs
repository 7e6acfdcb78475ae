//! The speed of a resync, and when blocks are compared before they are copied.

use super::super::draft::quote;
use super::super::notes::Severity;
use super::super::options::{Section, Table};
use super::super::tree::{Given, Setting};
use super::{Conversion, shown};
use crate::config::units::write_size;

/// What a bare number of a rate counts in: KiB per second.
const KIB: u64 = 1024;
/// The lowest rate that blkrep knows, in bytes per second: one block.
const RATE_MIN: u64 = 4096;
/// "Never yield to the application", where no cap says how fast that is.
const UNLIMITED: u64 = 1 << 40;

impl Conversion<'_> {
    /// With `c-plan-ahead 0` DRBD's resync goes at `resync-rate`; else it is steered below
    /// `c-max-rate`, and `resync-rate` is where it begins. Administrators mean a cap by either.
    pub(super) fn rates(&mut self) {
        let plan_ahead = self.get(Section::Disk, "c-plan-ahead");
        let resync_rate = self.get(Section::Disk, "resync-rate");
        let max_rate = self.get(Section::Disk, "c-max-rate");
        let is_fixed = plan_ahead.as_ref().is_some_and(|it| it.given.shown() == "0");
        if let Some(setting) = &plan_ahead {
            let text = format!(
                "{} has no meaning here: a resync is as fast as the disks and the link allow, \
                 yields to the application, and stays below 'rate'",
                shown(setting)
            );
            self.note(setting, text);
        }
        let by_rate = is_fixed || max_rate.is_none();
        let (cap, other) = if by_rate { (resync_rate, max_rate) } else { (max_rate, resync_rate) };
        if let (Some(setting), Some(cap)) = (&other, &cap) {
            let text = format!("{} has no meaning beside {}, the cap", shown(setting), shown(cap));
            self.note(setting, text);
        } else if let Some(setting) = &other {
            let text = format!("{} has no meaning with 'c-plan-ahead 0'", shown(setting));
            self.note(setting, text);
        } else if let Some(setting) =
            cap.as_ref().filter(|it| !is_fixed && it.written != "c-max-rate")
        {
            self.note(setting, format!("{} is the cap of a resync", shown(setting)));
        }
        let cap_bytes = cap.as_ref().and_then(|setting| self.rate(setting, "rate"));
        self.min_rate(cap_bytes);
    }

    /// Sets `key` to a rate, and returns it in bytes per second.
    fn rate(&mut self, setting: &Setting, key: &str) -> Option<u64> {
        let written = self.number(setting, KIB)?;
        let bytes = written.max(RATE_MIN);
        if bytes != written {
            let text = format!("{} becomes 4K per second, the lowest rate", shown(setting));
            self.say(Severity::Warning, setting, text);
        }
        self.draft.set(Table::Sync, key, &quote(&write_size(bytes)), &setting.place);
        Some(bytes)
    }

    /// The floor under a resync that yields; 0 is DRBD's "do not yield".
    fn min_rate(&mut self, cap_bytes: Option<u64>) {
        let Some(setting) = self.get(Section::Disk, "c-min-rate") else { return };
        let Some(written) = self.number(&setting, KIB) else { return };
        let cap = cap_bytes.unwrap_or(UNLIMITED);
        if written != 0 && written.max(RATE_MIN) <= cap {
            self.rate(&setting, "min-rate");
            return;
        }
        let size = write_size(cap);
        let text = if written == 0 {
            format!("{} (never yield) becomes min-rate = \"{size}\"", shown(&setting))
        } else {
            format!("{} is above the cap and becomes min-rate = \"{size}\"", shown(&setting))
        };
        self.note(&setting, text);
        self.draft.set(Table::Sync, "min-rate", &quote(&size), &setting.place);
    }

    /// `csums-alg` compares always, unless it is told to do so after a crash only.
    pub(super) fn checksums(&mut self) {
        let after_crash = self.get(Section::Net, "csums-after-crash-only");
        let is_after_crash = after_crash.as_ref().is_some_and(|it| it.given == Given::Flag(true));
        let algorithm = self.get(Section::Net, "csums-alg");
        if let Some(setting) = &after_crash {
            let text = match (&algorithm, is_after_crash) {
                (Some(_), true) => "becomes checksums = \"after-crash\"",
                (Some(_), false) => "becomes checksums = \"always\"",
                (None, _) => "has no meaning without 'csums-alg': after a crash blkrep compares",
            };
            self.note(setting, format!("{} {text}", shown(setting)));
        }
        let Some(setting) = algorithm else { return };
        if setting.given.shown().is_empty() {
            let text = "'csums-alg \"\"': after a crash blkrep compares all the same; checksums = \
                        \"never\" in [sync] forbids it";
            self.note(&setting, text.to_owned());
            return;
        }
        let value = if is_after_crash { "after-crash" } else { "always" };
        let text = format!(
            "{} becomes checksums = \"{value}\"; the digest is one of blkrep's own",
            shown(&setting)
        );
        self.note(&setting, text);
        self.draft.set(Table::Sync, "checksums", &quote(value), &setting.place);
    }
}
