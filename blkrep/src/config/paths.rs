//! Where the files of a running resource are.

use std::path::{Path, PathBuf};

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

/// What a daemon that `up` started in the background prints.
#[must_use]
pub fn log_file(run_dir: &Path, resource: &str) -> PathBuf {
    run_dir.join(format!("{resource}.log"))
}
