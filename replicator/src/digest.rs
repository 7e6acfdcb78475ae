//! The strong digest by which a resync finds blocks that are equal already, and a verify those
//! that are not.

/// Bytes of a digest: SHA-256.
pub const DIGEST_BYTES: usize = 32;

/// SHA-256 of a range's bytes. Equality skips the copying, so a checksum that can collide by
/// chance is not enough.
pub type Digest = [u8; DIGEST_BYTES];

/// What is known of a range after it was read for comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digested {
    /// crc32c of the bytes, for the case that they are sent (D11).
    pub crc32c: u32,
    /// SHA-256 of the same bytes.
    pub digest: Digest,
}
