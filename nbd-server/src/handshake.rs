//! The server's half of the fixed newstyle handshake, as a state machine fed with bytes.

use crate::export::Availability;
use crate::handshake_outcome::{CloseReason, Negotiated, Progress};
use crate::meta_context::Selected;
use crate::options::{Answer, ClientOption, OptionHeader, answer};
use crate::proto::{
    FLAG_C_FIXED_NEWSTYLE, FLAG_C_NO_ZEROES, FLAG_FIXED_NEWSTYLE, FLAG_NO_ZEROES, NBD_MAGIC,
    OPTION_MAGIC, STRING_BYTES_MAX,
};
use crate::wire::{take_u32, take_u64};

/// Length of the greeting in bytes (proto.md "Newstyle negotiation").
pub const GREETING_BYTES: usize = 18;
/// The most option data that is kept, in bytes. Room for the longest name that the protocol allows
/// and two thousand information requests; longer data are skipped unread.
pub const OPTION_DATA_BYTES_MAX: u32 = 8 * 1024;
/// The most option data that is skipped, in bytes; a client that announces more is cut off.
pub const OPTION_SKIP_BYTES_MAX: u32 = 1024 * 1024;
/// How many options a client may send before it must have started; the next one cuts it off.
pub const OPTIONS_MAX: u32 = 512;

const CLIENT_FLAGS_BYTES: usize = 4;
const OPTION_HEADER_BYTES: usize = 16;

#[derive(Debug)]
enum State {
    ClientFlags,
    OptionHeader,
    Keeping(OptionHeader),
    Skipping { header: OptionHeader, left_bytes: usize },
    Over,
}

enum Step {
    Starved,
    Again,
    Serve,
    Close(CloseReason),
}

/// The handshake of one connection.
///
/// Memory is bounded by [`OPTION_DATA_BYTES_MAX`], output by [`OPTIONS_MAX`] replies of a few
/// strings each.
#[derive(Debug)]
pub struct Handshake {
    state: State,
    /// The bytes of the current state that have come so far.
    partial: Vec<u8>,
    options_seen: u32,
    no_zeroes: bool,
    negotiated: Negotiated,
}

impl Default for Handshake {
    fn default() -> Self {
        Self::new()
    }
}

impl Handshake {
    /// A handshake of which nothing has been received.
    pub fn new() -> Handshake {
        Handshake {
            state: State::ClientFlags,
            partial: Vec::new(),
            options_seen: 0,
            no_zeroes: false,
            negotiated: Negotiated::Simple,
        }
    }

    /// What the server sends first, before it reads (proto.md "Newstyle negotiation").
    pub fn greeting() -> [u8; GREETING_BYTES] {
        let mut greeting = [0; GREETING_BYTES];
        greeting[..8].copy_from_slice(&NBD_MAGIC.to_be_bytes());
        greeting[8..16].copy_from_slice(&OPTION_MAGIC.to_be_bytes());
        greeting[16..].copy_from_slice(&(FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES).to_be_bytes());
        greeting
    }

    /// Takes bytes from the client, in pieces of any size, and appends the replies to `out`.
    ///
    /// `availability` is what is offered now; it may differ from one call to the next. The export
    /// of the call that returns [`Progress::Serve`] is the one that the client was told.
    ///
    /// # Panics
    /// When called after it returned [`Progress::Serve`] or [`Progress::Close`].
    pub fn receive(
        &mut self,
        input: &[u8],
        availability: &Availability,
        out: &mut Vec<u8>,
    ) -> Progress {
        let mut rest = input;
        loop {
            let step = self.step(&mut rest, availability, out);
            let consumed = input.len() - rest.len();
            match step {
                Step::Again => {}
                Step::Starved => return Progress::NeedMore { consumed },
                Step::Serve => {
                    self.state = State::Over;
                    return Progress::Serve { consumed, negotiated: self.negotiated };
                }
                Step::Close(reason) => {
                    self.state = State::Over;
                    return Progress::Close { consumed, reason };
                }
            }
        }
    }

    /// Bytes of the client that are kept until the next ones come.
    #[cfg(test)]
    pub(crate) fn kept_bytes(&self) -> usize {
        self.partial.capacity()
    }

