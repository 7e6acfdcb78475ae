//! Generic netlink messages as bytes (linux/netlink.h, linux/genetlink.h): requests are written,
//! replies are read, nothing is sent here. Numbers are in the machine's byte order.

use rustix::io::Errno;

/// Bytes of a message's header, of the generic header behind it, and of an attribute's header.
const HEADER_BYTES: usize = 16;
const GENERIC_BYTES: usize = 4;
const ATTRIBUTE_BYTES: usize = 4;
/// Everything is padded to this many bytes.
const ALIGNMENT: usize = 4;
/// `NLM_F_REQUEST | NLM_F_ACK`: every request ends in an acknowledgement.
const REQUEST_FLAGS: u16 = 1 | 4;
/// `NLMSG_ERROR`: an errno, 0 for an acknowledgement.
const KIND_ERROR: u16 = 2;
/// The kernel's errors are from here to -1 (`MAX_ERRNO`).
const ERRNO_MIN: i32 = -4095;
/// `NLMSG_DONE` and `NLMSG_NOOP` end and fill batches.
const KIND_DONE: u16 = 3;
const KIND_NOOP: u16 = 1;
/// The flags in an attribute's kind (`NLA_F_NESTED`, `NLA_F_NET_BYTEORDER`).
const ATTRIBUTE_FLAGS: u16 = 0xc000;
const NESTED: u16 = 0x8000;

/// A request that is being written.
#[derive(Debug, Clone)]
pub(super) struct Request {
    bytes: Vec<u8>,
}

impl Request {
    /// A request to the family `family`. `sequence` comes back with every reply.
    pub(super) fn new(family: u16, command: u8, version: u8, sequence: u32) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(family.to_ne_bytes());
        bytes.extend(REQUEST_FLAGS.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        // The sender's port: the kernel knows it.
        bytes.extend(0u32.to_ne_bytes());
        bytes.extend([command, version, 0, 0]);
        Self { bytes }
    }

    /// Appends a 32-bit number.
    pub(super) fn u32(self, kind: u16, value: u32) -> Self {
        self.put(kind, &value.to_ne_bytes())
    }

    /// Appends a 64-bit number.
    pub(super) fn u64(self, kind: u16, value: u64) -> Self {
        self.put(kind, &value.to_ne_bytes())
    }

    /// Appends a text, ended by a zero byte.
    pub(super) fn text(self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.put(kind, &bytes)
    }

    /// Appends an attribute that holds others.
    pub(super) fn nested(mut self, kind: u16, inner: impl FnOnce(Self) -> Self) -> Self {
        let start = self.bytes.len();
        self.bytes.extend(0u16.to_ne_bytes());
        self.bytes.extend((kind | NESTED).to_ne_bytes());
        let mut whole = inner(self);
        let bytes = length16(whole.bytes.len() - start);
        whole.bytes[start..start + 2].copy_from_slice(&bytes);
        whole
    }

    /// The whole message.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let bytes = u32::try_from(self.bytes.len()).expect("invariant: requests are short");
        self.bytes[..4].copy_from_slice(&bytes.to_ne_bytes());
        self.bytes
    }

    fn put(mut self, kind: u16, value: &[u8]) -> Self {
        self.bytes.extend(length16(ATTRIBUTE_BYTES + value.len()));
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
        self
    }
}

fn length16(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).expect("invariant: attributes are short").to_ne_bytes()
}

/// One message of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// The request was carried out; it is the last message.
    Acknowledged,
    /// It was not; it is the last message.
    Refused(Errno),
    /// An answer; the acknowledgement is still to come. The bytes of its attributes.
    Answer(Vec<u8>),
}

/// Takes the messages of one datagram that answer the request `sequence`, in order. What answers
/// another one, or is cut short, is left out.
pub(super) fn replies(datagram: &[u8], sequence: u32) -> Vec<Reply> {
    let mut found = Vec::new();
    let mut rest = datagram;
    while let Some((kind, number, body, next)) = message(rest) {
        rest = next;
        if number != sequence {
            continue;
        }
        match kind {
            KIND_ERROR => {
                let Some(code) = body.first_chunk().map(|code| i32::from_ne_bytes(*code)) else {
                    continue;
                };
                found.push(match code {
                    0 => Reply::Acknowledged,
                    ERRNO_MIN..0 => Reply::Refused(Errno::from_raw_os_error(-code)),
                    _ => Reply::Refused(Errno::PROTO),
                });
            }
            KIND_DONE | KIND_NOOP => {}
            _ => found.extend(body.get(GENERIC_BYTES..).map(|body| Reply::Answer(body.to_vec()))),
        }
    }
    found
}

/// The first message: kind, sequence, body and what follows it.
fn message(bytes: &[u8]) -> Option<(u16, u32, &[u8], &[u8])> {
    let length = usize::try_from(u32::from_ne_bytes(*bytes.first_chunk()?)).ok()?;
    let body = bytes.get(HEADER_BYTES..length)?;
    let kind = u16::from_ne_bytes([bytes[4], bytes[5]]);
    let sequence = u32::from_ne_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
    let next = bytes.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
    Some((kind, sequence, body, next))
}

