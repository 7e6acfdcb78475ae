//! Several connections at once, as CAN_MULTI_CONN promises: what one wrote the others read, and a
//! FLUSH on one covers writes answered on another.

use crate::device::{Device, LoggedDevice, VolatileDevice};
use crate::wire::RawClient;
use nbd_server::proto;

/// proto.md "Transmission flags" bit 8 is worth little with fewer.
const CONNECTIONS: u64 = 8;

#[test]
fn a_write_answered_on_one_connection_is_read_on_every_other_at_once() {
    let Some(device) = Device::open(&[]) else { return };
    let mut clients: Vec<_> = (0..CONNECTIONS)
        .map(|_| RawClient::connect(device.socket()).expect("there is room for eight"))
        .collect();
    assert!(clients.iter().all(|client| client.flags & proto::FLAG_CAN_MULTI_CONN != 0));
    for round in 0..64 {
        let mark = [round as u8 + 1; 4096];
        let offset = round * 4096 % (1 << 20);
        let writer = (round % CONNECTIONS) as usize;
        clients[writer].write_at(offset, &mark).unwrap();
        for (reader, client) in clients.iter_mut().enumerate() {
            let seen = client.read_at(offset, 4096).unwrap();
            assert!(seen == mark, "connection {reader} reads old data of connection {writer}");
        }
    }
    device.close_after(clients);
}

#[test]
fn a_flush_on_one_connection_flushes_both_disks_after_a_write_answered_on_another() {
    let Some(logged) = LoggedDevice::open() else { return };
    let mut writer = RawClient::connect(logged.device.socket()).unwrap();
    let mut flusher = RawClient::connect(logged.device.socket()).unwrap();
    for round in 1..=8 {
        writer.write_at(0, &[round; 4096]).unwrap();
        let before = logged.flushes();
        flusher.flush().expect("a flush is answered");
        let after = logged.flushes();
        for disk in 0..2 {
            assert!(after[disk] > before[disk], "disk {disk}, round {round}: {before:?} {after:?}");
        }
    }
    logged.device.close_after((writer, flusher));
}

#[test]
fn what_a_flush_on_another_connection_covered_survives_the_loss_of_power_of_both_nodes() {
    let Some(volatile) = VolatileDevice::open() else { return };
    let mut writer = RawClient::connect(volatile.device.socket()).unwrap();
    let mut flusher = RawClient::connect(volatile.device.socket()).unwrap();
    writer.write_at(0, &[0x5a; 4096]).unwrap();
    flusher.flush().expect("a flush is answered");
    writer.write_at(4096, &[0xa5; 4096]).unwrap();
    for (node, left) in volatile.after_power_loss(0, 8192).iter().enumerate() {
        assert!(left[..4096] == [0x5a; 4096], "node {node} lost what was flushed");
        // Else these disks lose nothing, and the line above says nothing.
        assert!(left[4096..] == [0; 4096], "node {node} kept what nobody flushed");
    }
}

#[test]
fn a_client_that_ends_does_not_disturb_those_that_stay() {
    let Some(device) = Device::open(&[]) else { return };
    let mut stays = RawClient::connect(device.socket()).unwrap();
    for round in 0..100 {
        let mut goes = RawClient::connect(device.socket()).unwrap();
        goes.write_at(4096, &[round; 4096]).unwrap();
        goes.disconnect().expect("a disconnect is obeyed");
        stays.write_at(0, &[round; 4096]).expect("the other connection lives on");
        assert_eq!(stays.read_at(4096, 4096).unwrap(), [round; 4096]);
    }
    device.close_after(stays);
}