    fn step(&mut self, rest: &mut &[u8], availability: &Availability, out: &mut Vec<u8>) -> Step {
        match self.state {
            State::ClientFlags => {
                if self.gather(rest, CLIENT_FLAGS_BYTES) {
                    self.client_flags()
                } else {
                    Step::Starved
                }
            }
            State::OptionHeader => {
                if self.gather(rest, OPTION_HEADER_BYTES) {
                    self.option_header()
                } else {
                    Step::Starved
                }
            }
            State::Keeping(header) => {
                if self.gather(rest, header.data_bytes as usize) {
                    self.finish_option(header, availability, out)
                } else {
                    Step::Starved
                }
            }
            State::Skipping { header, left_bytes } => {
                let skipped_bytes = left_bytes.min(rest.len());
                *rest = &rest[skipped_bytes..];
                if skipped_bytes == left_bytes {
                    self.finish_option(header, availability, out)
                } else {
                    self.state = State::Skipping { header, left_bytes: left_bytes - skipped_bytes };
                    Step::Starved
                }
            }
            State::Over => panic!("invariant: a handshake that is over receives nothing"),
        }
    }

    /// Moves bytes from `rest` until `wanted_bytes` are there; says whether they are.
    fn gather(&mut self, rest: &mut &[u8], wanted_bytes: usize) -> bool {
        let taken_bytes = (wanted_bytes - self.partial.len()).min(rest.len());
        let (taken, left) = rest.split_at(taken_bytes);
        self.partial.extend_from_slice(taken);
        *rest = left;
        self.partial.len() == wanted_bytes
    }

    fn client_flags(&mut self) -> Step {
        let flags = take_u32(&mut &self.partial[..]).expect("invariant: 4 bytes were gathered");
        self.partial.clear();
        if flags & !(FLAG_C_FIXED_NEWSTYLE | FLAG_C_NO_ZEROES) != 0 {
            return Step::Close(CloseReason::UnknownClientFlags { flags });
        }
        self.no_zeroes = flags & FLAG_C_NO_ZEROES != 0;
        self.state = State::OptionHeader;
        Step::Again
    }

    fn option_header(&mut self) -> Step {
        const GATHERED: &str = "invariant: 16 bytes were gathered";
        let mut bytes = &self.partial[..];
        let magic = take_u64(&mut bytes).expect(GATHERED);
        let option = take_u32(&mut bytes).expect(GATHERED);
        let data_bytes = take_u32(&mut bytes).expect(GATHERED);
        self.partial.clear();

        if magic != OPTION_MAGIC {
            return Step::Close(CloseReason::WrongOptionMagic { magic });
        }
        self.options_seen += 1;
        if self.options_seen > OPTIONS_MAX {
            return Step::Close(CloseReason::TooManyOptions);
        }
        if data_bytes > OPTION_SKIP_BYTES_MAX {
            return Step::Close(CloseReason::OptionTooLong { option, bytes: data_bytes });
        }
        let header = OptionHeader { option: ClientOption::from_wire(option), data_bytes };
        self.state = match header.option {
            // The reply to a bad name is the end of the connection, so there is nothing to skip to.
            ClientOption::ExportName if data_bytes as usize > STRING_BYTES_MAX => {
                return Step::Close(CloseReason::MalformedName);
            }
            ClientOption::ExportName => State::Keeping(header),
            ClientOption::Info
            | ClientOption::Go
            | ClientOption::ListContexts
            | ClientOption::SetContexts
                if data_bytes <= OPTION_DATA_BYTES_MAX =>
            {
                State::Keeping(header)
            }
            ClientOption::Info
            | ClientOption::Go
            | ClientOption::ListContexts
            | ClientOption::SetContexts
            | ClientOption::Abort
            | ClientOption::List
            | ClientOption::StructuredReply
            | ClientOption::Unsupported(_) => {
                State::Skipping { header, left_bytes: data_bytes as usize }
            }
        };
        Step::Again
    }

