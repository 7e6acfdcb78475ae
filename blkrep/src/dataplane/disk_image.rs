//! Reading what the engine must know of a disk before it attaches: superblock, log ring, bitmap.

use super::disk::{DiskError, OpenDisks};
use crate::disk_ends::DiskEnds;
use metadata::layout::{Layout, Placement};
use metadata::superblock::{End, FoundEnd, Superblock, choose_end};
use metadata::units::PAGE_BYTES;
use replicator::event::DiskImage;
use replicator::settings::Settings;

/// Reads and checks the metadata, with internal ones also where the disk was known to end before it
/// grew (rule D20).
///
/// # Errors
/// When there is no usable superblock, when it is of another resource or node, or when it does not
/// fit the disk.
pub(super) fn read_image(
    disks: &OpenDisks,
    settings: &Settings,
    ends: &DiskEnds,
) -> Result<DiskImage, DiskError> {
    let meta = &disks.meta;
    let FoundEnd { superblock, device_bytes, stale } = find_superblock(disks, ends)?;
    check_owner(disks, &superblock, settings)?;
    let misfit = |cause| DiskError::Layout { path: meta.path.clone(), cause };
    let layout = match disks.placement {
        Placement::Internal => Layout::internal(device_bytes, superblock.log),
        // What has grown since is taken on by a resize, not by a start.
        Placement::External => {
            Layout::external(meta.size_bytes, superblock.capacity_bytes, superblock.log)
        }
    };
    let layout = layout.map_err(|error| misfit(error.to_string()))?;
    let used_bytes = superblock.capacity_bytes.max(superblock.device_bytes);
    let room_bytes = match disks.placement {
        Placement::Internal => layout.data_bytes,
        Placement::External => disks.data.size_bytes,
    };
    if used_bytes > room_bytes {
        return Err(misfit(format!(
            "they are for {used_bytes} bytes of data, and the disk has room for {room_bytes}; \
             give it back its former size"
        )));
    }
    if disks.placement == Placement::Internal
        && let Err(error) = ends.keep_only(device_bytes)
    {
        tracing::warn!("where the disk ends could not be recorded: {error}; it cannot grow");
    }
    let page_bytes = PAGE_BYTES as u64;
    let length = |bytes: u64| usize::try_from(bytes).expect("invariant: metadata fit into memory");
    let log_ring = meta.read(layout.ring_offset, length(layout.log.ring_bytes()))?;
    let bitmap = meta.read(layout.bitmap_offset, length(layout.bitmap_pages * page_bytes))?;
    Ok(DiskImage {
        superblock,
        layout,
        log_ring,
        bitmap,
        boot_id: boot_id(),
        logical_block_bytes: disks.data.logical_block_bytes,
        zeroes_cheaply: disks.data.zeroes_cheaply,
        stale_superblocks: stale,
    })
}

fn find_superblock(disks: &OpenDisks, ends: &DiskEnds) -> Result<FoundEnd, DiskError> {
    let meta = &disks.meta;
    let missing = |cause: String| DiskError::NoMetadata { path: meta.path.clone(), cause };
    if meta.size_bytes < 2 * PAGE_BYTES as u64 {
        return Err(missing(format!("it has only {} bytes", meta.size_bytes)));
    }
    let mut sizes = vec![meta.size_bytes];
    if disks.placement == Placement::Internal {
        let known = ends.known().into_iter();
        sizes
            .extend(known.filter(|bytes| (2 * PAGE_BYTES as u64..meta.size_bytes).contains(bytes)));
    }
    let found: Result<Vec<End>, DiskError> =
        sizes.into_iter().map(|device_bytes| read_end(disks, device_bytes)).collect();
    choose_end(&found?).map_err(|error| missing(error.to_string()))
}

fn read_end(disks: &OpenDisks, device_bytes: u64) -> Result<End, DiskError> {
    let offsets = Layout::superblock_offsets(disks.placement, device_bytes);
    let [first, second] = offsets.map(|offset| disks.meta.read(offset, PAGE_BYTES));
    const WHOLE: &str = "invariant: one page was read";
    let pages = [first?.try_into().expect(WHOLE), second?.try_into().expect(WHOLE)];
    Ok(End { device_bytes, pages })
}

fn check_owner(
    disks: &OpenDisks,
    superblock: &Superblock,
    settings: &Settings,
) -> Result<(), DiskError> {
    let name = superblock.resource_name.as_str();
    if name == settings.resource && superblock.node_id == settings.me.number() {
        return Ok(());
    }
    let describe = |resource: &str, node: u8| format!("resource \"{resource}\", node {node}");
    Err(DiskError::Foreign {
        path: disks.meta.path.clone(),
        found: describe(name, superblock.node_id),
        expected: describe(&settings.resource, settings.me.number()),
    })
}

/// This boot of the machine; all zeroes where the kernel does not say, which counts as another boot
/// each time.
fn boot_id() -> [u8; 16] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    parse_boot_id(&text).unwrap_or_default()
}

fn parse_boot_id(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let mut id = [0; 16];
    if digits.len() != 2 * id.len() {
        return None;
    }
    for (byte, pair) in id.iter_mut().zip(digits.chunks(2)) {
        let pair = str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_id_is_read_as_the_bytes_of_its_digits() {
        let id = parse_boot_id("00010203-0405-0607-0809-0a0b0c0d0eff\n").expect("it is one");
        assert_eq!(id, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255]);
        assert_eq!(parse_boot_id("0001"), None);
    }

    #[test]
    fn this_machine_has_a_boot_id() {
        assert_ne!(boot_id(), [0; 16]);
    }
}
