//! Getting rid of the block device of a daemon that is dead: in order when the resource is stopped
//! by hand, under its users when a cluster manager must go on (rules D16 and G4).

use super::helper::{Helper, HelperError};
use super::keeper::Stays;
use super::kernel::attach::KernelDevice;
use super::links::Link;
use crate::config::Resource;
use crate::daemon::{BlockDevicePlan, KernelDevicePlan};
use crate::dataplane::resume_mark::ResumeMark;
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Whose device it was.
#[derive(Debug, Clone, Copy)]
pub struct Dead<'a> {
    /// The run directory.
    pub run_dir: &'a Path,
    /// The resource.
    pub resource: &'a str,
    /// This node.
    pub node: &'a str,
    /// The resource's configuration; none when it cannot be read.
    pub config: Option<&'a Resource>,
}

/// A device of a dead daemon is still there.
#[derive(Debug, thiserror::Error)]
#[error("the block device of {resource} is still there: {reason}")]
pub struct ReleaseError {
    resource: String,
    reason: String,
}

/// Gets rid of the device, whoever uses it: they get errors, and what waits in it is never written.
/// Takes `handler-timeout`, or 20 s if that is less, at most, and some seconds. Nothing happens
/// when there is none. The caller holds the lock on the resume mark, so no daemon runs or starts,
/// and is in no runtime of tokio.
///
/// # Errors
/// It is still there.
pub fn release_dead(_lock: &ResumeMark, dead: &Dead<'_>) -> Result<(), ReleaseError> {
    let places = Places { dev: Path::new("/dev"), block: Path::new("/sys/block") };
    let linked_before = Link::target(places.dev, dead.resource);
    let by_config = match dead.device() {
        None => Ok(()),
        Some(Device::Kernel(device)) => {
            device.drop_old(None).map(drop).map_err(|error| error.to_string())
        }
        Some(Device::Helper(helper)) => wait(helper.drop_device()),
    };
    // The configuration may have changed, or its program may have failed.
    let linked = Link::target(places.dev, dead.resource);
    let linked = if by_config.is_err() { linked_before } else { linked };
    let by_link = linked.map_or(Ok(false), |target| places.release(dead, &target));
    let reason = match (by_config, by_link) {
        (Ok(()), Ok(_)) => return Ok(()),
        (Err(reason), Ok(true)) => {
            tracing::warn!("{reason}; the device is gone all the same");
            return Ok(());
        }
        (Err(reason), Ok(false)) | (_, Err(reason)) => reason,
    };
    Err(ReleaseError { resource: dead.resource.to_owned(), reason })
}

/// Gets rid of the device unless somebody uses it. The caller as for [`release_dead`].
///
/// # Errors
/// It stays: who uses it, or why not.
pub(crate) fn release_unused(_lock: &ResumeMark, dead: &Dead<'_>) -> Result<(), Stays> {
    let why = "its daemon is dead";
    match dead.device() {
        None => Ok(()),
        Some(Device::Kernel(device)) if !device.is_ours() => Ok(()),
        Some(Device::Kernel(device)) => {
            let taken = device.take(false).map_err(|held| {
                Stays::InUse(format!("{held}; {why}, and it waits; unmount or close it first"))
            })?;
            device.disconnect(taken).map_err(|error| Stays::Failed(error.to_string()))
        }
        Some(Device::Helper(helper)) => match run(helper.detach(false)) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error @ HelperError::Refused { .. })) => Err(Stays::InUse(format!(
                "{error}; {why}, and whoever uses the device gets errors; unmount or close it first"
            ))),
            Ok(Err(error @ (HelperError::Broken { .. } | HelperError::Useless { .. }))) => {
                Err(Stays::Failed(error.to_string()))
            }
            Err(error) => Err(Stays::Failed(error.to_string())),
        },
    }
}

enum Device {
    Kernel(KernelDevice),
    Helper(Helper),
}

impl Dead<'_> {
    /// What the configuration says of it.
    fn device(&self) -> Option<Device> {
        let plan = self.config?.to_plan_without_secret(self.node, self.run_dir).ok()?;
        Some(match plan.block_device.as_ref()? {
            BlockDevicePlan::Kernel(device) => {
                Device::Kernel(KernelDevice::of(self.resource, self.node, *device))
            }
            BlockDevicePlan::Helper(command) => Device::Helper(Helper::of(&plan, command)),
        })
    }
}

/// Runs what is to be awaited, for callers that have nothing to do meanwhile.
fn run<T>(work: impl Future<Output = T>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(work);
    // Something that a program left behind may hold its pipe open for ever.
    runtime.shutdown_background();
    Ok(result)
}

fn wait(work: impl Future<Output = Result<(), HelperError>>) -> Result<(), String> {
    match run(work) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// Where the kernel's files are; tests have their own.
#[derive(Debug, Clone, Copy)]
struct Places<'a> {
    dev: &'a Path,
    block: &'a Path,
}

/// What a link leads to.
#[derive(Debug, PartialEq, Eq)]
enum Linked {
    /// `/dev/nbdN`.
    Kernel(u32),
    /// A loop device over the shipped helper's file, which is mounted at this path; none when that
    /// is gone already.
    Loop(Option<PathBuf>),
    /// Nothing that is ours, or nothing at all.
    Other,
}

