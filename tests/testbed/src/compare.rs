//! Compares two replicas byte for byte.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// The first byte at which two files differ within their first `length_bytes`; none: they are
/// equal.
///
/// # Errors
/// One of them cannot be read, or is shorter.
pub fn first_difference(first: &Path, second: &Path, length_bytes: u64) -> io::Result<Option<u64>> {
    let (first, second) = (File::open(first)?, File::open(second)?);
    let (mut left, mut right) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
    let mut at = 0;
    while at < length_bytes {
        let bytes = usize::try_from(length_bytes - at).map_or(CHUNK_BYTES, |n| n.min(CHUNK_BYTES));
        first.read_exact_at(&mut left[..bytes], at)?;
        second.read_exact_at(&mut right[..bytes], at)?;
        if left[..bytes] != right[..bytes] {
            let unlike = (0..bytes).find(|&byte| left[byte] != right[byte]);
            return Ok(unlike.map(|byte| at + byte as u64));
        }
        at += bytes as u64;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use std::fs;

    #[test]
    fn the_first_byte_that_differs_is_found_and_what_lies_behind_the_length_is_not() {
        let dir = Scratch::new();
        let (first, second) = (dir.path().join("a"), dir.path().join("b"));
        let mut bytes = vec![7; CHUNK_BYTES + 5000];
        fs::write(&first, &bytes).unwrap();
        bytes[CHUNK_BYTES + 10] = 8;
        bytes[CHUNK_BYTES + 20] = 8;
        fs::write(&second, &bytes).unwrap();
        let at = CHUNK_BYTES as u64 + 10;
        assert_eq!(first_difference(&first, &second, at).unwrap(), None);
        assert_eq!(first_difference(&first, &second, at + 1).unwrap(), Some(at));
        assert_eq!(first_difference(&first, &second, bytes.len() as u64).unwrap(), Some(at));
    }

    #[test]
    fn a_file_that_is_too_short_is_an_error_and_not_equal() {
        let dir = Scratch::new();
        let (first, second) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&first, [0; 100]).unwrap();
        fs::write(&second, [0; 99]).unwrap();
        assert!(first_difference(&first, &second, 100).is_err());
    }
}
