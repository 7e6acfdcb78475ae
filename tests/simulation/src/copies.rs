//! Older copies of a whole disk, taken and put back as an administrator does with a volume's
//! snapshots (G8), and single pages damaged by hand.

use crate::metadata_disk::MetadataDisk;
use crate::world::World;
use metadata::generations::{Generations, same_generation};
use metadata::superblock::Superblock;
use replicator::event::ResumeMark;

/// Data and metadata of one moment.
#[derive(Debug, Clone)]
pub(crate) struct Copy {
    data: Vec<u64>,
    metadata: MetadataDisk,
}

impl World {
    /// Takes a copy of the disk of `host` as it is now, its cache included.
    pub fn take_copy(&mut self, host: usize) {
        let this = &mut self.hosts[host];
        let copy = Copy { data: this.data.current().to_vec(), metadata: this.metadata.at_rest() };
        this.copy = Some(copy);
    }

    /// The daemon dies and its disk is put back to the copy; it is started again by whoever brings
    /// the host up.
    ///
    /// # Panics
    /// When there is no copy.
    pub fn restore_copy(&mut self, host: usize) {
        self.kill_daemon(host);
        let this = &mut self.hosts[host];
        let copy = this.copy.clone().expect("a copy was taken before");
        self.ledger.put_back(host, &copy.data);
        this.data.put_back(copy.data);
        this.metadata = copy.metadata;
        this.power_cuts += 1;
        (this.restored, this.replaced) = (true, false);
        self.coverage.count("older copy restored");
        self.trace(|| format!("an older copy is put back on node {host}"));
    }

    /// At a random moment: a copy is put back if there is one that must be noticed, otherwise one
    /// is taken.
    pub(crate) fn copy_or_restore(&mut self, host: usize) {
        if self.random.chance(50) && self.would_be_noticed(host) {
            self.restore_copy(host);
            if self.random.chance(50) {
                self.bring_up(host);
            }
        } else if self.hosts[host].copy.is_none() || self.random.chance(20) {
            self.take_copy(host);
        }
    }

    /// The promise of G8: the copy shows less than the peer has durably recorded, and the peer's
    /// data are good without this disk. What the peer has in memory alone, it may lose with its
    /// process.
    fn would_be_noticed(&self, host: usize) -> bool {
        let Some(copy) = &self.hosts[host].copy else { return false };
        let peer = &self.hosts[1 - host];
        let (Ok(old), Ok(now)) = (copy.metadata.superblock(), peer.metadata.superblock()) else {
            return false;
        };
        let Some(shown) = copy.metadata.shown() else { return false };
        let least = now.peer_minimum;
        let is_known = least.instance_id == old.instance_id
            && !old.generations.is_just_created()
            && !now.generations.is_just_created()
            // From before the device grew: refused by its size, and for the operator to replace.
            && old.device_bytes == now.device_bytes;
        let shows_less =
            shown.superblock < least.superblock_sequence || shown.log < least.log_sequence;
        // Without the mark it goes on alone on a generation that the peer has taken since.
        let Generations { current, bitmap, history: [younger, older] } = now.generations;
        let taken = [current, bitmap, younger, older];
        let is_taken = taken.iter().any(|had| same_generation(*had, old.generations.current));
        let would_rotate = !is_taken || old.flags.peer_may_hold_current;
        let flags = now.flags;
        let is_good = flags.consistent && flags.was_up_to_date && !peer.restored;
        is_known && shows_less && would_rotate && is_good
    }

    /// Somebody has decided whose data count: everything is copied, from whichever side.
    pub(crate) fn all_is_replaced(&mut self) {
        for host in &mut self.hosts {
            host.replaced = true;
        }
    }

    /// Both nodes are said to be in sync: a restored one among them must have been noticed.
    pub(crate) fn judge_restored(&mut self) {
        for host in [0, 1] {
            if std::mem::take(&mut self.hosts[host].restored) && !self.hosts[host].replaced {
                self.fail(format!(
                    "node {host} was restored from an older copy, and nothing was copied to it"
                ));
            }
            self.hosts[host].replaced = false;
        }
    }

    /// One copy of the superblock of `host` rots; its daemon does not run.
    pub fn rot_superblock_copy(&mut self, host: usize, copy: usize) {
        self.hosts[host].metadata.rot_superblock_copy(copy);
    }

    /// The bitmap of `host` comes back as it was when the copy was taken; its daemon does not run.
    ///
    /// # Panics
    /// When there is no copy.
    pub fn restore_bitmap(&mut self, host: usize) {
        let this = &mut self.hosts[host];
        let copy = this.copy.clone().expect("a copy was taken before");
        this.metadata.take_bitmap_of(&copy.metadata);
        self.metadata_false = true;
    }

    /// The run directory of `host` is emptied: a Primary that was killed does not resume its role.
    pub fn forget_resume_mark(&mut self, host: usize) {
        self.resume_mark_is(host, ResumeMark::Void);
    }

    /// The superblock of `host` as it counts on its disk.
    ///
    /// # Panics
    /// When neither copy is usable.
    #[must_use]
    pub fn superblock(&self, host: usize) -> Superblock {
        self.hosts[host].metadata.superblock().expect("one copy is usable")
    }
}
