//! How long a node waits for its peer, by how it went down and what it knows of the peer (G6).

use crate::bed::{SOON, configure, options, synced};
use std::fs;
use testbed::nbd_client::NbdClient;
use testbed::program::Server;
use testbed::{Node, Pair, PairOptions, wait_until};

/// All three are short, and a message names the one that held.
const SHORT: [&str; 4] = [
    "wfc-timeout = \"1200ms\"",
    "degr-wfc-timeout = \"1100ms\"",
    "outdated-wfc-timeout = \"1000ms\"",
    "wait-after-sb = false",
];

fn with_startup(lines: &[&str]) -> PairOptions {
    let startup = lines.iter().map(|&line| line.to_owned()).collect();
    PairOptions { startup, ..options() }
}

fn pair_with(lines: &[&str]) -> Pair {
    synced(&with_startup(lines)).expect("loopback is everywhere")
}

/// Both waits end at the timeout, which they name with its cause, and with what to do.
fn expect_timeout(node: &Node, key: &str, cause: &str) {
    for verb in ["wait-connect", "wait-sync"] {
        let output = node.run(&[verb, "r0"]).expect_code(5, verb);
        let limit = format!("({key}: {cause})");
        let [waiting, at_the_end] = ["r0: waiting up to 1", "r0: waited up to 1"].map(|begin| {
            let line = output.stderr.lines().find(|line| line.contains(begin));
            line.unwrap_or_else(|| panic!("no '{begin}': {}", output.stderr))
        });
        assert!(waiting.contains(&limit), "no '{limit}': {waiting}");
        assert!(at_the_end.contains(&limit), "no '{limit}': {at_the_end}");
        assert!(at_the_end.contains("start blkrep on b"), "no next step: {at_the_end}");
    }
}

fn expect_degraded(node: &Node) {
    let cause = "this node was Primary without its peer when it went down";
    expect_timeout(node, "degr-wfc-timeout", cause);
}

/// The second node is killed, the first one notices. What it must remember of that is on its disk
/// when a write is acknowledged, if it is Primary.
fn lose_b(pair: &mut Pair) {
    pair.b.kill9();
    pair.a.wait_state("the loss is noticed", SOON, |state| state.connection != "Connected");
    if pair.a.state().role == "Primary" {
        write_alone(&pair.a, 0x0a);
        pair.a.wait_state("the client has left", SOON, |state| state.clients == 0);
    }
}

/// The first node's daemon crashes and starts again; nobody promotes it.
fn crash_a(pair: &mut Pair) {
    pair.a.kill9();
    pair.a.forget_role();
    pair.a.up();
}

#[test]
fn after_an_orderly_stop_the_ordinary_timeout_holds() {
    let mut pair = pair_with(&SHORT);
    lose_b(&mut pair);
    pair.a.must(&["secondary", "r0"]);
    pair.a.down();
    pair.a.up();
    expect_timeout(&pair.a, "wfc-timeout", "an ordinary start");
}

#[test]
fn a_primary_that_crashed_with_its_peer_waits_the_ordinary_time() {
    let mut pair = pair_with(&SHORT);
    pair.a.kill9();
    pair.b.kill9();
    pair.a.forget_role();
    pair.a.up();
    expect_timeout(&pair.a, "wfc-timeout", "an ordinary start");
}

#[test]
fn a_primary_that_crashed_without_its_peer_waits_the_degraded_time_until_they_meet() {
    let mut pair = pair_with(&SHORT);
    lose_b(&mut pair);
    crash_a(&mut pair);
    expect_degraded(&pair.a);
    crash_a(&mut pair);
    expect_degraded(&pair.a);
    pair.b.up();
    pair.wait_in_sync();
    pair.a.must(&["wait-connect", "r0"]);
    pair.a.must(&["wait-sync", "r0"]);
    lose_b(&mut pair);
    expect_timeout(&pair.a, "wfc-timeout", "an ordinary start");
    crash_a(&mut pair);
    expect_timeout(&pair.a, "wfc-timeout", "an ordinary start");
}

#[test]
fn a_node_that_was_promoted_alone_and_crashed_waits_the_degraded_time() {
    let mut pair = pair_with(&SHORT);
    pair.a.must(&["secondary", "r0"]);
    lose_b(&mut pair);
    pair.a.must(&["primary", "r0"]);
    crash_a(&mut pair);
    expect_degraded(&pair.a);
}

#[test]
fn an_outdated_peer_is_waited_for_the_shortest_time() {
    let mut with = with_startup(&SHORT);
    with.disk.push("fencing = \"resource-only\"".to_owned());
    with.handlers.push("fence-peer = \"exit 4\"".to_owned());
    let mut pair = synced(&with).expect("loopback is everywhere");
    lose_b(&mut pair);
    let outdated = |pair: &Pair| {
        pair.a.wait_state("b is outdated", SOON, |state| state.peer_disk == "Outdated");
        expect_timeout(&pair.a, "outdated-wfc-timeout", "the peer is known to be outdated");
    };
    outdated(&pair);
    crash_a(&mut pair);
    outdated(&pair);
    pair.a.down();
    pair.a.up();
    outdated(&pair);
    pair.b.up();
    pair.wait_in_sync();
    lose_b(&mut pair);
    expect_timeout(&pair.a, "wfc-timeout", "an ordinary start");
}

