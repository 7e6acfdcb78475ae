//! The resource agent as Pacemaker calls it: the installed wrapper, its environment, and a
//! `crm_attribute` that notes what it was told.

use crate::bed::options;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use testbed::program::{Output, run};
use testbed::{Node, Pair, PairOptions, wait_until};

/// Longest action: above the longest timeout that a test gives one.
const ACTION_MAX: Duration = Duration::from_secs(70);
/// An action whose outputs are still open so long after its end has left them to a daemon: the
/// cluster would wait for it.
const OUTPUT_MAX: Duration = Duration::from_secs(80);

/// Two nodes whose daemons the agent starts and ends.
pub(crate) struct Cluster {
    pub(crate) pair: Pair,
}

/// The wrapper in the work tree.
pub(crate) fn wrapper() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/ocf/blkrep")
}

/// Writes a program.
pub(crate) fn script(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("it has a folder")).expect("it can be made");
    fs::write(path, text).expect("the scratch directory is writable");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
}

impl Cluster {
    /// Two nodes with fresh metadata, nothing running.
    pub(crate) fn new(options: &PairOptions) -> Self {
        let pair = Pair::new(options).expect("loopback is everywhere");
        pair.create_md();
        let cluster = Self { pair };
        for program in ["crm_attribute", "crm_master"] {
            let text = format!("#!/bin/sh\necho \"{program} $*\" >>\"$BLKREP_TEST_SCORES\"\n");
            script(&cluster.bin().join(program), &text);
        }
        cluster
    }

    /// Two nodes in sync, started by the agent; the first one is Primary.
    pub(crate) fn synced() -> Self {
        let cluster = Self::new(&options());
        for node in [&cluster.pair.a, &cluster.pair.b] {
            cluster.expect(node, "start", 0);
        }
        cluster.pair.wait_connected();
        cluster.pair.a.must(&["primary", "--force", "r0"]);
        cluster.pair.wait_in_sync();
        cluster
    }

    /// Where the cluster's programs are.
    pub(crate) fn bin(&self) -> PathBuf {
        self.pair.scratch().join("bin")
    }

    /// The action as Pacemaker 2.1 calls it.
    pub(crate) fn command(&self, node: &Node, action: &str) -> Command {
        let mut command = node.command(wrapper());
        let program = Path::new(env!("CARGO_BIN_EXE_blkrep"));
        let folder = program.parent().expect("a file has a folder");
        command
            .arg(action)
            .env("PATH", format!("{}:{}:/usr/bin:/bin", self.bin().display(), folder.display()))
            .env("BLKREP_CONFIG_DIR", etc(node))
            .env("BLKREP_RUN_DIR", run_dir(node))
            .env("BLKREP_NODE", node.name())
            .env("BLKREP_TEST_SCORES", run_dir(node).join("scores"))
            .env("OCF_ROOT", "/usr/lib/ocf")
            .env("OCF_RA_VERSION_MAJOR", "1")
            .env("OCF_RA_VERSION_MINOR", "1")
            .env("OCF_RESOURCE_INSTANCE", "p_r0")
            .env("OCF_RESKEY_resource", "r0")
            .env("OCF_RESKEY_wfc_timeout", "0")
            .env("OCF_RESKEY_crm_feature_set", "3.16.1")
            .env("OCF_RESKEY_CRM_meta_timeout", "60000")
            .env("OCF_RESKEY_CRM_meta_interval", "10000")
            .env("OCF_RESKEY_CRM_meta_clone_max", "2")
            .env("OCF_RESKEY_CRM_meta_promoted_max", "1")
            .env("OCF_RESKEY_CRM_meta_notify", "true");
        command
    }

    /// Runs an action with more, or other, variables. What holds for every action is checked: it
    /// prints nothing on standard output, says why it failed, and leaves its outputs to nobody.
    pub(crate) fn act(&self, node: &Node, action: &str, variables: &[(&str, &str)]) -> Output {
        let mut command = self.command(node, action);
        command.envs(variables.iter().copied());
        let (sender, receiver) = mpsc::channel();
        // The thread that starts it must live as long as it does.
        let runner = thread::spawn(move || {
            sender.send(run(&mut command, ACTION_MAX)).ok();
        });
        let Ok(output) = receiver.recv_timeout(OUTPUT_MAX) else {
            panic!("{action} on {}: its outputs stay open", node.name())
        };
        runner.join().expect("it has sent its result");
        println!(
            "{} {action} {variables:?}: {} {}",
            node.name(),
            output.code,
            output.stderr.trim()
        );
        assert_eq!(output.stdout, "", "{action} prints");
        let is_told = output.stderr.lines().any(|line| line.starts_with("ocf-exit-reason:"));
        let is_failure = ![0, 7, 8].contains(&output.code);
        assert!(is_told || !is_failure, "{action}: {} without a reason", output.code);
        output
    }

    /// Runs an action that must end with `code`; its standard error.
    pub(crate) fn expect(&self, node: &Node, action: &str, code: i32) -> String {
        self.expect_with(node, action, &[], code)
    }

    /// As [`Cluster::expect`], with more variables.
    pub(crate) fn expect_with(
        &self,
        node: &Node,
        action: &str,
        variables: &[(&str, &str)],
        code: i32,
    ) -> String {
        let what = format!("{action} on {} with {variables:?}", node.name());
        self.act(node, action, variables).expect_code(code, &what).stderr
    }

    /// The last thing that the cluster was told of the node's score.
    pub(crate) fn score(&self, node: &Node) -> String {
        let told = fs::read_to_string(run_dir(node).join("scores")).unwrap_or_default();
        told.lines().last().unwrap_or_default().to_owned()
    }

    /// Sends the daemon of a node a signal; a killed one is gone afterwards.
    pub(crate) fn signal(&self, node: &Node, signal: Signal) {
        let pid = daemon(node).expect("the daemon of this node runs");
        kill_process(pid, signal).expect("it is ours");
        if signal == Signal::KILL {
            wait_until("it is gone", ACTION_MAX, || test_kill_process(pid).is_err());
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in [&self.pair.a, &self.pair.b] {
            let begun = Instant::now();
            while let Some(pid) = daemon(node)
                && begun.elapsed() < ACTION_MAX
            {
                kill_process(pid, Signal::KILL).ok();
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// The directory of the node's configuration.
pub(crate) fn etc(node: &Node) -> PathBuf {
    node.config_file().parent().expect("a file has a folder").to_owned()
}

/// The node's run directory.
pub(crate) fn run_dir(node: &Node) -> PathBuf {
    node.nbd_socket().parent().expect("a file has a folder").to_owned()
}

/// The file by which a dead daemon would be Primary again.
pub(crate) fn mark(node: &Node) -> PathBuf {
    node.nbd_socket().with_extension("resume")
}

/// The daemon that serves this node's run directory, whoever started it; one that has ended and
/// was not waited for does not count.
pub(crate) fn daemon(node: &Node) -> Option<Pid> {
    let wanted = format!("--run-dir\0{}\0", run_dir(node).display());
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line);
        (line.contains("\0daemon\0") && line.contains(&wanted)).then(|| Pid::from_raw(pid))?
    })
}
