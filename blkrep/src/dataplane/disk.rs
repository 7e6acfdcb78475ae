//! Opening the disks of a resource: direct I/O, the exclusive lock on the very descriptors (rule
//! D15), their sizes.

use super::disk_lock::{self, LockHolder};
use crate::daemon::MetaPlace;
use memmap2::MmapOptions;
use metadata::layout::Placement;
use rustix::fs::{FileType, Mode, OFlags, SeekFrom};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// File systems that make a range of a file read as zeroes without writing it (statfs(2): ext4,
/// XFS, btrfs, f2fs).
const ZEROING_FILE_SYSTEMS: [u64; 4] = [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010];
/// Smallest unit of direct I/O, in bytes.
const SECTOR_BYTES: u32 = 512;
/// Unit of direct I/O that every disk takes, in bytes.
const PAGE_BYTES: u32 = 4096;

/// A disk cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The kernel says no.
    #[error("cannot open {}: {errno}; check the path in the configuration and the permissions", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// The cause.
        errno: Errno,
    },
    /// A block device that is mounted, or part of something else.
    #[error("{} is in use by the kernel; unmount it, or take it out of LVM, RAID or swap", path.display())]
    Busy {
        /// Which.
        path: PathBuf,
    },
    /// Somebody holds the lock.
    #[error("{} is locked by {holder}; end it, or wait until its last I/O has returned, and try again", path.display())]
    Locked {
        /// Which.
        path: PathBuf,
        /// Who.
        holder: LockHolder,
    },
    /// Neither a block device nor a regular file.
    #[error("{} is neither a block device nor a regular file; correct the configuration", path.display())]
    Kind {
        /// Which.
        path: PathBuf,
    },
    /// It could be opened and not read.
    #[error("cannot read {bytes} bytes at offset {offset_bytes} of {}: {errno}; check the disk", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// From where.
        offset_bytes: u64,
        /// How many bytes.
        bytes: usize,
        /// The cause.
        errno: Errno,
    },
    /// No usable metadata.
    #[error("no metadata of blkrep on {}: {cause}; if this disk is new, run `blkrep create-md`", path.display())]
    NoMetadata {
        /// Which.
        path: PathBuf,
        /// In words.
        cause: String,
    },
    /// Metadata of something else.
    #[error("the metadata on {} are of {found}, not of {expected}; check the disk in the configuration", path.display())]
    Foreign {
        /// Which.
        path: PathBuf,
        /// Resource and node that they say.
        found: String,
        /// Resource and node that this is.
        expected: String,
    },
    /// The metadata do not fit the disk.
    #[error("the metadata on {} do not fit the disk: {cause}", path.display())]
    Layout {
        /// Which.
        path: PathBuf,
        /// In words.
        cause: String,
    },
}

/// What a disk says that has failed or is gone (errno(3)).
const FAILED: [Errno; 6] =
    [Errno::IO, Errno::NXIO, Errno::NODEV, Errno::NOENT, Errno::NOMEDIUM, Errno::REMOTEIO];

impl DiskError {
    /// True when the disk has failed or is gone, which a resource survives without it; false when
    /// something must be put right before this node may take part.
    pub(super) fn is_failure(&self) -> bool {
        match self {
            Self::Open { path: _, errno } => FAILED.contains(errno),
            Self::Read { path: _, offset_bytes: _, bytes: _, errno } => FAILED.contains(errno),
            Self::Busy { path: _ }
            | Self::Locked { path: _, holder: _ }
            | Self::Kind { path: _ }
            | Self::NoMetadata { path: _, cause: _ }
            | Self::Foreign { path: _, found: _, expected: _ }
            | Self::Layout { path: _, cause: _ } => false,
        }
    }
}

/// One disk that is open and locked.
#[derive(Debug)]
pub(super) struct OpenDisk {
    pub(super) fd: OwnedFd,
    pub(super) path: PathBuf,
    pub(super) size_bytes: u64,
    pub(super) logical_block_bytes: u32,
    pub(super) zeroes_cheaply: bool,
}

/// The disks of a resource. With internal metadata both descriptors share one open file, and so one
/// lock.
#[derive(Debug)]
pub(super) struct OpenDisks {
    pub(super) data: OpenDisk,
    pub(super) meta: OpenDisk,
    pub(super) placement: Placement,
}

/// Opens and locks the disks.
///
/// # Errors
/// The first thing that is in the way.
pub(super) fn open_disks(data_path: &Path, meta: &MetaPlace) -> Result<OpenDisks, DiskError> {
    let data = OpenDisk::open(data_path)?;
    let (meta, placement) = match meta {
        MetaPlace::Internal => (data.share()?, Placement::Internal),
        MetaPlace::External(path) => (OpenDisk::open(path)?, Placement::External),
    };
    Ok(OpenDisks { data, meta, placement })
}

