//! Random bytes at any point of handshake and transmission: that connection ends, no other does,
//! and the device keeps its data.

use crate::device::Device;
use crate::wire::{Ask, RawClient, client_flags, dial, encode_option, go_data};
use nbd_server::proto;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use testbed::seeded::Seeded;

/// Connections with noise for each point at which it begins.
const CONNECTIONS: u32 = 60;
/// Longest noise in bytes.
const NOISE_BYTES_MAX: u64 = 64 << 10;

/// What a client says well before the noise begins.
fn good_beginnings() -> Vec<(&'static str, Vec<u8>)> {
    let flags = client_flags().to_vec();
    let listed = [&flags[..], &encode_option(proto::OPT_LIST, &[])].concat();
    let option_head = [&flags[..], &proto::OPTION_MAGIC.to_be_bytes()].concat();
    let serving = [&flags[..], &encode_option(proto::OPT_GO, &go_data(""))].concat();
    let read = [&serving[..], &Ask::read(0, 4096).encode(1)].concat();
    let magic = [&serving[..], &proto::REQUEST_MAGIC.to_be_bytes()].concat();
    vec![
        ("the greeting", Vec::new()),
        ("the client's flags", flags),
        ("an option", listed),
        ("the magic of an option", option_head),
        ("GO", serving),
        ("a read", read),
        ("the magic of a request", magic),
    ]
}

/// Sends, then reads until the server has closed; a server that closes early is as good.
fn send_all_and_wait_for_the_end(mut stream: UnixStream, bytes: &[u8]) -> Result<(), String> {
    let is_gone = |kind| matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset);
    match stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write)) {
        Ok(()) => {}
        Err(error) if is_gone(error.kind()) || error.kind() == ErrorKind::NotConnected => {}
        Err(error) => return Err(format!("the noise was not taken: {error}")),
    }
    let mut answer = [0; 4096];
    loop {
        match stream.read(&mut answer) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if is_gone(error.kind()) => return Ok(()),
            Err(error) => return Err(format!("the connection was not ended: {error}")),
        }
    }
}

#[test]
fn random_bytes_at_any_point_end_that_connection_and_no_other() {
    let Some(device) = Device::open(&[]) else { return };
    let mut random = Seeded::announced();
    let mut stays = RawClient::connect(device.socket()).unwrap();
    let end = stays.size_bytes - 4096;
    for (point, beginning) in good_beginnings() {
        for round in 0..CONNECTIONS {
            let count = random.below(NOISE_BYTES_MAX) as usize;
            let bytes = [&beginning[..], &random.bytes(count)].concat();
            let stream = dial(device.socket()).unwrap();
            if let Err(error) = send_all_and_wait_for_the_end(stream, &bytes) {
                panic!("noise of {count} bytes after {point}, round {round}: {error}");
            }
            stays.write_at(end, &[round as u8; 512]).expect("the other connection lives on");
        }
    }
    assert_eq!(stays.read_at(end, 512).unwrap(), [(CONNECTIONS - 1) as u8; 512]);
    device.close_after(stays);
}

#[test]
fn options_with_random_numbers_lengths_and_data_never_end_the_server() {
    let Some(device) = Device::open(&[]) else { return };
    let mut random = Seeded::announced();
    for round in 0..CONNECTIONS {
        let mut bytes = client_flags().to_vec();
        for _ in 0..random.below(20) {
            let count = random.below(600) as usize;
            let data = random.bytes(count);
            // Number 2 ends the handshake and number 1 may; the rest goes on.
            bytes.extend(encode_option(random.below(14) as u32, &data));
        }
        let stream = dial(device.socket()).unwrap();
        if let Err(error) = send_all_and_wait_for_the_end(stream, &bytes) {
            panic!("round {round}: {error}");
        }
    }
    let mut client = RawClient::connect(device.socket()).unwrap();
    client.write_at(0, &[1; 512]).expect("the server still serves");
    device.close_after(client);
}
