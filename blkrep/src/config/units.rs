//! Amounts as an administrator writes them: sizes ("64M"), times ("10s"), and back again.
//!
//! Sizes are binary, as in DRBD ("100M" is 100 MiB). A number without a unit is refused, because
//! DRBD's own options count in seconds, tenths of seconds, sectors, pages or KiB, and nobody
//! remembers which in what.

use std::time::Duration;

/// How a size has to look, for error messages.
pub const SIZE_FORM: &str = "a whole number with a binary unit (B, K, M, G, T), like \"64M\"";
/// How a time has to look, for error messages.
pub const TIME_FORM: &str = "a whole number with a unit (ms, s, min, h), like \"10s\" or \"500ms\"";

const SIZE_UNITS: [(&str, u64); 5] =
    [("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10), ("B", 1)];
const TIME_UNITS_MS: [(&str, u64); 4] = [("h", 3_600_000), ("min", 60_000), ("s", 1000), ("ms", 1)];

/// Reads a size in bytes; none when it has no unit, is no whole number or does not fit.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let factor = SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?.1;
    number.checked_mul(factor)
}

/// Writes a size exactly, in the largest unit that divides it: [`parse_size`] reads it back.
#[must_use]
pub fn write_size(bytes: u64) -> String {
    write_exact(bytes, &SIZE_UNITS, "B")
}

/// Reads a time; "0" needs no unit. None when it has no unit, is no whole number or does not fit.
#[must_use]
pub fn parse_time(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (number, unit) = split(text)?;
    let factor_ms = TIME_UNITS_MS.iter().find(|(name, _)| *name == unit)?.1;
    number.checked_mul(factor_ms).map(Duration::from_millis)
}

/// Writes a time exactly to the millisecond, in the largest unit that divides it.
#[must_use]
pub fn write_time(time: Duration) -> String {
    write_exact(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), &TIME_UNITS_MS, "s")
}

fn write_exact(amount: u64, units: &[(&str, u64)], unit_of_zero: &str) -> String {
    if amount == 0 {
        return format!("0{unit_of_zero}");
    }
    let (unit, factor) = units
        .iter()
        .find(|(_, factor)| amount.is_multiple_of(*factor))
        .expect("invariant: the smallest unit is 1 and divides everything");
    format!("{}{unit}", amount / factor)
}

fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary_and_their_unit_may_be_small() {
        assert_eq!(parse_size("100M"), Some(100 << 20));
        assert_eq!(parse_size("512k"), Some(512 << 10));
        assert_eq!(parse_size("7 B"), Some(7));
    }

    #[test]
    fn sizes_without_unit_with_fraction_or_too_large_are_refused() {
        for bad in ["100", "1.5G", "M", "", "-1M", "100X", "100Mi", "99999999999T"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }

    #[test]
    fn times_need_a_unit_unless_they_are_zero() {
        assert_eq!(parse_time("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse_time("2min"), Some(Duration::from_secs(120)));
        assert_eq!(parse_time("0"), Some(Duration::ZERO));
        for bad in ["10", "10 sec", "1.5s", "s", "-1s", "10S"] {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_written_is_read_back_as_the_same_amount() {
        for bytes in [0, 1, 1023, 1024, 3 << 20, (1 << 40) + 512, u64::MAX] {
            assert_eq!(parse_size(&write_size(bytes)), Some(bytes));
        }
        for ms in [0, 1, 999, 1000, 61_000, 7_200_000] {
            let time = Duration::from_millis(ms);
            assert_eq!(parse_time(&write_time(time)), Some(time));
        }
        assert_eq!(write_size(64 << 20), "64M");
        assert_eq!(write_time(Duration::from_secs(120)), "2min");
    }
}
