//! qemu-img: convert in and out, compare, info, bench.

use crate::device::Device;
use crate::tools::{run, run_good};
use testbed::seeded::Seeded;

#[test]
fn an_image_that_is_converted_in_compares_equal_and_one_changed_byte_is_seen() {
    let Some(device) = Device::open(&["qemu-img", "qemu-io"]) else { return };
    let image = device.random_image("in.img", &mut Seeded::announced());
    let (image, uri) = (image.to_str().expect("scratch paths are ASCII"), device.uri());
    run_good("qemu-img", ["convert", "-n", "-f", "raw", "-O", "raw", image, uri]);
    let compare = ["compare", "-s", "-f", "raw", "-F", "raw", image, uri];
    assert!(run_good("qemu-img", compare).contains("identical"));
    run_good("qemu-io", ["-f", "raw", "-c", "write -P 0x5a 12k 512", uri]);
    assert_eq!(run("qemu-img", compare).code, 1, "a changed sector was not seen");
    device.close();
}

#[test]
fn a_device_that_is_converted_out_to_qcow2_compares_equal() {
    let Some(device) = Device::open(&["qemu-img", "nbdcopy"]) else { return };
    let image = device.random_image("in.img", &mut Seeded::announced());
    let (image, uri) = (image.to_str().expect("scratch paths are ASCII"), device.uri());
    run_good("nbdcopy", [image, uri]);
    let out = device.scratch("out.qcow2");
    let out = out.to_str().expect("scratch paths are ASCII");
    run_good("qemu-img", ["convert", "-f", "raw", "-O", "qcow2", uri, out]);
    run_good("qemu-img", ["compare", "-s", "-f", "qcow2", "-F", "raw", out, image]);
    device.close();
}

#[test]
fn info_shows_the_size_and_bench_finishes_reads_writes_and_flushes() {
    let Some(device) = Device::open(&["qemu-img"]) else { return };
    let uri = device.uri();
    let info = run_good("qemu-img", ["info", "-f", "raw", "--output=json", uri]);
    let info: serde_json::Value = serde_json::from_str(&info).expect("qemu-img prints JSON");
    assert_eq!(info["virtual-size"], device.size_bytes());
    run_good("qemu-img", ["bench", "-f", "raw", "-c", "2000", "-d", "32", "-s", "4k", uri]);
    let writes = ["bench", "-w", "-f", "raw", "-c", "2000", "-d", "32", "-s", "4k", "-S", "8k"];
    run_good("qemu-img", writes.into_iter().chain(["--flush-interval=100", uri]));
    run_good("qemu-img", ["bench", "-w", "-f", "raw", "-c", "40", "-d", "8", "-s", "1M", uri]);
    device.close();
}
