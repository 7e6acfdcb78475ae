//! Random numbers of a test, replayable from the seed that the test prints.

use std::time::{SystemTime, UNIX_EPOCH};

/// Environment variable that sets the seed of a random test, in decimal or as `0x` and hex digits.
pub const SEED_VARIABLE: &str = "BLKREP_TEST_SEED";

/// A generator (splitmix64). Equal seeds give equal numbers.
#[derive(Debug, Clone)]
pub struct Seeded {
    state: u64,
}

impl Seeded {
    /// From a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// From [`SEED_VARIABLE`] or else from the clock; prints the seed.
    ///
    /// # Panics
    /// When the variable is set and no number.
    #[must_use]
    pub fn announced() -> Self {
        let seed = match std::env::var(SEED_VARIABLE) {
            Ok(text) => parse(&text).unwrap_or_else(|| {
                panic!("{SEED_VARIABLE} is '{text}'; write a number, like 0x1f")
            }),
            Err(_) => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_nanos() as u64),
        };
        println!("seed {seed:#x} ({SEED_VARIABLE} repeats it)");
        Self::new(seed)
    }

    /// A seed that begins the same numbers.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.state
    }

    /// The next number.
    pub const fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`.
    ///
    /// # Panics
    /// When `limit` is 0.
    pub const fn below(&mut self, limit: u64) -> u64 {
        self.next_u64() % limit
    }

    /// `bytes` random bytes.
    #[must_use]
    pub fn bytes(&mut self, bytes: usize) -> Vec<u8> {
        let mut out: Vec<u8> =
            (0..bytes.div_ceil(8)).flat_map(|_| self.next_u64().to_le_bytes()).collect();
        out.truncate(bytes);
        out
    }
}

fn parse(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_bytes_and_different_seeds_do_not() {
        assert_eq!(Seeded::new(7).bytes(33), Seeded::new(7).bytes(33));
        assert_ne!(Seeded::new(7).bytes(33), Seeded::new(8).bytes(33));
        assert_eq!(Seeded::new(7).bytes(33).len(), 33);
    }

    #[test]
    fn a_seed_is_read_as_it_is_printed() {
        assert_eq!(parse("0x1f"), Some(31));
        assert_eq!(parse("31"), Some(31));
        assert_eq!(parse("f"), None);
    }
}
