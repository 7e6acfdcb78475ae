//! Clients that vanish at any moment: nobody else notices, and a write that had not arrived whole
//! is not carried out.

use crate::device::Device;
use crate::wire::{Ask, RawClient, client_flags, dial, encode_option, go_data};
use nbd_server::proto;
use std::io::Write;
use testbed::seeded::Seeded;

/// Connections that are cut at a random byte.
const CUTS: u32 = 200;

#[test]
fn a_write_of_which_only_a_part_arrived_leaves_the_old_data() {
    let Some(device) = Device::open(&[]) else { return };
    let mut other = RawClient::connect(device.socket()).unwrap();
    other.write_at(0, &[0x11; 65536]).unwrap();
    let new = vec![0x22; 65536];
    let whole = Ask::write(0, &new).encode(1);
    for arrived in [1, 27, 28, 29, 4096, 28 + 32768, whole.len() - 1] {
        let mut client = RawClient::connect(device.socket()).unwrap();
        client.stream.write_all(&whole[..arrived]).unwrap();
        drop(client);
        let seen = other.read_at(0, 65536).expect("the other connection lives on");
        assert!(seen.iter().all(|&byte| byte == 0x11), "{arrived} bytes were enough to write");
    }
    // With its last byte it counts.
    let mut client = RawClient::connect(device.socket()).unwrap();
    client.stream.write_all(&whole).unwrap();
    assert_eq!(client.reply().expect("a whole write is answered"), (1, 0));
    assert_eq!(other.read_at(0, 65536).unwrap(), new);
    client.disconnect().expect("a disconnect is obeyed");
    device.close_after(other);
}

#[test]
fn handshakes_and_requests_that_are_cut_anywhere_leave_a_server_that_serves() {
    let Some(device) = Device::open(&[]) else { return };
    let mut random = Seeded::announced();
    let mut stays = RawClient::connect(device.socket()).unwrap();
    let data = random.bytes(32 << 10);
    let mut speech = client_flags().to_vec();
    speech.extend(encode_option(proto::OPT_LIST, &[]));
    speech.extend(encode_option(proto::OPT_GO, &go_data("")));
    for request in 0..8 {
        let offset = (1 << 20) + request * data.len() as u64;
        speech.extend(Ask::write(offset, &data).encode(request));
        speech.extend(Ask::flush().encode(100 + request));
        speech.extend(Ask::read(offset, 4096).encode(200 + request));
    }
    for cut in 0..CUTS {
        let until = random.below(speech.len() as u64) as usize;
        let mut stream = dial(device.socket()).unwrap();
        stream.write_all(&speech[..until]).expect("the server reads");
        drop(stream);
        stays.write_at(0, &[cut as u8; 512]).expect("the other connection lives on");
    }
    assert_eq!(stays.read_at(0, 512).unwrap(), [(CUTS - 1) as u8; 512]);
    device.close_after(stays);
}

#[test]
fn clients_that_leave_with_reads_and_writes_open_give_everything_back() {
    let Some(device) = Device::open(&[]) else { return };
    let data = vec![0x44; 1 << 20];
    // Far more than all buffers of the server together: what is not given back is missed.
    for _ in 0..100 {
        let mut client = RawClient::connect(device.socket()).unwrap();
        for request in 0..4 {
            client.send(&Ask::write(request << 20, &data)).unwrap();
            client.send(&Ask::read(request << 20, 1 << 20)).unwrap();
        }
    }
    let mut client = RawClient::connect(device.socket()).unwrap();
    client.write_at(0, &[7; 4 << 20]).expect("there are buffers for a large write");
    assert!(client.read_at(0, 4 << 20).unwrap().iter().all(|&byte| byte == 7));
    device.close_after(client);
}
