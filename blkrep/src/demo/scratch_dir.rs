//! A directory for one test or one demo, removed with everything in it when it is dropped.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The directory. Removed on drop unless [`ScratchDir::keep`] was called.
#[derive(Debug)]
pub struct ScratchDir {
    path: PathBuf,
    keep: bool,
}

impl ScratchDir {
    /// Makes a directory of mode 0700 with a fresh name under the system's temporary directory.
    ///
    /// # Errors
    /// The temporary directory cannot be written.
    pub fn create(prefix: &str) -> io::Result<Self> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
        let name = format!("{prefix}-{:016x}", u64::from_le_bytes(random));
        let path = std::env::temp_dir().join(name);
        std::os::unix::fs::DirBuilderExt::mode(&mut fs::DirBuilder::new(), 0o700).create(&path)?;
        Ok(Self { path, keep: false })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// For tests: as [`ScratchDir::create`].
    #[cfg(test)]
    pub(crate) fn new(prefix: &str) -> Self {
        Self::create(&format!("blkrep-test-{prefix}")).expect("a test needs a temporary directory")
    }

    /// Uses `path`, made if need be, and leaves it there.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn keep(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        Ok(Self { path: fs::canonicalize(path)?, keep: true })
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        if !self.keep {
            // Nothing can be done about a file that does not go, and nobody is left to be told.
            fs::remove_dir_all(&self.path).ok();
        }
    }
}
