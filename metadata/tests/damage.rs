//! Metadata damaged by hand (D13): whatever is done to the pages, the outcome is an error, "all of
//! it out of sync", or at least every bit that the undamaged pages stand for.

use metadata::activity_log::{Replay, SlotUpdate, Transaction, format, replay};
use metadata::layout::LogGeometry;
use metadata::page::{Page, PageIdentity};
use metadata::superblock::{Flags, Superblock, choose};
use metadata::units::{EXTENT_BLOCKS, PAGE_BYTES};
use metadata::{Bitmap, BlockRange, Creation, ResourceName};

const BLOCKS: u64 = 32256 + 3000;
const BITS: usize = PAGE_BYTES * 8;
/// Ring pages of the least log.
const RING_PAGES: usize = 8;
/// Number of the newest transaction.
const NEWEST: u64 = 13;

/// The pages of a replica that went down without leave.
#[derive(Clone)]
struct Disk {
    superblocks: [Page; 2],
    ring: Vec<u8>,
    bitmap: Vec<u8>,
}

/// What a start makes of them.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Refused,
    AllOutOfSync,
    Bits(Bitmap),
}

fn superblock(node_id: u8) -> Superblock {
    let mut block = Superblock::new_created(Creation {
        resource_name: ResourceName::new("r0").unwrap(),
        instance_id: 0x11 + u64::from(node_id),
        node_id,
        capacity_bytes: BLOCKS * 4096,
        logical_block_bytes: 512,
        log: LogGeometry::new(7).unwrap(),
    });
    (block.attach_number, block.sequence, block.device_bytes) = (3, 9, BLOCKS * 4096);
    block.flags = Flags { consistent: true, was_up_to_date: true, primary: true, ..block.flags };
    block
}

fn ring(identity: &PageIdentity, log: LogGeometry) -> Vec<u8> {
    let mut ring = vec![0; RING_PAGES * PAGE_BYTES];
    let mut put = |sequence: u64, page: &Page| {
        let at = log.ring_index(sequence) as usize * PAGE_BYTES;
        ring[at..at + PAGE_BYTES].copy_from_slice(page);
    };
    for (sequence, page) in format(0, identity, log) {
        put(sequence, &page);
    }
    let mut slots = vec![None; 7];
    for (slot, sequence) in (0..).zip(RING_PAGES as u64..=NEWEST) {
        let extent = Some(2 + 3 * u32::from(slot));
        slots[usize::from(slot)] = extent;
        let updates = vec![SlotUpdate { slot, extent }];
        put(sequence, &Transaction::new(sequence, updates, &slots, log).encode(log, identity));
    }
    ring
}

fn disk(node_id: u8) -> Disk {
    let block = superblock(node_id);
    let identity = block.identity();
    let mut bits = own_bits();
    let pages = (0..bits.page_count()).map(|page| bits.encode_page(page, &identity));
    Disk {
        superblocks: [block.encode(0), block.encode(1)],
        ring: ring(&identity, block.log),
        bitmap: pages.flat_map(|page| *page).collect(),
    }
}

fn own_bits() -> Bitmap {
    let mut bits = Bitmap::new(BLOCKS);
    for (first, count) in [(0, 3), (5000, 200), (32255, 2), (BLOCKS - 1, 1)] {
        bits.set(BlockRange { first, count });
    }
    bits
}

/// Every bit that must be found. The extent of the newest transaction is not among them: a page
/// that was torn looks the same, and then nothing was written in it (`docs/format.md`).
fn needed() -> Bitmap {
    let mut bits = own_bits();
    for slot in 0..NEWEST - RING_PAGES as u64 {
        bits.set(BlockRange { first: (2 + 3 * slot) * EXTENT_BLOCKS, count: EXTENT_BLOCKS });
    }
    bits
}

fn found(disk: &Disk) -> Found {
    let Ok(block) = choose(&disk.superblocks[0], &disk.superblocks[1]) else {
        return Found::Refused;
    };
    if block.node_id != 0 || block.resource_name.as_str() != "r0" {
        return Found::Refused;
    }
    let owner = block.identity();
    let Ok(mut bits) = Bitmap::load(&disk.bitmap, BLOCKS, &owner) else {
        return Found::AllOutOfSync;
    };
    if block.flags.bitmap_clean && bits.digest() != block.bitmap_digest {
        return Found::AllOutOfSync;
    }
    match replay(&disk.ring, &owner, block.log) {
        Replay::AllOutOfSync { .. } => Found::AllOutOfSync,
        Replay::Hot { extents, .. } => {
            for extent in extents {
                let first = u64::from(extent) * EXTENT_BLOCKS;
                bits.set(BlockRange { first, count: EXTENT_BLOCKS });
            }
            Found::Bits(bits)
        }
    }
}

#[track_caller]
fn assert_never_narrower(disk: &Disk, what: &str) {
    if let Found::Bits(mut bits) = found(disk) {
        assert_eq!(bits.union(&needed()), 0, "{what}: bits are missing");
    }
}

fn flip(page: &mut [u8], bit: usize) {
    page[bit / 8] ^= 1 << (bit % 8);
}

#[test]
fn an_undamaged_disk_gives_its_bits_and_its_hot_extents() {
    let Found::Bits(bits) = found(&disk(0)) else { panic!("it is sound") };
    assert_eq!(bits.count(), needed().count() + EXTENT_BLOCKS);
    assert_never_narrower(&disk(0), "undamaged");
}

