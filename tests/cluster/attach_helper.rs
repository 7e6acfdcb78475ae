//! The shipped attach helper: a Primary has a block device, under the same name and at the same
//! moments as the kernel's, and no acknowledged write is lost with it.

use crate::bed::{MIB, SOON, client_command, configure, options};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use testbed::block_device::require_block_devices;
use testbed::nbd_client::NbdClient;
use testbed::program::{Running, run, tied};
use testbed::skips::require_tool;
use testbed::{Node, Pair, PairOptions, wait_until};

/// The shipped helper.
pub(crate) const HELPER: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/attach/blkrep-attach-loop");
/// Longest run of a tool on a node.
const TOOL_MAX: Duration = Duration::from_secs(60);
/// A device that ended by itself is noticed, or looked at again, within this time on a busy
/// machine.
const NOTICED_MAX: Duration = Duration::from_secs(60);

/// A pair whose devices are got rid of at its end, also when the test fails.
struct Attaching(Pair);

impl Attaching {
    /// In sync, the first node Primary with its device; none, with a noted skip, where the machine
    /// cannot.
    fn new(options: &PairOptions) -> Option<Self> {
        if !require_block_devices() {
            return None;
        }
        require_tool("setsid")?;
        let mut pair = Pair::new(options)?;
        if !(pair.a.own_mounts() && pair.b.own_mounts()) {
            return None;
        }
        for node in ["a", "b"] {
            let table = format!("[node.{node}]\n");
            configure(&pair, &table, &format!("{table}attach-helper = \"sh {HELPER}\"\n"));
        }
        let mut this = Self(pair);
        this.0.bring_into_sync();
        Some(this)
    }
}

impl Drop for Attaching {
    fn drop(&mut self) {
        for index in 0..2 {
            self.0.node_mut(index).kill9();
            let node = self.0.node(index);
            let mut command = node.command("sh");
            command.args([HELPER, "drop"]).env("BLKREP_RESOURCE", "r0");
            // Nobody is left to be told about what does not go.
            run(command.env("BLKREP_RUN_DIR", node.run_dir()), TOOL_MAX);
        }
    }
}

/// The device of a node.
fn device(node: &Node) -> PathBuf {
    fs::read_link(node.device_link()).expect("the device is linked")
}

fn backing(device: &Path) -> Option<String> {
    let name = device.file_name()?.to_str()?;
    fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).ok()
}

/// Process numbers of what serves the device of a node.
fn servers(node: &Node) -> Vec<Pid> {
    let file = node.run_dir().join("attach/r0/disk");
    let file = file.to_str().expect("the scratch directory has a plain name");
    let entries = fs::read_dir("/proc").expect("/proc is there").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with("nbdfuse\0") && line.split('\0').any(|word| word == file)
    })
    .filter_map(Pid::from_raw)
    .collect()
}

/// Waits for a new device: the old one's link goes before its server, and the new one's comes last.
fn wait_for_another(node: &Node, old: Pid) {
    let is_new = || servers(node).first().is_some_and(|new| *new != old);
    wait_until("another server", NOTICED_MAX, is_new);
    wait_until("its link", NOTICED_MAX, || node.device_link().is_symlink());
}

/// Nothing of `device` is left on the node.
fn expect_gone(node: &Node, device: &Path) {
    assert!(fs::read_link(node.device_link()).is_err(), "the link of {}", node.name());
    let ours = node.run_dir().display().to_string();
    assert!(backing(device).is_none_or(|file| !file.starts_with(&ours)), "{}", device.display());
    assert_eq!(servers(node), [], "nbdfuse of {}", node.name());
}

fn dsync(device: &Path) -> File {
    let flags = rustix::fs::OFlags::DSYNC.bits().cast_signed();
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(flags).open(device).expect("it can be opened")
}

fn on(node: &Node, program: &str, arguments: &[&Path]) {
    client_command(node.command(program).args(arguments));
}

/// An ext4 of the device of `node`, mounted there.
fn mounted(pair: &Pair, node: &Node) -> PathBuf {
    let mount_point = pair.scratch().join(format!("mnt-{}", node.name()));
    fs::create_dir_all(&mount_point).expect("the scratch directory is writable");
    client_command(tied("mkfs.ext4").args(["-q", "-F"]).arg(device(node)));
    on(node, "mount", &[&device(node), &mount_point]);
    mount_point
}

/// A process that has the device open.
fn opened(device: &Path) -> Running {
    let mut command = tied("sh");
    command.args(["-c", "exec sleep 600 <\"$1\"", "sh"]).arg(device);
    let running = Running::start(&mut command);
    let descriptor = || {
        fs::read_dir("/proc").expect("/proc is there").flatten().any(|entry| {
            let comm = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            comm == "sleep\n"
                && fs::read_link(entry.path().join("fd/0")).is_ok_and(|link| link == device)
        })
    };
    wait_until("it has the device open", SOON, descriptor);
    running
}

