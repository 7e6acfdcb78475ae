//! One machine: the process with its node, the disks beneath it, the client above it.

use crate::buffers::Buffers;
use crate::client::Client;
use crate::disk::{DataDisk, Work};
use crate::disk_faults::Broken;
use crate::geometry::Geometry;
use crate::metadata_disk::MetadataDisk;
use crate::rotations::Rotations;
use crate::sightings::Sightings;
use replicator::event::{Handler, Input};
use replicator::node::Node;
use replicator::state::{ConnectionState, DiskState, ReplicationState};
use replicator::status::Status;
use std::collections::{BTreeSet, VecDeque};

/// A machine.
#[derive(Debug)]
pub(crate) struct Host {
    /// The engine, while the daemon runs.
    pub(crate) node: Option<Node>,
    /// Counts the processes: what was meant for an earlier one is void.
    pub(crate) incarnation: u64,
    pub(crate) powered: bool,
    /// Counts the boots.
    pub(crate) boot: u64,
    pub(crate) data: DataDisk,
    pub(crate) metadata: MetadataDisk,
    pub(crate) buffers: Buffers,
    pub(crate) client: Client,
    /// Real sectors of the device that clients are let in to; none: they are not.
    pub(crate) export_sectors: Option<usize>,
    /// When the engine's timer is due, as far as it is planned.
    pub(crate) timer_at_us: Option<u64>,
    /// A start waits until the I/O of the process before it has ended.
    pub(crate) waits_for_lock: bool,
    /// A start of the daemon is planned.
    pub(crate) starting: bool,
    /// Fresh metadata are written before the next start.
    pub(crate) must_create: bool,
    /// Each metadata write takes so much longer, in microseconds.
    pub(crate) metadata_extra_us: u64,
    /// What dead processes have under way on the disk does not end before.
    pub(crate) dead_io_until_us: u64,
    /// Data writes under way do not end before this is taken back.
    pub(crate) writes_stuck: bool,
    /// Writes of data do not end; flushes do.
    pub(crate) plain_writes_stuck: bool,
    /// Data flushes under way do not end before this is taken back.
    pub(crate) flushes_stuck: bool,
    /// Data reads under way do not end before this is taken back.
    pub(crate) reads_stuck: bool,
    /// Reads of these sectors fail, until they are written.
    pub(crate) unreadable: BTreeSet<usize>,
    /// How its handlers end.
    pub(crate) handler_exit: Option<i32>,
    /// The handlers that were run, in order.
    pub(crate) handlers_run: Vec<Handler>,
    /// A failed flush takes what was completed up to this serial number with it, soon.
    pub(crate) doomed_up_to: Option<u64>,
    /// Which of its disk's I/O fails.
    pub(crate) broken: Broken,
    /// An older state of the disk that may come back (G8).
    pub(crate) copy: Option<crate::copies::Copy>,
    /// Its disk was put back to an older copy since both were in sync.
    pub(crate) restored: bool,
    /// It was the target of a full sync, or was thrown away, since then.
    pub(crate) replaced: bool,
    /// What is under way from it.
    pub(crate) sightings: Sightings,
    /// What is remembered of its generations.
    pub(crate) rotations: Rotations,
    /// Counts the power cuts.
    pub(crate) power_cuts: u64,
    /// Stopped (SIGSTOP): what happens to it waits, in order.
    pub(crate) stopped: bool,
    pub(crate) backlog: VecDeque<Input>,
    /// The resume mark in the run directory.
    pub(crate) resume_mark: bool,
    /// What the kernel's device is attached with: it changes with each promotion that is no resume,
    /// and with the mark.
    pub(crate) cookie: u64,
    /// It has said that clients' I/O is frozen.
    pub(crate) frozen: bool,
    /// When it has found last that no good data are within reach.
    pub(crate) no_data_us: u64,
    /// When it was seen last without good data within reach.
    pub(crate) lacked_us: u64,
    /// An operator has said since the process began that clients' I/O shall go on.
    pub(crate) waived: bool,
    /// The replication as the engine's events have told it so far: its status is ahead of them.
    pub(crate) replication: ReplicationState,
    /// Counts the changes of the connection's state.
    pub(crate) connection_changes: u64,
    /// When that was last.
    pub(crate) connection_changed_us: u64,
    /// How its last connection ended.
    pub(crate) parting: Option<crate::policies::Parting>,
    /// Its last Primary was not demoted: what was written as Primary still says so.
    pub(crate) died_as_primary: bool,
    /// When its role changed last.
    pub(crate) role_changed_us: u64,
    /// What its events have said of the peer: the connection, and the peer's disk.
    pub(crate) peer_said: (ConnectionState, DiskState),
    /// The engine's picture after its last event.
    pub(crate) status: Option<Status>,
}

impl Host {
    pub(crate) fn new(data: DataDisk, metadata: MetadataDisk) -> Self {
        Self {
            node: None,
            incarnation: 0,
            powered: true,
            boot: 1,
            data,
            metadata,
            buffers: Buffers::default(),
            client: Client::default(),
            export_sectors: None,
            timer_at_us: None,
            waits_for_lock: false,
            starting: false,
            must_create: false,
            metadata_extra_us: 0,
            dead_io_until_us: 0,
            writes_stuck: false,
            plain_writes_stuck: false,
            flushes_stuck: false,
            reads_stuck: false,
            unreadable: BTreeSet::new(),
            handler_exit: Some(0),
            copy: None,
            sightings: Sightings::default(),
            rotations: Rotations::default(),
            restored: false,
            replaced: false,
            handlers_run: Vec::new(),
            doomed_up_to: None,
            broken: Broken::default(),
            power_cuts: 0,
            stopped: false,
            backlog: VecDeque::new(),
            resume_mark: false,
            cookie: 0,
            frozen: false,
            replication: ReplicationState::Off,
            no_data_us: 0,
            lacked_us: 0,
            waived: false,
            connection_changes: 0,
            connection_changed_us: 0,
            parting: None,
            died_as_primary: false,
            role_changed_us: 0,
            peer_said: (ConnectionState::Unconnected, DiskState::DUnknown),
            status: None,
        }
    }

    /// The process of that number still runs.
    pub(crate) fn runs(&self, incarnation: u64) -> bool {
        self.node.is_some() && self.incarnation == incarnation
    }

    /// Reads of bad sectors fail; whatever is written is good again.
    pub(crate) fn read_fails(&mut self, geometry: &Geometry, work: &Work) -> bool {
        match work {
            Work::Read { range, .. } | Work::Digest { range, .. } | Work::Digests { range, .. } => {
                self.unreadable.range(geometry.real(*range)).next().is_some()
            }
            Work::Write { first_sector, stamps, .. } => {
                self.unreadable
                    .retain(|bad| !(*first_sector..first_sector + stamps.len()).contains(bad));
                false
            }
            Work::Flush { .. } => false,
        }
    }

    pub(crate) fn boot_id(&self) -> [u8; 16] {
        let mut id = [0xb0; 16];
        id[..8].copy_from_slice(&self.boot.to_le_bytes());
        id
    }
}
