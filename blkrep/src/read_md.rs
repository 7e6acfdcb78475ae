//! Reads the metadata of this node's replica from the disk while no daemon has it.

use crate::config::{MetaDisk, NodeConfig};
use crate::dataplane::disk_lock::{LockHolder, lock, lock_to_read};
use crate::disk_ends::DiskEnds;
use metadata::activity_log::replay;
use metadata::bitmap::{BitmapError, page_count_for};
use metadata::page::Page;
use metadata::superblock::{End, FoundEnd, SuperblockError, choose_end, write_order};
use metadata::units::{PAGE_BYTES, device_blocks};
use metadata::{Bitmap, Layout, Placement, Replay, Superblock};
use replicator::ids::NodeIndex;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why the metadata were not read.
#[derive(Debug, Error)]
pub enum ReadMdError {
    /// The file or device does not exist.
    #[error("{path} does not exist; correct 'disk' or 'meta-disk' in the configuration")]
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
    /// Somebody writes it, and is not the daemon that was asked.
    #[error(
        "{path} is locked by {holder}, and no daemon answers in this --run-dir; give the one \
         of its daemon, or end that process"
    )]
    Locked {
        /// What is held.
        path: PathBuf,
        /// Who.
        holder: LockHolder,
    },
    /// Neither copy of the superblock can be used.
    #[error(
        "no metadata of blkrep on {path}: {cause}; if this disk is new, run \
         'blkrep create-md {resource}'"
    )]
    NoMetadata {
        /// What holds the metadata.
        path: PathBuf,
        /// In words.
        cause: String,
        /// The resource.
        resource: String,
    },
    /// Metadata of something else.
    #[error("the metadata on {path} are of {found}, not of {expected}; correct the configuration")]
    Foreign {
        /// What holds the metadata.
        path: PathBuf,
        /// Resource and node that they say.
        found: String,
        /// Resource and node that this is.
        expected: String,
    },
    /// The metadata do not fit the disk.
    #[error("the metadata on {path} do not fit the disk: {cause}; give it back its former size")]
    Layout {
        /// What holds the metadata.
        path: PathBuf,
        /// In words.
        cause: String,
    },
    /// The system refused to open, measure, read or write it.
    #[error("cannot {what} {path}: {source}; check the permissions and the disk")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// The metadata of one replica as they lie on the disk, before an attach judges them.
#[derive(Debug)]
pub struct StoredMetadata {
    /// Where everything lies.
    pub layout: Layout,
    /// What is at the place of each copy of the superblock.
    pub copies: [Result<Superblock, SuperblockError>; 2],
    /// The copy that counts.
    pub superblock: Superblock,
    /// What the activity log says.
    pub log: Replay,
    /// The bits, for the agreed size, or the capacity while none is agreed.
    pub bitmap: Result<Bitmap, BitmapError>,
}

/// Reads the superblock that counts. Nobody can attach the disk meanwhile.
///
/// # Errors
/// See [`ReadMdError`]; also when the superblock is of another resource or node.
pub fn read_superblock(
    resource: &str,
    index: NodeIndex,
    node: &NodeConfig,
    ends: &DiskEnds,
) -> Result<Superblock, ReadMdError> {
    Ok(Holder::open(node, Access::Read)?.find(resource, index, ends)?.0.superblock)
}

/// Reads all metadata. Nobody can attach the disk meanwhile.
///
/// # Errors
/// As [`read_superblock`], and when the metadata do not fit the disk. A damaged log or bitmap is no
/// error: [`StoredMetadata`] says what is wrong with it.
pub fn read_metadata(
    resource: &str,
    index: NodeIndex,
    node: &NodeConfig,
    ends: &DiskEnds,
) -> Result<StoredMetadata, ReadMdError> {
    let holder = Holder::open(node, Access::Read)?;
    let (found, pages) = holder.find(resource, index, ends)?;
    let layout = holder.layout(&found, node)?;
    let superblock = found.superblock;
    let owner = superblock.identity();
    let ring = holder.read(layout.ring_offset, layout.log.ring_bytes())?;
    let blocks = device_blocks(match superblock.device_bytes {
        0 => superblock.capacity_bytes,
        agreed => agreed,
    });
    // The bitmap of a larger disk than the peer's has pages that nobody uses.
    let bitmap_bytes = page_count_for(blocks) * PAGE_BYTES as u64;
    let bitmap = holder.read(layout.bitmap_offset, bitmap_bytes)?;
    Ok(StoredMetadata {
        layout,
        copies: [Superblock::decode_copy(&pages[0], 0), Superblock::decode_copy(&pages[1], 1)],
        log: replay(&ring, &owner, layout.log),
        bitmap: Bitmap::load(&bitmap, blocks, &owner),
        superblock,
    })
}

/// What the metadata are opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Locked against writers.
    Read,
    /// Locked against everybody.
    Change,
}

/// What holds the metadata, open and locked.
pub(crate) struct Holder {
    path: PathBuf,
    file: File,
    bytes: u64,
    placement: Placement,
}

impl Holder {
    /// Opens and locks it.
    ///
    /// # Errors
    /// It is not there, or somebody has it.
    pub(crate) fn open(node: &NodeConfig, access: Access) -> Result<Self, ReadMdError> {
        let (path, placement) = match &node.meta_disk {
            MetaDisk::Internal => (&node.disk, Placement::Internal),
            MetaDisk::External(path) => (path, Placement::External),
        };
        let (file, bytes) = open(path, access)?;
        let descriptor = OwnedFd::from(file);
        let locked = match access {
            Access::Read => lock_to_read(&descriptor),
            Access::Change => lock(&descriptor),
        };
        locked.map_err(|holder| ReadMdError::Locked { path: path.clone(), holder })?;
        Ok(Self { path: path.clone(), file: File::from(descriptor), bytes, placement })
    }

