//! Strangers on both sockets: nobody else is harmed.

use crate::bed::{SOON, synced_pair};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use testbed::Pair;
use testbed::nbd_client::{Command, NbdClient, write_head};
use testbed::seeded::Seeded;

const ROUNDS: u64 = 40;

/// A client that was there before, and one that comes after, are served, and both replicas agree.
fn expect_unharmed(pair: &mut Pair, client: &mut NbdClient) {
    client.write(4096, &[7; 4096], true).expect("the client from before is served");
    let mut other = NbdClient::open(&pair.a.nbd_socket(), "r0").expect("a new client is served");
    let mut back = [0; 4096];
    other.read(4096, &mut back).unwrap();
    assert_eq!(back, [7; 4096]);
    assert!(pair.a.is_alive() && pair.b.is_alive());
    pair.expect_equal();
}

#[test]
fn garbage_on_the_nbd_socket_harms_nobody() {
    let mut pair = synced_pair();
    let mut random = Seeded::announced();
    let mut client = NbdClient::open(&pair.a.nbd_socket(), "r0").unwrap();
    for round in 0..ROUNDS {
        let length = 1 + random.below(5000) as usize;
        let bytes = random.bytes(length);
        if round % 2 == 0 {
            let mut stream = UnixStream::connect(pair.a.nbd_socket()).unwrap();
            stream.write_all(&bytes).ok();
        } else {
            // After a good handshake, in the place of a request.
            let mut stream = NbdClient::open(&pair.a.nbd_socket(), "r0").unwrap();
            stream.send_raw(&bytes).ok();
        }
    }
    expect_unharmed(&mut pair, &mut client);
    pair.a.wait_state("the strangers are gone", SOON, |state| state.clients == 1);
}

#[test]
fn garbage_on_the_peer_port_harms_nobody() {
    let mut pair = synced_pair();
    let mut random = Seeded::announced();
    let mut client = NbdClient::open(&pair.a.nbd_socket(), "r0").unwrap();
    let session = pair.a.log().matches("Connected").count();
    for round in 0..ROUNDS {
        let node = if round % 2 == 0 { &pair.a } else { &pair.b };
        let mut stream = TcpStream::connect(node.peer_address()).unwrap();
        let length = 1 + random.below(5000) as usize;
        let mut bytes = random.bytes(length);
        if round % 4 >= 2 && length > 8 {
            // Passes the first look: the magic of a frame and a known kind.
            bytes[..8].copy_from_slice(&[0x42, 0x4b, 0x52, 0x50, 1 + (round % 20) as u8, 0, 0, 0]);
        }
        stream.write_all(&bytes).ok();
        client.write(8192, &[round as u8; 4096], false).expect("the client goes on");
    }
    expect_unharmed(&mut pair, &mut client);
    let sessions = pair.a.log().matches("Connected").count();
    assert_eq!(sessions, session, "the strangers disturbed the connection:\n{}", pair.a.log_tail());
}

#[test]
fn a_stranger_that_says_nothing_does_not_keep_the_peer_out() {
    let mut pair = synced_pair();
    let quiet: Vec<TcpStream> =
        (0..30).map(|_| TcpStream::connect(pair.a.peer_address()).unwrap()).collect();
    pair.b.kill9();
    pair.b.up();
    pair.expect_equal();
    drop(quiet);
}

#[test]
fn a_client_that_hangs_up_in_the_middle_of_a_request_harms_nobody() {
    let mut pair = synced_pair();
    let mut client = NbdClient::open(&pair.a.nbd_socket(), "r0").unwrap();
    let mut random = Seeded::announced();
    for _ in 0..ROUNDS {
        let mut leaving = NbdClient::open(&pair.a.nbd_socket(), "r0").unwrap();
        let length_bytes = 4096 * (1 + random.below(256)) as u32;
        let mut request = write_head(1 << 20, length_bytes);
        let sent = random.below(u64::from(length_bytes)) as usize;
        request.extend(random.bytes(sent));
        leaving.send_raw(&request).unwrap();
    }
    expect_unharmed(&mut pair, &mut client);
    pair.a.wait_state("the leavers are gone", SOON, |state| state.clients == 1);
    let open = pair.a.status()["devices"][0]["upper-pending"].clone();
    assert_eq!(open, 0, "requests of the leavers are still open");
}

#[test]
fn a_client_that_hangs_up_before_its_answers_harms_nobody() {
    let mut pair = synced_pair();
    let mut client = NbdClient::open(&pair.a.nbd_socket(), "r0").unwrap();
    for round in 0..ROUNDS {
        let mut leaving = NbdClient::open(&pair.a.nbd_socket(), "r0").unwrap();
        for slot in 0..16 {
            let at = (4 << 20) + slot * 65536;
            let data = vec![round as u8; 65536];
            leaving.send(Command::Write { fua: false }, slot, at, 65536, &data).unwrap();
            leaving.send(Command::Read, slot, at, 65536, &[]).unwrap();
        }
    }
    expect_unharmed(&mut pair, &mut client);
    pair.a.wait_state("the leavers are gone", SOON, |state| state.clients == 1);
}

#[test]
fn a_connection_to_the_peer_port_that_never_greets_is_closed() {
    let pair = synced_pair();
    let mut stream = TcpStream::connect(pair.b.peer_address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    let mut bytes = Vec::new();
    // It greets, waits for ours, and gives up.
    let end = stream.read_to_end(&mut bytes);
    let closed = end.as_ref().is_ok_and(|_| true)
        || end.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset);
    assert!(closed, "still open after 15 s: {end:?}");
}
