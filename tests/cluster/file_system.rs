//! A file system made and used on the device, as an operator without a kernel driver does.

use crate::bed::{client_command, options, synced};
use testbed::block_device::{ExportFile, LoopDevice, require_block_devices};
use testbed::program::tied;
use testbed::skips::require_tool;

/// Makes a file system on `$1`, uses it at `$2` and leaves it clean. In a mount namespace of its
/// own: a mount that others copy meanwhile would keep the device busy.
const USE_IT: &str = "set -e
mkfs.ext4 -q -F \"$1\"
mount \"$1\" \"$2\"
for n in $(seq 1 40); do dd if=/dev/urandom of=\"$2/$n\" bs=37k count=3 status=none; done
sync
for n in $(seq 1 2 40); do rm \"$2/$n\"; done
umount \"$2\"
";

#[test]
fn ext4_on_the_device_is_whole_on_the_peer() {
    if !require_block_devices() {
        return;
    }
    for tool in ["mkfs.ext4", "e2fsck", "unshare"] {
        let Some(_) = require_tool(tool) else { return };
    }
    let Some(pair) = synced(&options()) else { return };
    let mount_point = pair.scratch().join("mnt");
    std::fs::create_dir(&mount_point).unwrap();
    {
        let export = ExportFile::mount(&pair.a.nbd_uri(), &pair.scratch().join("device-a"));
        let Some(device) = LoopDevice::attach(export.path()) else { return };
        let mut command = tied("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", USE_IT, "sh"]);
        client_command(command.arg(device.path()).arg(&mount_point));
        client_command(tied("blockdev").arg("--flushbufs").arg(device.path()));
    }
    pair.expect_equal();
    pair.a.wait_state("no client", crate::bed::SOON, |state| state.clients == 0);
    pair.a.must(&["secondary", "r0"]);
    pair.b.must(&["primary", "r0"]);
    let export = ExportFile::mount(&pair.b.nbd_uri(), &pair.scratch().join("device-b"));
    client_command(tied("e2fsck").arg("-fn").arg(export.path()));
    let difference =
        testbed::compare::first_difference(export.path(), pair.a.disk(), pair.b.state().size_bytes);
    assert_eq!(difference.unwrap(), None, "the peer serves other bytes than the first node wrote");
}
