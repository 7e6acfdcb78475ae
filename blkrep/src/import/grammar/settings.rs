//! Reads the options of a section: each by the form that the table of options gives it.

use super::super::cursor::{Block, Cursor};
use super::super::notes::{Note, Placed};
use super::super::options::{Form, Row, Section, find, hint};
use super::super::tokens::Kind;
use super::super::tree::{Given, Setting};

/// Reads statements up to the end of `block`.
pub(super) fn options(
    cursor: &mut Cursor,
    block: &Block,
    section: Section,
    into: &mut Vec<Setting>,
) -> Result<(), Note> {
    let expected = format!("an option of '{section}'");
    while let Some(name) = cursor.statement(block, &expected)? {
        into.push(setting(cursor, section, name)?);
    }
    Ok(())
}

/// Reads the rest of the option that begins with `name`.
pub(super) fn setting(
    cursor: &mut Cursor,
    section: Section,
    name: Placed<String>,
) -> Result<Setting, Note> {
    let Some((row, negated)) = find(section, &name.value) else {
        let text = format!("found '{}', expected {}", name.value, hint(section, &name.value));
        return Err(Note::error(&name.place, text));
    };
    let given = if negated { Given::Flag(false) } else { value(cursor, row, &name.value)? };
    cursor.end_statement()?;
    Ok(Setting { row, written: name.value, given, place: name.place })
}

fn value(cursor: &mut Cursor, row: &Row, name: &str) -> Result<Given, Note> {
    match row.form {
        Form::Flag => {
            if *cursor.peek() == Kind::Semicolon {
                return Ok(Given::Flag(true));
            }
            for (word, is_on) in [("yes", true), ("no", false)] {
                if cursor.take_word_if(word) {
                    return Ok(Given::Flag(is_on));
                }
            }
            Err(cursor.wrong(&format!("'yes', 'no' or ';' after '{name}'")))
        }
        Form::One => Ok(Given::Words(vec![cursor.text(&format!("a value for '{name}'"))?.value])),
        Form::Many => {
            let mut words = vec![cursor.text(&format!("a value for '{name}'"))?.value];
            while matches!(cursor.peek(), Kind::Word(_) | Kind::Quoted(_)) {
                words.push(cursor.text("a value")?.value);
            }
            Ok(Given::Words(words))
        }
    }
}
