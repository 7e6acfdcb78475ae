//! The exclusive lock on a disk, and who holds it when it is not ours (rule D15).

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use std::fmt;
use std::os::fd::OwnedFd;

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockHolder {
    /// A process.
    Process {
        /// Its number.
        pid: u32,
        /// Its name; empty when it has just ended.
        name: String,
    },
    /// No process that can be seen: I/O of one that was killed may still be under way.
    Unknown,
    /// The file system does not lock.
    Impossible(Errno),
}

impl fmt::Display for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { pid, name } => write!(f, "process {pid} ({name})"),
            Self::Unknown => f.write_str("nobody that can be seen (I/O of an ended process?)"),
            Self::Impossible(errno) => write!(f, "nothing, but cannot be locked ({errno})"),
        }
    }
}

/// Locks the open file; the lock lasts until the last descriptor and the last I/O of it are gone.
///
/// # Errors
/// Who holds it.
pub(crate) fn lock(fd: &OwnedFd) -> Result<(), LockHolder> {
    try_lock(fd, FlockOperation::NonBlockingLockExclusive)
}

/// Locks the open file against writers; others may read it at the same time.
///
/// # Errors
/// The writer that holds it.
pub(crate) fn lock_to_read(fd: &OwnedFd) -> Result<(), LockHolder> {
    try_lock(fd, FlockOperation::NonBlockingLockShared)
}

fn try_lock(fd: &OwnedFd, operation: FlockOperation) -> Result<(), LockHolder> {
    match rustix::fs::flock(fd, operation) {
        Ok(()) => Ok(()),
        Err(Errno::AGAIN) => Err(holder(fd)),
        Err(errno) => Err(LockHolder::Impossible(errno)),
    }
}

/// Who holds the lock on the open file, as far as can be seen from here. Takes nothing, so that it
/// is in nobody's way.
pub(crate) fn holder(fd: &OwnedFd) -> LockHolder {
    let Ok(stat) = rustix::fs::fstat(fd) else { return LockHolder::Unknown };
    let (major, minor) = (rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev));
    let file = format!("{major:02x}:{minor:02x}:{}", stat.st_ino);
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    match find_pid(&locks, &file) {
        Some(pid) => {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            LockHolder::Process { pid, name: name.trim().to_owned() }
        }
        None => LockHolder::Unknown,
    }
}

/// Finds the process in lines like `1: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF`
/// (proc_locks(5)).
fn find_pid(locks: &str, file: &str) -> Option<u32> {
    locks.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let is_flock = words.next() == Some("FLOCK");
        let pid = words.nth(2)?;
        (is_flock && words.next() == Some(file)).then(|| pid.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_found_by_device_and_inode() {
        let locks = "1: POSIX  ADVISORY  WRITE 11 fe:00:5 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 22 fe:01:5 0 EOF\n\
                     3: -> FLOCK  ADVISORY  WRITE 44 fe:00:5 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 33 fe:00:5 0 EOF\n";
        assert_eq!(find_pid(locks, "fe:00:5"), Some(33));
        assert_eq!(find_pid(locks, "fe:00:6"), None);
    }
}
