//! What the server answers to each option of the handshake (proto.md "Option types").

use crate::export::{Availability, Export};
use crate::handshake::OPTION_DATA_BYTES_MAX;
use crate::handshake_outcome::{CloseReason, Negotiated};
use crate::meta_context::{Selected, answer_contexts};
use crate::option_reply::{
    push_ack, push_error, push_export_name_reply, push_info_block_size, push_info_description,
    push_info_export, push_info_name, push_server,
};
use crate::proto::{
    INFO_DESCRIPTION, INFO_NAME, OPT_ABORT, OPT_EXPORT_NAME, OPT_EXTENDED_HEADERS, OPT_GO,
    OPT_INFO, OPT_LIST, OPT_LIST_META_CONTEXT, OPT_SET_META_CONTEXT, OPT_STARTTLS,
    OPT_STRUCTURED_REPLY, REP_ERR_INVALID, REP_ERR_POLICY, REP_ERR_TOO_BIG, REP_ERR_UNKNOWN,
    REP_ERR_UNSUP, STRING_BYTES_MAX,
};
use crate::wire::{take_bytes, take_u16, take_u32};

/// An option by what this server does with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientOption {
    ExportName,
    Abort,
    List,
    Info,
    Go,
    StructuredReply,
    ListContexts,
    SetContexts,
    /// Known or not, the answer is `REP_ERR_UNSUP`.
    Unsupported(u32),
}

impl ClientOption {
    pub(crate) fn from_wire(option: u32) -> ClientOption {
        match option {
            OPT_EXPORT_NAME => ClientOption::ExportName,
            OPT_ABORT => ClientOption::Abort,
            OPT_LIST => ClientOption::List,
            OPT_INFO => ClientOption::Info,
            OPT_GO => ClientOption::Go,
            OPT_STRUCTURED_REPLY => ClientOption::StructuredReply,
            OPT_LIST_META_CONTEXT => ClientOption::ListContexts,
            OPT_SET_META_CONTEXT => ClientOption::SetContexts,
            unsupported => ClientOption::Unsupported(unsupported),
        }
    }

    fn to_wire(self) -> u32 {
        match self {
            ClientOption::ExportName => OPT_EXPORT_NAME,
            ClientOption::Abort => OPT_ABORT,
            ClientOption::List => OPT_LIST,
            ClientOption::Info => OPT_INFO,
            ClientOption::Go => OPT_GO,
            ClientOption::StructuredReply => OPT_STRUCTURED_REPLY,
            ClientOption::ListContexts => OPT_LIST_META_CONTEXT,
            ClientOption::SetContexts => OPT_SET_META_CONTEXT,
            ClientOption::Unsupported(option) => option,
        }
    }
}

/// The header of an option whose magic and length were checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OptionHeader {
    pub(crate) option: ClientOption,
    pub(crate) data_bytes: u32,
}

/// What follows from an option.
pub(crate) enum Answer {
    NextOption,
    StructuredReplies,
    Contexts(Selected),
    Serve,
    Close(CloseReason),
}

