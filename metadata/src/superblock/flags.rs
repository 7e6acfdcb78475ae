//! The flags of the superblock and their bits: the seven of DRBD and those of G1, G2 and D13.

/// What is known about the data of this replica besides its generation. All false on a fresh
/// replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    /// The data are of one point in time: better than Inconsistent. Cleared, durably, before the
    /// first resync write of a sync target (D9).
    pub consistent: bool,
    /// The data were the newest when last written: better than Outdated.
    pub was_up_to_date: bool,
    /// Somebody was primary: the disk may have been written, so the activity log counts at attach.
    /// Durable before the first write (D8).
    pub primary: bool,
    /// The peer was connected when this was written: chooses the startup timeout.
    pub connected: bool,
    /// Every bit of the bitmap was about to be set: to be done again at attach (D9).
    pub full_sync: bool,
    /// The peer is known to be Outdated or worse, so this node may come up UpToDate alone (G5).
    pub peer_outdated: bool,
    /// This node was primary when it went down without leave; cleared when both are in sync again
    /// (D8).
    pub crashed_primary: bool,
    /// This node lost power with something perhaps unflushed; cleared only when in sync (G1(a)).
    pub lost_power: bool,
    /// The peer may have taken my current identifier as its own: the next unmirrored
    /// acknowledgement needs a new generation first (G2).
    pub peer_may_hold_current: bool,
    /// The bitmap also covers what changed since the youngest history entry: a bitmap sync is
    /// enough (G1(b), G2).
    pub bitmap_covers_history: bool,
    /// The disk was detached cleanly and the digest of the bitmap counts; cleared by the next
    /// attach (D13).
    pub bitmap_clean: bool,
}

/// Number of flags: bits from 0 up, in the order of the fields.
const FLAG_COUNT: u32 = 11;

/// The names of the flags in the order of their bits, as `docs/format.md` has them. The first seven
/// are DRBD's, in the order in which `drbdmeta get-gi` prints them.
pub const FLAG_NAMES: [&str; FLAG_COUNT as usize] = [
    "consistent",
    "was-up-to-date",
    "primary",
    "connected",
    "full-sync",
    "peer-outdated",
    "crashed-primary",
    "lost-power",
    "peer-may-hold-current",
    "bitmap-covers-history",
    "bitmap-clean",
];

impl Flags {
    /// The bits on the disk: the first field is bit 0.
    #[must_use]
    pub fn to_bits(self) -> u32 {
        let Self {
            consistent,
            was_up_to_date,
            primary,
            connected,
            full_sync,
            peer_outdated,
            crashed_primary,
            lost_power,
            peer_may_hold_current,
            bitmap_covers_history,
            bitmap_clean,
        } = self;
        let flags: [bool; FLAG_COUNT as usize] = [
            consistent,
            was_up_to_date,
            primary,
            connected,
            full_sync,
            peer_outdated,
            crashed_primary,
            lost_power,
            peer_may_hold_current,
            bitmap_covers_history,
            bitmap_clean,
        ];
        flags.iter().rev().fold(0, |bits, &flag| bits << 1 | u32::from(flag))
    }

    /// The flags of `bits`; nothing when a bit is set that this version does not know.
    #[must_use]
    pub fn from_bits(bits: u32) -> Option<Self> {
        if bits >> FLAG_COUNT != 0 {
            return None;
        }
        let flag = |bit: u32| bits >> bit & 1 == 1;
        Some(Self {
            consistent: flag(0),
            was_up_to_date: flag(1),
            primary: flag(2),
            connected: flag(3),
            full_sync: flag(4),
            peer_outdated: flag(5),
            crashed_primary: flag(6),
            lost_power: flag(7),
            peer_may_hold_current: flag(8),
            bitmap_covers_history: flag(9),
            bitmap_clean: flag(10),
        })
    }

    /// Each flag by its name, in the order of [`FLAG_NAMES`].
    #[must_use]
    pub fn named(self) -> [(&'static str, bool); FLAG_NAMES.len()] {
        let bits = self.to_bits();
        std::array::from_fn(|bit| (FLAG_NAMES[bit], bits >> bit & 1 == 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_of_bits_survives_the_round_trip() {
        for bits in 0..1 << FLAG_COUNT {
            assert_eq!(Flags::from_bits(bits).map(Flags::to_bits), Some(bits));
        }
    }

    #[test]
    fn the_first_and_the_last_flag_lie_where_the_format_says() {
        assert_eq!(Flags { consistent: true, ..Flags::default() }.to_bits(), 1);
        assert_eq!(Flags { crashed_primary: true, ..Flags::default() }.to_bits(), 1 << 6);
        assert_eq!(Flags { bitmap_clean: true, ..Flags::default() }.to_bits(), 1 << 10);
    }

    #[test]
    fn every_flag_goes_by_the_name_that_the_format_gives_its_bit() {
        let format = include_str!("../../../docs/format.md");
        for (bit, name) in FLAG_NAMES.iter().enumerate() {
            assert!(format.contains(&format!("\n| {bit} | {name} | ")), "bit {bit}: {name}");
            let alone = Flags::from_bits(1 << bit).map(Flags::named).unwrap();
            assert!(alone.iter().all(|(found, is_set)| *is_set == (found == name)), "{alone:?}");
        }
    }

    #[test]
    fn a_bit_of_a_later_version_is_refused() {
        assert_eq!(Flags::from_bits(1 << FLAG_COUNT), None);
    }
}
