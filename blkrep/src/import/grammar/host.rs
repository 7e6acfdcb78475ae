//! Reads `on HOST { }` and `floating ADDRESS { }`.

use super::super::cursor::Cursor;
use super::super::notes::{Note, Placed};
use super::super::options::Section;
use super::super::tokens::Kind;
use super::super::tree::Host;
use super::resource::{add_volume, proxy, skip, unknown};
use super::{settings, volume};
use std::net::{IpAddr, SocketAddr};

const WORDS: [&str; 11] = [
    "device",
    "disk",
    "meta-disk",
    "flexible-meta-disk",
    "address",
    "volume",
    "node-id",
    "options",
    "proxy",
    "alternate-link-address",
    "skip",
];
const ADDRESS_FORM: &str =
    "an address like 192.168.0.91:7791 or ipv6 [fd00::1]:7791 (host names are not looked up)";

/// Reads from behind `on` or `floating`, the `word`.
pub(super) fn host(
    cursor: &mut Cursor,
    word: &Placed<String>,
    notes: &mut Vec<Note>,
) -> Result<Host, Note> {
    let place = word.place.clone();
    let (names, address) = if word.value == "floating" {
        (Vec::new(), Some(address(cursor, notes)?))
    } else {
        let mut names = vec![cursor.text("the name of a host (uname -n)")?.value];
        while matches!(cursor.peek(), Kind::Word(_) | Kind::Quoted(_)) {
            names.push(cursor.text("the name of a host")?.value);
        }
        (names, None)
    };
    let title = match &address {
        None => format!("on {}", names.join(" ")),
        Some(address) => format!("floating {}", address.value),
    };
    let mut host = Host { names, place, address, volumes: Vec::new(), settings: Vec::new() };
    if host.names.is_empty() && cursor.take_if(&Kind::Semicolon) {
        return Ok(host);
    }
    let block = cursor.open(&title)?;
    while let Some(word) = cursor.statement(&block, "'disk', 'address' or another one of a host")? {
        let is_known = statement(cursor, &word, &mut host, notes)?;
        if !is_known {
            return Err(unknown(&word, &block, &WORDS));
        }
    }
    Ok(host)
}

fn statement(
    cursor: &mut Cursor,
    word: &Placed<String>,
    host: &mut Host,
    notes: &mut Vec<Note>,
) -> Result<bool, Note> {
    match word.value.as_str() {
        "device" | "disk" | "meta-disk" | "flexible-meta-disk" => {
            let volume = volume::implicit(&mut host.volumes, &word.place);
            volume::statement(cursor, word, volume)?;
        }
        "address" => {
            let found = address(cursor, notes)?;
            cursor.end_statement()?;
            if host.names.is_empty() || host.address.is_some() {
                let text = "found a second 'address', expected one";
                return Err(Note::error(&word.place, text));
            }
            host.address = Some(found);
        }
        "volume" => {
            let volume = volume::volume(cursor, notes)?;
            add_volume(&mut host.volumes, volume)?;
        }
        "node-id" => {
            cursor.number("the number of the node")?;
            cursor.end_statement()?;
            let text = "'node-id': the order of the two hosts in the file numbers them";
            notes.push(Note::remark(&word.place, text));
        }
        "alternate-link-address" => {
            address(cursor, notes)?;
            cursor.end_statement()?;
            let text = "'alternate-link-address': there is one connection; bond the links beneath";
            notes.push(Note::warning(&word.place, text));
        }
        "options" => {
            let block = cursor.open("options")?;
            settings::options(cursor, &block, Section::Options, &mut host.settings)?;
        }
        "proxy" => proxy(cursor, &word.place, notes)?,
        "skip" => skip(cursor, &word.place, notes)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// `[FAMILY] ADDRESS:PORT`.
pub(super) fn address(
    cursor: &mut Cursor,
    notes: &mut Vec<Note>,
) -> Result<Placed<SocketAddr>, Note> {
    let place = cursor.place();
    for family in ["ssocks", "sci", "sdp"] {
        if cursor.take_word_if(family) {
            let text = format!("'{family}': the nodes speak TCP, over the same address");
            notes.push(Note::warning(&place, text));
        }
    }
    let is_v6 = cursor.take_word_if("ipv6");
    if !is_v6 {
        cursor.take_word_if("ipv4");
    }
    let wrong = cursor.wrong(ADDRESS_FORM);
    let ip = ip(cursor)?;
    cursor.expect(&Kind::Colon, "':' and a port behind the address")?;
    let port = cursor.number("a port from 1 to 65535")?;
    let port = u16::try_from(port.value).ok().filter(|port| *port != 0).ok_or_else(|| {
        let text = format!("found the port {}, expected one from 1 to 65535", port.value);
        Note::error(&port.place, text)
    })?;
    let parsed: IpAddr = ip.parse().map_err(|_| wrong)?;
    Ok(Placed::new(SocketAddr::new(parsed, port), place))
}

/// An address without its port; one of IPv6 stands in brackets.
fn ip(cursor: &mut Cursor) -> Result<String, Note> {
    if !cursor.take_if(&Kind::BracketOpen) {
        let Kind::Word(_) = cursor.peek() else { return Err(cursor.wrong(ADDRESS_FORM)) };
        return cursor.text(ADDRESS_FORM).map(|found| found.value);
    }
    let mut text = String::new();
    while !cursor.take_if(&Kind::BracketClose) {
        if cursor.take_if(&Kind::Colon) {
            text.push(':');
        } else if matches!(cursor.peek(), Kind::Word(_)) {
            text += &cursor.text("an IPv6 address")?.value;
        } else {
            return Err(cursor.wrong("']' behind an IPv6 address"));
        }
    }
    Ok(text)
}
