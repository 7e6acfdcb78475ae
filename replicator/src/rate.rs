//! A cap on bytes per second: a bucket that fills with time and is emptied by requests.

use crate::ids::Moment;
use std::time::Duration;

/// The bucket never holds more than this much time's worth, so a pause is not followed by a flood.
const BURST: Duration = Duration::from_millis(100);

/// Tokens are bytes.
#[derive(Debug)]
pub(crate) struct Rate {
    bytes_per_s: u64,
    tokens: i64,
    filled: Moment,
}

impl Rate {
    pub(crate) fn new(bytes_per_s: u64, now: Moment) -> Self {
        Self { bytes_per_s: bytes_per_s.max(1), tokens: 0, filled: now }
    }

    /// True when something may pass, else when to ask again. What is larger than the bucket goes
    /// when anything is in it, and is paid for afterwards.
    pub(crate) fn ready(&mut self, now: Moment) -> Result<(), Moment> {
        let passed = now.since(self.filled);
        self.filled = now;
        let burst = Self::bytes_in(self.bytes_per_s, BURST);
        self.tokens = (self.tokens + Self::bytes_in(self.bytes_per_s, passed)).min(burst);
        if self.tokens <= 0 {
            let missing = u64::try_from(1 - self.tokens).unwrap_or(1);
            let micros = missing.saturating_mul(1_000_000).div_ceil(self.bytes_per_s);
            return Err(now.after(Duration::from_micros(micros.max(1))));
        }
        Ok(())
    }

    /// So many bytes have passed.
    pub(crate) fn spend(&mut self, bytes: u64) {
        self.tokens -= i64::try_from(bytes).unwrap_or(i64::MAX / 2);
    }

    fn bytes_in(bytes_per_s: u64, time: Duration) -> i64 {
        let bytes = u128::from(bytes_per_s) * time.as_micros() / 1_000_000;
        i64::try_from(bytes.min(1 << 50)).unwrap_or(i64::MAX / 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_ten_seconds_no_more_than_the_rate_passes() {
        let mut rate = Rate::new(1 << 20, Moment(0));
        let mut now = Moment(0);
        let mut passed = 0_u64;
        while now < Moment(10_000_000) {
            match rate.ready(now) {
                Ok(()) => {
                    rate.spend(128 << 10);
                    passed += 128 << 10;
                }
                Err(again) => {
                    assert!(again > now);
                    now = again;
                }
            }
        }
        let allowed = 10 << 20;
        assert!(passed <= allowed + (512 << 10), "{passed} of {allowed}");
        assert!(passed >= allowed - (512 << 10), "{passed} of {allowed}");
    }
}
