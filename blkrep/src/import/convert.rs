//! Turns one volume of a resource into one configuration file: each option by its row of the table.

mod handlers;
mod rates;
mod trust;

use super::draft::{Draft, quote};
use super::notes::{Note, Place, Severity, add};
use super::options::{Fate, Own, Section, Table, Unit};
use super::tree::{Given, Setting, Settled};
use crate::config::units::{write_size, write_time};
use std::path::Path;
use std::time::Duration;

/// Bytes of a page of `max-buffers`.
const PAGE_BYTES: u64 = 4096;
/// blkrep's default of `max-buffers`, in bytes.
const BUFFERS_DEFAULT_BYTES: u64 = 64 << 20;

/// What the options of one volume become.
pub(super) struct Conversion<'a> {
    pub(super) settled: &'a Settled,
    pub(super) draft: &'a mut Draft,
    pub(super) notes: &'a mut Vec<Note>,
}

impl Conversion<'_> {
    /// Converts all of them; `directory` is where the files will be, `is_exposed` says that an
    /// address is not loopback.
    pub(super) fn run(&mut self, directory: &Path, is_exposed: bool, resource: &Place) {
        self.each();
        self.rates();
        self.checksums();
        self.trust(directory, is_exposed, resource);
        self.lift_by_unfence_peer();
    }

    /// Those that are converted one by one.
    pub(super) fn each(&mut self) {
        let settings: Vec<Setting> = self.settled.in_order().cloned().collect();
        for setting in &settings {
            self.setting(setting);
        }
    }

    fn setting(&mut self, setting: &Setting) {
        let shown = shown(setting);
        match setting.row.fate {
            Fate::Key(table, key, unit) => self.key(setting, table, key, unit),
            Fate::Moot(text) => self.note(setting, format!("{shown} has no meaning here: {text}")),
            Fate::Lost(text) => {
                self.say(
                    Severity::Warning,
                    setting,
                    format!("{shown} is not carried over: {text}"),
                );
            }
            Fate::Only(fine, severity, text) => {
                if fine.contains(&setting.given.shown().as_str()) {
                    self.note(setting, format!("{shown} is what blkrep does anyway"));
                } else {
                    let text = format!("{shown} is not carried over: {text}");
                    self.say(severity, setting, text);
                }
            }
            Fate::Own(own) => self.own(setting, own),
        }
    }

    fn own(&mut self, setting: &Setting, own: Own) {
        match own {
            Own::Protocol => self.protocol(setting),
            Own::MaxBuffers => self.max_buffers(setting),
            Own::Handler => self.handler(setting),
            // These are looked at together, when all are known.
            Own::Secret
            | Own::SecretAlgorithm
            | Own::ResyncRate
            | Own::MaxRate
            | Own::MinRate
            | Own::PlanAhead
            | Own::Checksums
            | Own::ChecksumsAfterCrash => {}
        }
    }

    fn key(&mut self, setting: &Setting, table: Table, key: &str, unit: Unit) {
        let value = match unit {
            Unit::Word => Some(quote(&setting.given.shown())),
            Unit::Flag => Some((setting.given == Given::Flag(true)).to_string()),
            Unit::Count => self.number(setting, 1).map(|number| number.to_string()),
            Unit::Seconds => self.time(setting, 1000),
            Unit::Tenths => self.time(setting, 100),
        };
        if let Some(value) = value {
            self.draft.set(table, key, &value, &setting.place);
        }
    }

    fn time(&mut self, setting: &Setting, unit_ms: u64) -> Option<String> {
        let number = self.number(setting, 1)?;
        let time = Duration::from_millis(number.saturating_mul(unit_ms));
        Some(quote(&write_time(time)))
    }

    /// A number with its suffix; without one it counts in `bare`.
    fn number(&mut self, setting: &Setting, bare: u64) -> Option<u64> {
        let written = setting.given.shown();
        let number = parse_number(&written, bare);
        if number.is_none() {
            let text = format!(
                "found '{written}' as the value of '{}', expected a whole number, perhaps with K, \
                 M or G behind it",
                setting.written
            );
            self.say(Severity::Error, setting, text);
        }
        number
    }

    /// Protocol A and B acknowledge a write before the peer's disk has it: C promises more.
    fn protocol(&mut self, setting: &Setting) {
        let written = setting.given.shown();
        match written.to_ascii_uppercase().as_str() {
            "C" => {}
            "A" | "B" => {
                let text = format!(
                    "{} becomes protocol C: a write is acknowledged when both disks have it, which \
                     takes a round trip to the peer",
                    shown(setting)
                );
                self.say(Severity::Warning, setting, text);
            }
            _ => {
                let text = format!("found the protocol '{written}', expected A, B or C");
                self.say(Severity::Error, setting, text);
                return;
            }
        }
        self.draft.set(Table::Net, "protocol", &quote("C"), &setting.place);
    }

    /// DRBD's are buffers of the receiver alone; ours hold all data in flight, so that a value
    /// below the default would only slow down.
    fn max_buffers(&mut self, setting: &Setting) {
        let Some(bytes) = self.number(setting, 1).map(|pages| pages.saturating_mul(PAGE_BYTES))
        else {
            return;
        };
        if bytes > BUFFERS_DEFAULT_BYTES {
            let value = quote(&write_size(bytes));
            self.draft.set(Table::Net, "max-buffers", &value, &setting.place);
        } else {
            let text = format!(
                "{} is less than the 64M that blkrep takes for all data in flight, which stay",
                shown(setting)
            );
            self.note(setting, text);
        }
    }

    /// A setting of `net` or `disk`.
    fn get(&self, section: Section, name: &str) -> Option<Setting> {
        self.settled.get(section, name).cloned()
    }

    fn note(&mut self, setting: &Setting, text: String) {
        self.say(Severity::Note, setting, text);
    }

    fn say(&mut self, severity: Severity, setting: &Setting, text: String) {
        // The table of options is also one of a document, which has other quotes.
        let text = text.replace('`', "'");
        add(self.notes, Note::new(severity, &setting.place, text));
    }
}

