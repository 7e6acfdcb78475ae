//! What a running resync says of itself is true on both nodes: how much, how fast, how long still,
//! and what holds it back.

use crate::bed::{MIB, SOON, client, options, write_load};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use testbed::block_device::{LoggedDisk, require_block_devices};
use testbed::fio::require_fio;
use testbed::metadata_edit::declare_equal;
use testbed::scratch::Scratch;
use testbed::skips::require_tool;
use testbed::{Node, Pair, PairOptions, wait_until};

const DISK_BYTES: u64 = 64 * MIB;
const BLOCK_BYTES: f64 = 4096.0;
/// The rate that is shown is that of the last four seconds, and so long it is looked at.
const LOOK: Duration = Duration::from_millis(4500);

/// One look at the progress on one node.
#[derive(Debug, Clone)]
struct Look {
    at: Instant,
    total: u64,
    left: u64,
    bytes_per_s: u64,
    eta_s: Option<u64>,
    percent: f64,
    limited_by: String,
}

fn look(node: &Node) -> Option<Look> {
    let status = node.status();
    let at = Instant::now();
    let sync = status.pointer("/blkrep/sync").filter(|sync| !sync.is_null())?;
    let number = |key: &str| sync[key].as_u64().unwrap_or_else(|| panic!("no {key} in {sync}"));
    let peer = &status["connections"][0]["peer_devices"][0];
    assert_eq!(peer["estimated-seconds-to-finish"], sync["eta-s"], "{status}");
    Some(Look {
        at,
        total: number("total-blocks"),
        left: number("left-blocks"),
        bytes_per_s: number("bytes-per-s"),
        eta_s: sync["eta-s"].as_u64(),
        percent: peer["percent-resync-done"].as_f64().expect("a percentage"),
        limited_by: sync["limited-by"].as_str().expect("a word").to_owned(),
    })
}

/// An equal pair whose first node is Primary.
fn equal_pair(options: &PairOptions) -> Option<Pair> {
    let mut pair = Pair::new(options)?;
    pair.create_md();
    declare_equal(&pair);
    pair.up();
    pair.wait_in_sync();
    pair.a.must(&["primary", "r0"]);
    Some(pair)
}

