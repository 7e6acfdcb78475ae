//! What attaching finds in a kernel's files, without a kernel that would do it.

use super::super::device::tests::fake;
use super::*;
use crate::demo::scratch_dir::ScratchDir;
use std::fs;

const BOOT: (&str, &str) = ("proc/sys/kernel/random/boot_id", "b1\n");

fn of_alice(dir: &ScratchDir, files: &[(&str, &str)]) -> KernelDevice {
    let device = fake(dir, files);
    let owner = Owner { resource: "r0".to_owned(), node: "alice".to_owned() };
    let link = Link::new(&device.roots.dev, "r0", &device.path());
    KernelDevice { device, link, owner, dead_connection: Duration::from_secs(600) }
}

#[test]
fn only_cookies_of_this_node_and_resource_are_ours() {
    for (cookie, is_ours) in [
        ("blkrep:r0@alice:b1:p1", true),
        ("blkrep:r0@alice:b0:p0", true),
        ("blkrep:r0@bob:b1:p1", false),
        ("blkrep:r1@alice:b1:p1", false),
        ("", false),
    ] {
        let dir = ScratchDir::new("attach-ours");
        let files = [BOOT, ("block/nbd3/pid", "9\n"), ("block/nbd3/backend", cookie)];
        assert_eq!(of_alice(&dir, &files).is_ours(), is_ours, "{cookie}");
    }
}

#[test]
fn a_device_of_the_same_promotion_is_not_an_old_one() {
    let dir = ScratchDir::new("attach-old");
    let files =
        [BOOT, ("block/nbd3/pid", "9\n"), ("block/nbd3/backend", "blkrep:r0@alice:b1:p1\n")];
    let device = of_alice(&dir, &files);
    assert!(!device.drop_old(Some("p1")).unwrap());
    // Another promotion, or none: there is one to be dropped, and no kernel here that does it.
    for other in [Some("p2"), None] {
        let error = device.drop_old(other).unwrap_err().to_string();
        assert!(error.contains("/dev/nbd3: the kernel"), "{error}");
    }
    // In another boot no promotion is the same.
    fake(&dir, &[("proc/sys/kernel/random/boot_id", "b2\n")]);
    device.drop_old(Some("p1")).unwrap_err();
    // What is not connected by us is not dropped.
    fake(&dir, &[("block/nbd3/backend", "somebody\n")]);
    assert!(!device.drop_old(None).unwrap());
}

#[test]
fn a_device_of_others_is_named_with_who_has_it() {
    let dir = ScratchDir::new("attach-foreign");
    let device = of_alice(&dir, &[("proc/77/comm", "qemu-nbd\n")]);
    let error = device.foreign(Some(77), None).to_string();
    assert!(error.contains("connected by process 77 (qemu-nbd); free it"), "{error}");
    let error = device.foreign(Some(77), Some("blkrep:r1@alice:b:p".into())).to_string();
    assert!(error.contains("connected by blkrep:r1@alice:b:p"), "{error}");
}

#[test]
fn a_device_that_is_open_is_not_taken_and_the_holder_is_named() {
    let dir = ScratchDir::new("attach-held");
    let device = of_alice(&dir, &[("dev/nbd3", "data"), ("block/nbd3/dev", "43:96\n")]);
    drop(device.take(true).expect("nobody holds it"));
    let mounts = "36 35 43:96 / /srv rw - xfs /dev/nbd3 rw\n";
    fake(&dir, &[("proc/20/mountinfo", mounts)]);
    let held = device.take(true).unwrap_err().to_string();
    assert!(held.ends_with("nbd3 is held: mounted on /srv"), "{held}");
}

#[test]
fn a_process_is_given_a_moment_to_leave() {
    let dir = ScratchDir::new("attach-passing");
    let device = of_alice(&dir, &[("dev/nbd3", "data"), ("proc/20/comm", "udevd\n")]);
    let descriptors = dir.path().join("proc/20/fd");
    fs::create_dir_all(&descriptors).unwrap();
    std::os::unix::fs::symlink(device.device.path(), descriptors.join("5")).unwrap();
    let leaves = std::thread::spawn(move || {
        std::thread::sleep(PAUSE * 3);
        fs::remove_file(descriptors.join("5")).unwrap();
    });
    drop(device.take(true).expect("it leaves"));
    leaves.join().unwrap();
}

#[test]
fn the_kernel_gets_one_connection_and_no_structured_replies() {
    let mut export = Export::new("r0", 1 << 20);
    export.can_multi_conn = true;
    export.trim = true;
    let told = flags(&export);
    assert_eq!(told & (proto::FLAG_CAN_MULTI_CONN | proto::FLAG_SEND_DF), 0);
    let wanted = proto::FLAG_SEND_FLUSH | proto::FLAG_SEND_FUA | proto::FLAG_SEND_TRIM;
    assert_eq!(told & wanted, wanted);
    export.trim = false;
    assert_eq!(flags(&export) & proto::FLAG_SEND_TRIM, 0);
}

#[test]
fn a_socket_whose_other_end_was_dropped_is_not_kept() {
    let pair =
        || socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    let (kernel, server) = pair();
    assert!(is_kept(&server));
    drop(kernel);
    assert!(!is_kept(&server));
}
