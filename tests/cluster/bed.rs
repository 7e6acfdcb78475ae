//! What the tests of this folder begin with: a pair of the program under test.

use std::process::Command;
use std::time::Duration;
use testbed::program::{Output, Running, run, tied};
use testbed::{Pair, PairOptions, fio};

/// Longest run of a client program.
pub(crate) const CLIENT_MAX: Duration = Duration::from_secs(60);
/// Longest wait for something that should happen at once or after one timeout.
pub(crate) const SOON: Duration = Duration::from_secs(20);
/// Bytes of a MiB.
pub(crate) const MIB: u64 = 1 << 20;

/// Two backing files of 64 MiB on loopback.
pub(crate) fn options() -> PairOptions {
    PairOptions::new(env!("CARGO_BIN_EXE_blkrep"))
}

/// Changes the configuration file of both nodes.
pub(crate) fn configure(pair: &Pair, old: &str, new: &str) {
    for node in [&pair.a, &pair.b] {
        let file = node.config_file();
        let text = std::fs::read_to_string(&file).expect("a node has a configuration");
        assert!(text.contains(old), "there is no {old:?} in {text}");
        std::fs::write(&file, text.replacen(old, new, 1)).expect("it can be written");
    }
}

/// Two nodes in sync on loopback, the first one Primary.
pub(crate) fn synced_pair() -> Pair {
    synced(&options()).expect("loopback is everywhere")
}

/// Two nodes in sync with a link that can be cut, the first one Primary; none, with a noted skip,
/// when the machine has no namespaces.
pub(crate) fn synced_pair_with_wire() -> Option<Pair> {
    synced(&options().separate())
}

/// Two nodes in sync, the first one Primary.
pub(crate) fn synced(options: &PairOptions) -> Option<Pair> {
    let mut pair = Pair::new(options)?;
    pair.bring_into_sync();
    Some(pair)
}

/// Runs a client program to its successful end.
pub(crate) fn client(program: &str, arguments: &[&str]) -> Output {
    client_command(tied(program).args(arguments))
}

/// Runs a client to its successful end.
pub(crate) fn client_command(command: &mut Command) -> Output {
    let shown = format!("{command:?}");
    // nbdsh starts the first python3; libnbd's module belongs to that of the system.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("/usr/bin:{path}"));
    run(command, CLIENT_MAX).expect_success(&shown)
}

/// Random writes of 4 KiB on the whole device of the first node, for as long as the test goes on
/// (at most `seconds`).
pub(crate) fn write_load(pair: &Pair, seconds: u32) -> Running {
    let runtime = format!("--runtime={seconds}");
    let arguments = ["--rw=randwrite", "--bs=4k", "--iodepth=16", "--time_based", &runtime];
    let load = fio::start(&pair.a, pair.scratch(), &arguments);
    wait_for_writes(pair, 100);
    load
}

/// Waits until clients of the first node have written `more` times since now.
pub(crate) fn wait_for_writes(pair: &Pair, more: u64) {
    let before = client_writes(pair);
    testbed::wait_until("the client writes", SOON, || client_writes(pair) >= before + more);
}

/// Number of writes that clients of the first node have made.
pub(crate) fn client_writes(pair: &Pair) -> u64 {
    let status = pair.a.status();
    let number = status.pointer("/blkrep/counters/client-writes");
    number.and_then(serde_json::Value::as_u64).expect("the status counts writes")
}
