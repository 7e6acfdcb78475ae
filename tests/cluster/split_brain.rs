//! Both nodes were written to alone: both notice, nothing is copied, and the status says what to do.

use crate::bed::{SOON, synced_pair_with_wire};
use testbed::nbd_client::NbdClient;
use testbed::network::Cut;
use testbed::{Node, Pair};

fn write_alone(node: &Node, byte: u8) {
    let mut client = NbdClient::open(&node.nbd_socket(), "r0").unwrap();
    client.write(1 << 20, &[byte; 8192], false).unwrap();
    client.flush().unwrap();
}

fn split(pair: &Pair) {
    pair.cut_link(Cut::Both);
    for node in [&pair.a, &pair.b] {
        node.wait_state("the loss is noticed", SOON, |state| state.connection != "Connected");
    }
    pair.b.must(&["primary", "r0"]);
    write_alone(&pair.a, 0xaa);
    write_alone(&pair.b, 0xbb);
}

fn byte_on_disk(node: &Node) -> u8 {
    std::fs::read(node.disk()).unwrap()[1 << 20]
}

fn expect_split_brain(pair: &Pair) {
    for node in [&pair.a, &pair.b] {
        node.wait_state("StandAlone", SOON, |state| state.connection == "StandAlone");
        let refusal = node.state().refusal.expect("the status says why it is StandAlone");
        assert!(refusal.contains("Split-Brain detected"), "{}: {refusal}", node.name());
        assert!(refusal.contains("'blkrep "), "it names no command: {refusal}");
        let shown = node.must(&["status", "r0"]).stdout;
        assert!(shown.contains("'blkrep "), "no next step: {shown}");
        assert!(node.log().contains("Split-Brain detected"), "{}: not in the log", node.name());
    }
    assert_eq!((byte_on_disk(&pair.a), byte_on_disk(&pair.b)), (0xaa, 0xbb), "data were copied");
}

#[test]
fn two_primaries_that_wrote_alone_part_and_copy_nothing() {
    let Some(pair) = synced_pair_with_wire() else { return };
    split(&pair);
    pair.heal_link();
    for node in [&pair.a, &pair.b] {
        node.wait_state("StandAlone", SOON, |state| state.connection == "StandAlone");
        let refusal = node.state().refusal.expect("the status says why it is StandAlone");
        assert!(refusal.contains("'blkrep "), "it names no command: {refusal}");
        assert_eq!(node.state().role, "Primary");
    }
    assert_eq!((byte_on_disk(&pair.a), byte_on_disk(&pair.b)), (0xaa, 0xbb), "data were copied");
}

#[test]
fn two_secondaries_that_were_written_alone_are_a_split_brain() {
    let Some(pair) = synced_pair_with_wire() else { return };
    split(&pair);
    pair.a.must(&["secondary", "r0"]);
    pair.b.must(&["secondary", "r0"]);
    pair.heal_link();
    expect_split_brain(&pair);
    // Trying again changes nothing, and neither does a restart of the attempt on the other node.
    pair.a.must(&["connect", "r0"]);
    expect_split_brain(&pair);
    pair.b.must(&["connect", "r0"]);
    pair.a.must(&["connect", "r0"]);
    expect_split_brain(&pair);
}

#[test]
fn one_primary_and_one_secondary_that_wrote_alone_are_a_split_brain() {
    let Some(pair) = synced_pair_with_wire() else { return };
    split(&pair);
    pair.a.must(&["secondary", "r0"]);
    pair.heal_link();
    expect_split_brain(&pair);
    assert_eq!(pair.b.state().role, "Primary", "the survivor goes on");
    write_alone(&pair.b, 0xbc);
    assert_eq!((byte_on_disk(&pair.a), byte_on_disk(&pair.b)), (0xaa, 0xbc));
}
