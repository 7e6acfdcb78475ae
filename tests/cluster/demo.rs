//! The demo, as a newcomer runs it: it says that all is right, and leaves nothing behind.

use crate::bed::CLIENT_MAX;
use std::path::PathBuf;
use testbed::program::{Server, run, tied};
use testbed::wait_until;

const BLKREP: &str = env!("CARGO_BIN_EXE_blkrep");

/// A folder of its own for one demo, removed at the end.
struct Room(PathBuf);

impl Room {
    fn new(name: &str) -> Self {
        let room = std::env::temp_dir().join(format!("blkrep-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&room).expect("a folder can be made");
        Self(room)
    }

    /// Processes whose command line names this folder.
    fn processes(&self) -> Vec<String> {
        let name = self.0.to_string_lossy().into_owned();
        let all = std::fs::read_dir("/proc").expect("there is /proc");
        all.flatten()
            .filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok())
            .filter(|line| line.contains(&name) && line.contains("daemon"))
            .collect()
    }

    fn is_empty(&self) -> bool {
        std::fs::read_dir(&self.0).expect("the folder is there").next().is_none()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

#[test]
fn the_failover_demo_loses_nothing_and_leaves_nothing_behind() {
    let room = Room::new("demo-failover");
    let mut command = tied(BLKREP);
    command.args(["demo", "--failover", "--size", "48M"]).env("TMPDIR", &room.0);
    let shown = run(&mut command, CLIENT_MAX).expect_success("blkrep demo --failover").stdout;
    for said in ["acknowledged writes were read back", "both backing files hold the same"] {
        assert!(shown.contains(said), "the demo says '{said}':\n{shown}");
    }
    assert!(room.is_empty(), "the disks are removed");
    assert_eq!(room.processes(), Vec::<String>::new(), "no daemon is left");
}

#[test]
fn ctrl_c_ends_the_demo_cleanly() {
    let room = Room::new("demo-interrupt");
    let log = std::env::temp_dir().join(format!("blkrep-demo-{}.log", std::process::id()));
    let mut command = tied(BLKREP);
    command.args(["demo", "--size", "48M"]).env("TMPDIR", &room.0);
    let mut demo = Server::start(command, &log);
    wait_until("both daemons of the demo run", CLIENT_MAX, || room.processes().len() == 2);
    wait_until("the demo shows where clients connect", CLIENT_MAX, || {
        std::fs::read_to_string(&log).unwrap_or_default().contains("nbd+unix://")
    });
    demo.signal(rustix::process::Signal::INT);
    let code = demo.wait_end(CLIENT_MAX);
    let shown = std::fs::read_to_string(&log).unwrap_or_default();
    drop(std::fs::remove_file(&log));
    assert_eq!(code, 0, "{shown}");
    assert!(room.is_empty(), "the disks are removed:\n{shown}");
    assert_eq!(room.processes(), Vec::<String>::new(), "no daemon is left");
}