/// Copies everything from the first node to the second, and looks at it for a while on both.
fn looks_at_full_resync(pair: &Pair) -> [Vec<Look>; 2] {
    pair.a.must(&["invalidate-remote", "r0"]);
    for node in [&pair.a, &pair.b] {
        node.wait_state("a resync", SOON, |state| state.replication.starts_with("Sync"));
    }
    let mut looks = [Vec::new(), Vec::new()];
    let begun = Instant::now();
    while begun.elapsed() < LOOK {
        for (index, seen) in looks.iter_mut().enumerate() {
            let node = pair.node(index);
            seen.push(look(node).expect("the resync lasts longer than it is looked at"));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    looks
}

fn expect_true_numbers(looks: &[Look], device_blocks: u64) {
    for look in looks {
        let Look { total, left, bytes_per_s, .. } = *look;
        assert_eq!(total, device_blocks, "{look:?}");
        let done = (total - left) as f64 / total as f64 * 100.0;
        assert!((look.percent - done).abs() < 0.02, "{done} % are done: {look:?}");
        match (left as f64 * BLOCK_BYTES) / bytes_per_s as f64 {
            eta if eta.is_finite() => {
                let shown = look.eta_s.expect("something moves") as f64;
                assert!((shown - eta).abs() <= 1.0, "{eta} s are left: {look:?}");
            }
            _ => assert_eq!(look.eta_s, None, "nothing moves: {look:?}"),
        }
    }
    assert!(looks.windows(2).all(|pair| pair[1].left <= pair[0].left), "it goes back: {looks:?}");
    // What was copied while it was looked at.
    let (first, last) = (&looks[0], &looks[looks.len() - 1]);
    let seconds = last.at.duration_since(first.at).as_secs_f64();
    let measured = (first.left - last.left) as f64 * BLOCK_BYTES / seconds;
    let ratio = last.bytes_per_s as f64 / measured;
    println!("shown {} KiB/s, measured {:.0}", last.bytes_per_s >> 10, measured / 1024.0);
    assert!((0.6..1.7).contains(&ratio), "the rate is {measured}: {last:?}");
}

/// `expected` is the word in nearly all looks after the first second.
fn expect_limit(looks: &[Look], expected: &str) {
    let mut words: BTreeMap<&str, usize> = BTreeMap::new();
    let begun = looks[0].at;
    let later = looks.iter().filter(|look| look.at.duration_since(begun) > Duration::from_secs(1));
    for look in later {
        *words.entry(&look.limited_by).or_default() += 1;
    }
    println!("limited by {words:?}, expected {expected}");
    let all: usize = words.values().sum();
    let right = words.get(expected).copied().unwrap_or(0);
    assert!(right * 10 >= all * 8, "limited by {words:?}, expected {expected}");
}

fn expect_progress(pair: &Pair, limit: &str) -> [Vec<Look>; 2] {
    let looks = looks_at_full_resync(pair);
    let device_blocks = pair.a.state().size_bytes / 4096;
    for (node, seen) in ["source", "target"].iter().zip(&looks) {
        println!("the {node}, {} looks:", seen.len());
        expect_true_numbers(seen, device_blocks);
        expect_limit(seen, limit);
    }
    looks
}

#[test]
fn a_resync_with_a_cap_says_that_the_rate_holds_it_back() {
    let rate = 4 * MIB;
    let capped = PairOptions { sync_rate_bytes: Some(rate), ..options().disk_bytes(DISK_BYTES) };
    let pair = equal_pair(&capped).expect("loopback is everywhere");
    let looks = expect_progress(&pair, "rate");
    let shown = looks[1].last().expect("it was looked at").bytes_per_s;
    assert!((rate * 7 / 10..=rate * 12 / 10).contains(&shown), "{shown} at a cap of {rate}");
}

/// A pair of which node `index` has a disk with these delays.
fn with_slow_disk(index: usize, delay: &str, scratch: &Scratch) -> Option<(Pair, LoggedDisk)> {
    if !require_block_devices() {
        return None;
    }
    let disk = LoggedDisk::with_delays(scratch.path(), DISK_BYTES, &[delay])?;
    let mut slow = options().disk_bytes(DISK_BYTES);
    slow.disks[index] = Some(disk.path().to_owned());
    Some((equal_pair(&slow)?, disk))
}

#[test]
fn a_target_with_a_slow_disk_says_so() {
    let scratch = Scratch::new();
    let Some((pair, _disk)) = with_slow_disk(1, "wdelay=150ms", &scratch) else { return };
    expect_progress(&pair, "target-disk");
}

#[test]
fn a_source_with_a_slow_disk_says_so() {
    let scratch = Scratch::new();
    let Some((pair, _disk)) = with_slow_disk(0, "rdelay=400ms", &scratch) else { return };
    expect_progress(&pair, "source-disk");
}

#[test]
fn a_slow_link_is_what_holds_a_resync_back() {
    let Some(pair) = equal_pair(&options().disk_bytes(DISK_BYTES).separate()) else { return };
    if !pair.throttle_link(40_000) {
        return;
    }
    expect_progress(&pair, "link");
}

#[test]
fn a_resync_that_yields_says_so() {
    if !require_fio() {
        return;
    }
    let mut yielding = options().disk_bytes(DISK_BYTES);
    yielding.sync.push("min-rate = \"2M\"".to_owned());
    let pair = equal_pair(&yielding).expect("loopback is everywhere");
    let load = write_load(&pair, 60);
    let looks = looks_at_full_resync(&pair);
    for seen in &looks {
        expect_limit(seen, "application");
        assert!(seen.iter().all(|look| look.left <= look.total), "{seen:?}");
    }
    load.kill();
    pair.expect_equal();
}

#[test]
fn the_status_on_a_terminal_has_a_bar_with_all_of_it() {
    if require_tool("script").is_none() {
        return;
    }
    let capped = PairOptions { sync_rate_bytes: Some(4 * MIB), ..options().disk_bytes(DISK_BYTES) };
    let pair = equal_pair(&capped).expect("loopback is everywhere");
    pair.a.must(&["invalidate-remote", "r0"]);
    let moves = |look: Look| look.eta_s.is_some() && look.left < look.total;
    wait_until("the resync moves", SOON, || look(&pair.a).is_some_and(moves));
    let etc = pair.a.config_file();
    let run = pair.a.nbd_socket();
    let [etc, run] = [&etc, &run].map(|file| file.parent().expect("it is in a directory"));
    let command = format!(
        "{} --config-dir {} --run-dir {} --node a status r0",
        capped.binary.display(),
        etc.display(),
        run.display()
    );
    let shown = client("script", &["-qec", &command, "/dev/null"]).stdout;
    println!("{shown}");
    for part in ["[", "] ", "%  ", " of 63.9 MiB left  ", "MiB/s  ETA 0:", "limited by rate"] {
        assert!(shown.contains(part), "no {part:?} in {shown}");
    }
    let plain = pair.a.must(&["status", "r0"]).stdout;
    assert!(plain.contains("done:") && !plain.contains("ETA"), "as DRBD shows it: {plain}");
}
