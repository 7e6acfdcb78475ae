//! Metadata that rotted: whatever bit is flipped and whatever is written over a page, reading never
//! panics and never takes more for in sync than the intact pages say.

use metadata::activity_log::{self, replay};
use metadata::page::seal;
use metadata::superblock::choose;
use metadata::units::{BlockRange, PAGE_BYTES};
use metadata::{
    Bitmap, Creation, LogGeometry, Page, PageIdentity, PageKind, Replay, ResourceName, SlotUpdate,
    Superblock, Transaction,
};

const OWNER: PageIdentity =
    PageIdentity { resource_tag: 0x11, instance_id: 0x22, node_id: 0, attach_number: 3 };
const BLOCKS: u64 = 5000;

/// A generator of random numbers (xorshift64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

fn superblock() -> Superblock {
    Superblock::new_created(Creation {
        resource_name: ResourceName::new("r0").unwrap(),
        instance_id: 0x22,
        node_id: 0,
        capacity_bytes: BLOCKS * 4096,
        logical_block_bytes: 512,
        log: LogGeometry::default(),
    })
}

fn flipped(page: &Page, bit: usize) -> Page {
    let mut page = *page;
    page[bit / 8] ^= 1 << (bit % 8);
    page
}

/// A ring after 13 transactions, each of which makes one extent hot, and the next number.
fn ring() -> (Vec<u8>, u64) {
    let log = LogGeometry::default();
    let mut pages = vec![0; log.ring_bytes() as usize];
    let mut slots = vec![None; usize::from(log.slots())];
    let mut put = |sequence: u64, page: &[u8]| {
        let at = log.ring_index(sequence) as usize * PAGE_BYTES;
        pages[at..at + PAGE_BYTES].copy_from_slice(page);
    };
    let formatted = activity_log::format(0, &OWNER, log);
    let mut next = 0;
    for (sequence, page) in formatted {
        put(sequence, &page[..]);
        next = sequence + 1;
    }
    for extent in 0..13_u16 {
        let update = SlotUpdate { slot: extent, extent: Some(u32::from(extent) + 100) };
        slots[usize::from(extent)] = update.extent;
        let transaction = Transaction::new(next, vec![update], &slots, log);
        put(next, &transaction.encode(log, &OWNER)[..]);
        next += 1;
    }
    (pages, next)
}

#[test]
fn no_flipped_bit_of_a_superblock_is_believed_and_the_other_copy_counts() {
    let good = superblock();
    let copies = [good.encode(0), good.encode(1)];
    for bit in 0..PAGE_BYTES * 8 {
        let first = flipped(&copies[0], bit);
        assert_eq!(choose(&first, &copies[1]).as_ref(), Ok(&good), "bit {bit} of copy 0");
        let second = flipped(&copies[1], bit);
        assert_eq!(choose(&copies[0], &second).as_ref(), Ok(&good), "bit {bit} of copy 1");
        assert!(choose(&first, &second).is_err(), "bit {bit} of both");
    }
}

#[test]
fn no_flipped_bit_of_a_bitmap_is_believed() {
    let mut bitmap = Bitmap::new(BLOCKS);
    bitmap.set(BlockRange { first: 77, count: 5 });
    let page = bitmap.encode_page(0, &OWNER);
    assert_eq!(Bitmap::load(&page[..], BLOCKS, &OWNER).unwrap().count(), 5);
    for bit in 0..PAGE_BYTES * 8 {
        let rotten = flipped(&page, bit);
        assert!(Bitmap::load(&rotten, BLOCKS, &OWNER).is_err(), "bit {bit}");
    }
}

#[test]
fn no_flipped_bit_of_the_log_makes_less_hot_than_the_last_durable_transactions() {
    let log = LogGeometry::default();
    let (pages, next) = ring();
    let Replay::Hot { extents: all, .. } = replay(&pages, &OWNER, log) else {
        panic!("the ring is sound");
    };
    assert_eq!(all.len(), 13);
    let [newest, torn] = [next - 1, next].map(|sequence| log.ring_index(sequence));
    for bit in (0..pages.len() * 8).step_by(7) {
        let mut rotten = pages.clone();
        rotten[bit / 8] ^= 1 << (bit % 8);
        let ring_index = (bit / 8 / PAGE_BYTES) as u64;
        match replay(&rotten, &OWNER, log) {
            Replay::AllOutOfSync { .. } => {}
            Replay::Hot { extents, .. } if ring_index == torn => assert_eq!(extents, all),
            // What cannot be told from a torn write of the last transaction counts as one.
            Replay::Hot { extents, .. } => {
                assert_eq!(ring_index, newest, "bit {bit} was not noticed");
                assert!(extents.len() >= all.len() - 1, "bit {bit}: {extents:?}");
            }
        }
    }
}

#[test]
fn random_bytes_behind_a_good_checksum_never_panic() {
    let log = LogGeometry::default();
    let good = superblock();
    let (ring, _) = ring();
    let mut random = Random(0x5eed);
    for round in 0..3000 {
        let mut page = good.encode(0);
        for _ in 0..1 + random.below(8) {
            page[64 + random.below(200)] = random.next() as u8;
        }
        seal(&mut page, PageKind::Superblock, 0, &OWNER);
        // Whatever it says: it is a value or an error.
        drop(choose(&page, &good.encode(1)));
        drop(choose(&page, &[0; PAGE_BYTES]));

        let ring_index = random.below(log.ring_pages().into());
        let mut pages = ring.clone();
        let place = ring_index * PAGE_BYTES..(ring_index + 1) * PAGE_BYTES;
        let mut page: Page = pages[place.clone()].try_into().unwrap();
        for _ in 0..1 + random.below(8) {
            page[64 + random.below(500)] = random.next() as u8;
        }
        seal(&mut page, PageKind::ActivityLog, ring_index as u64, &OWNER);
        pages[place].copy_from_slice(&page);
        drop(replay(&pages, &OWNER, log));

        let mut page: Page = std::array::from_fn(|_| random.next() as u8);
        seal(&mut page, PageKind::Bitmap, 0, &OWNER);
        if let Ok(bitmap) = Bitmap::load(&page, BLOCKS, &OWNER) {
            assert!(bitmap.count() <= BLOCKS, "round {round}");
        }
    }
}
