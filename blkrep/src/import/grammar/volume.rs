//! Reads `volume N { }` and what says where the data, the metadata and the device of one are.

use super::super::cursor::Cursor;
use super::super::notes::{Note, Place, Placed};
use super::super::options::Section;
use super::super::tokens::Kind;
use super::super::tree::{Device, MetaDisk, Volume};
use super::resource::{skip, unknown};
use super::settings;

const WORDS: [&str; 6] =
    ["device", "disk", "meta-disk", "flexible-meta-disk", "tiebreaker", "skip"];
const DEVICE_FORM: &str =
    "a device like /dev/drbd0, /dev/drbd_name minor 0 or minor 0, with the number of its minor";

/// Volume 0, which is meant where no number is written.
pub(super) fn implicit<'a>(volumes: &'a mut Vec<Volume>, place: &Place) -> &'a mut Volume {
    let at = volumes.iter().position(|volume| volume.number == 0).unwrap_or_else(|| {
        volumes.push(Volume::new(0, place.clone()));
        volumes.len() - 1
    });
    &mut volumes[at]
}

/// Reads from behind `volume`.
pub(super) fn volume(cursor: &mut Cursor, notes: &mut Vec<Note>) -> Result<Volume, Note> {
    let number = cursor.number("the number of the volume")?;
    let block = cursor.open(&format!("volume {}", number.value))?;
    let mut volume = Volume::new(number.value, number.place);
    while let Some(word) = cursor.statement(&block, "'device', 'disk' or 'meta-disk'")? {
        match word.value.as_str() {
            "device" | "disk" | "meta-disk" | "flexible-meta-disk" => {
                statement(cursor, &word, &mut volume)?;
            }
            "tiebreaker" => {
                cursor.text("'yes' or 'no'")?;
                cursor.end_statement()?;
                let text = "'tiebreaker': there is no quorum and no node without a disk";
                notes.push(Note::remark(&word.place, text));
            }
            "skip" => skip(cursor, &word.place, notes)?,
            _ => return Err(unknown(&word, &block, &WORDS)),
        }
    }
    Ok(volume)
}

/// Reads the rest of `device`, `disk`, `meta-disk` or `flexible-meta-disk`, the `word`.
pub(super) fn statement(
    cursor: &mut Cursor,
    word: &Placed<String>,
    volume: &mut Volume,
) -> Result<(), Note> {
    let is_there = match word.value.as_str() {
        "device" => volume.device.replace(device(cursor)?).is_some(),
        "disk" if *cursor.peek() == Kind::Open => {
            let block = cursor.open("disk")?;
            return settings::options(cursor, &block, Section::Disk, &mut volume.settings);
        }
        "disk" => volume.disk.replace(cursor.text("a path, 'none' or '{'")?).is_some(),
        "meta-disk" => {
            let found = meta_disk(cursor)?;
            volume.meta_disk.replace(found).is_some()
        }
        _ => {
            let path = cursor.text("a path or 'internal'")?;
            let value = if path.value == "internal" {
                MetaDisk::Internal
            } else {
                MetaDisk::External(path.value, None)
            };
            volume.meta_disk.replace(Placed::new(value, path.place)).is_some()
        }
    };
    cursor.end_statement()?;
    if is_there {
        let text = format!("found a second '{}' of one volume, expected one", word.value);
        return Err(Note::error(&word.place, text));
    }
    Ok(())
}

fn device(cursor: &mut Cursor) -> Result<Placed<Device>, Note> {
    let place = cursor.place();
    let wrong = cursor.wrong(DEVICE_FORM);
    let path = if cursor.take_word_if("minor") {
        None
    } else {
        let path = cursor.text(DEVICE_FORM)?.value;
        if !cursor.take_word_if("minor") {
            let digits = path.strip_prefix("/dev/drbd").or_else(|| path.strip_prefix("drbd"));
            let minor = digits.and_then(|digits| digits.parse().ok()).ok_or(wrong)?;
            return Ok(Placed::new(Device { shown: path, minor }, place));
        }
        Some(path)
    };
    let minor = cursor.number("the number of the minor")?.value;
    let shown = path.unwrap_or_else(|| format!("/dev/drbd{minor}"));
    Ok(Placed::new(Device { shown, minor }, place))
}

/// `internal`, a path, or a path with the index of a slot.
fn meta_disk(cursor: &mut Cursor) -> Result<Placed<MetaDisk>, Note> {
    let path = cursor.text("'internal' or a path")?;
    if path.value == "internal" {
        return Ok(Placed::new(MetaDisk::Internal, path.place));
    }
    let mut index = None;
    if cursor.take_if(&Kind::BracketOpen) {
        index = Some(cursor.number("the number of a slot")?.value);
        cursor.expect(&Kind::BracketClose, "']'")?;
    }
    Ok(Placed::new(MetaDisk::External(path.value, index), path.place))
}
