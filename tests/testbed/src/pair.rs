//! Two nodes with one resource: made, brought into sync, cut, compared.

use crate::compare::first_difference;
use crate::network::{Cut, Network, NetworkKind};
use crate::node::{Node, RESOURCE};
use crate::scratch::Scratch;
use crate::seeded::Seeded;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Longest initial sync or resync of a test's small device on a loaded machine.
pub const SYNC_MAX: Duration = Duration::from_secs(60);

/// What a pair is made of. The times are short so that a lost peer is noticed within a test, and
/// long enough for two busy cores.
#[derive(Debug, Clone)]
pub struct PairOptions {
    /// The program under test.
    pub binary: PathBuf,
    /// Bytes of the two backing files, metadata included.
    pub disk_bytes: [u64; 2],
    /// Existing disks to use instead of backing files.
    pub disks: [Option<PathBuf>; 2],
    /// Loopback or namespaces.
    pub network: NetworkKind,
    /// `[net] timeout`, in milliseconds; the other timers follow from it.
    pub timeout_ms: u64,
    /// `[sync] rate` in bytes per second, for tests that need a resync to last.
    pub sync_rate_bytes: Option<u64>,
    /// More lines of `[net]`.
    pub net: Vec<String>,
    /// More lines of `[disk]`.
    pub disk: Vec<String>,
    /// Lines of `[startup]`.
    pub startup: Vec<String>,
    /// More lines of `[sync]`.
    pub sync: Vec<String>,
    /// Lines of `[handlers]`.
    pub handlers: Vec<String>,
}

impl PairOptions {
    /// 64 MiB on loopback.
    #[must_use]
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        Self {
            binary: binary.into(),
            disk_bytes: [64 << 20; 2],
            disks: [None, None],
            network: NetworkKind::Loopback,
            timeout_ms: 2000,
            sync_rate_bytes: None,
            net: Vec::new(),
            disk: Vec::new(),
            startup: Vec::new(),
            sync: Vec::new(),
            handlers: Vec::new(),
        }
    }

    /// With both backing files of this size, in bytes.
    #[must_use]
    pub fn disk_bytes(mut self, bytes: u64) -> Self {
        self.disk_bytes = [bytes; 2];
        self
    }

    /// With a namespace for each node.
    #[must_use]
    pub fn separate(self) -> Self {
        Self { network: NetworkKind::Separate, ..self }
    }
}

/// The two nodes. Daemons, namespaces and files go when it is dropped.
#[derive(Debug)]
pub struct Pair {
    /// The first node of the configuration.
    pub a: Node,
    /// The second one.
    pub b: Node,
    network: Arc<Network>,
    // Last, so that the daemons are gone before their files.
    scratch: Scratch,
}

impl Pair {
    /// Makes files, network and configuration; starts nothing. None, with a noted skip, when the
    /// machine has no such network.
    ///
    /// # Panics
    /// When the temporary directory cannot be written.
    #[must_use]
    pub fn new(options: &PairOptions) -> Option<Self> {
        let scratch = Scratch::new();
        let network = match options.network {
            NetworkKind::Loopback => Network::loopback(),
            NetworkKind::Separate => Network::separate(scratch.path())?,
        };
        let network = Arc::new(network);
        let node = |name: &'static str, index: usize| {
            let disk = options.disks[index].clone().unwrap_or_else(|| {
                sparse_file(&scratch.path().join(format!("{name}.disk")), options.disk_bytes[index])
            });
            Node::new(name, index, &options.binary, scratch.path(), disk, Arc::clone(&network))
        };
        let (a, b) = (node("a", 0), node("b", 1));
        let secret = scratch.path().join("secret");
        write_secret(&secret);
        let text = config_text(options, &secret, [&a, &b]);
        for node in [&a, &b] {
            fs::write(node.config_file(), &text).expect("the scratch directory is writable");
        }
        Some(Self { a, b, network, scratch })
    }

    /// The first node (0) or the second one (1).
    ///
    /// # Panics
    /// When it is neither.
    #[must_use]
    pub fn node(&self, index: usize) -> &Node {
        [&self.a, &self.b][index]
    }

    /// The same, to start and end it.
    ///
    /// # Panics
    /// When it is neither.
    pub fn node_mut(&mut self, index: usize) -> &mut Node {
        [&mut self.a, &mut self.b].into_iter().nth(index).expect("a pair has nodes 0 and 1")
    }

    /// A directory for the test's own files.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// Writes fresh metadata on both disks.
    ///
    /// # Panics
    /// When `create-md` fails.
    pub fn create_md(&self) {
        for node in [&self.a, &self.b] {
            node.must(&["create-md", RESOURCE]);
        }
    }

    /// Starts both daemons.
    ///
    /// # Panics
    /// When one of them does not answer.
    pub fn up(&mut self) {
        self.a.up();
        self.b.up();
    }

    /// From nothing to two equal, connected nodes of which the first is Primary.
    ///
    /// # Panics
    /// When a step fails.
    pub fn bring_into_sync(&mut self) {
        self.create_md();
        self.up();
        self.wait_connected();
        self.a.must(&["primary", "--force", RESOURCE]);
        self.wait_in_sync();
    }

    /// Waits until each node says that it is connected.
    ///
    /// # Panics
    /// When they are not in time.
    pub fn wait_connected(&self) {
        for node in [&self.a, &self.b] {
            node.wait_state("connected", SYNC_MAX, |state| state.connection == "Connected");
        }
    }

    /// Waits until each node says that both replicas are equal.
    ///
    /// # Panics
    /// When they are not in time.
    pub fn wait_in_sync(&self) {
        for node in [&self.a, &self.b] {
            node.wait_state("in sync", SYNC_MAX, |state| state.is_in_sync());
        }
    }

    /// The first byte at which the data areas of the two backing disks differ.
    ///
    /// # Panics
    /// When the device has no size yet, or a disk cannot be read.
    #[must_use]
    pub fn first_difference(&self) -> Option<u64> {
        let size_bytes = self.a.state().size_bytes;
        assert!(size_bytes > 0, "nothing can be compared before the size is agreed");
        first_difference(self.a.disk(), self.b.disk(), size_bytes)
            .expect("both backing disks can be read")
    }

    /// True when the data areas of the two backing disks are equal, byte for byte.
    ///
    /// # Panics
    /// As [`Pair::first_difference`].
    #[must_use]
    pub fn data_equal(&self) -> bool {
        self.first_difference().is_none()
    }

    /// Waits until both nodes are in sync and compares the replicas.
    ///
    /// # Panics
    /// When they are not in sync in time, or differ.
    pub fn expect_equal(&self) {
        self.wait_in_sync();
        if let Some(at) = self.first_difference() {
            panic!("both nodes are UpToDate, and byte {at} differs (block {})", at / 4096);
        }
    }

    /// Cuts the link.
    ///
    /// # Panics
    /// On loopback.
    pub fn cut_link(&self, cut: Cut) {
        self.network.cut(cut);
    }

    /// Lets a process die without a word, see [`Network::swallow_ends`].
    ///
    /// # Panics
    /// On loopback.
    pub fn swallow_ends(&self) {
        self.network.swallow_ends();
    }

    /// Makes the link slow, see [`Network::throttle`].
    ///
    /// # Panics
    /// On loopback.
    #[must_use]
    pub fn throttle_link(&self, kbit: u32) -> bool {
        self.network.throttle(kbit)
    }

    /// Mends the link.
    ///
    /// # Panics
    /// On loopback.
    pub fn heal_link(&self) {
        self.network.heal();
    }
}

