//! Heartbeat's resource script on two real daemons.

use crate::{packaged, path_with, with_program};
use std::time::Duration;
use testbed::ledger::Ledger;
use testbed::program::{Output, run};
use testbed::scratch::Scratch;
use testbed::writer::Writer;
use testbed::{Node, Pair, PairOptions};

const LIMIT: Duration = Duration::from_secs(120);
const SOON: Duration = Duration::from_secs(20);

/// Runs the script as Heartbeat on that node does.
fn blkrepdisk(node: &Node, programs: &Scratch, arguments: &[&str]) -> Output {
    let (config, socket) = (node.config_file(), node.nbd_socket());
    let mut command = node.command(packaged("ha.d/blkrepdisk"));
    command
        .args(arguments)
        .env("PATH", path_with(programs.path()))
        .env("BLKREP_CONFIG_DIR", config.parent().expect("a file has a folder"))
        .env("BLKREP_RUN_DIR", socket.parent().expect("a file has a folder"))
        .env("BLKREP_NODE", node.name());
    run(&mut command, LIMIT)
}

#[test]
fn a_resource_is_primary_where_heartbeat_has_started_it() {
    let programs = Scratch::new();
    with_program(programs.path());
    let mut pair = Pair::new(&PairOptions::new(env!("CARGO_BIN_EXE_blkrep"))).unwrap();
    pair.bring_into_sync();
    let call = |node: &Node, arguments: &[&str]| blkrepdisk(node, &programs, arguments);
    let expect_status = |node: &Node, primary: bool| {
        let (code, words) =
            if primary { (0, "running (Primary)\n") } else { (3, "stopped (Secondary)\n") };
        for arguments in [&["r0", "status"][..], &["status"]] {
            let told = call(node, arguments);
            assert_eq!((told.code, &*told.stdout), (code, words), "{arguments:?}: {told:?}");
        }
    };
    expect_status(&pair.a, true);
    expect_status(&pair.b, false);
    // Twice is as good as once, and two at a time are one too many.
    assert_eq!(call(&pair.a, &["r0", "start"]).code, 0);
    assert_eq!(call(&pair.b, &["r0", "start"]).code, 1);
    // In use: Heartbeat must know that it has not let go.
    let writer = Writer::start(&pair.a, Ledger::default(), 9, Duration::from_millis(2));
    writer.wait_for(10, SOON);
    assert_eq!(call(&pair.a, &["r0", "stop"]).code, 1);
    writer.finish().1.expect("no client sees an error");
    for _ in 0..2 {
        assert_eq!(call(&pair.a, &["stop"]).code, 0);
    }
    expect_status(&pair.a, false);
    assert_eq!(call(&pair.b, &["start"]).code, 0);
    expect_status(&pair.b, true);
    // Its daemon dies: stopped is stopped, also for the next daemon.
    pair.b.kill9();
    expect_status(&pair.b, false);
    assert_eq!(call(&pair.b, &["r0", "stop"]).code, 0);
    assert_eq!(call(&pair.a, &["r0", "start"]).code, 0);
    pair.b.up();
    pair.wait_in_sync();
    expect_status(&pair.a, true);
    expect_status(&pair.b, false);
}

#[test]
fn what_is_no_call_of_heartbeats_ends_with_the_usage() {
    let programs = Scratch::new();
    with_program(programs.path());
    let pair = Pair::new(&PairOptions::new(env!("CARGO_BIN_EXE_blkrep"))).unwrap();
    for arguments in [&[][..], &["r0", "explode"], &["r0", "start", "now"]] {
        let told = blkrepdisk(&pair.a, &programs, arguments);
        assert_eq!(told.code, 1, "{told:?}");
        assert!(told.stderr.contains("usage: blkrepdisk"), "{told:?}");
    }
    // The daemon is not there: nothing runs, and nothing can be started.
    assert_eq!(blkrepdisk(&pair.a, &programs, &["r0", "status"]).code, 3);
    assert_eq!(blkrepdisk(&pair.a, &programs, &["r0", "stop"]).code, 0);
    let told = blkrepdisk(&pair.a, &programs, &["r0", "start"]);
    assert_eq!(told.code, 1);
    assert!(told.stderr.contains("blkrep up r0"), "{told:?}");
}
