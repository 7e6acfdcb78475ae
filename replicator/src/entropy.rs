//! Random numbers from a seed that comes in from outside: nonces and identifiers, reproducible in
//! the simulator.

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// HMAC-SHA-256 of a counter under a secret seed: as unpredictable as the seed.
#[derive(Debug, Clone)]
pub(crate) struct Entropy {
    seed: [u8; 32],
    drawn: u64,
}

impl Entropy {
    pub(crate) const fn new(seed: [u8; 32]) -> Self {
        Self { seed, drawn: 0 }
    }

    /// 32 fresh bytes.
    pub(crate) fn bytes(&mut self) -> [u8; 32] {
        self.drawn += 1;
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.seed)
            .expect("invariant: HMAC takes keys of any length");
        mac.update(&self.drawn.to_le_bytes());
        mac.finalize().into_bytes().into()
    }

    /// A fresh identifier of a generation: never a special value (0, 4), bit 0 clear (drbd-facts
    /// 1.1).
    pub(crate) fn generation(&mut self) -> u64 {
        loop {
            let bytes = self.bytes();
            let drawn =
                u64::from_le_bytes(bytes[..8].try_into().expect("invariant: 8 of 32 bytes"));
            let identifier = drawn & !1;
            if identifier > 1024 {
                return identifier;
            }
        }
    }
}
