//! Every option of drbd.conf (drbd-facts 5.4, 5.5) and what becomes of it: the table, and how an
//! option is found in it. `docs/import-drbd.md` shows the same table.

mod behaviour;
mod connection;
mod start;

use super::notes::Severity;
use std::fmt;

/// Names that are as different as this from what was written are not offered.
const NEAREST_DISTANCE_MAX: usize = 3;

/// A section of drbd.conf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Global,
    Startup,
    Disk,
    Net,
    Options,
    Handlers,
    /// `syncer`, of 8.3.
    Syncer,
    /// What 8.3 has outside of every section.
    Resource,
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Global => "global",
            Self::Startup => "startup",
            Self::Disk => "disk",
            Self::Net => "net",
            Self::Options => "options",
            Self::Handlers => "handlers",
            Self::Syncer => "syncer",
            Self::Resource => "resource",
        })
    }
}

/// A table of the file that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    Net,
    Disk,
    Startup,
    Sync,
    Handlers,
}

impl Table {
    /// In the order of the file.
    pub(super) const ALL: [Self; 5] =
        [Self::Net, Self::Disk, Self::Startup, Self::Sync, Self::Handlers];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Net => "net",
            Self::Disk => "disk",
            Self::Startup => "startup",
            Self::Sync => "sync",
            Self::Handlers => "handlers",
        }
    }
}

/// How an option is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `name;`, `name yes;`, `name no;`, or the old `no-name;`.
    Flag,
    /// One value.
    One,
    /// One value or more.
    Many,
}

/// What a value means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// The same word in both files.
    Word,
    /// Yes or no.
    Flag,
    /// A number.
    Count,
    /// Seconds.
    Seconds,
    /// Tenths of a second.
    Tenths,
}

/// The conversions that look at more than one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Own {
    Protocol,
    Secret,
    SecretAlgorithm,
    MaxBuffers,
    ResyncRate,
    MaxRate,
    MinRate,
    PlanAhead,
    Checksums,
    ChecksumsAfterCrash,
    Handler,
}

/// What becomes of an option.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    /// A key with the same meaning.
    Key(Table, &'static str, Unit),
    /// It has no meaning here; a note says why.
    Moot(&'static str),
    /// blkrep does something else; a warning says what.
    Lost(&'static str),
    /// A note with these values; with all others this, and that text.
    Only(&'static [&'static str], Severity, &'static str),
    /// A conversion of its own.
    Own(Own),
}

/// An option. Rows are compared by section and name.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) section: Section,
    pub(super) name: &'static str,
    /// Where else it may stand, and under which name.
    pub(super) old: &'static [(Section, &'static str)],
    pub(super) form: Form,
    pub(super) fate: Fate,
}

impl Row {
    const fn new(section: Section, name: &'static str, form: Form, fate: Fate) -> Self {
        Self { section, name, old: &[], form, fate }
    }

    const fn also(self, old: &'static [(Section, &'static str)]) -> Self {
        Self { old, ..self }
    }
}

impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        (self.section, self.name) == (other.section, other.name)
    }
}

/// Every row, in the order in which it is converted.
pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    [start::GLOBAL, start::STARTUP, connection::NET, behaviour::DISK, behaviour::OPTIONS]
        .into_iter()
        .flatten()
        .chain(start::HANDLERS)
}

/// The row of that name.
pub(super) fn row(section: Section, name: &str) -> Option<&'static Row> {
    rows().find(|row| row.section == section && row.name == name)
}

/// The option that is written `name` in `section`, and whether a `no-` in front negates it.
pub(super) fn find(section: Section, name: &str) -> Option<(&'static Row, bool)> {
    let stands = |row: &&Row, name: &str| spellings(row).any(|known| known == (section, name));
    if let Some(found) = rows().find(|row| stands(row, name)) {
        return Some((found, false));
    }
    let positive = name.strip_prefix("no-")?;
    let found = rows().find(|row| row.form == Form::Flag && stands(row, positive));
    found.map(|row| (row, true))
}

fn spellings(row: &Row) -> impl Iterator<Item = (Section, &'static str)> {
    [(row.section, row.name)].into_iter().chain(row.old.iter().copied())
}

/// What might have been meant by `name`, which is no option of `section`: for a message.
pub(super) fn hint(section: Section, name: &str) -> String {
    let here: Vec<&'static str> = rows()
        .flat_map(spellings)
        .filter(|(place, _)| *place == section)
        .map(|(_, known)| known)
        .collect();
    if let Some(elsewhere) =
        rows().flat_map(spellings).find(|(place, known)| *known == name && *place != section)
    {
        return format!("an option of '{section}'; '{name}' is one of '{}'", elsewhere.0);
    }
    match nearest(name, &here) {
        Some(near) => format!("an option of '{section}'; did you mean '{near}'?"),
        None => format!("an option of '{section}': {}", here.join(", ")),
    }
}

/// The nearest of `known`, if it is near enough.
pub(super) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let distance = |word: &&str| strsim::damerau_levenshtein(name, word);
    let best = known.iter().copied().min_by_key(|word| distance(word))?;
    (distance(&best) <= NEAREST_DISTANCE_MAX).then_some(best)
}

#[cfg(test)]
mod tests;
