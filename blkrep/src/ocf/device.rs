//! The block device of the resource on this node: whether there should be one, whether there is,
//! and how a dead daemon's is got rid of.

use crate::cli::context::Context;
use crate::dataplane::resume_mark::ResumeMark;
use crate::frontend::{self, Dead};
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
    let node = resource.node(index);
    node.device.is_some() || node.attach_helper.is_some()
}

/// Gets rid of the device of a daemon that is dead, whoever uses it: its users get errors, and what
/// waits in it is never written (D16). Also where the configuration cannot be read.
///
/// # Errors
/// It is still attached; in words.
pub(super) fn release_dead(context: &Context, name: &str, lock: &ResumeMark) -> Result<(), String> {
    let config = context.load(name).ok();
    let (run_dir, node) = (context.run_dir.as_path(), context.node.as_str());
    let dead = Dead { run_dir, resource: name, node, config: config.as_ref() };
    frontend::release_dead(lock, &dead).map_err(|error| error.to_string())
}
