//! The bytes of the replies to options (proto.md "Option reply types").

use crate::export::Export;
use crate::handshake_outcome::Negotiated;
use crate::proto::{
    CONTEXT_ID, EXPORT_NAME_ZEROES_BYTES, INFO_BLOCK_SIZE, INFO_DESCRIPTION, INFO_EXPORT,
    INFO_NAME, OPTION_REPLY_MAGIC, REP_ACK, REP_INFO, REP_META_CONTEXT, REP_SERVER,
    STRING_BYTES_MAX,
};

/// Appends the final reply of an option that succeeded.
pub(crate) fn push_ack(out: &mut Vec<u8>, option: u32) {
    push_reply(out, option, REP_ACK, &[]);
}

/// Appends a final error reply with a text for the user of the client.
pub(crate) fn push_error(out: &mut Vec<u8>, option: u32, error: u32, message: &str) {
    push_reply(out, option, error, &[clipped(message)]);
}

/// Appends one export of the list.
pub(crate) fn push_server(out: &mut Vec<u8>, option: u32, name: &str, description: &str) {
    let name = clipped(name);
    let name_bytes = (name.len() as u32).to_be_bytes();
    push_reply(out, option, REP_SERVER, &[&name_bytes, name, clipped(description)]);
}

/// Appends size and transmission flags.
pub(crate) fn push_info_export(
    out: &mut Vec<u8>,
    option: u32,
    export: &Export,
    negotiated: Negotiated,
) {
    let kind = INFO_EXPORT.to_be_bytes();
    let size = export.size_bytes.to_be_bytes();
    let flags = export.transmission_flags(negotiated).to_be_bytes();
    push_reply(out, option, REP_INFO, &[&kind, &size, &flags]);
}

/// Appends the size constraints.
pub(crate) fn push_info_block_size(out: &mut Vec<u8>, option: u32, export: &Export) {
    let kind = INFO_BLOCK_SIZE.to_be_bytes();
    let min = export.block_bytes_min.to_be_bytes();
    let preferred = export.block_bytes_preferred.to_be_bytes();
    let max = export.payload_bytes_max.to_be_bytes();
    push_reply(out, option, REP_INFO, &[&kind, &min, &preferred, &max]);
}

/// Appends the canonical name.
pub(crate) fn push_info_name(out: &mut Vec<u8>, option: u32, export: &Export) {
    push_reply(out, option, REP_INFO, &[&INFO_NAME.to_be_bytes(), clipped(&export.name)]);
}

/// Appends the one metadata context that there is.
pub(crate) fn push_meta_context(out: &mut Vec<u8>, option: u32, name: &str) {
    push_reply(out, option, REP_META_CONTEXT, &[&CONTEXT_ID.to_be_bytes(), clipped(name)]);
}

/// Appends the description.
pub(crate) fn push_info_description(out: &mut Vec<u8>, option: u32, export: &Export) {
    let kind = INFO_DESCRIPTION.to_be_bytes();
    push_reply(out, option, REP_INFO, &[&kind, clipped(&export.description)]);
}

/// Appends the reply to `EXPORT_NAME`, which has a form of its own ("Newstyle negotiation").
pub(crate) fn push_export_name_reply(
    out: &mut Vec<u8>,
    export: &Export,
    negotiated: Negotiated,
    no_zeroes: bool,
) {
    out.extend_from_slice(&export.size_bytes.to_be_bytes());
    out.extend_from_slice(&export.transmission_flags(negotiated).to_be_bytes());
    if !no_zeroes {
        out.extend_from_slice(&[0; EXPORT_NAME_ZEROES_BYTES]);
    }
}

fn push_reply(out: &mut Vec<u8>, option: u32, kind: u32, parts: &[&[u8]]) {
    let data_bytes: usize = parts.iter().map(|part| part.len()).sum();
    let data_bytes = u32::try_from(data_bytes).expect("invariant: strings in replies are clipped");
    out.extend_from_slice(&OPTION_REPLY_MAGIC.to_be_bytes());
    out.extend_from_slice(&option.to_be_bytes());
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&data_bytes.to_be_bytes());
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// No string on the wire is longer than the protocol allows, whatever the caller was given; the
/// cut is at a character, since strings are UTF-8.
fn clipped(text: &str) -> &[u8] {
    let longest = text.len().min(STRING_BYTES_MAX);
    let end = (0..=longest).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    &text.as_bytes()[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_has_the_bytes_of_the_protocol() {
        let mut out = Vec::new();
        push_ack(&mut out, 3);
        let golden = [0, 3, 0xe8, 0x89, 0x04, 0x55, 0x65, 0xa9, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0];
        assert_eq!(out, golden);
    }

    #[test]
    fn a_list_entry_has_the_length_of_its_name_and_then_name_and_description() {
        let mut out = Vec::new();
        push_server(&mut out, 3, "r0", "disk");
        assert_eq!(out[12..20], [0, 0, 0, 2, 0, 0, 0, 10]);
        assert_eq!(&out[20..], b"\0\0\0\x02r0disk");
    }

    #[test]
    fn a_text_that_is_too_long_is_cut_at_a_character() {
        let long = format!("x{}", "\u{e9}".repeat(STRING_BYTES_MAX));
        let cut = clipped(&long);
        assert_eq!(cut.len(), STRING_BYTES_MAX - 1);
        assert!(std::str::from_utf8(cut).is_ok());
        assert_eq!(clipped("short"), b"short");
    }
}
