//! qemu-io: patterns written, zeroed and discarded are read back, with FUA and flushes between.

use crate::device::Device;
use crate::tools::run_good;

fn qemu_io(device: &Device, commands: &[&str]) -> String {
    let uri = device.uri();
    let mut args = vec!["-f", "raw"];
    for command in commands {
        args.extend(["-c", command]);
    }
    args.push(uri);
    let printed = run_good("qemu-io", args);
    assert!(!printed.contains("verification failed"), "{printed}");
    printed
}

#[test]
fn patterns_are_read_back_from_another_connection() {
    let Some(device) = Device::open(&["qemu-io"]) else { return };
    qemu_io(&device, &["write -P 0xa1 0 4k", "write -P 0xb2 4k 1M", "write -P 0xc3 3M 5M"]);
    qemu_io(&device, &["read -P 0xa1 0 4k", "read -P 0xb2 4k 1M", "read -P 0xc3 3M 5M"]);
    device.close();
}

#[test]
fn zeroes_and_discards_leave_zeroes_where_they_were_asked_for_and_nothing_else_changed() {
    let Some(device) = Device::open(&["qemu-io"]) else { return };
    qemu_io(
        &device,
        &[
            "write -P 0xd4 0 16M",
            "write -z 1M 64k",
            "write -z -u 4M 8M",
            "write -z -f 13M 4k",
            "discard 14M 1M",
            "flush",
        ],
    );
    qemu_io(
        &device,
        &[
            "read -P 0xd4 0 1M",
            "read -P 0 1M 64k",
            "read -P 0xd4 1088k 2M",
            "read -P 0 4M 8M",
            "read -P 0xd4 12M 1M",
            "read -P 0 13M 4k",
            "read -P 0xd4 15M 1M",
        ],
    );
    device.close();
}

#[test]
fn fua_writes_and_flushes_succeed_in_every_cache_mode() {
    let Some(device) = Device::open(&["qemu-io"]) else { return };
    qemu_io(&device, &["write -f -P 0xe5 0 4k", "flush", "write -f -P 0xf6 64k 256k", "flush"]);
    for cache in ["none", "writethrough", "directsync"] {
        let uri = device.uri();
        let write = "write -P 0x17 1M 64k";
        run_good("qemu-io", ["-f", "raw", "-t", cache, "-c", write, "-c", "flush", uri]);
    }
    qemu_io(&device, &["read -P 0xe5 0 4k", "read -P 0xf6 64k 256k", "read -P 0x17 1M 64k"]);
    device.close();
}

#[test]
fn many_writes_in_flight_at_once_do_not_mix() {
    let Some(device) = Device::open(&["qemu-io"]) else { return };
    let writes: Vec<_> =
        (0..64).map(|n| format!("aio_write -P {} {}k 12k", n + 1, n * 16)).collect();
    let mut commands: Vec<&str> = writes.iter().map(String::as_str).collect();
    commands.push("aio_flush");
    qemu_io(&device, &commands);
    let reads: Vec<_> = (0..64).map(|n| format!("read -P {} {}k 12k", n + 1, n * 16)).collect();
    qemu_io(&device, &reads.iter().map(String::as_str).collect::<Vec<_>>());
    device.close();
}