#[test]
fn a_primary_has_a_device_and_what_is_written_to_it_is_on_both() {
    let Some(bed) = Attaching::new(&options()) else { return };
    let pair = &bed.0;
    let first = device(&pair.a);
    let size = client_command(tied("blockdev").arg("--getsize64").arg(&first)).stdout;
    assert_eq!(size.trim(), pair.a.state().size_bytes.to_string());
    assert!(fs::read_link(pair.b.device_link()).is_err(), "a Secondary has none");
    let written = vec![0x5a; MIB as usize];
    dsync(&first).write_all_at(&written, 3 * MIB).expect("it takes writes");
    pair.expect_equal();
    // What only waits in the device's memory is written by the demotion.
    File::options().write(true).open(&first).unwrap().write_all_at(b"late", 7 * MIB).unwrap();
    pair.a.must(&["secondary", "r0"]);
    expect_gone(&pair.a, &first);
    assert_eq!(pair.a.state().clients, 0);
    pair.b.must(&["primary", "r0"]);
    let second = device(&pair.b);
    let mut found = vec![0; written.len()];
    File::open(&second).unwrap().read_exact_at(&mut found, 3 * MIB).expect("it can be read");
    assert_eq!(found, written);
    File::open(&second).unwrap().read_exact_at(&mut found[..4], 7 * MIB).expect("and there");
    assert_eq!(&found[..4], b"late");
    pair.b.must(&["secondary", "r0"]);
    expect_gone(&pair.b, &second);
}

#[test]
fn a_device_in_use_keeps_its_node_primary_and_its_user_is_named() {
    let Some(bed) = Attaching::new(&options()) else { return };
    for tool in ["mkfs.ext4", "umount"] {
        let Some(_) = require_tool(tool) else { return };
    }
    let pair = &bed.0;
    let refused = |what: &str| {
        for verb in ["secondary", "down"] {
            let output = pair.a.run(&[verb, "r0"]).expect_code(11, verb);
            // A Primary is not stopped, used or not.
            assert!(verb == "down" || output.stderr.contains(what), "{what}: {}", output.stderr);
            assert_eq!(pair.a.state().role, "Primary");
        }
    };
    let user = opened(&device(&pair.a));
    refused("(sleep)");
    user.kill();
    let mount_point = mounted(pair, &pair.a);
    refused(&format!("mounted on {}", mount_point.display()));
    let inside = pair
        .a
        .command("sh")
        .args(["-c", "echo kept >\"$1/x\"; sync", "sh"])
        .arg(&mount_point)
        .status();
    assert!(inside.expect("sh is there").success(), "a refusal costs its user nothing");
    on(&pair.a, "umount", &[&mount_point]);
    // Another client: the engine refuses, and the device is there again.
    let client = NbdClient::open(&pair.a.nbd_socket(), "r0").unwrap();
    refused("");
    assert!(backing(&device(&pair.a)).is_some(), "it was attached again");
    drop(client);
    // A detach would wait for I/O that is frozen.
    pair.a.must(&["suspend-io", "r0"]);
    refused("resume-io r0");
    pair.a.must(&["resume-io", "r0"]);
    pair.a.wait_state("no other client", SOON, |state| state.clients == 1);
    pair.a.must(&["secondary", "r0"]);
    pair.expect_equal();
}

#[test]
fn a_killed_daemon_comes_back_with_a_new_device_that_has_every_acknowledged_write() {
    let Some(mut bed) = Attaching::new(&options()) else { return };
    let old = device(&bed.0.a);
    let old_server = servers(&bed.0.a)[0];
    let block = |number: u64| number.to_le_bytes().repeat(512);
    let writer = {
        let file = dsync(&old);
        std::thread::spawn(move || {
            // From the first error on nothing is acknowledged.
            (1..).take_while(|n| file.write_all_at(&block(*n), n % 4096 * 4096).is_ok()).last()
        })
    };
    crate::bed::wait_for_writes(&bed.0, 100);
    bed.0.a.kill9();
    let last = writer.join().expect("it only writes").expect("it had begun");
    bed.0.a.up();
    let pair = &bed.0;
    pair.a.wait_state("it goes on as the Primary", SOON, |state| state.role == "Primary");
    wait_for_another(&pair.a, old_server);
    let file = File::open(device(&pair.a)).expect("it can be opened");
    for number in last.saturating_sub(4095).max(1)..=last {
        let mut found = vec![0; 4096];
        file.read_exact_at(&mut found, number % 4096 * 4096).expect("it can be read");
        // The one that got an error may have been written over the oldest.
        let is_next = number + 4096 == last + 1 && found == block(last + 1);
        assert!(found == block(number) || is_next, "write {number} of {last} is lost");
    }
    drop(file);
    pair.expect_equal();
    pair.a.must(&["secondary", "r0"]);
    pair.b.must(&["primary", "r0"]);
}

