//! Amounts for people: sizes in binary units, times as a clock shows them.

use std::time::Duration;

const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// A size: whole bytes and KiB, one decimal above. Rounded down, so that "1.0 GiB" is really there.
#[must_use]
pub fn size(bytes: u64) -> String {
    let power = (bytes.max(1).ilog2() / 10) as usize;
    let unit = UNITS[power];
    if power <= 1 {
        return format!("{} {unit}", bytes >> (10 * power));
    }
    // Whole units and tenths apart: in one product u64 would overflow.
    let whole = bytes >> (10 * power);
    let rest_1024ths = (bytes >> (10 * (power - 1))) & 0x3ff;
    format!("{whole}.{} {unit}", rest_1024ths * 10 / 1024)
}

/// A time as `m:ss` or `h:mm:ss`, rounded up to a second: what is not over is not 0:00.
#[must_use]
pub fn clock(time: Duration) -> String {
    let s = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    let (hours, minutes, seconds) = (s / 3600, s / 60 % 60, s % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary_and_rounded_down() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (96 << 10, "96 KiB"),
            (1 << 20, "1.0 MiB"),
            ((1 << 30) - 1, "1023.9 MiB"),
            (3 << 29, "1.5 GiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn times_are_rounded_up_to_a_second() {
        assert_eq!(clock(Duration::ZERO), "0:00");
        assert_eq!(clock(Duration::from_millis(1)), "0:01");
        assert_eq!(clock(Duration::from_secs(61)), "1:01");
        assert_eq!(clock(Duration::from_secs(3661)), "1:01:01");
    }
}
