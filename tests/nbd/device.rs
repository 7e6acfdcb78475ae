//! The device under test: the export of a replicated pair's Primary, fresh for each test.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use testbed::block_device::{LoggedDisk, VolatileDisk, require_block_devices};
use testbed::compare::first_difference;
use testbed::node::RESOURCE;
use testbed::scratch::Scratch;
use testbed::seeded::Seeded;
use testbed::skips::require_tool;
use testbed::{Pair, PairOptions, wait_until};

/// Small, since each request to a logged disk passes through three servers.
const LOGGED_DISK_BYTES: u64 = 16 << 20;
/// What clients that vanished have left open is finished by then.
const SETTLE_MAX: Duration = Duration::from_secs(20);

/// Two daemons in sync; the first is Primary and serves.
#[derive(Debug)]
pub(crate) struct Device {
    pair: Pair,
    socket: PathBuf,
    secondary_socket: PathBuf,
    uri: String,
    size_bytes: u64,
}

impl Device {
    /// A pair on sparse files of 64 MiB; none, with a noted skip, when one of `tools` is missing.
    pub(crate) fn open(tools: &[&str]) -> Option<Device> {
        if !tools.iter().all(|tool| require_tool(tool).is_some()) {
            return None;
        }
        Device::start(&PairOptions::new(env!("CARGO_BIN_EXE_blkrep")))
    }

    fn start(options: &PairOptions) -> Option<Device> {
        let mut pair = Pair::new(options)?;
        pair.bring_into_sync();
        let (socket, secondary_socket) = (pair.a.nbd_socket(), pair.b.nbd_socket());
        let (uri, size_bytes) = (pair.a.nbd_uri(), pair.a.state().size_bytes);
        Some(Device { pair, socket, secondary_socket, uri, size_bytes })
    }

    /// The name of the export.
    pub(crate) fn name(&self) -> &'static str {
        RESOURCE
    }

    /// The Primary's NBD socket.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// The Secondary's NBD socket.
    pub(crate) fn secondary_socket(&self) -> &Path {
        &self.secondary_socket
    }

    /// Takes the Primary's own disk away; its peer's serves.
    pub(crate) fn detach_primary(&self) {
        self.pair.a.must(&["detach", RESOURCE]);
    }

    /// Gives it back.
    pub(crate) fn attach_primary(&self) {
        self.pair.a.must(&["attach", RESOURCE]);
    }

    /// The Secondary's disk is given up and not filled, and it becomes Primary on the other's data.
    pub(crate) fn promote_without_good_disk(&mut self) {
        self.pair.wait_in_sync();
        self.pair.b.must(&["pause-sync", RESOURCE]);
        self.pair.b.must(&["invalidate", RESOURCE]);
        self.pair.b.wait_state("no good disk", SETTLE_MAX, |state| state.disk == "Inconsistent");
        self.pair.a.must(&["secondary", RESOURCE]);
        self.pair.b.must(&["primary", RESOURCE]);
    }

    /// All of it is taken back.
    pub(crate) fn promote_as_before(&self) {
        self.pair.b.must(&["secondary", RESOURCE]);
        self.pair.a.must(&["primary", RESOURCE]);
        self.pair.b.must(&["resume-sync", RESOURCE]);
    }

    /// The process id of the Primary's daemon.
    pub(crate) fn primary_pid(&self) -> i32 {
        self.pair.a.pid().as_raw_pid()
    }

    /// The export as libnbd, qemu and fio write it.
    pub(crate) fn uri(&self) -> &str {
        &self.uri
    }

    /// The same on the Secondary.
    pub(crate) fn secondary_uri(&self) -> String {
        self.pair.b.nbd_uri()
    }

    /// Size of the device in bytes, as the status says it.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// A path for a file of the test.
    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        self.pair.scratch().join(name)
    }

    /// A file with random bytes, as long as the device.
    pub(crate) fn random_image(&self, name: &str, random: &mut Seeded) -> PathBuf {
        let path = self.scratch(name);
        let bytes = usize::try_from(self.size_bytes).expect("invariant: test devices are small");
        std::fs::write(&path, random.bytes(bytes)).expect("the scratch directory is writable");
        path
    }

    /// Compares two files over the length of the device.
    pub(crate) fn assert_same_files(&self, first: &Path, second: &Path) {
        let difference = first_difference(first, second, self.size_bytes);
        assert_eq!(difference.expect("both files have the device's length"), None);
    }

    /// Ends the test's own connections, then as [`Device::close`].
    pub(crate) fn close_after<C>(self, connections: C) {
        drop(connections);
        self.close();
    }

    /// The end of each test: no client is left, both nodes are in sync, and the replicas are equal.
    pub(crate) fn close(mut self) {
        assert!(self.pair.a.is_alive() && self.pair.b.is_alive(), "a daemon has ended");
        wait_until("all clients are gone", SETTLE_MAX, || self.pair.a.state().clients == 0);
        self.pair.wait_in_sync();
        // Writes of a client that vanished may still be under way, on one disk before the other.
        wait_until("both replicas are equal", SETTLE_MAX, || self.pair.data_equal());
        self.pair.expect_equal();
    }
}

