//! The place of the disk in the loop: empty, being opened, in use, or given up until its last I/O
//! has returned (rule D15).

use super::disk::DiskError;
use super::disk_io::{DataDisk, Work};
use super::disk_source::{DiskSource, OpenedDisk};
use super::handle::Handle;
use super::metadata_writer::MetadataWriter;
use crate::ring::Ring;
use replicator::event::{DiskImage, Input};
use replicator::ids::IoId;

/// The place. Invariant: one disk at a time, a given up one included.
#[derive(Debug)]
pub(super) struct DiskSlot {
    source: DiskSource,
    handle: Handle,
    open: Option<(DataDisk, MetadataWriter)>,
    is_opening: bool,
    is_leaving: bool,
}

impl DiskSlot {
    /// An empty place for the disk of `source`; `handle` leads to the thread that has it.
    pub(super) fn new(source: DiskSource, handle: Handle) -> Self {
        Self { source, handle, open: None, is_opening: false, is_leaving: false }
    }

    /// Puts an open disk in. What its metadata say is for the engine.
    pub(super) fn put(&mut self, ring: &mut Ring, opened: OpenedDisk) -> DiskImage {
        assert!(self.open.is_none(), "invariant: a disk is opened when the last one is closed");
        let OpenedDisk { disks, image } = opened;
        let data = DataDisk::new(disks.data.fd, ring.arena_mut());
        let metadata = MetadataWriter::new(disks.meta.fd, ring.arena_mut());
        self.open = Some((data, metadata));
        image
    }

    /// Begins to open the disk. Gives the engine's input when that fails at once.
    pub(super) fn begin_opening(&mut self) -> Option<Input> {
        assert!(
            self.open.is_none() && !self.is_opening,
            "invariant: a disk is opened when the last one is closed"
        );
        match self.source.open_beside(self.handle.clone()) {
            Ok(()) => {
                self.is_opening = true;
                None
            }
            Err(error) => {
                let reason = format!("no thread to open it: {error}; try again");
                Some(Input::DiskOpenFailed { reason })
            }
        }
    }

    /// Takes the end of the opening; gives the engine's input, none when it does not want the disk
    /// any more.
    pub(super) fn opened(
        &mut self,
        ring: &mut Ring,
        result: Result<OpenedDisk, DiskError>,
    ) -> Option<Input> {
        self.is_opening = false;
        if self.is_leaving {
            return None;
        }
        Some(match result {
            Ok(opened) => Input::DiskOpened(Box::new(self.put(ring, opened))),
            Err(error) => Input::DiskOpenFailed { reason: error.to_string() },
        })
    }

    /// Gives the disk up, also one that is only being opened.
    pub(super) fn leave(&mut self) {
        self.is_leaving = true;
    }

    /// Queues an I/O.
    pub(super) fn start(&mut self, io: IoId, work: Work) {
        self.data_mut().start(io, work);
    }

    /// Queues a metadata write.
    pub(super) fn start_metadata(&mut self, io: IoId, offset_bytes: u64, pages: Vec<u8>) {
        let (_, metadata) = self.open.as_mut().expect(USED_OPEN);
        metadata.start(io, offset_bytes, pages);
    }

    /// Submits what is queued.
    pub(super) fn kick(&mut self, ring: &mut Ring) {
        if let Some((data, metadata)) = &mut self.open {
            data.kick(ring);
            metadata.kick(ring);
        }
    }

    /// Takes the result of a step of an I/O.
    pub(super) fn completed(&mut self, ring: &mut Ring, place: u16, result: i32) -> Option<Input> {
        self.data_mut().completed(ring, place, result)
    }

    /// Takes the result of a metadata write.
    pub(super) fn metadata_completed(&mut self, result: i32) -> Option<Input> {
        let (_, metadata) = self.open.as_mut().expect(USED_OPEN);
        metadata.completed(result)
    }

    /// Closes the disk that was given up when nothing of it is under way any more, and with it its
    /// lock goes.
    pub(super) fn close_if_idle(&mut self, ring: &mut Ring) -> Option<Input> {
        let is_busy = self.is_opening
            || self
                .open
                .as_ref()
                .is_some_and(|(data, metadata)| !data.is_idle() || !metadata.is_idle());
        if !self.is_leaving || is_busy {
            return None;
        }
        if let Some((data, metadata)) = self.open.take() {
            data.close(ring);
            metadata.close(ring);
        }
        self.is_leaving = false;
        Some(Input::DiskClosed)
    }

    fn data_mut(&mut self) -> &mut DataDisk {
        &mut self.open.as_mut().expect(USED_OPEN).0
    }
}

const USED_OPEN: &str = "invariant: a disk is used from its opening until all its I/O has returned";
