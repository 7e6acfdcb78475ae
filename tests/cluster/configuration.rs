//! Policies and handlers in the configuration file: what is refused, and what `dump` spells out.

use crate::bed::{configure, options};
use testbed::Pair;

#[test]
fn a_policy_without_its_handler_is_exit_code_10_and_nothing_is_started() {
    let mut pair = Pair::new(&options()).expect("loopback is everywhere");
    pair.create_md();
    configure(&pair, "[disk]\n", "[disk]\nfencing = \"resource-and-stonith\"\n");
    let refused = pair.a.run(&["up", "r0"]).expect_code(10, "fencing without a handler");
    assert!(refused.stderr.contains("add fence-peer = \"COMMAND\""), "{}", refused.stderr);
    assert!(!pair.a.is_alive());
}

#[test]
fn a_wrong_word_is_answered_with_the_right_ones_and_its_line() {
    let pair = Pair::new(&options()).expect("loopback is everywhere");
    configure(
        &pair,
        "protocol = \"C\"\n",
        "protocol = \"C\"\nafter-sb-1pri = \"discard-primary\"\n",
    );
    let refused = pair.a.run(&["dump", "r0"]).expect_code(10, "a word that is none");
    let place = format!("{}:5: 'after-sb-1pri'", pair.a.config_file().display());
    assert!(refused.stderr.contains(&place), "{}", refused.stderr);
    assert!(refused.stderr.contains("\"discard-secondary\""), "{}", refused.stderr);
}

#[test]
fn a_dump_is_a_file_that_means_the_same() {
    let pair = Pair::new(&options()).expect("loopback is everywhere");
    let policies = "[disk]\nfencing = \"resource-and-stonith\"\nal-extents = 67\n";
    configure(&pair, "[disk]\n", policies);
    configure(&pair, "[node.a]", "[handlers]\nfence-peer = \"exit 4\"\n\n[node.a]");
    let dump = pair.a.must(&["dump", "r0"]).stdout;
    for line in [
        "after-sb-0pri = \"disconnect\"",
        "rr-conflict = \"disconnect\"",
        "on-io-error = \"detach\"",
        "fencing = \"resource-and-stonith\"",
        "on-no-data-accessible = \"io-error\"",
        "disk-timeout = \"0s\"",
        "al-extents = 67",
        "min-rate = \"4M\"",
        "checksums = \"after-crash\"",
        "fence-peer = \"exit 4\"",
        "handler-timeout = \"5min\"",
    ] {
        assert!(dump.lines().any(|found| found == line), "no {line} in {dump}");
    }
    std::fs::write(pair.a.config_file(), &dump).expect("the configuration can be written");
    assert_eq!(pair.a.must(&["dump", "r0"]).stdout, dump);
}
