//! A `device` is configured and the kernel has no NBD client: the node is Primary all the same, the
//! command says what to do, and the socket serves.
//!
//! With the client it is for `tests/vm`: two machines of their own, whose kernels may be changed.

use crate::bed::{SOON, client, configure, options, synced, synced_pair};
use rustix::process::{Signal, kill_process};
use std::path::Path;
use testbed::skips::skip;
use testbed::{Pair, wait_until};

/// Numbers that no test with a loaded module is likely to have.
const DEVICES: [&str; 2] = ["/dev/nbd11", "/dev/nbd12"];

/// A pair in sync, both nodes Secondary, that knows its devices; none, with a noted skip, where
/// the kernel would really attach them.
fn pair_with_devices() -> Option<Pair> {
    if Path::new("/sys/module/nbd").exists() {
        skip("the kernel's NBD client is loaded here");
        return None;
    }
    let mut pair = synced_pair();
    pair.a.must(&["secondary", "r0"]);
    for (node, device) in ["a", "b"].into_iter().zip(DEVICES) {
        let table = format!("[node.{node}]\n");
        configure(&pair, &table, &format!("{table}device = \"{device}\"\n"));
    }
    pair.a.down();
    pair.b.down();
    pair.up();
    pair.wait_connected();
    Some(pair)
}

#[test]
fn without_the_module_a_promotion_stands_and_says_what_to_do() {
    let Some(mut pair) = pair_with_devices() else { return };
    for attempt in ["promoted", "asked again"] {
        let refused = pair.a.run(&["primary", "r0"]).expect_code(20, attempt);
        for part in
            ["/dev/nbd11", "modprobe nbd", "r0 is Primary all the same", "primary r0' again"]
        {
            assert!(refused.stderr.contains(part), "{attempt}: {part}: {}", refused.stderr);
        }
        assert_eq!(pair.a.state().role, "Primary", "{attempt}");
    }
    let size = client("nbdinfo", &["--size", &pair.a.nbd_uri()]).stdout;
    assert_ne!(size.trim(), "0", "the socket serves the device");
    // Nothing of a device keeps it from being demoted, promoted elsewhere, and stopped.
    pair.a.must(&["secondary", "r0"]);
    pair.b.run(&["primary", "r0"]).expect_code(20, "the other node");
    assert_eq!(pair.b.state().role, "Primary");
    pair.b.run(&["down", "r0"]).expect_code(11, "a Primary is not stopped");
    pair.b.must(&["secondary", "r0"]);
    pair.b.down();
    pair.a.down();
    assert!(!Path::new("/dev/blkrep/by-res/r0").exists(), "a link to nothing");
}

#[test]
fn a_daemon_that_died_without_a_device_is_resumed_and_stopped_as_ever() {
    let Some(mut pair) = pair_with_devices() else { return };
    pair.a.run(&["primary", "r0"]).expect_code(20, "without the module");
    pair.a.kill9();
    pair.a.up();
    pair.a.wait_state("it goes on as the Primary", SOON, |state| state.role == "Primary");
    let said = "the kernel's device is not attached: /dev/nbd11";
    wait_until("a resume tries to attach too", SOON, || pair.a.log().contains(said));
    pair.a.kill9();
    pair.a.must(&["down", "r0"]);
    assert!(!pair.a.nbd_socket().with_extension("resume").exists(), "the stop left the mark");
}

#[test]
fn a_primary_whose_device_nobody_has_ends_in_order_at_a_signal() {
    let Some(mut pair) = pair_with_devices() else { return };
    pair.a.run(&["primary", "r0"]).expect_code(20, "without the module");
    kill_process(pair.a.pid(), Signal::TERM).expect("it runs");
    wait_until("it ends", SOON, || !pair.a.is_alive());
    assert!(!pair.a.nbd_socket().with_extension("resume").exists(), "it ended as a Primary");
    pair.a.kill9();
    pair.a.up();
    assert_eq!(pair.a.state().role, "Secondary", "an orderly end keeps no role");
    pair.b.run(&["primary", "r0"]).expect_code(20, "the other node");
}

#[test]
fn a_device_of_another_resource_is_refused_before_anything_starts() {
    let mut pair = Pair::new(&options()).expect("loopback is everywhere");
    pair.create_md();
    configure(&pair, "[node.a]\n", "[node.a]\ndevice = \"/dev/nbd11\"\n");
    let file = pair.a.config_file();
    let other = std::fs::read_to_string(&file).unwrap().replace("name = \"r0\"", "name = \"r1\"");
    std::fs::write(file.with_file_name("r1.toml"), other).unwrap();
    let refused = pair.a.run(&["up", "r0"]).expect_code(10, "one device for two resources");
    assert!(refused.stderr.contains("that of the resource 'r1' as well"), "{}", refused.stderr);
    assert!(!pair.a.is_alive());
}

#[test]
fn without_a_device_nothing_is_said_about_the_kernel() {
    let pair = synced(&options()).expect("loopback is everywhere");
    let log = pair.a.log();
    assert!(!log.contains("nbd client") && !log.contains("/dev/nbd"), "{log}");
}
