//! Both nodes were written to alone: both notice, nothing is copied, and the status says what to
//! do.

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
    // One alone waits for the other to be told, and says why; both without a choice are where they
    // were.
    pair.a.must(&["connect", "r0"]);
    pair.a.wait_state("the reason is shown", SOON, |state| {
        state.connection == "Connecting"
            && state.refusal.as_ref().is_some_and(|text| text.contains("Split-Brain"))
    });
    pair.b.must(&["connect", "r0"]);
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

/// The two nodes after a split brain, the first one Secondary, the second one Primary.
fn split_pair() -> Option<Pair> {
    let pair = synced_pair_with_wire()?;
    split(&pair);
    pair.a.must(&["secondary", "r0"]);
    pair.heal_link();
    expect_split_brain(&pair);
    Some(pair)
}

fn expect_victim_has_survivors_data(pair: &Pair, copied_before: u64) {
    pair.wait_in_sync();
    pair.expect_equal();
    assert_eq!((byte_on_disk(&pair.a), byte_on_disk(&pair.b)), (0xbb, 0xbb));
    let copied = pair.a.state().resynced_blocks - copied_before;
    assert!(
        (2..=2048).contains(&copied),
        "{copied} blocks were copied, all differences lie in one extent"
    );
    assert!(pair.a.log().contains("manually solved"), "the log says what was done");
}

#[test]
fn the_victim_gives_its_changes_up_whichever_node_is_told_first() {
    for victim_first in [true, false] {
        let Some(pair) = split_pair() else { return };
        let copied_before = pair.a.state().resynced_blocks;
        let victim = || pair.a.must(&["connect", "--discard-my-data", "r0"]);
        let survivor = || pair.b.must(&["connect", "r0"]);
        if victim_first {
            victim();
            pair.a.wait_state("it waits for the survivor", SOON, |state| state.refusal.is_some());
            survivor();
        } else {
            survivor();
            pair.b.wait_state("it waits for the victim", SOON, |state| state.refusal.is_some());
            victim();
        }
        expect_victim_has_survivors_data(&pair, copied_before);
    }
}

#[test]
fn nobody_is_overwritten_when_both_give_up_or_a_primary_is_told_to() {
    let Some(pair) = split_pair() else { return };
    let refused = pair.b.run(&["connect", "--discard-my-data", "r0"]);
    let refused = refused.expect_code(10, "a Primary cannot be the victim");
    assert!(refused.stderr.contains("blkrep secondary"), "{}", refused.stderr);
    pair.b.must(&["secondary", "r0"]);
    for node in [&pair.a, &pair.b] {
        node.must(&["connect", "--discard-my-data", "r0"]);
    }
    expect_split_brain(&pair);
}
