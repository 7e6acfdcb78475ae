//! Carries a configuration of DRBD over: reads drbd.conf in the spellings of 8.3, 8.4 and 9, and
//! writes files that mean the same here, or says with file and line what cannot (issue 6).
//!
//! | to read about | open |
//! |---|---|
//! | how the text is cut and read | `tokens`, `cursor`, `grammar` |
//! | which files are read | `files` |
//! | what a drbd.conf consists of | `tree` |
//! | what becomes of each option | `options` (the table), `convert` |
//! | which hosts become the two nodes | `hosts` |
//! | how a resource becomes files | `assemble`, `ports`, `draft` |
//! | how they are put into a directory | `output` |
//! | what is said about it | `notes` |

mod assemble;
mod convert;
mod cursor;
mod draft;
mod files;
mod grammar;
mod hosts;
mod notes;
mod options;
mod output;
mod ports;
mod tokens;
mod tree;

pub use notes::{Note, Place, Severity};
pub use output::{OutputError, check_free, write};

use draft::Draft;
use grammar::ReadError;
use ports::Ports;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;
use tree::{Document, Resource, Settled};

/// What to convert, and for where.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// Only this resource; all of them if none.
    pub resource: Option<String>,
    /// Which two hosts stay of more than two, and names for those that are given by address only.
    pub nodes: Vec<String>,
    /// Where the files will be.
    pub directory: PathBuf,
}

/// A file for a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// Name of the resource; the file is called NAME.toml.
    pub name: String,
    /// The file.
    pub toml: String,
    /// What belongs into NAME.secret, without a newline, and where it stands.
    pub secret: Option<(String, Place)>,
}

/// What became of a drbd.conf. Invariant: without an error among the notes, and each file is one
/// that blkrep's parser accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The files, in the order of the resources.
    pub files: Vec<Converted>,
    /// Everything that is to be said.
    pub notes: Vec<Note>,
}

/// Why nothing is converted.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The file itself cannot be read.
    #[error("cannot read {file}: {source}; give the path of a drbd.conf", file = file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file has mistakes, or things that cannot be carried over.
    #[error(
        "nothing is converted; mend what is marked 'error' in a copy of the file and try again"
    )]
    Refused {
        /// Everything that is to be said; at least one is an error.
        notes: Vec<Note>,
    },
    /// No such resource.
    #[error("there is no resource '{name}'; use one of: {known}")]
    NoSuchResource {
        /// The name.
        name: String,
        /// Those that are there.
        known: String,
    },
    /// No resource at all.
    #[error("{file} and what it includes hold no resource", file = file.display())]
    NoResource {
        /// The file.
        file: PathBuf,
    },
    /// `--node` names no host.
    #[error(
        "--node {name} is no host of what is converted (BLKREP_NODE counts as --node); use two of: {known}"
    )]
    NoSuchNode {
        /// The name.
        name: String,
        /// Those that are there.
        known: String,
    },
}

/// Reads `file` and everything it includes, and converts it.
///
/// # Errors
/// It cannot be read, has mistakes, or says what blkrep cannot do.
pub fn import(file: &Path, choice: &Choice) -> Result<Imported, ImportError> {
    let document = grammar::read(file).map_err(|error| match error {
        ReadError::Unreadable(source) => ImportError::Unreadable { file: file.to_owned(), source },
        ReadError::Wrong(note) => ImportError::Refused { notes: vec![note] },
    })?;
    let chosen = chosen(file, &document, choice)?;
    let mut notes = document.notes.clone();
    about_global(&document, &mut notes);
    for note in ports::shared(&chosen) {
        notes::add(&mut notes, note);
    }
    let mut ports = Ports::of(&document);
    let mut files = Vec::new();
    for resource in chosen {
        let (wanted, directory) = (&choice.nodes, &choice.directory);
        // What is said about this resource: its warnings go into its file as well.
        let mut own = Vec::new();
        let drafts = assemble::drafts(&document, resource, wanted, directory, &mut ports, &mut own);
        if !notes::any_error(&own) {
            own.extend(drafts.iter().filter_map(|draft| draft.check().err()));
        }
        files.extend(drafts.into_iter().map(|draft| converted(file, &own, draft)));
        own.into_iter().for_each(|note| notes::add(&mut notes, note));
    }
    if let Some(note) = name_twice(&files, &document) {
        notes.push(note);
    }
    if notes::any_error(&notes) {
        return Err(ImportError::Refused { notes });
    }
    Ok(Imported { files, notes })
}

fn chosen<'a>(
    file: &Path,
    document: &'a Document,
    choice: &Choice,
) -> Result<Vec<&'a Resource>, ImportError> {
    let all: Vec<&Resource> = document.resources.iter().collect();
    if all.is_empty() {
        return Err(ImportError::NoResource { file: file.to_owned() });
    }
    let chosen = match &choice.resource {
        None => all,
        Some(name) => {
            let found: Vec<&Resource> =
                all.iter().copied().filter(|one| one.name == *name).collect();
            if found.is_empty() {
                let known: Vec<&str> = all.iter().map(|one| one.name.as_str()).collect();
                let (name, known) = (name.clone(), known.join(", "));
                return Err(ImportError::NoSuchResource { name, known });
            }
            found
        }
    };
    // Hosts without names are called as the command line says.
    let hosts = || chosen.iter().flat_map(|one| &one.hosts);
    if hosts().all(|host| !host.names.is_empty()) {
        let known: Vec<&str> = hosts().flat_map(|host| &host.names).map(String::as_str).collect();
        if let Some(name) = choice.nodes.iter().find(|name| !known.contains(&name.as_str())) {
            let (name, known) = (name.clone(), known.join(", "));
            return Err(ImportError::NoSuchNode { name, known });
        }
    }
    Ok(chosen)
}

/// The options of `global`: none of them has a meaning here.
fn about_global(document: &Document, notes: &mut Vec<Note>) {
    let mut settled = Settled::default();
    settled.overrule(&document.global);
    let place = Place { file: "".into(), line: 0 };
    let mut none = Draft::new(String::new(), place);
    convert::Conversion { settled: &settled, draft: &mut none, notes }.each();
}

/// The file, with what is lost in it.
fn converted(file: &Path, notes: &[Note], draft: Draft) -> Converted {
    let (name, file) = (&draft.name, file.display());
    let mut heading = vec![format!("{name}.toml: converted from {file} by blkrep import-drbd.")];
    let warnings = notes.iter().filter(|note| note.severity == Severity::Warning);
    heading.extend(warnings.map(ToString::to_string));
    Converted { toml: draft.text(&heading), name: draft.name, secret: draft.secret }
}

/// A volume's name that is that of a resource as well.
fn name_twice(files: &[Converted], document: &Document) -> Option<Note> {
    let twice = files
        .iter()
        .enumerate()
        .find(|(at, one)| files[..*at].iter().any(|other| other.name == one.name));
    let (_, one) = twice?;
    let place = &document.resources.iter().find(|resource| resource.name == one.name)?.place;
    let text = format!("two files would be called {}.toml; rename this resource", one.name);
    Some(Note::error(place, text))
}

#[cfg(test)]
mod tests;
