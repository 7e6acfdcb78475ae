//! Block devices without a kernel driver for NBD: an export as a file (nbdfuse) under a loop
//! device.
//!
//! Used both ways: on top of a node's export, for mkfs and mount, and under a daemon, with nbdkit's
//! log filter, to see which requests really reach a disk. A write with FUA or a flush of a loop
//! device becomes an fsync of the file below, and that a flush at the NBD server.

use crate::program::{Server, run, tied};
use crate::skips::{find_tool, require_root, skip};
use crate::wait::wait_until;
use std::fs::{self, File};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest start of a server, and longest run of a tool.
const START_MAX: Duration = Duration::from_secs(15);
/// Where nbdkit's log filter writes.
const LOG_FILE: &str = "requests";

/// True when the machine can make block devices of exports; else notes the skip.
#[must_use]
pub fn require_block_devices() -> bool {
    if !require_root("loop devices over nbdfuse") {
        return false;
    }
    let is_device = |path: &str| {
        fs::metadata(path).is_ok_and(|found| found.file_type().is_char_device())
            && File::options().read(true).write(true).open(path).is_ok()
    };
    if let Some(missing) = ["/dev/fuse", "/dev/loop-control"].into_iter().find(|p| !is_device(p)) {
        skip(&format!("{missing} cannot be used here"));
        return false;
    }
    let tools = ["nbdkit", "nbdfuse", "losetup", "fusermount3"];
    if let Some(missing) = tools.into_iter().find(|tool| find_tool(tool).is_none()) {
        skip(&format!("the program '{missing}' is not installed"));
        return false;
    }
    true
}

/// An export as a file.
#[derive(Debug)]
pub struct ExportFile {
    server: Server,
    file: PathBuf,
}

impl ExportFile {
    /// Mounts the export at `uri` as the file `file`.
    ///
    /// # Panics
    /// When it does not appear in 15 s.
    #[must_use]
    pub fn mount(uri: &str, file: &Path) -> Self {
        File::create(file).expect("the scratch directory is writable");
        let mut command = tied("nbdfuse");
        command.arg(file).arg(uri);
        let log = file.with_extension("nbdfuse-log");
        let mut server = Server::start(command, &log);
        wait_until(&format!("{uri} is a file"), START_MAX, || {
            if let Some(code) = server.ended() {
                let text = fs::read_to_string(&log).unwrap_or_default();
                panic!("nbdfuse of {uri} ended with {code}: {text}");
            }
            fs::metadata(file).is_ok_and(|found| found.len() > 0)
        });
        Self { server, file: file.to_owned() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file
    }
}

impl Drop for ExportFile {
    fn drop(&mut self) {
        // Unmounting ends nbdfuse in good order; whatever is left is killed with the server.
        run(tied("fusermount3").arg("-u").arg("-z").arg(&self.file), START_MAX);
        (0..100).find(|_| {
            std::thread::sleep(Duration::from_millis(10));
            self.server.ended().is_some()
        });
    }
}

/// A loop device, detached when dropped.
#[derive(Debug)]
pub struct LoopDevice {
    device: PathBuf,
}

impl LoopDevice {
    /// Attaches `file`; none, with a noted skip, when there is no free loop device.
    #[must_use]
    pub fn attach(file: &Path) -> Option<Self> {
        let mut command = tied("losetup");
        command.args(["--find", "--show", "--direct-io=on"]).arg(file);
        let output = run(&mut command, START_MAX);
        if output.code != 0 {
            skip(&format!("no loop device can be attached: {}", output.stderr.trim()));
            return None;
        }
        Some(Self { device: PathBuf::from(output.stdout.trim()) })
    }

    /// The device.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.device
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        run(tied("losetup").arg("--detach").arg(&self.device), START_MAX);
    }
}

/// A disk that notes every request that reaches it and fails when told to: nbdkit's log and error
/// filters over a sparse file, below nbdfuse, below a loop device.
#[derive(Debug)]
pub struct LoggedDisk {
    // In this order: each stands on the next.
    device: LoopDevice,
    _export: ExportFile,
    _server: Server,
    log: PathBuf,
    /// While this file is there, every request fails.
    failing: PathBuf,
}

impl LoggedDisk {
    /// Makes a disk of `bytes` below `directory`; none, with a noted skip, when the machine cannot.
    ///
    /// # Panics
    /// When a server does not start.
    #[must_use]
    pub fn new(directory: &Path, bytes: u64) -> Option<Self> {
        Self::with_delays(directory, bytes, &[])
    }

    /// The same; each request takes some time more, as told in the words of nbdkit's delay filter,
    /// like `wdelay=20ms`.
    ///
    /// # Panics
    /// When a server does not start.
    #[must_use]
    pub fn with_delays(directory: &Path, bytes: u64, delays: &[&str]) -> Option<Self> {
        fs::create_dir_all(directory).expect("the scratch directory is writable");
        let (socket, log) = (directory.join("socket"), directory.join(LOG_FILE));
        let image = crate::pair::sparse_file(&directory.join("image"), bytes);
        let mut command = tied("nbdkit");
        command.args(["-f", "-U"]).arg(&socket);
        command.args(["--filter=log", "--filter=error", "--filter=delay"]);
        command.arg("file").arg(&image).arg(format!("logfile={}", log.display())).args(delays);
        let failing = directory.join("failing");
        command.args(["error=EIO", "error-rate=100%"]);
        command.arg(format!("error-file={}", failing.display()));
        let server = Server::start(command, &directory.join("nbdkit-log"));
        wait_until("nbdkit listens", START_MAX, || UnixStream::connect(&socket).is_ok());
        let uri = format!("nbd+unix:///?socket={}", socket.display());
        let export = ExportFile::mount(&uri, &directory.join("file"));
        let device = LoopDevice::attach(export.path())?;
        Some(Self { device, _export: export, _server: server, log, failing })
    }

