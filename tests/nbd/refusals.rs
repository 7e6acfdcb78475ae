//! Requests that a good client would not send, on the wire itself: each gets its errno, and the
//! connection lives on.

use crate::device::Device;
use crate::wire::{Ask, RawClient};
use nbd_server::Errno;
use nbd_server::proto;
use testbed::seeded::Seeded;

/// Requests with random fields; the payload of a write is always sent.
const RANDOM_REQUESTS: u32 = 2000;
/// Longest random request in bytes; short, so that the run is.
const RANDOM_BYTES_MAX: u64 = 128 << 10;

fn assert_lives(client: &mut RawClient, mark: u8) {
    client.write_at(0, &[mark; 4096]).expect("the next write is answered");
    assert_eq!(client.read_at(0, 4096).expect("the next read is answered"), [mark; 4096]);
}

#[test]
fn commands_and_flags_that_do_not_exist_get_einval() {
    let Some(device) = Device::open(&[]) else { return };
    let mut client = RawClient::connect(device.socket()).unwrap();
    let good = Ask::read(0, 4096);
    let bad = [
        Ask { command: 8, ..good },
        Ask { command: 0xffff, ..good },
        Ask { command: proto::CMD_BLOCK_STATUS, ..good },
        Ask { flags: 1 << 15, ..good },
        Ask { flags: proto::CMD_FLAG_DF, ..good },
        Ask { command: proto::CMD_FLUSH, ..good },
    ];
    for (mark, ask) in (1..).zip(bad) {
        let errno = client.errno_of(&ask).expect("a bad request is answered");
        assert_eq!(errno, Errno::Einval.wire_value(), "{ask:?}");
        assert_lives(&mut client, mark);
    }
    device.close_after(client);
}

#[test]
fn the_payload_of_a_refused_write_is_not_taken_for_requests() {
    let Some(device) = Device::open(&[]) else { return };
    let mut client = RawClient::connect(device.socket()).unwrap();
    let size_bytes = client.size_bytes;
    // A payload full of well-formed writes: a server that loses its place would carry them out.
    let trap = Ask::write(0, &[0xee; 484]).encode(7).repeat(128);
    for (offset, errno) in
        [(size_bytes, Errno::Enospc), (u64::MAX - 511, Errno::Enospc), (1, Errno::Einval)]
    {
        client.write_at(0, &[1; 512]).expect("a good write is answered");
        let seen = client.errno_of(&Ask::write(offset, &trap)).expect("it is answered");
        assert_eq!(seen, errno.wire_value(), "at {offset}");
        assert_eq!(client.read_at(0, 512).unwrap(), [1; 512], "the payload was carried out");
    }
    device.close_after(client);
}

#[test]
fn a_write_longer_than_the_maximum_payload_is_refused_or_done_and_never_ends_the_connection() {
    let Some(device) = Device::open(&[]) else { return };
    let mut client = RawClient::connect(device.socket()).unwrap();
    let long = vec![0x33; 40 << 20];
    let errno = client.errno_of(&Ask::write(0, &long)).expect("a long write is answered");
    assert_eq!(errno, Errno::Einval.wire_value());
    assert_lives(&mut client, 9);
    device.close_after(client);
}

#[test]
fn each_request_with_a_good_magic_is_answered_once_whatever_its_fields_are() {
    let Some(device) = Device::open(&[]) else { return };
    let mut random = Seeded::announced();
    let mut client = RawClient::connect(device.socket()).unwrap();
    let payload = random.bytes(RANDOM_BYTES_MAX as usize);
    for _ in 0..RANDOM_REQUESTS {
        let command = match random.below(12) {
            // A disconnect would end the run.
            number if number == u64::from(proto::CMD_DISC) => proto::CMD_READ,
            number => number as u16,
        };
        let flags = if random.below(2) == 0 { 0 } else { 1 << random.below(16) };
        let grain = [1, 512, 4096][random.below(3) as usize];
        let offset = match random.below(4) {
            0 => random.next_u64(),
            1 => client.size_bytes - random.below(16) * 512,
            _ => random.below(client.size_bytes) / grain * grain,
        };
        let bytes = (random.below(RANDOM_BYTES_MAX + 1) / grain * grain) as u32;
        let is_write = command == proto::CMD_WRITE;
        let payload = if is_write { &payload[..bytes as usize] } else { &[] };
        let ask = Ask { flags, command, offset, bytes, payload };
        let errno = client.errno_of(&ask).unwrap_or_else(|error| panic!("{error} after {ask:?}"));
        if errno == 0 && command == proto::CMD_READ {
            client.read_data(bytes).expect("a good read has its data");
        }
        let is_inside =
            offset.checked_add(bytes.into()).is_some_and(|end| end <= client.size_bytes);
        assert!(errno != 0 || is_inside, "done outside of the device: {ask:?}");
    }
    assert_lives(&mut client, 5);
    client.disconnect().expect("the server closes after a disconnect");
    device.close();
}

#[test]
fn requests_that_are_open_at_a_disconnect_are_answered_before_the_end() {
    let Some(device) = Device::open(&[]) else { return };
    let mut client = RawClient::connect(device.socket()).unwrap();
    let sent: Vec<u64> = (0..16)
        .map(|n| client.send(&Ask::write(n * 4096, &[n as u8; 4096])).expect("the server reads"))
        .collect();
    let goodbye = Ask { command: proto::CMD_DISC, ..Ask::flush() };
    client.send(&goodbye).expect("the server reads");
    let mut answered: Vec<u64> = Vec::new();
    while answered.len() < sent.len() {
        let (cookie, errno) = client.reply().expect("what is open is answered before the end");
        assert_eq!(errno, 0);
        answered.push(cookie);
    }
    answered.sort_unstable();
    assert_eq!(answered, sent);
    device.close_after(client);
}
