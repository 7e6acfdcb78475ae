//! base:allocation: clients are told where the disk has holes, skip them, and are told nothing when
//! the disk is not the one that counts.

use crate::device::Device;
use crate::tools::{run, run_good};
use crate::wire::RawClient;
use std::fs::File;
use std::path::Path;
use testbed::skips::skip;

const MIB: u64 = 1 << 20;
/// Where the tests put data: first byte and length.
const DATA: [(u64, u64); 3] = [(0, 64 << 10), (9 * MIB, MIB), (40 * MIB, 128 << 10)];
const DATA_BYTES: u64 = (64 << 10) + MIB + (128 << 10);

/// Does what lies in this directory keep its holes, and tell of them?
fn keeps_holes(dir: &Path) -> bool {
    let path = dir.join("holes");
    let file = File::create_new(&path).expect("the scratch directory is writable");
    file.set_len(MIB).expect("a file can be long");
    let first_data = rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(0));
    std::fs::remove_file(&path).expect("it was made here");
    first_data.is_err()
}

/// A device with data in a few places of its first disk; none, with a noted skip, where the disks
/// cannot have holes.
fn sparse_device(tools: &[&str]) -> Option<Device> {
    let device = Device::open(tools)?;
    let dir = device.scratch("");
    if !keeps_holes(&dir) {
        skip("the file system of the temporary directory tells of no holes");
        return None;
    }
    let mut client = RawClient::connect(device.socket()).expect("it is served");
    for (offset, bytes) in DATA {
        let piece = vec![0x5a; 64 << 10];
        for at in (offset..offset + bytes).step_by(piece.len()) {
            client.write_at(at, &piece).expect("a write is answered");
        }
    }
    Some(device)
}

/// What `nbdinfo --map` shows: start, length, and whether it is a hole.
fn map_of(uri: &str) -> Vec<(u64, u64, bool)> {
    let shown = run_good("nbdinfo", ["--map", "--json", uri]);
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("nbdinfo prints JSON");
    let extents = shown.as_array().expect("a list of extents").iter();
    let number = |value: &serde_json::Value| value.as_u64().expect("a number");
    extents
        .map(|extent| {
            (number(&extent["offset"]), number(&extent["length"]), number(&extent["type"]) == 3)
        })
        .collect()
}

/// The map that `data`, first bytes and lengths in order, must give.
fn expected_map(data: &[(u64, u64)], size_bytes: u64) -> Vec<(u64, u64, bool)> {
    let mut map = Vec::new();
    let mut at = 0;
    for (offset, bytes) in data {
        if *offset > at {
            map.push((at, offset - at, true));
        }
        map.push((*offset, *bytes, false));
        at = offset + bytes;
    }
    map.push((at, size_bytes - at, true));
    map
}

#[test]
fn the_map_follows_writes_trims_and_zeroes() {
    let Some(device) = sparse_device(&["nbdinfo", "qemu-io"]) else { return };
    let size_bytes = device.size_bytes();
    assert_eq!(map_of(device.uri()), expected_map(&DATA, size_bytes));
    run_good("qemu-io", ["-f", "raw", "-c", "discard 9M 1M", device.uri()]);
    run_good("qemu-io", ["-f", "raw", "-c", "write -P 7 20M 4k", device.uri()]);
    let data = [DATA[0], (20 * MIB, 4096), DATA[2]];
    assert_eq!(map_of(device.uri()), expected_map(&data, size_bytes));
    device.close();
}

#[test]
fn a_disk_that_does_not_count_tells_nothing() {
    let Some(mut device) = sparse_device(&["nbdinfo", "qemu-io"]) else { return };
    // Both disks have a hole that they could tell of.
    run_good("qemu-io", ["-f", "raw", "-c", "discard 16M 16M", device.uri()]);
    let nothing = [(0, device.size_bytes(), false)];
    device.detach_primary();
    assert_eq!(map_of(device.uri()), nothing, "the peer's disk serves");
    device.attach_primary();
    device.promote_without_good_disk();
    assert_eq!(map_of(&device.secondary_uri()), nothing, "its own disk is Inconsistent");
    device.promote_as_before();
    device.close();
}