    /// The block device.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.device.path()
    }

    /// From now on every request fails with EIO.
    ///
    /// # Panics
    /// When the scratch directory cannot be written.
    pub fn fail(&self) {
        File::create(&self.failing).expect("the scratch directory is writable");
    }

    /// From now on requests succeed again.
    ///
    /// # Panics
    /// When it does not fail.
    pub fn mend(&self) {
        fs::remove_file(&self.failing).expect("the disk was told to fail");
    }

    /// How many flushes have reached the disk.
    ///
    /// # Panics
    /// When the log cannot be read.
    #[must_use]
    pub fn flushes(&self) -> usize {
        count_flushes(&fs::read_to_string(&self.log).expect("nbdkit writes its log"))
    }
}

/// A disk with a cache of its own that a power cut empties: nbdkit's cache filter in write-back
/// mode over a sparse file, below nbdfuse, below a loop device.
#[derive(Debug)]
pub struct VolatileDisk {
    // In this order: each stands on the next.
    device: LoopDevice,
    _export: ExportFile,
    server: Server,
    image: PathBuf,
}

impl VolatileDisk {
    /// Makes a disk of `bytes` below `directory`; none, with a noted skip, when the machine cannot.
    ///
    /// # Panics
    /// When a server does not start.
    #[must_use]
    pub fn new(directory: &Path, bytes: u64) -> Option<Self> {
        fs::create_dir_all(directory).expect("the scratch directory is writable");
        let socket = directory.join("socket");
        let image = crate::pair::sparse_file(&directory.join("image"), bytes);
        let mut command = tied("nbdkit");
        command.args(["-f", "-U"]).arg(&socket).args(["--filter=cache", "file"]).arg(&image);
        command.args(["cache=writeback", "cache-min-block-size=4096"]);
        let server = Server::start(command, &directory.join("nbdkit-log"));
        wait_until("nbdkit listens", START_MAX, || UnixStream::connect(&socket).is_ok());
        let uri = format!("nbd+unix:///?socket={}", socket.display());
        let export = ExportFile::mount(&uri, &directory.join("file"));
        let device = LoopDevice::attach(export.path())?;
        Some(Self { device, _export: export, server, image })
    }

    /// The block device.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.device.path()
    }

    /// Cuts the power: what was not flushed is gone. The image is what is left.
    pub fn power_off(&mut self) -> &Path {
        self.server.kill();
        &self.image
    }
}

fn count_flushes(log: &str) -> usize {
    // A request is two lines, "Flush id=3 ..." and "...Flush id=3 return=0".
    log.lines().filter(|line| line.contains("...Flush") && line.contains("return=0")).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn only_flushes_that_succeeded_count() {
        let log = "T connection=1 Flush id=1 ...\n\
                   T connection=1 ...Flush id=1 return=0\n\
                   T connection=1 Write id=2 offset=0x0 count=0x1000 fua=0 ...\n\
                   T connection=1 ...Write id=2 return=0\n\
                   T connection=1 ...Flush id=3 return=-1 (EIO)\n";
        assert_eq!(count_flushes(log), 1);
    }

    #[test]
    fn a_power_cut_takes_what_was_not_flushed_and_nothing_else() {
        use std::os::unix::fs::FileExt as _;
        if !require_block_devices() {
            return;
        }
        let scratch = Scratch::new();
        let Some(mut disk) = VolatileDisk::new(&scratch.path().join("disk"), 4 << 20) else {
            return;
        };
        let write = |at: u64, flags: &str| {
            let mut command = tied("dd");
            command.args(["if=/dev/urandom", "bs=4096", "count=1", "status=none"]);
            command.arg(format!("of={}", disk.path().display()));
            command.args([&format!("seek={at}"), "oflag=direct", flags]);
            run(&mut command, START_MAX).expect_success("dd");
        };
        write(1, "conv=notrunc,fsync");
        write(2, "conv=notrunc");
        let image = File::open(disk.power_off()).unwrap();
        let is_there = |at: u64| {
            let mut block = [0; 4096];
            image.read_exact_at(&mut block, at * 4096).unwrap();
            block != [0; 4096]
        };
        assert!(is_there(1), "what was flushed is lost");
        assert!(!is_there(2), "the disk keeps what was not flushed: it shows nothing");
    }

    #[test]
    fn a_durable_write_is_a_flush_a_plain_one_is_none_and_a_failing_disk_takes_neither() {
        if !require_block_devices() {
            return;
        }
        let scratch = Scratch::new();
        let Some(disk) = LoggedDisk::new(scratch.path(), 1 << 20) else { return };
        let write = |flags: &str| {
            let mut command = tied("dd");
            command.args(["if=/dev/zero", "bs=4096", "count=1"]);
            command.arg(format!("of={}", disk.path().display())).arg(flags);
            run(&mut command, START_MAX).expect_success("dd");
        };
        write("oflag=direct");
        let before = disk.flushes();
        write("oflag=direct");
        assert_eq!(disk.flushes(), before);
        write("oflag=direct,dsync");
        assert!(disk.flushes() > before);
        disk.fail();
        let mut command = tied("dd");
        command.args(["if=/dev/zero", "bs=4096", "count=1", "oflag=direct"]);
        command.arg(format!("of={}", disk.path().display()));
        assert_eq!(run(&mut command, START_MAX).code, 1);
        disk.mend();
        write("oflag=direct");
    }
}
