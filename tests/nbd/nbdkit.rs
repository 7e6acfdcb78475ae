//! nbdkit's nbd plugin as a proxy in front: an image goes through two servers and comes out as it
//! was.

use crate::device::Device;
use crate::tools::{run, run_good};
use testbed::seeded::Seeded;
use testbed::skips::skip;

/// An image goes in and out through nbdkit with these arguments, copied in by `copy_in`.
fn goes_through(proxy: &[&str], copy_in: &str) {
    let Some(device) = Device::open(&["nbdkit", "nbdcopy"]) else { return };
    if run("nbdkit", ["nbd", "--dump-plugin"]).code != 0 {
        skip("nbdkit has no nbd plugin; install it");
        return;
    }
    let image = device.random_image("in.img", &mut Seeded::announced());
    let out = device.scratch("out.img");
    let behind = format!("socket={}", device.socket().display());
    let (from, to) = (image.display(), out.display());
    let script = format!("{copy_in} {from} \"$uri\" && nbdcopy \"$uri\" {to}");
    let args = ["-U", "-"].iter().chain(proxy).copied().chain([&*behind, "--run", &script]);
    run_good("nbdkit", args);
    device.assert_same_files(&image, &out);
    device.close();
}

#[test]
fn an_image_goes_through_a_proxy_and_comes_out_as_it_was() {
    goes_through(&["nbd"], "nbdcopy --flush");
}

#[test]
fn filters_in_front_may_cut_requests_to_pieces_and_shared_connections_stay_correct() {
    goes_through(&["--filter=blocksize", "nbd", "shared=true", "maxlen=32k"], "nbdcopy");
}
