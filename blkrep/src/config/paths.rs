//! Where the files of a running resource are.

use std::path::{Path, PathBuf};

/// Where sockets and logs are, unless another place is given.
pub const RUN_DIR: &str = "/run/blkrep";
/// Where that is which must outlive a reboot. Whoever gives another run directory has everything
/// there.
const STATE_DIR: &str = "/var/lib/blkrep";

/// The control socket of a resource.
#[must_use]
pub fn control_socket(run_dir: &Path, resource: &str) -> PathBuf {
    run_dir.join(format!("{resource}.control"))
}

/// The NBD socket of a resource (DESIGN 8, Device).
#[must_use]
pub fn nbd_socket(run_dir: &Path, resource: &str) -> PathBuf {
    run_dir.join(format!("{resource}.nbd"))
}

/// Held by the handlers of a resource that place and lift constraints, one at a time.
#[must_use]
pub fn fence_lock(run_dir: &Path, resource: &str) -> PathBuf {
    run_dir.join(format!("{resource}.fencing"))
}

/// What a daemon that `up` started in the background prints.
#[must_use]
pub fn log_file(run_dir: &Path, resource: &str) -> PathBuf {
    run_dir.join(format!("{resource}.log"))
}

/// Where the disk of a resource's replica on `node` was known to end.
#[must_use]
pub fn disk_ends(run_dir: &Path, resource: &str, node: &str) -> PathBuf {
    let directory = if run_dir == Path::new(RUN_DIR) { Path::new(STATE_DIR) } else { run_dir };
    directory.join(format!("{resource}.{node}.ends"))
}