    fn finish_option(
        &mut self,
        header: OptionHeader,
        availability: &Availability,
        out: &mut Vec<u8>,
    ) -> Step {
        let answer =
            answer(header, &self.partial, availability, self.negotiated, self.no_zeroes, out);
        self.partial.clear();
        self.state = State::OptionHeader;
        match answer {
            Answer::NextOption => Step::Again,
            Answer::StructuredReplies => {
                // Asked for again it changes nothing.
                let block_status = self.negotiated.block_status();
                self.negotiated = Negotiated::Structured { block_status };
                Step::Again
            }
            Answer::Contexts(Selected::Unchanged) => Step::Again,
            Answer::Contexts(Selected::Now { base_allocation }) => {
                if self.negotiated.structured_replies() {
                    self.negotiated = Negotiated::Structured { block_status: base_allocation };
                }
                Step::Again
            }
            Answer::Serve => Step::Serve,
            Answer::Close(reason) => Step::Close(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{
        OPT_ABORT, OPT_EXPORT_NAME, OPT_GO, OPT_INFO, OPT_LIST, OPT_STARTTLS, OPT_STRUCTURED_REPLY,
        REP_ERR_TOO_BIG, REP_ERR_UNSUP,
    };
    use crate::test_client::{
        FLAGS, Reply, info_data, option, option_header, refused, replies, run, served, session,
    };

    fn closed(input: &[u8]) -> CloseReason {
        match run(input, &served()).0 {
            Progress::Close { consumed: _, reason } => reason,
            other @ (Progress::NeedMore { .. } | Progress::Serve { .. }) => {
                panic!("the connection should close, not {other:?}")
            }
        }
    }

    #[test]
    fn the_greeting_has_both_magics_and_both_flags() {
        assert_eq!(&Handshake::greeting(), b"NBDMAGICIHAVEOPT\x00\x03");
    }

    #[test]
    fn a_handshake_fed_byte_by_byte_gives_the_same_as_one_fed_at_once() {
        let input = session(
            FLAGS,
            &[
                option(OPT_STARTTLS, b""),
                option(OPT_STRUCTURED_REPLY, b""),
                option(OPT_LIST, b""),
                option(77, &[5; 300]),
                option(OPT_INFO, &info_data("other", &[])),
                option(OPT_INFO, &vec![1; OPTION_DATA_BYTES_MAX as usize + 1]),
                option(OPT_GO, &info_data("r0", &[1, 2, 3])),
            ],
        );
        let (at_once, expected) = run(&input, &served());
        let negotiated = Negotiated::Structured { block_status: false };
        assert_eq!(at_once, Progress::Serve { consumed: input.len(), negotiated });

        let mut handshake = Handshake::new();
        let mut out = Vec::new();
        let (last, before) = input.split_last().expect("the session is not empty");
        for byte in before {
            let progress = handshake.receive(&[*byte], &served(), &mut out);
            assert_eq!(progress, Progress::NeedMore { consumed: 1 });
        }
        let progress = handshake.receive(&[*last], &served(), &mut out);
        assert_eq!(progress, Progress::Serve { consumed: 1, negotiated });
        assert_eq!(out, expected);
    }

    #[test]
    fn bytes_after_go_are_left_for_the_transmission_phase() {
        let mut input = session(FLAGS, &[option(OPT_GO, &info_data("", &[]))]);
        let consumed = input.len();
        input.extend_from_slice(b"requests");
        let negotiated = Negotiated::Simple;
        assert_eq!(run(&input, &served()).0, Progress::Serve { consumed, negotiated });
    }

    #[test]
    fn an_empty_input_needs_more_and_changes_nothing() {
        let (progress, out) = run(&[], &served());
        assert_eq!((progress, out), (Progress::NeedMore { consumed: 0 }, Vec::new()));
    }

    #[test]
    fn unknown_client_flags_close_the_connection() {
        assert_eq!(closed(&session(7, &[])), CloseReason::UnknownClientFlags { flags: 7 });
        let flags = 1 << 31;
        assert_eq!(closed(&session(flags, &[])), CloseReason::UnknownClientFlags { flags });
    }

    #[test]
    fn a_wrong_option_magic_closes_the_connection() {
        let mut bad = option(OPT_LIST, b"");
        bad[0] ^= 1;
        let magic = OPTION_MAGIC ^ (1 << 56);
        assert_eq!(closed(&session(FLAGS, &[bad])), CloseReason::WrongOptionMagic { magic });
    }

    #[test]
    fn a_client_that_does_not_say_fixed_newstyle_is_served_all_the_same() {
        let input = session(0, &[option(OPT_LIST, b""), option(OPT_GO, &info_data("r0", &[]))]);
        let negotiated = Negotiated::Simple;
        let progress = run(&input, &served()).0;
        assert_eq!(progress, Progress::Serve { consumed: input.len(), negotiated });
    }

    #[test]
    fn an_info_that_is_too_big_is_skipped_without_being_kept() {
        let header = option_header(OPT_INFO, OPTION_SKIP_BYTES_MAX);
        let mut handshake = Handshake::new();
        let mut out = Vec::new();
        handshake.receive(&session(FLAGS, &[header]), &served(), &mut out);
        let piece = [0xee; 4096];
        for _ in 0..OPTION_SKIP_BYTES_MAX / 4096 {
            assert_eq!(out, b"", "the reply comes after the data");
            handshake.receive(&piece, &served(), &mut out);
            assert!(handshake.partial.capacity() <= OPTION_DATA_BYTES_MAX as usize);
        }
        let progress = handshake.receive(&option(OPT_LIST, b""), &served(), &mut out);
        assert_eq!(progress, Progress::NeedMore { consumed: 16 });
        let kinds: Vec<u32> = replies(&out).iter().map(|reply| reply.kind).collect();
        assert_eq!(kinds, [REP_ERR_TOO_BIG, 2, 1]);
    }

    #[test]
    fn an_unknown_option_of_any_bearable_length_is_unsupported_and_the_next_is_read() {
        let long = vec![0; OPTION_DATA_BYTES_MAX as usize * 2];
        let input = session(FLAGS, &[option(4711, &long), option(OPT_ABORT, b"")]);
        let (progress, out) = run(&input, &served());
        let reason = CloseReason::Aborted;
        assert_eq!(progress, Progress::Close { consumed: input.len(), reason });
        let replies = replies(&out);
        assert_eq!((replies[0].option, replies[0].kind), (4711, REP_ERR_UNSUP));
        assert_eq!(replies[1..], [Reply::ack(OPT_ABORT)]);
    }

    #[test]
    fn option_data_beyond_a_mebibyte_close_the_connection_at_the_header() {
        let bytes = OPTION_SKIP_BYTES_MAX + 1;
        for option in [OPT_GO, OPT_LIST, OPT_EXPORT_NAME, 4711] {
            let reason = closed(&session(FLAGS, &[option_header(option, bytes)]));
            assert_eq!(reason, CloseReason::OptionTooLong { option, bytes });
        }
    }

    #[test]
    fn the_option_after_the_last_that_is_allowed_closes_the_connection() {
        let mut options = vec![option(OPT_LIST, b""); OPTIONS_MAX as usize];
        let (progress, out) = run(&session(FLAGS, &options), &served());
        assert_eq!(progress, Progress::NeedMore { consumed: 4 + 16 * OPTIONS_MAX as usize });
        assert_eq!(replies(&out).len(), 2 * OPTIONS_MAX as usize);
        options.push(option(OPT_GO, &info_data("", &[])));
        assert_eq!(closed(&session(FLAGS, &options)), CloseReason::TooManyOptions);
    }

    #[test]
    fn a_promotion_between_two_options_is_seen_by_the_second() {
        let mut handshake = Handshake::new();
        let mut out = Vec::new();
        let go = option(OPT_GO, &info_data("r0", &[]));
        let first = session(FLAGS, std::slice::from_ref(&go));
        let progress = handshake.receive(&first, &refused(), &mut out);
        assert_eq!(progress, Progress::NeedMore { consumed: first.len() });
        let negotiated = Negotiated::Simple;
        let progress = handshake.receive(&go, &served(), &mut out);
        assert_eq!(progress, Progress::Serve { consumed: go.len(), negotiated });
    }

    #[test]
    #[should_panic(expected = "invariant: a handshake that is over receives nothing")]
    fn a_caller_that_goes_on_after_the_end_is_stopped() {
        let mut handshake = Handshake::new();
        let abort = session(FLAGS, &[option(OPT_ABORT, b"")]);
        handshake.receive(&abort, &served(), &mut Vec::new());
        handshake.receive(b"more", &served(), &mut Vec::new());
    }
}
