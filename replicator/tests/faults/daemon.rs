//! What a daemon gives its engine at the start: the settings and a new disk.

use crate::pair::{ALPHA, SYNC_BUFFERS};
use metadata::activity_log;
use metadata::bitmap::Bitmap;
use metadata::layout::{LOG_SLOTS_MIN, Layout, LogGeometry};
use metadata::superblock::{Creation, ResourceName, Superblock};
use metadata::units::{PAGE_BYTES, device_blocks};
use replicator::event::DiskImage;
use replicator::ids::NodeIndex;
use replicator::settings::{PeerWindow, Settings};

/// Bytes of the metadata device.
const METADATA_BYTES: u64 = 4 << 20;

/// What the configuration says about the resource.
pub(crate) fn settings(index: usize) -> Settings {
    let me = if index == ALPHA { NodeIndex::First } else { NodeIndex::Second };
    Settings {
        window: PeerWindow { frames: [8; 3], bare: 8 },
        sync_buffers: SYNC_BUFFERS.len() as u32,
        ..Settings::new("r0".into(), me, ["alpha".into(), "beta".into()])
    }
}

/// A disk as `create-md` leaves it, with the smallest log.
pub(crate) fn new_disk(index: usize, device_bytes: u64) -> DiskImage {
    let log = LogGeometry::new(LOG_SLOTS_MIN).expect("the smallest log is valid");
    let layout = Layout::external(METADATA_BYTES, device_bytes, log).expect("it has room");
    let node_id = u8::try_from(index).expect("0 or 1");
    let superblock = Superblock::new_created(Creation {
        resource_name: ResourceName::new("r0").expect("a valid name"),
        instance_id: 7 + u64::from(node_id),
        node_id,
        capacity_bytes: layout.data_bytes,
        logical_block_bytes: 512,
        log,
    });
    let owner = superblock.identity();
    let mut log_ring = vec![0; log.ring_bytes() as usize];
    for (sequence, page) in activity_log::format(1, &owner, log) {
        let at = log.ring_index(sequence) as usize * PAGE_BYTES;
        log_ring[at..at + PAGE_BYTES].copy_from_slice(&page[..]);
    }
    let mut clean = Bitmap::new(device_blocks(layout.data_bytes));
    let mut bitmap = Vec::new();
    for page in 0..layout.bitmap_pages {
        bitmap.extend_from_slice(&clean.encode_page(page, &owner)[..]);
    }
    DiskImage {
        superblock,
        layout,
        log_ring,
        bitmap,
        boot_id: [1; 16],
        logical_block_bytes: 512,
        zeroes_cheaply: true,
        stale_superblocks: Vec::new(),
    }
}
