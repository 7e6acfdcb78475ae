//! A data disk with a volatile cache: every sector holds the stamp of the write that it was last
//! part of.

use crate::random::Random;
use metadata::units::ByteRange;
use replicator::ids::{BufferId, IoId};
use std::collections::BTreeMap;

/// Bytes of a sector: the unit that is never torn.
pub(crate) const SECTOR_BYTES: u64 = 512;
/// What zeroed sectors hold.
pub(crate) const ZERO_STAMP: u64 = 0;

/// What an I/O under way will do when it ends.
#[derive(Debug)]
pub(crate) enum Work {
    /// Fill a buffer.
    Read { range: ByteRange, buffer: BufferId, checksum: bool },
    /// Fill a buffer, and tell checksum and digest.
    Digest { range: ByteRange, buffer: BufferId },
    /// Fill a buffer, and tell the digest of each block.
    Digests { range: ByteRange, buffer: BufferId },
    /// Put these stamps there.
    Write { first_sector: usize, stamps: Vec<u64>, fua: bool },
    /// Make durable what was completed up to this serial number.
    Flush { up_to: u64 },
}

/// An I/O under way. It belongs to the process that submitted it, and goes on when that is killed
/// (D15).
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) io: IoId,
    pub(crate) incarnation: u64,
    pub(crate) work: Work,
}

/// The disk. Invariant: `current` is `durable` with everything in `cached` applied in order.
#[derive(Debug)]
pub(crate) struct DataDisk {
    current: Vec<u64>,
    durable: Vec<u64>,
    /// By sector: completed and not flushed, with serial numbers of completion.
    cached: Vec<Vec<(u64, u64)>>,
    completed: u64,
    next_ticket: u64,
    in_flight: BTreeMap<u64, Flight>,
}

impl DataDisk {
    pub(crate) fn new(sectors: usize, stamp: u64) -> Self {
        Self::of(vec![stamp; sectors])
    }

    /// The disk is put back to this content, all of it durable; nothing is under way any more.
    pub(crate) fn put_back(&mut self, content: Vec<u64>) {
        // Tickets go on: an end that is planned for an old one must not meet a new one.
        *self = Self { next_ticket: self.next_ticket, ..Self::of(content) };
    }

    fn of(content: Vec<u64>) -> Self {
        let sectors = content.len();
        Self {
            durable: content.clone(),
            current: content,
            cached: vec![Vec::new(); sectors],
            completed: 0,
            next_ticket: 0,
            in_flight: BTreeMap::new(),
        }
    }

    /// What a read would give now.
    pub(crate) fn current(&self) -> &[u64] {
        &self.current
    }

