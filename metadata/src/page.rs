//! The header and checksum of every metadata page: what it is, whose it is, where it belongs.
//!
//! Rule D13: resource, instance, node, attach number and page number are in every page, so a page
//! that was copied, misplaced or left over is noticed and never taken for good.

use thiserror::Error;

use crate::units::PAGE_BYTES;

/// One metadata page as it lies on the disk.
pub type Page = [u8; PAGE_BYTES];

/// Bytes of the header at the start of every page.
pub const HEADER_BYTES: usize = 64;
/// Version of the on-disk format; every page carries it and another one is refused.
pub const FORMAT_VERSION: u32 = 1;

pub(crate) const AT_VERSION: usize = 8;
const AT_CHECKSUM: usize = 12;
const AT_PAGE_NUMBER: usize = 16;
const AT_RESOURCE_TAG: usize = 24;
const AT_INSTANCE_ID: usize = 32;
const AT_ATTACH_NUMBER: usize = 40;
const AT_NODE_ID: usize = 48;

/// What a page holds; each kind has a magic of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageKind {
    /// One of the two copies of the superblock; the page number is the number of the copy.
    Superblock,
    /// One page of the activity-log ring; the page number is its index in the ring.
    ActivityLog,
    /// One page of the bitmap; the page number is its index in the bitmap.
    Bitmap,
}

impl PageKind {
    /// The first eight bytes of a page of this kind.
    #[must_use]
    pub const fn magic(self) -> [u8; 8] {
        match self {
            Self::Superblock => *b"blkrepSB",
            Self::ActivityLog => *b"blkrepAL",
            Self::Bitmap => *b"blkrepBM",
        }
    }
}

/// Whose a page is (rule D13).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageIdentity {
    /// Names the resource.
    pub resource_tag: u64,
    /// Drawn by `create-md`: tells this metadata from an earlier one of the same resource (G8).
    pub instance_id: u64,
    /// Position of the node in the configuration, 0 or 1.
    pub node_id: u8,
    /// The attach in which the page was written; for a check, the newest attach that may have
    /// written it.
    pub attach_number: u64,
}

/// Why a page cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PageError {
    /// Nothing but zero bytes.
    #[error("blank: nothing but zeroes; it was never written, or was wiped")]
    Blank,
    /// Another magic: the page is not ours, or not of this kind.
    #[error("foreign: it begins with {found:02x?} instead of the magic of a blkrep page")]
    Foreign {
        /// The first eight bytes.
        found: [u8; 8],
    },
    /// Our magic, but a format that this program does not know.
    #[error(
        "format version {found}, this program knows {FORMAT_VERSION}; use the program that wrote it"
    )]
    Version {
        /// The version that the page names.
        found: u32,
    },
    /// The content is not what was sealed: torn write or rot.
    #[error("checksum: stored {stored:#010x}, computed {computed:#010x}; torn write or rot")]
    Checksum {
        /// The crc32c in the page.
        stored: u32,
        /// The crc32c of the page as read.
        computed: u32,
    },
    /// Intact, but it belongs to another place.
    #[error("misplaced: it is page {found} and lies where page {expected} belongs")]
    Misplaced {
        /// The page number in the page.
        found: u64,
        /// The page number of the place.
        expected: u64,
    },
    /// Intact, but of another resource.
    #[error("it belongs to another resource (tag {found:#018x}, expected {expected:#018x})")]
    OtherResource {
        /// The tag in the page.
        found: u64,
        /// The tag of this resource.
        expected: u64,
    },
    /// Intact, but from before or after another `create-md`.
    #[error("it was left by another create-md (instance {found:#018x}, expected {expected:#018x})")]
    OtherInstance {
        /// The instance in the page.
        found: u64,
        /// The instance of this superblock.
        expected: u64,
    },
    /// Intact, but written by the other node.
    #[error("it belongs to node {found}, this is node {expected}; was the disk copied or swapped?")]
    OtherNode {
        /// The node in the page.
        found: u8,
        /// This node.
        expected: u8,
    },
    /// Intact, but of an attach that the superblock does not know: the superblock is an older copy.
    #[error(
        "it was written in attach {found}, the superblock knows only {newest}; was it restored?"
    )]
    OtherAttach {
        /// The attach number in the page.
        found: u64,
        /// The attach number of the superblock.
        newest: u64,
    },
}

