//! The superblock: what a node must remember about its replica, in two copies of one page each.
//!
//! Every update raises [`Superblock::sequence`] and writes both copies, one after the other, in the
//! order of [`write_order`] (rule D13), so a torn write leaves the other copy; [`choose`] takes the
//! newest intact one.

mod choose;
mod ends;
mod flags;
mod name;

use thiserror::Error;

pub use self::choose::{ChooseError, choose};
pub use self::ends::{End, FoundEnd, choose_end};
pub use self::flags::{FLAG_NAMES, Flags};
pub use self::name::{NameError, RESOURCE_NAME_BYTES_MAX, ResourceName};
use crate::generations::Generations;
use crate::layout::LogGeometry;
use crate::page::{
    Page, PageError, PageIdentity, PageKind, get, get_u16, get_u32, get_u64, open, put_u16,
    put_u32, put_u64, seal,
};
use crate::units::PAGE_BYTES;

const AT_SEQUENCE: usize = 64;
const AT_PROMOTION_NUMBER: usize = 72;
const AT_BOOT_ID: usize = 80;
const AT_DEVICE_BYTES: usize = 96;
const AT_CAPACITY_BYTES: usize = 104;
const AT_LOGICAL_BLOCK_BYTES: usize = 112;
const AT_LOG_SLOTS: usize = 116;
const AT_RING_PAGES: usize = 118;
const AT_GENERATIONS: usize = 120;
const AT_FLAGS: usize = 152;
const AT_BITMAP_DIGEST: usize = 156;
const AT_SESSION: usize = 160;
const AT_PEER_MINIMUM: usize = 176;
const AT_NAME_BYTES: usize = 200;
const AT_NAME: usize = 201;
const AT_MET: usize = AT_NAME + RESOURCE_NAME_BYTES_MAX;
const AT_PROPOSED_BYTES: usize = AT_MET + 16;
/// First byte after the fields; from here on the page is zero.
pub const SUPERBLOCK_USED_BYTES: usize = AT_PROPOSED_BYTES + 8;

/// Copies of the superblock.
pub const SUPERBLOCK_COPIES: u8 = 2;

/// The copies in the order in which the update of that number writes them (D13): one after the
/// other, and every second update the other way round. A cut tears the first or the second of them;
/// either way the next update that is written begins with the torn one, and never touches the good
/// one before that is whole again.
#[must_use]
pub const fn write_order(sequence: u64) -> [u8; SUPERBLOCK_COPIES as usize] {
    if sequence.is_multiple_of(2) { [0, 1] } else { [1, 0] }
}

/// The connection that both nodes agreed on last (rule G8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Session {
    /// Drawn afresh for each connection.
    pub id: u64,
    /// One more than the last; never restarts.
    pub number: u64,
}

/// The least that the peer must show when it comes back: a peer below it was restored from an older
/// copy (rule G8). Holds only what the peer has confirmed as durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PeerMinimum {
    /// The peer's instance for which the two numbers hold; another instance is judged by G1 alone.
    /// 0: none yet.
    pub instance_id: u64,
    /// [`Superblock::sequence`] of the peer.
    pub superblock_sequence: u64,
    /// Sequence of the newest transaction in the peer's activity log.
    pub log_sequence: u64,
}

/// How far this replica's own numbers had come when the peer last saw them (rule G8). They do not
/// rise while the peer is away, so that attaches and changes alone do not hide that everything
/// before them is an older copy. A superblock written while connected has its own sequence here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sequences {
    /// [`Superblock::sequence`].
    pub superblock: u64,
    /// Sequence of the newest transaction in the activity log.
    pub log: u64,
}

/// What `create-md` knows about a new replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Creation {
    /// Name of the resource in the configuration.
    pub resource_name: ResourceName,
    /// Random; tells this metadata from every other, see [`PageIdentity::instance_id`].
    pub instance_id: u64,
    /// Position of this node in the configuration, 0 or 1.
    pub node_id: u8,
    /// Bytes of data that fit here, from the layout.
    pub capacity_bytes: u64,
    /// Smallest write of the backing device, in bytes.
    pub logical_block_bytes: u32,
    /// Size of the activity log.
    pub log: LogGeometry,
}

