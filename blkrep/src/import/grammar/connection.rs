//! Reads `connection` and `connection-mesh`, which DRBD 9 has.

use super::super::cursor::Cursor;
use super::super::notes::{Note, Place, Placed};
use super::super::options::Section;
use super::super::tokens::Kind;
use super::super::tree::{Connection, End, Setting, Volume};
use super::resource::{proxy, skip, unknown};
use super::{host, settings};

const WORDS: [&str; 7] = ["host", "path", "net", "disk", "volume", "proxy", "skip"];

/// Reads from behind `connection`.
pub(super) fn connection(
    cursor: &mut Cursor,
    place: &Place,
    notes: &mut Vec<Note>,
) -> Result<Connection, Note> {
    let mut connection = Connection::new(place.clone());
    if matches!(cursor.peek(), Kind::Word(_) | Kind::Quoted(_)) {
        let name = cursor.text("a name")?;
        notes.push(Note::remark(&name.place, "the name of a connection has no meaning"));
    }
    let block = cursor.open("connection")?;
    let mut direct = Vec::new();
    while let Some(word) = cursor.statement(&block, "'host', 'path' or 'net'")? {
        match word.value.as_str() {
            "host" => direct.push(end(cursor, word.place, notes)?),
            "path" => {
                let ends = path(cursor, notes)?;
                connection.paths.push(ends);
            }
            "net" => section(cursor, &word, Section::Net, &mut connection.settings)?,
            "disk" => section(cursor, &word, Section::Disk, &mut connection.settings)?,
            "volume" => connection.volumes.push(volume(cursor)?),
            "proxy" => proxy(cursor, &word.place, notes)?,
            "skip" => skip(cursor, &word.place, notes)?,
            _ => return Err(unknown(&word, &block, &WORDS)),
        }
    }
    if !direct.is_empty() {
        connection.paths.insert(0, direct);
    }
    Ok(connection)
}

/// Reads from behind `connection-mesh`.
pub(super) fn mesh(cursor: &mut Cursor, place: &Place) -> Result<Connection, Note> {
    let mut connection = Connection::new(place.clone());
    let block = cursor.open("connection-mesh")?;
    while let Some(word) = cursor.statement(&block, "'hosts' or 'net'")? {
        match word.value.as_str() {
            "hosts" => {
                let mut ends = Vec::new();
                while matches!(cursor.peek(), Kind::Word(_) | Kind::Quoted(_)) {
                    let name = cursor.text("the name of a host")?;
                    let (address, port) = (None, None);
                    ends.push(End { name: name.value, place: name.place, address, port });
                }
                cursor.end_statement()?;
                connection.paths.push(ends);
            }
            "net" => section(cursor, &word, Section::Net, &mut connection.settings)?,
            _ => return Err(unknown(&word, &block, &["hosts", "net"])),
        }
    }
    Ok(connection)
}

fn section(
    cursor: &mut Cursor,
    word: &Placed<String>,
    section: Section,
    into: &mut Vec<Setting>,
) -> Result<(), Note> {
    let block = cursor.open(&word.value)?;
    settings::options(cursor, &block, section, into)
}

/// `volume N { disk { } }`
fn volume(cursor: &mut Cursor) -> Result<Volume, Note> {
    let number = cursor.number("the number of the volume")?;
    let block = cursor.open(&format!("volume {}", number.value))?;
    let mut volume = Volume::new(number.value, number.place);
    while let Some(word) = cursor.statement(&block, "'disk'")? {
        match word.value.as_str() {
            "disk" => section(cursor, &word, Section::Disk, &mut volume.settings)?,
            _ => return Err(unknown(&word, &block, &["disk"])),
        }
    }
    Ok(volume)
}

fn path(cursor: &mut Cursor, notes: &mut Vec<Note>) -> Result<Vec<End>, Note> {
    let block = cursor.open("path")?;
    let mut ends = Vec::new();
    while let Some(word) = cursor.statement(&block, "'host'")? {
        match word.value.as_str() {
            "host" => ends.push(end(cursor, word.place, notes)?),
            _ => return Err(unknown(&word, &block, &["host"])),
        }
    }
    Ok(ends)
}

/// `host NAME [address ADDRESS | port PORT] [via proxy ...];`
fn end(cursor: &mut Cursor, place: Place, notes: &mut Vec<Note>) -> Result<End, Note> {
    let name = cursor.text("the name of a host")?.value;
    let (mut address, mut port) = (None, None);
    if cursor.take_word_if("address") {
        address = Some(host::address(cursor, notes)?.value);
    } else if cursor.take_word_if("port") {
        let number = cursor.number("a port from 1 to 65535")?;
        let valid = u16::try_from(number.value).ok().filter(|port| *port != 0);
        port = Some(valid.ok_or_else(|| {
            let text = format!("found the port {}, expected one from 1 to 65535", number.value);
            Note::error(&number.place, text)
        })?);
    }
    if cursor.take_word_if("via") {
        cursor.text("'proxy'")?;
        return proxy(cursor, &place, notes).map(|()| End { name, place, address, port });
    }
    cursor.end_statement()?;
    Ok(End { name, place, address, port })
}
