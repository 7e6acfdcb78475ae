//! The progress of a resync: its percentage, and a bar for terminals.

use super::amounts::{clock, size};
use metadata::units::BLOCK_BYTES;
use replicator::status::SyncProgress;

/// Width of the bar between its brackets, in characters.
const BAR_CHARS: u64 = 20;

/// How much of the resync is done, in hundredths of a percent. Not 100 % while anything is left.
#[must_use]
pub fn done_percent_100ths(sync: &SyncProgress) -> u64 {
    // Writes while not mirrored may add blocks: never below zero.
    let done = u128::from(sync.total_blocks.saturating_sub(sync.left_blocks));
    let total = u128::from(sync.total_blocks.max(1));
    u64::try_from(done * 10_000 / total).expect("invariant: a part is no more than the whole")
}

/// One line: bar, percent, what is left, rate, time left and what holds it back.
#[must_use]
pub fn bar(sync: &SyncProgress) -> String {
    let percent_100ths = done_percent_100ths(sync);
    let filled = percent_100ths * BAR_CHARS / 10_000;
    let bar: String = (0..BAR_CHARS)
        .map(|at| match at {
            at if at < filled => '=',
            at if at == filled => '>',
            _ => '.',
        })
        .collect();
    let eta = sync.eta.map_or_else(|| "stalled".to_owned(), |eta| format!("ETA {}", clock(eta)));
    let equal = match sync.equal_blocks {
        0 => String::new(),
        blocks => format!("  {} equal", size(blocks * BLOCK_BYTES)),
    };
    format!(
        "[{bar}] {:>3}.{}%  {} of {} left  {}/s  {eta}  limited by {}{equal}",
        percent_100ths / 100,
        percent_100ths % 100 / 10,
        size(sync.left_blocks * BLOCK_BYTES),
        size(sync.total_blocks * BLOCK_BYTES),
        size(sync.bytes_per_s),
        sync.limited_by,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::sample_status;

    #[test]
    fn half_way_looks_half_way() {
        let sync = sample_status().sync.unwrap();
        assert_eq!(
            bar(&sync),
            "[==========>.........]  50.0%  512.0 MiB of 1.0 GiB left  100.0 MiB/s  ETA 0:06  \
             limited by target-disk"
        );
    }

    #[test]
    fn what_was_equal_is_shown_where_there_is_some() {
        let mut sync = sample_status().sync.unwrap();
        sync.equal_blocks = 256;
        assert!(bar(&sync).ends_with("limited by target-disk  1.0 MiB equal"));
    }

    #[test]
    fn one_block_left_is_not_done_and_nothing_left_is() {
        let mut sync = sample_status().sync.unwrap();
        sync.left_blocks = 1;
        assert_eq!(done_percent_100ths(&sync), 9999);
        sync.left_blocks = 0;
        assert_eq!(done_percent_100ths(&sync), 10_000);
        assert!(bar(&sync).starts_with("[====================] 100.0%"));
        sync.left_blocks = sync.total_blocks + 5;
        sync.eta = None;
        assert!(bar(&sync).starts_with("[>...................]   0.0%"));
        assert!(bar(&sync).contains("stalled"));
    }
}