/// Makes a file of `bytes` that occupies no space yet.
///
/// # Panics
/// When it cannot be made.
#[must_use]
pub fn sparse_file(path: &Path, bytes: u64) -> PathBuf {
    File::create(path)
        .and_then(|file| file.set_len(bytes))
        .unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
    path.to_owned()
}

/// Writes a fresh secret that only the owner may read.
///
/// # Panics
/// When it cannot be written.
pub fn write_secret(path: &Path) {
    let random = Seeded::new(u64::from(std::process::id())).next_u64();
    fs::write(path, format!("secret of a test {random:016x}\n"))
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o600)))
        .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}

fn config_text(options: &PairOptions, secret: &Path, nodes: [&Node; 2]) -> String {
    // DRBD's rule: timeout is shorter than the other two.
    let interval_ms = options.timeout_ms + options.timeout_ms / 4;
    let ping_ms = options.timeout_ms / 2;
    let mut sync = options.sync.clone();
    // Rates are written with a unit; the tests use whole KiB.
    sync.extend(options.sync_rate_bytes.map(|rate| format!("rate = \"{}K\"", rate >> 10)));
    let tables = nodes.map(|node| {
        format!(
            "[node.{}]\ndisk = \"{}\"\nmeta-disk = \"internal\"\naddress = \"{}\"\n\n",
            node.name(),
            node.disk().display(),
            node.peer_address()
        )
    });
    let times = [
        ("timeout", options.timeout_ms),
        ("connect-int", interval_ms),
        ("ping-int", interval_ms),
        ("ping-timeout", ping_ms),
    ];
    let mut net = vec![
        "protocol = \"C\"".to_owned(),
        format!("shared-secret-file = \"{}\"", secret.display()),
    ];
    net.extend(times.map(|(key, ms)| format!("{key} = \"{ms}ms\"")));
    net.extend_from_slice(&options.net);
    let mut disk = options.disk.clone();
    if !disk.iter().any(|line| line.starts_with("on-io-error")) {
        disk.push("on-io-error = \"detach\"".to_owned());
    }
    format!(
        "name = \"{RESOURCE}\"\n\n{}{}{}{}{}{}",
        table("net", &net),
        table("disk", &disk),
        table("startup", &options.startup),
        table("sync", &sync),
        table("handlers", &options.handlers),
        tables.concat()
    )
}

/// One table of the configuration; nothing when it has no lines.
fn table(name: &str, lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    format!("[{name}]\n{}\n\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_has_files_of_the_right_size_and_one_configuration_for_both() {
        let options = PairOptions::new("/bin/false").disk_bytes(5 << 20);
        let pair = Pair::new(&options).expect("loopback is everywhere");
        for node in [&pair.a, &pair.b] {
            assert_eq!(fs::metadata(node.disk()).unwrap().len(), 5 << 20);
        }
        let text = fs::read_to_string(pair.a.config_file()).unwrap();
        assert_eq!(text, fs::read_to_string(pair.b.config_file()).unwrap());
        assert!(text.contains("timeout = \"2000ms\"\nconnect-int = \"2500ms\""), "{text}");
        assert!(text.contains(&pair.b.disk().display().to_string()), "{text}");
        let scratch = pair.scratch().to_owned();
        drop(pair);
        assert!(!scratch.exists());
    }

    #[test]
    fn a_command_that_fails_is_an_output_and_not_a_panic() {
        let pair = Pair::new(&PairOptions::new("/bin/false")).expect("loopback is everywhere");
        assert_eq!(pair.a.run(&["status"]).code, 1);
        assert_eq!(pair.a.try_status(), None);
    }
}
