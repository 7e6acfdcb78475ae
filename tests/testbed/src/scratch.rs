//! A directory for one test, removed with everything in it when it is dropped.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Makes the names of one process differ.
static MADE: AtomicU32 = AtomicU32::new(0);

/// Environment variable that, when set, keeps the files of a failed test.
pub const KEEP_VARIABLE: &str = "BLKREP_TEST_KEEP";

/// The directory, of mode 0700, under the system's temporary directory.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes it.
    ///
    /// # Panics
    /// When the temporary directory cannot be written.
    #[must_use]
    pub fn new() -> Self {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        // Short: a Unix socket's path has room for 107 bytes.
        let name = format!("blkrep-bed-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // What a killed test with the same process id left.
        fs::remove_dir_all(&path).ok();
        fs::DirBuilder::new().mode(0o700).create(&path).unwrap_or_else(|error| {
            panic!("cannot make {}: {error}; set TMPDIR to a writable directory", path.display())
        });
        Self { path }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking() && std::env::var_os(KEEP_VARIABLE).is_some() {
            eprintln!("---- the files are kept in {}", self.path.display());
            return;
        }
        // Nobody is left to be told about a file that does not go.
        fs::remove_dir_all(&self.path).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_directories_differ_and_are_gone_afterwards() {
        let (first, second) = (Scratch::new(), Scratch::new());
        assert_ne!(first.path(), second.path());
        let path = first.path().to_owned();
        fs::write(path.join("file"), "x").unwrap();
        drop(first);
        assert!(!path.exists());
        assert!(second.path().is_dir());
    }
}
