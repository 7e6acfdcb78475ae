//! docs/format.md names every magic, version and size that the code has.

use metadata::activity_log::{FREE_EXTENT, SEQUENCE_END, UPDATES_MAX};
use metadata::bitmap::BITMAP_PAGE_BITS;
use metadata::generations::{JUST_CREATED, PRIMARY_BIT};
use metadata::layout::{
    CONTEXT_SLOTS, DATA_BYTES_MAX, LOG_SLOTS_DEFAULT, LOG_SLOTS_MAX, LOG_SLOTS_MIN, RING_PAGES_MIN,
    SECTOR_BYTES,
};
use metadata::page::{FORMAT_VERSION, HEADER_BYTES, PageKind};
use metadata::superblock::{RESOURCE_NAME_BYTES_MAX, SUPERBLOCK_COPIES, SUPERBLOCK_USED_BYTES};
use metadata::units::{BLOCK_BYTES, EXTENT_BLOCKS, EXTENT_BYTES, PAGE_BYTES};

const DOCUMENT: &str = include_str!("../../docs/format.md");

/// The document has the line `| name | value |` in its table of constants.
fn assert_documented(name: &str, value: &str) {
    let line = format!("| `{name}` | {value} |");
    assert!(DOCUMENT.lines().any(|found| found.starts_with(&line)), "docs/format.md lacks {line}");
}

#[test]
fn every_magic_is_documented() {
    for kind in [PageKind::Superblock, PageKind::ActivityLog, PageKind::Bitmap] {
        let magic = String::from_utf8(kind.magic().to_vec()).expect("a magic is text");
        assert!(DOCUMENT.contains(&format!("`{magic}`")), "docs/format.md lacks {magic}");
    }
}

#[test]
fn every_constant_is_documented_with_its_value() {
    let constants = [
        ("FORMAT_VERSION", u64::from(FORMAT_VERSION)),
        ("PAGE_BYTES", PAGE_BYTES as u64),
        ("HEADER_BYTES", HEADER_BYTES as u64),
        ("BLOCK_BYTES", BLOCK_BYTES),
        ("EXTENT_BYTES", EXTENT_BYTES),
        ("EXTENT_BLOCKS", EXTENT_BLOCKS),
        ("SECTOR_BYTES", SECTOR_BYTES),
        ("DATA_BYTES_MAX", DATA_BYTES_MAX),
        ("SUPERBLOCK_COPIES", u64::from(SUPERBLOCK_COPIES)),
        ("SUPERBLOCK_USED_BYTES", SUPERBLOCK_USED_BYTES as u64),
        ("RESOURCE_NAME_BYTES_MAX", RESOURCE_NAME_BYTES_MAX as u64),
        ("JUST_CREATED", JUST_CREATED),
        ("PRIMARY_BIT", PRIMARY_BIT),
        ("LOG_SLOTS_DEFAULT", u64::from(LOG_SLOTS_DEFAULT)),
        ("LOG_SLOTS_MIN", u64::from(LOG_SLOTS_MIN)),
        ("LOG_SLOTS_MAX", u64::from(LOG_SLOTS_MAX)),
        ("RING_PAGES_MIN", u64::from(RING_PAGES_MIN)),
        ("CONTEXT_SLOTS", u64::from(CONTEXT_SLOTS)),
        ("UPDATES_MAX", UPDATES_MAX as u64),
        ("SEQUENCE_END", SEQUENCE_END),
        ("BITMAP_PAGE_BITS", BITMAP_PAGE_BITS),
    ];
    for (name, value) in constants {
        assert_documented(name, &value.to_string());
    }
    assert_documented("FREE_EXTENT", &format!("{FREE_EXTENT:#x}"));
}
