//! A peer that hangs costs the clients of the Primary one timeout, and no more.

use crate::bed::{MIB, SOON, options};
use std::time::Duration;
use testbed::block_device::{LoopDevice, require_block_devices};
use testbed::ledger::Ledger;
use testbed::metadata_edit::declare_equal;
use testbed::network::Cut;
use testbed::pair::sparse_file;
use testbed::program::{Server, run, tied};
use testbed::scratch::Scratch;
use testbed::skips::require_tool;
use testbed::wait_until;
use testbed::writer::Writer;
use testbed::{Pair, PairOptions};

const TIMEOUT_MS: u64 = 500;
const KO_COUNT: u64 = 3;
/// What a busy machine may add.
const SLACK: Duration = Duration::from_secs(4);

fn hanging_options() -> PairOptions {
    let net = vec![format!("ko-count = {KO_COUNT}")];
    PairOptions { timeout_ms: TIMEOUT_MS, net, ..options().disk_bytes(32 * MIB) }
}

/// Writes on the first node across `hang`, which must cost the peer; gives the ledger.
fn write_across(pair: &Pair, hang: impl FnOnce()) -> Ledger {
    let ledger = Ledger::default().flushing_every(25);
    let writer = Writer::start(&pair.a, ledger, 3, Duration::from_millis(1));
    writer.wait_for(100, SOON);
    hang();
    wait_until("the Primary goes on without its peer", SOON, || {
        let state = pair.a.state();
        state.connection != "Connected" || state.peer_disk == "Diskless"
    });
    writer.wait_for(200, SOON);
    let (ledger, end) = writer.finish();
    end.expect("the client sees no error");
    let most = Duration::from_millis(TIMEOUT_MS * KO_COUNT) + SLACK;
    let silence = ledger.longest_silence();
    println!("longest silence {silence:?}, allowed {most:?}");
    assert!(silence < most, "no answer for {silence:?}, allowed are {most:?}");
    ledger
}

fn expect_all_on_both(pair: &Pair, mut ledger: Ledger) {
    pair.expect_equal();
    ledger.expect_all_there(&pair.a.nbd_socket(), "r0");
}

#[test]
fn a_secondary_that_stands_still_costs_one_timeout() {
    let pair = crate::bed::synced(&hanging_options()).expect("loopback is everywhere");
    let ledger = write_across(&pair, || pair.b.stop());
    pair.b.cont();
    expect_all_on_both(&pair, ledger);
}

#[test]
fn a_network_that_dies_without_a_word_costs_one_timeout() {
    let Some(pair) = crate::bed::synced(&hanging_options().separate()) else { return };
    let ledger = write_across(&pair, || pair.cut_link(Cut::Both));
    pair.heal_link();
    expect_all_on_both(&pair, ledger);
}

/// A file system of `bytes`, mounted in a namespace that ends with the value.
struct SmallFileSystem {
    // In this order: the mount goes before its device.
    holder: Server,
    _device: LoopDevice,
}

impl SmallFileSystem {
    fn mount(scratch: &Scratch, bytes: u64) -> Option<Self> {
        if !require_block_devices() {
            return None;
        }
        for tool in ["mkfs.ext4", "unshare"] {
            require_tool(tool)?;
        }
        let image = sparse_file(&scratch.path().join("small"), bytes);
        let limit = Duration::from_secs(20);
        run(tied("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image), limit)
            .expect_success("mkfs.ext4");
        let device = LoopDevice::attach(&image)?;
        let mount_point = scratch.path().join("mnt");
        std::fs::create_dir(&mount_point).unwrap();
        let mut command = tied("unshare");
        let script = "mount \"$1\" \"$2\" && touch \"$2/mounted\" && exec sleep infinity";
        command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]);
        command.arg(device.path()).arg(&mount_point);
        let holder = Server::start(command, &scratch.path().join("mount-log"));
        let file_system = Self { holder, _device: device };
        wait_until("the small file system is mounted", limit, || {
            file_system.inside(&mount_point).join("mounted").exists()
        });
        Some(file_system)
    }

    /// A path inside, as everybody can open it.
    fn inside(&self, path: &std::path::Path) -> std::path::PathBuf {
        let root = format!("/proc/{}/root", self.holder.pid().as_raw_pid());
        std::path::PathBuf::from(root + &path.display().to_string())
    }
}

#[test]
fn a_full_disk_under_the_secondary_is_given_up_and_costs_no_time() {
    let scratch = Scratch::new();
    // Room for the metadata and a part of what is written.
    let Some(small) = SmallFileSystem::mount(&scratch, 16 * MIB) else { return };
    let mut full = hanging_options();
    let file = small.inside(&scratch.path().join("mnt")).join("disk");
    full.disks[1] = Some(sparse_file(&file, 32 * MIB));
    let mut pair = Pair::new(&full).expect("loopback is everywhere");
    pair.create_md();
    declare_equal(&pair);
    pair.up();
    pair.wait_in_sync();
    pair.a.must(&["primary", "r0"]);
    let mut ledger = write_across(&pair, || {});
    pair.b.wait_state("the disk is given up", SOON, |state| state.disk == "Diskless");
    assert_eq!(pair.a.state().disk, "UpToDate");
    ledger.expect_all_there(&pair.a.nbd_socket(), "r0");
    assert_ne!(pair.b.run(&["primary", "r0"]).code, 0, "a node without a disk was promoted");
    pair.b.kill9();
}
