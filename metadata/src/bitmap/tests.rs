//! Tests of the bitmap against a plain list of bools, and of its pages.

use super::*;
use crate::page::{PageError, PageIdentity};
use crate::seeded::Seeded;
use crate::units::PAGE_BYTES;

const OWNER: PageIdentity =
    PageIdentity { resource_tag: 1, instance_id: 2, node_id: 0, attach_number: 3 };

const fn blocks(first: u64, count: u64) -> BlockRange {
    BlockRange { first, count }
}

fn written(bitmap: &mut Bitmap, identity: &PageIdentity) -> Vec<u8> {
    (0..bitmap.page_count()).flat_map(|page| bitmap.encode_page(page, identity).to_vec()).collect()
}

fn runs_of(bitmap: &Bitmap) -> Vec<BlockRange> {
    let next = |run: &BlockRange| bitmap.next_run(run.end(), u64::MAX);
    std::iter::successors(bitmap.next_run(0, u64::MAX), next).collect()
}

#[test]
fn random_sets_and_clears_agree_with_a_plain_list() {
    for seed in 0..40 {
        let mut random = Seeded::new(seed);
        let size = 1 + random.below(700);
        let mut bitmap = Bitmap::new(size);
        let mut plain = vec![false; size as usize];
        for step in 0..200 {
            let range = blocks(random.below(size + 5), 1 + random.below(150));
            let to = random.below(2) == 0;
            let mut changed = 0;
            for block in range.first..range.end().min(size) {
                changed += u64::from(plain[block as usize] != to);
                plain[block as usize] = to;
            }
            let newly = if to { bitmap.set(range) } else { bitmap.clear(range) };
            assert_eq!(newly, changed, "seed {seed} step {step}");
            let probe = blocks(random.below(size), 1 + random.below(80));
            let probed = &plain[probe.first as usize..probe.end().min(size) as usize];
            let ones = probed.iter().filter(|&&bit| bit).count() as u64;
            assert_eq!(bitmap.any_set(probe), ones > 0, "seed {seed} step {step}");
            assert_eq!(bitmap.count_in(probe), ones, "seed {seed} step {step}");
        }
        let ones = plain.iter().filter(|&&bit| bit).count() as u64;
        assert_eq!(bitmap.count(), ones, "seed {seed}");
        let mut found = vec![false; size as usize];
        for run in runs_of(&bitmap) {
            found[run.first as usize..run.end() as usize].fill(true);
        }
        assert_eq!(found, plain, "seed {seed}");
    }
}

#[test]
fn bits_past_the_end_are_never_set() {
    let mut bitmap = Bitmap::all_set(65);
    assert_eq!((bitmap.count(), bitmap.words[1]), (65, 1));
    assert_eq!(bitmap.set(blocks(64, 1000)), 0);
    assert_eq!(bitmap.set(blocks(u64::MAX, 1)), 0);
    assert_eq!(bitmap.set(blocks(65, u64::MAX)), 0);
    assert_eq!(bitmap.words[1], 1);
    assert_eq!(Bitmap::all_set(0).count(), 0);
}

#[test]
fn a_run_is_cut_at_the_wanted_length_and_goes_on_from_there() {
    let mut bitmap = Bitmap::new(100_000);
    bitmap.set(blocks(70_000, 300));
    assert_eq!(bitmap.next_run(0, 128), Some(blocks(70_000, 128)));
    assert_eq!(bitmap.next_run(70_128, 128), Some(blocks(70_128, 128)));
    assert_eq!(bitmap.next_run(70_256, 128), Some(blocks(70_256, 44)));
    assert_eq!(bitmap.next_run(70_300, 128), None);
    assert_eq!(bitmap.next_run(100_000, 128), None);
    assert_eq!(Bitmap::all_set(130).next_run(0, u64::MAX), Some(blocks(0, 130)));
}

#[test]
fn the_union_holds_the_bits_of_both() {
    let (mut one, mut other) = (Bitmap::new(200), Bitmap::new(200));
    one.set(blocks(0, 10));
    other.set(blocks(5, 100));
    assert_eq!(one.union(&other), 95);
    assert_eq!(runs_of(&one), [blocks(0, 105)]);
    assert_eq!(one.count(), 105);
}

#[test]
fn only_pages_that_changed_are_written_again() {
    let mut bitmap = Bitmap::new(3 * BITMAP_PAGE_BITS);
    written(&mut bitmap, &OWNER);
    assert_eq!(bitmap.next_dirty_page(0), None);
    bitmap.set(blocks(BITMAP_PAGE_BITS, 1));
    assert_eq!(bitmap.next_dirty_page(0), Some(1));
    assert_eq!(bitmap.next_dirty_page(2), None);
    assert!(bitmap.any_dirty(blocks(BITMAP_PAGE_BITS - 1, 2)));
    assert!(!bitmap.any_dirty(blocks(0, BITMAP_PAGE_BITS)));
    let _page = bitmap.encode_page(1, &OWNER);
    bitmap.set(blocks(BITMAP_PAGE_BITS, 1));
    assert_eq!(bitmap.next_dirty_page(0), None, "the bit was set already");
    bitmap.clear(blocks(BITMAP_PAGE_BITS - 1, 2));
    assert_eq!(bitmap.next_dirty_page(0), Some(1), "block {} was clear", BITMAP_PAGE_BITS - 1);
    bitmap.mark_dirty(2);
    assert_eq!(bitmap.next_dirty_page(2), Some(2));
    assert_eq!(bitmap.next_dirty_page(3), None);
}

