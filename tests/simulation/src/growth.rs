//! Disks that grow, and what must hold when the device grows with them (D20).

use crate::disk::{SECTOR_BYTES, ZERO_STAMP};
use crate::world::World;
use metadata::units::ByteRange;
use replicator::event::{Command, Input};
use replicator::ids::CommandId;
use replicator::mutation::Mutation;
use replicator::state::Role;
use std::ops::Range;

impl World {
    /// Gives the disk of a host its whole room.
    pub fn grow_disk(&mut self, host: usize) {
        let data_bytes = self.profile.room_bytes(0);
        self.hosts[host].metadata.grow(data_bytes);
    }

    /// Sometimes both disks grow, sometimes one; then somebody asks for a larger device, the
    /// Primary or not.
    pub(crate) fn grow(&mut self, host: usize) {
        for grown in [0, 1] {
            if self.random.chance(90) {
                self.grow_disk(grown);
            }
        }
        let assume_clean = self.random.chance(70);
        let half = self.profile.geometry.device_bytes() - self.profile.spare_bytes / 2;
        let size_bytes = self.random.chance(30).then_some(half);
        let primary = [0, 1].into_iter().find(|host| {
            self.hosts[*host].status.as_ref().is_some_and(|status| status.role == Role::Primary)
        });
        let host = if self.random.chance(90) { primary.unwrap_or(host) } else { host };
        self.resize(host, size_bytes, assume_clean);
    }

    /// Grows now, or, in half of the cases, at the next moment at which it can come to something.
    pub(crate) fn grow_some_time(&mut self, host: usize) {
        if self.in_sync || self.random.chance(50) {
            self.grow(host);
        } else {
            self.grow_wanted = true;
        }
    }

    pub(crate) fn grow_if_wanted(&mut self) {
        if self.in_sync && std::mem::take(&mut self.grow_wanted) {
            self.coverage.count("resize when in sync");
            self.grow(0);
        }
    }

    /// `resize` on a host.
    pub fn resize(
        &mut self,
        host: usize,
        size_bytes: Option<u64>,
        assume_clean: bool,
    ) -> Option<CommandId> {
        self.coverage.count("resize asked for");
        self.command(host, Command::Resize { size_bytes, assume_clean })
    }

    pub(crate) fn measure(&mut self, host: usize) {
        let size = self.hosts[host].metadata.measure();
        self.feed(host, Input::DiskMeasured(Ok(size)));
    }

    /// The export is open, or open with another size.
    pub(crate) fn export_has(&mut self, host: usize, size_bytes: u64) -> Result<(), String> {
        // A Primary without good data of its own serves the peer's. At random moments the end of a
        // resize may be on its way to it; in a calm world it knows.
        let server = self.server_of(host);
        let agreed = self.agreed_bytes(server);
        let may_not_know = server != host && !self.calm;
        let within = may_not_know && agreed.is_some_and(|agreed| agreed >= size_bytes);
        if agreed != Some(size_bytes) && !within {
            return Err(format!("the export has {size_bytes} bytes, but {agreed:?} are durable"));
        }
        let limit = self.sectors_within(size_bytes);
        let total = self.profile.geometry.sectors();
        let floors = self.ledger.floors(host, limit..total);
        if let Some(ahead) = floors.iter().position(|floor| *floor > 0) {
            let sector = limit + ahead;
            return Err(format!("the export ends before sector {sector}, which was acknowledged"));
        }
        let grows = self.hosts[host].export_sectors.replace(limit).is_some();
        if grows {
            self.coverage.count("device grown under its clients");
        } else {
            self.export_opens(host);
            self.client_attaches(host);
        }
        Ok(())
    }

    /// Data are written: only inside of the size that is durably agreed here.
    pub(crate) fn data_written(&mut self, host: usize, range: ByteRange) -> Result<(), String> {
        self.hosts[host].metadata.overwrite(range);
        let agreed = self.agreed_bytes(host);
        if agreed.is_none_or(|agreed| range.end() <= agreed) {
            return Ok(());
        }
        Err(format!("{range:?} is written, but {agreed:?} bytes are durably agreed"))
    }

    /// Zeroes are written; above the agreed size only in the first step of a resize.
    pub(crate) fn zeroes_written(&mut self, host: usize, range: ByteRange) {
        self.hosts[host].metadata.overwrite(range);
        if self.agreed_bytes(host).is_some_and(|agreed| range.start() >= agreed) {
            let sectors = self.profile.geometry.real(range);
            let issued = self.ledger.issue(sectors.clone(), ZERO_STAMP);
            self.ledger.end(sectors, issued);
            self.coverage.count("new part zeroed");
        }
    }

    fn agreed_bytes(&self, host: usize) -> Option<u64> {
        self.hosts[host].metadata.superblock().ok().map(|superblock| superblock.device_bytes)
    }

    /// The real sectors of a device of that size.
    pub(crate) fn sectors_within(&self, size_bytes: u64) -> usize {
        let sectors = size_bytes / SECTOR_BYTES;
        if sectors == 0 {
            return 0;
        }
        self.profile.geometry.real(ByteRange::new(0, sectors * SECTOR_BYTES)).end
    }

    /// Some sectors inside of the export of a host.
    pub(crate) fn draw_sectors(&mut self, host: usize, longest: u64) -> Range<usize> {
        let limit = self.hosts[host].export_sectors.unwrap_or(0);
        loop {
            let sectors = self.profile.geometry.draw(&mut self.random, longest);
            if sectors.start < limit {
                return sectors.start..sectors.end.min(limit);
            }
        }
    }

    /// A start looks where the disk was known to end, unless that rule is broken.
    pub(crate) fn mind_known_ends(&mut self, broken: Option<Mutation>) {
        for host in &mut self.hosts {
            host.metadata.searches_known_ends = broken != Some(Mutation::ResizeOldEndLost);
        }
    }

    /// Bytes of the device as a host's engine sees it.
    #[must_use]
    pub fn size_bytes(&self, host: usize) -> Option<u64> {
        self.status(host).map(|status| status.size_bytes)
    }

    /// The last real sector of the device as a host's engine sees it.
    #[must_use]
    pub fn last_sector(&self, host: usize) -> usize {
        self.size_bytes(host).map_or(0, |bytes| self.sectors_within(bytes)).saturating_sub(1)
    }

    /// Every metadata write of a host takes so much longer, in microseconds.
    pub const fn slow_metadata(&mut self, host: usize, extra_us: u64) {
        self.hosts[host].metadata_extra_us = extra_us;
    }

    /// Metadata writes of a host that have ended.
    #[must_use]
    pub fn metadata_writes(&self, host: usize) -> u64 {
        self.hosts[host].metadata.completed
    }

    /// Both nodes see the same size; nodes that are connected must.
    pub(crate) fn check_sizes(&mut self) {
        let sizes = [self.size_bytes(0), self.size_bytes(1)];
        if sizes[0] != sizes[1] {
            self.fail(format!("both are in sync with devices of {sizes:?} bytes"));
        }
    }
}
