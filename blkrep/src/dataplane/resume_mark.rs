//! The resume mark: a file in the run directory, which no reboot survives, that says that this node
//! was Primary when its daemon ended (G4).
//!
//! The daemon goes by it, and whoever stops a resource whose daemon is dead takes it away; then the
//! other node may be promoted. So both do that under one lock: either the mark is gone before a
//! starting daemon looks, or whoever stops finds a daemon that lives and must be asked. The lock is
//! on a file of its own that is never removed: a lock on a name that comes and goes excludes
//! nobody.

use super::disk_lock::{LockHolder, holder, lock};
use replicator::event::ResumeMark as Change;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The lock beside the mark was not got.
#[derive(Debug, thiserror::Error)]
pub enum MarkError {
    /// Somebody has it.
    #[error(
        "{} is locked by {holder}: the resource is being started, stopped or served by it; wait for \
         that, and try again",
        path.display()
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Who has it.
        holder: LockHolder,
    },
    /// There is no such file and it cannot be made.
    #[error("cannot open {}: {source}; check the run directory", path.display())]
    Open {
        /// The lock file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// Bytes of a promotion's name, half of its hexadecimal digits.
const PROMOTION_BYTES: usize = 16;

/// The file, whether it is there or not, and the lock on it: nobody else reads, writes or removes
/// it as long as this lives. Its content is the name of the promotion, drawn when that was (rule
/// D16): the kernel's device is known by it.
#[derive(Debug)]
pub struct ResumeMark {
    path: PathBuf,
    _lock: OwnedFd,
}

impl ResumeMark {
    /// Takes the lock on the mark beside a resource's control socket.
    ///
    /// # Errors
    /// Who has it. Never waits.
    pub fn take(control_socket: &Path) -> Result<Self, MarkError> {
        let path = control_socket.with_extension("lock");
        let opened = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
        let file = match opened {
            Ok(file) => OwnedFd::from(file),
            Err(source) => return Err(MarkError::Open { path, source }),
        };
        match lock(&file) {
            Ok(()) => Ok(Self { path: control_socket.with_extension("resume"), _lock: file }),
            Err(holder) => Err(MarkError::Locked { path, holder }),
        }
    }

    /// The process that has the lock, without touching it: who only looks must not keep a daemon
    /// from starting. None when there is none that can be seen.
    pub(crate) fn holder(control_socket: &Path) -> Option<u32> {
        let file = fs::File::open(control_socket.with_extension("lock")).ok()?;
        match holder(&OwnedFd::from(file)) {
            LockHolder::Process { pid, name: _ } => Some(pid),
            LockHolder::Unknown | LockHolder::Impossible(_) => None,
        }
    }

    /// True when the mark is there, whoever has the lock.
    pub(crate) fn is_beside(control_socket: &Path) -> bool {
        control_socket.with_extension("resume").exists()
    }

    /// True when it is there.
    pub(super) fn is_present(&self) -> bool {
        self.path.exists()
    }

    /// The promotion that it names; none when there is no mark, or one that names none.
    pub(crate) fn promotion(&self) -> Option<String> {
        let text = fs::read_to_string(&self.path).ok()?;
        let name = text.trim();
        let is_name =
            name.len() == 2 * PROMOTION_BYTES && name.chars().all(|c| c.is_ascii_hexdigit());
        is_name.then(|| name.to_owned())
    }

    /// Writes or removes it; the promotion that holds from now on. What cannot be done is logged:
    /// without the mark a restart waits to be promoted; one that stays is refused by a peer that
    /// has been Primary since.
    pub(super) fn set(&self, change: Change) -> Option<String> {
        let kept = match change {
            Change::Kept => self.promotion(),
            Change::New | Change::Void => None,
        };
        let (what, result, promotion) = match (change, kept) {
            (Change::Void, _) => ("removed", self.remove(), None),
            (_, Some(promotion)) => return Some(promotion),
            (_, None) => {
                let promotion = draw();
                ("written", self.write(promotion.as_deref().unwrap_or_default()), promotion)
            }
        };
        if let Err(error) = result {
            tracing::error!(
                "the resume mark {} was not {what}: {error}; check the run directory",
                self.path.display()
            );
        }
        promotion
    }

    /// At no moment is there half of a name.
    fn write(&self, promotion: &str) -> io::Result<()> {
        let fresh = self.path.with_extension("resume.new");
        fs::write(&fresh, format!("{promotion}\n"))?;
        fs::rename(&fresh, &self.path)
    }

    /// Takes it away, if it is there: whoever becomes Primary next is promoted.
    ///
    /// # Errors
    /// It is still there.
    pub(crate) fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// A name that no other promotion has; none when the system has no random numbers, and then no
/// device can be told from one of an earlier promotion.
fn draw() -> Option<String> {
    let mut bytes = [0; PROMOTION_BYTES];
    match getrandom::fill(&mut bytes) {
        Ok(()) => Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
        Err(error) => {
            tracing::error!("no random numbers: {error}; the kernel's device is not attached");
            None
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
        let mark = ResumeMark::take(&dir.path().join("r0.control")).unwrap();
        for change in [Change::Void, Change::New, Change::New, Change::Kept, Change::Void] {
            mark.set(change);
            let present = change != Change::Void;
            assert_eq!(mark.is_present(), present);
            assert_eq!(dir.path().join("r0.resume").exists(), present);
        }
    }

    #[test]
    fn every_promotion_has_a_name_of_its_own_that_a_resume_keeps() {
        let dir = ScratchDir::new("resume-name");
        let mark = ResumeMark::take(&dir.path().join("r0.control")).unwrap();
        assert_eq!(mark.promotion(), None);
        let first = mark.set(Change::New).unwrap();
        assert_eq!(mark.promotion(), Some(first.clone()));
        assert_eq!(mark.set(Change::Kept), Some(first.clone()));
        let second = mark.set(Change::New).unwrap();
        assert_ne!(second, first);
        assert_eq!(mark.set(Change::Void), None);
        assert_eq!(mark.promotion(), None);
        // A mark that names nothing, as an older release wrote it: nothing is known by it.
        for text in ["", "short\n", &"g".repeat(32)] {
            fs::write(mark.path(), text).unwrap();
            assert!(mark.is_present());
            assert_eq!(mark.promotion(), None, "{text}");
        }
        let third = mark.set(Change::Kept).unwrap();
        assert_eq!(mark.promotion(), Some(third));
    }

    #[test]
    fn one_at_a_time_has_it_and_it_outlives_nobody() {
        let dir = ScratchDir::new("resume-lock");
        let socket = dir.path().join("r0.control");
        let first = ResumeMark::take(&socket).unwrap();
        first.set(Change::New);
        let refused = ResumeMark::take(&socket).unwrap_err().to_string();
        let me = std::process::id().to_string();
        assert!(refused.contains(&format!("locked by process {me} ")), "{refused}");
        ResumeMark::take(&dir.path().join("r1.control")).expect("another resource has its own");
        // The mark's own coming and going frees nothing.
        first.set(Change::Void);
        ResumeMark::take(&socket).unwrap_err();
        drop(first);
        ResumeMark::take(&socket).unwrap();
    }
}
