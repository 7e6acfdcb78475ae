//! Edits by hand to the metadata of a node whose daemon is down.
//!
//! Knows internal metadata only: those of every pair of the test bed.

use crate::pair::Pair;
use metadata::units::PAGE_BYTES;
use metadata::{Layout, LogGeometry, Page, Placement, Superblock, activity_log};
use rustix::fs::{SeekFrom, seek};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// A generation that no daemon draws, for replicas that are declared equal.
const DECLARED_GENERATION: u64 = 0x7e57_0000_0000_0002;

/// The metadata on one disk.
#[derive(Debug)]
pub struct MetadataEdit {
    path: PathBuf,
    file: File,
    /// Where everything lies.
    pub layout: Layout,
    /// The newest superblock.
    pub superblock: Superblock,
}

impl MetadataEdit {
    /// Reads what `create-md` or a daemon has left on `disk`.
    ///
    /// # Panics
    /// When there are no intact metadata.
    #[must_use]
    pub fn open(disk: &Path) -> Self {
        let file = File::options()
            .read(true)
            .write(true)
            .open(disk)
            .unwrap_or_else(|error| panic!("cannot open {}: {error}", disk.display()));
        // A device says 0 where a file says its length.
        let bytes = seek(&file, SeekFrom::End(0)).expect("an open disk has a size");
        let copies = Layout::superblock_offsets(Placement::Internal, bytes)
            .map(|offset| read_page(&file, offset));
        let superblock = metadata::superblock::choose(&copies[0], &copies[1])
            .unwrap_or_else(|error| panic!("{} has no superblock: {error}", disk.display()));
        let layout = Layout::internal(bytes, superblock.log).expect("the superblock fits its disk");
        Self { path: disk.to_owned(), file, layout, superblock }
    }

    /// One page.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn page(&self, offset: u64) -> Page {
        read_page(&self.file, offset)
    }

    /// Writes bytes over whatever is there.
    ///
    /// # Panics
    /// When they cannot be written.
    pub fn write(&self, offset: u64, bytes: &[u8]) {
        self.file
            .write_all_at(bytes, offset)
            .unwrap_or_else(|error| panic!("cannot write {}: {error}", self.path.display()));
    }

    /// Writes both copies of the superblock as the next update.
    pub fn write_superblock(&mut self) {
        self.superblock.sequence += 1;
        for (copy, offset) in [0, 1].into_iter().zip(self.layout.superblock_offsets) {
            self.write(offset, &self.superblock.encode(copy));
        }
    }

    /// Gives an empty log another number of slots.
    ///
    /// # Panics
    /// When the ring for so many slots has another size.
    pub fn set_log_slots(&mut self, slots: u16) {
        let log = LogGeometry::new(slots).expect("a test knows how many slots there may be");
        assert_eq!(log.ring_pages(), self.layout.log.ring_pages(), "the ring would not fit");
        self.superblock.log = log;
        self.layout.log = log;
        for (sequence, page) in activity_log::format(0, &self.superblock.identity(), log) {
            self.write(self.layout.ring_page_offset(sequence), &page[..]);
        }
        self.write_superblock();
    }

    /// All metadata, as bytes from [`Layout::bitmap_offset`] to the end of the disk.
    ///
    /// # Panics
    /// When they cannot be read.
    #[must_use]
    pub fn copy(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.layout.metadata_bytes() as usize];
        self.file
            .read_exact_at(&mut bytes, self.layout.bitmap_offset)
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", self.path.display()));
        bytes
    }

    /// Puts such a copy back.
    pub fn restore(&self, copy: &[u8]) {
        self.write(self.layout.bitmap_offset, copy);
    }
}

fn read_page(file: &File, offset: u64) -> Page {
    let mut page = [0; PAGE_BYTES];
    file.read_exact_at(&mut page, offset).expect("metadata are inside the disk");
    page
}

/// Declares the disks of a fresh pair equal and UpToDate without copying anything, which is true
/// when both hold nothing but zeroes. After `create-md`, before the first start.
pub fn declare_equal(pair: &Pair) {
    for node in [&pair.a, &pair.b] {
        let mut edit = MetadataEdit::open(node.disk());
        edit.superblock.generations.current = DECLARED_GENERATION;
        edit.superblock.flags.consistent = true;
        edit.superblock.flags.was_up_to_date = true;
        edit.write_superblock();
    }
}
