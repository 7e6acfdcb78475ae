//! Progress and result of a verify on the control socket.

use super::status_wire::{limit, milliseconds};
use replicator::status::{BrokenOff, Verified, VerifyProgress};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// [`VerifyProgress`] as it travels.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct VerifyWire {
    run: u64,
    total_blocks: u64,
    left_blocks: u64,
    differing_blocks: u64,
    bytes_per_s: u64,
    eta_ms: Option<u64>,
    elapsed_ms: u64,
    limited_by: String,
}

/// [`Verified`] as it travels.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct VerifiedWire {
    run: u64,
    since_end_ms: u64,
    took_ms: u64,
    compared_blocks: u64,
    differing_blocks: u64,
    unreadable_blocks: u64,
    repaired_blocks: u64,
    repairing: bool,
    broken_off: Option<BrokenOffWire>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct BrokenOffWire {
    why: String,
    next_sector: u64,
}

impl From<VerifyProgress> for VerifyWire {
    fn from(verify: VerifyProgress) -> Self {
        Self {
            run: verify.run,
            total_blocks: verify.total_blocks,
            left_blocks: verify.left_blocks,
            differing_blocks: verify.differing_blocks,
            bytes_per_s: verify.bytes_per_s,
            eta_ms: verify.eta.map(milliseconds),
            elapsed_ms: milliseconds(verify.elapsed),
            limited_by: verify.limited_by.to_owned(),
        }
    }
}

impl From<VerifyWire> for VerifyProgress {
    fn from(wire: VerifyWire) -> Self {
        Self {
            run: wire.run,
            total_blocks: wire.total_blocks,
            left_blocks: wire.left_blocks,
            differing_blocks: wire.differing_blocks,
            bytes_per_s: wire.bytes_per_s,
            eta: wire.eta_ms.map(Duration::from_millis),
            elapsed: Duration::from_millis(wire.elapsed_ms),
            limited_by: limit(&wire.limited_by),
        }
    }
}

impl From<Verified> for VerifiedWire {
    fn from(verified: Verified) -> Self {
        let broken_off = verified
            .broken_off
            .map(|BrokenOff { why, next_sector }| BrokenOffWire { why, next_sector });
        Self {
            run: verified.run,
            since_end_ms: milliseconds(verified.since_end),
            took_ms: milliseconds(verified.took),
            compared_blocks: verified.compared_blocks,
            differing_blocks: verified.differing_blocks,
            unreadable_blocks: verified.unreadable_blocks,
            repaired_blocks: verified.repaired_blocks,
            repairing: verified.repairing,
            broken_off,
        }
    }
}

impl From<VerifiedWire> for Verified {
    fn from(wire: VerifiedWire) -> Self {
        let broken_off = wire
            .broken_off
            .map(|BrokenOffWire { why, next_sector }| BrokenOff { why, next_sector });
        Self {
            run: wire.run,
            since_end: Duration::from_millis(wire.since_end_ms),
            took: Duration::from_millis(wire.took_ms),
            compared_blocks: wire.compared_blocks,
            differing_blocks: wire.differing_blocks,
            unreadable_blocks: wire.unreadable_blocks,
            repaired_blocks: wire.repaired_blocks,
            repairing: wire.repairing,
            broken_off,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[test]
    fn progress_and_result_come_back_as_they_were() {
        let json = serde_json::to_string(&VerifyWire::from(progress_sample())).unwrap();
        let wire: VerifyWire = serde_json::from_str(&json).unwrap();
        assert_eq!(VerifyProgress::from(wire), progress_sample());
        let json = serde_json::to_string(&VerifiedWire::from(result_sample())).unwrap();
        let wire: VerifiedWire = serde_json::from_str(&json).unwrap();
        assert_eq!(Verified::from(wire), result_sample());
    }

    /// Half way.
    pub(crate) fn progress_sample() -> VerifyProgress {
        VerifyProgress {
            run: 5,
            total_blocks: 262_144,
            left_blocks: 131_072,
            differing_blocks: 3,
            bytes_per_s: 100 << 20,
            eta: Some(Duration::from_millis(5120)),
            elapsed: Duration::from_millis(5003),
            limited_by: "pause-sync",
        }
    }

    /// Broken off, with differences.
    pub(crate) fn result_sample() -> Verified {
        Verified {
            run: 4,
            since_end: Duration::from_secs(72),
            took: Duration::from_millis(10_001),
            compared_blocks: 1000,
            differing_blocks: 7,
            unreadable_blocks: 2,
            repaired_blocks: 6,
            repairing: true,
            broken_off: Some(BrokenOff {
                why: "the connection was lost".to_owned(),
                next_sector: 8000,
            }),
        }
    }
}
