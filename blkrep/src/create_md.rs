//! `create-md`: writes fresh metadata for this node's replica, and refuses to overwrite what others
//! left.

use crate::config::{MetaDisk, NodeConfig};
use crate::render::amounts::size;
use metadata::activity_log;
use metadata::foreign::{PROBE_BYTES, detect_all};
use metadata::page::Page;
use metadata::units::{PAGE_BYTES, device_blocks};
use metadata::{Bitmap, Creation, Foreign, ForeignKind, Layout, LayoutError, LogGeometry};
use metadata::{Placement, ResourceName, Superblock};
use replicator::ids::NodeIndex;
use rustix::fs::{FlockOperation, OFlags, flock, ioctl_blksszget};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Bitmap pages written with one call, in pages (1 MiB).
const BATCH_PAGES: usize = 256;
/// Smallest write of a regular file, in bytes.
const FILE_BLOCK_BYTES: u32 = 512;

/// Why there are no new metadata.
#[derive(Debug, Error)]
pub enum CreateMdError {
    /// The file or device does not exist.
    #[error("{path} does not exist; create it first, for a file with 'truncate -s SIZE {path}'")]
    Missing {
        /// What was to be opened.
        path: PathBuf,
    },
    /// It is neither a block device nor a regular file.
    #[error("{path} is neither a block device nor a regular file; correct 'disk' or 'meta-disk'")]
    WrongType {
        /// What was to be opened.
        path: PathBuf,
    },
    /// A daemon or another program has it.
    #[error("{path} is in use; run 'blkrep down' first, or unmount it")]
    InUse {
        /// What is held.
        path: PathBuf,
    },
    /// Something is there that would be destroyed.
    #[error("{path} holds {what}{consequence}; give --force to overwrite it")]
    Foreign {
        /// Where.
        path: PathBuf,
        /// What was found.
        what: String,
        /// What would happen to it.
        consequence: String,
    },
    /// It does not fit.
    #[error("{path}: {source}")]
    Layout {
        /// The data disk.
        path: PathBuf,
        /// Why.
        source: LayoutError,
    },
    /// A read or a write failed.
    #[error("cannot {what} {path}: {source}; nothing of the new metadata is valid, run it again")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// What was made, for the message.
#[derive(Debug, PartialEq, Eq)]
pub struct Created {
    /// Where everything lies now.
    pub layout: Layout,
    /// Size of the data disk in bytes.
    pub disk_bytes: u64,
    /// What `--force` wrote over, in words.
    pub overwritten: Vec<String>,
    meta_path: PathBuf,
}

impl Created {
    /// How much the device shrinks, for people.
    #[must_use]
    pub fn summary(&self) -> String {
        let (data, disk) = (size(self.layout.data_bytes), size(self.disk_bytes));
        let metadata = size(self.layout.metadata_bytes());
        match self.layout.placement {
            Placement::Internal => {
                format!("data: {data} of {disk}; metadata take {metadata} at the end")
            }
            Placement::External => {
                format!("data: {data}; metadata take {metadata} of {}", self.meta_path.display())
            }
        }
    }
}

/// Writes fresh metadata for the replica that `node` describes: superblock pair, empty log, empty
/// bitmap. No bit is set: a fresh replica is Inconsistent, and the handshake makes its first resync
/// a full one (drbd-facts 1.5, rules 20 and 30).
///
/// # Errors
/// See [`CreateMdError`]; without `force`, what others left is refused and nothing is written.
///
/// # Panics
/// When `resource` is no name that the configuration would accept.
pub fn create_md(
    resource: &str,
    index: NodeIndex,
    node: &NodeConfig,
    log: LogGeometry,
    force: bool,
) -> Result<Created, CreateMdError> {
    let data = Target::open(&node.disk)?;
    let meta = match &node.meta_disk {
        MetaDisk::Internal => None,
        MetaDisk::External(path) => Some(Target::open(path)?),
    };
    let layout = match &meta {
        None => Layout::internal(data.bytes, log),
        Some(meta) => Layout::external(meta.bytes, data.bytes, log),
    };
    let layout =
        layout.map_err(|source| CreateMdError::Layout { path: node.disk.clone(), source })?;
    let overwritten = match &meta {
        None => data.foreign(|found| is_destroyed(found, layout.data_bytes))?,
        Some(meta) => meta.foreign(|_| true)?,
    };
    let holder = meta.as_ref().unwrap_or(&data);
    if let Some(found) = overwritten.first()
        && !force
    {
        return Err(refusal(holder, found, &layout));
    }
    let superblock = Superblock::new_created(Creation {
        resource_name: ResourceName::new(resource)
            .expect("invariant: the configuration accepts only names that a superblock holds"),
        instance_id: random_id(holder)?,
        node_id: index.number(),
        capacity_bytes: layout.data_bytes,
        logical_block_bytes: data.block_bytes,
        log,
    });
    write(holder, &layout, &superblock)?;
    Ok(Created {
        layout,
        disk_bytes: data.bytes,
        overwritten: overwritten.iter().map(Foreign::to_string).collect(),
        meta_path: holder.path.clone(),
    })
}

/// True when a replica of `data_bytes` with metadata behind it leaves less than all of `found`.
fn is_destroyed(found: &Foreign, data_bytes: u64) -> bool {
    is_replication(found.kind) || found.is_cut_by(data_bytes)
}

/// Metadata of a replication never survive new ones: they say what the data are.
fn is_replication(kind: ForeignKind) -> bool {
    match kind {
        ForeignKind::Blkrep | ForeignKind::Drbd84 { is_unclean: _ } | ForeignKind::Drbd9 => true,
        ForeignKind::MdRaid
        | ForeignKind::Luks
        | ForeignKind::Lvm2
        | ForeignKind::Xfs
        | ForeignKind::Ext { generation: _ }
        | ForeignKind::Btrfs
        | ForeignKind::Swap
        | ForeignKind::Ntfs
        | ForeignKind::Fat
        | ForeignKind::Gpt
        | ForeignKind::DosPartitions => false,
    }
}

fn refusal(holder: &Target, found: &Foreign, layout: &Layout) -> CreateMdError {
    let consequence = match layout.placement {
        _ if is_replication(found.kind) => {
            "; with new metadata this replica counts as empty and is copied anew".to_owned()
        }
        Placement::Internal => format!(
            ", which would be cut to {}; shrink it, or use an external meta-disk",
            size(layout.data_bytes)
        ),
        Placement::External => String::new(),
    };
    CreateMdError::Foreign { path: holder.path.clone(), what: found.to_string(), consequence }
}

/// The order makes an interruption harmless: from the first write to the last there is no valid
/// superblock.
fn write(holder: &Target, layout: &Layout, superblock: &Superblock) -> Result<(), CreateMdError> {
    let identity = superblock.identity();
    for offset in layout.superblock_offsets {
        holder.write_at(&[0; PAGE_BYTES], offset)?;
    }
    holder.sync()?;
    let mut bitmap = Bitmap::new(device_blocks(layout.data_bytes));
    let mut batch = Vec::with_capacity(BATCH_PAGES * PAGE_BYTES);
    for page in 0..bitmap.page_count() {
        batch.extend_from_slice(&bitmap.encode_page(page, &identity)[..]);
        if batch.len() == batch.capacity() || page + 1 == bitmap.page_count() {
            let first_page = page + 1 - (batch.len() / PAGE_BYTES) as u64;
            holder.write_at(&batch, layout.bitmap_page_offset(first_page))?;
            batch.clear();
        }
    }
    for (sequence, page) in activity_log::format(0, &identity, layout.log) {
        holder.write_at(&page[..], layout.ring_page_offset(sequence))?;
    }
    holder.sync()?;
    for (copy, offset) in [0, 1].into_iter().zip(layout.superblock_offsets) {
        let page: Page = superblock.encode(copy);
        holder.write_at(&page, offset)?;
        holder.sync()?;
    }
    Ok(())
}

fn random_id(holder: &Target) -> Result<u64, CreateMdError> {
    getrandom::u64().map_err(|error| {
        let source = io::Error::other(error.to_string());
        CreateMdError::Io { what: "draw a random number for", path: holder.path.clone(), source }
    })
}

/// A file or device, open and locked.
struct Target {
    path: PathBuf,
    file: File,
    bytes: u64,
    block_bytes: u32,
}

impl Target {
    fn open(path: &Path) -> Result<Self, CreateMdError> {
        let io = |what| move |source| CreateMdError::Io { what, path: path.to_owned(), source };
        let in_use = || CreateMdError::InUse { path: path.to_owned() };
        let kind = match std::fs::metadata(path) {
            Ok(metadata) => metadata.file_type(),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(CreateMdError::Missing { path: path.to_owned() });
            }
            Err(source) => return Err(io("look at")(source)),
        };
        if !kind.is_block_device() && !kind.is_file() {
            return Err(CreateMdError::WrongType { path: path.to_owned() });
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        if kind.is_block_device() {
            // Exclusive: the kernel refuses while a file system on it is mounted.
            options.custom_flags(OFlags::EXCL.bits().cast_signed());
        }
        let mut file = match options.open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::ResourceBusy => return Err(in_use()),
            Err(source) => return Err(io("open")(source)),
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(in_use()),
            Err(error) => return Err(io("lock")(error.into())),
        }
        let bytes = file.seek(SeekFrom::End(0)).map_err(io("measure"))?;
        let block_bytes = if kind.is_block_device() {
            ioctl_blksszget(&file).map_err(|error| io("measure")(error.into()))?
        } else {
            FILE_BLOCK_BYTES
        };
        Ok(Self { path: path.to_owned(), file, bytes, block_bytes })
    }

    /// What lies here and is wanted.
    fn foreign(&self, wanted: impl Fn(&Foreign) -> bool) -> Result<Vec<Foreign>, CreateMdError> {
        let probe_bytes = self.bytes.min(PROBE_BYTES as u64);
        let mut first = vec![0; probe_bytes as usize];
        let mut last = first.clone();
        self.file.read_exact_at(&mut first, 0).map_err(self.io("read"))?;
        self.file.read_exact_at(&mut last, self.bytes - probe_bytes).map_err(self.io("read"))?;
        let mut found = detect_all(&first, &last, self.bytes);
        found.retain(wanted);
        Ok(found)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), CreateMdError> {
        self.file.write_all_at(bytes, offset).map_err(self.io("write"))
    }

    fn sync(&self) -> Result<(), CreateMdError> {
        self.file.sync_all().map_err(self.io("flush"))
    }

    fn io(&self, what: &'static str) -> impl FnOnce(io::Error) -> CreateMdError {
        let path = self.path.clone();
        move |source| CreateMdError::Io { what, path, source }
    }
}

#[cfg(test)]
mod tests;
