//! Where the disk of a replica was known to end (rule D20). Internal metadata lie at the end, so
//! after the disk has grown they are found by this alone.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

/// Ends that are kept; one move knows two.
const ENDS_MAX: usize = 4;

/// The file with the sizes in bytes, one a line, the newest last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskEnds {
    path: PathBuf,
}

impl DiskEnds {
    /// The file at `path`; it need not exist.
    #[must_use]
    pub const fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// The sizes in bytes. A file that is missing or not readable knows nothing: then the present
    /// end alone is looked at.
    #[must_use]
    pub fn known(&self) -> Vec<u64> {
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        text.lines().filter_map(|line| line.trim().parse().ok()).collect()
    }

    /// Knows only this size from now on: the metadata were found there.
    ///
    /// # Errors
    /// What the system says; the sizes known before are kept then.
    pub fn keep_only(&self, device_bytes: u64) -> io::Result<()> {
        if self.known() == [device_bytes] {
            return Ok(());
        }
        self.store(&[device_bytes])
    }

    /// Knows this size as well: the metadata may move there.
    ///
    /// # Errors
    /// What the system says; without this the metadata must not move.
    pub fn add(&self, device_bytes: u64) -> io::Result<()> {
        let mut ends = self.known();
        if ends.contains(&device_bytes) {
            return Ok(());
        }
        ends.push(device_bytes);
        let first = ends.len().saturating_sub(ENDS_MAX);
        self.store(&ends[first..])
    }

    /// Durable before it returns, and never half written.
    fn store(&self, ends: &[u64]) -> io::Result<()> {
        let directory = self.path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        fs::create_dir_all(directory)?;
        let text: String = ends.iter().map(|end| format!("{end}\n")).collect();
        let new = self.path.with_extension("ends.new");
        let mut file = fs::File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        fs::File::open(directory)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scratch_dir::ScratchDir;

    #[test]
    fn ends_are_added_and_forgotten_and_survive_nonsense_in_the_file() {
        let dir = ScratchDir::new("disk-ends");
        let path = dir.path().join("state/r0.alice.ends");
        let ends = DiskEnds::at(path.clone());
        assert_eq!(ends.known(), Vec::<u64>::new());
        ends.keep_only(4096).unwrap();
        ends.add(8192).unwrap();
        ends.add(8192).unwrap();
        assert_eq!(ends.known(), [4096, 8192]);
        ends.keep_only(8192).unwrap();
        assert_eq!(ends.known(), [8192]);
        fs::write(&path, "nonsense\n12\n-3\n").unwrap();
        assert_eq!(ends.known(), [12]);
    }
}
