//! What a node refuses, with which exit code and in which words.

use crate::bed::{SOON, options, synced_pair};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use testbed::Pair;
use testbed::nbd_client::{NbdClient, NbdError};

#[test]
fn a_secondary_turns_nbd_clients_away_and_names_the_other_node() {
    let pair = synced_pair();
    let refused = NbdClient::open(&pair.b.nbd_socket(), "r0");
    let Err(NbdError::Refused { kind, text }) = refused else {
        panic!("expected a refusal, saw {refused:?}");
    };
    // NBD_REP_ERR_POLICY.
    assert_eq!(kind, (1 << 31) + 2, "{text}");
    assert!(text.contains("Secondary") && text.contains("use a"), "{text}");
    assert_eq!(pair.b.state().clients, 0);
}

#[test]
fn a_node_with_a_client_is_not_demoted() {
    let pair = synced_pair();
    let mut client = NbdClient::open(&pair.a.nbd_socket(), "r0").unwrap();
    let refused = pair.a.run(&["secondary", "r0"]).expect_code(11, "demotion with a client");
    assert!(refused.stderr.contains("NBD client is connected"), "{}", refused.stderr);
    client.write(0, &[1; 512], false).expect("the client goes on");
    drop(client);
    pair.a.wait_state("no client", SOON, |state| state.clients == 0);
    pair.a.must(&["secondary", "r0"]);
    assert_eq!(pair.a.state().role, "Secondary");
}

#[test]
fn a_second_primary_is_refused_while_the_nodes_are_connected() {
    let pair = synced_pair();
    for arguments in [&["primary", "r0"][..], &["primary", "--force", "r0"]] {
        let refused = pair.b.run(arguments).expect_code(11, "a second Primary");
        assert!(refused.stderr.contains("Primary"), "{}", refused.stderr);
    }
    assert_eq!([pair.a.state().role, pair.b.state().role], ["Primary", "Secondary"]);
}

#[test]
fn an_inconsistent_disk_is_not_promoted_unless_forced() {
    let mut pair = Pair::new(&options()).expect("loopback is everywhere");
    pair.create_md();
    pair.up();
    pair.wait_connected();
    for node in [&pair.a, &pair.b] {
        let refused = node.run(&["primary", "r0"]).expect_code(17, "promotion without good data");
        assert!(refused.stderr.contains("--force"), "no next step: {}", refused.stderr);
        assert_eq!(node.state().role, "Secondary");
    }
    pair.b.down();
    pair.a.run(&["primary", "r0"]).expect_code(17, "promotion alone without good data");
}

#[test]
fn a_sync_target_is_promoted_with_the_data_of_its_source_and_not_without() {
    let mut slow = options();
    slow.sync_rate_bytes = Some(4 << 20);
    let mut pair = Pair::new(&slow).expect("loopback is everywhere");
    // Far behind what is copied while the test looks.
    let far = 48 << 20;
    let file = File::options().write(true).open(pair.a.disk()).unwrap();
    file.write_all_at(&[0x5f; 4096], far).unwrap();
    pair.create_md();
    pair.up();
    pair.wait_connected();
    pair.a.must(&["primary", "--force", "r0"]);
    pair.b.wait_state("the resync runs", SOON, |state| state.replication == "SyncTarget");
    pair.a.must(&["secondary", "r0"]);
    pair.b.must(&["primary", "r0"]);
    let mut client = NbdClient::open(&pair.b.nbd_socket(), "r0").unwrap();
    let mut block = [0; 4096];
    client.read(far, &mut block).unwrap();
    assert_eq!(block, [0x5f; 4096], "what is not copied yet is read from the source");
    drop(client);
    pair.b.wait_state("no client", SOON, |state| state.clients == 0);
    pair.b.must(&["secondary", "r0"]);
    assert_ne!(pair.b.state().disk, "UpToDate", "the resync was to outlive the test");
    // Alone it has half a copy.
    pair.a.kill9();
    pair.b.wait_state("the source is lost", SOON, |state| state.connection != "Connected");
    pair.b.run(&["primary", "r0"]).expect_code(17, "promotion of half a copy");
}
