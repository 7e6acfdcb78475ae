//! The block device that a helper has made, as the kernel shows it in files.

use rustix::fs::{major, minor};
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// Sectors of /sys have this many bytes, whatever those of the device have.
const SYS_SECTOR_BYTES: u64 = 512;

/// The device that a helper's last line names.
///
/// # Errors
/// It names none, in words.
pub(super) fn named(line: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(line.trim());
    if !path.is_absolute() {
        let shown = if line.trim().is_empty() { "nothing" } else { line.trim() };
        return Err(format!("its last line is to be the path of a block device, and is {shown}"));
    }
    match fs::metadata(&path) {
        Ok(found) if found.file_type().is_block_device() => Ok(path),
        Ok(_) => Err(format!("{} is no block device", path.display())),
        Err(error) => Err(format!("{} cannot be looked at: {error}", path.display())),
    }
}

/// Its size in bytes. Nothing is read from the device: its server may be dead.
///
/// # Errors
/// It is no block device any more, or the kernel does not say.
pub(super) fn size_bytes(device: &Path) -> io::Result<u64> {
    let number = fs::metadata(device)?.rdev();
    let file = format!("/sys/dev/block/{}:{}/size", major(number), minor(number));
    let sectors: u64 = fs::read_to_string(file)?.trim().parse().map_err(io::Error::other)?;
    Ok(sectors.saturating_mul(SYS_SECTOR_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_block_device_is_told_apart() {
        for (line, said) in [
            ("", "and is nothing"),
            ("  \n", "and is nothing"),
            ("loop3", "and is loop3"),
            ("/dev/null\n", "/dev/null is no block device"),
            ("/nowhere/loop3", "/nowhere/loop3 cannot be looked at"),
        ] {
            let error = named(line).unwrap_err();
            assert!(error.contains(said), "{line}: {error}");
        }
        assert!(size_bytes(Path::new("/nowhere/loop3")).is_err());
    }
}