    /// The superblock that counts and the pair of pages at its end: the present one, or, with
    /// internal metadata, one where the disk was known to end before it grew (rule D20).
    ///
    /// # Errors
    /// There is none, it is of another resource or node, or it cannot be read.
    pub(crate) fn find(
        &self,
        resource: &str,
        index: NodeIndex,
        ends: &DiskEnds,
    ) -> Result<(FoundEnd, [Page; 2]), ReadMdError> {
        const LEAST_BYTES: u64 = 2 * PAGE_BYTES as u64;
        if self.bytes < LEAST_BYTES {
            return Err(self.without_metadata(format!("it has {} bytes", self.bytes), resource));
        }
        let mut sizes = vec![self.bytes];
        if self.placement == Placement::Internal {
            let known = ends.known().into_iter();
            sizes.extend(known.filter(|bytes| (LEAST_BYTES..self.bytes).contains(bytes)));
        }
        let mut read = Vec::with_capacity(sizes.len());
        for device_bytes in sizes {
            let mut pages = [[0; PAGE_BYTES]; 2];
            let offsets = Layout::superblock_offsets(self.placement, device_bytes);
            for (page, offset) in pages.iter_mut().zip(offsets) {
                self.read_into(page, offset)?;
            }
            read.push(End { device_bytes, pages });
        }
        let found = choose_end(&read)
            .map_err(|error| self.without_metadata(error.to_string(), resource))?;
        self.check_owner(&found.superblock, resource, index)?;
        let at = read.into_iter().find(|end| end.device_bytes == found.device_bytes);
        Ok((found, at.expect("invariant: the end that counts was read").pages))
    }

    fn check_owner(
        &self,
        superblock: &Superblock,
        resource: &str,
        index: NodeIndex,
    ) -> Result<(), ReadMdError> {
        let name = superblock.resource_name.as_str();
        if name == resource && superblock.node_id == index.number() {
            return Ok(());
        }
        let describe = |resource: &str, node: u8| format!("resource '{resource}', node {node}");
        Err(ReadMdError::Foreign {
            path: self.path.clone(),
            found: describe(name, superblock.node_id),
            expected: describe(resource, index.number()),
        })
    }

    fn layout(&self, found: &FoundEnd, node: &NodeConfig) -> Result<Layout, ReadMdError> {
        let misfit = |cause| ReadMdError::Layout { path: self.path.clone(), cause };
        let superblock = &found.superblock;
        let layout = match self.placement {
            Placement::Internal => Layout::internal(found.device_bytes, superblock.log),
            Placement::External => {
                Layout::external(self.bytes, superblock.capacity_bytes, superblock.log)
            }
        };
        let layout = layout.map_err(|error| misfit(error.to_string()))?;
        let room_bytes = match self.placement {
            Placement::Internal => layout.data_bytes,
            Placement::External => open(&node.disk, Access::Read)?.1,
        };
        let used_bytes = superblock.capacity_bytes.max(superblock.device_bytes);
        if used_bytes > room_bytes {
            let cause = format!("they are for {used_bytes} bytes, it has room for {room_bytes}");
            return Err(misfit(cause));
        }
        Ok(layout)
    }

    fn read(&self, offset: u64, bytes: u64) -> Result<Vec<u8>, ReadMdError> {
        let length = usize::try_from(bytes).expect("invariant: metadata fit into memory");
        let mut content = vec![0; length];
        self.read_into(&mut content, offset)?;
        Ok(content)
    }

    fn read_into(&self, content: &mut [u8], offset: u64) -> Result<(), ReadMdError> {
        self.file.read_exact_at(content, offset).map_err(io_error("read", &self.path))
    }

    /// Writes both copies of a superblock at the end where it was found, one after the other, each
    /// durable before the next (D13).
    ///
    /// # Errors
    /// A copy was not written; the other one is as it was, or new.
    pub(crate) fn write_superblock(
        &self,
        superblock: &Superblock,
        device_bytes: u64,
    ) -> Result<(), ReadMdError> {
        let offsets = Layout::superblock_offsets(self.placement, device_bytes);
        for copy in write_order(superblock.sequence) {
            let page = superblock.encode(copy);
            self.file
                .write_all_at(&page, offsets[usize::from(copy)])
                .map_err(io_error("write", &self.path))?;
            self.file.sync_all().map_err(io_error("flush", &self.path))?;
        }
        Ok(())
    }

    fn without_metadata(&self, cause: String, resource: &str) -> ReadMdError {
        let (path, resource) = (self.path.clone(), resource.to_owned());
        ReadMdError::NoMetadata { path, cause, resource }
    }
}

/// The file or device, open, and its size in bytes.
fn open(path: &Path, access: Access) -> Result<(File, u64), ReadMdError> {
    // Asked before it is opened: to open a FIFO waits for a writer.
    let kind = match std::fs::metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(ReadMdError::Missing { path: path.to_owned() });
        }
        Err(source) => return Err(io_error("look at", path)(source)),
    };
    if !kind.is_block_device() && !kind.is_file() {
        return Err(ReadMdError::WrongType { path: path.to_owned() });
    }
    let mut options = OpenOptions::new();
    options.read(true).write(access == Access::Change);
    let mut file = options.open(path).map_err(io_error("open", path))?;
    let bytes = file.seek(SeekFrom::End(0)).map_err(io_error("measure", path))?;
    Ok((file, bytes))
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ReadMdError {
    let path = path.to_owned();
    move |source| ReadMdError::Io { what, path, source }
}

#[cfg(test)]
mod tests;
