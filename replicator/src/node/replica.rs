//! The own disk: its state, its superblock as last written or on its way, and the bitmap.

use crate::event::DiskImage;
use crate::state::DiskState;
use metadata::activity_log::{Replay, replay};
use metadata::bitmap::{Bitmap, page_count_for};
use metadata::hot_extents::HotExtents;
use metadata::layout::Layout;
use metadata::superblock::{Sequences, Superblock};
use metadata::units::{BlockRange, EXTENT_BLOCKS, PAGE_BYTES};

/// What an attached disk has.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) superblock: Superblock,
    pub(super) layout: Layout,
    pub(super) bitmap: Bitmap,
    /// The activity log; empty while this node is Secondary (D10).
    pub(super) log: HotExtents,
    pub(super) logical_block_bytes: u32,
    pub(super) zeroes_cheaply: bool,
    /// Nothing speaks for a peer with newer data: whole data may count as UpToDate. Under fencing a
    /// start alone does not know that (G5).
    pub(super) trusted: bool,
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

    /// True when there is none, or none any more.
    pub(super) const fn is_gone(&self) -> bool {
        match self {
            Self::Diskless | Self::Failed(_) => true,
            Self::Attaching(_) | Self::Attached(_) => false,
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
    /// From the superblock's flags (drbd-facts 1.2); a whole disk that was UpToDate is, unless
    /// fencing says that the peer may have gone on.
    fn state(&self) -> DiskState {
        let flags = &self.superblock.flags;
        match (flags.consistent, flags.was_up_to_date) {
            (false, _) => DiskState::Inconsistent,
            (true, false) => DiskState::Outdated,
            (true, true) if self.trusted => DiskState::UpToDate,
            (true, true) => DiskState::Consistent,
        }
    }

    /// Own numbers, those of writes on their way included (G8).
    pub(super) const fn sequences(&self) -> Sequences {
        Sequences {
            superblock: self.superblock.sequence,
            log: self.log.next_sequence().saturating_sub(1),
        }
    }

    /// Bytes that clients see: what was agreed, else what this disk has.
    pub(super) fn size_bytes(&self) -> u64 {
        match self.superblock.device_bytes {
            0 => self.superblock.capacity_bytes,
            agreed => agreed,
        }
    }
}

/// What a start finds in log and bitmap (D8, D13).
pub(super) struct Found {
    /// With the bits of everything that the log says.
    pub(super) bitmap: Bitmap,
    /// The log is not empty, or cannot be trusted: it must be emptied when the bits are durable.
    pub(super) log_used: bool,
    /// Number of the log's next transaction.
    pub(super) next_sequence: u64,
    /// What an administrator wants to know.
    pub(super) notices: Vec<String>,
}

/// Reads log and bitmap as they must be taken after a start: what cannot be trusted counts as out
/// of sync.
pub(super) fn found_at_attach(image: &DiskImage, blocks: u64) -> Found {
    let superblock = &image.superblock;
    let owner = superblock.identity();
    let mut notices = Vec::new();
    // The layout has room for the whole disk; a device that was agreed to be smaller uses the first
    // pages.
    let used_bytes = page_count_for(blocks) as usize * PAGE_BYTES;
    let pages = image.bitmap.get(..used_bytes).unwrap_or(&image.bitmap);
    let mut bitmap = match Bitmap::load(pages, blocks, &owner) {
        Ok(bitmap)
            if superblock.flags.bitmap_clean && bitmap.digest() != superblock.bitmap_digest =>
        {
            notices
                .push("the bitmap is not the one of the last clean detach (an older copy?)".into());
            Bitmap::all_set(blocks)
        }
        Ok(bitmap) => bitmap,
        Err(error) => {
            notices.push(format!("the bitmap is damaged: {error}"));
            Bitmap::all_set(blocks)
        }
    };
    match replay(&image.log_ring, &owner, image.layout.log) {
        Replay::Hot { extents, next_sequence } => {
            if !extents.is_empty() {
                notices.push(format!("{} extents of 4 MiB from the activity log", extents.len()));
            }
            for extent in &extents {
                let first = u64::from(*extent) * EXTENT_BLOCKS;
                bitmap.set(BlockRange { first, count: EXTENT_BLOCKS });
            }
            Found { bitmap, log_used: !extents.is_empty(), next_sequence, notices }
        }
        Replay::AllOutOfSync { reason, next_sequence } => {
            notices.push(format!("the activity log is damaged: {reason}"));
            Found { bitmap: Bitmap::all_set(blocks), log_used: true, next_sequence, notices }
        }
    }
}
