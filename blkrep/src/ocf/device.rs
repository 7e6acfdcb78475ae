//! The block device of the resource on this node: whether there should be one, whether there is,
//! and how a dead daemon's is got rid of.

use crate::cli::context::Context;
use crate::daemon::KernelDevicePlan;
use crate::frontend::kernel::attach::KernelDevice;
use std::fs;
use std::path::PathBuf;

/// The name of the device, whatever its number: the file that Filesystem mounts.
fn link(name: &str) -> PathBuf {
    PathBuf::from(format!("/dev/blkrep/by-res/{name}/0"))
}

/// True when the device can be used.
pub(super) fn is_there(name: &str) -> bool {
    link(name).exists()
}

/// The link, when there is one, whether it leads to something or not.
pub(super) fn left(name: &str) -> Option<String> {
    let link = link(name);
    fs::symlink_metadata(&link).is_ok().then(|| link.display().to_string())
}

/// True when the configuration gives this node a device. One that cannot be read gives none.
pub(super) fn is_wanted(context: &Context, name: &str) -> bool {
    let Ok(resource) = context.load(name) else { return false };
    let Ok(index) = resource.node_index(&context.node) else { return false };
    resource.node(index).device.is_some()
}

/// Gets rid of the device of a daemon that is dead, whoever uses it: its users get errors, and what
/// waits in it is never written (D16). The caller has the lock beside the resume mark.
///
/// # Errors
/// It is still attached; in words.
pub(super) fn release_dead(context: &Context, name: &str) -> Result<(), String> {
    if let Ok(resource) = context.load(name)
        && let Ok(index) = resource.node_index(&context.node)
    {
        let node = resource.node(index);
        if let Some(index) = node.device {
            let dead_connection = resource.device_timeout;
            let plan = KernelDevicePlan { index, dead_connection };
            let device = KernelDevice::of(name, &node.name, plan);
            device.drop_old(None).map_err(|error| error.to_string())?;
        }
    }
    let link = link(name);
    match fs::remove_file(&link) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {error}", link.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
