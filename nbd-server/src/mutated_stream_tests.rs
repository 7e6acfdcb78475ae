//! Whole conversations of a client, mutated and cut anywhere: the outcome does not depend on the
//! cuts, nothing panics, and what is kept stays within its limit.
//!
//! A stream is a handshake and then requests with their payloads, read as the caller of this crate
//! reads it. A failure names its seed.

use crate::handshake::{Handshake, OPTION_DATA_BYTES_MAX};
use crate::random_input_tests::Random;
use crate::test_client::{FLAGS, info_data, option, refused, served, session};
use crate::{
    Availability, Export, Negotiated, Operation, Progress, REQUEST_HEADER_BYTES, Rejected,
    RequestHeader, proto, validate,
};

/// Streams that are tried.
const SEEDS: u64 = 20_000;
/// The most bytes that a handshake may hold for its client: the longest option, and as much again
/// that a growing vector takes.
const KEPT_BYTES_MAX: usize = 2 * OPTION_DATA_BYTES_MAX as usize;

/// What the server did, in order; equal for equal bytes however they are cut.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Deed {
    Served(Negotiated),
    Closed,
    Request(Operation),
    Refused(u64),
}

/// The caller's side of this crate, as small as it can be.
#[derive(Default)]
struct Reader {
    handshake: Option<Handshake>,
    serving: Option<Negotiated>,
    is_closed: bool,
    header: Vec<u8>,
    payload_left: u32,
    replies: Vec<u8>,
    deeds: Vec<Deed>,
}

impl Reader {
    fn new() -> Reader {
        Reader { handshake: Some(Handshake::new()), ..Reader::default() }
    }

    fn take(&mut self, mut bytes: &[u8], availability: &Availability, export: &Export) {
        while !bytes.is_empty() && !self.is_closed {
            let used = match (&mut self.handshake, self.serving) {
                (Some(handshake), _) => {
                    let progress = handshake.receive(bytes, availability, &mut self.replies);
                    self.greeted(progress)
                }
                (None, Some(negotiated)) => self.take_request(bytes, export, negotiated),
                (None, None) => unreachable!("invariant: a handshake ends in serving or closing"),
            };
            assert!(used <= bytes.len(), "more was used than there is");
            bytes = &bytes[used..];
        }
    }

    fn greeted(&mut self, progress: Progress) -> usize {
        match progress {
            Progress::NeedMore { consumed } => consumed,
            Progress::Serve { consumed, negotiated } => {
                self.handshake = None;
                self.serving = Some(negotiated);
                self.deeds.push(Deed::Served(negotiated));
                consumed
            }
            Progress::Close { consumed, reason: _ } => {
                self.close();
                consumed
            }
        }
    }

    fn close(&mut self) {
        self.is_closed = true;
        self.deeds.push(Deed::Closed);
    }

    fn take_request(&mut self, bytes: &[u8], export: &Export, negotiated: Negotiated) -> usize {
        if self.payload_left > 0 {
            let skipped = bytes.len().min(self.payload_left as usize);
            self.payload_left -= skipped as u32;
            return skipped;
        }
        let used = bytes.len().min(REQUEST_HEADER_BYTES - self.header.len());
        self.header.extend_from_slice(&bytes[..used]);
        let Ok(header) = self.header[..].try_into() else { return used };
        self.header.clear();
        match validate(&RequestHeader::parse(&header), export, negotiated) {
            Ok(request) => {
                if let Operation::Write { bytes, .. } = request.op {
                    self.payload_left = bytes;
                }
                self.deeds.push(Deed::Request(request.op));
                if request.op == Operation::Disconnect {
                    self.close();
                }
            }
            Err(Rejected::Reply { cookie, skip_payload_bytes, .. }) => {
                self.payload_left = skip_payload_bytes;
                self.deeds.push(Deed::Refused(cookie));
            }
            Err(Rejected::Fatal(_)) => self.close(),
        }
        used
    }
}

fn request(random: &mut Random) -> Vec<u8> {
    let command = random.below(9) as u16;
    let bytes = random.pick(&[0, 512, 4096, 4096, 70_000]);
    let mut out = proto::REQUEST_MAGIC.to_be_bytes().to_vec();
    out.extend((random.pick(&[0, 0, 0, 1, 4]) as u16).to_be_bytes());
    out.extend(command.to_be_bytes());
    out.extend(random.next().to_be_bytes());
    out.extend((random.below(300) * 4096).to_be_bytes());
    out.extend((bytes as u32).to_be_bytes());
    if command == proto::CMD_WRITE {
        out.extend(random.bytes(bytes.min(4096)));
    }
    out
}

/// A conversation that is good until it is mutated, with up to four mutations anywhere.
fn stream(random: &mut Random) -> Vec<u8> {
    let mut options = Vec::new();
    for _ in 0..random.below(4) {
        let count = random.below(300);
        let data = random.bytes(count);
        let number = random.below(13) as u32;
        // The two that end the handshake come last.
        options.push(option(if number == 1 || number == 2 { 3 } else { number }, &data));
    }
    if random.below(2) == 0 {
        options.push(option(proto::OPT_STRUCTURED_REPLY, b""));
    }
    options.push(match random.below(3) {
        0 => option(proto::OPT_EXPORT_NAME, b"r0"),
        _ => option(proto::OPT_GO, &info_data("r0", &[3])),
    });
    let mut bytes = session(FLAGS, &options);
    for _ in 0..random.below(8) {
        bytes.extend(request(random));
    }
    for _ in 0..random.below(5) {
        if bytes.is_empty() {
            break;
        }
        let at = random.below(bytes.len() as u64) as usize;
        match random.below(4) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => drop(bytes.remove(at)),
            2 => bytes.insert(at, random.next() as u8),
            _ => bytes.truncate(at),
        }
    }
    bytes
}

#[test]
fn a_mutated_conversation_has_one_outcome_however_it_is_cut() {
    let mut served_ever = 0_u32;
    let mut closed_ever = 0_u32;
    let mut requests_ever = 0_u32;
    for seed in 0..SEEDS {
        let mut random = Random(seed);
        let bytes = stream(&mut random);
        let availability = if random.below(8) == 0 { refused() } else { served() };
        let export = Export { trim: true, ..Export::new("r0", 1 << 20) };
        let mut at_once = Reader::new();
        at_once.take(&bytes, &availability, &export);
        let mut in_pieces = Reader::new();
        let mut left = &bytes[..];
        while !left.is_empty() {
            let longest = random.pick(&[1, 3, 17, 29, 5000]);
            let piece = left.len().min(1 + random.below(longest) as usize);
            in_pieces.take(&left[..piece], &availability, &export);
            left = &left[piece..];
            let kept = in_pieces.handshake.as_ref().map_or(0, Handshake::kept_bytes);
            assert!(kept <= KEPT_BYTES_MAX, "seed {seed}: {kept} bytes are kept");
        }
        assert_eq!(in_pieces.deeds, at_once.deeds, "seed {seed}");
        assert_eq!(in_pieces.replies, at_once.replies, "seed {seed}");
        let deeds = &at_once.deeds;
        served_ever += u32::from(matches!(deeds.first(), Some(Deed::Served(_))));
        closed_ever += u32::from(deeds.last() == Some(&Deed::Closed));
        requests_ever +=
            deeds.iter().filter(|deed| matches!(deed, Deed::Request(_))).count() as u32;
    }
    // A generator that breaks everything at once, or nothing, would show little.
    let least = SEEDS as u32 / 5;
    assert!(served_ever > least && closed_ever > least && requests_ever > least);
}