    /// What the worst power cut would leave.
    pub(crate) fn durable(&self) -> &[u64] {
        &self.durable
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Takes an I/O on; the ticket names it until it ends.
    pub(crate) fn submit(&mut self, io: IoId, incarnation: u64, work: Work) -> u64 {
        self.next_ticket += 1;
        self.in_flight.insert(self.next_ticket, Flight { io, incarnation, work });
        self.next_ticket
    }

    /// The serial number of the last completed write: what a flush that begins now covers.
    pub(crate) const fn completed(&self) -> u64 {
        self.completed
    }

    /// True when the ticket is a write or a flush under way.
    pub(crate) fn is_write(&self, ticket: u64) -> bool {
        self.in_flight
            .get(&ticket)
            .is_some_and(|flight| matches!(flight.work, Work::Write { .. } | Work::Flush { .. }))
    }

    /// True when the ticket is a flush under way.
    pub(crate) fn is_flush(&self, ticket: u64) -> bool {
        self.in_flight.get(&ticket).is_some_and(|flight| matches!(flight.work, Work::Flush { .. }))
    }

    /// The process that an I/O under way belongs to.
    pub(crate) fn incarnation(&self, ticket: u64) -> Option<u64> {
        self.in_flight.get(&ticket).map(|flight| flight.incarnation)
    }

    /// What an I/O under way will do.
    pub(crate) fn work(&self, ticket: u64) -> Option<&Work> {
        self.in_flight.get(&ticket).map(|flight| &flight.work)
    }

    /// Ends an I/O without any effect.
    pub(crate) fn abandon(&mut self, ticket: u64) -> Option<Flight> {
        self.in_flight.remove(&ticket)
    }

    /// Ends an I/O and applies its effect; none when a power cut has ended it already.
    pub(crate) fn complete(&mut self, ticket: u64) -> Option<Flight> {
        let flight = self.in_flight.remove(&ticket)?;
        match &flight.work {
            Work::Read { .. } | Work::Digest { .. } | Work::Digests { .. } => {}
            Work::Write { first_sector, stamps, fua } => {
                self.completed += 1;
                for (ahead, stamp) in stamps.iter().enumerate() {
                    self.land(first_sector + ahead, *stamp, *fua);
                }
            }
            Work::Flush { up_to } => self.destage(*up_to),
        }
        Some(flight)
    }

    fn land(&mut self, sector: usize, stamp: u64, durable: bool) {
        self.current[sector] = stamp;
        if durable {
            self.cached[sector].clear();
            self.durable[sector] = stamp;
        } else {
            self.cached[sector].push((self.completed, stamp));
        }
    }

    fn destage(&mut self, up_to: u64) {
        for (sector, cached) in self.cached.iter_mut().enumerate() {
            let covered = cached.iter().take_while(|(serial, _)| *serial <= up_to).count();
            if let Some((_, stamp)) = cached.drain(..covered).next_back() {
                self.durable[sector] = stamp;
            }
        }
    }

    /// A sector changes by itself, on the medium: neither the cache nor anybody knows.
    pub(crate) fn rot(&mut self, sector: usize, stamp: u64) {
        self.cached[sector].clear();
        (self.current[sector], self.durable[sector]) = (stamp, stamp);
    }

    /// A flush has failed, and the disk has lost what it was to make durable (D3): what is read
    /// falls back to what is durable, with what was completed since.
    pub(crate) fn lose_cache(&mut self, up_to: u64, random: &mut Random) {
        let lost_percent = [50, 100][random.below(2) as usize];
        for (sector, cached) in self.cached.iter_mut().enumerate() {
            cached.retain(|(serial, _)| *serial > up_to || !random.chance(lost_percent));
            let newest = cached.last().map(|(_, stamp)| *stamp);
            self.current[sector] = newest.unwrap_or(self.durable[sector]);
        }
    }

    /// The power goes: any subset of what is cached or under way survives, torn between sectors.
    pub(crate) fn lose_power(&mut self, random: &mut Random) {
        // Each cut has a mood of its own, so that all, nothing and every mixture happen.
        let kept_percent = [0, 20, 50, 90, 100][random.below(5) as usize];
        for sector in 0..self.cached.len() {
            for (_, stamp) in std::mem::take(&mut self.cached[sector]) {
                if random.chance(kept_percent) {
                    self.durable[sector] = stamp;
                }
            }
        }
        for flight in std::mem::take(&mut self.in_flight).into_values() {
            if let Work::Write { first_sector, stamps, .. } = flight.work {
                let landed_percent = [0, 0, 50, 100][random.below(4) as usize];
                for (ahead, stamp) in stamps.into_iter().enumerate() {
                    if random.chance(landed_percent) {
                        self.durable[first_sector + ahead] = stamp;
                    }
                }
            }
        }
        self.current.clone_from(&self.durable);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(disk: &mut DataDisk, first_sector: usize, stamp: u64, fua: bool) {
        let work = Work::Write { first_sector, stamps: vec![stamp; 2], fua };
        let ticket = disk.submit(IoId(1), 1, work);
        disk.complete(ticket);
    }

    #[test]
    fn a_flush_makes_durable_what_was_completed_before_it_began_and_nothing_else() {
        let mut disk = DataDisk::new(4, 1);
        write(&mut disk, 0, 7, false);
        let flush = disk.submit(IoId(2), 1, Work::Flush { up_to: disk.completed() });
        write(&mut disk, 1, 8, false);
        disk.complete(flush);
        assert_eq!(disk.durable(), [7, 7, 1, 1]);
        assert_eq!(disk.current(), [7, 8, 8, 1]);
    }

    #[test]
    fn an_older_cached_write_never_comes_back_over_a_durable_one() {
        for seed in 0..50 {
            let mut disk = DataDisk::new(2, 1);
            write(&mut disk, 0, 7, false);
            write(&mut disk, 0, 8, true);
            disk.lose_power(&mut Random::new(seed));
            assert_eq!(disk.current(), [8, 8], "seed {seed}");
        }
    }

    #[test]
    fn a_failed_flush_loses_what_it_covered_and_nothing_since() {
        let mut outcomes = std::collections::BTreeSet::new();
        for seed in 0..100 {
            let mut disk = DataDisk::new(3, 1);
            write(&mut disk, 0, 7, true);
            write(&mut disk, 0, 8, false);
            let covered = disk.completed();
            write(&mut disk, 1, 9, false);
            disk.lose_cache(covered, &mut Random::new(seed));
            let found = disk.current().to_vec();
            assert_eq!(found[1..], [9, 9], "seed {seed}");
            assert_eq!(disk.durable(), [7, 7, 1], "seed {seed}");
            // What is left of the cache can still be made durable.
            disk.destage(disk.completed());
            assert_eq!(disk.durable(), found, "seed {seed}");
            outcomes.insert(found[0]);
        }
        assert_eq!(Vec::from_iter(outcomes), [7, 8], "lost and kept");
    }

    #[test]
    fn a_power_cut_keeps_losing_and_tearing_cached_writes() {
        let mut outcomes = std::collections::BTreeSet::new();
        for seed in 0..100 {
            let mut disk = DataDisk::new(2, 1);
            write(&mut disk, 0, 7, false);
            disk.lose_power(&mut Random::new(seed));
            outcomes.insert(disk.current().to_vec());
        }
        assert_eq!(outcomes.len(), 4, "lost, kept, and torn both ways");
    }
}