impl PageError {
    /// True when the page may be what an interrupted write leaves behind. An intact page of
    /// somebody else is not.
    #[must_use]
    pub const fn may_be_torn(&self) -> bool {
        match self {
            Self::Blank | Self::Foreign { .. } | Self::Version { .. } | Self::Checksum { .. } => {
                true
            }
            Self::Misplaced { .. }
            | Self::OtherResource { .. }
            | Self::OtherInstance { .. }
            | Self::OtherNode { .. }
            | Self::OtherAttach { .. } => false,
        }
    }
}

/// The header of a page whose checksum holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageHeader {
    /// Where the page says it belongs.
    pub page_number: u64,
    /// Whose the page says it is.
    pub identity: PageIdentity,
}

impl PageHeader {
    /// Compares with the place it was read from and the owner of that place. Pages of an older
    /// attach are legal, of a newer one not (D13).
    ///
    /// # Errors
    /// The first difference, from [`PageError::Misplaced`] on.
    pub fn expect(&self, page_number: u64, owner: &PageIdentity) -> Result<(), PageError> {
        let found = &self.identity;
        if found.resource_tag != owner.resource_tag {
            let (found, expected) = (found.resource_tag, owner.resource_tag);
            return Err(PageError::OtherResource { found, expected });
        }
        if found.node_id != owner.node_id {
            let (found, expected) = (found.node_id, owner.node_id);
            return Err(PageError::OtherNode { found, expected });
        }
        if found.instance_id != owner.instance_id {
            let (found, expected) = (found.instance_id, owner.instance_id);
            return Err(PageError::OtherInstance { found, expected });
        }
        if self.page_number != page_number {
            return Err(PageError::Misplaced { found: self.page_number, expected: page_number });
        }
        if found.attach_number > owner.attach_number {
            let (found, newest) = (found.attach_number, owner.attach_number);
            return Err(PageError::OtherAttach { found, newest });
        }
        Ok(())
    }
}

/// Writes the header and, last, the checksum over the whole page. The body must be complete.
pub fn seal(page: &mut Page, kind: PageKind, page_number: u64, identity: &PageIdentity) {
    page[..HEADER_BYTES].fill(0);
    page[..8].copy_from_slice(&kind.magic());
    put_u32(page, AT_VERSION, FORMAT_VERSION);
    put_u64(page, AT_PAGE_NUMBER, page_number);
    put_u64(page, AT_RESOURCE_TAG, identity.resource_tag);
    put_u64(page, AT_INSTANCE_ID, identity.instance_id);
    put_u64(page, AT_ATTACH_NUMBER, identity.attach_number);
    page[AT_NODE_ID] = identity.node_id;
    let checksum = checksum(page);
    put_u32(page, AT_CHECKSUM, checksum);
}

/// Reads the header of a page that may be anything at all.
///
/// # Errors
/// [`PageError::Blank`], [`PageError::Foreign`], [`PageError::Version`] or [`PageError::Checksum`].
pub fn open(page: &Page, kind: PageKind) -> Result<PageHeader, PageError> {
    if page.iter().all(|&byte| byte == 0) {
        return Err(PageError::Blank);
    }
    let found: [u8; 8] = get(page, 0);
    if found != kind.magic() {
        return Err(PageError::Foreign { found });
    }
    let version = get_u32(page, AT_VERSION);
    if version != FORMAT_VERSION {
        return Err(PageError::Version { found: version });
    }
    let (stored, computed) = (get_u32(page, AT_CHECKSUM), checksum(page));
    if stored != computed {
        return Err(PageError::Checksum { stored, computed });
    }
    Ok(PageHeader {
        page_number: get_u64(page, AT_PAGE_NUMBER),
        identity: PageIdentity {
            resource_tag: get_u64(page, AT_RESOURCE_TAG),
            instance_id: get_u64(page, AT_INSTANCE_ID),
            node_id: page[AT_NODE_ID],
            attach_number: get_u64(page, AT_ATTACH_NUMBER),
        },
    })
}

/// [`open`] and [`PageHeader::expect`] in one: the page may be used when this says so.
///
/// # Errors
/// Whatever is wrong with the page, see [`PageError`].
pub fn check(
    page: &Page,
    kind: PageKind,
    page_number: u64,
    owner: &PageIdentity,
) -> Result<PageHeader, PageError> {
    let header = open(page, kind)?;
    header.expect(page_number, owner)?;
    Ok(header)
}

