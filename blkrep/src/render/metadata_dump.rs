//! The metadata of a disk as lines of `name: value`; `docs/format.md` lists them.

use crate::read_md::StoredMetadata;
use metadata::superblock::SuperblockError;
use metadata::{Bitmap, Placement, Replay, Superblock};
use std::io::{self, Write};

/// Writes the dump of `stored`: layout, superblock, activity log, bitmap. Offsets and sizes are in
/// bytes, blocks are of 4 KiB, extents of 4 MiB. A damaged part has a line with the reason and no
/// content.
///
/// # Errors
/// What `out` says.
pub fn write_dump(out: &mut impl Write, stored: &StoredMetadata) -> io::Result<()> {
    write_layout(out, stored)?;
    for (index, copy) in stored.copies.iter().enumerate() {
        writeln!(out, "superblock-copy-{index}: {}", copy_words(copy))?;
    }
    write_superblock(out, &stored.superblock)?;
    write_log(out, &stored.log)?;
    write_bitmap(out, stored)
}

fn write_layout(out: &mut impl Write, stored: &StoredMetadata) -> io::Result<()> {
    let layout = &stored.layout;
    let placement = match layout.placement {
        Placement::Internal => "internal",
        Placement::External => "external",
    };
    let [first, second] = layout.superblock_offsets;
    writeln!(out, "meta-disk: {placement}")?;
    writeln!(out, "superblock-offsets: {first} {second}")?;
    writeln!(out, "log-offset: {}", layout.ring_offset)?;
    writeln!(out, "bitmap-offset: {}", layout.bitmap_offset)?;
    writeln!(out, "bitmap-pages: {}", layout.bitmap_pages)
}

fn copy_words(copy: &Result<Superblock, SuperblockError>) -> String {
    match copy {
        Ok(superblock) => format!("intact, sequence {}", superblock.sequence),
        Err(error) => format!("damaged: {error}"),
    }
}

/// Taken apart here, so that a new field cannot be forgotten.
fn write_superblock(out: &mut impl Write, superblock: &Superblock) -> io::Result<()> {
    let Superblock {
        sequence,
        resource_name,
        resource_tag,
        instance_id,
        node_id,
        attach_number,
        promotion_number,
        boot_id,
        device_bytes,
        proposed_bytes,
        capacity_bytes,
        logical_block_bytes,
        log,
        generations,
        flags,
        bitmap_digest,
        session,
        peer_minimum,
        met,
    } = superblock;
    writeln!(out, "sequence: {sequence}")?;
    writeln!(out, "resource-name: {}", resource_name.as_str())?;
    writeln!(out, "resource-tag: {resource_tag:016X}")?;
    writeln!(out, "instance: {instance_id:016X}")?;
    writeln!(out, "node: {node_id}")?;
    writeln!(out, "attach-number: {attach_number}")?;
    writeln!(out, "promotion-number: {promotion_number}")?;
    writeln!(out, "boot-id: {:032X}", u128::from_be_bytes(*boot_id))?;
    writeln!(out, "device-bytes: {device_bytes}")?;
    writeln!(out, "proposed-bytes: {proposed_bytes}")?;
    writeln!(out, "capacity-bytes: {capacity_bytes}")?;
    writeln!(out, "logical-block-bytes: {logical_block_bytes}")?;
    writeln!(out, "log-slots: {}", log.slots())?;
    writeln!(out, "ring-pages: {}", log.ring_pages())?;
    writeln!(out, "generation-current: {:016X}", generations.current)?;
    writeln!(out, "generation-bitmap: {:016X}", generations.bitmap)?;
    for (index, generation) in generations.history.iter().enumerate() {
        writeln!(out, "generation-history-{index}: {generation:016X}")?;
    }
    for (name, is_set) in flags.named() {
        writeln!(out, "flag-{name}: {}", u8::from(is_set))?;
    }
    writeln!(out, "bitmap-digest: {bitmap_digest:08X}")?;
    writeln!(out, "session-id: {:016X}", session.id)?;
    writeln!(out, "session-number: {}", session.number)?;
    writeln!(out, "peer-minimum-instance: {:016X}", peer_minimum.instance_id)?;
    writeln!(out, "peer-minimum-superblock-sequence: {}", peer_minimum.superblock_sequence)?;
    writeln!(out, "peer-minimum-log-sequence: {}", peer_minimum.log_sequence)?;
    writeln!(out, "met-superblock-sequence: {}", met.superblock)?;
    writeln!(out, "met-log-sequence: {}", met.log)
}

