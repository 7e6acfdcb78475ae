//! The matrix of fencing policies, exit codes of the handler and moments, with real scripts, and
//! I/O that is suspended by hand (G5, drbd-facts 2.7).

use crate::bed::{SOON, options};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;
use testbed::ledger::Ledger;
use testbed::network::Cut;
use testbed::scratch::Scratch;
use testbed::writer::Writer;
use testbed::{Node, Pair, PairOptions, wait_until};

/// Long enough to see that nothing happens; a frozen node that goes on would do so at once.
const LOOK: Duration = Duration::from_millis(700);
/// Every exit code with a meaning, and a broken handler.
const CODES: [i32; 6] = [3, 4, 5, 6, 7, 1];

/// A `fence-peer` script that notes its calls, and ends as told when it is let.
struct Script {
    scratch: Scratch,
}

impl Script {
    fn new() -> Self {
        let script = Self { scratch: Scratch::new() };
        let text = "#!/bin/sh\ncd \"${0%/*}\"\necho >> calls\n\
                    while [ -e hold ]; do sleep 0.05; done\nexit \"$(cat code)\"\n";
        fs::write(script.file("fence"), text).unwrap();
        fs::set_permissions(script.file("fence"), fs::Permissions::from_mode(0o755)).unwrap();
        script
    }

    fn file(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// From now on it ends with `code`, and was never called.
    fn ends_with(&self, code: i32) {
        fs::write(self.file("code"), code.to_string()).unwrap();
        fs::write(self.file("calls"), "").unwrap();
    }

    fn hold(&self) {
        fs::write(self.file("hold"), "").unwrap();
    }

    fn let_go(&self) {
        fs::remove_file(self.file("hold")).unwrap();
    }

    fn calls(&self) -> usize {
        fs::read_to_string(self.file("calls")).unwrap_or_default().lines().count()
    }
}

/// A policy with its pair, in sync between two rows, the first node Primary.
struct Bench {
    policy: &'static str,
    pair: Pair,
    script: Script,
    rows: u32,
}

impl Bench {
    fn new(policy: &'static str) -> Option<Self> {
        let script = Script::new();
        let mut options = PairOptions { timeout_ms: 500, ..options().separate() };
        options.disk.push(format!("fencing = \"{policy}\""));
        options.handlers.push(format!("fence-peer = \"{}\"", script.file("fence").display()));
        let pair = crate::bed::synced(&options)?;
        Some(Self { policy, pair, script, rows: 0 })
    }

    fn row(&mut self, what: &str, code: i32) {
        println!("{}: exit code {code}, {what}", self.policy);
        self.rows += 1;
        self.script.ends_with(code);
    }

    fn asks_the_handler(&self) -> bool {
        self.policy != "dont-care"
    }

    /// Codes that make a difference.
    fn codes(&self) -> &'static [i32] {
        if self.asks_the_handler() { &CODES } else { &[4] }
    }

    fn write(&self) -> Writer {
        let ledger = Ledger::default().flushing_every(30);
        let writer = Writer::start(&self.pair.a, ledger, 9, Duration::from_millis(2));
        writer.wait_for(30, SOON);
        writer
    }

    fn lose_the_link(&self) {
        self.pair.cut_link(Cut::Both);
        let lost = |node: &Node| {
            node.wait_state("the loss is noticed", SOON, |state| state.connection != "Connected");
        };
        lost(&self.pair.a);
        lost(&self.pair.b);
    }

    fn expect_calls(&self, calls: usize) {
        wait_until("the handler is called", SOON, || self.script.calls() >= calls);
        assert_eq!(self.script.calls(), calls, "calls of the handler");
    }

    fn expect_peer_disk(&self, expected: &str) {
        let what = format!("the peer's disk counts as {expected}");
        self.pair.a.wait_state(&what, SOON, |state| state.peer_disk == expected);
    }

