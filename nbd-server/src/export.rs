//! What is offered to clients: one export, its limits and the flags that follow from it.

use crate::handshake_outcome::Negotiated;
use crate::proto::{self, BLOCK_BYTES_MIN_LIMIT, BLOCK_BYTES_PREFERRED_FLOOR, STRING_BYTES_MAX};

/// Minimum block size of [`Export::new`] in bytes: the sector that every client can keep to.
pub const BLOCK_BYTES_MIN_DEFAULT: u32 = 512;
/// Preferred block size of [`Export::new`] in bytes: one bit of the bitmap (rule D7).
pub const BLOCK_BYTES_PREFERRED_DEFAULT: u32 = 4096;
/// Maximum payload of [`Export::new`] in bytes: what proto.md "Size constraints" lets every client
/// assume.
pub const PAYLOAD_BYTES_MAX_DEFAULT: u32 = 32 * 1024 * 1024;
/// The largest maximum payload that can be offered, in bytes. It leaves room for the offset that
/// precedes the data in the 32-bit length of a structured reply.
pub const PAYLOAD_BYTES_LIMIT: u32 = 1024 * 1024 * 1024;

/// The device as it is offered to clients.
///
/// The fields are plain data; [`Export::check`] says whether they may be advertised. FLUSH, FUA,
/// WRITE_ZEROES and CACHE are always offered, read-only never: a node that must not write refuses
/// the export instead ([`Availability::Refused`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// The canonical name, as shown by LIST. The empty name asks for this export as well.
    pub name: String,
    /// Text for a human, shown by LIST and on request by INFO and GO; may be empty.
    pub description: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Every offset and length is a multiple of this; a power of two.
    pub block_bytes_min: u32,
    /// Requests that are multiples of this are efficient; a power of two.
    pub block_bytes_preferred: u32,
    /// The longest payload of a read or a write in bytes. TRIM, WRITE_ZEROES and CACHE carry no
    /// payload and may be longer.
    pub payload_bytes_max: u32,
    /// Whether a flush on one connection covers what was answered on every other.
    pub can_multi_conn: bool,
    /// Whether TRIM is offered.
    pub trim: bool,
    /// Whether FAST_ZERO is offered; then a slow zero request with the flag gets ENOTSUP.
    pub fast_zero: bool,
}

impl Export {
    /// An export with the default limits and without the optional features.
    pub fn new(name: impl Into<String>, size_bytes: u64) -> Export {
        Export {
            name: name.into(),
            description: String::new(),
            size_bytes,
            block_bytes_min: BLOCK_BYTES_MIN_DEFAULT,
            block_bytes_preferred: BLOCK_BYTES_PREFERRED_DEFAULT,
            payload_bytes_max: PAYLOAD_BYTES_MAX_DEFAULT,
            can_multi_conn: false,
            trim: false,
            fast_zero: false,
        }
    }

    /// Checks the fields against proto.md ("Conventions" and "Size constraints").
    ///
    /// To be called once, before the export is offered.
    ///
    /// # Errors
    /// The first rule that is broken, with the value that breaks it.
    pub fn check(&self) -> Result<(), ExportError> {
        for (field, text) in [("name", &self.name), ("description", &self.description)] {
            if text.len() > STRING_BYTES_MAX || text.contains('\0') {
                return Err(ExportError::Text { field });
            }
        }
        if i64::try_from(self.size_bytes).is_err() {
            return Err(ExportError::Size { size_bytes: self.size_bytes });
        }
        let block_bytes_min = self.block_bytes_min;
        if !block_bytes_min.is_power_of_two() || block_bytes_min > BLOCK_BYTES_MIN_LIMIT {
            return Err(ExportError::BlockMin { block_bytes_min });
        }
        let floor_bytes = block_bytes_min.max(BLOCK_BYTES_PREFERRED_FLOOR);
        let block_bytes_preferred = self.block_bytes_preferred;
        if !block_bytes_preferred.is_power_of_two() || block_bytes_preferred < floor_bytes {
            return Err(ExportError::BlockPreferred { block_bytes_preferred, floor_bytes });
        }
        let payload_bytes_max = self.payload_bytes_max;
        if !(block_bytes_preferred..=PAYLOAD_BYTES_LIMIT).contains(&payload_bytes_max) {
            return Err(ExportError::Payload { payload_bytes_max, block_bytes_preferred });
        }
        Ok(())
    }

    /// The transmission flags, which promise only what [`crate::validate`] lets through.
    pub fn transmission_flags(&self, negotiated: Negotiated) -> u16 {
        let always = proto::FLAG_HAS_FLAGS
            | proto::FLAG_SEND_FLUSH
            | proto::FLAG_SEND_FUA
            | proto::FLAG_SEND_WRITE_ZEROES
            | proto::FLAG_SEND_CACHE;
        let optional = [
            (self.trim, proto::FLAG_SEND_TRIM),
            (self.fast_zero, proto::FLAG_SEND_FAST_ZERO),
            (self.can_multi_conn, proto::FLAG_CAN_MULTI_CONN),
            (negotiated.structured_replies(), proto::FLAG_SEND_DF),
        ];
        optional.iter().filter(|(offered, _)| *offered).fold(always, |flags, (_, bit)| flags | bit)
    }
}

