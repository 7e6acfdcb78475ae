//! The own disk: its state, its superblock as last written or on its way, and the bitmap.

use crate::event::DiskImage;
use crate::state::DiskState;
use metadata::bitmap::Bitmap;
use metadata::layout::Layout;
use metadata::page::PageIdentity;
use metadata::superblock::Superblock;

/// What an attached disk has.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) superblock: Superblock,
    pub(super) layout: Layout,
    pub(super) bitmap: Bitmap,
    pub(super) logical_block_bytes: u32,
    pub(super) zeroes_cheaply: bool,
}

/// The own disk through its life.
#[derive(Debug, Default)]
pub(super) enum Replica {
    /// Not opened yet, given up, or left.
    #[default]
    Diskless,
    /// It failed and takes no more I/O; what is known of it stays for status.
    Failed(Box<Attached>),
    /// Marks are on their way to it.
    Attaching(Box<Attached>),
    /// In use.
    Attached(Box<Attached>),
}

impl Replica {
    pub(super) fn state(&self) -> DiskState {
        match self {
            Self::Diskless | Self::Failed(_) => DiskState::Diskless,
            Self::Attaching(_) => DiskState::Attaching,
            Self::Attached(disk) => disk.state(),
        }
    }

    /// The disk, if it takes I/O.
    pub(super) fn attached(&self) -> Option<&Attached> {
        match self {
            Self::Attached(disk) => Some(disk),
            Self::Diskless | Self::Failed(_) | Self::Attaching(_) => None,
        }
    }

    /// The disk, if it takes metadata writes.
    pub(super) fn writable(&mut self) -> Option<&mut Attached> {
        match self {
            Self::Attached(disk) | Self::Attaching(disk) => Some(disk),
            Self::Diskless | Self::Failed(_) => None,
        }
    }

    /// What is known of it, also after a failure.
    pub(super) fn known(&self) -> Option<&Attached> {
        match self {
            Self::Attached(disk) | Self::Attaching(disk) | Self::Failed(disk) => Some(disk),
            Self::Diskless => None,
        }
    }
}

impl Attached {
    /// From the superblock's flags (drbd-facts 1.2); without fencing a whole disk that was UpToDate is.
    fn state(&self) -> DiskState {
        let flags = &self.superblock.flags;
        match (flags.consistent, flags.was_up_to_date) {
            (false, _) => DiskState::Inconsistent,
            (true, false) => DiskState::Outdated,
            (true, true) => DiskState::UpToDate,
        }
    }

    /// Bytes that clients see: what was agreed, else what this disk has.
    pub(super) fn size_bytes(&self) -> u64 {
        match self.superblock.device_bytes {
            0 => self.superblock.capacity_bytes,
            agreed => agreed,
        }
    }

    pub(super) fn page_identity(&self) -> PageIdentity {
        PageIdentity {
            resource_tag: self.superblock.resource_tag,
            instance_id: self.superblock.instance_id,
            node_id: self.superblock.node_id,
            attach_number: self.superblock.attach_number,
        }
    }
}

/// The bitmap as it must be taken after a start, and why it is all ones if it is (D8, D13).
pub(super) fn bitmap_at_attach(image: &DiskImage, blocks: u64) -> (Bitmap, Option<String>) {
    let superblock = &image.superblock;
    if superblock.flags.primary {
        let reason = "this node was Primary when it went down and keeps no activity log";
        return (Bitmap::all_set(blocks), Some(reason.into()));
    }
    let owner = PageIdentity {
        resource_tag: superblock.resource_tag,
        instance_id: superblock.instance_id,
        node_id: superblock.node_id,
        attach_number: superblock.attach_number,
    };
    match Bitmap::load(&image.bitmap, blocks, &owner) {
        Err(error) => (Bitmap::all_set(blocks), Some(format!("the bitmap is damaged: {error}"))),
        Ok(bitmap)
            if superblock.flags.bitmap_clean && bitmap.digest() != superblock.bitmap_digest =>
        {
            (
                Bitmap::all_set(blocks),
                Some("the bitmap is not the one of the last clean detach (an older copy?)".into()),
            )
        }
        Ok(bitmap) => (bitmap, None),
    }
}
