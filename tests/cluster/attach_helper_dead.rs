//! Getting rid of a dead daemon's device under its users, with the configuration or by the link
//! alone.

use crate::attach_helper::HELPER;
use crate::bed::{SOON, client_command};
use blkrep::config;
use blkrep::dataplane::resume_mark::ResumeMark;
use blkrep::frontend::{Dead, release_dead};
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use testbed::block_device::require_block_devices;
use testbed::program::{Server, run, tied};
use testbed::scratch::Scratch;
use testbed::skips::require_tool;
use testbed::wait_until;

/// A device as a daemon leaves it, under a name that no other test has.
struct Left {
    name: String,
    run_dir: PathBuf,
    device: PathBuf,
    // In this order: the server goes before its socket.
    _export: Server,
    scratch: Scratch,
}

impl Left {
    fn new(what: &str) -> Option<Self> {
        if !require_block_devices() {
            return None;
        }
        require_tool("setsid")?;
        let scratch = Scratch::new();
        let name = format!("{what}-{}", std::process::id());
        let run_dir = scratch.path().join("run");
        fs::create_dir(&run_dir).expect("the scratch directory is writable");
        let socket = scratch.path().join("nbd");
        let mut command = tied("nbdkit");
        command.args(["-f", "-U"]).arg(&socket).args(["memory", "8M"]);
        let export = Server::start(command, &scratch.path().join("nbdkit-log"));
        wait_until("nbdkit listens", SOON, || UnixStream::connect(&socket).is_ok());
        let mut this = Self { name, run_dir, device: PathBuf::new(), _export: export, scratch };
        let uri = format!("nbd+unix:///?socket={}", socket.display());
        let mut command = this.helper("attach");
        let printed = client_command(command.env("BLKREP_NBD_URI", uri)).stdout;
        this.device = printed.trim().into();
        fs::create_dir_all(this.link().parent().unwrap()).expect("root can write /dev");
        symlink(&this.device, this.link()).expect("nobody else has this name");
        Some(this)
    }

    fn helper(&self, action: &str) -> std::process::Command {
        let mut command = tied("sh");
        command.args([HELPER, action]).env("BLKREP_RESOURCE", &self.name);
        command.env("BLKREP_RUN_DIR", &self.run_dir);
        command
    }

    fn link(&self) -> PathBuf {
        Path::new("/dev/blkrep/by-res").join(&self.name).join("0")
    }

    fn backing(&self) -> Option<String> {
        let name = self.device.file_name()?.to_str()?;
        fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).ok()
    }

    fn is_mounted(&self) -> bool {
        let file = self.run_dir.join("attach").join(&self.name).join("disk");
        let mounts = fs::read_to_string("/proc/self/mounts").expect("/proc is there");
        mounts.contains(&format!(" {} ", file.display()))
    }

    /// Releases it under a program that has it open, which then gets errors.
    fn release(&self, config: Option<&config::Resource>) {
        let mut user = File::open(&self.device).expect("it can be opened");
        let socket = self.run_dir.join(format!("{}.control", self.name));
        let mark = ResumeMark::take(&socket).expect("nobody has it");
        let dead = Dead { run_dir: &self.run_dir, resource: &self.name, node: "a", config };
        release_dead(&mark, &dead).expect("it goes");
        assert!(!self.link().is_symlink() && !self.is_mounted());
        let mut first = vec![0; 4096];
        user.read_exact(&mut first).expect_err("its server is gone");
        drop(user);
        let ours = self.run_dir.display().to_string();
        let is_gone = || self.backing().is_none_or(|file| file != "/\n" && !file.contains(&ours));
        wait_until("the loop device goes with its last user", SOON, is_gone);
        release_dead(&mark, &dead).expect("nothing is left to be done");
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        run(&mut self.helper("drop"), SOON);
        fs::remove_file(self.link()).ok();
        fs::remove_dir(self.link().parent().expect("it is in a directory")).ok();
    }
}

/// A configuration with `helper` for the node a.
fn configured(left: &Left, helper: &str) -> config::Resource {
    let node = |name: &str, host: u8, more: &str| {
        format!(
            "[node.{name}]\ndisk = \"/nowhere/{name}\"\nmeta-disk = \"internal\"\n\
             address = \"127.0.0.{host}:7791\"\n{more}\n"
        )
    };
    let more = format!("attach-helper = \"{helper}\"");
    let text = format!("name = \"{}\"\n{}{}", left.name, node("a", 1, &more), node("b", 2, ""));
    let file = left.scratch.path().join(format!("{}.toml", left.name));
    fs::write(file, text).expect("the scratch directory is writable");
    config::load(left.scratch.path(), &left.name).expect("it is right")
}

#[test]
fn the_helper_gets_rid_of_it_under_its_users() {
    let Some(left) = Left::new("dead-config") else { return };
    left.release(Some(&configured(&left, &format!("sh {HELPER}"))));
}

#[test]
fn without_a_configuration_the_link_is_enough() {
    let Some(left) = Left::new("dead-link") else { return };
    left.release(None);
}

#[test]
fn a_helper_that_fails_does_not_keep_it() {
    let Some(left) = Left::new("dead-broken") else { return };
    let config = configured(&left, "exit 1;");
    let mark = ResumeMark::take(&left.run_dir.join("x.control")).expect("nobody has it");
    let dead =
        Dead { run_dir: &left.run_dir, resource: &left.name, node: "a", config: Some(&config) };
    release_dead(&mark, &dead).expect("the link is enough");
    assert!(!left.link().is_symlink() && !left.is_mounted());
    // Without a link nobody knows whether there is something.
    let error = release_dead(&mark, &dead).unwrap_err().to_string();
    assert!(error.contains("is still there: attach-helper drop: "), "{error}");
}
