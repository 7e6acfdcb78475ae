//! The bytes of the peer protocol: frames to messages and back. Specified in `docs/protocol.md`.
//!
//! A frame is a head of 24 bytes, a body and a payload. The reader takes them one after the other:
//! [`decode_head`] says how long the other two are, within the limits of that kind of message, so
//! that nothing is allocated on the word of a stranger; [`decode_body`] checks the checksum and
//! gives the [`Message`]; the payload goes to a buffer, and whoever owns the buffer compares its
//! crc32c with [`FrameHead::data_crc32c`] (rule D11).
//!
//! Offsets here are only known not to overflow. Whether they lie inside the device is for the
//! engine to check.

mod body;
mod cursor;
mod handshake;
mod head;
mod policies;
#[cfg(test)]
mod samples;
mod verify;

use crate::message::Message;
use cursor::{BodyReader, BodyWriter};
use thiserror::Error;

pub use head::{FrameHead, Kind, decode_head};

/// Bytes of the head of a frame.
pub const HEADER_BYTES: usize = 24;
/// Longest body of all kinds, in bytes (32 KiB, of `Bitmap`): the size of the reader's body buffer.
pub const BODY_BYTES_MAX: u32 = 32 << 10;
/// Most bytes of run-length coded bitmap in one `Bitmap` message.
pub const BITMAP_RUNS_BYTES_MAX: usize = BODY_BYTES_MAX as usize - body::BITMAP_FIXED_BYTES;
/// Longest string in a message, in bytes of UTF-8. Longer explanations are cut; longer names are
/// our own bug.
pub const TEXT_BYTES_MAX: usize = 255;

