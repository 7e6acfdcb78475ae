//! Seeded random bytes against handshake and requests: no panic, bounded memory and output.

use crate::handshake::{Handshake, OPTION_DATA_BYTES_MAX, OPTIONS_MAX};
use crate::test_client::{FLAGS, info_data, option, option_header, refused, served, session};
use crate::{
    Availability, Export, Negotiated, Operation, Progress, REPLY_HEAD_BYTES_MAX,
    REQUEST_HEADER_BYTES, Rejected, RequestHeader, proto, rejection_head, reply_head, validate,
};

/// No option of the exports of these tests is answered with more bytes than this.
const OUTPUT_BYTES_PER_OPTION_MAX: usize = 256;

/// The generator "splitmix64": small, and the same on every machine.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(crate) fn bytes(&mut self, len: u64) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// Options that are good, nearly good, too long, or noise.
fn random_session(random: &mut Random) -> Vec<u8> {
    let flags = random.pick(&[FLAGS, FLAGS, FLAGS, 0, 1, 2, 4]);
    let options: Vec<Vec<u8>> = (0..random.below(12))
        .map(|_| {
            let number = random.below(13) as u32;
            match random.below(6) {
                0 => option(number, b""),
                1 => option(number, &info_data(random.pick(&["r0", "", "r1"]), &[0, 1, 2, 3])),
                2 => {
                    let len = random.below(40);
                    option(number, &random.bytes(len))
                }
                3 => option_header(number, random.next() as u32),
                4 => option(number, &vec![0; OPTION_DATA_BYTES_MAX as usize + 1]),
                _ => {
                    let len = random.below(30);
                    random.bytes(len)
                }
            }
        })
        .collect();
    session(flags, &options)
}

fn feed_in_pieces(random: &mut Random, input: &[u8], availability: &Availability, seed: u64) {
    let mut handshake = Handshake::new();
    let mut out = Vec::new();
    let mut at = 0;
    while at < input.len() {
        let longest = random.pick(&[1, 7, 64, 20_000]);
        let piece_bytes = (1 + random.below(longest) as usize).min(input.len() - at);
        let progress = handshake.receive(&input[at..at + piece_bytes], availability, &mut out);
        match progress {
            Progress::NeedMore { consumed } => {
                assert_eq!(consumed, piece_bytes, "seed {seed}");
                at += consumed;
            }
            Progress::Serve { consumed, .. } | Progress::Close { consumed, .. } => {
                assert!(consumed <= piece_bytes, "seed {seed}");
                break;
            }
        }
    }
    let options_max = (1 + input.len() / 16).min(OPTIONS_MAX as usize);
    assert!(out.len() <= options_max * OUTPUT_BYTES_PER_OPTION_MAX, "seed {seed}");
}

#[test]
fn random_handshakes_never_panic_and_their_output_is_bounded() {
    for seed in 0..2_000 {
        let mut random = Random(seed);
        let input = random_session(&mut random);
        let availability = if random.below(2) == 0 { served() } else { refused() };
        feed_in_pieces(&mut random, &input, &availability, seed);
    }
}

#[test]
fn pure_noise_after_good_flags_never_enters_the_transmission_phase() {
    for seed in 0..500 {
        let mut random = Random(seed);
        let input = session(FLAGS, &[random.bytes(200)]);
        let mut out = Vec::new();
        let progress = Handshake::new().receive(&input, &served(), &mut out);
        assert!(matches!(progress, Progress::Close { .. }), "seed {seed}: {progress:?}");
        assert!(out.is_empty(), "seed {seed}");
    }
}

/// The start, length and advertised limits of an operation that passed validation.
fn check_accepted(op: Operation, export: &Export, seed: u64) {
    let (offset, bytes, payload_max) = match op {
        Operation::Read { offset, bytes, .. } | Operation::Write { offset, bytes, .. } => {
            (offset, bytes, export.payload_bytes_max)
        }
        Operation::WriteZeroes { offset, bytes, .. }
        | Operation::Trim { offset, bytes, .. }
        | Operation::Cache { offset, bytes }
        | Operation::BlockStatus { offset, bytes, .. } => (offset, bytes, u32::MAX),
        Operation::Flush | Operation::Disconnect => return,
    };
    let end = offset.checked_add(u64::from(bytes));
    assert!(end.is_some_and(|end| end <= export.size_bytes), "seed {seed}: {op:?}");
    assert!(bytes > 0 && bytes <= payload_max, "seed {seed}: {op:?}");
    assert!(offset % u64::from(export.block_bytes_min) == 0, "seed {seed}: {op:?}");
}

fn random_header(random: &mut Random) -> [u8; REQUEST_HEADER_BYTES] {
    let mut bytes = [0; REQUEST_HEADER_BYTES];
    bytes.copy_from_slice(&random.bytes(REQUEST_HEADER_BYTES as u64));
    if random.below(16) != 0 {
        bytes[..4].copy_from_slice(&proto::REQUEST_MAGIC.to_be_bytes());
        bytes[4..6]
            .copy_from_slice(&(random.pick(&[0, 0, 1, 2, 4, 8, 16, 17]) as u16).to_be_bytes());
        bytes[6..8].copy_from_slice(&(random.below(9) as u16).to_be_bytes());
        let offset = random.below(2_100) * 512 + random.pick(&[0, 0, 0, 1]);
        bytes[16..24].copy_from_slice(&offset.to_be_bytes());
        let length = random.pick(&[0, 1, 512, 4096, 1 << 20, u32::MAX]);
        bytes[24..].copy_from_slice(&length.to_be_bytes());
    }
    bytes
}

#[test]
fn random_requests_never_panic_and_what_passes_is_inside_the_export() {
    let mut outcomes = [0_u32; 3];
    for seed in 0..50_000 {
        let mut random = Random(seed);
        let export = Export {
            block_bytes_min: random.pick(&[1, 512, 4096]),
            payload_bytes_max: random.pick(&[4096, 1 << 20]),
            trim: random.below(2) == 0,
            fast_zero: random.below(2) == 0,
            ..Export::new("r0", random.pick(&[1 << 20, (1 << 20) + 100]))
        };
        let negotiated = random.pick(&[
            Negotiated::Simple,
            Negotiated::Structured { block_status: false },
            Negotiated::Structured { block_status: true },
        ]);
        let header = RequestHeader::parse(&random_header(&mut random));
        let head = match validate(&header, &export, negotiated) {
            Ok(request) => {
                outcomes[0] += 1;
                check_accepted(request.op, &export, seed);
                request.reply_to().map(|to| reply_head(negotiated, to, Ok(())))
            }
            Err(Rejected::Reply { cookie, errno, skip_payload_bytes: _, why }) => {
                outcomes[1] += 1;
                Some(rejection_head(negotiated, cookie, errno, why))
            }
            Err(Rejected::Fatal(_)) => {
                outcomes[2] += 1;
                None
            }
        };
        assert!(head.is_none_or(|head| head.as_bytes().len() <= REPLY_HEAD_BYTES_MAX));
    }
    // A generator that reaches only one of the three would show nothing.
    assert!(outcomes.iter().all(|&count| count > 1_000), "{outcomes:?}");
}
