//! fio as a client of the device, through its own NBD engine.

use crate::node::Node;
use crate::program::{Running, run, tied};
use crate::skips::{require_tool, skip};
use std::path::Path;
use std::time::Duration;

/// fio, present and with its `nbd` engine; else a noted skip.
#[must_use]
pub fn require_fio() -> bool {
    if require_tool("fio").is_none() {
        return false;
    }
    let engines = run(tied("fio").arg("--enghelp"), Duration::from_secs(10)).stdout;
    let has_nbd = engines.lines().any(|line| line.trim() == "nbd");
    if !has_nbd {
        skip("this fio was built without its nbd engine");
    }
    has_nbd
}

/// Starts fio on the device of `node`. `arguments` are fio's options, like `--rw=randwrite`; the
/// engine, the export and the name of the job are already given.
///
/// # Panics
/// When fio cannot be started.
pub fn start(node: &Node, scratch: &Path, arguments: &[&str]) -> Running {
    let mut command = tied("fio");
    // fio leaves files of its verification where it runs.
    command.current_dir(scratch);
    command.args(["--name=load", "--ioengine=nbd", "--thread", "--group_reporting"]);
    command.arg(format!("--uri={}", node.nbd_uri()));
    command.args(arguments);
    Running::start(&mut command)
}