fn write_log(out: &mut impl Write, log: &Replay) -> io::Result<()> {
    match log {
        Replay::Hot { extents, next_sequence } => {
            writeln!(out, "log-state: intact")?;
            writeln!(out, "log-next-sequence: {next_sequence}")?;
            writeln!(out, "hot-extents: {}", extents.len())?;
            extents.iter().try_for_each(|extent| writeln!(out, "hot-extent: {extent}"))
        }
        Replay::AllOutOfSync { reason, next_sequence } => {
            writeln!(out, "log-state: damaged: {reason}")?;
            writeln!(out, "log-next-sequence: {next_sequence}")
        }
    }
}

fn write_bitmap(out: &mut impl Write, stored: &StoredMetadata) -> io::Result<()> {
    let bitmap = match &stored.bitmap {
        Ok(bitmap) => bitmap,
        Err(error) => return writeln!(out, "bitmap-state: damaged: {error}"),
    };
    writeln!(out, "bitmap-state: {}", bitmap_words(bitmap, &stored.superblock))?;
    writeln!(out, "bitmap-blocks: {}", bitmap.blocks())?;
    writeln!(out, "set-blocks: {}", bitmap.count())?;
    let mut from_block = 0;
    while let Some(run) = bitmap.next_run(from_block, u64::MAX) {
        writeln!(out, "set-run: {} {}", run.first, run.count)?;
        from_block = run.end();
    }
    Ok(())
}

/// The digest tells more than the pages do, after a clean detach (rule D13).
fn bitmap_words(bitmap: &Bitmap, superblock: &Superblock) -> &'static str {
    if superblock.flags.bitmap_clean && bitmap.digest() != superblock.bitmap_digest {
        "stale: not the bitmap of the last clean detach; everything counts as out of sync"
    } else {
        "intact"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metadata::activity_log::LogDamage;
    use metadata::bitmap::BitmapError;
    use metadata::units::BlockRange;
    use metadata::{Creation, Flags, Layout, LogGeometry, PageError, ResourceName};

    fn sample() -> StoredMetadata {
        let log = LogGeometry::default();
        let layout = Layout::internal(64 << 20, log).unwrap();
        let mut superblock = Superblock::new_created(Creation {
            resource_name: ResourceName::new("r0").unwrap(),
            instance_id: 0xabcd,
            node_id: 1,
            capacity_bytes: layout.data_bytes,
            logical_block_bytes: 512,
            log,
        });
        superblock.flags.primary = true;
        let mut bitmap = Bitmap::new(1000);
        bitmap.set(BlockRange { first: 3, count: 2 });
        bitmap.set(BlockRange { first: 999, count: 1 });
        StoredMetadata {
            layout,
            copies: [Ok(superblock.clone()), Err(PageError::Blank.into())],
            superblock,
            log: Replay::Hot { extents: [7, 15].into(), next_sequence: 9 },
            bitmap: Ok(bitmap),
        }
    }

    fn dump(stored: &StoredMetadata) -> String {
        let mut out = Vec::new();
        write_dump(&mut out, stored).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_dump_has_the_lines_that_are_documented() {
        assert_eq!(dump(&sample()), include_str!("dump_md_sample.txt"));
        let format = include_str!("../../../docs/format.md");
        for line in dump(&sample()).lines() {
            let name = line.split(": ").next().unwrap();
            let name = if name.starts_with("flag-") { "flag-NAME" } else { name };
            assert!(format.contains(&format!("`{name}`")), "{name} is not documented");
        }
    }

    #[test]
    fn a_damaged_log_and_a_damaged_bitmap_have_a_reason_and_no_content() {
        let mut stored = sample();
        let reason = LogDamage::Order { ring_index: 2, found: 10, expected: 18 };
        stored.log = Replay::AllOutOfSync { reason, next_sequence: 30 };
        stored.bitmap = Err(BitmapError::Page { page_number: 0, error: PageError::Blank });
        let text = dump(&stored);
        let tail = text.split_once("log-state: ").unwrap().1;
        assert!(
            tail.starts_with(
                "damaged: page 2 of the activity log holds transaction 10, not 18\n\
                 log-next-sequence: 30\nbitmap-state: damaged: bitmap page 0: blank"
            ),
            "{tail}"
        );
        assert!(!tail.contains("hot-extent") && !tail.contains("set-"), "{tail}");
    }

    #[test]
    fn a_bitmap_without_its_digest_is_stale_only_after_a_clean_detach() {
        let mut stored = sample();
        assert!(dump(&stored).contains("\nbitmap-state: intact\n"));
        stored.superblock.flags = Flags { bitmap_clean: true, ..Flags::default() };
        assert!(dump(&stored).contains("\nbitmap-state: stale: not the bitmap of"));
        stored.superblock.bitmap_digest = stored.bitmap.as_ref().unwrap().digest();
        assert!(dump(&stored).contains("\nbitmap-state: intact\n"));
    }
}
