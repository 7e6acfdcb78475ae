//! What is read back from a disk that create-md wrote and an attach changed.

use super::*;
use crate::create_md::create_md;
use crate::demo::scratch_dir::ScratchDir;
use metadata::activity_log::{LogDamage, SlotUpdate, Transaction};
use metadata::units::BlockRange;
use metadata::{Flags, Generations, LogGeometry, PageError};
use rustix::fs::{FlockOperation, flock};
use std::fs::OpenOptions;

const DISK_BYTES: u64 = 64 << 20;

struct Bench {
    _dir: ScratchDir,
    node: NodeConfig,
    layout: Layout,
}

impl Bench {
    fn new(name: &str, external: bool) -> Self {
        let dir = ScratchDir::new(name);
        let disk = dir.path().join("disk");
        File::create(&disk).unwrap().set_len(DISK_BYTES).unwrap();
        let meta_disk = if external {
            let meta = dir.path().join("meta");
            File::create(&meta).unwrap().set_len(1 << 20).unwrap();
            MetaDisk::External(meta)
        } else {
            MetaDisk::Internal
        };
        let node = NodeConfig {
            name: "alice".to_owned(),
            disk,
            meta_disk,
            address: "127.0.0.1:7791".parse().unwrap(),
            device: None,
            attach_helper: None,
            nbd_listen: None,
        };
        let layout = create_md("r0", NodeIndex::Second, &node, LogGeometry::default(), false)
            .unwrap()
            .layout;
        Self { _dir: dir, node, layout }
    }

    fn holder(&self) -> &Path {
        match &self.node.meta_disk {
            MetaDisk::Internal => &self.node.disk,
            MetaDisk::External(path) => path,
        }
    }

    fn put(&self, offset: u64, bytes: &[u8]) {
        let file = OpenOptions::new().write(true).open(self.holder()).unwrap();
        file.write_all_at(bytes, offset).unwrap();
    }

    fn ends(&self) -> DiskEnds {
        DiskEnds::at(self.node.disk.with_extension("ends"))
    }

    fn read(&self) -> Result<StoredMetadata, ReadMdError> {
        read_metadata("r0", NodeIndex::Second, &self.node, &self.ends())
    }

    fn superblock(&self) -> Result<Superblock, ReadMdError> {
        read_superblock("r0", NodeIndex::Second, &self.node, &self.ends())
    }

    /// One hot extent, two runs of set bits, new generations; copy 1 stays as it was.
    fn change(&self) -> Superblock {
        let mut superblock = self.superblock().unwrap();
        superblock.sequence += 1;
        superblock.attach_number += 1;
        superblock.device_bytes = 32 << 20;
        superblock.generations = Generations { current: 0x99, bitmap: 0x88, history: [7, 6] };
        superblock.flags = Flags { primary: true, lost_power: true, ..Flags::default() };
        self.put(self.layout.superblock_offsets[0], &superblock.encode(0));
        let identity = superblock.identity();
        let mut slots = vec![None; usize::from(self.layout.log.slots())];
        slots[0] = Some(5);
        let update = SlotUpdate { slot: 0, extent: Some(5) };
        let sequence = u64::from(self.layout.log.ring_pages());
        let page = Transaction::new(sequence, vec![update], &slots, self.layout.log)
            .encode(self.layout.log, &identity);
        self.put(self.layout.ring_page_offset(sequence), &page[..]);
        let mut bitmap = Bitmap::new(device_blocks(superblock.device_bytes));
        bitmap.set(BlockRange { first: 10, count: 3 });
        bitmap.set(BlockRange { first: 8191, count: 1 });
        self.put(self.layout.bitmap_offset, &bitmap.encode_page(0, &identity)[..]);
        superblock
    }
}

#[test]
fn fresh_metadata_are_read_as_they_were_written_wherever_they_lie() {
    for external in [false, true] {
        let bench = Bench::new("read-md-fresh", external);
        let stored = bench.read().unwrap();
        assert_eq!(stored.layout, bench.layout);
        assert!(stored.superblock.generations.is_just_created());
        assert_eq!(stored.copies, [Ok(stored.superblock.clone()), Ok(stored.superblock)]);
        assert_eq!(stored.log, Replay::Hot { extents: [].into(), next_sequence: 8 });
        let bitmap = stored.bitmap.unwrap();
        assert_eq!((bitmap.blocks(), bitmap.count()), (bench.layout.data_bytes / 4096, 0));
    }
}

#[test]
fn what_an_attach_changed_is_read_back_and_nothing_is_written() {
    for external in [false, true] {
        let bench = Bench::new("read-md-changed", external);
        let changed = bench.change();
        let before = std::fs::read(bench.holder()).unwrap();
        assert_eq!(bench.superblock().unwrap(), changed);
        let stored = bench.read().unwrap();
        assert_eq!(stored.superblock, changed);
        let sequences = stored.copies.map(|copy| copy.unwrap().sequence);
        assert_eq!(sequences, [changed.sequence, changed.sequence - 1]);
        assert_eq!(stored.log, Replay::Hot { extents: [5].into(), next_sequence: 9 });
        let bitmap = stored.bitmap.unwrap();
        assert_eq!((bitmap.blocks(), bitmap.count()), (8192, 4));
        assert_eq!(bitmap.next_run(11, 9), Some(BlockRange { first: 11, count: 2 }));
        assert!(std::fs::read(bench.holder()).unwrap() == before, "a reader wrote something");
    }
}

