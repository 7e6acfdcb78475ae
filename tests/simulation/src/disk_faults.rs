//! Disks that fail while the machine lives: I/O errors by kind, a disk that is given up, closed and
//! opened again.

use crate::disk::{Flight, Work};
use crate::world::{Happening, World};
use replicator::event::{Command, Input, IoOutcome};
use replicator::ids::CommandId;
use replicator::state::{DiskState, Role};

/// `EIO`.
const ERRNO: i32 = 5;
/// A daemon that was told of a failed flush has written its mark by then, in microseconds. One that
/// dies before can know nothing of what the disk has lost: two faults at once.
const MARKED_US: u64 = 1_000_000;

/// What a dead process has under way on its disk lasts at most so long.
const DEAD_IO_US_MAX: u64 = 2_000_000;

/// Kinds of I/O of one disk that fail now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Broken {
    /// Reads of data.
    pub reads: bool,
    /// Writes of data: some land all the same.
    pub writes: bool,
    /// Flushes of data.
    pub flushes: bool,
    /// Writes of metadata: none lands.
    pub metadata: bool,
}

impl Broken {
    /// Everything fails.
    pub const ALL: Self = Self { reads: true, writes: true, flushes: true, metadata: true };
    /// Only writes of data fail.
    pub const WRITES: Self = Self { reads: false, writes: true, flushes: false, metadata: false };
    /// Only flushes of data fail.
    pub const FLUSHES: Self = Self { reads: false, writes: false, flushes: true, metadata: false };
    /// Only reads of data fail.
    pub const READS: Self = Self { reads: true, writes: false, flushes: false, metadata: false };

    const fn has(self, work: &Work) -> bool {
        match work {
            Work::Read { .. } | Work::Digest { .. } | Work::Digests { .. } => self.reads,
            Work::Write { .. } => self.writes,
            Work::Flush { .. } => self.flushes,
        }
    }
}

impl World {
    /// From now on this I/O of a host's disk fails; nothing does with the default.
    pub fn break_disk(&mut self, host: usize, broken: Broken) {
        self.hosts[host].broken = broken;
    }

    /// Some kinds of I/O fail from now on; metadata more rarely than data.
    pub(crate) fn break_disk_somehow(&mut self, host: usize) {
        let broken = Broken {
            reads: self.random.chance(30),
            writes: self.random.chance(40),
            flushes: self.random.chance(30),
            metadata: self.random.chance(15),
        };
        self.break_disk(host, broken);
    }

    /// Ends an I/O with an error if its kind is broken; true when that is done.
    pub(crate) fn io_fails(&mut self, host: usize, ticket: u64) -> bool {
        let this = &mut self.hosts[host];
        let broken = this.broken;
        if !this.data.work(ticket).is_some_and(|work| broken.has(work)) {
            return false;
        }
        let lands = self.random.chance(50);
        let this = &mut self.hosts[host];
        let flight = match this.data.work(ticket) {
            Some(Work::Write { .. }) if lands => this.data.complete(ticket),
            Some(_) | None => this.data.abandon(ticket),
        };
        let Some(Flight { io, incarnation, work }) = flight else { return true };
        self.coverage.count("data I/O error");
        if let Work::Flush { up_to } = work {
            self.cache_is_doomed(host, incarnation, up_to);
        }
        if self.hosts[host].runs(incarnation) {
            let input = match work {
                Work::Digest { .. } => Input::DigestDone { io, read: Err(ERRNO) },
                Work::Digests { .. } => Input::DigestsDone { io, read: Err(ERRNO) },
                Work::Read { .. } | Work::Write { .. } | Work::Flush { .. } => {
                    Input::DiskDone { io, outcome: IoOutcome::Failed { errno: ERRNO } }
                }
            };
            self.feed(host, input);
        }
        true
    }

    /// What a failed flush was to make durable will be gone as soon as its daemon has written that
    /// down, or attaches the disk again: nobody reads it before.
    fn cache_is_doomed(&mut self, host: usize, incarnation: u64, up_to: u64) {
        let this = &mut self.hosts[host];
        if this.runs(incarnation) {
            this.doomed_up_to = this.doomed_up_to.max(Some(up_to));
            self.plan(MARKED_US, Happening::CacheLost { host, incarnation });
        }
    }