impl OpenDisk {
    fn open(path: &Path) -> Result<Self, DiskError> {
        let refused = |errno| DiskError::Open { path: path.to_owned(), errno };
        let kind = rustix::fs::stat(path)
            .map(|stat| FileType::from_raw_mode(stat.st_mode))
            .map_err(refused)?;
        let is_block = kind == FileType::BlockDevice;
        if !is_block && kind != FileType::RegularFile {
            return Err(DiskError::Kind { path: path.to_owned() });
        }
        // O_EXCL on a block device: nobody has mounted it or built something on it.
        let exclusive = if is_block { OFlags::EXCL } else { OFlags::empty() };
        let flags = OFlags::RDWR | OFlags::CLOEXEC | exclusive;
        let opened = rustix::fs::open(path, flags | OFlags::DIRECT, Mode::empty());
        let (fd, is_direct) = match opened {
            Ok(fd) => (fd, true),
            Err(Errno::INVAL) if !is_block => {
                tracing::warn!(
                    "{} is on a file system without direct I/O; the page cache is used, which costs memory and speed",
                    path.display()
                );
                (rustix::fs::open(path, flags, Mode::empty()).map_err(refused)?, false)
            }
            Err(Errno::BUSY) if is_block => return Err(DiskError::Busy { path: path.to_owned() }),
            Err(errno) => return Err(refused(errno)),
        };
        disk_lock::lock(&fd)
            .map_err(|holder| DiskError::Locked { path: path.to_owned(), holder })?;
        let size_bytes = rustix::fs::seek(&fd, SeekFrom::End(0)).map_err(refused)?;
        let logical_block_bytes = match (is_block, is_direct) {
            (true, _) => rustix::fs::ioctl_blksszget(&fd).map_err(refused)?,
            (false, true) => direct_unit_bytes(&fd),
            (false, false) => SECTOR_BYTES,
        };
        let zeroes_cheaply =
            if is_block { device_zeroes_cheaply(&fd) } else { file_zeroes_cheaply(&fd) };
        let path = path.to_owned();
        Ok(Self { fd, path, size_bytes, logical_block_bytes, zeroes_cheaply })
    }

    /// A second descriptor of the same open file, under the same lock.
    fn share(&self) -> Result<Self, DiskError> {
        let fd = rustix::io::fcntl_dupfd_cloexec(&self.fd, 0)
            .map_err(|errno| DiskError::Open { path: self.path.clone(), errno })?;
        Ok(Self {
            fd,
            path: self.path.clone(),
            size_bytes: self.size_bytes,
            logical_block_bytes: self.logical_block_bytes,
            zeroes_cheaply: self.zeroes_cheaply,
        })
    }

    /// Reads whole pages, before the loop runs.
    pub(super) fn read(&self, offset_bytes: u64, bytes: usize) -> Result<Vec<u8>, DiskError> {
        let failed =
            |errno| DiskError::Read { path: self.path.clone(), offset_bytes, bytes, errno };
        // A mapping of its own is aligned, as direct I/O wants it.
        let mut pages =
            MmapOptions::new().len(bytes.max(1)).map_anon().map_err(|_| failed(Errno::NOMEM))?;
        let mut done = 0;
        while done < bytes {
            match rustix::io::pread(&self.fd, &mut pages[done..bytes], offset_bytes + done as u64) {
                Ok(0) => return Err(failed(Errno::IO)),
                Ok(count) => done += count,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
        Ok(pages[..bytes].to_vec())
    }
}

/// The smallest unit that direct I/O on this file takes.
fn direct_unit_bytes(fd: &OwnedFd) -> u32 {
    let Ok(mut page) = MmapOptions::new().len(PAGE_BYTES as usize).map_anon() else {
        return PAGE_BYTES;
    };
    match rustix::io::pread(fd, &mut page[..SECTOR_BYTES as usize], 0) {
        Ok(_) => SECTOR_BYTES,
        Err(_) => PAGE_BYTES,
    }
}

fn file_zeroes_cheaply(fd: &OwnedFd) -> bool {
    rustix::fs::fstatfs(fd).is_ok_and(|found| {
        u64::try_from(found.f_type).is_ok_and(|kind| ZEROING_FILE_SYSTEMS.contains(&kind))
    })
}

/// What sysfs says of a block device; a partition's limits are those of its disk.
fn device_zeroes_cheaply(fd: &OwnedFd) -> bool {
    let Ok(stat) = rustix::fs::fstat(fd) else { return false };
    let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    let limit = |place: &str| {
        let path = format!("/sys/dev/block/{major}:{minor}/{place}queue/write_zeroes_max_bytes");
        std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok()
    };
    limit("").or_else(|| limit("../")).is_some_and(|bytes| bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, bytes: u64) -> PathBuf {
        let path = std::env::temp_dir().join(format!("blkrep-{name}-{}", std::process::id()));
        std::fs::File::create(&path).and_then(|file| file.set_len(bytes)).expect("a file");
        path
    }

    #[test]
    fn a_disk_that_is_open_cannot_be_opened_again_and_the_error_names_the_holder() {
        let path = file("lock", 1 << 20);
        let first = open_disks(&path, &MetaPlace::Internal).expect("it opens");
        assert_eq!(first.data.size_bytes, 1 << 20);
        let error = open_disks(&path, &MetaPlace::Internal).expect_err("it is locked");
        let own = format!("process {}", std::process::id());
        assert!(error.to_string().contains(&own), "{error}");
        drop(first);
        assert!(open_disks(&path, &MetaPlace::Internal).is_ok(), "the lock went with it");
        std::fs::remove_file(path).expect("it is removed");
    }

    #[test]
    fn a_directory_and_a_missing_file_are_no_disks() {
        let directory = std::env::temp_dir();
        assert!(matches!(OpenDisk::open(&directory), Err(DiskError::Kind { .. })));
        assert!(matches!(OpenDisk::open(&directory.join("no-such")), Err(DiskError::Open { .. })));
    }

    #[test]
    fn reading_beyond_the_end_is_an_error() {
        let path = file("short", 8192);
        let disk = OpenDisk::open(&path).expect("it opens");
        assert_eq!(disk.read(4096, 4096).expect("it is there"), vec![0; 4096]);
        assert!(matches!(disk.read(4096, 8192), Err(DiskError::Read { .. })));
        std::fs::remove_file(path).expect("it is removed");
    }
}
