//! Sectors that change by themselves, and the judge of verify and repair: what differs is reported
//! and marked on both nodes, what does not is neither (DESIGN 5).

use crate::world::World;
use metadata::units::BLOCK_BYTES;
use replicator::event::{Answer, Command, RepairFrom};
use replicator::state::{ConnectionState, ReplicationState, Role};
use std::collections::BTreeSet;

/// Sectors of a block.
const BLOCK_SECTORS: u64 = BLOCK_BYTES / crate::disk::SECTOR_BYTES;
/// Rotten sectors of one run at most: each makes what is promised of it weaker.
const SECTORS_MAX: usize = 12;
/// Runs that end with a verify of damaged replicas.
const END_PERCENT: u64 = 40;
/// So often a verify is asked for that cannot begin yet.
const TRIES_MAX: u32 = 10;
/// Virtual time within which a verify and its repair end, in microseconds.
const END_US_MAX: u64 = 120_000_000;

/// What is known of it. Sectors are counted among the real ones, blocks on the device.
#[derive(Debug, Default)]
pub(crate) struct Rot {
    /// Changed, and not known to be mended.
    sectors: BTreeSet<usize>,
    /// Blocks in which something has ever changed.
    blocks: BTreeSet<u64>,
    /// Nothing was marked on either node when the verify of this node began.
    began_clean: [bool; 2],
    /// Blocks that the last verify of each node has reported.
    reported: [BTreeSet<u64>; 2],
}

impl Rot {
    /// This sector may differ although nobody knows.
    pub(crate) fn is_unnoticed(&self, sector: usize) -> bool {
        self.sectors.contains(&sector)
    }
}

/// The blocks of a line `Out of sync: start=S, size=N (sectors)`.
fn blocks_of(line: &str) -> Option<std::ops::Range<u64>> {
    let (start, rest) = line.strip_prefix("Out of sync: start=")?.split_once(", size=")?;
    let size: u64 = rest.strip_suffix(" (sectors)")?.parse().ok()?;
    let start: u64 = start.parse().ok()?;
    Some(start / BLOCK_SECTORS..(start + size).div_ceil(BLOCK_SECTORS))
}

impl World {
    /// A sector of a disk changes by itself.
    pub fn rot_sector(&mut self, host: usize, sector: usize) {
        self.last_stamp += 1;
        let stamp = self.last_stamp;
        self.trace(|| format!("sector {sector} of node {host} rots to {stamp}"));
        self.ledger.rots(sector, stamp);
        self.hosts[host].data.rot(sector, stamp);
        self.rot.sectors.insert(sector);
        self.rot.blocks.insert(self.block_of(sector));
    }

    pub(crate) fn rot_some_sector(&mut self, host: usize) {
        let limit = self.hosts[host].export_sectors.unwrap_or(0);
        if limit > 0 && self.rot.blocks.len() < SECTORS_MAX && self.random.chance(20) {
            let sector = self.random.below(limit as u64) as usize;
            self.rot_sector(host, sector);
        }
    }

    fn block_of(&self, sector: usize) -> u64 {
        self.profile.geometry.on_device(sector) / BLOCK_SECTORS
    }

    pub(crate) fn verify_some_time(&mut self, host: usize) {
        let size_bytes = self.size_bytes(host).unwrap_or(0).max(1);
        let whole = self.random.chance(70);
        let start_bytes = if whole { 0 } else { self.random.below(size_bytes) };
        let stop_bytes = (!whole && self.random.chance(50)).then(|| self.random.below(size_bytes));
        let repair = self.random.chance(30);
        self.command(host, Command::Verify { start_bytes, stop_bytes, repair });
    }

    pub(crate) fn repair_some_time(&mut self, host: usize) {
        let from = [None, Some(RepairFrom::Local), Some(RepairFrom::Peer)];
        let from = from[self.random.below(3) as usize];
        self.command(host, Command::Repair { from });
    }

    /// What a node's log says of a verify is judged as it is said.
    pub(crate) fn verify_says(&mut self, host: usize, line: &str) {
        if line.starts_with("Starting online verify") {
            let marked = [0, 1].map(|host| self.status(host).map_or(1, |s| s.out_of_sync_blocks));
            self.rot.began_clean[host] = marked == [0, 0];
            self.rot.reported[host].clear();
        }
        let Some(blocks) = blocks_of(line) else { return };
        self.rot.reported[host].extend(blocks.clone());
        let unreadable = self
            .status(host)
            .and_then(|status| status.verified)
            .is_some_and(|verified| verified.unreadable_blocks > 0);
        let sound = blocks.clone().find(|block| !self.rot.blocks.contains(block));
        if let Some(block) = sound
            && self.rot.began_clean[host]
            && !unreadable
        {
            self.fail(format!("a verify of node {host} reports block {block}, which is sound"));
        }
    }

    /// The two are in sync and quiet: damages them behind their back, and expects that a verify
    /// finds just that, on both, and that a repair mends it.
    pub(crate) fn verify_at_the_end(&mut self) {
        if self.violation().is_some() || !self.random.chance(END_PERCENT) {
            return;
        }
        // It may have settled before everything was mended.
        self.mend_nodes(1);
        if !self.run_until(END_US_MAX, Self::is_quiet_and_in_sync) {
            return;
        }
        // What rotted before is found first, and mended.
        let found = self.verify_and_repair(false);
        if !found || self.violation().is_some() {
            return;
        }
        self.rot = Rot::default();
        let limit = self.size_bytes(0).map_or(0, |bytes| self.sectors_within(bytes));
        let primary = [0, 1].into_iter().find(|host| self.is_primary(*host));
        let beside_client = primary.is_some() && self.random.chance(50);
        for _ in 0..self.random.between(1, 6) {
            // Clients do not read what is damaged under them.
            let host = match primary {
                Some(primary) if beside_client => 1 - primary,
                Some(_) | None => self.random.below(2) as usize,
            };
            let sector = self.random.below(limit as u64) as usize;
            self.rot_sector(host, sector);
        }
        if self.random.chance(50) {
            // The last block may be a short one.
            self.rot_sector(primary.map_or(1, |primary| 1 - primary), limit - 1);
        }
        let what = if beside_client {
            "damage found by a verify beside a client"
        } else {
            "damage found by a verify at rest"
        };
        if self.verify_and_repair(beside_client) {
            self.coverage.count(what);
        }
    }

