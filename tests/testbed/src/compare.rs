//! Compares two replicas byte for byte.

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// The first byte at which two files differ within their first `length_bytes`; none: they are
/// equal. Holes that both have are zeroes and are not read.
///
/// # Errors
/// One of them cannot be read, or is shorter.
pub fn first_difference(first: &Path, second: &Path, length_bytes: u64) -> io::Result<Option<u64>> {
    let (first, second) = (File::open(first)?, File::open(second)?);
    for file in [&first, &second] {
        // A device says 0 and is read to its end below.
        let found = file.metadata()?;
        if found.is_file() && found.len() < length_bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let (mut left, mut right) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
    let mut at = 0;
    loop {
        at = next_data(&first, at)?.min(next_data(&second, at)?);
        if at >= length_bytes {
            return Ok(None);
        }
        let bytes = usize::try_from(length_bytes - at).map_or(CHUNK_BYTES, |n| n.min(CHUNK_BYTES));
        first.read_exact_at(&mut left[..bytes], at)?;
        second.read_exact_at(&mut right[..bytes], at)?;
        if left[..bytes] != right[..bytes] {
            let unlike = (0..bytes).find(|&byte| left[byte] != right[byte]);
            return Ok(unlike.map(|byte| at + byte as u64));
        }
        at += bytes as u64;
    }
}

/// Where the next data begin, from `at` on; [`u64::MAX`]: there are none. What knows no holes is
/// all data.
fn next_data(file: &File, at: u64) -> io::Result<u64> {
    match seek(file, SeekFrom::Data(at)) {
        Ok(found) => Ok(found),
        Err(Errno::NXIO) => Ok(u64::MAX),
        Err(Errno::INVAL) => Ok(at),
        Err(errno) => Err(errno.into()),
    }
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
    fn a_byte_behind_a_hole_of_either_file_is_found_and_a_zero_equals_a_hole() {
        let dir = Scratch::new();
        let (first, second) = (dir.path().join("a"), dir.path().join("b"));
        let length = 64 * CHUNK_BYTES as u64;
        for path in [&first, &second] {
            File::create(path).unwrap().set_len(length).unwrap();
        }
        let at = 33 * CHUNK_BYTES as u64 + 77;
        for path in [&first, &second] {
            let file = File::options().write(true).open(path).unwrap();
            file.write_all_at(&[0; 8], at).unwrap();
            assert_eq!(first_difference(&first, &second, length).unwrap(), None);
            file.write_all_at(&[1], at).unwrap();
            assert_eq!(first_difference(&first, &second, length).unwrap(), Some(at));
            file.write_all_at(&[0], at).unwrap();
        }
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
