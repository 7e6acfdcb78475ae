//! Where the disk of the resource is, and opening it: at the start, and again for an attach.

use super::disk::{self, DiskError, OpenDisks};
use super::disk_image::read_image;
use super::handle::{Handle, Order};
use crate::daemon::MetaPlace;
use crate::disk_ends::DiskEnds;
use replicator::event::DiskImage;
use replicator::settings::Settings;
use std::io;
use std::path::PathBuf;

/// A disk that is open and locked, and what its metadata say.
#[derive(Debug)]
pub(super) struct OpenedDisk {
    pub(super) disks: OpenDisks,
    pub(super) image: DiskImage,
}

/// Which disk.
#[derive(Debug, Clone)]
pub(super) struct DiskSource {
    pub(super) data_path: PathBuf,
    pub(super) meta: MetaPlace,
    /// Where it was known to end; counts with internal metadata only.
    pub(super) ends: DiskEnds,
    /// Says whose its metadata must be.
    pub(super) settings: Settings,
}

impl DiskSource {
    /// Opens, locks and reads it. Takes as long as the disk does.
    ///
    /// # Errors
    /// The first thing that is in the way; nothing is left open then.
    pub(super) fn open(&self) -> Result<OpenedDisk, DiskError> {
        let disks = disk::open_disks(&self.data_path, &self.meta)?;
        let image = read_image(&disks, &self.settings, &self.ends)?;
        Ok(OpenedDisk { disks, image })
    }

    /// The disk may end here from now on, as its metadata may move there (rule D20). External ones
    /// stay where they are.
    ///
    /// # Errors
    /// It could not be recorded; then the metadata must not move.
    pub(super) fn remember_end(&self, disk_bytes: u64) -> io::Result<()> {
        match self.meta {
            MetaPlace::Internal => self.ends.add(disk_bytes),
            MetaPlace::External(_) => Ok(()),
        }
    }

    /// [`Self::open`] on a thread of its own, since a bad disk may hold it for long; the result is
    /// an order to the I/O thread.
    ///
    /// # Errors
    /// There can be no such thread.
    pub(super) fn open_beside(&self, handle: Handle) -> io::Result<()> {
        let source = self.clone();
        let body = move || {
            let opened = Box::new(source.open());
            // When the I/O thread has ended meanwhile, this closes the disk.
            handle.order(Order::DiskOpened(opened)).ok();
        };
        std::thread::Builder::new().name("attach".to_owned()).spawn(body).map(drop)
    }
}
