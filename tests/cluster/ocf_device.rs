//! The resource agent with a block device that is mounted, made by the shipped attach helper: a
//! Primary that dies or freezes under a file system is demoted and stopped without a hang.

use crate::agent_bed::{Cluster, daemon};
use crate::attach_helper::HELPER;
use crate::bed::{SOON, client_command, configure, options};
use rustix::process::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use testbed::block_device::require_block_devices;
use testbed::program::{Output, run};
use testbed::skips::require_tool;
use testbed::{Node, wait_until};

/// Longest run of a tool on a node.
const TOOL_MAX: Duration = Duration::from_secs(60);
/// Time for the daemon to ask its helper twice, on a busy machine, whether the device is in use.
const SHORT: (&str, &str) = ("OCF_RESKEY_CRM_meta_timeout", "30000");

/// A cluster whose devices are got rid of at its end, also when the test fails.
struct WithDevices(Cluster);

impl WithDevices {
    /// In sync, both nodes Unpromoted; none, with a noted skip, where the machine cannot.
    fn new() -> Option<Self> {
        if !require_block_devices() {
            return None;
        }
        for program in ["setsid", "mkfs.ext4", "mount"] {
            require_tool(program)?;
        }
        let mut cluster = Cluster::new(&options());
        if !(cluster.pair.a.own_mounts() && cluster.pair.b.own_mounts()) {
            return None;
        }
        for node in ["a", "b"] {
            let table = format!("[node.{node}]\n");
            let line = format!("{table}attach-helper = \"sh {HELPER}\"\n");
            configure(&cluster.pair, &table, &line);
        }
        let this = Self(cluster);
        let (a, b) = (&this.0.pair.a, &this.0.pair.b);
        this.0.expect(a, "start", 0);
        this.0.expect(b, "start", 0);
        this.0.pair.wait_connected();
        a.must(&["primary", "--force", "r0"]);
        this.0.pair.wait_in_sync();
        this.0.expect(a, "demote", 0);
        Some(this)
    }

    /// The promoted node's file system, mounted there.
    fn mounted(&self, node: &Node) -> PathBuf {
        let device = fs::read_link(node.device_link()).expect("the device is linked");
        let place = self.0.pair.scratch().join("mnt");
        fs::create_dir_all(&place).expect("the scratch directory is writable");
        client_command(node.command("mkfs.ext4").args(["-q", "-F"]).arg(&device));
        client_command(node.command("mount").args([&device, &place]));
        place
    }
}

impl Drop for WithDevices {
    fn drop(&mut self) {
        for node in [&self.0.pair.a, &self.0.pair.b] {
            if daemon(node).is_some() {
                self.0.signal(node, Signal::KILL);
            }
            let mut command = node.command("sh");
            command.args([HELPER, "drop"]).env("BLKREP_RESOURCE", "r0");
            // Nobody is left to be told about what does not go.
            run(command.env("BLKREP_RUN_DIR", node.run_dir()), TOOL_MAX);
        }
    }
}

/// What Filesystem's stop does.
fn unmount(node: &Node, place: &Path) -> Output {
    run(node.command("umount").arg(place), TOOL_MAX)
}

#[test]
fn a_promotion_makes_the_device_and_one_in_use_is_named_and_kept() {
    let Some(bed) = WithDevices::new() else { return };
    let (cluster, a) = (&bed.0, &bed.0.pair.a);
    assert!(!a.device_link().is_symlink(), "a Secondary has none");
    cluster.expect(a, "promote", 0);
    cluster.expect(a, "monitor", 8);
    let place = bed.mounted(a);
    for action in ["demote", "stop"] {
        let refused = cluster.expect_with(a, action, &[SHORT], 1);
        assert!(refused.contains(&place.display().to_string()), "{action}: {refused}");
        cluster.expect(a, "monitor", 8);
    }
    unmount(a, &place).expect_success("umount");
    cluster.expect(a, "stop", 0);
    assert!(!a.device_link().is_symlink());
    cluster.expect(a, "monitor", 7);
}

#[test]
fn a_file_system_over_a_dead_or_frozen_primary_can_be_unmounted_before_the_demotion() {
    let Some(bed) = WithDevices::new() else { return };
    let (cluster, a, b) = (&bed.0, &bed.0.pair.a, &bed.0.pair.b);
    for (signal, cure) in
        [(Signal::STOP, "demote"), (Signal::KILL, "demote"), (Signal::KILL, "stop")]
    {
        cluster.expect(a, "promote", 0);
        let place = bed.mounted(a);
        cluster.signal(a, signal);
        // The order of the cluster: the failure is seen, what uses the device is stopped, and only
        // then it is demoted.
        cluster.expect(a, "monitor", 9);
        let unmounted = unmount(a, &place);
        assert_eq!(unmounted.code, 0, "{signal:?}: {unmounted:?}");
        cluster.expect(a, cure, 0);
        assert!(!a.device_link().is_symlink(), "{cure} left the device");
        cluster.expect(a, "monitor", if cure == "stop" { 7 } else { 0 });
        cluster.expect(b, "promote", 0);
        wait_until("the other node's device", SOON, || b.device_link().is_symlink());
        cluster.expect(b, "demote", 0);
        cluster.expect(a, "start", 0);
        cluster.pair.wait_in_sync();
    }
}

#[test]
fn a_stop_of_a_dead_primary_needs_neither_its_configuration_nor_its_users() {
    let Some(bed) = WithDevices::new() else { return };
    let (cluster, a) = (&bed.0, &bed.0.pair.a);
    cluster.expect(a, "promote", 0);
    let place = bed.mounted(a);
    fs::write(a.config_file(), "nonsense").unwrap();
    cluster.signal(a, Signal::KILL);
    cluster.expect_with(a, "monitor", &[("OCF_RESKEY_CRM_meta_interval", "0")], 9);
    cluster.expect(a, "stop", 0);
    assert!(!a.device_link().is_symlink());
    cluster.expect(a, "monitor", 7);
    unmount(a, &place);
}
