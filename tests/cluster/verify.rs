//! Verify and repair with two real daemons: what is damaged behind their back is found on both
//! nodes, named in DRBD's words, and mended; what clients write meanwhile is neither reported nor
//! missed.

use crate::bed::{MIB, SOON, configure, options, synced, write_load};
use serde_json::Value;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use testbed::fio::require_fio;
use testbed::nbd_client::NbdClient;
use testbed::network::Cut;
use testbed::pair::sparse_file;
use testbed::{Node, Pair, PairOptions, wait_until};

const BLOCK_BYTES: u64 = 4096;
/// Blocks that DRBD's own test damages; two of them are adjacent.
const BLOCKS: [u64; 4] = [99, 1340, 1341, 3980];
/// Sizes a device whose last block is a short one.
const DISK_BYTES: u64 = 32 * MIB + 5 * 512;

/// A pair in sync whose device ends within a block: internal metadata would end it with one.
fn uneven_pair() -> Pair {
    let mut pair = Pair::new(&options().disk_bytes(DISK_BYTES)).expect("loopback is everywhere");
    for node in [&pair.a, &pair.b] {
        let disk = format!("disk = \"{}\"\nmeta-disk = ", node.disk().display());
        let meta = sparse_file(&pair.scratch().join(format!("{}.meta", node.name())), MIB);
        let external = format!("{disk}\"{}\"", meta.display());
        configure(&pair, &format!("{disk}\"internal\""), &external);
    }
    pair.bring_into_sync();
    pair
}

fn damaged(pair: &Pair, index: usize, block: u64, byte: u8) {
    let size_bytes = pair.a.state().size_bytes;
    let at = block * BLOCK_BYTES;
    let bytes = BLOCK_BYTES.min(size_bytes - at) as usize;
    let disk = File::options().write(true).open(pair.node(index).disk()).unwrap();
    disk.write_all_at(&vec![byte; bytes], at).unwrap();
    disk.sync_all().unwrap();
}

fn byte_at(node: &Node, at: u64) -> u8 {
    let mut byte = [0];
    File::open(node.disk()).unwrap().read_exact_at(&mut byte, at).unwrap();
    byte[0]
}

/// The result of the last verify, as the status of this node has it.
fn verified(node: &Node) -> Value {
    let status = node.status();
    status.pointer("/blkrep/verified").cloned().unwrap_or(Value::Null)
}

fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or_else(|| panic!("no {key} in {value}"))
}

/// `Out of sync` lines in what a node has logged since.
fn told_since(node: &Node, logged_bytes: usize) -> Vec<String> {
    let log = node.log()[logged_bytes..].to_owned();
    let lines = log.lines().filter_map(|line| line.split_once("Out of sync: "));
    lines.map(|(_, range)| range.trim().to_owned()).collect()
}

/// Some data on the device, so that not everything is zeroes.
fn fill(pair: &Pair) {
    let mut client = NbdClient::open(&pair.a.nbd_socket(), "r0").unwrap();
    for at in (0..16 * MIB).step_by(MIB as usize) {
        client.write(at, &vec![(at >> 20) as u8 + 1; MIB as usize], false).unwrap();
    }
    client.flush().unwrap();
    drop(client);
    pair.a.wait_state("no client", SOON, |state| state.clients == 0);
}

/// First, last (a short one), and those between them.
fn all_blocks(pair: &Pair) -> Vec<u64> {
    let size_bytes = pair.a.state().size_bytes;
    assert!(!size_bytes.is_multiple_of(BLOCK_BYTES), "{size_bytes}: the last block is to be short");
    let mut blocks = vec![0, size_bytes / BLOCK_BYTES];
    blocks.splice(1..1, BLOCKS);
    blocks
}

fn ranges(pair: &Pair) -> Vec<String> {
    let size_bytes = pair.a.state().size_bytes;
    let last = size_bytes / BLOCK_BYTES * BLOCK_BYTES;
    let of =
        |start: u64, bytes: u64| format!("start={}, size={} (sectors)", start / 512, bytes / 512);
    vec![
        of(0, 4096),
        of(99 * 4096, 4096),
        of(1340 * 4096, 8192),
        of(3980 * 4096, 4096),
        of(last, size_bytes - last),
    ]
}

