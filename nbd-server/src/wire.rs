//! Big-endian fields taken from the front of a byte slice.
//!
//! Every number on an NBD connection is in network byte order (proto.md, "Conventions"). Each
//! function moves the slice past the field, or returns `None` and leaves the slice as it was.

pub(crate) fn take_u16(bytes: &mut &[u8]) -> Option<u16> {
    take_array(bytes).map(u16::from_be_bytes)
}

pub(crate) fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    take_array(bytes).map(u32::from_be_bytes)
}

pub(crate) fn take_u64(bytes: &mut &[u8]) -> Option<u64> {
    take_array(bytes).map(u64::from_be_bytes)
}

/// Takes `len` bytes; a length from the wire that is longer than the slice is `None`.
pub(crate) fn take_bytes<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (field, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(field)
}

fn take_array<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (field, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_taken_in_order_and_big_endian() {
        let mut bytes: &[u8] = &[1, 2, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0xaa, 0xbb];
        assert_eq!(take_u16(&mut bytes), Some(0x0102));
        assert_eq!(take_u32(&mut bytes), Some(0x0100));
        assert_eq!(take_u64(&mut bytes), Some(9));
        assert_eq!(take_bytes(&mut bytes, 2), Some(&[0xaa, 0xbb][..]));
        assert!(bytes.is_empty());
    }

    #[test]
    fn a_field_that_is_cut_short_is_none_and_takes_nothing() {
        let mut bytes: &[u8] = &[1];
        assert_eq!(take_u16(&mut bytes), None);
        assert_eq!(take_u32(&mut bytes), None);
        assert_eq!(take_u64(&mut bytes), None);
        assert_eq!(take_bytes(&mut bytes, 2), None);
        assert_eq!(bytes, [1]);
    }
}
