//! Commands of the operator, and how they are answered.

use crate::status::Status;

/// An operator's command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Connect to the peer, and keep trying.
    Connect {
        /// Give the own changes up, should it come to a split brain (G3). Refused on a Primary.
        discard_my_data: bool,
    },
    /// Close the connection and stay alone.
    Disconnect,
    /// Become Primary.
    Primary {
        /// Declare the local data good.
        force: bool,
    },
    /// Become Secondary.
    Secondary,
    /// Take the disk back that was detached or given up.
    Attach,
    /// Give the disk up in order.
    Detach {
        /// Also when it hangs, and also the last good copy of a Primary.
        force: bool,
    },
    /// The own data are bad: copy everything from the peer.
    Invalidate,
    /// The peer's data are bad: copy everything to it.
    InvalidateRemote,
    /// The own data are old: do not promote on them.
    Outdate,
    /// Hold the resync.
    PauseSync,
    /// Let it go on.
    ResumeSync,
    /// Hold all I/O of clients.
    SuspendIo,
    /// Let it go on, also when it is held because of fencing.
    ResumeIo,
    /// Begin a new generation by hand.
    NewCurrentUuid {
        /// Both replicas are just created and known to be equal: skip the initial sync.
        clear_bitmap: bool,
    },
    /// The disks have grown: make the device larger on both nodes (D20).
    Resize {
        /// The size wanted, in bytes; none: as large as both disks allow.
        size_bytes: Option<u64>,
        /// The new part is zeroed on both nodes instead of being copied.
        assume_clean: bool,
    },
    /// Compare both replicas block by block, and mark what differs (DESIGN 5).
    Verify {
        /// First byte of the device that is compared; the block that it lies in counts.
        start_bytes: u64,
        /// The comparison ends before this byte of the device; none: at its end.
        stop_bytes: Option<u64>,
        /// Copy what differs from the Primary when everything is compared.
        repair: bool,
    },
    /// Copy the marked blocks of two replicas that are both UpToDate.
    Repair {
        /// Whose data count; none: the Primary's.
        from: Option<RepairFrom>,
    },
    /// Leave: disconnect, detach cleanly, end.
    Down,
    /// Show the state.
    Status,
}

/// Whose data a repair copies, as the node sees it that is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepairFrom {
    /// This node's.
    Local,
    /// The peer's.
    Peer,
}

/// Why a command was not carried out; decides the exit code (drbd-facts 6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalClass {
    /// 11: the state does not allow it.
    State,
    /// 17: no access to good data.
    NoGoodData,
    /// 10: a matter of configuration.
    Configuration,
    /// 5: `outdate` of a disk that is Inconsistent or worse; whoever wants it not to be promoted
    /// may take it for a success (drbd-facts 2.7).
    LowerThanOutdated,
    /// 16: there is no local disk to do that with.
    NoDisk,
}

/// A refused command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The exit code's class.
    pub class: RefusalClass,
    /// What stands in the way, and what to do next: one or two sentences.
    pub text: String,
}

/// Answer to a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Done (or nothing to do).
    Done,
    /// Refused; nothing was changed.
    Refused(Refusal),
    /// The state.
    Status(Box<Status>),
}