/// A verify on one node finds exactly what was damaged, and both nodes know.
fn expect_found(pair: &Pair, runs_on: usize, blocks: &[u64]) {
    let logged = [pair.a.log().len(), pair.b.log().len()];
    let told = pair.node(runs_on).run(&["verify", "--wait", "r0"]);
    let told = told.expect_code(1, "a verify of damaged replicas");
    assert!(told.stderr.contains(&format!("{} blocks of 4 KiB", blocks.len())), "{told:?}");
    let total = pair.a.state().size_bytes.div_ceil(BLOCK_BYTES);
    for (index, node) in [&pair.a, &pair.b].into_iter().enumerate() {
        wait_until("its result is there", SOON, || !verified(node).is_null());
        assert_eq!(told_since(node, logged[index]), ranges(pair), "node {index}");
        let state = node.state();
        assert_eq!((&*state.disk, &*state.peer_disk), ("UpToDate", "UpToDate"));
        assert_eq!(state.replication, "Established");
        assert_eq!(state.out_of_sync_blocks, blocks.len() as u64, "node {index}");
        let result = verified(node);
        assert_eq!(number(&result, "differing-blocks"), blocks.len() as u64, "{result}");
        assert_eq!(number(&result, "compared-blocks"), total, "{result}");
        let found = format!("Online verify found {} 4k block out of sync!", blocks.len());
        assert!(node.log()[logged[index]..].contains(&found), "node {index} does not say {found}");
    }
}

fn expect_no_difference(node: &Node) {
    node.must(&["verify", "--wait", "r0"]);
    assert_eq!(number(&verified(node), "differing-blocks"), 0);
}

#[test]
fn what_is_damaged_on_one_the_other_or_both_nodes_is_found_and_mended() {
    let pair = uneven_pair();
    fill(&pair);
    let blocks = all_blocks(&pair);
    expect_no_difference(&pair.a);
    // On which nodes, and where the verify is asked for.
    for (round, (nodes, runs_on)) in
        [(&[1][..], 0), (&[0], 1), (&[0, 1], 0), (&[1], 1)].into_iter().enumerate()
    {
        for index in nodes {
            for block in &blocks {
                damaged(&pair, *index, *block, 0xd0 + (round * 2 + index) as u8);
            }
        }
        let primary: Vec<u8> = blocks.iter().map(|block| byte_at(&pair.a, block * 4096)).collect();
        expect_found(&pair, runs_on, &blocks);
        pair.node(runs_on).must(&["repair", "r0"]);
        pair.expect_equal();
        let mended: Vec<u8> = blocks.iter().map(|block| byte_at(&pair.b, block * 4096)).collect();
        assert_eq!(mended, primary, "the Primary's data count");
        for node in [&pair.a, &pair.b] {
            wait_until("it is known to be repaired", SOON, || {
                number(&verified(node), "repaired-blocks") == blocks.len() as u64
            });
        }
        expect_no_difference(&pair.a);
        expect_no_difference(&pair.b);
    }
}

#[test]
fn disconnect_and_connect_mends_and_two_secondaries_wait_to_be_told() {
    let pair = uneven_pair();
    fill(&pair);
    let blocks = all_blocks(&pair);
    blocks.iter().for_each(|block| damaged(&pair, 1, *block, 0xd1));
    expect_found(&pair, 0, &blocks);
    // The recipe of DRBD 8.4, also with a Primary that writes nothing meanwhile.
    pair.a.must(&["disconnect", "r0"]);
    pair.a.must(&["connect", "r0"]);
    pair.expect_equal();
    assert_eq!(byte_at(&pair.b, 99 * 4096), 1, "the Primary's data count");
    pair.a.must(&["secondary", "r0"]);
    blocks.iter().for_each(|block| damaged(&pair, 0, *block, 0xd2));
    let refused = pair.a.run(&["verify", "--repair", "r0"]);
    assert!(refused.code == 11 && refused.stderr.contains("--from local"), "{refused:?}");
    expect_found(&pair, 0, &blocks);
    pair.b.must(&["disconnect", "r0"]);
    pair.b.must(&["connect", "r0"]);
    for node in [&pair.a, &pair.b] {
        node.wait_state("connected", SOON, |state| state.connection == "Connected");
        assert_eq!(node.state().out_of_sync_blocks, blocks.len() as u64);
    }
    let refused = pair.b.run(&["repair", "r0"]);
    assert!(refused.code == 11 && refused.stderr.contains("--from local"), "{refused:?}");
    assert!(pair.a.must(&["status", "r0"]).stdout.contains("blkrep repair --from local r0"));
    pair.a.must(&["repair", "--from", "peer", "r0"]);
    pair.expect_equal();
    assert_eq!(byte_at(&pair.a, 99 * 4096), 1, "the named node's data count");
    expect_no_difference(&pair.b);
}

