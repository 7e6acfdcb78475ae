//! Older copies of a whole disk, taken and put back as an administrator does with a volume's
//! snapshots (G8), and single pages damaged by hand.

use crate::disk::DataDisk;
use crate::metadata_disk::MetadataDisk;
use crate::world::World;
use metadata::superblock::Superblock;

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
        self.ledger.discard(host);
        let this = &mut self.hosts[host];
        let copy = this.copy.clone().expect("a copy was taken before");
        this.data = DataDisk::of(copy.data);
        this.metadata = copy.metadata;
        this.power_cuts += 1;
        self.metadata_false = true;
        self.coverage.count("older copy restored");
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
    pub const fn forget_resume_mark(&mut self, host: usize) {
        self.hosts[host].resume_mark = false;
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