/// Everything durable about a replica but log and bitmap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// Number of this update. Raised by every update and never restarted (G8).
    pub sequence: u64,
    /// Name of the resource in the configuration.
    pub resource_name: ResourceName,
    /// Names the resource in every page; drawn from the name by `create-md` and kept if it is
    /// renamed.
    pub resource_tag: u64,
    /// Drawn by `create-md`.
    pub instance_id: u64,
    /// Position of this node in the configuration, 0 or 1.
    pub node_id: u8,
    /// Counts the attaches; raised, durably, before an attach writes any other page (D13).
    pub attach_number: u64,
    /// Counts the promotions of this node, not the resumes (D16).
    pub promotion_number: u64,
    /// The boot in which the disk was last attached: another one means that caches may be lost
    /// (G1(a)).
    pub boot_id: [u8; 16],
    /// Size in bytes on which both nodes agreed; 0 when they have not met yet.
    pub device_bytes: u64,
    /// Size in bytes of a resize that may not be complete on the peer (D20); 0: none. While it is
    /// the agreed size, nothing was written above the peer's.
    pub proposed_bytes: u64,
    /// Bytes of data that fit on this node's disk, a multiple of 512.
    pub capacity_bytes: u64,
    /// Smallest write of the backing device, in bytes.
    pub logical_block_bytes: u32,
    /// Size of the activity log.
    pub log: LogGeometry,
    /// Which data this is (G1).
    pub generations: Generations,
    /// What else is known about the data, see each flag.
    pub flags: Flags,
    /// [`crate::Bitmap::digest`] at a clean detach; counts only while [`Flags::bitmap_clean`] is
    /// set.
    pub bitmap_digest: u32,
    /// The connection agreed on last.
    pub session: Session,
    /// The least that the peer must show.
    pub peer_minimum: PeerMinimum,
    /// What this replica must show to the peer.
    pub met: Sequences,
}

