//! The place of the disk in the loop: empty, being opened, in use, or given up until its last I/O
//! has returned (rule D15).

use super::disk::DiskError;
use super::disk_io::{DataDisk, Work};
use super::disk_map::{DiskMap, reopen};
use super::disk_source::{DiskSource, OpenedDisk};
use super::handle::Handle;
use super::metadata_writer::MetadataWriter;
use crate::frontend::MapWish;
use crate::ring::Ring;
use replicator::event::{DiskImage, DiskSize, Input};
use replicator::ids::IoId;
use std::io;
use std::os::fd::AsFd as _;

/// The place. Invariant: one disk at a time, a given up one included.
#[derive(Debug)]
pub(super) struct DiskSlot {
    source: DiskSource,
    handle: Handle,
    open: Option<(DataDisk, MetadataWriter)>,
    map: Option<DiskMap>,
    is_opening: bool,
    is_leaving: bool,
}

impl DiskSlot {
    /// An empty place for the disk of `source`; `handle` leads to the thread that has it.
    pub(super) fn new(source: DiskSource, handle: Handle) -> Self {
        Self { source, handle, open: None, map: None, is_opening: false, is_leaving: false }
    }

    /// Puts an open disk in. What its metadata say is for the engine.
    pub(super) fn put(&mut self, ring: &mut Ring, opened: OpenedDisk) -> DiskImage {
        assert!(self.open.is_none(), "invariant: a disk is opened when the last one is closed");
        let OpenedDisk { disks, image } = opened;
        self.map = reopen(disks.data.fd.as_fd())
            .and_then(|file| DiskMap::start(file, self.handle.clone()));
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

    /// Asks where it has holes; the answer is an order to the I/O thread.
    ///
    /// # Errors
    /// The question comes back: it is not known here, so everything is data.
    pub(super) fn ask_map(&self, wish: MapWish) -> Result<(), MapWish> {
        match &self.map {
            Some(map) if !self.is_leaving => map.ask(wish),
            Some(_) | None => Err(wish),
        }
    }

    /// Gives the disk up, also one that is only being opened.
    pub(super) fn leave(&mut self) {
        self.map = None;
        self.is_leaving = true;
    }

    /// The sizes now. Where the metadata may move to is recorded before anybody can move them
    /// (rule D20).
    ///
    /// # Errors
    /// Why the disk cannot grow.
    pub(super) fn measure(&self) -> Result<DiskSize, String> {
        let Some((data, metadata)) = &self.open else {
            return Err("it is not open".to_owned());
        };
        let unknown = |error: io::Error| format!("it cannot be measured: {error}");
        let size = DiskSize {
            data_bytes: data.size_bytes().map_err(unknown)?,
            meta_bytes: metadata.size_bytes().map_err(unknown)?,
        };
        self.source.remember_end(size.data_bytes).map_err(|error| {
            format!("where it ends now could not be recorded: {error}; mend that first")
        })?;
        Ok(size)
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
    pub(super) fn metadata_completed(&mut self, result: i32) -> Vec<Input> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{MetaDisk, NodeConfig};
    use crate::create_md::create_md;
    use crate::daemon::MetaPlace;
    use crate::dataplane::disk_io::ZEROES_BYTES;
    use crate::dataplane::handle::{Order, Orders, pair};
    use crate::demo::scratch_dir::ScratchDir;
    use crate::disk_ends::DiskEnds;
    use crate::ring::arena::{Arena, Pool, Shelf};
    use metadata::LogGeometry;
    use replicator::ids::NodeIndex;
    use replicator::settings::Settings;
    use std::path::Path;

    struct Bench {
        slot: DiskSlot,
        ring: Ring,
        orders: Orders,
    }

    fn bench(dir: &ScratchDir) -> Bench {
        let disk = dir.path().join("disk");
        std::fs::File::create(&disk).unwrap().set_len(16 << 20).unwrap();
        let node = NodeConfig {
            name: "alice".to_owned(),
            disk: disk.clone(),
            meta_disk: MetaDisk::Internal,
            address: "127.0.0.1:7791".parse().unwrap(),
            device: None,
            attach_helper: None,
            nbd_listen: None,
        };
        create_md("r0", NodeIndex::First, &node, LogGeometry::default(), false).unwrap();
        let names = ["alice".to_owned(), "bob".to_owned()];
        let settings = Settings::new("r0".to_owned(), NodeIndex::First, names);
        let ends = DiskEnds::at(dir.path().join("ends"));
        let source = DiskSource { data_path: disk, meta: MetaPlace::Internal, ends, settings };
        let (handle, orders) = pair().unwrap();
        let shelf = Shelf { pool: Pool::Pages, bytes: ZEROES_BYTES, count: 2 };
        let ring = Ring::new(Arena::new(&[shelf]).unwrap()).unwrap();
        Bench { slot: DiskSlot::new(source, handle), ring, orders }
    }

    impl Bench {
        /// Begins to open the disk, and waits until the thread beside has done it.
        fn open(&mut self) -> Result<OpenedDisk, DiskError> {
            assert!(self.slot.begin_opening().is_none());
            let Order::DiskOpened(result) = self.orders.orders.recv().unwrap() else {
                panic!("the thread beside says only that");
            };
            *result
        }

        fn closed(&mut self) -> bool {
            matches!(self.slot.close_if_idle(&mut self.ring), Some(Input::DiskClosed))
        }
    }

    fn is_free(path: &Path) -> bool {
        crate::dataplane::disk::open_disks(path, &MetaPlace::Internal).is_ok()
    }

    #[test]
    fn a_disk_is_opened_given_up_and_opened_again() {
        let dir = ScratchDir::new("slot-again");
        let path = dir.path().join("disk");
        let mut bench = bench(&dir);
        for _ in 0..2 {
            let result = bench.open();
            let input = bench.slot.opened(&mut bench.ring, result);
            assert!(matches!(input, Some(Input::DiskOpened(_))), "{input:?}");
            assert!(!is_free(&path), "it is not locked");
            assert!(!bench.closed(), "nobody gave it up");
            bench.slot.leave();
            assert!(bench.closed());
            assert!(is_free(&path), "the lock stayed");
        }
    }

    #[test]
    fn a_disk_with_io_under_way_is_not_closed_before_it_has_returned() {
        let dir = ScratchDir::new("slot-busy");
        let mut bench = bench(&dir);
        let result = bench.open();
        bench.slot.opened(&mut bench.ring, result);
        bench.slot.start(IoId(1), Work::Flush);
        bench.slot.leave();
        assert!(!bench.closed());
        bench.slot.kick(&mut bench.ring);
        assert!(!bench.closed());
        let mut done = Vec::new();
        while done.is_empty() {
            bench.ring.wait(None, &mut done).unwrap();
        }
        let input = bench.slot.completed(&mut bench.ring, 0, done[0].result);
        assert!(matches!(input, Some(Input::DiskDone { io: IoId(1), outcome: _ })), "{input:?}");
        assert!(bench.closed());
    }

    #[test]
    fn a_disk_that_is_given_up_while_it_is_opened_is_closed_and_never_used() {
        let dir = ScratchDir::new("slot-late");
        let path = dir.path().join("disk");
        let mut bench = bench(&dir);
        let result = bench.open();
        bench.slot.leave();
        assert!(!bench.closed(), "it may still come");
        assert!(bench.slot.opened(&mut bench.ring, result).is_none());
        assert!(bench.closed());
        assert!(is_free(&path), "the lock stayed");
    }

    #[test]
    fn a_disk_is_measured_as_it_is_now_and_found_again_where_its_metadata_are() {
        let dir = ScratchDir::new("slot-grown");
        let mut bench = bench(&dir);
        assert!(bench.slot.measure().is_err(), "nothing is open");
        let result = bench.open();
        bench.slot.opened(&mut bench.ring, result);
        let ends = DiskEnds::at(dir.path().join("ends"));
        assert_eq!(ends.known(), [16 << 20]);
        let file = std::fs::File::options().write(true).open(dir.path().join("disk")).unwrap();
        file.set_len(24 << 20).unwrap();
        let size = bench.slot.measure().unwrap();
        assert_eq!((size.data_bytes, size.meta_bytes), (24 << 20, 24 << 20));
        assert_eq!(ends.known(), [16 << 20, 24 << 20]);
        bench.slot.leave();
        assert!(bench.closed());
        let result = bench.open();
        assert!(result.is_ok(), "metadata at the old end: {result:?}");
    }

    #[test]
    fn a_disk_that_cannot_be_opened_says_why() {
        let dir = ScratchDir::new("slot-gone");
        let mut bench = bench(&dir);
        std::fs::remove_file(dir.path().join("disk")).unwrap();
        let result = bench.open();
        match bench.slot.opened(&mut bench.ring, result) {
            Some(Input::DiskOpenFailed { reason }) => assert!(reason.contains("disk"), "{reason}"),
            other => panic!("expected a failure, saw {other:?}"),
        }
    }
}
