//! The bitmap on the disk: its pages, which of them must be written, and the digest.

use thiserror::Error;

use super::{Bitmap, word_count};
use crate::page::{self, HEADER_BYTES, Page, PageError, PageIdentity, PageKind};
use crate::units::{BlockRange, PAGE_BYTES};

/// Words of bits in one page.
pub(super) const PAGE_WORDS: usize = (PAGE_BYTES - HEADER_BYTES) / 8;
/// Bits in one page of the bitmap: 126 MiB of data.
pub const BITMAP_PAGE_BITS: u64 = PAGE_WORDS as u64 * 64;

/// Pages of a bitmap of `blocks` blocks.
#[must_use]
pub const fn page_count_for(blocks: u64) -> u64 {
    blocks.div_ceil(BITMAP_PAGE_BITS)
}

/// Why a bitmap cannot be used. Whatever it is, it means "all of it out of sync" (rule D13): go on
/// with [`Bitmap::all_set`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BitmapError {
    /// One page is bad.
    #[error("bitmap page {page_number}: {error}; everything counts as out of sync")]
    Page {
        /// Which page.
        page_number: u64,
        /// What is wrong with it.
        error: PageError,
    },
    /// The bytes are not those of a bitmap of this size.
    #[error(
        "a bitmap of {found_bytes} bytes was read, it has {expected_bytes}; \
         everything counts as out of sync"
    )]
    Length {
        /// Bytes that were given.
        found_bytes: u64,
        /// Bytes of all pages.
        expected_bytes: u64,
    },
}

impl Bitmap {
    /// Number of pages.
    #[must_use]
    pub fn page_count(&self) -> u64 {
        self.dirty.len() as u64
    }

    /// The page that holds the bit of `block`.
    #[must_use]
    pub const fn page_of(block: u64) -> u64 {
        block / BITMAP_PAGE_BITS
    }

    /// The first page at or after `from_page` that must be written.
    #[must_use]
    pub fn next_dirty_page(&self, from_page: u64) -> Option<u64> {
        let rest = self.dirty.get(usize::try_from(from_page).ok()?..)?;
        rest.iter().position(|&dirty| dirty).map(|ahead| from_page + ahead as u64)
    }

    /// True when a page that holds a bit of `range` must be written.
    #[must_use]
    pub fn any_dirty(&self, range: BlockRange) -> bool {
        let last = Self::page_of(range.end() - 1);
        self.next_dirty_page(Self::page_of(range.first)).is_some_and(|dirty| dirty <= last)
    }

    /// Says that a page must be written (again), because its write failed or was given up.
    ///
    /// # Panics
    /// When there is no such page.
    pub fn mark_dirty(&mut self, page_number: u64) {
        self.dirty[page_number as usize] = true;
    }

    /// The page as it must be written now; from here on it counts as clean. A bit that changes
    /// while the write is under way makes it dirty again.
    ///
    /// # Panics
    /// When there is no such page.
    #[must_use]
    pub fn encode_page(&mut self, page_number: u64, identity: &PageIdentity) -> Box<Page> {
        let index = page_number as usize;
        self.dirty[index] = false;
        let first = index * PAGE_WORDS;
        let last = (first + PAGE_WORDS).min(self.words.len());
        let mut page = Box::new([0; PAGE_BYTES]);
        for (bytes, word) in page[HEADER_BYTES..].chunks_exact_mut(8).zip(&self.words[first..last])
        {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        page::seal(&mut page, PageKind::Bitmap, page_number, identity);
        page
    }

    /// Reads all pages of a bitmap of `blocks` blocks. Pages of an older attach than `owner`'s are
    /// legal: they were clean since. A newer one is not: the superblock is an older copy.
    ///
    /// Bits past the end are dropped and their page becomes dirty: a resize that broke off leaves
    /// them (D20).
    ///
    /// # Errors
    /// [`BitmapError`]; each one means that everything is out of sync (D13).
    pub fn load(pages: &[u8], blocks: u64, owner: &PageIdentity) -> Result<Self, BitmapError> {
        let expected_bytes = page_count_for(blocks) * PAGE_BYTES as u64;
        let found_bytes = pages.len() as u64;
        if found_bytes != expected_bytes {
            return Err(BitmapError::Length { found_bytes, expected_bytes });
        }
        let mut bitmap = Self::new(blocks);
        bitmap.dirty.fill(false);
        let (pages, _) = pages.as_chunks::<PAGE_BYTES>();
        for (index, page) in pages.iter().enumerate() {
            let page_number = index as u64;
            page::check(page, PageKind::Bitmap, page_number, owner)
                .map_err(|error| BitmapError::Page { page_number, error })?;
            bitmap.take_page(index, page);
        }
        Ok(bitmap)
    }

    /// A digest of size and bits, stored by a clean detach. It notices one page that was restored
    /// from an older copy of itself, which no header can tell (D13).
    #[must_use]
    pub fn digest(&self) -> u32 {
        let mut digest = crc32c::crc32c(&self.blocks.to_le_bytes());
        let mut bytes = [0; PAGE_WORDS * 8];
        for words in self.words.chunks(PAGE_WORDS) {
            for (eight, word) in bytes.chunks_exact_mut(8).zip(words) {
                eight.copy_from_slice(&word.to_le_bytes());
            }
            digest = crc32c::crc32c_append(digest, &bytes[..words.len() * 8]);
        }
        digest
    }

    /// Fills the words of an empty page from the disk.
    fn take_page(&mut self, index: usize, page: &Page) {
        let first = index * PAGE_WORDS;
        let (words, _) = page[HEADER_BYTES..].as_chunks::<8>();
        for (ahead, bytes) in words.iter().enumerate() {
            let word = u64::from_le_bytes(*bytes);
            let kept = word & self.mask_at(first + ahead);
            if kept != word {
                self.dirty[index] = true;
            }
            if let Some(mine) = self.words.get_mut(first + ahead) {
                *mine = kept;
                self.set_bits += u64::from(kept.count_ones());
            }
        }
    }

    /// The bits of a word that stand for blocks.
    fn mask_at(&self, word: usize) -> u64 {
        let whole = (self.blocks / 64) as usize;
        if word < whole {
            u64::MAX
        } else if word < word_count(self.blocks) {
            (1 << (self.blocks % 64)) - 1
        } else {
            0
        }
    }
}

const _: () = assert!(BITMAP_PAGE_BITS == 32256);
