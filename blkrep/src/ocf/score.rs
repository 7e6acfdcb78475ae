//! The promotion score: what a node's data are worth to Pacemaker, from the state alone
//! (drbd-facts 7.1).

use crate::cli::lifecycle::is_starting;
use replicator::state::{ConnectionState, DiskState, Role};
use replicator::status::Status;

/// What becomes of the node attribute that holds the score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Score {
    /// It gets this value, above 0.
    Set(u32),
    /// It is removed: this node is not promoted.
    Delete,
    /// It stays as it is: the state is about to change.
    Keep,
    /// It forbids the promotion, whatever else is added to it.
    Never,
}

/// The four rungs, in rising order, as `adjust_master_score` gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ladder {
    /// The data are whole, and nobody knows whether they are the newest.
    pub(super) consistent: u32,
    /// Only the peer's data are good, and they are within reach.
    pub(super) far: u32,
    /// The data are good, and the peer's state is not known.
    pub(super) alone: u32,
    /// The data are good, and the peer's state is known; or this node is Promoted.
    pub(super) good: u32,
}

/// Those of DRBD's agent.
pub(super) const DEFAULT: Ladder = Ladder { consistent: 0, far: 10, alone: 1000, good: 10_000 };
/// Pacemaker's infinity: larger scores mean nothing.
const SCORE_MAX: u32 = 1_000_000;

impl Ladder {
    /// Reads four non-decreasing numbers.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let rungs: Option<Vec<u32>> =
            text.split_whitespace().map(|word| word.parse().ok()).collect();
        let &[consistent, far, alone, good] = rungs?.as_slice() else { return None };
        let rises = consistent <= far && far <= alone && alone <= good && good <= SCORE_MAX;
        rises.then_some(Self { consistent, far, alone, good })
    }

    /// The score of a node in the state `status`.
    pub(super) fn score(&self, status: &Status) -> Score {
        let peer_is_good = status.connection == ConnectionState::Connected
            && status.peer_disk == DiskState::UpToDate;
        if is_starting(status) {
            return Score::Keep;
        }
        match status.disk {
            DiskState::UpToDate => match (status.role, status.peer_disk) {
                (Role::Secondary, DiskState::DUnknown) => Self::rung(self.alone),
                (Role::Primary | Role::Secondary, _) => Self::rung(self.good),
            },
            DiskState::Attaching => Score::Keep,
            DiskState::Diskless
            | DiskState::Failed
            | DiskState::Inconsistent
            | DiskState::Outdated
            | DiskState::DUnknown
            | DiskState::Consistent
                if peer_is_good =>
            {
                Self::rung(self.far)
            }
            DiskState::Consistent => Self::rung(self.consistent),
            DiskState::Diskless
            | DiskState::Failed
            | DiskState::Inconsistent
            | DiskState::Outdated
            | DiskState::DUnknown => Score::Delete,
        }
    }

    const fn rung(value: u32) -> Score {
        if value == 0 { Score::Delete } else { Score::Set(value) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::sample_status as sample;
    use ConnectionState::{Connected, Connecting, StandAlone, Unconnected};
    use DiskState::{
        Attaching, Consistent, DUnknown, Diskless, Failed, Inconsistent, Outdated, UpToDate,
    };
    use Role::{Primary, Secondary};

    fn state(role: Role, disk: DiskState, peer: DiskState, connection: ConnectionState) -> Status {
        Status { role, disk, peer_disk: peer, connection, ..sample() }
    }

    #[test]
    fn each_row_of_the_ladder_has_its_score() {
        for (role, disk, peer, connection, score) in [
            (Primary, UpToDate, UpToDate, Connected, Score::Set(10_000)),
            (Primary, UpToDate, Inconsistent, Connected, Score::Set(10_000)),
            (Primary, UpToDate, DUnknown, Connecting, Score::Set(10_000)),
            (Primary, UpToDate, DUnknown, StandAlone, Score::Set(10_000)),
            (Secondary, UpToDate, DUnknown, Connecting, Score::Set(1000)),
            (Secondary, UpToDate, DUnknown, StandAlone, Score::Set(1000)),
            (Secondary, UpToDate, UpToDate, Connected, Score::Set(10_000)),
            (Secondary, UpToDate, Inconsistent, Connected, Score::Set(10_000)),
            (Secondary, UpToDate, Diskless, Connected, Score::Set(10_000)),
            // Fenced: the peer is away, and what it has is known.
            (Secondary, UpToDate, Outdated, Connecting, Score::Set(10_000)),
            (Secondary, Inconsistent, UpToDate, Connected, Score::Set(10)),
            (Primary, Inconsistent, UpToDate, Connected, Score::Set(10)),
            (Primary, Diskless, UpToDate, Connected, Score::Set(10)),
            (Secondary, Outdated, UpToDate, Connected, Score::Set(10)),
            (Secondary, Consistent, UpToDate, Connected, Score::Set(10)),
            (Secondary, Failed, UpToDate, Connected, Score::Set(10)),
            (Secondary, Attaching, DUnknown, Connecting, Score::Keep),
            (Secondary, Attaching, UpToDate, Connected, Score::Keep),
            (Secondary, Diskless, DUnknown, Unconnected, Score::Keep),
            (Secondary, Consistent, DUnknown, Connecting, Score::Delete),
            (Secondary, Outdated, DUnknown, Connecting, Score::Delete),
            (Secondary, Inconsistent, DUnknown, Connecting, Score::Delete),
            (Secondary, Inconsistent, Inconsistent, Connected, Score::Delete),
            (Secondary, Diskless, DUnknown, Connecting, Score::Delete),
            (Secondary, Failed, DUnknown, Connecting, Score::Delete),
            // What the peer was last known to have is not within reach.
            (Secondary, Outdated, UpToDate, Connecting, Score::Delete),
        ] {
            let seen = DEFAULT.score(&state(role, disk, peer, connection));
            assert_eq!(seen, score, "{role:?} {disk:?}/{peer:?} {connection:?}");
        }
    }

    #[test]
    fn the_administrators_rungs_are_used_and_the_first_may_be_above_zero() {
        let ladder = Ladder::parse(" 5 10  1000 10000 ").unwrap();
        let lone = state(Secondary, Consistent, DUnknown, Connecting);
        assert_eq!(ladder.score(&lone), Score::Set(5));
        assert_eq!(Ladder::parse("0 10 1000 10000"), Some(DEFAULT));
        let flat = Ladder::parse("7 7 7 7").unwrap();
        let alone = state(Secondary, UpToDate, DUnknown, Connecting);
        assert_eq!(flat.score(&alone), Score::Set(7));
    }

    #[test]
    fn what_is_no_ladder_is_refused() {
        for text in
            ["", "0 10 1000", "0 10 1000 10000 7", "10 0 1000 10000", "0 10 -1 5", "0 1 2 1000001"]
        {
            assert_eq!(Ladder::parse(text), None, "{text}");
        }
    }
}
