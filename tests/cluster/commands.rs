//! What operators and scripts rely on: commands that may be repeated, and exit codes.

use crate::bed::{MIB, client, options, synced_pair};
use std::fs;
use testbed::Pair;
use testbed::skips::require_tool;

#[test]
fn up_on_an_up_resource_and_down_on_a_down_one_succeed() {
    let mut pair = Pair::new(&options()).expect("loopback is everywhere");
    pair.create_md();
    pair.a.must(&["down", "r0"]);
    pair.a.up_by_command();
    let pid = pair.a.pid();
    pair.a.must(&["up", "r0"]);
    pair.a.up_by_command();
    assert_eq!(pair.a.pid(), pid, "a second daemon was started");
    pair.a.down();
    pair.a.must(&["down", "r0"]);
    // And it can come up again at once.
    pair.a.up_by_command();
    assert_ne!(pair.a.pid(), pid);
    pair.a.down();
}

#[test]
fn what_is_already_so_is_no_error() {
    let pair = synced_pair();
    pair.a.must(&["primary", "r0"]);
    pair.b.must(&["secondary", "r0"]);
    pair.a.must(&["connect", "r0"]);
    pair.a.must(&["wait-connect", "r0", "--timeout", "5s"]);
    assert_eq!(pair.a.state().connection, "Connected");
    pair.a.must(&["disconnect", "r0"]);
    pair.a.must(&["disconnect", "r0"]);
    assert_eq!(pair.a.state().connection, "StandAlone");
}

#[test]
fn the_one_word_answers_are_those_of_drbd() {
    let pair = synced_pair();
    let word = |verb: &str| pair.a.must(&[verb, "r0"]).stdout;
    assert_eq!(word("role"), "Primary/Secondary\n");
    assert_eq!(word("cstate"), "Connected\n");
    assert_eq!(word("dstate"), "UpToDate/UpToDate\n");
}

#[test]
fn a_primary_goes_down_only_after_its_demotion() {
    let mut pair = synced_pair();
    let refused = pair.a.run(&["down", "r0"]).expect_code(11, "down on a Primary");
    assert!(refused.stderr.contains("secondary"), "no next step: {}", refused.stderr);
    assert!(pair.a.is_alive());
    assert_eq!(pair.a.state().role, "Primary");
    pair.a.must(&["secondary", "r0"]);
    pair.a.down();
}

#[test]
fn create_md_refuses_foreign_data_and_leaves_them_alone() {
    let Some(_) = require_tool("mkfs.ext4") else { return };
    let pair = Pair::new(&options()).expect("loopback is everywhere");
    client("mkfs.ext4", &["-q", "-F", &pair.a.disk().display().to_string()]);
    let before = fs::read(pair.a.disk()).unwrap();
    let refused = pair.a.run(&["create-md", "r0"]).expect_code(11, "create-md over a file system");
    assert!(refused.stderr.contains("ext4"), "{}", refused.stderr);
    assert!(refused.stderr.contains("--force"), "no next step: {}", refused.stderr);
    assert!(fs::read(pair.a.disk()).unwrap() == before, "the refused command wrote something");
    pair.a.must(&["create-md", "--force", "r0"]);
}

#[test]
fn create_md_refuses_metadata_and_disks_in_use() {
    let mut pair = Pair::new(&options()).expect("loopback is everywhere");
    pair.create_md();
    let refused = pair.a.run(&["create-md", "r0"]).expect_code(11, "create-md over metadata");
    assert!(refused.stderr.contains("blkrep metadata"), "{}", refused.stderr);
    pair.a.up();
    for arguments in [&["create-md", "r0"][..], &["create-md", "--force", "r0"]] {
        pair.a.run(arguments).expect_code(11, "create-md under a running daemon");
    }
    assert_eq!(pair.a.state().disk, "Inconsistent");
}

#[test]
fn an_unknown_key_is_exit_code_10_with_file_line_and_the_nearest_key() {
    let pair = Pair::new(&options()).expect("loopback is everywhere");
    let file = pair.a.config_file();
    let text = fs::read_to_string(&file).unwrap().replace("ping-timeout", "ping-timeuot");
    fs::write(&file, &text).unwrap();
    let line = 1 + text.lines().position(|line| line.contains("ping-timeuot")).unwrap();
    for arguments in [&["up", "r0"][..], &["create-md", "r0"], &["dump", "r0"]] {
        let refused = pair.a.run(arguments).expect_code(10, "a broken configuration");
        let place = format!("{}:{line}", file.display());
        assert!(refused.stderr.contains(&place), "no '{place}': {}", refused.stderr);
        assert!(refused.stderr.contains("did you mean 'ping-timeout'?"), "{}", refused.stderr);
    }
}

#[test]
fn a_missing_disk_and_a_disk_without_metadata_say_what_to_do() {
    let mut pair = Pair::new(&options().disk_bytes(16 * MIB)).expect("loopback is everywhere");
    let refused = pair.a.run(&["up", "r0"]);
    assert_ne!(refused.code, 0, "up without metadata: {refused:?}");
    assert!(refused.stderr.contains("create-md"), "no next step: {}", refused.stderr);
    assert!(!pair.a.is_alive());
    fs::remove_file(pair.b.disk()).unwrap();
    let refused = pair.b.run(&["create-md", "r0"]).expect_code(10, "create-md without a disk");
    let disk = pair.b.disk().display().to_string();
    assert!(refused.stderr.contains(&disk), "{}", refused.stderr);
}

#[test]
fn commands_on_a_resource_that_is_not_up_say_so() {
    let pair = Pair::new(&options()).expect("loopback is everywhere");
    for verb in [
        "primary",
        "secondary",
        "connect",
        "disconnect",
        "attach",
        "detach",
        "invalidate",
        "invalidate-remote",
        "pause-sync",
        "resume-sync",
        "suspend-io",
        "resume-io",
        "new-current-uuid",
        "status",
        "role",
    ] {
        let refused = pair.a.run(&[verb, "r0"]).expect_code(10, verb);
        assert!(refused.stderr.contains("blkrep up r0"), "{verb}: {}", refused.stderr);
    }
    pair.a.run(&["status", "nonsense"]).expect_code(10, "a resource that does not exist");
}
