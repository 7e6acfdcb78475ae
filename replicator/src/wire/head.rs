//! The 24 bytes before every message: kinds, lengths, and what is checked before allocating.

use super::{BODY_BYTES_MAX, HEADER_BYTES, WireError, body, handshake, verify};
use crate::message::{Message, PROOF_BYTES};
use crate::settings::{PIECE_BYTES_MAX, SYNC_PIECE_BYTES_MAX};

/// "BKRP", as it stands in the stream.
const MAGIC: [u8; 4] = *b"BKRP";
/// Bytes of the head that its checksum covers: all but the checksum.
const CHECKED_BYTES: usize = HEADER_BYTES - 4;

const KIND_AT: usize = 4;
const FLAGS_AT: usize = 5;
const RESERVED_AT: usize = 6;
const BODY_BYTES_AT: usize = 8;
const DATA_BYTES_AT: usize = 12;
const DATA_CRC_AT: usize = 16;
const HEADER_CRC_AT: usize = 20;
const _: () = assert!(HEADER_CRC_AT == CHECKED_BYTES);

/// Lengths that a kind of message can have, in bytes.
struct Limits {
    body_min: u32,
    body_max: u32,
    /// Zero: this kind carries no payload; else its payload has at least one byte.
    data_max: u32,
}

/// One table for everything that differs between kinds: number, shortest and longest body, longest
/// payload.
macro_rules! kinds {
    ($(
        $name:ident = $code:literal, body $body_min:expr, $body_max:expr, data $data_max:expr;
    )+) => {
        /// Kinds of messages, by their number on the wire. A number is never used again for
        /// something else.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Kind {
            $(
                #[doc = concat!("[`Message::", stringify!($name), "`].")]
                $name = $code,
            )+
        }

        impl Kind {
            /// All kinds.
            #[cfg(test)]
            pub(super) const ALL: &[Self] = &[$(Self::$name),+];

            /// The kind of `message`.
            #[must_use]
            pub const fn of(message: &Message) -> Self {
                match message { $(Message::$name { .. } => Self::$name),+ }
            }

            const fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)+
                    _ => None,
                }
            }

            const fn limits(self) -> Limits {
                match self {
                    $(Self::$name => Limits {
                        body_min: $body_min as u32,
                        body_max: $body_max as u32,
                        data_max: $data_max,
                    },)+
                }
            }
        }
    };
}

kinds! {
    Hello = 1, body handshake::HELLO_BYTES_MIN, handshake::HELLO_BYTES_MAX, data 0;
    Proof = 2, body PROOF_BYTES, PROOF_BYTES, data 0;
    Parameters = 3, body handshake::PARAMETERS_BYTES, handshake::PARAMETERS_BYTES, data 0;
    Data = 4, body handshake::DATA_BYTES, handshake::DATA_BYTES, data 0;
    Refuse = 5, body handshake::REFUSE_BYTES_MIN, handshake::REFUSE_BYTES_MAX, data 0;
    Bitmap = 6, body body::BITMAP_FIXED_BYTES, BODY_BYTES_MAX, data 0;
    SyncStart = 7, body 8, 8, data 0;
    SyncStarted = 8, body 0, 0, data 0;
    State = 9, body 2, 2, data 0;
    PromoteAsk = 10, body 0, 0, data 0;
    PromoteAnswer = 11, body 1, body::PROMOTE_ANSWER_BYTES_MAX, data 0;
    Write = 12, body body::WRITE_BYTES, body::WRITE_BYTES, data PIECE_BYTES_MAX;
    Zero = 13, body body::ZERO_BYTES, body::ZERO_BYTES, data 0;
    WriteDone = 14, body 8, 8, data 0;
    Flush = 15, body 8, 8, data 0;
    FlushDone = 16, body 8, 8, data 0;
    PairDone = 17, body 8, 8, data 0;
    SyncRequest = 18, body body::SYNC_REQUEST_BYTES, body::SYNC_REQUEST_BYTES, data 0;
    SyncData = 19, body body::SYNC_DATA_BYTES, body::SYNC_DATA_BYTES, data SYNC_PIECE_BYTES_MAX;
    SyncUnreadable = 20, body 8, 8, data 0;
    SyncWritten = 21, body 8, 8, data 0;
    SyncNoneLeft = 22, body 0, 0, data 0;
    SyncNotYet = 23, body 0, 0, data 0;
    SyncGrant = 24, body body::GENERATIONS_BYTES, body::GENERATIONS_BYTES, data 0;
    SyncConfirm = 25, body 0, 0, data 0;
    Ping = 26, body 8, 8, data 0;
    Pong = 27, body 8, 8, data 0;
    Bye = 28, body 0, 0, data 0;
    OutOfSync = 29, body 16, 16, data 0;
    TakeOver = 30, body 8, 8, data 0;
    TookOver = 31, body 8, 8, data 0;
    Read = 32, body body::SYNC_RANGE_BYTES, body::SYNC_RANGE_BYTES, data 0;
    ReadData = 33, body body::SYNC_RANGE_BYTES, body::SYNC_RANGE_BYTES, data SYNC_PIECE_BYTES_MAX;
    ReadFailed = 34, body 8, 8, data 0;
    WriteFailed = 35, body 8, 8, data 0;
    SyncCompare = 40, body body::SYNC_COMPARE_BYTES, body::SYNC_COMPARE_BYTES, data 0;
    SyncEqual = 41, body 10, 10, data 0;
    SyncPause = 42, body 1, 1, data 0;
    SyncIncomplete = 43, body 8, 8, data 0;
    InvalidateOffer = 44, body 0, 0, data 0;
    InvalidateAsk = 45, body 0, 0, data 0;
    SyncAsk = 46, body 1, body::PROMOTE_ANSWER_BYTES_MAX, data 0;
    NewGeneration = 47, body 8, 8, data 0;
    NewGenerationDone = 49, body 0, 0, data 0;
    Durable = 48, body 16, 16, data 0;
    Outdate = 52, body 0, 0, data 0;
    ResizeAsk = 53, body 0, 0, data 0;
    ResizeRoom = 54, body body::RESIZE_ROOM_BYTES_MIN, body::RESIZE_ROOM_BYTES_MAX, data 0;
    ResizePrepare = 55, body body::RESIZE_PREPARE_BYTES, body::RESIZE_PREPARE_BYTES, data 0;
    ResizePrepared = 56, body 0, 0, data 0;
    ResizeCommit = 57, body 0, 0, data 0;
    ResizeCommitted = 58, body 0, 0, data 0;
    ResizeEnd = 59, body 1, 1, data 0;
    VerifyAsk = 60, body verify::ASK_BYTES, verify::ASK_BYTES, data 0;
    VerifyBegin = 61, body verify::BEGIN_BYTES, verify::BEGIN_BYTES, data 0;
    VerifyAnswer = 62, body 1, body::PROMOTE_ANSWER_BYTES_MAX, data 0;
    VerifyRead = 63, body verify::READ_BYTES, verify::READ_BYTES, data 0;
    VerifyDigests = 64, body verify::DIGESTS_BYTES_MIN, verify::DIGESTS_BYTES_MAX, data 0;
    VerifyUnreadable = 65, body 8, 8, data 0;
    VerifyDiffers = 66, body verify::DIFFERS_BYTES, verify::DIFFERS_BYTES, data 0;
    VerifyEnd = 67, body verify::END_BYTES_MIN, verify::END_BYTES_MAX, data 0;
    VerifyEnded = 68, body 0, 0, data 0;
    RepairOffer = 69, body 0, 0, data 0;
    RepairAsk = 70, body 0, 0, data 0;
}