/// The value of the first attribute `wanted`; none when it is not there or the attributes are cut
/// short before it.
pub(super) fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let header: &[u8; ATTRIBUTE_BYTES] = bytes.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & !ATTRIBUTE_FLAGS;
        let value = bytes.get(ATTRIBUTE_BYTES..length)?;
        if kind == wanted {
            return Some(value);
        }
        bytes = bytes.get(length.next_multiple_of(ALIGNMENT)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of the kernel, as it would be on a little-endian machine and here.
    fn answer(kind: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(HEADER_BYTES + body.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0, 0]);
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        bytes
    }

    #[test]
    fn a_request_has_the_layout_of_the_headers() {
        let request = Request::new(0x1c, 1, 1, 7)
            .u32(1, 3)
            .u64(2, 1 << 30)
            .text(10, "abcd")
            .nested(7, |sockets| sockets.nested(1, |socket| socket.u32(1, 9)));
        let mut expected = Vec::new();
        // Length, family, REQUEST and ACK, sequence, port; command, version.
        expected.extend(68u32.to_ne_bytes());
        expected.extend(0x1cu16.to_ne_bytes());
        expected.extend(5u16.to_ne_bytes());
        expected.extend(7u32.to_ne_bytes());
        expected.extend([0; 4]);
        expected.extend([1, 1, 0, 0]);
        let mut put = |bytes: u16, kind: u16, value: &[u8]| {
            expected.extend(bytes.to_ne_bytes());
            expected.extend(kind.to_ne_bytes());
            expected.extend(value);
        };
        put(8, 1, &3u32.to_ne_bytes());
        put(12, 2, &(1u64 << 30).to_ne_bytes());
        put(9, 10, b"abcd\0\0\0\0");
        put(16, 7 | NESTED, &[]);
        put(12, 1 | NESTED, &[]);
        put(8, 1, &9u32.to_ne_bytes());
        assert_eq!(request.finish(), expected);
    }

    #[test]
    fn acknowledgements_errors_and_answers_are_told_apart() {
        let value = Request::new(0, 0, 0, 0).u32(1, 5).finish()[HEADER_BYTES..].to_vec();
        let mut datagram = answer(0x1c, 7, &value);
        datagram.extend(answer(KIND_ERROR, 7, &0i32.to_ne_bytes()));
        let found = replies(&datagram, 7);
        let [Reply::Answer(body), Reply::Acknowledged] = &found[..] else { panic!("{found:?}") };
        assert_eq!(attribute(body, 1), Some(&5u32.to_ne_bytes()[..]));
        let busy = answer(KIND_ERROR, 7, &(-16i32).to_ne_bytes());
        assert_eq!(replies(&busy, 7), [Reply::Refused(Errno::BUSY)]);
        assert_eq!(replies(&busy, 8), []);
    }

    #[test]
    fn replies_that_are_cut_short_at_any_byte_or_lie_about_their_length_are_left_out() {
        let whole = answer(KIND_ERROR, 7, &(-2i32).to_ne_bytes());
        for bytes in 0..whole.len() {
            assert_eq!(replies(&whole[..bytes], 7), [], "{bytes} bytes");
        }
        for length in [0, 1, 15, 17, 21, 1 << 20, u32::MAX] {
            let mut liar = whole.clone();
            liar[..4].copy_from_slice(&u32::to_ne_bytes(length));
            assert_eq!(replies(&liar, 7), [], "length {length}");
        }
        // Errors that are none.
        for odd in [i32::MIN, -4096, 1, i32::MAX] {
            let odd = answer(KIND_ERROR, 7, &odd.to_ne_bytes());
            assert_eq!(replies(&odd, 7), [Reply::Refused(Errno::PROTO)]);
        }
        let last = answer(KIND_ERROR, 7, &ERRNO_MIN.to_ne_bytes());
        assert!(matches!(replies(&last, 7)[..], [Reply::Refused(_)]));
        // A generic header that is missing.
        assert_eq!(replies(&answer(0x1c, 7, &[1, 2]), 7), []);
    }

    #[test]
    fn attributes_are_found_behind_others_and_hostile_lengths_end_the_search() {
        let bytes = Request::new(0, 0, 0, 0).text(2, "nbd").u32(3, 4).finish();
        let attributes = &bytes[HEADER_BYTES + GENERIC_BYTES..];
        assert_eq!(attribute(attributes, 3), Some(&4u32.to_ne_bytes()[..]));
        assert_eq!(attribute(attributes, 9), None);
        for cut in 0..attributes.len() {
            assert_eq!(attribute(&attributes[..cut], 3), None, "{cut} bytes");
        }
        // A length of less than its own header must not go on for ever.
        for length in [0u16, 3, 200] {
            let mut hostile = length.to_ne_bytes().to_vec();
            hostile.extend([2, 0, 0, 0, 0, 0]);
            assert_eq!(attribute(&hostile, 3), None, "length {length}");
        }
    }
}