/// Appends the reply to one option and says what follows. `data` are the option's data, or empty
/// when they were skipped because the answer does not depend on them.
pub(crate) fn answer(
    header: OptionHeader,
    data: &[u8],
    availability: &Availability,
    negotiated: Negotiated,
    no_zeroes: bool,
    out: &mut Vec<u8>,
) -> Answer {
    let option = header.option.to_wire();
    match header.option {
        ClientOption::ExportName => match export_by_name(data, availability) {
            Ok(export) => {
                push_export_name_reply(out, export, negotiated, no_zeroes);
                Answer::Serve
            }
            Err(reason) => Answer::Close(reason),
        },
        ClientOption::Abort => {
            push_ack(out, option);
            Answer::Close(CloseReason::Aborted)
        }
        ClientOption::Info | ClientOption::Go => {
            let described = describe(header, data, availability, negotiated, out);
            match (header.option == ClientOption::Go, described) {
                (true, Described::Yes) => Answer::Serve,
                (true, Described::Refused) | (false, _) => Answer::NextOption,
            }
        }
        ClientOption::List | ClientOption::StructuredReply if header.data_bytes != 0 => {
            push_error(out, option, REP_ERR_INVALID, "this option takes no data");
            Answer::NextOption
        }
        ClientOption::List => {
            push_server(out, option, availability.name(), availability.description());
            push_ack(out, option);
            Answer::NextOption
        }
        ClientOption::StructuredReply => {
            push_ack(out, option);
            Answer::StructuredReplies
        }
        ClientOption::ListContexts | ClientOption::SetContexts
            if header.data_bytes > OPTION_DATA_BYTES_MAX =>
        {
            push_error(out, option, REP_ERR_TOO_BIG, "at most 8192 bytes of data; ask for less");
            Answer::NextOption
        }
        ClientOption::ListContexts | ClientOption::SetContexts => {
            let structured = negotiated.structured_replies();
            Answer::Contexts(answer_contexts(option, data, availability, structured, out))
        }
        ClientOption::Unsupported(option) => {
            push_error(out, option, REP_ERR_UNSUP, unsupported_text(option));
            Answer::NextOption
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Described {
    Yes,
    Refused,
}

/// Answers INFO and GO, which differ only in what follows.
fn describe(
    header: OptionHeader,
    data: &[u8],
    availability: &Availability,
    negotiated: Negotiated,
    out: &mut Vec<u8>,
) -> Described {
    let option = header.option.to_wire();
    if header.data_bytes > OPTION_DATA_BYTES_MAX {
        push_error(out, option, REP_ERR_TOO_BIG, "at most 8192 bytes of data; ask for less");
        return Described::Refused;
    }
    let Some(query) = InfoQuery::parse(data) else {
        push_error(out, option, REP_ERR_INVALID, "the name or the list of requests is malformed");
        return Described::Refused;
    };
    if !availability.answers_to(query.name) {
        let message = format!("no such export; the export here is \"{}\"", availability.name());
        push_error(out, option, REP_ERR_UNKNOWN, &message);
        return Described::Refused;
    }
    let export = match availability {
        Availability::Served(export) => export,
        Availability::Refused { name: _, message } => {
            push_error(out, option, REP_ERR_POLICY, message);
            return Described::Refused;
        }
    };
    push_info_export(out, option, export, negotiated);
    // Sent unasked as well: a client may honour it, and it costs 34 bytes once.
    push_info_block_size(out, option, export);
    if query.wants_name {
        push_info_name(out, option, export);
    }
    if query.wants_description && !export.description.is_empty() {
        push_info_description(out, option, export);
    }
    push_ack(out, option);
    Described::Yes
}

/// The data of INFO and GO. A request that is listed twice counts once; unknown requests are
/// ignored, as proto.md demands.
struct InfoQuery<'a> {
    name: &'a str,
    wants_name: bool,
    wants_description: bool,
}

impl<'a> InfoQuery<'a> {
    /// `None` when a length does not fit, bytes are left over, or the name is not a string.
    fn parse(data: &'a [u8]) -> Option<InfoQuery<'a>> {
        let mut rest = data;
        let name_bytes = usize::try_from(take_u32(&mut rest)?).ok()?;
        let name = export_name(take_bytes(&mut rest, name_bytes)?)?;
        let requests = usize::from(take_u16(&mut rest)?);
        if rest.len() != requests * 2 {
            return None;
        }
        let mut query = InfoQuery { name, wants_name: false, wants_description: false };
        while let Some(request) = take_u16(&mut rest) {
            query.wants_name |= request == INFO_NAME;
            query.wants_description |= request == INFO_DESCRIPTION;
        }
        Some(query)
    }
}

fn export_by_name<'a>(
    data: &[u8],
    availability: &'a Availability,
) -> Result<&'a Export, CloseReason> {
    let name = export_name(data).ok_or(CloseReason::MalformedName)?;
    if !availability.answers_to(name) {
        return Err(CloseReason::UnknownExport { existing: availability.name().to_owned() });
    }
    match availability {
        Availability::Served(export) => Ok(export),
        Availability::Refused { name: _, message } => {
            Err(CloseReason::ExportRefused { message: message.clone() })
        }
    }
}

/// A string of the protocol: UTF-8 without NUL, at most 4096 bytes (proto.md "Conventions").
pub(crate) fn export_name(bytes: &[u8]) -> Option<&str> {
    if bytes.len() > STRING_BYTES_MAX || bytes.contains(&0) {
        return None;
    }
    std::str::from_utf8(bytes).ok()
}

fn unsupported_text(option: u32) -> &'static str {
    match option {
        OPT_STARTTLS => "no TLS here; use the local socket or a tunnel",
        OPT_EXTENDED_HEADERS => "no extended headers here; go on without",
        _ => "unknown option; go on without",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake_outcome::Progress;
    use crate::proto::{INFO_BLOCK_SIZE, INFO_EXPORT, REP_ACK, REP_INFO, REP_SERVER};
    use crate::test_client::{
        FLAGS, REFUSAL_TEXT, Reply, info_data, option, refused, replies, replies_to, run, served,
        session,
    };

    /// Transmission flags of the test's export: HAS_FLAGS, FLUSH, FUA, WRITE_ZEROES, CACHE.
    const PLAIN_FLAGS: [u8; 2] = [0x04, 0x4d];
    const PLAIN_FLAGS_AND_DF: [u8; 2] = [0x04, 0xcd];

    fn info_types(replies: &[Reply]) -> Vec<u16> {
        let infos = replies.iter().filter(|reply| reply.kind == REP_INFO);
        infos.map(|reply| u16::from_be_bytes([reply.data[0], reply.data[1]])).collect()
    }

    fn reason_for_name(name: &[u8], availability: &Availability) -> CloseReason {
        let (progress, out) = run(&session(FLAGS, &[option(OPT_EXPORT_NAME, name)]), availability);
        assert_eq!(out, b"", "EXPORT_NAME has no error reply");
        match progress {
            Progress::Close { consumed: _, reason } => reason,
            Progress::NeedMore { .. } | Progress::Serve { .. } => panic!("{progress:?}"),
        }
    }

    #[test]
    fn export_name_is_answered_with_size_and_flags_and_zeroes_only_when_wanted() {
        let golden = [&[0, 0, 0, 0, 0, 0x10, 0, 0][..], &PLAIN_FLAGS].concat();
        for (flags, zeroes) in [(0b11, 0), (0b01, 124), (0b00, 124)] {
            for name in ["r0", ""] {
                let input = session(flags, &[option(OPT_EXPORT_NAME, name.as_bytes())]);
                let (progress, out) = run(&input, &served());
                let negotiated = Negotiated::Simple;
                assert_eq!(progress, Progress::Serve { consumed: input.len(), negotiated });
                assert_eq!(out, [&golden[..], &vec![0; zeroes]].concat());
            }
        }
    }

    #[test]
    fn export_name_closes_for_names_that_are_unknown_or_malformed() {
        let existing = "r0".to_owned();
        let reason = CloseReason::UnknownExport { existing };
        assert_eq!(reason_for_name(b"other", &served()), reason);
        assert_eq!(reason_for_name(b"other", &refused()), reason);
        assert_eq!(reason_for_name(&[b'x'; STRING_BYTES_MAX], &served()), reason);
        let long = vec![b'x'; STRING_BYTES_MAX + 1];
        for name in [&b"r0\0"[..], &[0xff], &long] {
            assert_eq!(reason_for_name(name, &served()), CloseReason::MalformedName);
        }
    }

    #[test]
    fn a_secondary_closes_on_export_name_and_the_log_says_why() {
        let reason = reason_for_name(b"r0", &refused());
        assert_eq!(reason, CloseReason::ExportRefused { message: REFUSAL_TEXT.to_owned() });
        assert!(reason.to_string().contains(REFUSAL_TEXT));
    }

    #[test]
    fn a_secondary_answers_info_and_go_by_policy_with_its_text_and_stays() {
        for number in [OPT_INFO, OPT_GO] {
            let replies = replies_to(number, &info_data("r0", &[INFO_BLOCK_SIZE]), &refused());
            assert_eq!(replies.len(), 1);
            assert_eq!((replies[0].option, replies[0].kind), (number, REP_ERR_POLICY));
            assert_eq!(replies[0].text(), REFUSAL_TEXT);
        }
    }

    #[test]
    fn list_names_the_export_whether_it_is_served_or_refused() {
        for (availability, entry) in
            [(served(), &b"\0\0\0\x02r0disk"[..]), (refused(), b"\0\0\0\x02r0")]
        {
            let server = Reply { option: OPT_LIST, kind: REP_SERVER, data: entry.to_vec() };
            assert_eq!(replies_to(OPT_LIST, b"", &availability), [server, Reply::ack(OPT_LIST)]);
        }
    }

    #[test]
    fn list_and_structured_reply_with_data_are_invalid_and_change_nothing() {
        for number in [OPT_LIST, OPT_STRUCTURED_REPLY] {
            let input =
                session(FLAGS, &[option(number, b"x"), option(OPT_GO, &info_data("", &[]))]);
            let (progress, out) = run(&input, &served());
            assert_eq!(replies(&out)[0].kind, REP_ERR_INVALID);
            let negotiated = Negotiated::Simple;
            assert_eq!(progress, Progress::Serve { consumed: input.len(), negotiated });
        }
    }

    #[test]
    fn abort_is_acknowledged_and_its_data_ignored() {
        for data in [&b""[..], b"goodbye"] {
            let input = session(FLAGS, &[option(OPT_ABORT, data)]);
            let (progress, out) = run(&input, &served());
            let reason = CloseReason::Aborted;
            assert_eq!(progress, Progress::Close { consumed: input.len(), reason });
            assert_eq!(replies(&out), [Reply::ack(OPT_ABORT)]);
        }
    }

    #[test]
    fn go_sends_size_flags_and_block_sizes_unasked_and_then_acknowledges() {
        let replies = replies_to(OPT_GO, &info_data("r0", &[]), &served());
        let export = [&[0, 0][..], &[0, 0, 0, 0, 0, 0x10, 0, 0], &PLAIN_FLAGS].concat();
        let sizes = vec![0, 3, 0, 0, 2, 0, 0, 0, 0x10, 0, 2, 0, 0, 0];
        assert_eq!(
            replies,
            [
                Reply { option: OPT_GO, kind: REP_INFO, data: export },
                Reply { option: OPT_GO, kind: REP_INFO, data: sizes },
                Reply::ack(OPT_GO),
            ]
        );
    }

    #[test]
    fn info_sends_name_and_description_on_request_and_ignores_unknown_requests() {
        let all = [INFO_NAME, 999, INFO_DESCRIPTION, INFO_NAME, INFO_BLOCK_SIZE];
        let replies = replies_to(OPT_INFO, &info_data("", &all), &served());
        let types = [INFO_EXPORT, INFO_BLOCK_SIZE, INFO_NAME, INFO_DESCRIPTION];
        assert_eq!(info_types(&replies), types);
        assert_eq!(replies[2].data, b"\0\x01r0");
        assert_eq!(replies[3].data, b"\0\x02disk");
        assert_eq!(replies[4], Reply::ack(OPT_INFO));
    }

    #[test]
    fn an_export_without_a_description_sends_none() {
        let availability = Availability::Served(Export::new("r0", 4096));
        let replies = replies_to(OPT_INFO, &info_data("r0", &[INFO_DESCRIPTION]), &availability);
        assert_eq!(info_types(&replies), [INFO_EXPORT, INFO_BLOCK_SIZE]);
    }

    #[test]
    fn info_does_not_start_the_transmission_phase_and_go_does() {
        let info = session(FLAGS, &[option(OPT_INFO, &info_data("r0", &[]))]);
        assert_eq!(run(&info, &served()).0, Progress::NeedMore { consumed: info.len() });
        let go = session(FLAGS, &[option(OPT_GO, &info_data("r0", &[]))]);
        let negotiated = Negotiated::Simple;
        assert_eq!(run(&go, &served()).0, Progress::Serve { consumed: go.len(), negotiated });
    }

    #[test]
    fn another_name_is_unknown_and_the_text_has_the_name_that_exists() {
        for (number, availability) in [(OPT_INFO, served()), (OPT_GO, refused())] {
            let replies = replies_to(number, &info_data("r1", &[]), &availability);
            assert_eq!((replies.len(), replies[0].kind), (1, REP_ERR_UNKNOWN));
            assert!(replies[0].text().contains("\"r0\""), "{}", replies[0].text());
        }
    }

    #[test]
    fn malformed_info_and_go_are_invalid() {
        let good = info_data("r0", &[1]);
        let mut name_beyond_data = good.clone();
        name_beyond_data[..4].copy_from_slice(&u32::MAX.to_be_bytes());
        let one_byte_more = [&good[..], &[0]].concat();
        let one_byte_less = good[..good.len() - 1].to_vec();
        let mut more_requests_than_sent = good.clone();
        more_requests_than_sent[7] = 2;
        let mut not_utf8 = good.clone();
        not_utf8[4] = 0xff;
        let malformed = [
            Vec::new(),
            vec![0; 5],
            name_beyond_data,
            one_byte_more,
            one_byte_less,
            more_requests_than_sent,
            not_utf8,
            info_data("r\0", &[]),
            info_data(&"x".repeat(STRING_BYTES_MAX + 1), &[]),
        ];
        for data in malformed {
            for number in [OPT_INFO, OPT_GO] {
                let replies = replies_to(number, &data, &served());
                assert_eq!((replies.len(), replies[0].kind), (1, REP_ERR_INVALID), "{data:?}");
            }
        }
        assert_eq!(replies_to(OPT_INFO, &good, &served()).last(), Some(&Reply::ack(OPT_INFO)));
    }

    #[test]
    fn info_of_the_longest_length_that_is_kept_is_answered_and_a_longer_one_is_too_big() {
        let requests = (OPTION_DATA_BYTES_MAX as usize - 6 - 2) / 2;
        let longest = info_data("r0", &vec![INFO_NAME; requests]);
        assert_eq!(longest.len(), OPTION_DATA_BYTES_MAX as usize);
        let replies = replies_to(OPT_INFO, &longest, &served());
        assert_eq!(replies.last().map(|reply| reply.kind), Some(REP_ACK));
        let longer = info_data("r0", &vec![INFO_NAME; requests + 1]);
        let replies = replies_to(OPT_GO, &longer, &served());
        assert_eq!((replies.len(), replies[0].kind), (1, REP_ERR_TOO_BIG));
    }

    #[test]
    fn structured_reply_is_acknowledged_and_makes_go_offer_df() {
        let input = session(
            FLAGS,
            &[option(OPT_STRUCTURED_REPLY, b""), option(OPT_GO, &info_data("r0", &[]))],
        );
        let (progress, out) = run(&input, &served());
        let negotiated = Negotiated::Structured { block_status: false };
        assert_eq!(progress, Progress::Serve { consumed: input.len(), negotiated });
        let replies = replies(&out);
        assert_eq!(replies[0], Reply::ack(OPT_STRUCTURED_REPLY));
        assert_eq!(replies[1].data[10..], PLAIN_FLAGS_AND_DF);
    }

    #[test]
    fn tls_extended_headers_and_unknown_options_are_unsupported() {
        let known = [OPT_STARTTLS, OPT_EXTENDED_HEADERS];
        for number in known.into_iter().chain([0, 4, 12, u32::MAX]) {
            for data in [&b""[..], &[7; 100]] {
                let replies = replies_to(number, data, &served());
                assert_eq!(replies.len(), 1);
                assert_eq!((replies[0].option, replies[0].kind), (number, REP_ERR_UNSUP));
                assert!(!replies[0].text().is_empty());
            }
        }
    }
}