/// Begins a wait on the first node, and returns when it has said `said`.
fn begin(pair: &Pair, verb: &str, said: &str) -> (Server, std::path::PathBuf) {
    let log = pair.scratch().join(format!("{verb}.log"));
    let server = pair.a.begin_logged(&[verb, "r0"], &log);
    wait_until(&format!("{verb} says '{said}'"), SOON, || said_in(&log).contains(said));
    (server, log)
}

fn said_in(log: &std::path::Path) -> String {
    fs::read_to_string(log).unwrap_or_default()
}

#[test]
fn a_peer_that_comes_in_time_ends_the_wait_well() {
    let mut pair = pair_with(&["wfc-timeout = \"1h\"", "degr-wfc-timeout = \"10min\""]);
    lose_b(&mut pair);
    crash_a(&mut pair);
    let said = "waiting up to 10min (degr-wfc-timeout: ";
    let (mut connect, connect_log) = begin(&pair, "wait-connect", said);
    let (mut sync, sync_log) = begin(&pair, "wait-sync", said);
    assert_eq!((connect.ended(), sync.ended()), (None, None), "they do not wait");
    pair.b.up();
    for (server, log) in [(&mut connect, connect_log), (&mut sync, sync_log)] {
        let code = server.wait_end(SOON);
        let said = said_in(&log);
        assert_eq!(code, 0, "{said}");
        assert!(said.ends_with(": reached\n"), "{said}");
    }
    assert!(pair.a.state().is_in_sync(), "wait-sync ended before that");
}

fn write_alone(node: &Node, byte: u8) {
    let mut client = NbdClient::open(&node.nbd_socket(), "r0").expect("a Primary serves");
    client.write(0, &[byte; 4096], false).expect("it can be written alone");
}

/// Both nodes wrote alone and met.
fn split(pair: &Pair) {
    pair.a.must(&["disconnect", "r0"]);
    pair.b.wait_state("the loss is noticed", SOON, |state| state.connection != "Connected");
    pair.b.must(&["primary", "r0"]);
    for (node, byte) in [(&pair.a, 0xaa), (&pair.b, 0xbb)] {
        write_alone(node, byte);
        node.wait_state("the client has left", SOON, |state| state.clients == 0);
        node.must(&["secondary", "r0"]);
    }
    pair.a.must(&["connect", "r0"]);
    for node in [&pair.a, &pair.b] {
        node.wait_state("StandAlone", SOON, |state| {
            state.connection == "StandAlone" && state.refusal.is_some()
        });
    }
}

#[test]
fn a_split_brain_ends_the_wait_unless_it_is_to_be_waited_for() {
    let pair = pair_with(&SHORT);
    split(&pair);
    for node in [&pair.a, &pair.b] {
        let output = node.run(&["wait-connect", "r0"]).expect_code(11, "a split brain");
        assert!(output.stderr.contains("Split-Brain detected"), "{}", output.stderr);
        assert!(output.stderr.contains("wait-after-sb is false"), "{}", output.stderr);
        assert!(output.stderr.contains("'blkrep "), "no next step: {}", output.stderr);
    }
    configure(&pair, "wait-after-sb = false", "wait-after-sb = true");
    let output = pair.a.run(&["wait-connect", "r0"]).expect_code(5, "nobody resolves it");
    assert!(output.stderr.contains("waiting on (wait-after-sb): "), "{}", output.stderr);
    assert!(output.stderr.contains("still StandAlone"), "{}", output.stderr);
    configure(&pair, SHORT[0], "wfc-timeout = \"0s\"");
    let (mut wait, log) = begin(&pair, "wait-sync", "waiting for ever (wfc-timeout: ");
    assert!(said_in(&log).contains("Split-Brain detected"), "{}", said_in(&log));
    assert_eq!(wait.ended(), None, "it does not wait");
    pair.a.must(&["connect", "--discard-my-data", "r0"]);
    pair.b.must(&["connect", "r0"]);
    assert_eq!(wait.wait_end(SOON), 0, "{}", said_in(&log));
    pair.expect_equal();
}

#[test]
fn a_command_that_made_a_node_stand_alone_ends_the_wait_in_any_case() {
    let pair = pair_with(&["wait-after-sb = true"]);
    pair.a.must(&["disconnect", "r0"]);
    let output = pair.a.run(&["wait-connect", "r0"]).expect_code(11, "told to disconnect");
    assert!(output.stderr.contains("blkrep connect r0"), "no next step: {}", output.stderr);
}
