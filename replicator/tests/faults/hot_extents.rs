//! What the activity log costs: nothing for a write into a hot extent, one transaction for all the
//! activations that wait (D1).

use crate::pair::{ALPHA, Fate, Pair};
use metadata::units::EXTENT_BYTES;

const EXTENTS: u64 = 6;

#[test]
fn a_write_into_a_hot_extent_costs_no_metadata_io() {
    let mut pair = Pair::in_sync(EXTENTS * EXTENT_BYTES);
    let first = pair.write(ALPHA, 0);
    pair.settle();
    assert_eq!(pair.reply(ALPHA, first), Some(Ok(())));
    pair.hosts[ALPHA].metadata = Fate::Hangs;
    for offset_bytes in [0, 64 << 10, EXTENT_BYTES / 2] {
        let hot = pair.write(ALPHA, offset_bytes);
        pair.settle();
        assert_eq!(pair.reply(ALPHA, hot), Some(Ok(())), "it waits for metadata");
    }
    assert_eq!(pair.metadata_ios_open(ALPHA), 0);
    let cold = pair.write(ALPHA, EXTENT_BYTES);
    pair.settle();
    assert_eq!(pair.reply(ALPHA, cold), None, "a cold extent is not logged first");
}

#[test]
fn activations_that_wait_are_committed_together() {
    let mut pair = Pair::in_sync(EXTENTS * EXTENT_BYTES);
    pair.hosts[ALPHA].metadata = Fate::Hangs;
    let writes: Vec<_> = (0..4).map(|extent| pair.write(ALPHA, extent * EXTENT_BYTES)).collect();
    pair.settle();
    // The first is on its way; the others wait for it, not each for its own.
    assert_eq!(pair.metadata_ios_open(ALPHA), 1);
    pair.complete_oldest_metadata_io(ALPHA);
    assert_eq!(pair.reply(ALPHA, writes[0]), Some(Ok(())));
    assert_eq!(pair.metadata_ios_open(ALPHA), 1);
    pair.complete_oldest_metadata_io(ALPHA);
    for write in &writes {
        assert_eq!(pair.reply(ALPHA, *write), Some(Ok(())));
    }
    assert_eq!(pair.metadata_ios_open(ALPHA), 0);
}
