//! Which end of a disk counts: the one it has now, or one that it had before it grew (rule D20).

use super::{ChooseError, Superblock, choose};
use crate::layout::{Layout, Placement};
use crate::page::Page;

/// The pair of superblock pages read at one end of a disk.
#[derive(Debug, Clone)]
pub struct End {
    /// Size in bytes that the disk has, or had, with this end.
    pub device_bytes: u64,
    /// What lies at the places of copy 0 and copy 1.
    pub pages: [Page; 2],
}

/// The end that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundEnd {
    /// Its superblock.
    pub superblock: Superblock,
    /// Size of the disk that its layout follows from.
    pub device_bytes: u64,
    /// Places of pairs of this replica at other ends: a move that broke off before it voided the
    /// old pair. They must be voided before anything else is written.
    pub stale: Vec<[u64; 2]>,
}

/// Chooses between `ends`, the present one first, then those where the disk was known to end. Of
/// pairs of one replica the newest counts. A pair at a known end belongs to this node, so it wins
/// over one of another replica that lies at the present end: that was left there by somebody else.
///
/// # Errors
/// What is wrong with the pair at the present end, when there is no other.
///
/// # Panics
/// When `ends` is empty.
pub fn choose_end(ends: &[End]) -> Result<FoundEnd, ChooseError> {
    let (present, known) = ends.split_first().expect("invariant: a disk has an end");
    let known = known.iter().filter(|end| end.device_bytes != present.device_bytes);
    let old = known.filter_map(|end| usable_old(end).map(|found| (end.device_bytes, found)));
    let newest_old = old.max_by_key(|(_, found)| found.sequence);
    let at_present = choose(&present.pages[0], &present.pages[1]);
    let offsets = |bytes| Layout::superblock_offsets(Placement::Internal, bytes);
    let owner = |block: &Superblock| (block.resource_tag, block.instance_id, block.node_id);
    match (at_present, newest_old) {
        (Ok(now), Some((old_bytes, old)))
            if owner(&now) == owner(&old) && now.sequence >= old.sequence =>
        {
            let stale = vec![offsets(old_bytes)];
            Ok(FoundEnd { superblock: now, device_bytes: present.device_bytes, stale })
        }
        (Ok(now), Some((device_bytes, old))) if owner(&now) == owner(&old) => {
            let stale = vec![offsets(present.device_bytes)];
            Ok(FoundEnd { superblock: old, device_bytes, stale })
        }
        (Ok(_) | Err(_), Some((device_bytes, superblock))) => {
            Ok(FoundEnd { superblock, device_bytes, stale: Vec::new() })
        }
        (Ok(superblock), None) => {
            let device_bytes = present.device_bytes;
            Ok(FoundEnd { superblock, device_bytes, stale: Vec::new() })
        }
        (Err(error), None) => Err(error),
    }
}

/// A pair that lies where it belongs when the disk has that size; else it is a copy that data hold.
fn usable_old(end: &End) -> Option<Superblock> {
    let found = choose(&end.pages[0], &end.pages[1]).ok()?;
    let layout = Layout::internal(end.device_bytes, found.log).ok()?;
    (layout.data_bytes == found.capacity_bytes && found.device_bytes <= layout.data_bytes)
        .then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::superblock::tests::sample;
    use crate::units::PAGE_BYTES;

    const OLD_BYTES: u64 = 16 << 20;
    const NEW_BYTES: u64 = 32 << 20;

    fn block(device_bytes: u64, sequence: u64) -> Superblock {
        let mut block = sample();
        let layout = Layout::internal(device_bytes, block.log).expect("large enough");
        (block.sequence, block.capacity_bytes) = (sequence, layout.data_bytes);
        block.device_bytes = Layout::internal(OLD_BYTES, block.log).unwrap().data_bytes;
        block
    }

    fn end(device_bytes: u64, copies: [Option<&Superblock>; 2]) -> End {
        let page = |copy: usize| {
            copies[copy].map_or([0; PAGE_BYTES], |block| block.encode(u8::try_from(copy).unwrap()))
        };
        End { device_bytes, pages: [page(0), page(1)] }
    }

    /// Each state in which a crash can leave the move: the number of durable writes so far.
    #[test]
    fn f21_after_every_write_of_the_move_one_end_counts_and_the_other_is_named_for_voiding() {
        let (old, new) = (block(OLD_BYTES, 7), block(NEW_BYTES, 8));
        let states = [
            ([None, None], [Some(&old), Some(&old)], OLD_BYTES, false),
            ([Some(&new), None], [Some(&old), Some(&old)], NEW_BYTES, true),
            ([Some(&new), Some(&new)], [Some(&old), Some(&old)], NEW_BYTES, true),
            ([Some(&new), Some(&new)], [None, Some(&old)], NEW_BYTES, true),
            ([Some(&new), Some(&new)], [None, None], NEW_BYTES, false),
        ];
        for (step, (at_new, at_old, wanted, is_stale)) in states.into_iter().enumerate() {
            let found = choose_end(&[end(NEW_BYTES, at_new), end(OLD_BYTES, at_old)]).unwrap();
            assert_eq!(found.device_bytes, wanted, "step {step}");
            assert_eq!(!found.stale.is_empty(), is_stale, "step {step}");
        }
    }

    #[test]
    fn a_stranger_at_the_present_end_does_not_hide_the_own_pair_at_the_known_one() {
        let old = block(OLD_BYTES, 7);
        let mut stranger = block(NEW_BYTES, 900);
        stranger.instance_id += 1;
        let ends = [
            end(NEW_BYTES, [Some(&stranger), Some(&stranger)]),
            end(OLD_BYTES, [Some(&old), Some(&old)]),
        ];
        let found = choose_end(&ends).unwrap();
        assert_eq!((found.superblock, found.device_bytes), (old, OLD_BYTES));
        assert_eq!(found.stale, Vec::<[u64; 2]>::new());
    }

    #[test]
    fn an_older_pair_of_this_replica_left_at_a_larger_end_does_not_count() {
        let (old, rest) = (block(OLD_BYTES, 7), block(NEW_BYTES, 3));
        let ends = [end(NEW_BYTES, [Some(&rest), Some(&rest)]), end(OLD_BYTES, [Some(&old), None])];
        let found = choose_end(&ends).unwrap();
        assert_eq!((found.device_bytes, found.superblock.sequence), (OLD_BYTES, 7));
        assert_eq!(found.stale.len(), 1);
    }

    #[test]
    fn a_pair_that_data_hold_is_no_old_end() {
        // It says another capacity than a disk that ends there would have.
        let copied = block(64 << 20, 99);
        let new = block(NEW_BYTES, 8);
        let ends = [
            end(NEW_BYTES, [Some(&new), Some(&new)]),
            end(OLD_BYTES, [Some(&copied), Some(&copied)]),
        ];
        assert_eq!(choose_end(&ends).unwrap().device_bytes, NEW_BYTES);
        let nothing = [end(NEW_BYTES, [None, None]), end(OLD_BYTES, [Some(&copied), None])];
        assert!(choose_end(&nothing).is_err());
    }
}
