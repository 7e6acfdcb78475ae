//! Reads a drbd.conf and the files that it includes into a tree (drbd-facts 5.1 to 5.3).

mod connection;
mod host;
mod resource;
mod settings;
mod volume;

use super::cursor::Cursor;
use super::files::{self, Entry, Files};
use super::notes::{Note, Place};
use super::options::{self, Section, nearest};
use super::tokens::Kind;
use super::tree::{Document, Resource};
use std::io;
use std::path::Path;
use std::sync::Arc;

const TOP_WORDS: [&str; 5] = ["global", "common", "resource", "include", "skip"];
const MODULE_VERSION: &str = "require-drbd-module-version-";

/// Why there is no tree.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The first file cannot be read.
    Unreadable(io::Error),
    /// A mistake at one place.
    Wrong(Note),
}

/// Reads `file` and everything it includes.
pub(super) fn read(file: &Path) -> Result<Document, ReadError> {
    let text = files::read(file).map_err(ReadError::Unreadable)?;
    let mut reader = Reader { files: Files::default(), document: Document::default() };
    reader.files.enter(file);
    reader.file(file, &text).map_err(ReadError::Wrong)?;
    Ok(reader.document)
}

struct Reader {
    files: Files,
    document: Document,
}

impl Reader {
    fn file(&mut self, path: &Path, text: &str) -> Result<(), Note> {
        let name: Arc<str> = path.to_string_lossy().into();
        let mut cursor = Cursor::new(name, text);
        while !cursor.at_end() {
            self.top_statement(path, &mut cursor)?;
        }
        Ok(())
    }

    fn top_statement(&mut self, path: &Path, cursor: &mut Cursor) -> Result<(), Note> {
        let expected = "'global', 'common', 'resource', 'include' or 'skip'";
        let place = cursor.place();
        let Kind::Word(word) = cursor.peek().clone() else { return Err(cursor.wrong(expected)) };
        match word.as_str() {
            "global" => {
                cursor.text(expected)?;
                let block = cursor.open("global")?;
                settings::options(cursor, &block, Section::Global, &mut self.document.global)?;
            }
            "common" => {
                cursor.text(expected)?;
                let mut common = Resource::new("common".to_owned(), place);
                resource::body(cursor, &mut common, resource::Kind::Common)?;
                self.document.common.push(common);
            }
            "resource" => {
                cursor.text(expected)?;
                self.resource(cursor)?;
            }
            "include" => {
                cursor.text(expected)?;
                let pattern = cursor.text("the name of a file in double quotes")?;
                cursor.end_statement()?;
                self.include(path, &pattern.value, &pattern.place)?;
            }
            "skip" => {
                cursor.text(expected)?;
                cursor.skip_block("skip")?;
                let text = "the block behind 'skip' is left out, as DRBD does";
                self.document.notes.push(Note::remark(&place, text));
            }
            _ if word.starts_with(MODULE_VERSION) => {
                cursor.text(expected)?;
                cursor.text("a version")?;
                cursor.end_statement()?;
                let text = format!("'{word}': blkrep has no module, and no version of it");
                self.document.notes.push(Note::remark(&place, text));
            }
            _ => return Err(cursor.wrong(&format!("{expected}{}", misplaced(&word, &TOP_WORDS)))),
        }
        Ok(())
    }

    fn resource(&mut self, cursor: &mut Cursor) -> Result<(), Note> {
        let name = cursor.text("the name of the resource")?;
        if let Some(other) = self.document.resources.iter().find(|one| one.name == name.value) {
            let text = format!(
                "found the resource '{}' a second time; expected another name than at {}",
                name.value, other.place
            );
            return Err(Note::error(&name.place, text));
        }
        let mut resource = Resource::new(name.value, name.place);
        resource::body(cursor, &mut resource, resource::Kind::Resource)?;
        self.document.resources.push(resource);
        Ok(())
    }

    fn include(&mut self, from: &Path, pattern: &str, place: &Place) -> Result<(), Note> {
        let directory = from.parent().unwrap_or(Path::new(""));
        let found = files::matching(directory, pattern);
        if found.is_empty() {
            let text = format!("no file matches \"{pattern}\"");
            self.document.notes.push(Note::remark(place, text));
        }
        for path in found {
            let shown = path.display();
            match self.files.enter(&path) {
                Entry::New => {}
                Entry::Seen => {
                    let text = format!("{shown} was read before and is not read again");
                    self.document.notes.push(Note::remark(place, text));
                    continue;
                }
                Entry::Recursion => {
                    let text = format!(
                        "found an include of {shown}, which is being read: it includes itself; \
                         expected a file that does not"
                    );
                    return Err(Note::error(place, text));
                }
            }
            let text = files::read(&path).map_err(|error| {
                let text = format!("found an include of {shown}, expected a file that can be read");
                Note::error(place, format!("{text}: {error}"))
            })?;
            self.file(&path, &text)?;
            self.files.leave();
        }
        Ok(())
    }
}

/// What to add to a complaint about a keyword that does not belong where it stands.
fn misplaced(word: &str, here: &[&str]) -> String {
    if resource::WORDS.contains(&word) && !here.contains(&word) {
        return format!("; '{word}' stands inside 'resource NAME {{ }}'");
    }
    if let Some((row, _)) = options::rows().find_map(|row| options::find(row.section, word)) {
        return format!("; '{word}' stands inside '{} {{ }}'", row.section);
    }
    nearest(word, here).map_or(String::new(), |near| format!("; did you mean '{near}'?"))
}
