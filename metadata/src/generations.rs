//! The generation identifiers of a replica: which data this is and where it comes from (rule G1).

/// Current identifier that `create-md` writes: there is no data yet (DRBD: `UUID_JUST_CREATED`).
pub const JUST_CREATED: u64 = 4;
/// Bit 0 of the current identifier records "I was primary"; it is no part of the identity (DRBD
/// user guide, "Generation identifiers").
pub const PRIMARY_BIT: u64 = 1;

/// The tuple of rule G1 (DRBD user guide, "The GI tuple"). All four are random 64-bit numbers
/// except for 0 and [`JUST_CREATED`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Generations {
    /// The generation of the local data, with [`PRIMARY_BIT`].
    pub current: u64,
    /// The generation that the bitmap counts changes against; 0 while connected and in sync.
    pub bitmap: u64,
    /// Older generations, newest first.
    pub history: [u64; 2],
}

impl Generations {
    /// What `create-md` writes: no data, no past.
    #[must_use]
    pub const fn just_created() -> Self {
        Self { current: JUST_CREATED, bitmap: 0, history: [0; 2] }
    }

    /// True when no data was ever declared good here. 0 counts like [`JUST_CREATED`], as in DRBD.
    #[must_use]
    pub const fn is_just_created(&self) -> bool {
        let identity = self.current & !PRIMARY_BIT;
        identity == JUST_CREATED || identity == 0
    }

    /// True when the data was last written here as primary.
    #[must_use]
    pub const fn was_primary(&self) -> bool {
        self.current & PRIMARY_BIT != 0
    }
}

/// True when both name the same generation; [`PRIMARY_BIT`] is masked, as in every comparison of
/// DRBD.
#[must_use]
pub const fn same_generation(one: u64, other: u64) -> bool {
    one & !PRIMARY_BIT == other & !PRIMARY_BIT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_primary_bit_is_no_part_of_the_identity() {
        assert!(same_generation(0xabc0, 0xabc1));
        assert!(!same_generation(0xabc0, 0xabc2));
    }

    #[test]
    fn fresh_metadata_is_just_created_with_and_without_the_primary_bit() {
        let mut fresh = Generations::just_created();
        assert!(fresh.is_just_created() && !fresh.was_primary());
        fresh.current |= PRIMARY_BIT;
        assert!(fresh.is_just_created() && fresh.was_primary());
        fresh.current = 0;
        assert!(fresh.is_just_created());
        fresh.current = 6;
        assert!(!fresh.is_just_created());
    }
}
