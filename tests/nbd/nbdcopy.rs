//! nbdcopy (libnbd): an image goes in and comes out as it was.

use crate::device::Device;
use crate::tools::run_good;
use testbed::seeded::Seeded;

#[test]
fn a_random_image_comes_out_as_it_went_in() {
    let Some(device) = Device::open(&["nbdcopy"]) else { return };
    let image = device.random_image("in.img", &mut Seeded::announced());
    let out = device.scratch("out.img");
    run_good("nbdcopy", ["--flush", path(&image), device.uri()]);
    run_good("nbdcopy", [device.uri(), path(&out)]);
    device.assert_same_files(&image, &out);
    device.close();
}

#[test]
fn four_connections_with_long_requests_and_a_null_source_lose_nothing() {
    let Some(device) = Device::open(&["nbdcopy"]) else { return };
    let image = device.random_image("in.img", &mut Seeded::announced());
    let out = device.scratch("out.img");
    let long = ["--connections=4", "--requests=16", "--request-size=2097152"];
    run_good("nbdcopy", long.into_iter().chain([path(&image), device.uri()]));
    run_good("nbdcopy", long.into_iter().chain([device.uri(), path(&out)]));
    device.assert_same_files(&image, &out);
    device.close();
}

fn path(path: &std::path::Path) -> &str {
    path.to_str().expect("scratch paths are ASCII")
}
