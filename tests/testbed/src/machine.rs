//! What runs on a device, as a machine of its own: an export under a loop device, a file system on
//! it, programs that use it, and a switch that ends all of them at once.
//!
//! A mount and a process namespace hold everything: no other test's namespace copies these mounts
//! and keeps the device busy, and nothing outlives the first process. XFS refuses to mount one
//! UUID twice on one kernel, so a machine that is switched off waits until its device is free.

use crate::block_device::require_block_devices;
use crate::program::{Output, Server, run, tied};
use crate::skips::{find_tool, require_tool, skip};
use crate::wait::wait_until;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Longest mkfs, mount with recovery, or check of a small file system on a busy machine.
const TOOL_MAX: Duration = Duration::from_secs(60);
/// Longest wait for namespaces, nbdfuse, and the kernel's tidying up.
const SETTLE_MAX: Duration = Duration::from_secs(30);
/// Makes the places, then lives until the machine is switched off.
const BOOT: &str = "mount -t tmpfs tmpfs /mnt && mkdir /mnt/data /mnt/run && touch /mnt/device \
                    && chmod 755 /mnt && touch /mnt/booted && exec sleep infinity";
/// The export as a file, inside.
const EXPORT: &str = "/mnt/device";
/// The mount point, inside.
pub const DATA: &str = "/mnt/data";
/// A directory that the file system does not hold, inside: for sockets.
pub const RUN: &str = "/mnt/run";

/// A kind of file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystem {
    /// XFS; at least 300 MiB.
    Xfs,
    /// ext4.
    Ext4,
}

impl FileSystem {
    const fn maker(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Xfs => ("mkfs.xfs", &["-q", "-f"]),
            Self::Ext4 => ("mkfs.ext4", &["-q", "-F"]),
        }
    }

    /// Finds faults and mends none.
    const fn checker(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Xfs => ("xfs_repair", &["-n"]),
            Self::Ext4 => ("e2fsck", &["-f", "-n"]),
        }
    }
}

/// A machine. Dropping it switches it off.
#[derive(Debug)]
pub struct Machine {
    /// None once it is off.
    holder: Option<Server>,
    fuse: Option<Server>,
    loop_device: Option<PathBuf>,
    log: PathBuf,
    file_system: FileSystem,
}

/// True when the machine under test can have machines with this file system; else notes the skip.
#[must_use]
pub fn require_machines(file_system: FileSystem) -> bool {
    let tools = ["unshare", "nsenter", "losetup", file_system.maker().0, file_system.checker().0];
    if !require_block_devices() || !tools.iter().all(|tool| require_tool(tool).is_some()) {
        return false;
    }
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let name = file_system.maker().0.trim_start_matches("mkfs.");
    let has = known.split_whitespace().any(|word| word == name) || find_tool("modprobe").is_some();
    if !has {
        skip(&format!("this kernel has no {name}"));
    }
    has
}

