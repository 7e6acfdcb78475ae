//! Random numbers from a seed that every failure names, so that a run can be repeated.

use std::hash::{BuildHasher, RandomState};

/// The variable that repeats a run: `NBD_TEST_SEED=123`.
const SEED_VARIABLE: &str = "NBD_TEST_SEED";

/// A generator (xorshift64*). Not for secrets.
#[derive(Debug, Clone)]
pub(crate) struct Seeded {
    state: u64,
}

impl Seeded {
    /// From a seed of any value.
    pub(crate) fn new(seed: u64) -> Seeded {
        Seeded { state: seed ^ 0x9e37_79b9_7f4a_7c15 | 1 }
    }

    /// From [`SEED_VARIABLE`], or else from a fresh seed; the seed is printed.
    pub(crate) fn announced() -> Seeded {
        let given = std::env::var(SEED_VARIABLE).ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| RandomState::new().hash_one("seed") >> 32);
        println!("repeat with {SEED_VARIABLE}={seed}");
        Seeded::new(seed)
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`, which is not zero.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 16) % end
    }

    /// So many random bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(count + 8);
        while out.len() < count {
            out.extend(self.next().to_le_bytes());
        }
        out.truncate(count);
        out
    }
}
