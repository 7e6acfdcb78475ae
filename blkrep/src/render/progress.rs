//! The progress of a resync or a verify: its percentage, and a bar for terminals.

use super::amounts::{clock, size};
use metadata::units::BLOCK_BYTES;
use replicator::status::{SyncProgress, VerifyProgress};
use std::time::Duration;

/// Width of the bar between its brackets, in characters.
const BAR_CHARS: u64 = 20;

/// How much of the resync is done, in hundredths of a percent. Not 100 % while anything is left.
#[must_use]
pub fn done_percent_100ths(sync: &SyncProgress) -> u64 {
    hundredths(sync.total_blocks, sync.left_blocks)
}

/// How much of the verify is done, in hundredths of a percent.
#[must_use]
pub fn verified_percent_100ths(verify: &VerifyProgress) -> u64 {
    hundredths(verify.total_blocks, verify.left_blocks)
}

fn hundredths(total_blocks: u64, left_blocks: u64) -> u64 {
    // Writes while not mirrored may add blocks: never below zero.
    let done = u128::from(total_blocks.saturating_sub(left_blocks));
    let total = u128::from(total_blocks.max(1));
    u64::try_from(done * 10_000 / total).expect("invariant: a part is no more than the whole")
}

/// What both bars have in common.
struct Moving {
    total_blocks: u64,
    left_blocks: u64,
    bytes_per_s: u64,
    eta: Option<Duration>,
    limited_by: &'static str,
}

/// One line: bar, percent, what is left, rate, time left and what holds it back.
#[must_use]
pub fn bar(sync: &SyncProgress) -> String {
    let equal = match sync.equal_blocks {
        0 => String::new(),
        blocks => format!("  {} equal", size(blocks * BLOCK_BYTES)),
    };
    let moving = Moving {
        total_blocks: sync.total_blocks,
        left_blocks: sync.left_blocks,
        bytes_per_s: sync.bytes_per_s,
        eta: sync.eta,
        limited_by: sync.limited_by,
    };
    line(&moving, &equal)
}

/// The same for a verify, and how much was found.
#[must_use]
pub fn verify_bar(verify: &VerifyProgress) -> String {
    let found = match verify.differing_blocks {
        0 => String::new(),
        blocks => format!("  {} out of sync", size(blocks * BLOCK_BYTES)),
    };
    let moving = Moving {
        total_blocks: verify.total_blocks,
        left_blocks: verify.left_blocks,
        bytes_per_s: verify.bytes_per_s,
        eta: verify.eta,
        limited_by: verify.limited_by,
    };
    line(&moving, &found)
}

fn line(moving: &Moving, more: &str) -> String {
    let percent_100ths = hundredths(moving.total_blocks, moving.left_blocks);
    let filled = percent_100ths * BAR_CHARS / 10_000;
    let bar: String = (0..BAR_CHARS)
        .map(|at| match at {
            at if at < filled => '=',
            at if at == filled => '>',
            _ => '.',
        })
        .collect();
    let eta = moving.eta.map_or_else(|| "stalled".to_owned(), |eta| format!("ETA {}", clock(eta)));
    format!(
        "[{bar}] {:>3}.{}%  {} of {} left  {}/s  {eta}  limited by {}{more}",
        percent_100ths / 100,
        percent_100ths % 100 / 10,
        size(moving.left_blocks * BLOCK_BYTES),
        size(moving.total_blocks * BLOCK_BYTES),
        size(moving.bytes_per_s),
        moving.limited_by,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{progress_sample, sample_status};

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
    fn a_verify_has_the_same_bar_and_shows_what_it_found() {
        let mut verify = progress_sample();
        let text = "[==========>.........]  50.0%  512.0 MiB of 1.0 GiB left  100.0 MiB/s  ETA 0:06  \
                    limited by pause-sync";
        assert_eq!(verify_bar(&verify), format!("{text}  12 KiB out of sync"));
        verify.differing_blocks = 0;
        assert_eq!(verify_bar(&verify), text);
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
