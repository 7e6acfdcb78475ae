//! nbdfuse (libnbd): the device as a file, written and read by dd.

use crate::device::Device;
use crate::tools::run_good;
use testbed::block_device::{ExportFile, require_block_devices};
use testbed::seeded::Seeded;

#[test]
fn dd_writes_through_the_mounted_file_and_reads_the_same_after_a_remount() {
    if !require_block_devices() {
        return;
    }
    let Some(device) = Device::open(&["dd"]) else { return };
    let image = device.random_image("in.img", &mut Seeded::announced());
    let (mounted, out) = (device.scratch("mounted"), device.scratch("out.img"));
    {
        let file = ExportFile::mount(device.uri(), &mounted);
        let from = format!("if={}", image.display());
        let of = format!("of={}", file.path().display());
        run_good("dd", [&*from, &of, "bs=1M", "conv=notrunc,fsync", "status=none"]);
    }
    {
        let file = ExportFile::mount(device.uri(), &mounted);
        let from = format!("if={}", file.path().display());
        let of = format!("of={}", out.display());
        run_good("dd", [&*from, &of, "bs=1M", "status=none"]);
    }
    device.assert_same_files(&image, &out);
    device.close();
}
