//! What a verify costs: each disk is read once, as fast as disk and link allow when nobody else
//! wants them, and clients beside it are served as the yield says. Measured and printed; what
//! depends on the machine is only compared with what the same machine does without it.

use crate::bed::{MIB, SOON, options, synced};
use serde_json::Value;
use std::time::{Duration, Instant};
use testbed::ledger::Ledger;
use testbed::nbd_client::NbdClient;
use testbed::writer::Writer;
use testbed::{Node, Pair, PairOptions, wait_until};

const DISK_BYTES: u64 = 512 * MIB;
/// A client's requests of one measurement.
const REQUESTS: usize = 400;

fn number(node: &Node, pointer: &str) -> u64 {
    let status = node.status();
    let found = status.pointer(pointer).and_then(Value::as_u64);
    found.unwrap_or_else(|| panic!("no number at {pointer} in {status}"))
}

fn read_bytes(node: &Node) -> u64 {
    number(node, "/blkrep/counters/disk-read-bytes")
}

/// MiB per second of a plain reader that goes past the page cache, as the daemons do.
fn sequential_read(pair: &Pair) -> Option<f64> {
    let file = format!("--filename={}", pair.a.disk().display());
    let size = format!("--size={}", DISK_BYTES - MIB);
    let arguments = [
        "--name=read",
        "--rw=read",
        "--bs=128k",
        "--iodepth=16",
        "--ioengine=io_uring",
        "--direct=1",
        "--readonly",
        "--output-format=json",
        &file,
        &size,
    ];
    testbed::skips::require_tool("fio")?;
    let mut fio = testbed::program::tied("fio");
    let output = testbed::program::run(fio.args(arguments), crate::bed::CLIENT_MAX);
    let report: Value = serde_json::from_str(&output.stdout).ok()?;
    report.pointer("/jobs/0/read/bw_bytes")?.as_f64().map(|bytes| bytes / MIB as f64)
}

/// Mean and 99th percentile of flushed writes of 4 KiB, one after the other.
fn latency(pair: &Pair) -> (Duration, Duration) {
    let mut client = NbdClient::open(&pair.a.nbd_socket(), "r0").unwrap();
    let mut took: Vec<Duration> = (0..REQUESTS)
        .map(|at| {
            let began = Instant::now();
            let offset = (at as u64 * 7919 % 100_000) * 4096;
            client.write(offset, &[at as u8; 4096], false).unwrap();
            began.elapsed()
        })
        .collect();
    took.sort_unstable();
    let mean = took.iter().sum::<Duration>() / REQUESTS as u32;
    (mean, took[REQUESTS * 99 / 100])
}

#[test]
fn each_disk_is_read_once_and_clients_are_served_beside_it() {
    let pair = synced(&options().disk_bytes(DISK_BYTES)).expect("loopback is everywhere");
    let mut client = NbdClient::open(&pair.a.nbd_socket(), "r0").unwrap();
    let size_bytes = pair.a.state().size_bytes;
    for at in (0..size_bytes / MIB).map(|piece| piece * MIB) {
        client.write(at, &vec![(at >> 20) as u8; MIB as usize], false).unwrap();
    }
    client.flush().unwrap();
    drop(client);
    pair.a.wait_state("no client", SOON, |state| state.clients == 0);
    let before = [read_bytes(&pair.a), read_bytes(&pair.b)];
    pair.a.must(&["verify", "--wait", "r0"]);
    for (node, before) in [(&pair.a, before[0]), (&pair.b, before[1])] {
        let read = read_bytes(node) - before;
        println!("{} has read {read} bytes of {size_bytes}", node.name());
        assert_eq!(read, size_bytes, "each block is read once");
    }
    let took_ms = number(&pair.a, "/blkrep/verified/took-ms").max(1);
    let rate = size_bytes as f64 / MIB as f64 * 1000.0 / took_ms as f64;
    match sequential_read(&pair) {
        // Two nodes share this disk and these cores: what one of two would have is the half.
        Some(disk) => println!(
            "idle verify {rate:.0} MiB/s on each of two nodes; one reader of the disk both are on \
             {disk:.0} MiB/s, its half {:.0}: ratio {:.2}",
            disk / 2.0,
            rate * 2.0 / disk
        ),
        None => println!("idle verify {rate:.0} MiB/s"),
    }
}

#[test]
fn a_client_hardly_notices_a_verify_that_yields() {
    let yields = PairOptions { sync: vec!["min-rate = \"4M\"".to_owned()], ..options() };
    let pair = synced(&yields.disk_bytes(DISK_BYTES)).expect("loopback is everywhere");
    let idle = latency(&pair);
    pair.a.must(&["verify", "r0"]);
    let beside = latency(&pair);
    println!("4 KiB writes: mean and p99 idle {idle:?}, beside a verify {beside:?}");
    // A client that goes on writing: until it ends the verify stays at its floor.
    let writer = Writer::start(&pair.a, Ledger::default(), 1, Duration::ZERO);
    let limit = || {
        let status = pair.a.status();
        let word = status.pointer("/blkrep/verify/limited-by").cloned();
        word.expect("the verify outlives the client")
    };
    wait_until("it yields while a client writes", SOON, || limit() == "application");
    let (_, end) = writer.finish();
    end.expect("both disks are good");
}