/// Why bytes from the peer are no message. Each of them ends the link: after it nothing in the
/// stream is certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WireError {
    /// The first four bytes are not ours.
    #[error(
        "no blkrep frame: it begins with {magic:#010x}; check that the peer's address and port in \
         the configuration belong to blkrep"
    )]
    NotOurs {
        /// What stands in the place of the magic number.
        magic: u32,
    },
    /// No message has this number.
    #[error(
        "frame of unknown kind {kind}; if it comes again, check that both nodes run one release"
    )]
    UnknownKind {
        /// The number.
        kind: u8,
    },
    /// Body or payload is shorter or longer than this kind of message can be.
    #[error(
        "{kind:?} frame with an impossible length of {bytes} bytes; if it comes again, check that \
         both nodes run one release"
    )]
    Length {
        /// The kind of message.
        kind: Kind,
        /// The length that is out of bounds, of the body or of the payload, in bytes.
        bytes: u32,
    },
    /// Head and body are not as they were sent.
    #[error(
        "frame with a wrong checksum; the link is opened anew; if it comes again, check the cable"
    )]
    Checksum,
    /// They are as they were sent, but make no sense.
    #[error("{kind:?} message is malformed: {what}; check that both nodes run one release")]
    Malformed {
        /// The kind of message.
        kind: Kind,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// The message of a frame, from its head and its body.
///
/// # Errors
/// [`WireError::Checksum`] when head or body was changed on the way, [`WireError::Malformed`] when
/// a field has a value that it cannot have, or a range does not fit the payload.
///
/// # Panics
/// When `body` is not `head.body_bytes` long: the caller reads as many bytes as the head says.
pub fn decode_body(
    head: &FrameHead,
    head_bytes: &[u8; HEADER_BYTES],
    body: &[u8],
) -> Result<Message, WireError> {
    assert!(
        u32::try_from(body.len()) == Ok(head.body_bytes),
        "invariant: a body is as long as its head says"
    );
    head.check(head_bytes, body)?;
    let mut reader = BodyReader::new(head.kind, body);
    let message = body::get(&mut reader, head.data_bytes)?;
    // Later versions may append to Hello; this version must still be able to read its part of it.
    if head.kind != Kind::Hello {
        reader.finish()?;
    }
    Ok(message)
}

/// Appends head and body of `message` to `out`; the payload is sent after them by whoever holds it.
/// `data` is its length in bytes and its crc32c. Allocates nothing but what `out` needs to grow.
///
/// An explanation (of `Refuse`, `PromoteAnswer`) longer than [`TEXT_BYTES_MAX`] is cut between two
/// characters.
///
/// # Panics
/// When `message` needs a payload and `data` is none, or the other way round; when the payload is
/// not as long as the message's range; when a range, a name or a bitmap is longer than the protocol
/// allows. All are our own bugs.
pub fn encode(message: &Message, data: Option<(u32, u32)>, out: &mut Vec<u8>) {
    let kind = Kind::of(message);
    assert!(
        data.is_some() == kind.carries_data(),
        "invariant: {kind:?} comes with a payload exactly when the protocol says so"
    );
    let (data_bytes, data_crc32c) = data.unwrap_or((0, 0));
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    body::put(message, data_bytes, &mut BodyWriter::new(out));
    head::fill(kind, data_bytes, data_crc32c, &mut out[start..]);
}

#[cfg(test)]
mod tests {
    use super::samples::{hello_sample, samples, samples_of};
    use super::*;
    use crate::ids::NodeIndex;
    use crate::message::SourceLoad;
    use crate::settings::PIECE_BYTES_MAX;
    use metadata::units::ByteRange;

    fn encoded(message: &Message, data: Option<(u32, u32)>) -> Vec<u8> {
        let mut out = Vec::new();
        encode(message, data, &mut out);
        out
    }

    fn head_of(frame: &[u8]) -> [u8; HEADER_BYTES] {
        frame[..HEADER_BYTES].try_into().unwrap()
    }

    /// Reads a frame as the event loop does: head, then as much body as the head asks for, then the
    /// message. What the frame is too short for comes as zeroes, like the bytes of whatever follows
    /// in the stream.
    fn decoded(frame: &[u8]) -> Result<(FrameHead, Message), WireError> {
        let head_bytes = head_of(frame);
        let head = decode_head(&head_bytes)?;
        let mut body = frame[HEADER_BYTES..].to_vec();
        body.resize(head.body_bytes as usize, 0);
        Ok((head, decode_body(&head, &head_bytes, &body)?))
    }

    /// Puts a right checksum on a frame, as an ill-meaning peer would.
    fn seal(frame: &mut [u8]) {
        let (head, body) = frame.split_at_mut(HEADER_BYTES);
        let sum = crc32c::crc32c_append(crc32c::crc32c(&head[..20]), body);
        head[20..].copy_from_slice(&sum.to_le_bytes());
    }

    fn random(seed: &mut u64) -> u64 {
        // Weyl sequence with the finaliser of splitmix64.
        *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    #[test]
    fn every_message_comes_back_as_it_was_sent() {
        for (message, data) in samples() {
            let (head, back) = decoded(&encoded(&message, data)).unwrap();
            assert_eq!(back, message);
            assert_eq!(head.kind, Kind::of(&message));
            assert_eq!((head.data_bytes, head.data_crc32c), data.unwrap_or_default());
        }
    }

    #[test]
    fn every_kind_is_sampled_by_messages_of_that_kind() {
        for &kind in Kind::ALL {
            let samples = samples_of(kind);
            assert!(!samples.is_empty(), "{kind:?}");
            assert!(samples.iter().all(|message| Kind::of(message) == kind), "{kind:?}");
        }
    }

    #[test]
    fn encode_appends_exactly_head_and_body_and_touches_nothing_before() {
        for (message, data) in samples() {
            let mut out = b"before".to_vec();
            encode(&message, data, &mut out);
            assert_eq!(&out[..6], b"before");
            let head = decode_head(&head_of(&out[6..])).unwrap();
            assert_eq!(out.len(), 6 + HEADER_BYTES + head.body_bytes as usize, "{message:?}");
            assert_eq!(out[6..], encoded(&message, data));
        }
    }

    #[test]
    fn write_has_the_documented_bytes() {
        let message = Message::Write { number: 7, range: ByteRange::new(0x1000, 512), fua: true };
        let golden = [
            0x42, 0x4b, 0x52, 0x50, 0x0c, 0x00, 0x00, 0x00, 0x19, 0x00, 0x00, 0x00, //
            0x00, 0x02, 0x00, 0x00, 0xc0, 0xed, 0xfc, 0x30, 0x19, 0xdc, 0x3d, 0x4e, //
            0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00, //
            0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, //
            0x01,
        ];
        // The payload: 512 zeroes.
        assert_eq!(encoded(&message, Some((512, 0x30fc_edc0))), golden);
    }

    #[test]
    fn write_done_has_the_documented_bytes() {
        let golden = [
            0x42, 0x4b, 0x52, 0x50, 0x0e, 0x00, 0x00, 0x00, 0x08, 0x00, 0x00, 0x00, //
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x4c, 0x3d, 0x7f, 0xe3, //
            0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        ];
        assert_eq!(encoded(&Message::WriteDone { number: 7 }, None), golden);
    }

    #[test]
    fn hello_has_the_documented_bytes() {
        let golden = [
            0x42, 0x4b, 0x52, 0x50, 0x01, 0x00, 0x00, 0x00, 0x35, 0x00, 0x00, 0x00, //
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xbc, 0xf9, 0xb3, 0xfa, //
            0x01, 0x00, 0x01, 0x00, 0x01, 0x01, 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, //
            0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11, //
            0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, //
            0x1e, 0x1f, 0x05, 0x62, 0x65, 0x74, 0x61, 0x31, 0x08, 0x70, 0x6f, 0x73, //
            0x74, 0x67, 0x72, 0x65, 0x73,
        ];
        let hello = hello_sample(NodeIndex::Second, "beta1", true);
        assert_eq!(encoded(&Message::Hello(hello), None), golden);
    }

    #[test]
    fn a_hello_of_a_later_version_is_read_up_to_what_this_version_knows() {
        let mut hello = hello_sample(NodeIndex::Second, "beta1", true);
        hello.version_max = 9;
        let mut frame = encoded(&Message::Hello(hello.clone()), None);
        frame.extend_from_slice(b"something new");
        let body_bytes = u32::try_from(frame.len() - HEADER_BYTES).unwrap();
        frame[8..12].copy_from_slice(&body_bytes.to_le_bytes());
        seal(&mut frame);
        assert_eq!(decoded(&frame).map(|(_, message)| message), Ok(Message::Hello(hello)));
    }

    #[test]
    fn one_changed_bit_in_head_or_body_is_always_refused() {
        for (message, data) in samples() {
            let frame = encoded(&message, data);
            // Every bit of the head and of short bodies; a sample of the 32 KiB of a bitmap.
            let stride = if frame.len() > 1024 { 1009 } else { 1 };
            let bits =
                (0..HEADER_BYTES * 8).chain((HEADER_BYTES * 8..frame.len() * 8).step_by(stride));
            for bit in bits {
                let mut changed = frame.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                let result = decoded(&changed);
                assert!(result.is_err(), "bit {bit} of {message:?} gave {result:?}");
            }
        }
    }

    #[test]
    fn a_sealed_frame_with_flags_or_a_checksum_of_nothing_is_malformed() {
        for at in [5, 6, 7, 16, 19] {
            let mut frame = encoded(&Message::Ping { number: 1 }, None);
            frame[at] = 1;
            seal(&mut frame);
            let result = decoded(&frame);
            assert!(
                matches!(result, Err(WireError::Malformed { kind: Kind::Ping, .. })),
                "byte {at} gave {result:?}"
            );
        }
    }

    #[test]
    fn random_heads_never_ask_for_more_than_the_limits() {
        let first_seed = 0x0b1c_2d3e;
        println!("seed {first_seed:#x}");
        let mut seed = first_seed;
        let mut accepted = 0;
        for _ in 0..200_000 {
            let mut head_bytes = [0; HEADER_BYTES];
            for chunk in head_bytes.chunks_exact_mut(8) {
                chunk.copy_from_slice(&random(&mut seed).to_le_bytes());
            }
            // Mostly our magic, a known kind and lengths of every size: else nothing gets past the
            // first checks.
            if !random(&mut seed).is_multiple_of(8) {
                head_bytes[..4].copy_from_slice(b"BKRP");
                head_bytes[4] %= 32;
                for at in [8, 12] {
                    let bytes = u32::try_from(random(&mut seed) >> 32).unwrap();
                    let shift = random(&mut seed) % 33;
                    let bytes = bytes.checked_shr(shift as u32).unwrap_or(0);
                    head_bytes[at..at + 4].copy_from_slice(&bytes.to_le_bytes());
                }
            }
            if let Ok(head) = decode_head(&head_bytes) {
                accepted += 1;
                assert!(head.body_bytes <= BODY_BYTES_MAX, "{head:?}");
                assert!(head.data_bytes <= PIECE_BYTES_MAX, "{head:?}");
                assert!(head.data_bytes == 0 || head.kind.carries_data(), "{head:?}");
            }
        }
        assert!(accepted > 100, "only {accepted} heads got past the checks");
    }

    /// Changes a few bytes of a valid body and its length, and puts a right checksum on it.
    fn forged(message: &Message, data: Option<(u32, u32)>, seed: &mut u64) -> Vec<u8> {
        let mut frame = encoded(message, data);
        if random(seed).is_multiple_of(4) {
            let body_bytes = (random(seed) % 64) as u32;
            frame.resize(HEADER_BYTES + body_bytes as usize, 1);
            frame[8..12].copy_from_slice(&body_bytes.to_le_bytes());
        }
        for _ in 0..random(seed) % 4 {
            let at = HEADER_BYTES + (random(seed) % 64) as usize;
            if let Some(byte) = frame.get_mut(at) {
                *byte = [0, 1, 0x7f, 0xff, random(seed) as u8][(random(seed) % 5) as usize];
            }
        }
        seal(&mut frame);
        frame
    }

    #[test]
    fn a_forged_body_never_panics_and_what_is_read_encodes_to_the_same_bytes() {
        let first_seed = 0x4f5a_6b7c;
        println!("seed {first_seed:#x}");
        let mut seed = first_seed;
        let mut outcomes = [0_u32; 2];
        for round in 0..300 {
            for (message, data) in samples() {
                let frame = forged(&message, data, &mut seed);
                let result = decoded(&frame);
                outcomes[usize::from(result.is_ok())] += 1;
                let Ok((head, back)) = result else { continue };
                let again = encoded(&back, data);
                // Of a Hello the end may belong to a later version.
                let same = if head.kind == Kind::Hello {
                    frame[HEADER_BYTES..].starts_with(&again[HEADER_BYTES..])
                } else {
                    frame == again
                };
                assert!(same, "round {round}: {back:?} from {frame:02x?}");
            }
        }
        assert!(outcomes.iter().all(|&count| count > 500), "refused and read: {outcomes:?}");
    }

    #[test]
    #[should_panic(expected = "comes with a payload exactly when")]
    fn encoding_a_write_without_its_payload_is_our_own_bug() {
        encoded(&Message::Write { number: 7, range: ByteRange::new(0, 512), fua: false }, None);
    }

    #[test]
    #[should_panic(expected = "comes with a payload exactly when")]
    fn encoding_a_ping_with_a_payload_is_our_own_bug() {
        encoded(&Message::Ping { number: 7 }, Some((0, 0)));
    }

    #[test]
    #[should_panic(expected = "a payload is as long as the range")]
    fn encoding_a_payload_of_another_length_than_the_range_is_our_own_bug() {
        let range = ByteRange::new(0, 512);
        encoded(
            &Message::SyncData { number: 7, range, load: SourceLoad::default() },
            Some((511, 0)),
        );
    }

    #[test]
    fn what_is_wrong_is_said_together_with_the_next_step() {
        let errors = [
            WireError::NotOurs { magic: 1 },
            WireError::UnknownKind { kind: 99 },
            WireError::Length { kind: Kind::Write, bytes: 0 },
            WireError::Checksum,
            WireError::Malformed { kind: Kind::Zero, what: "a range is empty" },
        ];
        for error in errors {
            assert!(error.to_string().contains("check"), "{error}");
        }
    }
}
