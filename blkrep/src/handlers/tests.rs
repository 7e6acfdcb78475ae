//! Handlers as real shells: exit codes, environment, bound, what they leave behind.

use super::*;
use crate::daemon::MetaPlace;
use crate::demo::scratch_dir::ScratchDir;
use replicator::ids::NodeIndex;
use replicator::settings::Settings;
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

fn runner(command: &str, limit: Duration) -> Runner {
    let names = ["alice".to_owned(), "bob".to_owned()];
    Runner::new(&DaemonPlan {
        settings: Settings::new("r0".to_owned(), NodeIndex::Second, names),
        data_path: "/dev/vg0/r0".into(),
        meta: MetaPlace::Internal,
        listen: "192.168.0.92:7791".parse().unwrap(),
        peer: "192.168.0.91:7791".parse().unwrap(),
        nbd_socket: "/run/blkrep/r0.nbd".into(),
        nbd_listen: None,
        block_device: None,
        disk_ends: crate::disk_ends::DiskEnds::at("/run/blkrep/r0.ends".into()),
        control_socket: "/run/blkrep/r0.control".into(),
        arena_bytes: 0,
        handlers: HandlerCommands {
            commands: vec![(Handler::FencePeer, command.to_owned())],
            timeout: limit,
        },
        config_file: "/etc/blkrep.d/r0.toml".into(),
    })
}

fn exit_of(command: &str, limit: Duration) -> Option<i32> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let exit = runtime.block_on(runner(command, limit).run(Handler::FencePeer));
    runtime.shutdown_background();
    exit
}

const LONG: Duration = Duration::from_secs(30);

#[test]
fn the_exit_code_comes_back_and_a_signal_has_none() {
    assert_eq!(exit_of("exit 4", LONG), Some(4));
    assert_eq!(exit_of("kill -9 $$", LONG), None);
    assert_eq!(exit_of("no-such-program-here", LONG), Some(127));
}

#[test]
fn the_environment_names_resource_peer_disk_and_this_daemon() {
    let dir = ScratchDir::new("handler-env");
    let file = dir.path().join("env");
    assert_eq!(exit_of(&format!("env > {}", file.display()), LONG), Some(0));
    let text = std::fs::read_to_string(file).unwrap();
    for line in [
        "DRBD_RESOURCE=r0",
        "BLKREP_RESOURCE=r0",
        "DRBD_PEER=alice",
        "DRBD_PEERS=alice",
        "DRBD_PEER_AF=ipv4",
        "DRBD_PEER_ADDRESS=192.168.0.91",
        "DRBD_LL_DISK=/dev/vg0/r0",
        "DRBD_CONF=/etc/blkrep.d/r0.toml",
        "DRBD_MY_NODE_ID=1",
        "DRBD_PEER_NODE_ID=0",
        "DRBD_NODE_ID_0=alice",
        "BLKREP_NODE_ID_1=bob",
        "BLKREP_HANDLER=fence-peer",
        "BLKREP_DEVICE=/run/blkrep/r0.nbd",
        "BLKREP_CONFIG_DIR=/etc/blkrep.d",
        "BLKREP_RUN_DIR=/run/blkrep",
        "BLKREP_NODE=bob",
    ] {
        assert!(text.lines().any(|found| found == line), "no {line} in {text}");
    }
}

#[test]
fn a_handler_that_takes_too_long_is_killed_with_what_it_started() {
    let dir = ScratchDir::new("handler-late");
    let file = dir.path().join("child");
    let command = format!("sleep 600 & echo $! > {}; wait", file.display());
    assert_eq!(exit_of(&command, Duration::from_secs(1)), None);
    let pid = std::fs::read_to_string(file).unwrap();
    let stat = format!("/proc/{}/stat", pid.trim());
    let begun = Instant::now();
    // Gone, or a zombie that its reaper has not looked at yet.
    while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(begun.elapsed() < LONG, "the handler's child {pid} lives on");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_a_handler_leaves_in_the_background_does_not_hold_it_up() {
    let begun = Instant::now();
    assert_eq!(exit_of("sleep 20 & exit 7", LONG), Some(7));
    assert!(begun.elapsed() < Duration::from_secs(20), "it waited for the pipe");
}

#[test]
fn a_flood_of_output_is_read_to_its_end() {
    assert_eq!(exit_of("head -c 3000000 /dev/zero; yes | head -n 100000; exit 5", LONG), Some(5));
}

#[test]
fn no_descriptor_of_the_daemon_reaches_a_handler() {
    let dir = ScratchDir::new("handler-fds");
    // As the disks are opened.
    let held = std::fs::File::create(dir.path().join("disk")).unwrap();
    let list = dir.path().join("list");
    let command = format!("ls -l /proc/self/fd > {}", list.display());
    assert_eq!(exit_of(&command, LONG), Some(0));
    let listed = std::fs::read_to_string(list).unwrap();
    assert!(!listed.contains("/disk"), "{listed}");
    assert!(held.as_raw_fd() > 2);
}