    pub(crate) fn cache_is_lost(&mut self, host: usize, incarnation: u64) {
        let this = &mut self.hosts[host];
        if !this.runs(incarnation) || this.stopped {
            return;
        }
        if let Some(up_to) = this.doomed_up_to.take() {
            this.data.lose_cache(up_to, &mut self.random);
            self.coverage.count("cache lost by a failed flush");
        }
    }

    /// The metadata write under way fails, and with it what waits behind it.
    pub(crate) fn metadata_fails(&mut self, host: usize) {
        self.coverage.count("metadata I/O error");
        // The mark cannot be written: two faults at once.
        self.hosts[host].doomed_up_to = None;
        for write in self.hosts[host].metadata.abandon_all() {
            if self.hosts[host].runs(write.incarnation) {
                let outcome = IoOutcome::Failed { errno: ERRNO };
                self.feed(host, Input::MetadataDone { io: write.io, outcome });
            }
        }
    }

    /// Sometimes what a process has under way on its disk when it dies takes long.
    pub(crate) fn dead_io_lasts(&mut self, host: usize) {
        if self.random.chance(40) {
            let longer_us = self.random.between(5_000, DEAD_IO_US_MAX);
            self.hosts[host].dead_io_until_us = self.now_us + longer_us;
        }
    }

    /// What dead processes of a host have under way on its disk does not end before.
    pub const fn dead_io_lasts_for(&mut self, host: usize, duration_us: u64) {
        self.hosts[host].dead_io_until_us = self.now_us + duration_us;
    }

    /// Puts off the end of an I/O of a dead process; true when that is done.
    pub(crate) fn dead_io_goes_on(&mut self, host: usize, ticket: u64) -> bool {
        let this = &self.hosts[host];
        let until_us = this.dead_io_until_us;
        let is_dead =
            this.data.incarnation(ticket).is_some_and(|incarnation| !this.runs(incarnation));
        let goes_on = is_dead && self.now_us < until_us;
        if goes_on {
            self.plan_at(until_us, Happening::DiskEnds { host, ticket });
        }
        goes_on
    }

    /// The engine gave the disk up: it is closed when its I/Os have returned.
    pub(crate) fn disk_closes(&mut self, host: usize) {
        let incarnation = self.hosts[host].incarnation;
        self.plan(100, Happening::DiskCloses { host, incarnation });
    }

    pub(crate) fn disk_closes_when_idle(&mut self, host: usize, incarnation: u64) {
        let this = &self.hosts[host];
        if !this.runs(incarnation) {
            return;
        }
        if this.data.is_idle() && this.metadata.is_idle() {
            self.coverage.count("disk given up");
            self.feed(host, Input::DiskClosed);
        } else {
            self.plan(500, Happening::DiskCloses { host, incarnation });
        }
    }

    /// The engine wants the disk back.
    pub(crate) fn disk_opens(&mut self, host: usize) {
        let incarnation = self.hosts[host].incarnation;
        self.plan(300, Happening::DiskOpens { host, incarnation });
    }

    pub(crate) fn disk_is_open(&mut self, host: usize, incarnation: u64) {
        let this = &mut self.hosts[host];
        if !this.runs(incarnation) {
            return;
        }
        self.cache_is_lost(host, incarnation);
        let this = &mut self.hosts[host];
        if this.broken.reads {
            let reason = "input/output error".to_owned();
            return self.feed(host, Input::DiskOpenFailed { reason });
        }
        let zeroes_cheaply = self.profile.zeroes_cheaply[host];
        match this.metadata.image(this.boot_id(), zeroes_cheaply) {
            Ok(image) => {
                self.coverage.count("disk attached again");
                self.feed(host, Input::DiskOpened(Box::new(image)));
            }
            Err(error) => self.fail(format!("node {host} cannot attach: {error}")),
        }
    }

    /// Mends the disk of a host and attaches it, if it is not in use.
    pub(crate) fn mend_disk(&mut self, host: usize) -> Option<CommandId> {
        self.hosts[host].broken = Broken::default();
        let status = self.status(host)?;
        (status.disk == DiskState::Diskless).then(|| self.command(host, Command::Attach))?
    }

    /// A Primary whose clients get errors because no good data are there: it must be demoted before
    /// its disk is taken back.
    pub(crate) fn serves_errors(&self, host: usize) -> bool {
        self.status(host).is_some_and(|status| {
            status.role == Role::Primary
                && status.disk != DiskState::UpToDate
                && status.peer_disk != DiskState::UpToDate
        })
    }
}
