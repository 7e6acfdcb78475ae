//! The resume mark: a file in the run directory, which no reboot survives, that says that this node
//! was Primary when its daemon ended (G4).

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The file, whether it is there or not.
#[derive(Debug)]
pub(super) struct ResumeMark {
    path: PathBuf,
}

impl ResumeMark {
    /// The mark beside a resource's control socket.
    pub(super) fn beside(control_socket: &Path) -> Self {
        Self { path: control_socket.with_extension("resume") }
    }

    /// True when it is there.
    pub(super) fn is_present(&self) -> bool {
        self.path.exists()
    }

    /// Writes or removes it. What cannot be done is logged: without the mark a restart waits to be
    /// promoted; one that stays is refused by a peer that has been Primary since.
    pub(super) fn set(&self, present: bool) {
        if let Err(error) = self.try_set(present) {
            let what = if present { "written" } else { "removed" };
            tracing::error!(
                "the resume mark {} was not {what}: {error}; check the run directory",
                self.path.display()
            );
        }
    }

    fn try_set(&self, present: bool) -> io::Result<()> {
        if present {
            return File::create(&self.path).map(drop);
        }
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scratch_dir::ScratchDir;

    #[test]
    fn a_mark_is_there_from_when_it_is_set_until_it_is_taken_away() {
        let dir = ScratchDir::new("resume-mark");
        let mark = ResumeMark::beside(&dir.path().join("r0.control"));
        for present in [false, true, true, false] {
            mark.set(present);
            assert_eq!(mark.is_present(), present);
            assert_eq!(dir.path().join("r0.resume").exists(), present);
        }
    }
}