    /// The Primary loses its peer without a word. A code that says that the peer cannot go on lets
    /// I/O go on; any other freezes it under stonith, until the peer is back or by hand.
    fn the_primary_loses_its_peer(&mut self, code: i32) {
        self.row("the Primary loses its peer", code);
        let generation = self.pair.a.current_generation();
        let writer = self.write();
        self.lose_the_link();
        self.expect_calls(usize::from(self.asks_the_handler()));
        self.expect_peer_disk(match code {
            _ if !self.asks_the_handler() => "DUnknown",
            3 => "Inconsistent",
            4 | 5 | 7 => "Outdated",
            _ => "DUnknown",
        });
        let frozen = self.policy == "resource-and-stonith" && matches!(code, 6 | 1);
        if frozen {
            assert!(is_frozen(&writer), "I/O went on, and the peer is not fenced");
            let now = self.pair.a.current_generation();
            assert_eq!(now, generation, "a waiting write began a generation");
        }
        if frozen && code == 1 {
            self.pair.heal_link();
            self.ends_well(writer);
            let now = self.pair.a.current_generation();
            return assert_eq!(now, generation, "nothing was acknowledged alone");
        }
        if frozen {
            self.pair.a.must(&["resume-io", "r0"]);
        }
        writer.wait_for(50, SOON);
        assert_ne!(self.pair.a.current_generation(), generation, "acknowledged alone (G2)");
        self.pair.heal_link();
        self.ends_well(writer);
        self.expect_logged(code);
    }

    /// What DRBD's users look for in the log.
    fn expect_logged(&self, code: i32) {
        let words = match (self.policy, code) {
            ("dont-care", _) => return,
            (_, 6) => "fence-peer: b is Primary",
            (_, 1) => "fence-peer helper broken, returned 1",
            ("resource-only", 7) => "fence-peer() = 7 && fencing != resource-and-stonith",
            (_, _) => return,
        };
        assert!(self.pair.a.log().contains(words), "no {words:?}: {}", self.pair.a.log_tail());
    }

    /// The peer is back while the handler runs: what that says then counts for nothing.
    fn the_peer_is_back_while_the_handler_runs(&mut self, code: i32) {
        self.row("the peer is back while the handler runs", code);
        let generation = self.pair.a.current_generation();
        let writer = self.write();
        self.script.hold();
        self.lose_the_link();
        self.expect_calls(usize::from(self.asks_the_handler()));
        let freezes = self.policy == "resource-and-stonith";
        assert_eq!(is_frozen(&writer), freezes, "frozen while the handler runs");
        self.pair.heal_link();
        writer.wait_for(50, SOON);
        self.pair.wait_connected();
        self.script.let_go();
        if self.asks_the_handler() {
            let ignored = "fence-peer: ignored, the connection came back meanwhile";
            wait_until("it is ignored", SOON, || self.pair.a.log().contains(ignored));
        }
        self.ends_well(writer);
        let same = self.pair.a.current_generation() == generation;
        assert_eq!(same, freezes, "a generation begins if something was acknowledged alone");
    }

    /// The peer leaves in good order: it says that it is old from now on, and nobody is fenced.
    fn the_peer_goes_down(&mut self, code: i32) {
        self.row("the peer goes down in good order", code);
        let writer = self.write();
        self.pair.b.down();
        let told = if self.asks_the_handler() { "Outdated" } else { "DUnknown" };
        self.expect_peer_disk(told);
        writer.wait_for(50, SOON);
        self.expect_calls(0);
        self.pair.b.up();
        self.ends_well(writer);
    }

