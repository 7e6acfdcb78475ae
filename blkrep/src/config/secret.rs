//! Reads the shared secret with which the two nodes prove themselves to each other.

use super::error::{ConfigError, SecretProblem};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Fewest bytes of a secret: 16 random ones cannot be guessed, and a handshake that is overheard
/// lets an attacker try words at leisure.
pub(crate) const SECRET_BYTES_MIN: usize = 16;
/// Most bytes of a secret; more is the wrong file.
const SECRET_BYTES_MAX: usize = 512;
/// Permission bit "others may read".
const MODE_OTHERS_READ: u32 = 0o004;

/// The secret in `file`, without its trailing newline.
///
/// # Errors
/// Unreadable, readable by every user, or of a length that cannot be meant.
pub(super) fn read_secret(file: &Path) -> Result<Vec<u8>, ConfigError> {
    read(file).map_err(|problem| ConfigError::Secret { file: file.to_owned(), problem })
}

fn read(file: &Path) -> Result<Vec<u8>, SecretProblem> {
    let opened = File::open(file)?;
    let metadata = opened.metadata()?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & MODE_OTHERS_READ != 0 {
        return Err(SecretProblem::WorldReadable { mode });
    }
    let mut secret = Vec::new();
    // One byte more than allowed (and a newline) tells "too long" without reading a whole disk.
    read_at_most(opened, &mut secret, SECRET_BYTES_MAX + 2)?;
    if secret.last() == Some(&b'\n') {
        secret.pop();
        if secret.last() == Some(&b'\r') {
            secret.pop();
        }
    }
    if !(SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&secret.len()) {
        let (bytes, min, max) = (secret.len(), SECRET_BYTES_MIN, SECRET_BYTES_MAX);
        return Err(SecretProblem::Length { bytes, min, max });
    }
    Ok(secret)
}

fn read_at_most(file: File, into: &mut Vec<u8>, bytes: usize) -> io::Result<()> {
    file.take(bytes as u64).read_to_end(into).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scratch_dir::ScratchDir;
    use std::fs::{self, Permissions};

    fn secret(content: &[u8], mode: u32) -> Result<Vec<u8>, ConfigError> {
        let dir = ScratchDir::new("secret");
        let file = dir.path().join("secret");
        fs::write(&file, content).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        read_secret(&file)
    }

    #[test]
    fn the_trailing_newline_is_no_part_of_the_secret() {
        assert_eq!(secret(b"0123456789abcdef\n", 0o600).unwrap(), b"0123456789abcdef");
        assert_eq!(secret(b"0123456789abcdef\r\n", 0o640).unwrap(), b"0123456789abcdef");
        assert_eq!(secret(b"0123456789abcdef\n\n", 0o600).unwrap(), b"0123456789abcdef\n");
    }

    #[test]
    fn a_secret_that_every_user_can_read_is_refused() {
        let message = secret(b"0123456789abcdef\n", 0o644).unwrap_err().to_string();
        assert!(
            message.contains("mode 0644 lets every user read it; run 'chmod 600'"),
            "{message}"
        );
    }

    #[test]
    fn a_secret_is_neither_short_nor_endless() {
        assert!(secret(b"0123456789abcde\n", 0o600).is_err());
        assert_eq!(secret(&[b'x'; 512], 0o600).unwrap().len(), 512);
        let message = secret(&[b'x'; 4096], 0o600).unwrap_err().to_string();
        assert!(message.contains("16 to 512 are expected"), "{message}");
    }

    #[test]
    fn a_missing_secret_names_the_file_and_what_to_create() {
        let message = read_secret(Path::new("/nonexistent/secret")).unwrap_err().to_string();
        assert!(message.contains("/nonexistent/secret"), "{message}");
        assert!(message.contains("create it on both nodes"), "{message}");
    }
}
