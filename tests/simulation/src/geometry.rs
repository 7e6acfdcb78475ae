//! Which sectors of a simulated disk are real: a device of many extents, of which only the sectors
//! in a few areas are ever written by clients. All others read as zeroes on both disks, always.
//!
//! Everywhere else in the simulator a sector is named by its place among the real ones, counted
//! without gaps. The map keeps the order, so a stretch of the device is a stretch here too.

use crate::disk::SECTOR_BYTES;
use crate::random::Random;
use metadata::units::{ByteRange, EXTENT_BYTES};
use std::iter::once;
use std::ops::Range;

/// Sectors of an extent.
const EXTENT_SECTORS: u64 = EXTENT_BYTES / SECTOR_BYTES;

/// A run of real sectors.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Area {
    /// On the device.
    device: Range<u64>,
    /// Real sectors before it.
    before: u64,
}

/// The map of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Geometry {
    device_sectors: u64,
    areas: Vec<Area>,
}

impl Geometry {
    /// A small device that is real as a whole.
    #[must_use]
    pub fn solid(sectors: usize) -> Self {
        Self::new(sectors as u64, once(0..sectors as u64))
    }

    /// A device of so many extents, more than the least activity log has slots: real are its
    /// beginning, its end, and some sectors on both sides of every border between two extents. Its
    /// last block is a short one.
    #[must_use]
    pub fn wide(extents: u64) -> Self {
        let device_sectors = extents * EXTENT_SECTORS - 3;
        let borders = (1..extents).map(|border| {
            let at = border * EXTENT_SECTORS;
            at - 16..at + 24
        });
        let end = device_sectors - 21..device_sectors;
        Self::new(device_sectors, once(0..24).chain(borders).chain(once(end)))
    }

    fn new(device_sectors: u64, areas: impl Iterator<Item = Range<u64>>) -> Self {
        let mut before = 0;
        let areas = areas
            .map(|device| {
                let area = Area { before, device };
                before += area.count();
                area
            })
            .collect();
        Self { device_sectors, areas }
    }

    /// Bytes of the device.
    #[must_use]
    pub const fn device_bytes(&self) -> u64 {
        self.device_sectors * SECTOR_BYTES
    }

    /// Number of real sectors.
    #[must_use]
    pub fn sectors(&self) -> usize {
        self.areas.last().map_or(0, |area| area.before + area.count()) as usize
    }

    /// True when not every sector is real.
    #[must_use]
    pub const fn is_wide(&self) -> bool {
        self.areas.len() > 1
    }

    /// The real sectors in a stretch of the device.
    #[must_use]
    pub fn real(&self, range: ByteRange) -> Range<usize> {
        let at = |bytes: u64| self.real_before(bytes / SECTOR_BYTES) as usize;
        at(range.start())..at(range.end())
    }

    fn real_before(&self, device_sector: u64) -> u64 {
        self.areas
            .iter()
            .rev()
            .find(|area| area.device.start <= device_sector)
            .map_or(0, |area| area.before + (device_sector - area.device.start).min(area.count()))
    }

    /// The bytes from the first of some real sectors to the last.
    ///
    /// # Panics
    /// When there are none of them.
    #[must_use]
    pub fn bytes_of(&self, sectors: &Range<usize>) -> ByteRange {
        let (first, last) = (self.on_device(sectors.start), self.on_device(sectors.end - 1));
        ByteRange::new(first * SECTOR_BYTES, (last + 1 - first) * SECTOR_BYTES)
    }

    /// Where a real sector lies on the device.
    pub(crate) fn on_device(&self, sector: usize) -> u64 {
        let sector = sector as u64;
        let area = self.areas.iter().rev().find(|area| area.before <= sector);
        let area = area.expect("invariant: the first area begins with the first real sector");
        area.device.start + sector - area.before
    }

    /// Some adjacent sectors, at most `longest`, for a write: all in one area. Half of them hit the
    /// same few blocks, so that requests overlap.
    #[must_use]
    pub fn draw(&self, random: &mut Random, longest: u64) -> Range<usize> {
        let area = &self.areas[random.below(self.areas.len() as u64) as usize];
        let total = area.count();
        let reach = if random.chance(50) { total } else { total.min(40) };
        let first = random.below(reach);
        let count = (1 + random.below(longest)).min(total - first);
        let first = (area.before + first) as usize;
        first..first + count as usize
    }
}

impl Area {
    const fn count(&self) -> u64 {
        self.device.end - self.device.start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_sectors_are_counted_without_gaps_and_found_again() {
        for geometry in [Geometry::solid(100), Geometry::wide(9)] {
            let sectors = geometry.sectors();
            for sector in 0..sectors {
                let one = sector..sector + 1;
                assert_eq!(geometry.real(geometry.bytes_of(&one)), one);
            }
            assert_eq!(geometry.real(geometry.bytes_of(&(0..sectors))), 0..sectors);
        }
    }

    #[test]
    fn a_stretch_between_two_areas_holds_nothing_real() {
        let geometry = Geometry::wide(9);
        assert_eq!(geometry.real(ByteRange::new(1 << 20, 4096)), 24..24);
        assert_eq!(geometry.real(ByteRange::new(1 << 20, EXTENT_BYTES)), 24..64);
    }

    #[test]
    fn some_requests_span_two_extents() {
        let geometry = Geometry::wide(9);
        let mut random = Random::new(1);
        let spans = (0..1000).filter(|_| {
            let sectors = geometry.draw(&mut random, 24);
            let (first, last) = geometry.bytes_of(&sectors).extents();
            first != last
        });
        assert!(spans.count() > 100);
    }
}
