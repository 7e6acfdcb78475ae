//! Whole files of DRBD: converted as they should be, or refused with the place and the reason.

mod every_option;
mod golden;
mod layouts;
mod mistakes;
mod mutations;

use super::*;
use crate::demo::scratch_dir::ScratchDir;
use std::fs;

/// Two hosts, and nothing that needs to be said but what becomes of the device.
const HOSTS: &str = "\
on alpha { device /dev/drbd0; disk /dev/sdb; address 127.0.0.1:7791; meta-disk internal; }
on bravo { device /dev/drbd0; disk /dev/sdb; address 127.0.0.1:7792; meta-disk internal; }
";

/// What becomes of a file with this text; names in messages are without the directory.
fn imported_with(text: &str, choice: &Choice) -> Result<Imported, ImportError> {
    let dir = ScratchDir::new("import");
    let file = dir.path().join("drbd.conf");
    fs::write(&file, text).unwrap();
    let short =
        |notes: Vec<Note>| notes.into_iter().map(|note| shortened(note, dir.path())).collect();
    match import(&file, choice) {
        Ok(imported) => Ok(Imported { notes: short(imported.notes), ..imported }),
        Err(ImportError::Refused { notes }) => Err(ImportError::Refused { notes: short(notes) }),
        Err(error) => Err(error),
    }
}

fn shortened(mut note: Note, directory: &Path) -> Note {
    let directory = format!("{}/", directory.display());
    note.place.file = note.place.file.replace(&directory, "").into();
    note.text = note.text.replace(&directory, "");
    note
}

fn choice() -> Choice {
    Choice { directory: "/etc/blkrep.d".into(), ..Choice::default() }
}

fn imported(text: &str) -> Result<Imported, ImportError> {
    imported_with(text, &choice())
}

/// The one file that `text` becomes, without its heading, and what is said.
fn converted_one(text: &str) -> (String, Vec<String>) {
    let imported = imported(text).unwrap_or_else(|error| panic!("{text}\n{}", said(&error)));
    assert_eq!(imported.files.len(), 1, "{text}");
    (without_heading(&imported.files[0].toml), shown(&imported.notes))
}

/// A resource with these lines before its hosts; the first of them is line 2.
fn resource(lines: &str) -> String {
    format!("resource r0 {{\n{lines}\n{HOSTS}}}\n")
}

fn without_heading(toml: &str) -> String {
    toml.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect()
}

fn shown(notes: &[Note]) -> Vec<String> {
    notes.iter().map(ToString::to_string).collect()
}

/// All that an error says.
fn said(error: &ImportError) -> String {
    if let ImportError::Refused { notes } = error {
        return shown(notes).join("\n");
    }
    error.to_string()
}

/// The errors with which `text` is refused.
fn refusals(text: &str) -> Vec<String> {
    match imported(text) {
        Err(ImportError::Refused { notes }) => {
            shown(&notes).into_iter().filter(|note| note.contains(": error: ")).collect()
        }
        Err(error) => panic!("{text}\n{error}"),
        Ok(imported) => panic!("{text}\nbecame\n{}", imported.files[0].toml),
    }
}
