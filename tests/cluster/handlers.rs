//! Handlers of real daemons: what they are told, and that they hold nobody up.

use crate::bed::{SOON, configure, options};
use std::fs;
use std::path::Path;
use testbed::nbd_client::NbdClient;
use testbed::network::Cut;
use testbed::{Node, Pair, wait_until};

/// A pair in sync on a link that can be cut, with `handlers` as lines of that table.
fn pair_with_handlers(handlers: impl Fn(&Path) -> String) -> Option<Pair> {
    let mut pair = Pair::new(&options().separate())?;
    let lines = handlers(pair.scratch());
    configure(&pair, "[node.a]", &format!("[handlers]\n{lines}\n[node.a]"));
    pair.bring_into_sync();
    Some(pair)
}

fn write_alone(node: &Node, byte: u8) {
    let mut client = NbdClient::open(&node.nbd_socket(), "r0").unwrap();
    client.write(0, &[byte; 4096], false).unwrap();
}

/// Both nodes are written to alone and meet again.
fn split(pair: &Pair) {
    pair.cut_link(Cut::Both);
    for node in [&pair.a, &pair.b] {
        node.wait_state("the peer is lost", SOON, |state| state.connection != "Connected");
    }
    write_alone(&pair.a, 1);
    pair.b.must(&["primary", "r0"]);
    write_alone(&pair.b, 2);
    pair.heal_link();
    for node in [&pair.a, &pair.b] {
        node.wait_state("split brain", SOON, |state| state.connection == "StandAlone");
    }
}

#[test]
fn a_split_brain_runs_its_handler_on_both_nodes_with_drbds_environment() {
    let script = "echo $DRBD_RESOURCE $DRBD_PEER $BLKREP_HANDLER $DRBD_LL_DISK";
    let pair = pair_with_handlers(|scratch| {
        format!("split-brain = '{script} > {}/told.$BLKREP_NODE'\n", scratch.display())
    });
    let Some(pair) = pair else { return };
    split(&pair);
    for (node, peer) in [(&pair.a, "b"), (&pair.b, "a")] {
        let told = pair.scratch().join(format!("told.{}", node.name()));
        let text = || fs::read_to_string(&told).unwrap_or_default();
        wait_until("the handler has run", SOON, || text().ends_with('\n'));
        assert_eq!(text(), format!("r0 {peer} split-brain {}\n", node.disk().display()));
        wait_until("its end is in the log", SOON, || {
            node.log().contains("split-brain ended with 0")
        });
    }
}

#[test]
fn what_a_handler_says_is_in_the_log_and_its_time_is_bounded() {
    let pair = pair_with_handlers(|_| {
        "split-brain = 'echo this is said; sleep 60'\nhandler-timeout = \"1s\"\n".to_owned()
    });
    let Some(pair) = pair else { return };
    split(&pair);
    for node in [&pair.a, &pair.b] {
        wait_until("it is killed", SOON, || {
            node.log().contains("split-brain did not end by itself")
        });
        assert!(node.log().contains("handler split-brain: this is said"), "{}", node.log_tail());
        assert!(node.log().contains("raise 'handler-timeout'"), "{}", node.log_tail());
        // The data path did not wait for it.
        assert_eq!(node.state().connection, "StandAlone");
    }
}

#[test]
fn a_handler_does_not_hold_the_lock_of_the_disk() {
    let pair = pair_with_handlers(|scratch| {
        // It outlives its daemon, and the test ends it.
        let pids = scratch.join("pids");
        format!("split-brain = 'echo $$ >> {}; exec sleep 60'\n", pids.display())
    });
    let Some(mut pair) = pair else { return };
    split(&pair);
    let pids = pair.scratch().join("pids");
    let lines = || fs::read_to_string(&pids).unwrap_or_default().lines().count();
    wait_until("both handlers run", SOON, || lines() == 2);
    let _ended = EndedAtLast(fs::read_to_string(&pids).unwrap());
    pair.a.must(&["secondary", "r0"]);
    pair.a.down();
    // Refused while anybody holds the lock.
    pair.a.must(&["create-md", "--force", "r0"]);
}

/// Ends the processes of these ids, also when the test fails.
struct EndedAtLast(String);

impl Drop for EndedAtLast {
    fn drop(&mut self) {
        for pid in self.0.lines().filter_map(|line| line.parse().ok()) {
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
            }
        }
    }
}