#[test]
fn damage_is_told_and_does_not_stop_the_reading() {
    let bench = Bench::new("read-md-damage", false);
    bench.put(bench.layout.superblock_offsets[1], &[0; PAGE_BYTES]);
    bench.put(bench.layout.ring_page_offset(3), &[0; PAGE_BYTES]);
    bench.put(bench.layout.bitmap_offset + 100, b"rot");
    let stored = bench.read().unwrap();
    assert!(stored.copies[0].is_ok());
    assert_eq!(stored.copies[1], Err(PageError::Blank.into()));
    let Replay::AllOutOfSync { reason, next_sequence: _ } = stored.log else {
        panic!("a blank page in the middle of the ring went unnoticed");
    };
    assert!(matches!(reason, LogDamage::Page { ring_index: 3, error: _ }), "{reason}");
    assert!(matches!(stored.bitmap, Err(BitmapError::Page { page_number: 0, error: _ })));
}

#[test]
fn a_disk_without_metadata_says_how_to_make_some() {
    let bench = Bench::new("read-md-none", false);
    for offset in bench.layout.superblock_offsets {
        bench.put(offset, &[0; PAGE_BYTES]);
    }
    let error = bench.superblock().unwrap_err();
    assert!(matches!(error, ReadMdError::NoMetadata { path: _, cause: _, resource: _ }), "{error}");
    assert!(error.to_string().ends_with("run 'blkrep create-md r0'"), "{error}");
    File::create(&bench.node.disk).unwrap();
    let error = bench.superblock().unwrap_err().to_string();
    assert!(error.contains("it has 0 bytes"), "{error}");
}

#[test]
fn the_disk_of_another_resource_or_node_is_refused() {
    let bench = Bench::new("read-md-foreign", false);
    let error = read_superblock("r1", NodeIndex::Second, &bench.node, &bench.ends())
        .unwrap_err()
        .to_string();
    assert!(error.contains("of resource 'r0', node 1, not of resource 'r1', node 1"), "{error}");
    let error =
        read_metadata("r0", NodeIndex::First, &bench.node, &bench.ends()).unwrap_err().to_string();
    assert!(error.contains("not of resource 'r0', node 0"), "{error}");
}

#[test]
fn a_disk_that_shrank_is_refused() {
    let bench = Bench::new("read-md-shrunk", true);
    let disk = OpenOptions::new().write(true).open(&bench.node.disk).unwrap();
    disk.set_len(DISK_BYTES / 2).unwrap();
    let error = bench.read().unwrap_err();
    assert!(matches!(error, ReadMdError::Layout { path: _, cause: _ }), "{error}");
    assert!(bench.superblock().is_ok(), "the superblock alone is readable");
}

#[test]
fn a_disk_that_a_writer_has_locked_is_refused_and_the_holder_is_named() {
    let bench = Bench::new("read-md-locked", false);
    let holder = File::open(&bench.node.disk).unwrap();
    flock(&holder, FlockOperation::LockExclusive).unwrap();
    let error = bench.superblock().unwrap_err();
    assert!(matches!(error, ReadMdError::Locked { path: _, holder: _ }), "{error}");
    let own = format!("process {}", std::process::id());
    assert!(error.to_string().contains(&own), "{error}");
    // Readers do not keep each other away.
    flock(&holder, FlockOperation::LockShared).unwrap();
    bench.superblock().unwrap();
}

#[test]
fn what_is_missing_or_no_disk_is_named() {
    let mut bench = Bench::new("read-md-bad", false);
    bench.node.disk.pop();
    assert!(matches!(bench.superblock(), Err(ReadMdError::WrongType { path: _ })));
    bench.node.disk.push("none");
    let error = bench.superblock().unwrap_err().to_string();
    assert!(error.contains("none does not exist; correct 'disk'"), "{error}");
}

#[test]
fn f21_metadata_at_the_old_end_of_a_disk_that_has_grown_are_found_where_it_was_known_to_end() {
    let bench = Bench::new("md-grown", false);
    let wanted = bench.superblock().unwrap();
    let file = OpenOptions::new().write(true).open(&bench.node.disk).unwrap();
    file.set_len(2 * DISK_BYTES).unwrap();
    let error = bench.superblock().unwrap_err().to_string();
    assert!(error.contains("no metadata of blkrep on"), "{error}");
    bench.ends().add(DISK_BYTES).unwrap();
    assert_eq!(bench.superblock().unwrap(), wanted);
    assert_eq!(bench.read().unwrap().layout, bench.layout);
}