#[test]
fn verify_with_repair_copies_what_differs_and_nothing_else() {
    let pair = uneven_pair();
    fill(&pair);
    let blocks = all_blocks(&pair);
    for runs_on in [0, 1] {
        blocks.iter().for_each(|block| damaged(&pair, 1, *block, 0xd3));
        let before = pair.a.state().resynced_blocks;
        let logged = pair.a.log().len();
        pair.node(runs_on).must(&["verify", "--wait", "--repair", "r0"]);
        pair.expect_equal();
        assert_eq!(told_since(&pair.a, logged), ranges(&pair));
        assert_eq!(pair.a.state().resynced_blocks - before, blocks.len() as u64);
        assert_eq!(number(&verified(pair.node(runs_on)), "repaired-blocks"), blocks.len() as u64);
    }
}

#[test]
fn start_and_stop_bound_what_is_compared() {
    let pair = uneven_pair();
    BLOCKS.iter().for_each(|block| damaged(&pair, 1, *block, 0xd4));
    let logged = pair.a.log().len();
    let sector = (1341 * 8).to_string();
    let stop = (3980 * 8).to_string();
    let part = ["verify", "--wait", "--start", &sector, "--stop", &stop, "r0"];
    pair.a.run(&part).expect_code(1, "a verify of a part");
    assert_eq!(told_since(&pair.a, logged), ["start=10728, size=8 (sectors)"]);
    assert_eq!(number(&verified(&pair.a), "compared-blocks"), 3980 - 1341);
    pair.a.must(&["verify", "--wait", "--start", "0", "--stop", "396K", "r0"]);
    let past = pair.a.run(&["verify", "--start", "1T", "r0"]);
    assert!(past.code == 10 && past.stderr.contains("sectors of 512 bytes"), "{past:?}");
}

#[test]
fn nothing_is_reported_and_nothing_missed_beside_a_load() {
    if !require_fio() {
        return;
    }
    let fast = options().disk_bytes(64 * MIB);
    let fast = PairOptions { sync: vec!["min-rate = \"64M\"".to_owned()], ..fast };
    let pair = synced(&fast).expect("loopback is everywhere");
    let load = write_load(&pair, 120);
    for _ in 0..3 {
        expect_no_difference(&pair.a);
        expect_no_difference(&pair.b);
    }
    load.kill();
    pair.a.wait_state("no client", SOON, |state| state.clients == 0);
    // Now a load that leaves the damaged blocks alone: it writes the first 4 MiB.
    let hot = ["--rw=randwrite", "--bs=4k", "--iodepth=32", "--size=4M", "--time_based"];
    let load =
        testbed::fio::start(&pair.a, pair.scratch(), &[&hot[..], &["--runtime=120"]].concat());
    crate::bed::wait_for_writes(&pair, 100);
    let blocks = [1340, 1341, 3980, 16_000];
    for round in 0..3 {
        blocks.iter().for_each(|block| damaged(&pair, 1, *block, 0xd5 + round));
        pair.a.run(&["verify", "--wait", "r0"]).expect_code(1, "a verify beside a load");
        assert_eq!(number(&verified(&pair.a), "differing-blocks"), 4);
        pair.a.must(&["repair", "r0"]);
        pair.wait_in_sync();
    }
    load.kill();
    pair.a.wait_state("no client", SOON, |state| state.clients == 0);
    pair.expect_equal();
}

/// A verify that takes long enough to be looked at.
fn slow_pair() -> Option<Pair> {
    let slow = PairOptions { sync_rate_bytes: Some(4 * MIB), ..options() };
    let mut pair = Pair::new(&slow.disk_bytes(64 * MIB).separate())?;
    pair.create_md();
    pair.up();
    pair.wait_connected();
    pair.a.must(&["new-current-uuid", "--clear-bitmap", "r0"]);
    pair.wait_in_sync();
    pair.a.must(&["primary", "r0"]);
    Some(pair)
}