    fn is_primary(&self, host: usize) -> bool {
        self.status(host).is_some_and(|status| status.role == Role::Primary)
    }

    /// True when everything that differs was found and mended; what else happens is a violation.
    fn verify_and_repair(&mut self, beside_client: bool) -> bool {
        let runs_on = self.random.below(2) as usize;
        let mut before = 0;
        let verify = Command::Verify { start_bytes: 0, stop_bytes: None, repair: false };
        let mut answer = None;
        for _ in 0..TRIES_MAX {
            // A daemon that was started anew counts from the beginning.
            before = self.verifies(runs_on);
            answer = self.ask(runs_on, verify);
            if matches!(answer, Some(Answer::Done)) {
                break;
            }
            // What was begun before may not be over: a resize, its resync, the peer's fencing.
            self.run_for(1_000_000);
            self.settle();
        }
        if !matches!(answer, Some(Answer::Done)) {
            self.fail(format!("a verify of two that are in sync was not begun: {answer:?}"));
            return false;
        }
        if beside_client {
            self.write_beside_a_verify(runs_on, before);
        }
        let ended = self
            .run_until(END_US_MAX, |world| world.verifies(runs_on) > before && world.is_at_rest());
        if !ended {
            self.fail(format!("a verify does not end: {}", self.in_short(runs_on)));
            return false;
        }
        self.judge_findings();
        if self.rot.reported.iter().all(BTreeSet::is_empty) || self.violation().is_some() {
            return self.violation().is_none();
        }
        self.repair_and_judge()
    }

    fn verifies(&self, host: usize) -> u64 {
        self.status(host).and_then(|status| status.verified).map_or(0, |verified| verified.run)
    }

    fn is_at_rest(&self) -> bool {
        [0, 1].iter().all(|host| {
            self.hosts[*host].data.is_idle()
                && self.hosts[*host].client.open_count() == 0
                && self.status(*host).is_some_and(|status| {
                    status.replication == ReplicationState::Established
                        && status.connection == ConnectionState::Connected
                })
        })
    }

    fn write_beside_a_verify(&mut self, runs_on: usize, before: u64) {
        let Some(primary) = [0, 1].into_iter().find(|host| self.is_primary(*host)) else { return };
        for _ in 0..200 {
            if self.verifies(runs_on) > before || self.violation().is_some() {
                return;
            }
            let sectors = self.draw_sectors(primary, 24);
            if self.hosts[primary].client.open_count() < 4 {
                self.client_writes(primary, sectors, false);
            }
            self.run_for(self.random.clone().between(10, 2_000));
        }
    }

    /// What differs is reported by both, and marked on both; at rest nothing else is.
    fn judge_findings(&mut self) {
        let limit = self.size_bytes(0).map_or(0, |bytes| self.sectors_within(bytes));
        let contents = self.hosts.each_ref().map(|host| &host.data.current()[..limit]);
        let differing: BTreeSet<u64> = (0..limit)
            .filter(|sector| contents[0][*sector] != contents[1][*sector])
            .map(|sector| self.block_of(sector))
            .collect();
        for host in [0, 1] {
            let reported = &self.rot.reported[host];
            if let Some(block) = differing.difference(reported).next() {
                return self
                    .fail(format!("block {block} differs, and node {host} does not say so"));
            }
            let marked = self.status(host).map_or(0, |status| status.out_of_sync_blocks);
            if marked != reported.len() as u64 {
                let count = reported.len();
                return self.fail(format!("node {host} reports {count} blocks and marks {marked}"));
            }
        }
    }

    fn repair_and_judge(&mut self) -> bool {
        let primary = [0, 1].into_iter().find(|host| self.is_primary(*host));
        let told = self.random.below(2) as usize;
        let from = match primary {
            Some(_) => None,
            None => Some([RepairFrom::Local, RepairFrom::Peer][self.random.below(2) as usize]),
        };
        let source = match (primary, from) {
            (Some(primary), _) => primary,
            (None, Some(RepairFrom::Peer)) => 1 - told,
            (None, Some(RepairFrom::Local) | None) => told,
        };
        let before = self.hosts[source].data.current().to_vec();
        let answer = self.ask(told, Command::Repair { from });
        if !matches!(answer, Some(Answer::Done)) {
            self.fail(format!("what a verify found is not repaired: {answer:?}"));
            return false;
        }
        let mended = self.run_until(END_US_MAX, Self::is_quiet_and_in_sync);
        if !mended {
            self.fail(format!("a repair does not end: {}", self.in_short(told)));
            return false;
        }
        if self.hosts[source].data.current() != before {
            self.fail(format!("a repair changed node {source}, whose data count"));
        }
        self.rot.sectors.clear();
        self.check_equal();
        self.coverage.count("damage repaired");
        self.violation().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_blocks_of_a_line_are_those_that_drbd_means() {
        assert_eq!(blocks_of("Out of sync: start=10720, size=16 (sectors)"), Some(1340..1342));
        assert_eq!(blocks_of("Out of sync: start=64, size=3 (sectors)"), Some(8..9));
        assert_eq!(blocks_of("Out of sync: 4 more ranges"), None);
    }
}