/// crc32c of the page with the checksum field taken as zero.
fn checksum(page: &Page) -> u32 {
    let head = crc32c::crc32c(&page[..AT_CHECKSUM]);
    let field = crc32c::crc32c_append(head, &[0; 4]);
    crc32c::crc32c_append(field, &page[AT_CHECKSUM + 4..])
}

/// The `N` bytes at offset `at`.
pub(crate) fn get<const N: usize>(page: &Page, at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&page[at..at + N]);
    bytes
}

pub(crate) fn get_u16(page: &Page, at: usize) -> u16 {
    u16::from_le_bytes(get(page, at))
}

pub(crate) fn get_u32(page: &Page, at: usize) -> u32 {
    u32::from_le_bytes(get(page, at))
}

pub(crate) fn get_u64(page: &Page, at: usize) -> u64 {
    u64::from_le_bytes(get(page, at))
}

pub(crate) fn put_u16(page: &mut Page, at: usize, value: u16) {
    page[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_u32(page: &mut Page, at: usize, value: u32) {
    page[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_u64(page: &mut Page, at: usize, value: u64) {
    page[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: PageIdentity =
        PageIdentity { resource_tag: 0x11, instance_id: 0x22, node_id: 1, attach_number: 5 };

    fn sealed(identity: &PageIdentity) -> Page {
        let mut page = [0xa5; PAGE_BYTES];
        seal(&mut page, PageKind::Bitmap, 7, identity);
        page
    }

    fn verdict(page: &Page) -> Result<PageHeader, PageError> {
        check(page, PageKind::Bitmap, 7, &OWNER)
    }

    #[test]
    fn a_sealed_page_passes_and_says_whose_it_is() {
        let header = PageHeader { page_number: 7, identity: OWNER };
        assert_eq!(verdict(&sealed(&OWNER)), Ok(header));
    }

    #[test]
    fn a_flip_of_any_single_byte_is_noticed() {
        let good = sealed(&OWNER);
        for at in 0..PAGE_BYTES {
            let mut page = good;
            page[at] ^= 0x10;
            let error = verdict(&page).expect_err("a flipped byte");
            assert!(error.may_be_torn(), "byte {at}: {error}");
        }
    }

    #[test]
    fn a_page_torn_at_any_sector_is_noticed() {
        let old = sealed(&OWNER);
        let mut new = [0x5a; PAGE_BYTES];
        seal(&mut new, PageKind::Bitmap, 7, &OWNER);
        for cut in (512..PAGE_BYTES).step_by(512) {
            let mut torn = old;
            torn[..cut].copy_from_slice(&new[..cut]);
            assert!(matches!(verdict(&torn), Err(PageError::Checksum { .. })), "cut at {cut}");
        }
    }

    #[test]
    fn each_stranger_is_named() {
        assert_eq!(verdict(&[0; PAGE_BYTES]), Err(PageError::Blank));
        let foreign = check(&sealed(&OWNER), PageKind::ActivityLog, 7, &OWNER);
        assert_eq!(foreign, Err(PageError::Foreign { found: *b"blkrepBM" }));
        let misplaced = check(&sealed(&OWNER), PageKind::Bitmap, 8, &OWNER);
        assert_eq!(misplaced, Err(PageError::Misplaced { found: 7, expected: 8 }));
        let with = |change: fn(&mut PageIdentity)| {
            let mut identity = OWNER;
            change(&mut identity);
            verdict(&sealed(&identity))
        };
        let resource = Err(PageError::OtherResource { found: 9, expected: 0x11 });
        assert_eq!(with(|id| id.resource_tag = 9), resource);
        let instance = Err(PageError::OtherInstance { found: 9, expected: 0x22 });
        assert_eq!(with(|id| id.instance_id = 9), instance);
        assert_eq!(with(|id| id.node_id = 0), Err(PageError::OtherNode { found: 0, expected: 1 }));
        let attach = Err(PageError::OtherAttach { found: 6, newest: 5 });
        assert_eq!(with(|id| id.attach_number = 6), attach);
    }

    #[test]
    fn a_page_of_an_older_attach_is_legal() {
        assert!(verdict(&sealed(&PageIdentity { attach_number: 4, ..OWNER })).is_ok());
    }

    #[test]
    fn another_format_version_is_named_before_the_checksum() {
        let mut page = sealed(&OWNER);
        put_u32(&mut page, AT_VERSION, 2);
        assert_eq!(verdict(&page), Err(PageError::Version { found: 2 }));
    }
}
