//! Handlers that keep the peer from going on alone: by a constraint in the cluster's configuration
//! (CIB), or by fencing its machine (G5, drbd-facts 2.7 and 7.2).
//!
//! | to read about | open |
//! |---|---|
//! | what is decided when, and the exit codes | `by_constraint` |
//! | how a constraint is taken back | `lift` |
//! | fencing by the cluster's fencing device | `by_stonith` |
//! | what the CIB says of the clone, the nodes, the constraint | `cib`, `clone`, `peer_state` |
//! | how the constraint looks, and which one is meant | `constraint` |
//! | programs of the cluster, the own daemon, the clock | `outside` |

mod by_constraint;
mod by_stonith;
mod cib;
mod clone;
mod constraint;
mod lift;
mod outside;
mod peer_state;

#[cfg(test)]
mod scripted;

pub use by_constraint::{Limits, fence_by_constraint};
pub use by_stonith::fence_by_stonith;
pub use lift::lift_constraint;
pub use outside::{Ended, Handler, Outside};

/// What a `fence-peer` handler tells the engine by its exit code, in DRBD's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fenced {
    /// 1: nothing is known or done; what is frozen stays so.
    Not,
    /// 3: the peer's disk is Inconsistent: nobody can go on there.
    PeerInconsistent,
    /// 4: the peer cannot be promoted until it has met this node again.
    PeerOutdated,
    /// 5: the peer cannot be reached. Enough for a node whose own disk is UpToDate.
    PeerUnreachable,
    /// 6: the peer is Primary.
    PeerPrimary,
    /// 7: the peer's machine was powered off or left the cluster in good order.
    PeerDown,
}

impl Fenced {
    /// The exit code.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Not => 1,
            Self::PeerInconsistent => 3,
            Self::PeerOutdated => 4,
            Self::PeerUnreachable => 5,
            Self::PeerPrimary => 6,
            Self::PeerDown => 7,
        }
    }
}
