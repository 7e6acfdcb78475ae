//! A peer that cannot be the peer: refused by name, in log and status, and no data are touched.

use crate::bed::{MIB, SOON, options, synced_pair};
use replicator::ids::NodeIndex;
use replicator::message::{Message, RefusalCode};
use std::fs;
use testbed::fake_peer::{FakePeer, hello};
use testbed::pair::{sparse_file, write_secret};
use testbed::{Node, Pair};

/// Waits until the refusal is in the status of `node`, and looks for it in its log.
fn expect_refusal(node: &Node, words: &str) {
    node.wait_state(words, SOON, |state| {
        state.refusal.as_ref().is_some_and(|refusal| refusal.contains(words))
    });
    assert!(node.log().contains(words), "'{words}' is not in the log:\n{}", node.log_tail());
    assert_ne!(node.state().connection, "Connected");
}

fn data_of(node: &Node, bytes: u64) -> Vec<u8> {
    let mut data = fs::read(node.disk()).unwrap();
    data.truncate(usize::try_from(bytes).unwrap());
    data
}

/// Changes the configuration of one node; what is replaced must be there.
fn reconfigure(node: &Node, old: &str, new: &str) {
    let text = fs::read_to_string(node.config_file()).unwrap();
    assert!(text.contains(old), "'{old}' is not in the configuration");
    fs::write(node.config_file(), text.replace(old, new)).unwrap();
}

#[test]
fn a_peer_with_another_secret_is_refused_by_name_and_gets_no_data() {
    let mut pair = Pair::new(&options()).expect("loopback is everywhere");
    let other = pair.scratch().join("other-secret");
    write_secret(&other);
    fs::write(&other, "a secret that nobody else knows\n").unwrap();
    let secret = pair.scratch().join("secret").display().to_string();
    reconfigure(&pair.b, &secret, &other.display().to_string());
    pair.create_md();
    pair.up();
    for node in [&pair.a, &pair.b] {
        expect_refusal(node, "does not know the shared secret");
    }
    pair.a.must(&["primary", "--force", "r0"]);
    assert_eq!(pair.b.state().disk, "Inconsistent");
    assert!(data_of(&pair.b, 60 * MIB).iter().all(|&byte| byte == 0), "data were copied");
}

#[test]
fn a_peer_without_a_secret_is_refused_by_name() {
    let mut pair = Pair::new(&options()).expect("loopback is everywhere");
    let secret = pair.scratch().join("secret").display().to_string();
    reconfigure(&pair.b, &format!("shared-secret-file = \"{secret}\"\n"), "");
    pair.create_md();
    pair.up();
    for node in [&pair.a, &pair.b] {
        expect_refusal(node, "has none; set 'shared-secret-file' on both");
    }
}

#[test]
fn a_peer_of_another_protocol_version_is_told_so_and_named_in_the_status() {
    let mut pair = Pair::new(&options()).expect("loopback is everywhere");
    pair.create_md();
    pair.a.up();
    let mut fake = FakePeer::dial(pair.a.peer_address()).unwrap();
    assert!(matches!(fake.receive().unwrap(), Message::Hello(_)));
    fake.send(&Message::Hello(hello(NodeIndex::Second, "b", "r0", (7, 9)))).unwrap();
    let Message::Refuse(refusal) = fake.receive().unwrap() else { panic!("no refusal") };
    assert_eq!(refusal.code, RefusalCode::Version);
    let words = "b speaks protocol versions 7-9";
    assert!(refusal.text.contains(words), "{}", refusal.text);
    assert!(fake.receive().is_err(), "the link is closed after a refusal");
    pair.a.wait_state(words, SOON, |_| pair.a.log().contains(words));
}

#[test]
fn a_node_that_dials_another_version_stays_alone_and_says_what_to_install() {
    let mut pair = Pair::new(&options()).expect("loopback is everywhere");
    pair.create_md();
    let address = pair.b.peer_address();
    let fake = std::thread::spawn(move || {
        let mut fake = FakePeer::accept(address).unwrap();
        fake.send(&Message::Hello(hello(NodeIndex::Second, "b", "r0", (8, 9)))).unwrap();
        let greeting = fake.receive().unwrap();
        (greeting, fake.receive().unwrap())
    });
    pair.a.up();
    let (greeting, refusal) = fake.join().expect("the fake was dialled");
    assert!(matches!(greeting, Message::Hello(_)), "{greeting:?}");
    assert!(matches!(refusal, Message::Refuse(_)), "{refusal:?}");
    expect_refusal(&pair.a, "install the same release on both");
    assert_eq!(pair.a.state().connection, "StandAlone");
}

#[test]
fn a_peer_of_another_resource_is_refused_by_name() {
    let mut pair = Pair::new(&options()).expect("loopback is everywhere");
    pair.create_md();
    pair.a.up();
    let mut fake = FakePeer::dial(pair.a.peer_address()).unwrap();
    assert!(matches!(fake.receive().unwrap(), Message::Hello(_)));
    fake.send(&Message::Hello(hello(NodeIndex::Second, "b", "postgres", (1, 1)))).unwrap();
    let Message::Refuse(refusal) = fake.receive().unwrap() else { panic!("no refusal") };
    assert_eq!(refusal.code, RefusalCode::Resource);
    expect_refusal(&pair.a, "talks about resource 'postgres'");
}

#[test]
fn a_stranger_that_knows_no_secret_gets_neither_parameters_nor_data() {
    let pair = synced_pair();
    let mut fake = FakePeer::dial(pair.a.peer_address()).unwrap();
    assert!(matches!(fake.receive().unwrap(), Message::Hello(_)));
    fake.send(&Message::Hello(hello(NodeIndex::Second, "b", "r0", (1, 1)))).unwrap();
    assert!(matches!(fake.receive().unwrap(), Message::Proof(_)));
    fake.send(&Message::Proof([0; 32])).unwrap();
    let Message::Refuse(refusal) = fake.receive().unwrap() else { panic!("no refusal") };
    assert_eq!(refusal.code, RefusalCode::Authentication);
    assert!(fake.receive().is_err(), "the link is closed after a refusal");
    // The real peer was not disturbed.
    pair.expect_equal();
}

#[test]
fn a_smaller_disk_on_the_peer_later_is_refused_and_nothing_is_cut() {
    let mut pair = synced_pair();
    let before = data_of(&pair.a, 60 * MIB);
    pair.b.down();
    let size_bytes = pair.a.state().size_bytes;
    // The peer's disk was replaced by one that is too small.
    let disk = sparse_file(pair.b.disk(), 32 * MIB);
    pair.b.must(&["create-md", "--force", "r0"]);
    pair.b.up();
    for node in [&pair.a, &pair.b] {
        expect_refusal(node, "give it a larger disk");
    }
    assert_eq!(pair.a.state().size_bytes, size_bytes);
    assert!(data_of(&pair.a, 60 * MIB) == before, "the data of the first node changed");
    let kept = fs::read(disk).unwrap();
    assert!(kept[..16 << 20].iter().all(|&byte| byte == 0), "data were copied");
}