impl Machine {
    /// Switches one on; its programs' outputs go to the file `log`.
    ///
    /// # Panics
    /// When the namespaces cannot be made.
    #[must_use]
    pub fn boot(file_system: FileSystem, log: &Path) -> Self {
        let mut command = tied("unshare");
        command.args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]);
        command.args(["sh", "-c", BOOT]);
        let holder = Server::start(command, log);
        let booted = inside(&holder, "/mnt/booted");
        wait_until("the machine is on", SETTLE_MAX, || booted.exists());
        let log = log.to_owned();
        Self { holder: Some(holder), fuse: None, loop_device: None, log, file_system }
    }

    fn holder(&self) -> &Server {
        self.holder.as_ref().expect("invariant: only switching off takes the holder")
    }

    /// A path inside, as everybody can open it.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        inside(self.holder(), path)
    }

    /// A command that runs inside.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let of_holder = format!("/proc/{}/ns", self.holder().pid().as_raw_pid());
        let mut command = tied("nsenter");
        command.arg(format!("--mount={of_holder}/mnt"));
        command.arg(format!("--pid={of_holder}/pid_for_children"));
        command.arg("--").arg(program);
        command
    }

    /// Runs a program inside, to its end.
    ///
    /// # Panics
    /// When it does not end within a minute.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Output {
        run(self.command(program).args(arguments), TOOL_MAX)
    }

    fn must(&self, program: &str, arguments: &[&str]) -> String {
        self.run(program, arguments).expect_success(program).stdout
    }

    /// Starts a server inside; its outputs go to the machine's log.
    pub fn serve(&self, command: Command) -> Server {
        Server::start(command, &self.log)
    }

    /// Everything that the programs inside have printed.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Attaches the export at `uri` as a block device.
    ///
    /// # Panics
    /// When it does not become one.
    pub fn attach(&mut self, uri: &str) {
        let mut command = self.command("nbdfuse");
        command.args([EXPORT, uri]);
        self.fuse = Some(self.serve(command));
        let file = self.path(EXPORT);
        wait_until(&format!("{uri} is a file"), SETTLE_MAX, || {
            let ended = self.fuse.as_mut().and_then(Server::ended);
            assert!(ended.is_none(), "nbdfuse of {uri} ended: {ended:?}\n{}", self.log());
            fs::metadata(&file).is_ok_and(|found| found.len() > 0)
        });
        let loop_arguments =
            ["--find", "--show", "--direct-io=on", "--sector-size", "4096", EXPORT];
        let device = self.must("losetup", &loop_arguments);
        self.loop_device = Some(PathBuf::from(device.trim()));
    }

    fn device(&self) -> &str {
        let device = self.loop_device.as_deref().and_then(Path::to_str);
        device.expect("invariant: an export is attached, and loop devices have plain names")
    }

    /// Makes a fresh file system on the device. Begins, as mkfs does, with a trim of all of it.
    ///
    /// # Panics
    /// When mkfs fails.
    pub fn make_file_system(&self) {
        let (maker, arguments) = self.file_system.maker();
        self.must(maker, &[arguments, &[self.device()]].concat());
    }

    /// Mounts it at [`DATA`]; a file system that was not left cleanly recovers its log.
    ///
    /// # Panics
    /// When it does not.
    pub fn mount(&self) {
        self.must("mount", &[self.device(), DATA]);
    }

    /// Unmounts it, as it must be before it can be checked.
    ///
    /// # Panics
    /// When somebody still uses it.
    pub fn unmount(&self) {
        self.must("umount", &[DATA]);
    }

    /// Looks at the unmounted file system for faults.
    ///
    /// # Panics
    /// When there are any.
    pub fn check_file_system(&self) {
        let (checker, arguments) = self.file_system.checker();
        self.must(checker, &[arguments, &[self.device()]].concat());
    }

    /// Gives the device back in order.
    ///
    /// # Panics
    /// When the kernel does not let it go.
    pub fn detach(&mut self) {
        self.must("losetup", &["--detach", self.device()]);
        self.wait_for_free_device();
        self.must("fusermount3", &["-u", EXPORT]);
        if let Some(mut fuse) = self.fuse.take() {
            fuse.wait_end(SETTLE_MAX);
        }
    }

    /// Ends everything inside at once, as a pulled plug does, and waits until the kernel has let
    /// the device go. What was not written by then is lost.
    pub fn power_off(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // Its first process dies with it, and the kernel kills the others.
        self.holder = None;
        self.fuse = None;
        self.wait_for_free_device();
    }

    fn wait_for_free_device(&mut self) {
        let Some(device) = self.loop_device.take() else { return };
        let name = device.file_name().unwrap_or_default();
        let backing = Path::new("/sys/block").join(name).join("loop/backing_file");
        // A device that is still mounted is detached with its last user.
        let is_free = || {
            run(tied("losetup").arg("--detach").arg(&device), TOOL_MAX);
            !backing.exists()
        };
        if std::thread::panicking() {
            (0..100).find(|_| {
                std::thread::sleep(Duration::from_millis(100));
                is_free()
            });
        } else {
            wait_until("the loop device is free", SETTLE_MAX, is_free);
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("---- the machine:\n{}", lines[lines.len().saturating_sub(60)..].join("\n"));
        }
        self.end();
    }
}

fn inside(holder: &Server, path: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{}/root{path}", holder.pid().as_raw_pid()))
}
