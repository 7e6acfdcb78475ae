//! What is said about a configuration that is carried over: how grave it is, where, and why.

use std::fmt;
use std::sync::Arc;

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, as it was named.
    pub file: Arc<str>,
    /// Line, from 1 on.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Something with the place where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

impl<T> Placed<T> {
    pub(super) fn new(value: T, place: Place) -> Self {
        Self { value, place }
    }
}

/// How grave a note is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is carried over.
    Error,
    /// blkrep does something else than DRBD did.
    Warning,
    /// Good to know; the meaning is the same, or the option has none here.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

/// One thing that is said. Displayed as `FILE:LINE: SEVERITY: TEXT`, on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// How grave.
    pub severity: Severity,
    /// Where the cause stands.
    pub place: Place,
    /// What, and what blkrep does instead or what to do now.
    pub text: String,
}

impl Note {
    pub(super) fn error(place: &Place, text: impl Into<String>) -> Self {
        Self::new(Severity::Error, place, text)
    }

    pub(super) fn warning(place: &Place, text: impl Into<String>) -> Self {
        Self::new(Severity::Warning, place, text)
    }

    pub(super) fn remark(place: &Place, text: impl Into<String>) -> Self {
        Self::new(Severity::Note, place, text)
    }

    pub(super) fn new(severity: Severity, place: &Place, text: impl Into<String>) -> Self {
        Self { severity, place: place.clone(), text: text.into() }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is quoted from the file must neither break the line nor steer a terminal.
        let text: String =
            self.text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        write!(f, "{}: {}: {text}", self.place, self.severity)
    }
}

/// Adds a note unless the same is there already: one line of `common` speaks for many resources.
pub(super) fn add(notes: &mut Vec<Note>, note: Note) {
    if !notes.contains(&note) {
        notes.push(note);
    }
}

/// True if one of them forbids the conversion.
pub(super) fn any_error(notes: &[Note]) -> bool {
    notes.iter().any(|note| note.severity == Severity::Error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_one_line_whatever_it_quotes() {
        let place = Place { file: "/etc/drbd.conf".into(), line: 7 };
        let note = Note::warning(&place, "an \u{1b}[2J escape\nand a line");
        assert_eq!(note.to_string(), "/etc/drbd.conf:7: warning: an  [2J escape and a line");
    }

    #[test]
    fn the_same_is_said_once() {
        let place = Place { file: "f".into(), line: 1 };
        let mut notes = Vec::new();
        add(&mut notes, Note::remark(&place, "x"));
        add(&mut notes, Note::remark(&place, "x"));
        assert!(!any_error(&notes));
        add(&mut notes, Note::error(&place, "x"));
        assert_eq!(notes.len(), 2);
        assert!(any_error(&notes));
    }
}
