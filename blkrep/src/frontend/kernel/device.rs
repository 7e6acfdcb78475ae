//! One `/dev/nbdN` as the kernel shows it in files: who connected it, its size, its queue, and
//! whether it can be opened.

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Sectors of /sys/block have this many bytes, whatever those of the device have.
const SYS_SECTOR_BYTES: u64 = 512;

/// Where the kernel's files are; tests have their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Roots {
    /// /dev
    pub(crate) dev: PathBuf,
    /// /sys/block
    pub(crate) block: PathBuf,
    /// /proc
    pub(crate) proc: PathBuf,
}

impl Roots {
    /// Those of this machine.
    pub(crate) fn of_this_machine() -> Self {
        Self { dev: "/dev".into(), block: "/sys/block".into(), proc: "/proc".into() }
    }
}

/// Who has a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Connection {
    /// The kernel has no device of this number.
    Absent,
    /// Nobody.
    Free,
    /// It is connected, or was and is still open.
    Connected {
        /// Who did it: the process may be gone.
        pid: Option<u32>,
        /// The cookie; none when whoever connected it gave none, or the kernel keeps none.
        cookie: Option<String>,
    },
}

/// A device.
#[derive(Debug, Clone)]
pub(crate) struct Device {
    /// The files.
    pub(crate) roots: Roots,
    /// N.
    pub(crate) index: u32,
}

impl Device {
    /// Its name in /dev and /sys/block.
    pub(crate) fn name(&self) -> String {
        format!("nbd{}", self.index)
    }

    /// Its file.
    pub(crate) fn path(&self) -> PathBuf {
        self.roots.dev.join(self.name())
    }

    /// Who has it.
    ///
    /// # Errors
    /// The kernel's files cannot be read.
    pub(crate) fn connection(&self) -> io::Result<Connection> {
        let directory = self.sys();
        if !directory.exists() {
            return Ok(Connection::Absent);
        }
        let Some(pid) = read_if_there(&directory.join("pid"))? else {
            return Ok(Connection::Free);
        };
        let cookie = read_if_there(&directory.join("backend"))?;
        let cookie = cookie.filter(|cookie| !cookie.is_empty());
        Ok(Connection::Connected { pid: pid.parse().ok(), cookie })
    }

    /// True when this kernel keeps cookies; known of a connected device only.
    pub(crate) fn keeps_cookies(&self) -> bool {
        self.sys().join("backend").exists()
    }

    /// Its size in bytes.
    ///
    /// # Errors
    /// The kernel does not say.
    pub(crate) fn size_bytes(&self) -> io::Result<u64> {
        let text = fs::read_to_string(self.sys().join("size"))?;
        let sectors: u64 = text.trim().parse().map_err(io::Error::other)?;
        Ok(sectors.saturating_mul(SYS_SECTOR_BYTES))
    }

    /// Sets one of the parameters of its queue.
    ///
    /// # Errors
    /// The kernel does not know it, or not this value.
    pub(crate) fn set_queue(&self, parameter: &str, value: &str) -> io::Result<()> {
        fs::write(self.sys().join("queue").join(parameter), value)
    }

    /// Opens it so that nobody mounts it or takes it otherwise as long as the descriptor lives.
    ///
    /// # Errors
    /// [`Errno::BUSY`] when it is mounted, or taken in another such way.
    pub(crate) fn open_exclusively(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::EXCL | OFlags::CLOEXEC;
        open(self.path(), flags, Mode::empty())
    }

    /// Names under which it and its partitions are known: nbd0, nbd0p1.
    pub(crate) fn names(&self) -> Vec<String> {
        let own = self.name();
        let parts = format!("{own}p");
        let entries = fs::read_dir(self.sys()).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let partitions = names.filter(|name| name.starts_with(&parts));
        std::iter::once(own.clone()).chain(partitions).collect()
    }

    /// The number of the device or partition `name`, as MAJOR:MINOR.
    pub(crate) fn number(&self, name: &str) -> Option<String> {
        let own = self.name();
        let directory = if name == own { self.sys() } else { self.sys().join(name) };
        read_if_there(&directory.join("dev")).ok().flatten()
    }

    /// What is stacked on it (device mapper, md).
    pub(crate) fn stacked(&self) -> Vec<String> {
        let entries = fs::read_dir(self.sys().join("holders")).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    fn sys(&self) -> PathBuf {
        self.roots.block.join(self.name())
    }
}

/// The content of a file without its last newline; none when there is no such file.
fn read_if_there(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim_end().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // A device that was disconnected between the opening and the reading.
        Err(error) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::demo::scratch_dir::ScratchDir;

    /// A device nbd3 in files below `dir`.
    pub(in super::super) fn fake(dir: &ScratchDir, files: &[(&str, &str)]) -> Device {
        let root = dir.path();
        let roots =
            Roots { dev: root.join("dev"), block: root.join("block"), proc: root.join("proc") };
        fs::create_dir_all(&roots.dev).unwrap();
        for (path, content) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        Device { roots, index: 3 }
    }

    #[test]
    fn absent_free_and_connected_devices_are_told_apart() {
        let dir = ScratchDir::new("nbd-connection");
        let device = fake(&dir, &[]);
        assert_eq!(device.connection().unwrap(), Connection::Absent);
        let device = fake(&dir, &[("block/nbd3/size", "0\n")]);
        assert_eq!(device.connection().unwrap(), Connection::Free);
        assert!(!device.keeps_cookies());
        let device = fake(&dir, &[("block/nbd3/pid", "4711\n"), ("block/nbd3/backend", "\n")]);
        let nameless = Connection::Connected { pid: Some(4711), cookie: None };
        assert_eq!(device.connection().unwrap(), nameless);
        let device = fake(&dir, &[("block/nbd3/backend", "blkrep:r0@a:b:p\n")]);
        let cookie = Some("blkrep:r0@a:b:p".to_owned());
        let named = Connection::Connected { pid: Some(4711), cookie };
        assert_eq!(device.connection().unwrap(), named);
        assert!(device.keeps_cookies());
    }

    #[test]
    fn size_names_and_numbers_are_those_of_sysfs() {
        let dir = ScratchDir::new("nbd-size");
        let files = [
            ("block/nbd3/size", "2048\n"),
            ("block/nbd3/dev", "43:96\n"),
            ("block/nbd3/nbd3p1/dev", "43:97\n"),
            ("block/nbd3/queue/scheduler", "[mq-deadline] none\n"),
            ("block/nbd3/holders/dm-0", ""),
        ];
        let device = fake(&dir, &files);
        assert_eq!(device.size_bytes().unwrap(), 1 << 20);
        assert_eq!(device.names(), ["nbd3", "nbd3p1"]);
        assert_eq!(device.number("nbd3").as_deref(), Some("43:96"));
        assert_eq!(device.number("nbd3p1").as_deref(), Some("43:97"));
        assert_eq!(device.stacked(), ["dm-0"]);
        device.set_queue("scheduler", "none").unwrap();
        assert_eq!(fs::read(dir.path().join("block/nbd3/queue/scheduler")).unwrap(), b"none");
        fs::write(dir.path().join("block/nbd3/size"), "many\n").unwrap();
        assert!(device.size_bytes().is_err());
    }
}
