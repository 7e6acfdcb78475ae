//! Clients at an unusual pace: one byte at a time, ten thousand requests at once, and never a
//! look at the replies.

use crate::device::Device;
use crate::wire::{Ask, RawClient, client_flags, dial, encode_option, go_data};
use crate::wire::{read_greeting, read_option_reply};
use nbd_server::proto;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// Requests on the way at once in the pipelining test.
const PIPELINED: u64 = 10_000;
/// Operations by which the progress of a client is measured.
const PROGRESS_OPS: u64 = 400;
/// Slower than this many times its undisturbed pace, plus [`PROGRESS_GRACE`], is suffering.
const PROGRESS_FACTOR: u32 = 4;
/// What a busy machine may add to a measurement.
const PROGRESS_GRACE: Duration = Duration::from_secs(2);

fn send_slowly(stream: &mut UnixStream, bytes: &[u8]) {
    for byte in bytes {
        stream.write_all(std::slice::from_ref(byte)).expect("the server reads");
    }
}

#[test]
fn one_byte_at_a_time_gives_the_same_as_all_at_once() {
    let Some(device) = Device::open(&[]) else { return };
    let mut stream = dial(device.socket()).unwrap();
    read_greeting(&mut stream).unwrap();
    send_slowly(&mut stream, &client_flags());
    send_slowly(&mut stream, &encode_option(proto::OPT_GO, &go_data(device.name())));
    while read_option_reply(&mut stream, proto::OPT_GO).unwrap().kind != proto::REP_ACK {}
    let data: Vec<u8> = (0..8192).map(|n| (n % 251) as u8).collect();
    send_slowly(&mut stream, &Ask::write(4096, &data).encode(3));
    let mut reply = [0; 16];
    stream.read_exact(&mut reply).expect("the write is answered");
    assert_eq!(reply[4..], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3]);
    let mut other = RawClient::connect(device.socket()).unwrap();
    assert_eq!(other.read_at(4096, 8192).unwrap(), data);
    device.close_after((stream, other));
}

#[test]
fn ten_thousand_pipelined_requests_are_each_answered_once() {
    let Some(device) = Device::open(&[]) else { return };
    let mut client = RawClient::connect(device.socket()).unwrap();
    let mut sending = client.stream.try_clone().unwrap();
    let blocks = (client.size_bytes / 4096).min(4096);
    let sender = std::thread::spawn(move || {
        for cookie in 0..PIPELINED {
            let mark = (cookie / blocks * 100 + cookie % 97) as u8;
            let ask = Ask::write(cookie % blocks * 4096, &[mark; 4096]).encode(cookie);
            sending.write_all(&ask).expect("the server reads while its replies are read");
        }
    });
    let mut is_answered = vec![false; PIPELINED as usize];
    for _ in 0..PIPELINED {
        let (cookie, errno) = client.reply().expect("each request is answered");
        assert_eq!(errno, 0, "request {cookie}");
        let seen = std::mem::replace(&mut is_answered[cookie as usize], true);
        assert!(!seen, "request {cookie} was answered twice");
    }
    sender.join().expect("everything was sent");
    let last_lap = PIPELINED - blocks;
    for cookie in (last_lap..PIPELINED).step_by(61) {
        let mark = (cookie / blocks * 100 + cookie % 97) as u8;
        let seen = client.read_at(cookie % blocks * 4096, 4096).unwrap();
        assert!(seen.iter().all(|&byte| byte == mark), "the block of request {cookie} is old");
    }
    device.close_after(client);
}

/// Sends reads until the server takes no more, and never looks at a reply.
fn stuck_client(socket: &Path) -> RawClient {
    let mut client = RawClient::connect(socket).unwrap();
    client.stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    for _ in 0..PIPELINED {
        if client.send(&Ask::read(0, 1 << 20)).is_err() {
            return client;
        }
    }
    panic!("the server takes any number of requests of a client that reads no reply");
}

/// How long a client of its own needs for a fixed amount of work with requests of `bytes`.
fn progress(socket: &Path, bytes: u32, ops: u64) -> Duration {
    let mut client = RawClient::connect(socket).unwrap();
    let data = vec![0x77; bytes as usize];
    let started = Instant::now();
    for op in 0..ops {
        let offset = (1 << 20) + op % 16 * u64::from(bytes);
        client.write_at(offset, &data).expect("a client that reads its replies is served");
        client.read_at(offset, bytes).expect("a client that reads its replies is served");
    }
    started.elapsed()
}

fn assert_others_do_not_suffer(stuck_clients: usize, bytes: u32, ops: u64) {
    let Some(device) = Device::open(&[]) else { return };
    let alone = progress(device.socket(), bytes, ops);
    let stuck: Vec<_> = (0..stuck_clients).map(|_| stuck_client(device.socket())).collect();
    let beside = progress(device.socket(), bytes, ops);
    println!("{bytes} bytes: alone {alone:?}, beside {stuck_clients} stuck: {beside:?}");
    assert!(beside < alone * PROGRESS_FACTOR + PROGRESS_GRACE, "{alone:?} became {beside:?}");
    device.close_after(stuck);
}

#[test]
fn a_client_that_never_reads_its_replies_does_not_slow_the_small_requests_of_others() {
    assert_others_do_not_suffer(1, 4096, PROGRESS_OPS);
}

#[test]
fn a_client_that_never_reads_its_replies_does_not_slow_the_large_requests_of_others() {
    assert_others_do_not_suffer(1, 1 << 20, PROGRESS_OPS / 10);
}

#[test]
fn several_clients_that_never_read_their_replies_do_not_slow_the_small_requests_of_others() {
    assert_others_do_not_suffer(4, 4096, PROGRESS_OPS);
}

#[test]
fn several_clients_that_never_read_their_replies_do_not_slow_the_large_requests_of_others() {
    assert_others_do_not_suffer(4, 1 << 20, PROGRESS_OPS / 10);
}
