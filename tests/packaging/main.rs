//! What is installed beside the program: scripts, units and lines for other programs.

mod heartbeat;
mod notify;
mod units;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// A file of `packaging/`.
fn packaged(name: &str) -> PathBuf {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging").join(name);
    assert!(file.is_file(), "there is no {}", file.display());
    file.canonicalize().expect("it is there")
}

/// Writes a script into a folder of programs.
fn script(folder: &Path, name: &str, text: &str) {
    let file = folder.join(name);
    fs::write(&file, text).expect("the scratch directory is writable");
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).expect("it was just written");
}

/// PATH with a folder before everything else.
fn path_with(folder: &Path) -> String {
    format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default())
}

/// Puts the program under test into a folder of programs.
fn with_program(folder: &Path) {
    let link = std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_blkrep"), folder.join("blkrep"));
    link.expect("the scratch directory is writable");
}
