//! The name of a resource as it is kept on the disk.

use std::fmt;

use thiserror::Error;

/// Longest resource name, in bytes.
pub const RESOURCE_NAME_BYTES_MAX: usize = 63;

/// Why a text is no resource name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NameError {
    /// No character at all, or more than fit.
    #[error(
        "a resource name has 1 to {RESOURCE_NAME_BYTES_MAX} bytes, this one has {bytes}; \
         choose another"
    )]
    Length {
        /// Bytes of the text.
        bytes: usize,
    },
    /// Not a printable ASCII character, or one that cannot be part of a file name.
    #[error("byte {byte:#04x} cannot be in a resource name; use letters, digits, '-', '_' and '.'")]
    Byte {
        /// The byte.
        byte: u8,
    },
}

/// A resource name. Invariant: 1 to 63 bytes of printable ASCII without blanks and slashes, since
/// sockets and links carry it in their names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceName(String);

impl ResourceName {
    /// The name, if it is one.
    ///
    /// # Errors
    /// [`NameError`] says what is wrong with it.
    pub fn new(name: &str) -> Result<Self, NameError> {
        if name.is_empty() || name.len() > RESOURCE_NAME_BYTES_MAX {
            return Err(NameError::Length { bytes: name.len() });
        }
        if let Some(byte) = name.bytes().find(|byte| !byte.is_ascii_graphic() || *byte == b'/') {
            return Err(NameError::Byte { byte });
        }
        Ok(Self(name.to_owned()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tag that `create-md` gives to all pages of a resource of this name: FNV-1a, 64 bits. It
    /// tells resources apart; it is no protection against malice.
    #[must_use]
    pub fn tag(&self) -> u64 {
        self.0.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }

    /// The name in a superblock: `bytes` of `field` count.
    pub(super) fn decode(
        bytes: u8,
        field: &[u8; RESOURCE_NAME_BYTES_MAX],
    ) -> Result<Self, NameError> {
        let bytes = usize::from(bytes);
        let name = field.get(..bytes).ok_or(NameError::Length { bytes })?;
        match std::str::from_utf8(name) {
            Ok(name) => Self::new(name),
            Err(error) => Err(NameError::Byte { byte: name[error.valid_up_to()] }),
        }
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_to_sixty_three_bytes_that_a_file_name_may_have() {
        assert!(ResourceName::new("postgres").is_ok());
        assert!(ResourceName::new(&"x".repeat(63)).is_ok());
        assert_eq!(ResourceName::new(&"x".repeat(64)), Err(NameError::Length { bytes: 64 }));
        assert_eq!(ResourceName::new(""), Err(NameError::Length { bytes: 0 }));
        assert_eq!(ResourceName::new("a/b"), Err(NameError::Byte { byte: b'/' }));
        assert_eq!(ResourceName::new("a b"), Err(NameError::Byte { byte: b' ' }));
    }

    #[test]
    fn a_field_that_is_no_text_is_refused_and_not_read_past_its_end() {
        let mut field = [b'a'; RESOURCE_NAME_BYTES_MAX];
        assert_eq!(ResourceName::decode(64, &field), Err(NameError::Length { bytes: 64 }));
        field[2] = 0xff;
        assert_eq!(ResourceName::decode(3, &field), Err(NameError::Byte { byte: 0xff }));
        assert_eq!(ResourceName::decode(2, &field), ResourceName::new("aa"));
    }

    #[test]
    fn the_tag_is_fnv_1a() {
        // Test vector of the FNV reference code for "foobar".
        let name = ResourceName::new("foobar").expect("a legal name");
        assert_eq!(name.tag(), 0x8594_4171_f739_67e8);
    }
}