impl Kind {
    /// True when every message of this kind is followed by a payload; false when none is.
    #[must_use]
    pub const fn carries_data(self) -> bool {
        self.limits().data_max > 0
    }

    /// The lengths, in bytes, are possible for this kind of message.
    fn check_lengths(self, body_bytes: u32, data_bytes: u32) -> Result<(), WireError> {
        let limits = self.limits();
        if body_bytes < limits.body_min || body_bytes > limits.body_max {
            return Err(WireError::Length { kind: self, bytes: body_bytes });
        }
        if data_bytes > limits.data_max || (data_bytes == 0) == self.carries_data() {
            return Err(WireError::Length { kind: self, bytes: data_bytes });
        }
        Ok(())
    }
}

/// What the head of a frame says. Invariant: the lengths are within the limits of the kind. Nothing
/// else of it is certain before [`super::decode_body`] has checked the checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    /// Which message.
    pub kind: Kind,
    /// Length of the body, in bytes; at most [`BODY_BYTES_MAX`].
    pub body_bytes: u32,
    /// Length of the payload, in bytes; zero for kinds without one, at most [`PIECE_BYTES_MAX`].
    pub data_bytes: u32,
    /// crc32c of the payload as taken by the sender's front end (rule D11); zero without one.
    pub data_crc32c: u32,
    header_crc32c: u32,
}

impl FrameHead {
    /// Head and body are as they were sent, and the unused places of the head are empty.
    pub(super) fn check(
        &self,
        head_bytes: &[u8; HEADER_BYTES],
        body: &[u8],
    ) -> Result<(), WireError> {
        if checksum(&head_bytes[..CHECKED_BYTES], body) != self.header_crc32c {
            return Err(WireError::Checksum);
        }
        if head_bytes[FLAGS_AT..BODY_BYTES_AT] != [0; BODY_BYTES_AT - FLAGS_AT] {
            return Err(WireError::Malformed {
                kind: self.kind,
                what: "flags that this version does not know",
            });
        }
        if !self.kind.carries_data() && self.data_crc32c != 0 {
            return Err(WireError::Malformed {
                kind: self.kind,
                what: "a payload checksum without a payload",
            });
        }
        Ok(())
    }
}

