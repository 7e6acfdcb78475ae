//! The table of options is complete, and the document shows it as it is.

use super::*;
use std::collections::BTreeSet;

/// What becomes of the options that have a conversion of their own.
fn own_shown(own: Own) -> &'static str {
    match own {
        Own::Protocol => "`[net] protocol`; `A` and `B` become `C`, with a warning",
        Own::MaxBuffers => {
            "`[net] max-buffers`, from pages of 4 KiB, if that is more than the default of 64M; \
             else a note"
        }
        Own::SecretAlgorithm => "note: the nodes prove the shared secret by HMAC-SHA-256",
        Own::Secret => {
            "the file NAME.secret and `[net] shared-secret-file`; not carried over, with a \
             warning, if it is shorter than 16 bytes"
        }
        Own::Checksums => {
            "`[sync] checksums`: `always`, or `after-crash` with `csums-after-crash-only`; note: \
             the digest is one of blkrep's own"
        }
        Own::ChecksumsAfterCrash => "see `csums-alg`; without that it is what blkrep does",
        Own::ResyncRate => {
            "`[sync] rate`, the cap of a resync, from KiB/s; a note if `c-max-rate` is the cap"
        }
        Own::PlanAhead => "note: with 0 `resync-rate` is the cap, else `c-max-rate` if it is set",
        Own::MaxRate => {
            "`[sync] rate`, the cap of a resync, from KiB/s; a note with `c-plan-ahead 0`"
        }
        Own::MinRate => {
            "`[sync] min-rate`, from KiB/s, not above `rate`; 0 (never yield) becomes `rate`, or \
             1T without one, with a note"
        }
        Own::Handler => "`[handlers]`, the same key; DRBD's own scripts become blkrep's",
    }
}

fn fate_shown(row: &Row) -> String {
    match row.fate {
        Fate::Key(table, key, unit) => {
            let unit = match unit {
                Unit::Word | Unit::Count => "",
                Unit::Flag => ", yes as `true`",
                Unit::Seconds => ", from seconds",
                Unit::Tenths => ", from tenths of a second",
            };
            format!("`[{}] {key}`{unit}", table.name())
        }
        Fate::Moot(text) => format!("note: {text}"),
        Fate::Lost(text) => format!("warning: {text}"),
        Fate::Only(fine, severity, text) => {
            let fine: Vec<String> = fine.iter().map(|word| format!("`{word}`")).collect();
            format!("{}: note; else {severity}: {text}", fine.join(", "))
        }
        Fate::Own(own) => own_shown(own).to_owned(),
    }
}

fn document_row(row: &Row) -> String {
    let old: Vec<String> =
        row.old.iter().map(|(section, name)| format!("`{section}` `{name}`")).collect();
    let (section, name) = (row.section, row.name);
    format!("| `{section}` | `{name}` | {} | {} |", old.join(", "), fate_shown(row))
}

#[test]
fn the_document_shows_the_table() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/import-drbd.md");
    let text = std::fs::read_to_string(file).expect("the document is there");
    let table = text.split("## Every option").nth(1).expect("it has the section");
    let shown: Vec<&str> = table.lines().filter(|line| line.starts_with("| `")).collect();
    let expected: Vec<String> = rows().map(document_row).collect();
    assert!(
        shown == expected,
        "docs/import-drbd.md is to have these rows:\n{}",
        expected.join("\n")
    );
}

#[test]
fn every_spelling_leads_to_one_row() {
    let mut seen = BTreeSet::new();
    for row in rows() {
        for (section, name) in spellings(row) {
            assert!(seen.insert((section.to_string(), name)), "{section} {name} stands twice");
            assert_eq!(find(section, name), Some((row, false)), "{section} {name}");
        }
    }
}

#[test]
fn an_old_negation_is_one_of_flags_alone() {
    let (row, negated) = find(Section::Disk, "no-disk-flushes").unwrap();
    assert_eq!((row.name, negated), ("disk-flushes", true));
    assert_eq!(find(Section::Disk, "no-al-extents"), None);
    assert_eq!(find(Section::Net, "no-disk-flushes"), None);
}

#[test]
fn an_unknown_option_is_answered_with_the_nearest_or_with_its_section() {
    let hint = |section, name| hint(section, name);
    assert!(hint(Section::Net, "shared-secert").contains("did you mean 'shared-secret'?"));
    assert!(hint(Section::Net, "al-extents").contains("'al-extents' is one of 'disk'"));
    assert!(hint(Section::Startup, "frobnicate").contains("wfc-timeout"));
}