#[test]
fn what_is_written_is_what_is_loaded() {
    for seed in 100..120 {
        let mut random = Seeded::new(seed);
        let size = 1 + random.below(3 * BITMAP_PAGE_BITS);
        let mut bitmap = Bitmap::new(size);
        for _ in 0..50 {
            bitmap.set(blocks(random.below(size), 1 + random.below(1000)));
        }
        let bytes = written(&mut bitmap, &OWNER);
        let later = PageIdentity { attach_number: 9, ..OWNER };
        assert_eq!(Bitmap::load(&bytes, size, &later), Ok(bitmap), "seed {seed}");
    }
}

#[test]
fn a_bad_page_spoils_the_whole_bitmap() {
    let mut bitmap = Bitmap::new(2 * BITMAP_PAGE_BITS);
    let good = written(&mut bitmap, &OWNER);
    let error_of = |bytes: &[u8]| match Bitmap::load(bytes, 2 * BITMAP_PAGE_BITS, &OWNER) {
        Err(BitmapError::Page { page_number, error }) => (page_number, error),
        other => panic!("loaded: {other:?}"),
    };
    let mut rotten = good.clone();
    rotten[PAGE_BYTES + 500] ^= 1;
    assert!(matches!(error_of(&rotten), (1, PageError::Checksum { .. })));
    let mut swapped = good.clone();
    swapped.rotate_left(PAGE_BYTES);
    assert_eq!(error_of(&swapped), (0, PageError::Misplaced { found: 1, expected: 0 }));
    let newer = written(&mut bitmap, &PageIdentity { attach_number: 4, ..OWNER });
    assert_eq!(error_of(&newer), (0, PageError::OtherAttach { found: 4, newest: 3 }));
    let short = Bitmap::load(&good[..PAGE_BYTES], 2 * BITMAP_PAGE_BITS, &OWNER);
    assert_eq!(short, Err(BitmapError::Length { found_bytes: 4096, expected_bytes: 8192 }));
}

#[test]
fn one_page_restored_from_an_older_copy_changes_the_digest() {
    let mut bitmap = Bitmap::new(2 * BITMAP_PAGE_BITS);
    let old = written(&mut bitmap, &OWNER);
    bitmap.set(blocks(BITMAP_PAGE_BITS + 7, 1));
    let mut mixed = written(&mut bitmap, &OWNER);
    let digest = bitmap.digest();
    let loaded = Bitmap::load(&mixed, bitmap.blocks(), &OWNER).expect("good pages");
    assert_eq!(loaded.digest(), digest);
    mixed[PAGE_BYTES..].copy_from_slice(&old[PAGE_BYTES..]);
    let restored = Bitmap::load(&mixed, bitmap.blocks(), &OWNER).expect("each page is intact");
    assert_ne!(restored.digest(), digest);
}

#[test]
fn the_digest_does_not_depend_on_headers_but_on_the_size() {
    assert_eq!(Bitmap::new(64).digest(), Bitmap::new(64).digest());
    assert_ne!(Bitmap::new(63).digest(), Bitmap::new(64).digest());
}

#[test]
fn growing_adds_clear_blocks_and_shrinking_drops_the_rest() {
    let mut bitmap = Bitmap::all_set(100);
    written(&mut bitmap, &OWNER);
    bitmap.resize(BITMAP_PAGE_BITS + 10);
    assert_eq!((bitmap.count(), bitmap.page_count()), (100, 2));
    assert_eq!((bitmap.next_dirty_page(0), bitmap.next_dirty_page(1)), (Some(0), Some(1)));
    bitmap.set(blocks(100, BITMAP_PAGE_BITS));
    bitmap.resize(70);
    assert_eq!((bitmap.count(), bitmap.blocks(), bitmap.page_count()), (70, 70, 1));
    bitmap.resize(130);
    assert_eq!(runs_of(&bitmap), [blocks(0, 70)], "what was cut does not come back");
}

#[test]
fn bits_left_past_the_end_by_a_broken_resize_are_dropped_and_written_over() {
    let mut grown = Bitmap::all_set(200);
    let bytes = written(&mut grown, &OWNER);
    let mut bitmap = Bitmap::load(&bytes, 70, &OWNER).expect("good pages");
    assert_eq!((bitmap.count(), bitmap.next_dirty_page(0)), (70, Some(0)));
    let again = written(&mut bitmap, &OWNER);
    let clean = Bitmap::load(&again, 70, &OWNER).expect("good pages");
    assert_eq!((clean.count(), clean.next_dirty_page(0)), (70, None));
}
