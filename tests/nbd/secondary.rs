//! The Secondary refuses the export and says where to go; its data are not read and not written.

use crate::device::Device;
use crate::tools::run;
use crate::wire::{client_flags, dial, encode_option, go_data, read_greeting, read_option_reply};
use nbd_server::proto;
use std::io::{Read, Write};

#[test]
fn go_on_the_secondary_is_refused_by_policy_with_a_text_and_the_connection_lives_on() {
    let Some(device) = Device::open(&[]) else { return };
    let mut stream = dial(device.secondary_socket()).unwrap();
    read_greeting(&mut stream).unwrap();
    stream.write_all(&client_flags()).unwrap();
    for option in [proto::OPT_INFO, proto::OPT_GO, proto::OPT_GO] {
        stream.write_all(&encode_option(option, &go_data(device.name()))).unwrap();
        let reply = read_option_reply(&mut stream, option).expect("a refusal is an answer");
        assert_eq!(reply.kind, proto::REP_ERR_POLICY);
        let text = String::from_utf8(reply.data).expect("the text is UTF-8");
        assert!(text.contains("Secondary"), "{text}");
    }
    device.close();
}

#[test]
fn the_secondary_lists_the_export_that_it_refuses() {
    let Some(device) = Device::open(&[]) else { return };
    let mut stream = dial(device.secondary_socket()).unwrap();
    read_greeting(&mut stream).unwrap();
    stream.write_all(&client_flags()).unwrap();
    stream.write_all(&encode_option(proto::OPT_LIST, &[])).unwrap();
    let listed = read_option_reply(&mut stream, proto::OPT_LIST).unwrap();
    assert_eq!(listed.kind, proto::REP_SERVER);
    let name = device.name().as_bytes();
    let name_bytes = u32::try_from(name.len()).expect("invariant: the name is short");
    assert_eq!(listed.data[..4], name_bytes.to_be_bytes());
    assert_eq!(&listed.data[4..4 + name.len()], name);
    assert_eq!(read_option_reply(&mut stream, proto::OPT_LIST).unwrap().kind, proto::REP_ACK);
    device.close();
}

#[test]
fn export_name_on_the_secondary_ends_the_connection_without_data() {
    let Some(device) = Device::open(&[]) else { return };
    let mut stream = dial(device.secondary_socket()).unwrap();
    read_greeting(&mut stream).unwrap();
    stream.write_all(&client_flags()).unwrap();
    let name = device.name().as_bytes();
    stream.write_all(&encode_option(proto::OPT_EXPORT_NAME, name)).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("the server closes");
    assert_eq!(rest, b"");
    device.close();
}

#[test]
fn nbdinfo_and_qemu_io_fail_on_the_secondary_and_qemu_shows_the_text() {
    let Some(device) = Device::open(&["nbdinfo", "qemu-io"]) else { return };
    let uri = device.secondary_uri();
    let info = run("nbdinfo", [&uri]);
    assert!(info.code != 0, "{info:?}");
    let write = run("qemu-io", ["-f", "raw", "-c", "write -P 1 0 4k", &uri]);
    assert!(write.code != 0 && write.stderr.contains("Secondary"), "{write:?}");
    device.close();
}