#[test]
fn a_flip_of_any_bit_in_one_superblock_leaves_the_other_and_in_both_an_error() {
    let good = disk(0);
    for bit in 0..BITS {
        for copy in [0, 1] {
            let mut pages = good.superblocks;
            flip(&mut pages[copy], bit);
            assert_eq!(choose(&pages[0], &pages[1]), Ok(superblock(0)), "bit {bit}");
        }
        let mut pages = good.superblocks;
        flip(&mut pages[0], bit);
        flip(&mut pages[1], bit);
        let error = choose(&pages[0], &pages[1]).expect_err("both copies are damaged");
        assert!(error.to_string().contains("create-md"), "bit {bit}: {error}");
    }
}

#[test]
fn a_flip_of_any_bit_of_the_bitmap_means_all_out_of_sync() {
    let mut damaged = disk(0);
    for bit in 0..2 * BITS {
        flip(&mut damaged.bitmap, bit);
        let owner = superblock(0).identity();
        assert!(Bitmap::load(&damaged.bitmap, BLOCKS, &owner).is_err(), "bit {bit}");
        flip(&mut damaged.bitmap, bit);
    }
}

#[test]
fn a_flip_of_any_bit_of_the_log_means_all_out_of_sync_but_where_a_torn_page_may_lie() {
    let (owner, log) = (superblock(0).identity(), superblock(0).log);
    let mut damaged = disk(0);
    let excused = [log.ring_index(NEWEST), log.ring_index(NEWEST + 1)];
    for bit in 0..RING_PAGES * BITS {
        flip(&mut damaged.ring, bit);
        let page = (bit / BITS) as u64;
        let all = matches!(replay(&damaged.ring, &owner, log), Replay::AllOutOfSync { .. });
        assert!(all || excused.contains(&page), "bit {bit}");
        if !all && bit.is_multiple_of(61) {
            assert_never_narrower(&damaged, "a torn page");
        }
        flip(&mut damaged.ring, bit);
    }
}

/// Each page of a disk, by kind and place.
fn pages(disk: &mut Disk) -> Vec<&mut [u8]> {
    let Disk { superblocks, ring, bitmap } = disk;
    superblocks
        .iter_mut()
        .map(|page| &mut page[..])
        .chain(ring.chunks_mut(PAGE_BYTES))
        .chain(bitmap.chunks_mut(PAGE_BYTES))
        .collect()
}

#[test]
fn pages_zeroed_misdirected_or_of_the_peer_never_narrow_the_bitmap() {
    let count = pages(&mut disk(0)).len();
    for to in 0..count {
        let mut zeroed = disk(0);
        pages(&mut zeroed)[to].fill(0);
        assert_never_narrower(&zeroed, &format!("page {to} zeroed"));
        let mut swapped = disk(0);
        pages(&mut swapped)[to].copy_from_slice(pages(&mut disk(1))[to]);
        assert_never_narrower(&swapped, &format!("page {to} of the peer"));
        for from in 0..count {
            let mut misdirected = disk(0);
            pages(&mut misdirected)[to].copy_from_slice(pages(&mut disk(0))[from]);
            assert_never_narrower(&misdirected, &format!("page {from} at the place of {to}"));
        }
    }
    assert_eq!(found(&disk(1)), Found::Refused, "the peer's disk as a whole");
}

#[test]
fn a_part_that_is_cut_off_means_all_out_of_sync() {
    for cut in [1, 512, PAGE_BYTES, 2 * PAGE_BYTES] {
        let mut short = disk(0);
        short.ring.truncate(short.ring.len() - cut);
        assert_eq!(found(&short), Found::AllOutOfSync, "log cut by {cut}");
        let mut short = disk(0);
        short.bitmap.truncate(short.bitmap.len() - cut);
        assert_eq!(found(&short), Found::AllOutOfSync, "bitmap cut by {cut}");
    }
}

#[test]
fn an_older_bitmap_page_is_noticed_after_a_clean_detach() {
    let mut block = superblock(0);
    block.flags.bitmap_clean = true;
    block.bitmap_digest = own_bits().digest();
    let mut restored = disk(0);
    restored.superblocks = [block.encode(0), block.encode(1)];
    assert!(matches!(found(&restored), Found::Bits(_)));
    let older = Bitmap::new(BLOCKS).encode_page(0, &block.identity());
    restored.bitmap[..PAGE_BYTES].copy_from_slice(&older[..]);
    assert_eq!(found(&restored), Found::AllOutOfSync);
}

#[test]
fn random_damage_of_several_pages_never_narrows_the_bitmap() {
    let mut state = 0xda_3a9e_u64;
    let mut next = |below: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for round in 0..3000 {
        let (mut damaged, mut donor) = (disk(0), disk(next(2) as u8));
        for _ in 0..1 + next(4) {
            let (mut to, from) = (pages(&mut damaged), pages(&mut donor));
            let at = next(to.len());
            match next(4) {
                0 => to[at].fill(0),
                1 => flip(to[at], next(BITS)),
                2 => to[at].copy_from_slice(from[next(from.len())]),
                _ => {
                    let cut = 512 * (1 + next(7));
                    to[at][cut..].copy_from_slice(&from[next(from.len())][cut..]);
                }
            }
        }
        assert_never_narrower(&damaged, &format!("round {round}"));
    }
}
