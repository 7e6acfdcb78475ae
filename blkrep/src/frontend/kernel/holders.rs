//! Who holds a device: mounts in any namespace, swap, devices stacked on it, open descriptors.

use super::device::Device;
use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::PathBuf;

/// One who holds it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Holder {
    /// It is mounted here.
    Mount(String),
    /// It is swap space.
    Swap,
    /// A device is stacked on it.
    Device(String),
    /// A process has it open.
    Process {
        /// Its number.
        pid: u32,
        /// Its program.
        program: String,
    },
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mount(place) => write!(f, "mounted on {place}"),
            Self::Swap => f.write_str("in use as swap"),
            Self::Device(name) => write!(f, "part of /dev/{name}"),
            Self::Process { pid, program } => write!(f, "open in process {pid} ({program})"),
        }
    }
}

/// All of them, without this process.
pub(crate) fn holders(device: &Device) -> Vec<Holder> {
    let names = device.names();
    let numbers: Vec<_> = names.iter().filter_map(|name| device.number(name)).collect();
    let paths: Vec<_> = names.iter().map(|name| device.roots.dev.join(name)).collect();
    let paths: Vec<_> = paths.iter().filter_map(|path| path.to_str()).collect();
    let mut found = BTreeSet::new();
    let mut namespaces = BTreeSet::new();
    for process in processes(device) {
        let here = device.roots.proc.join(process.to_string());
        if process != std::process::id() && has_open(&here.join("fd"), &paths) {
            let program = fs::read_to_string(here.join("comm")).unwrap_or_default();
            found.insert(Holder::Process { pid: process, program: program.trim().to_owned() });
        }
        // What is mounted is the same for all processes of a namespace.
        let namespace = fs::read_link(here.join("ns/mnt")).unwrap_or_else(|_| here.clone());
        if namespaces.insert(namespace)
            && let Ok(mounts) = fs::read_to_string(here.join("mountinfo"))
        {
            found.extend(mount_points(&mounts, &numbers, &paths).map(Holder::Mount));
        }
    }
    let swaps = fs::read_to_string(device.roots.proc.join("swaps")).unwrap_or_default();
    if swaps.lines().any(|line| line.split_whitespace().next().is_some_and(|s| paths.contains(&s)))
    {
        found.insert(Holder::Swap);
    }
    found.extend(device.stacked().into_iter().map(Holder::Device));
    found.extend(loops(device, &paths).map(Holder::Device));
    found.into_iter().collect()
}

fn processes(device: &Device) -> Vec<u32> {
    let entries = fs::read_dir(&device.roots.proc).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Looks at where the descriptors lead and never at what is there: that could be a dead server.
fn has_open(descriptors: &std::path::Path, paths: &[&str]) -> bool {
    let entries = fs::read_dir(descriptors).into_iter().flatten().flatten();
    let mut targets = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.any(|target: PathBuf| {
        let target = target.to_string_lossy();
        paths.contains(&target.strip_suffix(" (deleted)").unwrap_or(&target))
    })
}

/// The mount points of lines like `36 35 43:0 / /mnt rw - xfs /dev/nbd0 rw` (proc(5)) that are of
/// one of the devices: by number, or by source where a file system has a number of its own.
fn mount_points<'a>(
    mounts: &'a str,
    numbers: &'a [String],
    paths: &'a [&str],
) -> impl Iterator<Item = String> + 'a {
    mounts.lines().filter_map(move |line| {
        let (ours, theirs) = line.split_once(" - ")?;
        let mut words = ours.split_whitespace().skip(2);
        let number = words.next()?;
        let place = words.nth(1)?;
        let source = theirs.split_whitespace().nth(1)?;
        let is_it = numbers.iter().any(|known| known == number) || paths.contains(&source);
        // A blank in a name is written as an octal number.
        is_it.then(|| place.replace("\\040", " "))
    })
}

/// Loop devices that lie on it keep it open without a process.
fn loops<'a>(device: &'a Device, paths: &'a [&str]) -> impl Iterator<Item = String> + 'a {
    let entries = fs::read_dir(&device.roots.block).into_iter().flatten().flatten();
    entries.filter_map(move |entry| {
        let file = fs::read_to_string(entry.path().join("loop/backing_file")).ok()?;
        paths.contains(&file.trim_end()).then(|| entry.file_name().into_string().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::super::device::tests::fake;
    use super::*;
    use crate::demo::scratch_dir::ScratchDir;
    use std::os::unix::fs::symlink;

    const SYS: [(&str, &str); 2] =
        [("block/nbd3/dev", "43:96\n"), ("block/nbd3/nbd3p1/dev", "43:97\n")];

    fn open_in(dir: &ScratchDir, pid: u32, number: u32, target: &str) {
        let descriptors = dir.path().join(format!("proc/{pid}/fd"));
        fs::create_dir_all(&descriptors).unwrap();
        symlink(target, descriptors.join(number.to_string())).unwrap();
    }

    #[test]
    fn a_device_that_nobody_holds_has_no_holders() {
        let dir = ScratchDir::new("holders-none");
        let device = fake(&dir, &SYS);
        fake(
            &dir,
            &[
                ("proc/1/mountinfo", "36 35 43:0 / /mnt rw - xfs /dev/nbd0 rw\nnonsense\n"),
                ("proc/swaps", "Filename Type Size\n/dev/nbd30 partition 1\n"),
                ("proc/self/mountinfo", "36 35 43:96 / /mnt rw - xfs /dev/nbd3 rw\n"),
                ("block/loop0/loop/backing_file", "/srv/disk\n"),
            ],
        );
        open_in(&dir, 1, 0, "/dev/null");
        // Another device whose name begins with this one's.
        open_in(&dir, 1, 1, dir.path().join("dev/nbd30").to_str().unwrap());
        assert_eq!(holders(&device), []);
    }

    #[test]
    fn every_kind_of_holder_is_named() {
        let dir = ScratchDir::new("holders-all");
        let device = fake(&dir, &SYS);
        let dev = |name: &str| dir.path().join("dev").join(name).to_str().unwrap().to_owned();
        let mounts = format!(
            "36 35 43:97 / /srv/my\\040data rw,noatime shared:1 - xfs {} rw\n\
             37 35 0:44 /vol /btrfs rw - btrfs {} rw\n",
            dev("nbd3p1"),
            dev("nbd3")
        );
        fake(
            &dir,
            &[
                ("proc/20/comm", "postgres\n"),
                ("proc/20/mountinfo", &mounts),
                ("proc/swaps", &format!("Filename\n{} partition 9\n", dev("nbd3"))),
                ("block/nbd3/holders/dm-1", ""),
                ("block/loop4/loop/backing_file", &format!("{}\n", dev("nbd3"))),
            ],
        );
        open_in(&dir, 20, 5, &dev("nbd3"));
        open_in(&dir, 21, 7, &format!("{} (deleted)", dev("nbd3p1")));
        let told: Vec<_> = holders(&device).iter().map(ToString::to_string).collect();
        let expected = [
            "mounted on /btrfs",
            "mounted on /srv/my data",
            "in use as swap",
            "part of /dev/dm-1",
            "part of /dev/loop4",
            "open in process 20 (postgres)",
            "open in process 21 ()",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn this_process_is_none_of_them() {
        let dir = ScratchDir::new("holders-self");
        let device = fake(&dir, &SYS);
        let path = device.path();
        open_in(&dir, std::process::id(), 5, path.to_str().unwrap());
        assert_eq!(holders(&device), []);
    }
}
