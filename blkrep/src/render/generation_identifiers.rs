//! The generation identifiers and flags of a replica, in the form of `drbdadm get-gi` and `show-gi`
//! (drbd-facts 1.2 and 6.2).

use metadata::{Flags, Generations};
use std::fmt::Write as _;

/// Flags that DRBD 8.4 has too: the first ones of the superblock, in its order.
const DRBD_FLAGS: usize = 7;
/// Characters of an identifier, its colon included.
const IDENTIFIER_COLUMNS: usize = 17;
/// Column below the middle of the first identifier, where its arrow ends.
const ARROW_COLUMN: usize = 7;
/// Characters that the longest name of a flag has.
const NAME_COLUMNS: usize = 21;

/// What each identifier is, in the order of the line.
const IDENTIFIER_WORDS: [&str; 4] = [
    "current: which data this disk holds (lowest bit: written as Primary)",
    "bitmap: what the bitmap counts changes against; 0 while in sync",
    "younger history: the generation before",
    "older history: the one before that",
];

/// What each of DRBD's flags says when it is 1.
const DRBD_FLAG_WORDS: [&str; DRBD_FLAGS] = [
    "consistent: one point in time, better than Inconsistent",
    "was-up-to-date: the newest data, better than Outdated",
    "primary-ind: was Primary; the activity log counts at attach",
    "connected-ind: the peer was connected",
    "full-sync: all bits of the bitmap were about to be set",
    "peer-outdated: the peer is known to be Outdated or worse",
    "crashed-primary: went down as Primary, was not in sync since",
];

/// What each flag that DRBD does not have says when it is 1.
const OWN_FLAG_WORDS: [&str; 4] = [
    "this node lost power with writes that were perhaps not flushed",
    "the peer may have taken the current generation; a new one is due before a write alone",
    "the bitmap also covers changes since the younger history: it is enough for a resync",
    "detached cleanly: the stored digest of the bitmap counts",
];

/// `CURRENT:BITMAP:YOUNGER:OLDER:` with 16 upper-case hex digits each, then the seven flags of DRBD
/// 8.4 as 0 or 1, and a line end.
#[must_use]
pub fn get_gi_line(generations: &Generations, flags: Flags) -> String {
    let Generations { current, bitmap, history: [younger, older] } = generations;
    let flags: Vec<&str> =
        flags.named()[..DRBD_FLAGS].iter().map(|(_, is_set)| digit(*is_set)).collect();
    format!("{current:016X}:{bitmap:016X}:{younger:016X}:{older:016X}:{}\n", flags.join(":"))
}

/// The same line with an arrow to each field, and a line for each flag that DRBD does not have.
#[must_use]
pub fn show_gi_text(generations: &Generations, flags: Flags) -> String {
    let mut text = String::from("\n");
    let mut line = |content: &str| {
        writeln!(text, "{content}").expect("invariant: a string takes every line");
    };
    let shafts = |count: usize| {
        let shaft = format!("|{}", " ".repeat(IDENTIFIER_COLUMNS - 1));
        format!("{}{}", " ".repeat(ARROW_COLUMN), shaft.repeat(count))
    };
    for (index, words) in IDENTIFIER_WORDS.iter().enumerate() {
        line(&format!("{}+--<  {words}  >", shafts(index)));
    }
    line(shafts(IDENTIFIER_WORDS.len()).replace('|', "V").trim_end());
    line(get_gi_line(generations, flags).trim_end());
    let first_flag_column = IDENTIFIER_WORDS.len() * IDENTIFIER_COLUMNS;
    line(&format!("{}{}", " ".repeat(first_flag_column), ["^"; DRBD_FLAGS].join(" ")));
    for (index, words) in DRBD_FLAG_WORDS.iter().enumerate() {
        let branch = format!("<  {words}  >--");
        let column = first_flag_column + 2 * index;
        line(&format!("{branch:>column$}+{}", " |".repeat(DRBD_FLAGS - 1 - index)));
    }
    line("");
    for ((name, is_set), words) in flags.named()[DRBD_FLAGS..].iter().zip(OWN_FLAG_WORDS) {
        line(&format!("{name:>NAME_COLUMNS$}: {}  {words}", digit(*is_set)));
    }
    text.push('\n');
    text
}

const fn digit(is_set: bool) -> &'static str {
    if is_set { "1" } else { "0" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Generations, Flags) {
        let generations = Generations {
            current: 0xfedc_ba98_7654_3211,
            bitmap: 0,
            history: [0x1234, 0xabc_0000_0000_0000],
        };
        let flags = Flags {
            consistent: true,
            was_up_to_date: true,
            connected: true,
            peer_may_hold_current: true,
            ..Flags::default()
        };
        (generations, flags)
    }

    #[test]
    fn the_line_has_four_identifiers_and_seven_flags_in_the_order_of_drbd() {
        let (generations, flags) = sample();
        assert_eq!(
            get_gi_line(&generations, flags),
            "FEDCBA9876543211:0000000000000000:0000000000001234:0ABC000000000000:1:1:0:1:0:0:0\n"
        );
        let last = Flags { crashed_primary: true, ..Flags::default() };
        assert_eq!(
            get_gi_line(&Generations::just_created(), last),
            "0000000000000004:0000000000000000:0000000000000000:0000000000000000:0:0:0:0:0:0:1\n"
        );
    }

    #[test]
    fn every_flag_of_the_superblock_is_explained() {
        let flags = Flags::default().named();
        assert_eq!(flags.len(), DRBD_FLAG_WORDS.len() + OWN_FLAG_WORDS.len());
        for ((name, _), words) in flags.iter().zip(DRBD_FLAG_WORDS) {
            assert!(words.starts_with(name), "'{words}' is not about {name}");
        }
        let legend = show_gi_text(&Generations::just_created(), Flags::default());
        let ends = legend.lines().filter_map(|line| line.find(">--+")).map(|at| at + 3);
        assert!(ends.eq((0..DRBD_FLAGS).map(|index| 68 + 2 * index)), "crooked:\n{legend}");
    }

    #[test]
    fn the_legend_points_at_the_fields() {
        let (generations, flags) = sample();
        assert_eq!(show_gi_text(&generations, flags), include_str!("show_gi_sample.txt"));
    }
}