    /// Nobody is Primary when the link goes, and the first node is promoted then; or, `started
    /// anew`, when it has been started without its peer, and does not know whether its data are the
    /// newest.
    fn a_lone_node_is_promoted(&mut self, code: i32, started_anew: bool) {
        let anew = if started_anew { ", started anew" } else { "" };
        self.row(&format!("a lone node is promoted{anew}"), code);
        self.pair.a.must(&["secondary", "r0"]);
        self.pair.wait_in_sync();
        if started_anew {
            self.pair.b.kill9();
            self.pair.a.kill9();
            self.pair.a.up();
            let disk = if self.asks_the_handler() { "Consistent" } else { "UpToDate" };
            assert_eq!(self.pair.a.state().disk, disk);
        } else {
            self.lose_the_link();
        }
        let allowed = match code {
            _ if !self.asks_the_handler() => true,
            3 | 4 | 7 => true,
            // Not reachable: enough for a node that knows its data to be good.
            5 => !started_anew,
            _ => false,
        };
        let told = self.pair.a.run(&["primary", "r0"]);
        self.expect_calls(usize::from(self.asks_the_handler()));
        if allowed {
            assert_eq!(told.code, 0, "{told:?}");
            self.write().finish().1.expect("the promoted node serves its device");
        } else {
            // Without doubt about its own data it is a matter of state.
            let expected = if started_anew || code == 6 { 17 } else { 11 };
            assert_eq!(told.code, expected, "{told:?}");
            let next = "make sure that it is down and run 'blkrep primary --force'";
            assert!(told.stderr.contains(next), "{told:?}");
        }
        if started_anew {
            self.pair.b.up();
        } else {
            self.pair.heal_link();
        }
        self.pair.wait_in_sync();
        self.pair.a.must(&["primary", "r0"]);
        self.pair.expect_equal();
    }

    fn ends_well(&self, writer: Writer) {
        writer.wait_for(50, SOON);
        let (mut ledger, end) = writer.finish();
        end.expect("no client sees an error");
        self.pair.expect_equal();
        ledger.expect_all_there(&self.pair.a.nbd_socket(), "r0");
    }

    fn all_rows(&mut self) {
        let codes = self.codes();
        for &code in codes {
            self.the_primary_loses_its_peer(code);
        }
        for &code in codes {
            self.a_lone_node_is_promoted(code, false);
        }
        for &code in codes.iter().filter(|code| matches!(code, 4 | 5 | 1)) {
            self.a_lone_node_is_promoted(code, true);
        }
        for &code in codes.iter().filter(|code| matches!(code, 4 | 1)) {
            self.the_peer_is_back_while_the_handler_runs(code);
        }
        self.the_peer_goes_down(codes[0]);
    }
}

/// True when no client is answered for a while.
pub(crate) fn is_frozen(writer: &Writer) -> bool {
    // Answers that were under way still come.
    std::thread::sleep(LOOK);
    let before = writer.acknowledged();
    std::thread::sleep(LOOK);
    writer.acknowledged() == before
}

/// The rows of drbd-facts 8: policy x exit code (3 to 7, broken) x what happens. The simulator has
/// a test of the same name with all codes in all rows; here a row whose handler is not called, or
/// does not count, has one or two of them.
#[test]
fn fencing_matrix() {
    let policies = ["dont-care", "resource-only", "resource-and-stonith"];
    let rows: Option<u32> = std::thread::scope(|scope| {
        let runs = policies.map(|policy| {
            scope.spawn(move || {
                let mut bench = Bench::new(policy)?;
                bench.all_rows();
                Some(bench.rows)
            })
        });
        let ends = runs.map(|run| run.join());
        ends.into_iter().map(|end| end.expect("a policy failed, see above")).sum()
    });
    if let Some(rows) = rows {
        println!("{rows} rows");
        assert_eq!(rows, 5 + 18 + 18);
    }
}

#[test]
fn suspend_io() {
    let pair = crate::bed::synced_pair();
    let writer = Writer::start(&pair.a, Ledger::default(), 9, Duration::from_millis(2));
    writer.wait_for(50, SOON);
    pair.a.must(&["suspend-io", "r0"]);
    assert!(is_frozen(&writer), "a write was acknowledged while I/O was suspended");
    pair.a.must(&["resume-io", "r0"]);
    writer.wait_for(50, SOON);
    let (mut ledger, end) = writer.finish();
    end.expect("no client sees an error");
    pair.expect_equal();
    ledger.expect_all_there(&pair.a.nbd_socket(), "r0");
}