/// Why one page is no superblock.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SuperblockError {
    /// The page itself is bad: no magic, foreign version, checksum, misplaced.
    #[error(transparent)]
    Page(#[from] PageError),
    /// The checksum holds, but a field has a value that this program never writes.
    #[error(
        "field {field} holds {value:#x}, which this version does not know; use the \
         program that wrote it"
    )]
    Field {
        /// Name of the field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// The checksum holds, but the name is none.
    #[error("the resource name in it is not usable: {0}")]
    Name(#[from] NameError),
}

impl Superblock {
    /// The superblock of a fresh replica: [`crate::JUST_CREATED`], no flag set, nothing agreed. Its
    /// sequence is 1 and not that of metadata that lay there before: `create-md` voids both old
    /// copies first.
    ///
    /// # Panics
    /// When the node is neither 0 nor 1.
    #[must_use]
    pub fn new_created(creation: Creation) -> Self {
        assert!(creation.node_id < 2, "invariant: a resource has two nodes");
        Self {
            sequence: 1,
            resource_tag: creation.resource_name.tag(),
            resource_name: creation.resource_name,
            instance_id: creation.instance_id,
            node_id: creation.node_id,
            attach_number: 0,
            promotion_number: 0,
            boot_id: [0; 16],
            device_bytes: 0,
            proposed_bytes: 0,
            capacity_bytes: creation.capacity_bytes,
            logical_block_bytes: creation.logical_block_bytes,
            log: creation.log,
            generations: Generations::just_created(),
            flags: Flags::default(),
            bitmap_digest: 0,
            session: Session::default(),
            peer_minimum: PeerMinimum::default(),
            met: Sequences::default(),
        }
    }

    /// Whose the pages of this replica are: to seal pages in this attach, and to check them.
    #[must_use]
    pub const fn identity(&self) -> PageIdentity {
        PageIdentity {
            resource_tag: self.resource_tag,
            instance_id: self.instance_id,
            node_id: self.node_id,
            attach_number: self.attach_number,
        }
    }

    /// The page for copy `copy_index` (0 or 1). Raise [`Superblock::sequence`] once per update, not
    /// per copy.
    ///
    /// # Panics
    /// When there is no such copy.
    #[must_use]
    pub fn encode(&self, copy_index: u8) -> Page {
        assert!(copy_index < SUPERBLOCK_COPIES, "invariant: there are two copies");
        let mut page = [0; PAGE_BYTES];
        put_u64(&mut page, AT_SEQUENCE, self.sequence);
        put_u64(&mut page, AT_PROMOTION_NUMBER, self.promotion_number);
        page[AT_BOOT_ID..AT_BOOT_ID + 16].copy_from_slice(&self.boot_id);
        put_u64(&mut page, AT_DEVICE_BYTES, self.device_bytes);
        put_u64(&mut page, AT_CAPACITY_BYTES, self.capacity_bytes);
        put_u32(&mut page, AT_LOGICAL_BLOCK_BYTES, self.logical_block_bytes);
        put_u16(&mut page, AT_LOG_SLOTS, self.log.slots());
        put_u16(&mut page, AT_RING_PAGES, self.log.ring_pages());
        put_u64(&mut page, AT_GENERATIONS, self.generations.current);
        put_u64(&mut page, AT_GENERATIONS + 8, self.generations.bitmap);
        put_u64(&mut page, AT_GENERATIONS + 16, self.generations.history[0]);
        put_u64(&mut page, AT_GENERATIONS + 24, self.generations.history[1]);
        put_u32(&mut page, AT_FLAGS, self.flags.to_bits());
        put_u32(&mut page, AT_BITMAP_DIGEST, self.bitmap_digest);
        put_u64(&mut page, AT_SESSION, self.session.id);
        put_u64(&mut page, AT_SESSION + 8, self.session.number);
        put_u64(&mut page, AT_PEER_MINIMUM, self.peer_minimum.instance_id);
        put_u64(&mut page, AT_PEER_MINIMUM + 8, self.peer_minimum.superblock_sequence);
        put_u64(&mut page, AT_PEER_MINIMUM + 16, self.peer_minimum.log_sequence);
        put_u64(&mut page, AT_MET, self.met.superblock);
        put_u64(&mut page, AT_MET + 8, self.met.log);
        put_u64(&mut page, AT_PROPOSED_BYTES, self.proposed_bytes);
        let name = self.resource_name.as_str().as_bytes();
        page[AT_NAME_BYTES] =
            u8::try_from(name.len()).expect("invariant: a resource name has at most 63 bytes");
        page[AT_NAME..AT_NAME + name.len()].copy_from_slice(name);
        seal(&mut page, PageKind::Superblock, u64::from(copy_index), &self.identity());
        page
    }

    /// Reads one copy, whichever it is.
    ///
    /// # Errors
    /// [`SuperblockError`] names what is wrong with it.
    pub fn decode(page: &Page) -> Result<Self, SuperblockError> {
        let header = open(page, PageKind::Superblock)?;
        let identity = header.identity;
        known("copy number", header.page_number, header.page_number < SUPERBLOCK_COPIES.into())?;
        known("node", identity.node_id.into(), identity.node_id < 2)?;
        Ok(Self {
            sequence: get_u64(page, AT_SEQUENCE),
            resource_name: ResourceName::decode(page[AT_NAME_BYTES], &get(page, AT_NAME))?,
            resource_tag: identity.resource_tag,
            instance_id: identity.instance_id,
            node_id: identity.node_id,
            attach_number: identity.attach_number,
            promotion_number: get_u64(page, AT_PROMOTION_NUMBER),
            boot_id: get(page, AT_BOOT_ID),
            device_bytes: get_u64(page, AT_DEVICE_BYTES),
            proposed_bytes: get_u64(page, AT_PROPOSED_BYTES),
            capacity_bytes: get_u64(page, AT_CAPACITY_BYTES),
            logical_block_bytes: get_u32(page, AT_LOGICAL_BLOCK_BYTES),
            log: decode_log(page)?,
            generations: Generations {
                current: get_u64(page, AT_GENERATIONS),
                bitmap: get_u64(page, AT_GENERATIONS + 8),
                history: [get_u64(page, AT_GENERATIONS + 16), get_u64(page, AT_GENERATIONS + 24)],
            },
            flags: decode_flags(page)?,
            bitmap_digest: get_u32(page, AT_BITMAP_DIGEST),
            session: Session {
                id: get_u64(page, AT_SESSION),
                number: get_u64(page, AT_SESSION + 8),
            },
            peer_minimum: PeerMinimum {
                instance_id: get_u64(page, AT_PEER_MINIMUM),
                superblock_sequence: get_u64(page, AT_PEER_MINIMUM + 8),
                log_sequence: get_u64(page, AT_PEER_MINIMUM + 16),
            },
            met: Sequences { superblock: get_u64(page, AT_MET), log: get_u64(page, AT_MET + 8) },
        })
    }

    /// Reads the copy that belongs at place `copy_index`.
    ///
    /// # Errors
    /// As [`Superblock::decode`], and [`PageError::Misplaced`] when it is the other copy.
    pub fn decode_copy(page: &Page, copy_index: u8) -> Result<Self, SuperblockError> {
        let superblock = Self::decode(page)?;
        let (found, expected) =
            (open(page, PageKind::Superblock)?.page_number, u64::from(copy_index));
        if found != expected {
            return Err(PageError::Misplaced { found, expected }.into());
        }
        Ok(superblock)
    }
}

fn known(field: &'static str, value: u64, is_known: bool) -> Result<(), SuperblockError> {
    if is_known { Ok(()) } else { Err(SuperblockError::Field { field, value }) }
}

fn decode_log(page: &Page) -> Result<LogGeometry, SuperblockError> {
    let (slots, ring_pages) = (get_u16(page, AT_LOG_SLOTS), get_u16(page, AT_RING_PAGES));
    let log = LogGeometry::new(slots)
        .map_err(|_| SuperblockError::Field { field: "log slots", value: slots.into() })?;
    known("ring pages", ring_pages.into(), ring_pages == log.ring_pages())?;
    Ok(log)
}

fn decode_flags(page: &Page) -> Result<Flags, SuperblockError> {
    let bits = get_u32(page, AT_FLAGS);
    Flags::from_bits(bits).ok_or(SuperblockError::Field { field: "flags", value: bits.into() })
}

const _: () = assert!(SUPERBLOCK_USED_BYTES == 288);

#[cfg(test)]
mod tests;
