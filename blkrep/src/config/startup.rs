//! `[startup]`: how long the commands that wait for the peer wait, and for which cause (G6,
//! drbd-facts 2.8).

use replicator::state::StartupWait;
use std::time::Duration;

/// `[startup]`, as written; zero is for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Startup {
    /// `wfc-timeout`: after an orderly end.
    pub wfc_timeout: Duration,
    /// `degr-wfc-timeout`: this node was Primary without its peer when it went down.
    pub degr_wfc_timeout: Duration,
    /// `outdated-wfc-timeout`: the peer is known to be outdated.
    pub outdated_wfc_timeout: Duration,
    /// `wait-after-sb`: a split brain does not end the wait.
    pub wait_after_sb: bool,
}

/// A timeout and the key that says so.
pub type KeyAndTime = (&'static str, Duration);

impl Startup {
    /// What holds for such a start. As in DRBD, who has less to hope for never waits longer:
    /// `outdated-wfc-timeout` is no longer than `degr-wfc-timeout`, and that no longer than
    /// `wfc-timeout`. Zero is for ever.
    #[must_use]
    pub fn timeout(&self, wait: StartupWait) -> KeyAndTime {
        let normal = ("wfc-timeout", self.wfc_timeout);
        let degraded = shorter(normal, ("degr-wfc-timeout", self.degr_wfc_timeout));
        match wait {
            StartupWait::Normal => normal,
            StartupWait::Degraded => degraded,
            StartupWait::PeerOutdated => {
                shorter(degraded, ("outdated-wfc-timeout", self.outdated_wfc_timeout))
            }
        }
    }
}

/// `own`, unless it is longer than `cap`.
fn shorter(cap: KeyAndTime, own: KeyAndTime) -> KeyAndTime {
    let length = |(_, time): KeyAndTime| if time.is_zero() { Duration::MAX } else { time };
    if length(own) <= length(cap) { own } else { cap }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(seconds: [u64; 3]) -> [KeyAndTime; 3] {
        let [wfc_timeout, degr_wfc_timeout, outdated_wfc_timeout] =
            seconds.map(Duration::from_secs);
        let startup =
            Startup { wfc_timeout, degr_wfc_timeout, outdated_wfc_timeout, ..Startup::default() };
        [StartupWait::Normal, StartupWait::Degraded, StartupWait::PeerOutdated]
            .map(|wait| startup.timeout(wait))
    }

    #[test]
    fn each_start_has_its_timeout_and_none_waits_longer_than_a_better_one() {
        const KEYS: [&str; 3] = ["wfc-timeout", "degr-wfc-timeout", "outdated-wfc-timeout"];
        // Which key rules for which start, and how many seconds; 0 is for ever.
        for (written, keys, seconds) in [
            ([0, 0, 0], [0, 1, 2], [0, 0, 0]),
            ([0, 120, 0], [0, 1, 1], [0, 120, 120]),
            ([300, 120, 60], [0, 1, 2], [300, 120, 60]),
            ([60, 120, 0], [0, 0, 0], [60, 60, 60]),
            ([60, 30, 120], [0, 1, 1], [60, 30, 30]),
            ([60, 0, 5], [0, 0, 2], [60, 60, 5]),
            ([0, 0, 5], [0, 1, 2], [0, 0, 5]),
        ] {
            let expected = [0, 1, 2].map(|at| (KEYS[keys[at]], Duration::from_secs(seconds[at])));
            assert_eq!(chosen(written), expected, "{written:?}");
        }
    }
}
