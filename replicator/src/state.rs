//! Roles, disk states, connection and replication states, with DRBD's names and order (drbd-facts
//! 2.1).

use std::fmt;

/// Role of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Serves the device.
    Primary,
    /// Keeps a copy.
    Secondary,
}

/// State of a replica, from worst to best; the order is meaningful (`disk > Outdated` means data
/// that are whole).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DiskState {
    /// No disk, or it was given up.
    Diskless,
    /// Metadata are being read.
    Attaching,
    /// It failed; it is being given up.
    Failed,
    /// Some of it is old or missing: no use alone.
    Inconsistent,
    /// Whole, but known to be older than the peer's.
    Outdated,
    /// Of the peer's disk: not known.
    DUnknown,
    /// Whole; whether it is the newest is decided by connecting or fencing.
    Consistent,
    /// Whole and the newest.
    UpToDate,
}

/// State of the connection (DRBD 9 names; `Connecting` is 8.4's WFConnection).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnectionState {
    /// Not connected and not trying, until told to.
    StandAlone,
    /// Being closed on request.
    Disconnecting,
    /// Between two attempts.
    Unconnected,
    /// Dialling and listening, or in the handshake.
    Connecting,
    /// The handshake is over.
    Connected,
}

/// What the two replicas are doing (DRBD 9 names; `Established` is 8.4's Connected).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReplicationState {
    /// Not connected.
    Off,
    /// In sync or not syncing; writes are mirrored.
    Established,
    /// Bitmaps are being exchanged; this node will be the source.
    WFBitMapS,
    /// Bitmaps are being exchanged; this node will be the target.
    WFBitMapT,
    /// This node sends what the peer lacks.
    SyncSource,
    /// This node gets what it lacks.
    SyncTarget,
    /// As `SyncSource`, but held.
    PausedSyncS,
    /// As `SyncTarget`, but held.
    PausedSyncT,
    /// A verify that was asked for on this node.
    VerifyS,
    /// A verify that was asked for on the peer.
    VerifyT,
}

/// Why no request of a client is started and none is answered (G5); nothing set: they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Suspended {
    /// An operator said `suspend-io`.
    pub user: bool,
    /// There are no UpToDate data within reach (`on-no-data-accessible = suspend-io`).
    pub no_data: bool,
    /// The peer is out of sight and not yet known to be fenced (`resource-and-stonith`).
    pub fencing: bool,
}

impl Suspended {
    /// True when there is a reason.
    #[must_use]
    pub const fn any(self) -> bool {
        self.user || self.no_data || self.fencing
    }

    /// Each reason by its name in status, and whether it holds.
    #[must_use]
    pub const fn named(self) -> [(&'static str, bool); 3] {
        [("user", self.user), ("no-data", self.no_data), ("fencing", self.fencing)]
    }
}

impl fmt::Display for Suspended {
    /// `user,no-data,fencing`, as far as they hold; `no` when none does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held: Vec<&str> =
            self.named().into_iter().filter(|(_, holds)| *holds).map(|(name, _)| name).collect();
        f.pad(&if held.is_empty() { "no".to_owned() } else { held.join(",") })
    }
}

/// Which of the startup timeouts says how long a start waits for the peer (G6, drbd-facts 2.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum StartupWait {
    /// `wfc-timeout`.
    #[default]
    Normal,
    /// `degr-wfc-timeout`: this node was Primary without its peer when it went down.
    Degraded,
    /// `outdated-wfc-timeout`: the peer is known to be outdated.
    PeerOutdated,
}

macro_rules! names {
    ($type:ident: $($variant:ident),+) => {
        impl $type {
            /// Its name, as status shows it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),+ }
            }

            /// Its number on the wire.
            #[must_use]
            pub const fn code(self) -> u8 {
                self as u8
            }

            /// From its number on the wire; a number that no state has is none.
            #[must_use]
            pub const fn from_code(code: u8) -> Option<Self> {
                $(if code == Self::$variant as u8 { return Some(Self::$variant); })+
                None
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

names!(Role: Primary, Secondary);
names!(DiskState: Diskless, Attaching, Failed, Inconsistent, Outdated, DUnknown, Consistent, UpToDate);
names!(ConnectionState: StandAlone, Disconnecting, Unconnected, Connecting, Connected);
names!(StartupWait: Normal, Degraded, PeerOutdated);
names!(ReplicationState: Off, Established, WFBitMapS, WFBitMapT, SyncSource, SyncTarget, PausedSyncS, PausedSyncT, VerifyS,
    VerifyT);

impl DiskState {
    /// As it counts for the other node: a disk that takes no writes is no disk.
    #[must_use]
    pub const fn as_peer_sees_it(self) -> Self {
        match self {
            Self::Diskless | Self::Attaching | Self::Failed => Self::Diskless,
            Self::Inconsistent
            | Self::Outdated
            | Self::DUnknown
            | Self::Consistent
            | Self::UpToDate => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disk_states_are_ordered_from_worst_to_best() {
        assert!(DiskState::Inconsistent < DiskState::Outdated);
        assert!(DiskState::Outdated < DiskState::Consistent);
        assert!(DiskState::Consistent < DiskState::UpToDate);
    }

    #[test]
    fn reasons_of_a_suspension_are_told_by_name() {
        assert_eq!(Suspended::default().to_string(), "no");
        let both = Suspended { user: true, no_data: false, fencing: true };
        assert_eq!(both.to_string(), "user,fencing");
        assert!(both.any() && !Suspended::default().any());
    }

    #[test]
    fn every_code_comes_back_as_the_same_state() {
        for code in 0..8 {
            assert_eq!(DiskState::from_code(code).map(DiskState::code), Some(code));
        }
        assert_eq!(DiskState::from_code(8), None);
        assert_eq!(Role::from_code(2), None);
    }
}