#[test]
fn down_of_a_dead_daemon_waits_for_the_users_of_its_device() {
    let Some(mut bed) = Attaching::new(&options()) else { return };
    let Some(_) = require_tool("mkfs.ext4") else { return };
    let mount_point = mounted(&bed.0, &bed.0.a);
    let device = device(&bed.0.a);
    bed.0.a.kill9();
    let node = &bed.0.a;
    let refused = node.run(&["down", "r0"]).expect_code(11, "mounted");
    for part in [&format!("mounted on {}", mount_point.display()), "its daemon is dead"] {
        assert!(refused.stderr.contains(part), "{}", refused.stderr);
    }
    let mark = node.nbd_socket().with_extension("resume");
    assert!(mark.exists(), "a device in use may be resumed");
    // It cannot write what is left any more, and ends all the same.
    run(node.command("umount").arg(&mount_point), TOOL_MAX);
    node.must(&["down", "r0"]);
    expect_gone(node, &device);
    assert!(!mark.exists());
    node.must(&["down", "r0"]);
    bed.0.b.wait_state("the peer is lost", SOON, |state| state.connection != "Connected");
    bed.0.b.must(&["primary", "r0"]);
}

#[test]
fn a_signal_ends_a_daemon_in_order_unless_its_device_is_in_use() {
    let Some(mut bed) = Attaching::new(&options()) else { return };
    let first = device(&bed.0.a);
    let mark = bed.0.a.nbd_socket().with_extension("resume");
    let old_server = servers(&bed.0.a)[0];
    let mut user = Some(opened(&first));
    for is_used in [true, false] {
        kill_process(bed.0.a.pid(), Signal::TERM).expect("it runs");
        wait_until("it ends", SOON, || !bed.0.a.is_alive());
        assert_eq!(mark.exists(), is_used, "in use: {is_used}");
        bed.0.a.kill9();
        let Some(user) = user.take() else { break };
        let log = bed.0.a.log();
        let said = "unmount or close it first; this daemon ends as a Primary";
        for part in ["(sleep) (exit code 1); ", said, "gets errors from now on"] {
            assert!(log.contains(part), "{part}: {log}");
        }
        user.kill();
        bed.0.a.up();
        bed.0.a.wait_state("it goes on", SOON, |state| state.role == "Primary");
        wait_for_another(&bed.0.a, old_server);
    }
    expect_gone(&bed.0.a, &first);
    bed.0.a.up();
    assert_eq!(bed.0.a.state().role, "Secondary", "an orderly end keeps no role");
}

#[test]
fn a_device_whose_server_ends_is_replaced() {
    let Some(bed) = Attaching::new(&options()) else { return };
    let node = &bed.0.a;
    let old = servers(node)[0];
    kill_process(old, Signal::KILL).expect("it runs");
    wait_for_another(node, old);
    dsync(&device(node)).write_all_at(&[7; 4096], 0).expect("it takes writes");
    // The same of one whose loop device was detached by hand.
    let detached = device(node);
    client_command(tied("losetup").arg("--detach").arg(&detached));
    let is_there = || fs::read_link(node.device_link()).is_ok_and(|path| backing(&path).is_some());
    wait_until("a device again", NOTICED_MAX, is_there);
    bed.0.expect_equal();
}

#[test]
fn a_new_size_is_seen_after_the_next_promotion_and_the_log_says_so() {
    let Some(bed) = Attaching::new(&options()) else { return };
    let pair = &bed.0;
    let blockdev = |node: &Node| {
        let output = client_command(tied("blockdev").arg("--getsize64").arg(device(node)));
        output.stdout.trim().parse::<u64>().expect("a number")
    };
    let old = blockdev(&pair.a);
    for node in [&pair.a, &pair.b] {
        let file = File::options().write(true).open(node.disk()).unwrap();
        file.set_len(96 * MIB).expect("a file grows");
    }
    pair.a.must(&["resize", "r0"]);
    let new = pair.a.state().size_bytes;
    assert!(new > old);
    assert_eq!(blockdev(&pair.a), old);
    let said = format!("keeps its size of {old} bytes until the next promotion");
    wait_until("the log says so", SOON, || pair.a.log().contains(&said));
    dsync(&device(&pair.a)).write_all_at(&[9; 4096], old - 4096).expect("it works on");
    pair.a.must(&["secondary", "r0"]);
    pair.a.must(&["primary", "r0"]);
    assert_eq!(blockdev(&pair.a), new);
    dsync(&device(&pair.a)).write_all_at(&[9; 4096], new - 4096).expect("it has the new part");
    pair.expect_equal();
}