/// Bytes that a program reads of the device, as the nbdkit in between counts them.
fn bytes_read_by(device: &Device, command: &str) -> u64 {
    let log = device.scratch("nbdkit.log");
    let (socket, logfile) =
        (format!("socket={}", device.socket().display()), format!("logfile={}", log.display()));
    let args = ["-U", "-", "--filter=log", "nbd", &socket, &logfile, "--run", command];
    run_good("nbdkit", args);
    let text = std::fs::read_to_string(&log).expect("nbdkit has written its log");
    let reads = text.lines().filter(|line| line.contains(" Read id="));
    let count = |line: &str| {
        let hex = line.split("count=0x").nth(1).and_then(|rest| rest.split(' ').next());
        u64::from_str_radix(hex.expect("each read has a count"), 16).expect("in hexadecimal")
    };
    reads.map(count).sum()
}

fn copies_only_data(command: &str, tools: &[&str]) {
    let Some(device) = sparse_device(tools) else { return };
    if run("nbdkit", ["nbd", "--dump-plugin"]).code != 0 {
        skip("nbdkit has no nbd plugin; install it");
        return;
    }
    let whole = device.scratch("whole.img");
    let mut client = RawClient::connect(device.socket()).expect("it is served");
    let mut bytes = Vec::new();
    for at in (0..device.size_bytes()).step_by(MIB as usize) {
        let piece_bytes = MIB.min(device.size_bytes() - at);
        let piece = client.read_at(at, piece_bytes as u32);
        bytes.extend(piece.expect("a read is answered"));
    }
    std::fs::write(&whole, bytes).expect("the scratch directory is writable");
    let out = device.scratch("out.img");
    let read_bytes = bytes_read_by(&device, &command.replace("OUT", &out.display().to_string()));
    // Programs read whole pieces, of 256 KiB at the most by default.
    let limit = DATA_BYTES + 2 * DATA.len() as u64 * (256 << 10);
    assert!((DATA_BYTES..=limit).contains(&read_bytes), "{read_bytes} bytes were read");
    device.assert_same_files(&whole, &out);
    device.close_after(client);
}

#[test]
fn nbdcopy_reads_only_what_is_there() {
    copies_only_data("nbdcopy \"$uri\" OUT", &["nbdkit", "nbdcopy"]);
}

#[test]
fn qemu_img_reads_only_what_is_there() {
    copies_only_data("qemu-img convert -f raw -O raw \"$uri\" OUT", &["nbdkit", "qemu-img"]);
}

/// What a good client would not ask, and one extent only.
const STATUS: &str = r#"
h.set_strict_mode(0)
h.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
h.connect_uri(uri)
size = h.get_size()
def errno_of(call):
    try:
        call()
    except nbd.Error as error:
        return error.errno
    return "success"
for bytes, at in [(0, 0), (4096, size), (8192, size - 4096), (4096, 1)]:
    print(errno_of(lambda: h.block_status(bytes, at, lambda *a: 0)))
seen = []
def note(context, offset, entries, error):
    seen.append((context, offset, entries))
h.block_status(size, 0, note, flags=nbd.CMD_FLAG_REQ_ONE)
print(seen)
for n in range(300):
    h.block_status(4096, n * 4096, note)
print(len(seen), all(len(entries) == 2 for _, _, entries in seen[1:]))
h.shutdown()
"#;

#[test]
fn bad_questions_have_their_errno_and_one_extent_is_one() {
    let Some(device) = sparse_device(&["nbdsh"]) else { return };
    if run("nbdsh", ["-c", "import nbd"]).code != 0 {
        skip("nbdsh does not run; install python3-libnbd");
        return;
    }
    let uri = format!("uri = '{}'", device.uri());
    let printed = run_good("nbdsh", ["-c", &uri, "-c", STATUS]);
    let expected = "EINVAL\nEINVAL\nEINVAL\nEINVAL\n[('base:allocation', 0, [65536, 0])]\n301 True";
    assert_eq!(printed.trim(), expected);
    device.close();
}