/// Why an export cannot be advertised. Each text names the value and what it must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// A string is longer than the protocol allows, or has a NUL in it.
    #[error("the export's {field} must be at most 4096 bytes and without NUL; shorten it")]
    Text {
        /// Which string.
        field: &'static str,
    },
    /// The size cannot be an offset in a file.
    #[error("a size of {size_bytes} bytes is beyond 2^63-1; use a smaller device")]
    Size {
        /// The size in bytes.
        size_bytes: u64,
    },
    /// The minimum block size is not allowed.
    #[error(
        "a minimum block of {block_bytes_min} bytes is not possible; use a power of two up to 65536"
    )]
    BlockMin {
        /// The minimum block size in bytes.
        block_bytes_min: u32,
    },
    /// The preferred block size is not allowed.
    #[error(
        "a preferred block of {block_bytes_preferred} bytes is not possible; \
         use a power of two from {floor_bytes} up"
    )]
    BlockPreferred {
        /// The preferred block size in bytes.
        block_bytes_preferred: u32,
        /// The smallest that is allowed, in bytes.
        floor_bytes: u32,
    },
    /// The maximum payload is not allowed.
    #[error(
        "a maximum payload of {payload_bytes_max} bytes is not possible; \
         use {block_bytes_preferred} bytes to 1 GiB"
    )]
    Payload {
        /// The maximum payload in bytes.
        payload_bytes_max: u32,
        /// The preferred block size in bytes, which is the smallest payload allowed.
        block_bytes_preferred: u32,
    },
}

/// Whether this node serves its device now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Availability {
    /// Clients may use the export.
    Served(Export),
    /// The export exists and is not served here now, for example because the node is Secondary.
    Refused {
        /// The canonical name, which LIST shows all the same.
        name: String,
        /// The cause and the next step, for the user of the client.
        message: String,
    },
}

impl Availability {
    /// The canonical name of the export.
    pub fn name(&self) -> &str {
        match self {
            Availability::Served(export) => &export.name,
            Availability::Refused { name, message: _ } => name,
        }
    }

    /// The description that LIST shows beside the name; a refused export has none.
    pub fn description(&self) -> &str {
        match self {
            Availability::Served(export) => &export.description,
            Availability::Refused { .. } => "",
        }
    }

    /// Whether a client that asks for `wanted` means this export. The empty name is the default
    /// export, which is this one (proto.md "Option types", `NBD_OPT_EXPORT_NAME`).
    pub fn answers_to(&self, wanted: &str) -> bool {
        wanted.is_empty() || wanted == self.name()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIMPLE: Negotiated = Negotiated::Simple;
    const STRUCTURED: Negotiated = Negotiated::Structured { block_status: false };

    #[test]
    fn the_default_export_may_be_advertised() {
        assert_eq!(Export::new("postgres", 1 << 30).check(), Ok(()));
        assert_eq!(Export::new("empty", 0).check(), Ok(()));
    }

    #[test]
    fn a_plain_export_offers_exactly_what_is_always_served() {
        let export = Export::new("r0", 4096);
        assert_eq!(export.transmission_flags(SIMPLE), 0b0100_0100_1101);
    }

    #[test]
    fn each_optional_feature_sets_its_own_flag_and_no_other() {
        let plain = Export::new("r0", 4096);
        let base = plain.transmission_flags(SIMPLE);
        let trim = Export { trim: true, ..plain.clone() };
        let fast = Export { fast_zero: true, ..plain.clone() };
        let multi = Export { can_multi_conn: true, ..plain.clone() };
        assert_eq!(trim.transmission_flags(SIMPLE) ^ base, 1 << 5);
        assert_eq!(fast.transmission_flags(SIMPLE) ^ base, 1 << 11);
        assert_eq!(multi.transmission_flags(SIMPLE) ^ base, 1 << 8);
        assert_eq!(plain.transmission_flags(STRUCTURED) ^ base, 1 << 7);
    }

    #[test]
    fn limits_that_the_protocol_forbids_are_refused() {
        let good = Export::new("r0", 4096);
        for block_bytes_min in [0, 3, 131_072] {
            let bad = Export { block_bytes_min, ..good.clone() };
            assert_eq!(bad.check(), Err(ExportError::BlockMin { block_bytes_min }));
        }
        for (block_bytes_min, block_bytes_preferred, floor_bytes) in
            [(1, 256, 512), (4096, 512, 4096), (512, 5000, 512), (512, 0, 512)]
        {
            let bad = Export { block_bytes_min, block_bytes_preferred, ..good.clone() };
            let error = ExportError::BlockPreferred { block_bytes_preferred, floor_bytes };
            assert_eq!(bad.check(), Err(error));
        }
        for payload_bytes_max in [0, 4095, PAYLOAD_BYTES_LIMIT + 1, u32::MAX] {
            let bad = Export { payload_bytes_max, ..good.clone() };
            let error = ExportError::Payload { payload_bytes_max, block_bytes_preferred: 4096 };
            assert_eq!(bad.check(), Err(error));
        }
        let size_bytes = 1 << 63;
        let bad = Export { size_bytes, ..good };
        assert_eq!(bad.check(), Err(ExportError::Size { size_bytes }));
    }

    #[test]
    fn a_text_that_is_too_long_or_has_a_nul_is_refused() {
        let long = Export::new("x".repeat(STRING_BYTES_MAX + 1), 4096);
        assert_eq!(long.check(), Err(ExportError::Text { field: "name" }));
        let nul = Export { description: "a\0b".to_owned(), ..Export::new("r0", 4096) };
        assert_eq!(nul.check(), Err(ExportError::Text { field: "description" }));
        assert_eq!(Export::new("x".repeat(STRING_BYTES_MAX), 4096).check(), Ok(()));
    }

    #[test]
    fn the_empty_name_and_the_own_name_mean_the_export_and_others_do_not() {
        let served = Availability::Served(Export::new("r0", 4096));
        let refused =
            Availability::Refused { name: "r0".to_owned(), message: "Secondary".to_owned() };
        for availability in [served, refused] {
            assert!(availability.answers_to(""));
            assert!(availability.answers_to("r0"));
            assert!(!availability.answers_to("r"));
            assert!(!availability.answers_to("r00"));
        }
    }
}
