//! Many overlapping writes of all sizes: what fio wrote comes back, and the replicas are equal.

use crate::bed::{CLIENT_MAX, MIB, client_command, options, synced, synced_pair};
use testbed::fio::{require_fio, start};
use testbed::program::tied;

#[test]
fn fio_verifies_what_it_wrote_in_sizes_from_512_bytes_to_a_mebibyte() {
    if !require_fio() {
        return;
    }
    let Some(pair) = synced(&options().disk_bytes(96 * MIB)) else { return };
    // Overlapping writes in flight have no defined result for fio, so it keeps them apart.
    let arguments = [
        "--rw=randwrite",
        "--bsrange=512-1M",
        "--blockalign=512",
        "--norandommap",
        "--iodepth=32",
        "--serialize_overlap=1",
        "--size=64M",
        "--io_size=96M",
        "--verify=crc32c",
        "--verify_fatal=1",
        "--do_verify=1",
    ];
    start(&pair.a, pair.scratch(), &arguments)
        .finish(CLIENT_MAX)
        .expect_success("fio with verification");
    pair.expect_equal();
}

#[test]
fn writes_that_overlap_in_flight_leave_equal_replicas() {
    if !require_fio() {
        return;
    }
    let pair = synced_pair();
    // 32 requests of up to 256 KiB in 2 MiB: nearly every write overlaps another one.
    let arguments = [
        "--rw=randwrite",
        "--bssplit=512/30:4k/30:5k/10:64k/20:256k/10",
        "--blockalign=512",
        "--norandommap",
        "--iodepth=32",
        "--numjobs=2",
        "--size=2M",
        "--time_based",
        "--runtime=4",
        "--fsync=64",
        "--randrepeat=0",
    ];
    start(&pair.a, pair.scratch(), &arguments).finish(CLIENT_MAX).expect_success("fio");
    pair.expect_equal();
}

#[test]
fn zeroing_trimming_and_writing_together_leave_equal_replicas() {
    if testbed::skips::require_tool("nbdsh").is_none() {
        return;
    }
    let pair = synced_pair();
    let script = "
import random, sys
seed = random.randrange(1 << 32)
print('seed', seed)
r = random.Random(seed)
open_ones = []
def wait_for_all_but(most):
    while len(open_ones) > most:
        h.poll(-1)
        # Raises when the command failed.
        open_ones[:] = [c for c in open_ones if not h.aio_command_completed(c)]
for n in range(1500):
    length = 512 * r.randrange(1, 400)
    at = 512 * r.randrange(0, (4 << 20) // 512)
    kind = r.randrange(4)
    if kind == 0 and h.can_trim():
        c = h.aio_trim(length, at)
    elif kind == 1:
        c = h.aio_zero(length, at, flags=r.choice([0, nbd.CMD_FLAG_NO_HOLE]))
    elif kind == 2:
        c = h.aio_flush()
    else:
        c = h.aio_pwrite(r.randbytes(length), at, flags=r.choice([0, 0, nbd.CMD_FLAG_FUA]))
    open_ones.append(c)
    wait_for_all_but(24)
wait_for_all_but(0)
h.shutdown()
";
    let output =
        client_command(tied("nbdsh").args(["--uri", &pair.a.nbd_uri(), "--command", script]));
    println!("{}", output.stdout);
    pair.expect_equal();
}