impl Places<'_> {
    /// Gets rid of what the link of the resource leads to, and of the link. True when there was a
    /// device of ours.
    fn release(self, dead: &Dead<'_>, target: &Path) -> Result<bool, String> {
        let linked = self.linked(target, dead);
        let is_ours = linked != Linked::Other;
        match linked {
            Linked::Kernel(index) => {
                let plan = KernelDevicePlan { index, dead_connection: Duration::ZERO };
                let device = KernelDevice::of(dead.resource, dead.node, plan);
                device.drop_old(None).map_err(|error| error.to_string())?;
            }
            Linked::Loop(file) => {
                if let Some(file) = file {
                    // Also ends a server that does not answer: its users get errors.
                    match unmount(&file, UnmountFlags::FORCE | UnmountFlags::DETACH) {
                        // Not mounted here: the loop device goes all the same.
                        Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
                        Err(errno) => {
                            return Err(format!("{} stays mounted: {errno}", file.display()));
                        }
                    }
                }
                detach_loop(target)?;
            }
            Linked::Other => {}
        }
        let link = Link::new(self.dev, dead.resource, target);
        link.remove().map_err(|error| format!("{}: {error}", link.path().display()))?;
        Ok(is_ours)
    }

    fn linked(self, target: &Path, dead: &Dead<'_>) -> Linked {
        let name = target.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if target.parent() != Some(self.dev) {
            return Linked::Other;
        }
        let number = |prefix| name.strip_prefix(prefix).and_then(|digits| digits.parse().ok());
        if let Some(index) = number("nbd") {
            return Linked::Kernel(index);
        }
        let file = self.block.join(name).join("loop/backing_file");
        match (number("loop"), fs::read_to_string(file)) {
            (Some(_), Ok(backing)) => match Path::new(backing.trim_end_matches('\n')) {
                // What the kernel shows of a file whose mount is gone.
                gone if gone == Path::new("/") => Linked::Loop(None),
                file if file.starts_with(dead.run_dir.join("attach").join(dead.resource)) => {
                    Linked::Loop(Some(file.to_owned()))
                }
                _ => Linked::Other,
            },
            (None, _) | (_, Err(_)) => Linked::Other,
        }
    }
}

/// Detaches a loop device; one that is in use goes with its last user, who gets errors.
fn detach_loop(device: &Path) -> Result<(), String> {
    let mut command = Command::new("losetup");
    // A cluster manager's PATH may lack the system's programs.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command.arg("--detach").arg(device).stdin(Stdio::null());
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(format!("losetup: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scratch_dir::ScratchDir;

    fn linked(dir: &ScratchDir, device: &str, backing: Option<&str>) -> Linked {
        let (dev, block) = (dir.path().join("dev"), dir.path().join("block"));
        let places = Places { dev: &dev, block: &block };
        let target = dev.join(device);
        let name = target.file_name().unwrap();
        if let Some(backing) = backing {
            let entry = block.join(name).join("loop");
            fs::create_dir_all(&entry).unwrap();
            fs::write(entry.join("backing_file"), format!("{backing}\n")).unwrap();
        }
        let run_dir = Path::new("/run/blkrep");
        let dead = Dead { run_dir, resource: "r0", node: "alice", config: None };
        places.linked(&target, &dead)
    }

    #[test]
    fn without_a_configuration_only_what_is_ours_is_recognised() {
        let dir = ScratchDir::new("dead-linked");
        assert_eq!(linked(&dir, "nbd7", None), Linked::Kernel(7));
        let file = "/run/blkrep/attach/r0/disk";
        assert_eq!(linked(&dir, "loop3", Some(file)), Linked::Loop(Some(file.into())));
        assert_eq!(linked(&dir, "loop4", Some("/")), Linked::Loop(None));
        for (device, backing) in [
            ("loop5", Some("/srv/image")),
            ("loop6", Some("/run/blkrep2/disk")),
            ("loop7", None),
            ("loop8", Some("/run/blkrep/attach/r01/disk")),
            ("loopx", Some(file)),
            ("sda", None),
            ("nbd7p1", None),
            ("sub/loop3", Some(file)),
        ] {
            assert_eq!(linked(&dir, device, backing), Linked::Other, "{device} {backing:?}");
        }
    }

    #[test]
    fn a_link_to_what_is_not_ours_goes_and_its_device_stays() {
        let dir = ScratchDir::new("dead-link");
        let (dev, block) = (dir.path().join("dev"), dir.path().join("block"));
        let places = Places { dev: &dev, block: &block };
        let run_dir = Path::new("/run/blkrep");
        let dead = Dead { run_dir, resource: "r0", node: "alice", config: None };
        let link = Link::new(&dev, "r0", &dev.join("sda"));
        link.make().unwrap();
        assert!(!places.release(&dead, &dev.join("sda")).unwrap());
        assert!(!link.path().is_symlink());
        // What cannot be detached stays linked, to be looked at.
        fs::create_dir_all(block.join("loop3/loop")).unwrap();
        fs::write(block.join("loop3/loop/backing_file"), "/run/blkrep/attach/r0/disk\n").unwrap();
        let link = Link::new(&dev, "r0", &dev.join("loop3"));
        link.make().unwrap();
        let error = places.release(&dead, &dev.join("loop3")).unwrap_err();
        assert!(error.contains("losetup: "), "{error}");
        assert!(link.path().is_symlink());
    }
}
