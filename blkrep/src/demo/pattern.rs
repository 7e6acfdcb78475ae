//! Numbered blocks: what the failover demo writes, and how it knows a block again.

use metadata::units::BLOCK_BYTES;

/// One block.
pub(super) type Block = [u8; BLOCK_BYTES as usize];

/// The content of block number `number` of the run `run`: no two blocks and no two runs are alike.
pub(super) fn block(run: u64, number: u64) -> Block {
    let mut block = [0; BLOCK_BYTES as usize];
    // SplitMix64 from a start that depends on both.
    let mut state = run ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for word in block.chunks_exact_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
    }
    block
}

/// What a block of the device may hold after the failover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expectation {
    /// Never written: zeroes.
    Untouched,
    /// Sent and not acknowledged: zeroes or the number, nothing in between.
    InFlight,
    /// Acknowledged: the number.
    Acknowledged,
}

impl Expectation {
    /// True when `found` is what block `number` may hold.
    pub(super) fn allows(self, run: u64, number: u64, found: &[u8]) -> bool {
        let is_zero = || found.iter().all(|byte| *byte == 0);
        let is_new = || found == block(run, number);
        match self {
            Self::Untouched => is_zero(),
            Self::InFlight => is_zero() || is_new(),
            Self::Acknowledged => is_new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_runs_are_told_apart() {
        assert_ne!(block(1, 1), block(1, 2));
        assert_ne!(block(1, 1), block(2, 1));
        assert_eq!(block(7, 9), block(7, 9));
    }

    #[test]
    fn a_lost_a_torn_and_a_stray_block_are_noticed() {
        let zero = [0; BLOCK_BYTES as usize];
        let mut torn = block(1, 5);
        torn[2048..].fill(0);
        assert!(!Expectation::Acknowledged.allows(1, 5, &zero));
        assert!(!Expectation::Acknowledged.allows(1, 5, &block(1, 6)));
        assert!(!Expectation::InFlight.allows(1, 5, &torn));
        assert!(!Expectation::Untouched.allows(1, 5, &block(1, 5)));
        assert!(Expectation::Acknowledged.allows(1, 5, &block(1, 5)));
        assert!(Expectation::InFlight.allows(1, 5, &zero));
        assert!(Expectation::Untouched.allows(1, 5, &zero));
    }
}
