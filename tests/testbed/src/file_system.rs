//! A small file system that can be filled and frozen, mounted in a namespace of its own.

use crate::block_device::{LoopDevice, require_block_devices};
use crate::pair::sparse_file;
use crate::program::{Server, run, tied};
use crate::skips::require_tool;
use crate::wait::wait_until;
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest mkfs, mount or freeze.
const TOOL_MAX: Duration = Duration::from_secs(20);
/// The file that takes the space.
const BALLAST: &str = "ballast";

/// An ext4 on a loop device. It is unmounted when the value is dropped.
#[derive(Debug)]
pub struct SmallFileSystem {
    // In this order: the mount goes before its device.
    _holder: Server,
    _device: LoopDevice,
    /// The mount point, as everybody can open it.
    root: PathBuf,
}

impl SmallFileSystem {
    /// Makes one of `bytes` below `directory`; none, with a noted skip, when the machine cannot.
    ///
    /// # Panics
    /// When a tool fails.
    #[must_use]
    pub fn mount(directory: &Path, bytes: u64) -> Option<Self> {
        if !require_block_devices() {
            return None;
        }
        for tool in ["mkfs.ext4", "unshare", "fsfreeze"] {
            require_tool(tool)?;
        }
        let image = sparse_file(&directory.join("small"), bytes);
        run(tied("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image), TOOL_MAX)
            .expect_success("mkfs.ext4");
        let device = LoopDevice::attach(&image)?;
        let mount_point = directory.join("mnt");
        fs::create_dir(&mount_point).expect("the scratch directory is writable");
        let mut command = tied("unshare");
        let script = "mount \"$1\" \"$2\" && touch \"$2/mounted\" && exec sleep infinity";
        command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]);
        command.arg(device.path()).arg(&mount_point);
        let holder = Server::start(command, &directory.join("mount-log"));
        let seen_by_holder = format!("/proc/{}/root", holder.pid().as_raw_pid());
        let root = PathBuf::from(seen_by_holder + &mount_point.display().to_string());
        let file_system = Self { _holder: holder, _device: device, root };
        wait_until("the small file system is mounted", TOOL_MAX, || {
            file_system.file("mounted").exists()
        });
        Some(file_system)
    }

    /// A file in it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Takes all space but `left_bytes`.
    ///
    /// # Panics
    /// When it has less, or is full already.
    pub fn fill(&self, left_bytes: u64) {
        let found = statvfs(&self.root).expect("a mounted file system tells its size");
        let free_bytes = found.f_bavail * found.f_frsize;
        assert!(free_bytes > left_bytes, "only {free_bytes} bytes are free");
        let ballast = File::create(self.file(BALLAST)).expect("it is writable");
        fallocate(&ballast, FallocateFlags::empty(), 0, free_bytes - left_bytes)
            .expect("there is so much space");
    }

    /// Gives the space back.
    ///
    /// # Panics
    /// When it was not taken.
    pub fn free(&self) {
        fs::remove_file(self.file(BALLAST)).expect("it was filled");
    }

    /// Every write waits from now on, until the returned value is dropped.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[must_use]
    pub fn freeze(&self) -> Frozen<'_> {
        self.fsfreeze("--freeze");
        Frozen { file_system: self }
    }

    fn fsfreeze(&self, action: &str) {
        run(tied("fsfreeze").arg(action).arg(&self.root), TOOL_MAX).expect_success(action);
    }
}

/// A file system that stands still. It goes on when the value is dropped, also in a failed test:
/// what waits for it can neither be killed nor unmounted.
#[derive(Debug)]
pub struct Frozen<'a> {
    file_system: &'a SmallFileSystem,
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        run(tied("fsfreeze").arg("--unfreeze").arg(&self.file_system.root), TOOL_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use std::io::Write as _;

    #[test]
    fn a_full_one_takes_no_more_and_a_freed_one_does() {
        let scratch = Scratch::new();
        let Some(small) = SmallFileSystem::mount(scratch.path(), 16 << 20) else { return };
        let write = |name: &str| {
            let mut file = File::create(small.file(name)).unwrap();
            file.write_all(&[1; 1 << 20]).and_then(|()| file.sync_all())
        };
        write("before").unwrap();
        small.fill(64 << 10);
        let full = write("while it is full").unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        small.free();
        write("after").unwrap();
    }

    #[test]
    fn a_frozen_one_holds_writes_until_it_is_thawed() {
        let scratch = Scratch::new();
        let Some(small) = SmallFileSystem::mount(scratch.path(), 16 << 20) else { return };
        let frozen = small.freeze();
        let file = small.file("written");
        let thread = std::thread::spawn(move || fs::write(file, "x"));
        std::thread::sleep(Duration::from_millis(200));
        assert!(!thread.is_finished(), "a frozen file system took a write");
        drop(frozen);
        thread.join().unwrap().unwrap();
    }
}