/// An option as it is written, in quotes.
pub(super) fn shown(setting: &Setting) -> String {
    // The old spelling has the value in its name.
    if setting.given == Given::Flag(false) && setting.written.starts_with("no-") {
        return format!("'{}'", setting.written);
    }
    format!("'{} {}'", setting.written, setting.given.shown())
}

/// A number of drbd.conf: with K, M or G it counts in these (binary), with s in sectors, without
/// one in `bare`.
fn parse_number(text: &str, bare: u64) -> Option<u64> {
    let (digits, factor) = match text.as_bytes().last()? {
        b'K' | b'k' => (&text[..text.len() - 1], 1 << 10),
        b'M' | b'm' => (&text[..text.len() - 1], 1 << 20),
        b'G' | b'g' => (&text[..text.len() - 1], 1 << 30),
        b's' => (&text[..text.len() - 1], 512),
        _ => (text, bare),
    };
    if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::parse_number;

    #[test]
    fn numbers_have_the_units_of_drbd() {
        for (text, bare, number) in [
            ("100M", 1024, Some(100 << 20)),
            ("10240", 1024, Some(10 << 20)),
            ("60", 1, Some(60)),
            ("1K", 1, Some(1024)),
            ("2g", 1, Some(2 << 30)),
            ("8s", 1, Some(4096)),
            ("M", 1, None),
            ("", 1, None),
            ("-1", 1, None),
            ("1.5M", 1, None),
            ("1MB", 1, None),
            ("99999999999999999999", 1, None),
            ("18446744073709551615", 1024, None),
        ] {
            assert_eq!(parse_number(text, bare), number, "{text}");
        }
    }
}
