//! Reading and writing the fields of a body: little endian, with every length checked.

use super::{Kind, TEXT_BYTES_MAX, WireError};
use metadata::units::{BLOCK_BYTES, BlockRange, ByteRange};

const _: () = assert!(TEXT_BYTES_MAX == u8::MAX as usize, "a string's length is one byte");

/// What is left to read of a body.
pub(super) struct BodyReader<'a> {
    kind: Kind,
    rest: &'a [u8],
}

impl<'a> BodyReader<'a> {
    pub(super) const fn new(kind: Kind, body: &'a [u8]) -> Self {
        Self { kind, rest: body }
    }

    /// Of which message.
    pub(super) const fn kind(&self) -> Kind {
        self.kind
    }

    /// An error about this message.
    pub(super) const fn malformed(&self, what: &'static str) -> WireError {
        WireError::Malformed { kind: self.kind, what }
    }

    pub(super) fn array<const BYTES: usize>(&mut self) -> Result<[u8; BYTES], WireError> {
        let (first, rest) =
            self.rest.split_first_chunk().ok_or(self.malformed("it ends too early"))?;
        self.rest = rest;
        Ok(*first)
    }

    pub(super) fn u8(&mut self) -> Result<u8, WireError> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_le_bytes)
    }

    /// One byte, 0 or 1.
    pub(super) fn flag(&mut self) -> Result<bool, WireError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.malformed("a yes-or-no field is neither")),
        }
    }

    /// One byte that stands for a value, by `from_code`; `what` tells which value is unknown.
    pub(super) fn code<T>(
        &mut self,
        from_code: fn(u8) -> Option<T>,
        what: &'static str,
    ) -> Result<T, WireError> {
        let code = self.u8()?;
        from_code(code).ok_or(self.malformed(what))
    }

    /// A string: its length in one byte, then UTF-8.
    pub(super) fn text(&mut self) -> Result<String, WireError> {
        let bytes = usize::from(self.u8()?);
        let (text, rest) =
            self.rest.split_at_checked(bytes).ok_or(self.malformed("it ends too early"))?;
        self.rest = rest;
        let text =
            std::str::from_utf8(text).map_err(|_| self.malformed("a string is not UTF-8"))?;
        Ok(text.to_owned())
    }

    /// Blocks of 4 KiB; whether they lie inside the device is for the engine to check.
    pub(super) fn blocks(&mut self) -> Result<BlockRange, WireError> {
        let (first, count) = (self.u64()?, self.u64()?);
        if count == 0 || first.checked_add(count).is_none_or(|end| end > u64::MAX / BLOCK_BYTES) {
            return Err(self.malformed("a run of blocks is empty or ends past the largest offset"));
        }
        Ok(BlockRange { first, count })
    }

    /// Start and length in bytes; not empty, at most `bytes_max` long, its end below 2^64.
    pub(super) fn range(&mut self, bytes_max: u64) -> Result<ByteRange, WireError> {
        let start = self.u64()?;
        let bytes = self.u64()?;
        if bytes == 0 {
            return Err(self.malformed("a range is empty"));
        }
        if bytes > bytes_max {
            return Err(self.malformed("a range is longer than one piece may be"));
        }
        if start.checked_add(bytes).is_none() {
            return Err(self.malformed("a range ends past the largest offset"));
        }
        Ok(ByteRange::new(start, bytes))
    }

    /// A range of exactly the `data_bytes` bytes of the payload.
    pub(super) fn data_range(&mut self, data_bytes: u32) -> Result<ByteRange, WireError> {
        let range = self.range(u64::from(data_bytes))?;
        if range.bytes() != u64::from(data_bytes) {
            return Err(self.malformed("range and payload differ in length"));
        }
        Ok(range)
    }

    /// Everything that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// The body must end here.
    pub(super) const fn finish(&self) -> Result<(), WireError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.malformed("bytes are left over")) }
    }
}

