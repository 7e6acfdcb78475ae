//! Attach helpers that fail, hang or make nothing of use: the node is Primary all the same, the
//! answer says what to do, and nothing half done is left.

use crate::bed::{SOON, configure, options};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use testbed::block_device::{LoopDevice, require_block_devices};
use testbed::nbd_client::NbdClient;
use testbed::pair::sparse_file;
use testbed::{Pair, wait_until};

/// A failed attach is tried again after 10 s.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Notes how it is called, and then does what a file says.
const SCRIPT: &str = "#!/bin/sh
echo \"$1 served=$BLKREP_SERVED device=$BLKREP_BLOCK_DEVICE\" >>\"$0.calls\"
[ \"$1\" = attach ] && env >\"$0.env\"
. \"$0.$1\"
";

/// A pair in sync, both nodes Secondary, with a helper of the test on the first node.
struct Scripted {
    pair: Pair,
    script: PathBuf,
}

impl Scripted {
    fn new() -> Option<Self> {
        let mut pair = Pair::new(&options()).expect("loopback is everywhere");
        if !(pair.a.own_mounts() && pair.b.own_mounts()) {
            return None;
        }
        let script = pair.scratch().join("helper");
        fs::write(&script, SCRIPT).expect("the scratch directory is writable");
        let line = format!("attach-helper = \"sh {}\"\n", script.display());
        configure(&pair, "[node.a]\n", &format!("[node.a]\n{line}"));
        configure(&pair, "[node.a]", "[handlers]\nhandler-timeout = \"2s\"\n\n[node.a]");
        let this = Self { script: script.clone(), pair };
        this.does("attach", "echo not today >&2; exit 3");
        this.does("detach", "exit 0");
        this.does("drop", "exit 0");
        let mut this = this;
        this.pair.create_md();
        this.pair.up();
        this.pair.wait_connected();
        // The initial sync needs a Primary.
        this.pair.b.must(&["primary", "--force", "r0"]);
        this.pair.wait_in_sync();
        this.pair.b.must(&["secondary", "r0"]);
        Some(this)
    }

    /// What the helper does from now on.
    fn does(&self, action: &str, what: &str) {
        let file = self.script.with_extension(action);
        let fresh = self.script.with_extension("new");
        fs::write(&fresh, format!("{what}\n")).and_then(|()| fs::rename(&fresh, file)).unwrap();
    }

    /// How it was called.
    fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.script.with_extension("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Promotes the node; what is said of the helper that has not done its part.
    fn promoted_without_device(&self) -> String {
        let refused = self.pair.a.run(&["primary", "r0"]).expect_code(20, "no device");
        assert_eq!(self.pair.a.state().role, "Primary");
        assert!(!self.pair.a.device_link().is_symlink(), "a link to nothing");
        for part in ["r0 is Primary all the same", "'blkrep primary r0' again"] {
            assert!(refused.stderr.contains(part), "{}", refused.stderr);
        }
        refused.stderr
    }
}

#[test]
fn a_helper_that_fails_is_no_reason_not_to_be_primary() {
    let Some(bed) = Scripted::new() else { return };
    // Whatever a dead daemon may have left goes before anything else.
    assert_eq!(bed.calls(), ["drop served=0 device="]);
    let said = bed.promoted_without_device();
    assert!(said.contains("attach-helper attach: not today (exit code 3)"), "{said}");
    let mut client = NbdClient::open(&bed.pair.a.nbd_socket(), "r0").expect("the socket serves");
    client.write(0, &[1; 4096], true).unwrap();
    drop(client);
    // What is half done would be a client, so it goes at once.
    let calls = bed.calls();
    let last_attach = calls.iter().rposition(|call| call.starts_with("attach")).unwrap();
    assert_eq!(calls[last_attach..], ["attach served=1 device=", "drop served=0 device="]);
    bed.pair.a.must(&["secondary", "r0"]);
    assert!(!bed.calls().iter().any(|call| call.starts_with("detach")), "{:?}", bed.calls());
}

#[test]
fn a_failed_attach_is_tried_again_and_the_log_says_a_reason_once() {
    let Some(bed) = Scripted::new() else { return };
    bed.promoted_without_device();
    let attempts = || bed.calls().iter().filter(|call| call.starts_with("attach")).count();
    let before = attempts();
    wait_until("more attempts", RETRY_MAX, || attempts() >= before + 2);
    let log = bed.pair.a.log();
    let said = "the attach helper's device is not attached: attach-helper attach: not today";
    assert_eq!(log.matches(said).count(), 1, "{log}");
    bed.does("attach", "echo another reason >&2; exit 1");
    let other = "is not attached: attach-helper attach: another reason (exit code 1); it is tried";
    wait_until("the other reason", RETRY_MAX, || bed.pair.a.log().contains(other));
}

#[test]
fn a_helper_that_hangs_is_killed_with_what_it_started() {
    let Some(bed) = Scripted::new() else { return };
    let pids = bed.script.with_extension("pids");
    bed.does("attach", &format!("sleep 600 & echo $! >>{}; echo slow >&2; wait", pids.display()));
    let said = bed.promoted_without_device();
    assert!(said.contains("attach: not done after 2 s, killed (its last words: slow)"), "{said}");
    let text = fs::read_to_string(&pids).expect("it ran");
    for pid in text.lines() {
        let stat = format!("/proc/{pid}/stat");
        let is_gone = || fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
        wait_until("the helper's child ends", SOON, is_gone);
    }
    // One that hangs in its drop keeps nobody from becoming Secondary later.
    bed.does("drop", "sleep 600");
    let refused = bed.pair.a.run(&["primary", "r0"]).expect_code(20, "the drop hangs");
    assert!(refused.stderr.contains("attach-helper drop: not done"), "{}", refused.stderr);
    let refused = bed.pair.a.run(&["secondary", "r0"]).expect_code(20, "the drop hangs");
    assert!(refused.stderr.contains("attach-helper drop: not done"), "{}", refused.stderr);
    assert_eq!(bed.pair.a.state().role, "Primary", "something may still write");
    bed.does("drop", "exit 0");
    bed.pair.a.must(&["secondary", "r0"]);
}

#[test]
fn what_is_no_device_of_the_right_size_is_not_linked() {
    let Some(bed) = Scripted::new() else { return };
    for (does, said) in [
        ("exit 0", "the path of a block device, and is nothing"),
        ("echo /dev/null", "/dev/null is no block device"),
        ("echo; echo /nowhere; echo >&2 /dev/null", "/nowhere cannot be looked at"),
        ("exit 7", "it gives no reason; run it by hand (exit code 7)"),
    ] {
        bed.does("attach", does);
        let text = bed.promoted_without_device();
        assert!(text.contains(said), "{does}: {text}");
        bed.pair.a.must(&["secondary", "r0"]);
    }
    let env = fs::read_to_string(bed.script.with_extension("env")).expect("it ran");
    let socket = bed.pair.a.nbd_socket();
    let size = bed.pair.b.state().size_bytes;
    for line in [
        "BLKREP_RESOURCE=r0".to_owned(),
        format!("BLKREP_NBD_URI={}", bed.pair.a.nbd_uri()),
        format!("BLKREP_DEVICE={}", socket.display()),
        format!("BLKREP_RUN_DIR={}", bed.pair.a.run_dir().display()),
        format!("BLKREP_SIZE_BYTES={size}"),
        "BLKREP_SERVED=1".to_owned(),
    ] {
        assert!(env.lines().any(|found| found == line), "no {line} in {env}");
    }
    assert!(env.lines().any(|line| line.starts_with("BLKREP_BLOCK_BYTES=")), "{env}");
}

#[test]
fn a_device_of_another_size_is_not_linked() {
    let Some(bed) = Scripted::new() else { return };
    if !require_block_devices() {
        return;
    }
    let image = sparse_file(&bed.pair.scratch().join("image"), 1 << 20);
    let Some(device) = LoopDevice::attach(&image) else { return };
    bed.does("attach", &format!("echo {}", device.path().display()));
    let size = bed.pair.b.state().size_bytes;
    let text = bed.promoted_without_device();
    let said = format!("{} has 1048576 bytes, the export has {size}", device.path().display());
    assert!(text.contains(&said), "{text}");
}

#[test]
fn down_of_a_dead_daemon_keeps_its_mark_while_the_helper_says_that_it_is_used() {
    let Some(mut bed) = Scripted::new() else { return };
    bed.promoted_without_device();
    bed.does("detach", "echo in use by the tests >&2; exit 1");
    bed.pair.a.kill9();
    let mark = bed.pair.a.nbd_socket().with_extension("resume");
    let refused = bed.pair.a.run(&["down", "r0"]).expect_code(11, "in use");
    assert!(refused.stderr.contains("in use by the tests (exit code 1); its"), "{refused:?}");
    assert!(mark.exists());
    assert_eq!(bed.calls().last().map(String::as_str), Some("detach served=0 device="));
    bed.does("detach", "sleep 600");
    let refused = bed.pair.a.run(&["down", "r0"]).expect_code(20, "it hangs");
    assert!(refused.stderr.contains("attach-helper detach: not done after 2 s"), "{refused:?}");
    assert!(mark.exists());
    bed.does("detach", "exit 0");
    bed.pair.a.must(&["down", "r0"]);
    assert!(!mark.exists());
}

#[test]
fn a_device_and_a_helper_at_once_are_refused_before_anything_starts() {
    let mut pair = Pair::new(&options()).expect("loopback is everywhere");
    configure(
        &pair,
        "[node.a]\n",
        "[node.a]\ndevice = \"/dev/nbd11\"\nattach-helper = \"/bin/true\"\n",
    );
    let refused = pair.a.run(&["up", "r0"]).expect_code(10, "two devices");
    assert!(refused.stderr.contains("has a 'device' and an 'attach-helper'"), "{refused:?}");
    assert!(!pair.a.is_alive());
}
