//! The client of the `nbd` crate: an older client that knows only EXPORT_NAME and simple replies.

use crate::device::Device;
use crate::wire::dial;
use nbd::client::{NbdClient, NbdExt, handshake};
use std::io::{Read, Seek, SeekFrom, Write};

#[test]
fn a_client_that_knows_only_export_name_writes_reads_and_flushes() {
    let Some(device) = Device::open(&[]) else { return };
    let mut stream = dial(device.socket()).unwrap();
    let export = handshake(&mut stream, device.name().as_bytes()).expect("the handshake is done");
    assert_eq!(export.size, device.size_bytes());
    assert!(export.send_flush && !export.readonly);
    let mut client = NbdClient::new(&mut stream, &export);
    client.seek(SeekFrom::Start(1 << 20)).unwrap();
    client.write_all(&[0x42; 8192]).expect("a write is answered");
    client.flush().expect("a flush is answered");
    client.seek(SeekFrom::Start((1 << 20) - 4096)).unwrap();
    let mut back = [0; 16384];
    client.read_exact(&mut back).expect("a read is answered");
    assert!(back[4096..12288].iter().all(|&byte| byte == 0x42));
    assert!(back[..4096].iter().chain(&back[12288..]).all(|&byte| byte == 0));
    if export.send_trim {
        client.seek(SeekFrom::Start(1 << 20)).unwrap();
        client.trim(4096).expect("an offered trim is answered");
    }
    drop(stream);
    device.close();
}

#[test]
fn an_unknown_name_ends_the_connection_since_export_name_has_no_error_reply() {
    let Some(device) = Device::open(&[]) else { return };
    let mut stream = dial(device.socket()).unwrap();
    let error = handshake(&mut stream, b"nobody").expect_err("there is no such export");
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{error}");
    device.close();
}
