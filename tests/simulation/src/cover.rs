//! What the metadata on stable storage say of the data: at every moment each block that differs, or
//! would differ after a power cut, must be covered by the log or the bitmap of at least one node
//! (rules D1, D4, D5, D7, D8). Otherwise a crash now would hide the difference for ever.

use crate::disk::SECTOR_BYTES;
use crate::world::World;
use metadata::generations::{Generations, JUST_CREATED, PRIMARY_BIT, same_generation};
use metadata::page::PageIdentity;
use metadata::superblock::Superblock;
use metadata::units::BLOCK_BYTES;
use std::ops::Range;

/// Sectors of a block.
const BLOCK_SECTORS: u64 = BLOCK_BYTES / SECTOR_BYTES;

/// What a start would find out of sync now.
#[derive(Debug, Clone)]
pub(crate) struct Cover {
    /// By block; beyond the end: not covered.
    blocks: Vec<bool>,
    generations: Generations,
    owner: PageIdentity,
    /// As agreed or, before, as far as the disk has room.
    device_bytes: u64,
}

impl Cover {
    /// From what log and bitmap say.
    pub(crate) const fn new(superblock: &Superblock, blocks: Vec<bool>) -> Self {
        Self {
            blocks,
            generations: superblock.generations,
            owner: superblock.identity(),
            device_bytes: device_bytes(superblock),
        }
    }

    /// The superblock has changed and nothing else. False: log and bitmap must be read with new
    /// eyes.
    pub(crate) fn follows(&mut self, superblock: &Superblock) -> bool {
        self.generations = superblock.generations;
        self.owner == superblock.identity() && self.device_bytes == device_bytes(superblock)
    }

    fn covers(&self, device_sector: u64) -> bool {
        self.blocks.get((device_sector / BLOCK_SECTORS) as usize).copied().unwrap_or(false)
    }
}

const fn device_bytes(superblock: &Superblock) -> u64 {
    match superblock.device_bytes {
        0 => superblock.capacity_bytes,
        agreed => agreed,
    }
}

/// The bitmaps count when the two meet: one has the other's generation, or is right behind it.
fn are_related(one: &Generations, other: &Generations) -> bool {
    let real = |generation: u64| !matches!(generation & !PRIMARY_BIT, 0 | JUST_CREATED);
    let same = |a: u64, b: u64| real(a) && real(b) && same_generation(a, b);
    same(one.current, other.current)
        || same(one.current, other.bitmap)
        || same(one.bitmap, other.current)
}

impl World {
    /// Data have landed on a disk, or have become durable there.
    pub(crate) fn check_cover(&mut self, sectors: Range<usize>) {
        if self.metadata_false || self.hosts.iter().any(|host| host.restored) {
            return;
        }
        for host in &mut self.hosts {
            host.metadata.read_cover();
            if std::mem::take(&mut host.metadata.left) > 0 {
                self.coverage.count("extent left the log");
            }
        }
        let [Some(first), Some(second)] = self.hosts.each_ref().map(|host| host.metadata.cover())
        else {
            return;
        };
        if !are_related(&first.generations, &second.generations) {
            return;
        }
        // What lies above both sizes is not a part of the device (D20).
        let limit = self.sectors_within(first.device_bytes.max(second.device_bytes));
        let sectors = sectors.start..sectors.end.min(limit);
        let [one, other] = self.hosts.each_ref().map(|host| &host.data);
        let bare = sectors.into_iter().find(|sector| {
            let seen = [
                one.current()[*sector],
                one.durable()[*sector],
                other.current()[*sector],
                other.durable()[*sector],
            ];
            let at_risk = seen.iter().any(|stamp| *stamp != seen[0]);
            let device_sector = self.profile.geometry.on_device(*sector);
            at_risk
                && !self.rot.is_unnoticed(*sector)
                && !first.covers(device_sector)
                && !second.covers(device_sector)
        });
        if let Some(sector) = bare {
            let why = format!(
                "sector {sector} holds {} ({} durably) and {} ({} durably), and no log or bitmap \
                 on stable storage says so",
                one.current()[sector],
                one.durable()[sector],
                other.current()[sector],
                other.durable()[sector],
            );
            self.fail(why);
        }
    }

    /// The same for the whole disk: metadata have landed, or the power has gone.
    pub(crate) fn check_cover_everywhere(&mut self) {
        self.check_cover(0..self.profile.geometry.sectors());
    }
}
