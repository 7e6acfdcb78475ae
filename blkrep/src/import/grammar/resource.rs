//! Reads the inside of `resource` and `common`.

use super::super::cursor::{Block, Cursor};
use super::super::notes::{Note, Place, Placed};
use super::super::options::Section;
use super::super::tokens;
use super::super::tree::{Resource, Volume};
use super::{connection, host, misplaced, settings, volume};

/// What may stand inside of `resource`.
pub(super) const WORDS: [&str; 20] = [
    "protocol",
    "on",
    "floating",
    "stacked-on-top-of",
    "ignore-on",
    "device",
    "disk",
    "meta-disk",
    "flexible-meta-disk",
    "volume",
    "net",
    "syncer",
    "startup",
    "handlers",
    "options",
    "connection",
    "connection-mesh",
    "proxy",
    "template-file",
    "skip",
];

/// Of which of the two the inside is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Common,
    Resource,
}

/// Reads from `{` to `}`.
pub(super) fn body(cursor: &mut Cursor, into: &mut Resource, kind: Kind) -> Result<(), Note> {
    let title = match kind {
        Kind::Common => "common".to_owned(),
        Kind::Resource => format!("resource {}", into.name),
    };
    let block = cursor.open(&title)?;
    let expected = "a section like 'net', 'disk' or 'on HOST'";
    while let Some(word) = cursor.statement(&block, expected)? {
        if !section(cursor, &word, into)? && !part(cursor, &word, into, kind)? {
            let hint = misplaced(&word.value, &WORDS);
            let text =
                format!("found '{}' inside '{title}', expected {expected}{hint}", word.value);
            return Err(Note::error(&word.place, text));
        }
    }
    Ok(())
}

/// The sections that hold options; false if `word` begins none.
fn section(cursor: &mut Cursor, word: &Placed<String>, into: &mut Resource) -> Result<bool, Note> {
    let section = match word.value.as_str() {
        "protocol" => {
            into.settings.push(settings::setting(cursor, Section::Resource, word.clone())?);
            return Ok(true);
        }
        "disk" if *cursor.peek() == tokens::Kind::Open => Section::Disk,
        "net" => Section::Net,
        "syncer" => Section::Syncer,
        "startup" => Section::Startup,
        "handlers" => Section::Handlers,
        "options" => Section::Options,
        _ => return Ok(false),
    };
    let block = cursor.open(&word.value)?;
    settings::options(cursor, &block, section, &mut into.settings)?;
    Ok(true)
}

/// Everything else; false if `word` begins nothing that may stand here.
fn part(
    cursor: &mut Cursor,
    word: &Placed<String>,
    into: &mut Resource,
    kind: Kind,
) -> Result<bool, Note> {
    let place = &word.place;
    match (word.value.as_str(), kind) {
        ("proxy", _) => proxy(cursor, place, &mut into.notes)?,
        ("skip", _) => skip(cursor, place, &mut into.notes)?,
        (_, Kind::Common) => return Ok(false),
        ("on" | "floating", Kind::Resource) => {
            let host = host::host(cursor, word, &mut into.notes)?;
            into.hosts.push(host);
        }
        ("device" | "disk" | "meta-disk" | "flexible-meta-disk", Kind::Resource) => {
            let volume = volume::implicit(&mut into.volumes, place);
            volume::statement(cursor, word, volume)?;
        }
        ("volume", Kind::Resource) => {
            let volume = volume::volume(cursor, &mut into.notes)?;
            add_volume(&mut into.volumes, volume)?;
        }
        ("connection", Kind::Resource) => {
            let connection = connection::connection(cursor, place, &mut into.notes)?;
            into.connections.push(connection);
        }
        ("connection-mesh", Kind::Resource) => {
            into.connections.push(connection::mesh(cursor, place)?);
        }
        ("stacked-on-top-of", Kind::Resource) => {
            let below = cursor.text("the name of the resource below")?;
            cursor.skip_block("stacked-on-top-of")?;
            let text = format!(
                "'stacked-on-top-of {}': a third node on a stacked resource is what blkrep cannot \
                 do; convert the resource below with --resource, and keep the third copy by the \
                 database's own replication",
                below.value
            );
            into.notes.push(Note::error(place, text));
        }
        ("ignore-on", Kind::Resource) => {
            let host = cursor.text("the name of a host")?;
            skip_rest(cursor)?;
            let text = format!("'ignore-on {}': a resource has the two hosts it names", host.value);
            into.notes.push(Note::remark(place, text));
        }
        ("template-file", Kind::Resource) => {
            let file = cursor.text("the name of a file")?;
            cursor.end_statement()?;
            let text = format!(
                "'template-file {}' is not followed; write what stands in it into the resource",
                file.value
            );
            into.notes.push(Note::error(place, text));
        }
        (_, Kind::Resource) => return Ok(false),
    }
    Ok(true)
}

/// `ignore-on HOST;`, or with an empty block.
fn skip_rest(cursor: &mut Cursor) -> Result<(), Note> {
    if *cursor.peek() == tokens::Kind::Open {
        cursor.skip_block("ignore-on")
    } else {
        cursor.end_statement()
    }
}

/// DRBD Proxy's sections: what stands in them is not looked at.
pub(super) fn proxy(cursor: &mut Cursor, place: &Place, notes: &mut Vec<Note>) -> Result<(), Note> {
    cursor.skip_block("proxy")?;
    let text = "'proxy': blkrep's nodes talk to each other directly; take the section out and give \
                each host the address of its own end of the link";
    notes.push(Note::error(place, text));
    Ok(())
}

/// `skip`: DRBD does not look at it either.
pub(super) fn skip(cursor: &mut Cursor, place: &Place, notes: &mut Vec<Note>) -> Result<(), Note> {
    cursor.skip_block("skip")?;
    notes.push(Note::remark(place, "the block behind 'skip' is left out, as DRBD does"));
    Ok(())
}

/// Adds a volume with a number of its own.
pub(super) fn add_volume(volumes: &mut Vec<Volume>, volume: Volume) -> Result<(), Note> {
    if let Some(other) = volumes.iter().find(|one| one.number == volume.number) {
        let text = format!(
            "found volume {} a second time, expected another number than at {}",
            volume.number, other.place
        );
        return Err(Note::error(&volume.place, text));
    }
    volumes.push(volume);
    Ok(())
}

/// The block of a host or a connection, for their own readers.
pub(super) fn unknown(word: &Placed<String>, block: &Block, known: &[&str]) -> Note {
    let hint = misplaced(&word.value, known);
    let known: Vec<String> = known.iter().map(|one| format!("'{one}'")).collect();
    let text = format!(
        "found '{}' inside '{}', expected one of {}{hint}",
        word.value,
        block.title,
        known.join(", ")
    );
    Note::error(&word.place, text)
}