/// A device on disks that note the flushes that reach them.
#[derive(Debug)]
pub(crate) struct LoggedDevice {
    // In this order: the daemons end before their disks, and these before the directory.
    pub(crate) device: Device,
    disks: [LoggedDisk; 2],
    _scratch: Scratch,
}

impl LoggedDevice {
    /// None, with a noted skip, when the machine cannot make such disks.
    pub(crate) fn open() -> Option<LoggedDevice> {
        if !require_block_devices() {
            return None;
        }
        let scratch = Scratch::new();
        let disk = |name: &str| LoggedDisk::new(&scratch.path().join(name), LOGGED_DISK_BYTES);
        let disks = [disk("first")?, disk("second")?];
        let paths = [disks[0].path(), disks[1].path()].map(|path| Some(path.to_owned()));
        let options = PairOptions::new(env!("CARGO_BIN_EXE_blkrep"));
        let device = Device::start(&PairOptions { disks: paths, ..options })?;
        Some(LoggedDevice { device, disks, _scratch: scratch })
    }

    /// How many flushes have reached each of the two disks.
    pub(crate) fn flushes(&self) -> [usize; 2] {
        [self.disks[0].flushes(), self.disks[1].flushes()]
    }
}

/// A device on disks whose caches a power cut empties.
#[derive(Debug)]
pub(crate) struct VolatileDevice {
    // In this order: the daemons end before their disks, and these before the directory.
    pub(crate) device: Device,
    disks: [VolatileDisk; 2],
    _scratch: Scratch,
}

impl VolatileDevice {
    /// None, with a noted skip, when the machine cannot make such disks.
    pub(crate) fn open() -> Option<VolatileDevice> {
        if !require_block_devices() {
            return None;
        }
        let scratch = Scratch::new();
        let disk = |name: &str| VolatileDisk::new(&scratch.path().join(name), LOGGED_DISK_BYTES);
        let disks = [disk("first")?, disk("second")?];
        let paths = [disks[0].path(), disks[1].path()].map(|path| Some(path.to_owned()));
        let options = PairOptions::new(env!("CARGO_BIN_EXE_blkrep"));
        let device = Device::start(&PairOptions { disks: paths, ..options })?;
        Some(VolatileDevice { device, disks, _scratch: scratch })
    }

    /// Cuts the power of both nodes; what of `bytes` at `offset` is left on each disk.
    pub(crate) fn after_power_loss(mut self, offset: u64, bytes: usize) -> [Vec<u8>; 2] {
        // The disks first: a daemon that ended first could still flush.
        let images = self.disks.each_mut().map(|disk| disk.power_off().to_owned());
        self.device.pair.a.kill9();
        self.device.pair.b.kill9();
        images.map(|image| {
            let file = File::open(image).expect("an image outlives its server");
            let mut left = vec![0; bytes];
            file.read_exact_at(&mut left, offset).expect("the image has the disk's size");
            left
        })
    }
}
