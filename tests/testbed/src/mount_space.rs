//! Mounts of one node: a mount namespace with a `/dev/blkrep` of its own, so that two nodes on one
//! machine make the same link to different devices, and nothing that they mount is seen outside.

use crate::program::{Server, tied};
use crate::skips::{require_root, require_tool, skip};
use crate::wait::wait_until;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest time until the namespace is there.
const START_MAX: Duration = Duration::from_secs(10);
/// Makes the directory and holds the namespace as long as it lives.
const HOLD: &str = "mkdir -p /dev/blkrep && mount -t tmpfs tmpfs /dev/blkrep && \
                    mkdir /dev/blkrep/by-res && exec sleep infinity";

/// The process that holds the namespace.
#[derive(Debug)]
pub struct MountSpace(Server);

impl MountSpace {
    /// Makes one; none, with a noted skip, where the machine does not allow it. What the process
    /// says goes to `log`.
    #[must_use]
    pub fn new(log: &Path) -> Option<Self> {
        if !require_root("a mount namespace for each node") {
            return None;
        }
        for tool in ["unshare", "nsenter", "mount"] {
            require_tool(tool)?;
        }
        let mut command = tied("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", HOLD]);
        let mut space = Self(Server::start(command, log));
        let made = space.root().join("dev/blkrep/by-res");
        let own = std::fs::read_link("/proc/self/ns/mnt").ok();
        let theirs = format!("/proc/{}/ns/mnt", space.0.pid().as_raw_pid());
        let is_ready =
            || std::fs::read_link(&theirs).is_ok_and(|ns| Some(ns) != own) && made.is_dir();
        wait_until("a mount namespace", START_MAX, || is_ready() || space.0.ended().is_some());
        if space.0.ended().is_some() {
            skip("the machine does not allow mount namespaces");
            return None;
        }
        Some(space)
    }

    /// Its root directory, as everybody can open it.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.0.pid().as_raw_pid()))
    }

    /// What `nsenter` needs to enter it.
    #[must_use]
    pub fn option(&self) -> String {
        format!("--mount=/proc/{}/ns/mnt", self.0.pid().as_raw_pid())
    }
}
