//! What `get-gi`, `show-gi` and `dump-md` tell of a pair, with the daemons up, down and killed.

use crate::bed::{MIB, SOON, options, synced_pair};
use testbed::nbd_client::NbdClient;
use testbed::{Node, Pair, wait_until};

/// One line of `get-gi`: identifiers and flags.
#[derive(Debug, PartialEq, Eq)]
struct Identifiers {
    current: u64,
    bitmap: u64,
    flags: String,
}

fn identifiers(node: &Node) -> Identifiers {
    let line = node.must(&["get-gi", "r0"]).stdout;
    let fields: Vec<&str> = line.trim_end().splitn(5, ':').collect();
    let [current, bitmap, _, _, flags] = fields[..] else { panic!("no tuple: {line}") };
    let number = |digits: &str| u64::from_str_radix(digits, 16).expect("hex digits");
    Identifiers { current: number(current), bitmap: number(bitmap), flags: flags.to_owned() }
}

fn expect_equal_and_clear(pair: &Pair) {
    let [a, b] = [&pair.a, &pair.b].map(identifiers);
    // Bit 0 records who was Primary; it is no part of the identity.
    assert_eq!(a.current & !1, b.current & !1, "{a:x?} {b:x?}");
    assert!(a.current > 4, "{a:x?}");
    assert_eq!((a.bitmap, b.bitmap), (0, 0));
}

/// The values of all lines of a dump with this name.
fn values<'a>(dump: &'a str, name: &str) -> Vec<&'a str> {
    let lines = dump.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(found, _)| *found == name).map(|(_, value)| value).collect()
}

#[test]
fn nodes_in_sync_have_equal_generations_up_and_down() {
    let mut pair = synced_pair();
    expect_equal_and_clear(&pair);
    // Consistent, was-up-to-date, primary-ind, connected-ind; nothing else.
    wait_until("the marks are made", SOON, || {
        let [a, b] = [&pair.a, &pair.b].map(|node| identifiers(node).flags);
        a == "1:1:1:1:0:0:0" && b.starts_with("1:1:") && b.ends_with(":1:0:0:0")
    });
    let [a, b] = [&pair.a, &pair.b].map(identifiers);
    assert_eq!((a.current & 1, b.current & 1), (1, 0), "only the Primary has bit 0");
    pair.a.must(&["secondary", "r0"]);
    pair.a.down();
    pair.b.down();
    expect_equal_and_clear(&pair);
    for node in [&pair.a, &pair.b] {
        let flags = identifiers(node).flags;
        assert!(flags.starts_with("1:1:0:"), "clean and nobody Primary: {flags}");
    }
}

#[test]
fn the_legend_is_the_line_with_an_explanation() {
    let pair = synced_pair();
    let line = pair.a.must(&["get-gi", "r0"]).stdout;
    let legend = pair.a.must(&["show-gi", "r0"]).stdout;
    assert!(legend.contains(&line), "{legend}");
    assert!(legend.contains("primary-ind:") && legend.contains("bitmap-clean: 0"), "{legend}");
}

#[test]
fn a_disk_that_was_only_created_has_no_generation_and_one_without_metadata_says_so() {
    let pair = Pair::new(&options().disk_bytes(16 * MIB)).expect("loopback is everywhere");
    for verb in ["get-gi", "show-gi", "dump-md"] {
        let refused = pair.a.run(&[verb, "r0"]).expect_code(10, verb);
        assert!(refused.stderr.contains("'blkrep create-md r0'"), "{}", refused.stderr);
    }
    pair.create_md();
    let zero = "0".repeat(16);
    let expected = format!("0000000000000004:{zero}:{zero}:{zero}:0:0:0:0:0:0:0\n");
    assert_eq!(pair.a.must(&["get-gi", "r0"]).stdout, expected);
}

#[test]
fn the_dump_of_a_killed_primary_shows_what_it_was_writing_to() {
    let mut pair = synced_pair();
    let mut client = NbdClient::open(&pair.a.nbd_socket(), "r0").unwrap();
    client.write(21 * MIB, &[7; 4096], false).unwrap();
    let refused = pair.a.run(&["dump-md", "r0"]).expect_code(11, "dump-md under a daemon");
    assert!(refused.stderr.contains("'blkrep down r0'"), "no next step: {}", refused.stderr);
    pair.a.kill9();
    let dump = pair.a.must(&["dump-md", "r0"]).stdout;
    assert_eq!(values(&dump, "log-state"), ["intact"], "{dump}");
    assert!(values(&dump, "hot-extent").contains(&"5"), "21 MiB lie in extent 5: {dump}");
    assert_eq!(values(&dump, "flag-primary"), ["1"], "{dump}");
    assert_eq!(values(&dump, "bitmap-state"), ["intact"], "{dump}");
    assert_eq!(identifiers(&pair.a).flags.split(':').nth(2), Some("1"), "the log counts");
}
