//! Which of the two copies of the superblock counts.

use thiserror::Error;

use super::{Superblock, SuperblockError};
use crate::page::Page;

/// Why neither copy can be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ChooseError {
    /// Both copies are bad.
    #[error(
        "no usable superblock: copy 0: {copy_0}; copy 1: {copy_1}. If the metadata are lost, \
         write new ones with create-md and let the peer copy everything"
    )]
    NoneUsable {
        /// What is wrong with the first copy.
        copy_0: SuperblockError,
        /// What is wrong with the second copy.
        copy_1: SuperblockError,
    },
    /// Both are intact, but not of one replica: a `create-md` broke off between the two writes.
    #[error(
        "the two copies of the superblock are of different replicas (instance \
         {instance_0:#018x} and {instance_1:#018x}): a create-md was interrupted, run it again"
    )]
    TwoReplicas {
        /// Instance of copy 0.
        instance_0: u64,
        /// Instance of copy 1.
        instance_1: u64,
    },
}

/// The newest intact copy of the two; `page_0` was read at the place of copy 0 and `page_1` at that
/// of copy 1.
///
/// # Errors
/// [`ChooseError`] names what is wrong with each.
pub fn choose(page_0: &Page, page_1: &Page) -> Result<Superblock, ChooseError> {
    match (Superblock::decode_copy(page_0, 0), Superblock::decode_copy(page_1, 1)) {
        (Ok(first), Ok(second)) => newest(first, second),
        (Ok(only), Err(_)) | (Err(_), Ok(only)) => Ok(only),
        (Err(copy_0), Err(copy_1)) => Err(ChooseError::NoneUsable { copy_0, copy_1 }),
    }
}

fn newest(first: Superblock, second: Superblock) -> Result<Superblock, ChooseError> {
    let owner = |copy: &Superblock| (copy.resource_tag, copy.instance_id, copy.node_id);
    if owner(&first) != owner(&second) {
        return Err(ChooseError::TwoReplicas {
            instance_0: first.instance_id,
            instance_1: second.instance_id,
        });
    }
    Ok(if second.sequence > first.sequence { second } else { first })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::PageError;
    use crate::superblock::tests::sample;
    use crate::superblock::write_order;
    use crate::units::PAGE_BYTES;

    #[test]
    fn the_newer_copy_wins_wherever_it_lies() {
        let old = sample();
        let mut new = sample();
        new.sequence += 1;
        assert_eq!(choose(&new.encode(0), &old.encode(1)), Ok(new.clone()));
        assert_eq!(choose(&old.encode(0), &new.encode(1)), Ok(new));
    }

    #[test]
    fn an_update_torn_in_either_copy_leaves_the_old_or_the_new_superblock() {
        let old = sample();
        let mut new = sample();
        new.sequence += 1;
        new.generations.current = 0x77;
        for cut in 1..288 {
            let torn = |copy| {
                let mut page = old.encode(copy);
                page[..cut].copy_from_slice(&new.encode(copy)[..cut]);
                page
            };
            // A cut after the last byte that differs is a write that was completed.
            let of_copy_0 = if torn(0) == new.encode(0) { &new } else { &old };
            let first_torn = choose(&torn(0), &old.encode(1));
            assert_eq!(first_torn.as_ref(), Ok(of_copy_0), "cut at {cut}");
            let second_torn = choose(&new.encode(0), &torn(1));
            assert_eq!(second_torn, Ok(new.clone()), "cut at {cut}");
        }
    }

    #[test]
    fn however_often_updates_are_cut_one_copy_is_good() {
        // Every sequence of eight updates, each cut in its first copy, in its second, or not at
        // all.
        for cuts in 0..3_u32.pow(8) {
            let block = sample();
            let mut copies = [block.encode(0), block.encode(1)];
            let mut choice = cuts;
            for _ in 0..8 {
                let mut next = choose(&copies[0], &copies[1]).expect("one copy is good");
                next.sequence += 1;
                let [first, second] = write_order(next.sequence);
                let garbage = [0x5a; PAGE_BYTES];
                let whole = |copy| next.encode(copy);
                match choice % 3 {
                    0 => copies[usize::from(first)] = garbage,
                    1 => {
                        copies[usize::from(first)] = whole(first);
                        copies[usize::from(second)] = garbage;
                    }
                    _ => copies = [whole(0), whole(1)],
                }
                choice /= 3;
            }
            assert!(choose(&copies[0], &copies[1]).is_ok(), "cuts {cuts}");
        }
    }

    #[test]
    fn two_bad_copies_are_both_named() {
        let error = choose(&[0; PAGE_BYTES], &[7; PAGE_BYTES]).expect_err("two bad pages");
        let copy_0 = SuperblockError::Page(PageError::Blank);
        let copy_1 = SuperblockError::Page(PageError::Foreign { found: [7; 8] });
        assert_eq!(error, ChooseError::NoneUsable { copy_0, copy_1 });
        assert!(
            error.to_string().contains("copy 0: blank") && error.to_string().contains("create-md")
        );
    }

    #[test]
    fn copies_in_each_others_place_are_refused() {
        let block = sample();
        let error = choose(&block.encode(1), &block.encode(0)).expect_err("swapped copies");
        let copy_0 = SuperblockError::Page(PageError::Misplaced { found: 1, expected: 0 });
        let copy_1 = SuperblockError::Page(PageError::Misplaced { found: 0, expected: 1 });
        assert_eq!(error, ChooseError::NoneUsable { copy_0, copy_1 });
    }

    #[test]
    fn an_interrupted_create_md_is_not_taken_for_an_older_copy() {
        let old = sample();
        let mut new = sample();
        new.instance_id += 1;
        new.sequence = 1;
        assert!(matches!(
            choose(&new.encode(0), &old.encode(1)),
            Err(ChooseError::TwoReplicas { .. })
        ));
    }
}