/// The end of a frame under construction.
pub(super) struct BodyWriter<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> BodyWriter<'a> {
    pub(super) const fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.out.push(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_le_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_le_bytes());
    }

    pub(super) fn flag(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    /// A name. The configuration's check has limited its length.
    pub(super) fn name(&mut self, name: &str) {
        let bytes = u8::try_from(name.len()).expect("invariant: a name is at most 255 bytes long");
        self.u8(bytes);
        self.bytes(name.as_bytes());
    }

    /// Words for an operator. They may quote names of any length, so they are cut and never a
    /// reason to panic.
    pub(super) fn explanation(&mut self, text: &str) {
        let mut bytes = text.len().min(TEXT_BYTES_MAX);
        while !text.is_char_boundary(bytes) {
            bytes -= 1;
        }
        self.name(&text[..bytes]);
    }

    /// Start and length in bytes, the length at most `bytes_max`.
    pub(super) fn range(&mut self, range: ByteRange, bytes_max: u64) {
        assert!(range.bytes() <= bytes_max, "invariant: a range on the wire is at most one piece");
        self.u64(range.start());
        self.u64(range.bytes());
    }

    /// A range of exactly the `data_bytes` bytes of the payload.
    pub(super) fn data_range(&mut self, range: ByteRange, data_bytes: u32) {
        assert!(
            range.bytes() == u64::from(data_bytes),
            "invariant: a payload is as long as the range that it belongs to"
        );
        self.range(range, u64::from(data_bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(body: &[u8]) -> BodyReader<'_> {
        BodyReader::new(Kind::Bye, body)
    }

    fn words(start: u64, bytes: u64) -> Vec<u8> {
        [start.to_le_bytes(), bytes.to_le_bytes()].concat()
    }

    #[test]
    fn empty_overlong_and_overflowing_ranges_are_refused() {
        assert!(reader(&words(0, 0)).range(8).is_err());
        assert!(reader(&words(0, 9)).range(8).is_err());
        assert!(reader(&words(u64::MAX - 7, 8)).range(8).is_err());
        let last = reader(&words(u64::MAX - 8, 8)).range(8);
        assert_eq!(last, Ok(ByteRange::new(u64::MAX - 8, 8)));
    }

    #[test]
    fn a_range_must_be_as_long_as_its_payload() {
        assert!(reader(&words(0, 4095)).data_range(4096).is_err());
        assert!(reader(&words(0, 4097)).data_range(4096).is_err());
        assert_eq!(reader(&words(0, 4096)).data_range(4096), Ok(ByteRange::new(0, 4096)));
    }

    #[test]
    fn a_flag_is_zero_or_one() {
        assert_eq!(reader(&[0]).flag(), Ok(false));
        assert_eq!(reader(&[1]).flag(), Ok(true));
        assert!(reader(&[2]).flag().is_err());
    }

    #[test]
    fn strings_end_inside_the_body_and_are_utf8() {
        assert_eq!(reader(b"\x02ab").text().as_deref(), Ok("ab"));
        assert_eq!(reader(b"\x00").text().as_deref(), Ok(""));
        assert!(reader(b"\x03ab").text().is_err());
        assert!(reader(b"\x02\xc3\x28").text().is_err());
        assert!(reader(b"").text().is_err());
    }

    #[test]
    fn a_field_past_the_end_is_an_error_and_takes_nothing() {
        let mut short = reader(&[1, 2, 3]);
        assert!(short.u32().is_err());
        assert_eq!(short.u16(), Ok(0x0201));
        assert!(short.finish().is_err());
        assert_eq!(short.u8(), Ok(3));
        assert_eq!(short.finish(), Ok(()));
    }

    #[test]
    fn a_long_explanation_is_cut_between_characters() {
        // Two bytes a character: the limit of 255 falls into the middle of one.
        let text = "\u{e4}".repeat(200);
        let mut out = Vec::new();
        BodyWriter::new(&mut out).explanation(&text);
        assert_eq!(reader(&out).text().as_deref(), Ok(&text[..254]));
    }
}