/// Reads the head of a frame and checks the lengths in it, before anything is allocated for body
/// and payload.
///
/// # Errors
/// [`WireError::NotOurs`], [`WireError::UnknownKind`] or [`WireError::Length`]. The checksum also
/// covers the body and is checked by [`super::decode_body`].
pub fn decode_head(bytes: &[u8; HEADER_BYTES]) -> Result<FrameHead, WireError> {
    if bytes[..KIND_AT] != MAGIC {
        return Err(WireError::NotOurs { magic: u32_at(bytes, 0) });
    }
    let code = bytes[KIND_AT];
    let kind = Kind::from_code(code).ok_or(WireError::UnknownKind { kind: code })?;
    let head = FrameHead {
        kind,
        body_bytes: u32_at(bytes, BODY_BYTES_AT),
        data_bytes: u32_at(bytes, DATA_BYTES_AT),
        data_crc32c: u32_at(bytes, DATA_CRC_AT),
        header_crc32c: u32_at(bytes, HEADER_CRC_AT),
    };
    kind.check_lengths(head.body_bytes, head.data_bytes)?;
    Ok(head)
}

/// Writes the head of `frame`, in which the body already stands behind the head's place. Lengths in
/// bytes.
pub(super) fn fill(kind: Kind, data_bytes: u32, data_crc32c: u32, frame: &mut [u8]) {
    let (head, body) = frame.split_at_mut(HEADER_BYTES);
    let body_bytes = u32::try_from(body.len()).expect("invariant: a body is at most 32 KiB");
    assert!(
        kind.check_lengths(body_bytes, data_bytes).is_ok(),
        "invariant: {kind:?} can have {body_bytes} bytes of body and {data_bytes} of payload"
    );
    head[..KIND_AT].copy_from_slice(&MAGIC);
    head[KIND_AT] = kind as u8;
    head[FLAGS_AT] = 0;
    head[RESERVED_AT..BODY_BYTES_AT].copy_from_slice(&0_u16.to_le_bytes());
    head[BODY_BYTES_AT..DATA_BYTES_AT].copy_from_slice(&body_bytes.to_le_bytes());
    head[DATA_BYTES_AT..DATA_CRC_AT].copy_from_slice(&data_bytes.to_le_bytes());
    head[DATA_CRC_AT..HEADER_CRC_AT].copy_from_slice(&data_crc32c.to_le_bytes());
    let sum = checksum(&head[..CHECKED_BYTES], body);
    head[HEADER_CRC_AT..].copy_from_slice(&sum.to_le_bytes());
}

fn checksum(checked: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(checked), body)
}

fn u32_at(bytes: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(kind: u8, body_bytes: u32, data_bytes: u32) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(b"BKRP");
        bytes[4] = kind;
        bytes[8..12].copy_from_slice(&body_bytes.to_le_bytes());
        bytes[12..16].copy_from_slice(&data_bytes.to_le_bytes());
        bytes
    }

    #[test]
    fn every_kind_comes_back_from_its_number_and_no_other_number_is_a_kind() {
        let mut known = 0;
        for code in 0..=u8::MAX {
            match decode_head(&head(code, u32::MAX, 0)) {
                Err(WireError::Length { kind, .. }) => {
                    assert_eq!(kind as u8, code);
                    known += 1;
                }
                other => assert_eq!(other, Err(WireError::UnknownKind { kind: code })),
            }
        }
        assert_eq!(known, Kind::ALL.len());
    }

    #[test]
    fn lengths_just_inside_the_limits_pass_and_just_outside_are_refused() {
        for &kind in Kind::ALL {
            let code = kind as u8;
            let limits = kind.limits();
            let data_min = u32::from(kind.carries_data());
            for body_bytes in [limits.body_min, limits.body_max] {
                for data_bytes in [data_min, limits.data_max] {
                    let decoded = decode_head(&head(code, body_bytes, data_bytes)).unwrap();
                    assert_eq!((decoded.body_bytes, decoded.data_bytes), (body_bytes, data_bytes));
                }
            }
            let long = Err(WireError::Length { kind, bytes: limits.body_max + 1 });
            assert_eq!(decode_head(&head(code, limits.body_max + 1, data_min)), long);
            let heavy = Err(WireError::Length { kind, bytes: limits.data_max + 1 });
            assert_eq!(decode_head(&head(code, limits.body_min, limits.data_max + 1)), heavy);
            if limits.body_min > 0 {
                let short = Err(WireError::Length { kind, bytes: limits.body_min - 1 });
                assert_eq!(decode_head(&head(code, limits.body_min - 1, data_min)), short);
            }
            if kind.carries_data() {
                let bare = Err(WireError::Length { kind, bytes: 0 });
                assert_eq!(decode_head(&head(code, limits.body_min, 0)), bare);
            }
        }
    }

    #[test]
    fn no_kind_allows_more_than_the_published_limits() {
        for &kind in Kind::ALL {
            let limits = kind.limits();
            assert!(limits.body_max <= BODY_BYTES_MAX, "{kind:?}");
            assert!(limits.data_max <= PIECE_BYTES_MAX, "{kind:?}");
        }
        assert_eq!(Kind::SyncData.limits().data_max, SYNC_PIECE_BYTES_MAX);
    }

    #[test]
    fn a_stream_of_something_else_is_not_ours() {
        let http = *b"GET / HTTP/1.1\r\nHost: a\r";
        assert_eq!(decode_head(&http), Err(WireError::NotOurs { magic: 0x2054_4547 }));
    }
}