#[test]
fn a_verify_whose_link_is_lost_says_so_and_goes_on_where_it_was() {
    let Some(pair) = slow_pair() else { return };
    [99, 16_000].iter().for_each(|block| damaged(&pair, 1, *block, 0xd6));
    pair.a.must(&["verify", "r0"]);
    let states = [(&pair.a, "VerifyS"), (&pair.b, "VerifyT")];
    for (node, word) in states {
        node.wait_state("the verify runs", SOON, |state| state.replication == word);
        assert_eq!(node.must(&["cstate", "r0"]).stdout, format!("{word}\n"));
    }
    let progress = || pair.a.status().pointer("/blkrep/verify").cloned().unwrap_or(Value::Null);
    let left = || progress().get("left-blocks").and_then(Value::as_u64);
    wait_until("some of it is done", SOON, || left().is_some_and(|left| left < 15_000));
    let seen = progress();
    assert_eq!(seen.get("limited-by").and_then(Value::as_str), Some("rate"), "{seen}");
    assert!(number(&seen, "bytes-per-s") > 0 && number(&seen, "eta-s") > 0, "{seen}");
    let plain = pair.b.must(&["status", "r0"]).stdout;
    assert!(plain.contains("replication:VerifyT peer-disk:UpToDate done:"), "{plain}");
    pair.cut_link(Cut::Both);
    for node in [&pair.a, &pair.b] {
        wait_until("its end is known", SOON, || verified(node).get("next-sector").is_some());
        assert!(node.log().contains("Online verify broken off: the connection was lost"));
    }
    pair.heal_link();
    pair.wait_in_sync();
    let next = number(&verified(&pair.a), "next-sector");
    assert!(next > 99 * 8 && next < 16_000 * 8, "{next}");
    // What was found before was marked, and mended when the two met again.
    assert_eq!(byte_at(&pair.b, 99 * 4096), 0);
    let goes_on = ["verify", "--wait", "--start", &next.to_string(), "r0"];
    pair.a.run(&goes_on).expect_code(1, "the rest of a verify");
    let result = verified(&pair.a);
    assert_eq!(number(&result, "differing-blocks"), 1, "{result}");
    assert_eq!(number(&result, "compared-blocks"), pair.a.state().size_bytes / 4096 - next / 8);
}

#[test]
fn pause_sync_holds_a_verify_and_what_cannot_be_is_refused() {
    let Some(pair) = slow_pair() else { return };
    pair.b.must(&["verify", "r0"]);
    pair.b.wait_state("it runs", SOON, |state| state.replication == "VerifyS");
    pair.b.must(&["pause-sync", "r0"]);
    let left = |node: &Node| node.status().pointer("/blkrep/verify/left-blocks").cloned();
    let limit = |node: &Node| node.status().pointer("/blkrep/verify/limited-by").cloned();
    for node in [&pair.a, &pair.b] {
        wait_until("it is held", SOON, || limit(node) == Some("pause-sync".into()));
    }
    let mut held = left(&pair.a);
    wait_until("nothing moves", SOON, || {
        std::thread::sleep(std::time::Duration::from_millis(500));
        std::mem::replace(&mut held, left(&pair.a)) == held
    });
    for (node, command) in [
        (&pair.a, &["verify", "r0"][..]),
        (&pair.b, &["verify", "r0"]),
        (&pair.b, &["invalidate", "r0"]),
        (&pair.a, &["invalidate-remote", "r0"]),
        (&pair.a, &["resize", "r0"]),
    ] {
        let refused = node.run(command).expect_code(11, "beside a verify");
        assert!(refused.stderr.contains("a verify is "), "{refused:?}");
    }
    pair.b.must(&["resume-sync", "r0"]);
    wait_until("it goes on", SOON, || left(&pair.a) != held);
    pair.a.must(&["disconnect", "r0"]);
    let alone = pair.a.run(&["verify", "r0"]);
    assert!(alone.code == 11 && alone.stderr.contains("not connected"), "{alone:?}");
    let alone = pair.a.run(&["repair", "r0"]);
    assert!(alone.code == 11 && alone.stderr.contains("not connected"), "{alone:?}");
    pair.a.must(&["connect", "r0"]);
    pair.wait_in_sync();
    pair.a.must(&["invalidate-remote", "r0"]);
    pair.a.wait_state("a resync", SOON, |state| state.replication == "SyncSource");
    for command in [["verify", "r0"], ["repair", "r0"]] {
        let refused = pair.a.run(&command).expect_code(11, "beside a resync");
        assert!(refused.stderr.contains("wait-sync"), "{refused:?}");
    }
}

#[test]
fn differences_run_the_out_of_sync_handler_on_both_nodes() {
    let mut told = options();
    told.handlers.push("out-of-sync = 'echo found on $BLKREP_NODE by $BLKREP_HANDLER'".to_owned());
    let pair = synced(&told).expect("loopback is everywhere");
    expect_no_difference(&pair.a);
    damaged(&pair, 0, 7, 0xd7);
    pair.b.run(&["verify", "--wait", "r0"]).expect_code(1, "a verify");
    for (node, name) in [(&pair.a, "a"), (&pair.b, "b")] {
        let line = format!("found on {name} by out-of-sync");
        wait_until("the handler has run", SOON, || node.log().contains(&line));
        assert_eq!(node.log().matches(&line).count(), 1);
    }
}
