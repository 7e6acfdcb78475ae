//! A sample of the matrix of fencing policies and exit codes of the handler, with real scripts, and
//! I/O that is suspended by hand.

use crate::bed::{SOON, options};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use testbed::ledger::Ledger;
use testbed::network::Cut;
use testbed::scratch::Scratch;
use testbed::writer::Writer;
use testbed::{Pair, PairOptions, wait_until};

/// Long enough to see that nothing happens; a frozen node that goes on would do so at once.
const LOOK: Duration = Duration::from_millis(700);

/// A pair in sync with a cut wire to come, whose handler notes its call and ends with `code`.
fn fenced(scratch: &Scratch, policy: &str, code: i32) -> Option<(Pair, PathBuf)> {
    let (script, note) = (scratch.path().join("fence"), scratch.path().join("called"));
    let text = format!("#!/bin/sh\necho \"$@\" >> {}\nexit {code}\n", note.display());
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut options = PairOptions { timeout_ms: 500, ..options().separate() };
    options.disk.push(format!("fencing = \"{policy}\""));
    options.handlers.push(format!("fence-peer = \"{}\"", script.display()));
    Some((crate::bed::synced(&options)?, note))
}

/// Cuts the link under a client, and waits until the handler was called.
fn cut_under_load(pair: &Pair, note: &Path) -> Writer {
    let ledger = Ledger::default().flushing_every(30);
    let writer = Writer::start(&pair.a, ledger, 9, Duration::from_millis(2));
    writer.wait_for(50, SOON);
    pair.cut_link(Cut::Both);
    wait_until("the handler is called", SOON, || note.exists());
    writer
}

/// True when no client is answered for a while.
fn is_frozen(writer: &Writer) -> bool {
    // Answers that were under way still come.
    std::thread::sleep(LOOK);
    let before = writer.acknowledged();
    std::thread::sleep(LOOK);
    writer.acknowledged() == before
}

fn ends_well(pair: &Pair, writer: Writer) {
    writer.wait_for(50, SOON);
    let (mut ledger, end) = writer.finish();
    end.expect("no client sees an error");
    pair.expect_equal();
    ledger.expect_all_there(&pair.a.nbd_socket(), "r0");
}

#[test]
fn with_stonith_a_fenced_peer_lets_io_go_on() {
    for code in [4, 7] {
        let scratch = Scratch::new();
        let Some((pair, note)) = fenced(&scratch, "resource-and-stonith", code) else { return };
        let writer = cut_under_load(&pair, &note);
        writer.wait_for(50, SOON);
        pair.heal_link();
        ends_well(&pair, writer);
    }
}

#[test]
fn with_stonith_a_broken_handler_freezes_io_until_the_peer_is_back() {
    let scratch = Scratch::new();
    let Some((pair, note)) = fenced(&scratch, "resource-and-stonith", 1) else { return };
    let generation = pair.a.current_generation();
    let writer = cut_under_load(&pair, &note);
    pair.a.wait_state("the loss is noticed", SOON, |state| state.connection != "Connected");
    assert!(is_frozen(&writer), "I/O went on, and the peer is not fenced");
    assert_eq!(pair.a.current_generation(), generation, "a waiting write began a generation");
    pair.heal_link();
    ends_well(&pair, writer);
    assert_eq!(pair.a.current_generation(), generation, "nothing was acknowledged alone");
}

#[test]
fn with_stonith_a_frozen_primary_goes_on_by_hand() {
    let scratch = Scratch::new();
    let Some((pair, note)) = fenced(&scratch, "resource-and-stonith", 6) else { return };
    let writer = cut_under_load(&pair, &note);
    pair.a.wait_state("the loss is noticed", SOON, |state| state.connection != "Connected");
    assert!(is_frozen(&writer), "I/O went on, and the peer is not fenced");
    pair.a.must(&["resume-io", "r0"]);
    writer.wait_for(50, SOON);
    pair.heal_link();
    ends_well(&pair, writer);
}

#[test]
fn resource_only_does_not_freeze() {
    let scratch = Scratch::new();
    let Some((pair, note)) = fenced(&scratch, "resource-only", 5) else { return };
    let writer = cut_under_load(&pair, &note);
    writer.wait_for(50, SOON);
    pair.heal_link();
    ends_well(&pair, writer);
}

#[test]
fn suspend_io() {
    let pair = crate::bed::synced_pair();
    let writer = Writer::start(&pair.a, Ledger::default(), 9, Duration::from_millis(2));
    writer.wait_for(50, SOON);
    pair.a.must(&["suspend-io", "r0"]);
    assert!(is_frozen(&writer), "a write was acknowledged while I/O was suspended");
    pair.a.must(&["resume-io", "r0"]);
    ends_well(&pair, writer);
}
