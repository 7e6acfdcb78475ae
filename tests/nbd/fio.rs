//! fio's nbd engine: mixed loads, and every block that was written is verified.

use crate::device::Device;
use crate::tools::run_good;

/// Runs one job over the first `size` of the device.
fn fio(device: &Device, size: &str, job: &[&str]) -> String {
    let uri = format!("--uri={}", device.uri());
    let size = format!("--size={size}");
    // fio keeps the state of its verification in the working directory unless it is told not to.
    let fixed = ["--name=job", "--ioengine=nbd", "--thread=0", "--verify_state_save=0"];
    run_good("fio", fixed.into_iter().chain([&*uri, &size]).chain(job.iter().copied()))
}

#[test]
fn random_writes_at_depth_32_are_verified() {
    let Some(device) = Device::open(&["fio"]) else { return };
    let verify = ["--verify=crc32c", "--do_verify=1", "--verify_fatal=1"];
    fio(&device, "32M", &[&["--rw=randwrite", "--bs=4k", "--iodepth=32"], &verify[..]].concat());
    device.close();
}

#[test]
fn blocks_of_mixed_sizes_with_flushes_between_are_verified() {
    let Some(device) = Device::open(&["fio"]) else { return };
    let job = ["--rw=write", "--bsrange=4k-1M", "--iodepth=8", "--fsync=16"];
    let verify = ["--verify=sha1", "--do_verify=1", "--verify_fatal=1"];
    fio(&device, "48M", &[&job[..], &verify[..]].concat());
    device.close();
}

#[test]
fn several_clients_with_reads_writes_and_trims_finish_without_an_error() {
    let Some(device) = Device::open(&["fio"]) else { return };
    let job = ["--rw=randrw", "--bs=4k", "--iodepth=16", "--numjobs=4", "--number_ios=1000"];
    fio(&device, "16M", &job);
    fio(&device, "16M", &["--rw=trimwrite", "--bs=64k", "--iodepth=4", "--number_ios=200"]);
    device.close();
}
