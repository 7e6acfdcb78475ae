//! What `create-md` writes, and what it refuses to write over.

use super::*;
use crate::demo::scratch_dir::ScratchDir;
use metadata::superblock::choose;
use std::fs;

const DISK_BYTES: u64 = 64 << 20;

struct Bench {
    _dir: ScratchDir,
    node: NodeConfig,
}

impl Bench {
    fn new(name: &str) -> Self {
        let dir = ScratchDir::new(name);
        let disk = dir.path().join("disk");
        File::create(&disk).unwrap().set_len(DISK_BYTES).unwrap();
        let node = NodeConfig {
            name: "alice".to_owned(),
            disk,
            meta_disk: MetaDisk::Internal,
            address: "127.0.0.1:7791".parse().unwrap(),
            device: None,
            attach_helper: None,
            nbd_listen: None,
        };
        Self { _dir: dir, node }
    }

    /// The same with metadata in a file of `bytes`.
    fn external(name: &str, bytes: u64) -> (Self, PathBuf) {
        let mut bench = Self::new(name);
        let path = bench.node.disk.with_file_name("meta");
        File::create(&path).unwrap().set_len(bytes).unwrap();
        bench.node.meta_disk = MetaDisk::External(path.clone());
        (bench, path)
    }

    fn put(&self, offset: u64, bytes: &[u8]) {
        let file = OpenOptions::new().write(true).open(&self.node.disk).unwrap();
        file.write_all_at(bytes, offset).unwrap();
    }

    /// An XFS superblock of `blocks` blocks of 4 KiB.
    fn put_xfs(&self, blocks: u64) {
        self.put(0, b"XFSB");
        self.put(4, &4096_u32.to_be_bytes());
        self.put(8, &blocks.to_be_bytes());
        self.put(102, &512_u16.to_be_bytes());
    }

    /// An ext4 superblock of `blocks` blocks of 4 KiB.
    fn put_ext4(&self, blocks: u32) {
        self.put(1024 + 4, &blocks.to_le_bytes());
        self.put(1024 + 24, &2_u32.to_le_bytes());
        self.put(1024 + 56, &[0x53, 0xef]);
        self.put(1024 + 92, &4_u32.to_le_bytes());
        self.put(1024 + 96, &0x40_u32.to_le_bytes());
    }

    fn create(&self, force: bool) -> Result<Created, CreateMdError> {
        create_md("r0", NodeIndex::Second, &self.node, LogGeometry::default(), force)
    }
}

fn page_at(path: &Path, offset: u64) -> Page {
    let mut page = [0; PAGE_BYTES];
    File::open(path).unwrap().read_exact_at(&mut page, offset).unwrap();
    page
}

fn superblock_of(path: &Path, layout: &Layout) -> Superblock {
    let [first, second] = layout.superblock_offsets.map(|offset| page_at(path, offset));
    choose(&first, &second).unwrap()
}

#[test]
fn both_superblocks_an_empty_log_and_an_empty_bitmap_are_written() {
    let bench = Bench::new("create-md");
    let created = bench.create(false).unwrap();
    let (disk, layout) = (&bench.node.disk, &created.layout);
    let superblock = superblock_of(disk, layout);
    assert_eq!(superblock.resource_name.as_str(), "r0");
    assert_eq!(superblock.node_id, 1);
    assert!(superblock.generations.is_just_created());
    assert_eq!(superblock.capacity_bytes, layout.data_bytes);
    let identity = superblock.identity();
    let content = fs::read(disk).unwrap();
    let at = usize::try_from(layout.bitmap_offset).unwrap();
    let pages = &content[at..at + usize::try_from(layout.bitmap_pages).unwrap() * PAGE_BYTES];
    let blocks = device_blocks(layout.data_bytes);
    let bitmap = Bitmap::load(pages, blocks, &identity).unwrap();
    assert_eq!(bitmap.next_run(0, u64::MAX), None);
    for (sequence, page) in activity_log::format(0, &identity, layout.log) {
        assert_eq!(page_at(disk, layout.ring_page_offset(sequence)), *page);
    }
    assert!(content[..usize::try_from(layout.data_bytes).unwrap()].iter().all(|byte| *byte == 0));
    assert_eq!(content.len() as u64, DISK_BYTES);
}

#[test]
fn the_summary_says_how_much_the_device_shrinks() {
    let bench = Bench::new("create-md-summary");
    let summary = bench.create(false).unwrap().summary();
    assert_eq!(summary, "data: 63.9 MiB of 64.0 MiB; metadata take 44 KiB at the end");
    let (bench, meta) = Bench::external("create-md-external", 1 << 20);
    let summary = bench.create(false).unwrap().summary();
    let expected = format!("data: 64.0 MiB; metadata take 44 KiB of {}", meta.display());
    assert_eq!(summary, expected);
    assert!(fs::read(&bench.node.disk).unwrap().iter().all(|byte| *byte == 0));
}

#[test]
fn existing_metadata_are_refused_and_force_draws_a_new_instance() {
    let bench = Bench::new("create-md-again");
    let first = bench.create(false).unwrap();
    let instance = superblock_of(&bench.node.disk, &first.layout).instance_id;
    let error = bench.create(false).unwrap_err().to_string();
    assert!(error.contains("holds blkrep metadata; with new metadata"), "{error}");
    assert!(error.contains("give --force"), "{error}");
    assert_eq!(superblock_of(&bench.node.disk, &first.layout).instance_id, instance);
    let second = bench.create(true).unwrap();
    assert_eq!(second.overwritten.len(), 1);
    assert_ne!(superblock_of(&bench.node.disk, &second.layout).instance_id, instance);
}

#[test]
fn a_file_system_that_would_be_cut_is_refused_and_left_as_it_was() {
    for (name, what) in [("xfs", "an XFS file system"), ("ext4", "an ext4 file system")] {
        let bench = Bench::new(&format!("create-md-{name}"));
        match name {
            "xfs" => bench.put_xfs(DISK_BYTES / 4096),
            _ => bench.put_ext4((DISK_BYTES / 4096) as u32),
        }
        let before = fs::read(&bench.node.disk).unwrap();
        let error = bench.create(false).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
        assert!(error.contains("cut to 63.9 MiB; shrink it"), "{error}");
        assert!(fs::read(&bench.node.disk).unwrap() == before, "nothing was written");
        assert_eq!(bench.create(true).unwrap().overwritten.len(), 1);
    }
}

#[test]
fn a_file_system_that_fits_stays_and_is_replicated() {
    let bench = Bench::new("create-md-fits");
    bench.put_xfs(DISK_BYTES / 4096 - 256);
    let created = bench.create(false).unwrap();
    assert_eq!(created.overwritten, Vec::<String>::new());
    assert_eq!(&page_at(&bench.node.disk, 0)[..4], b"XFSB");
}

#[test]
fn a_foreign_meta_disk_is_refused() {
    let (mut bench, meta) = Bench::external("create-md-foreign-meta", 1 << 20);
    let disk = std::mem::replace(&mut bench.node.disk, meta);
    bench.put_xfs(16);
    bench.node.disk = disk;
    let error = bench.create(false).unwrap_err().to_string();
    assert!(error.contains("meta holds an XFS file system"), "{error}");
}

#[test]
fn a_disk_that_somebody_has_locked_is_refused() {
    let bench = Bench::new("create-md-locked");
    let holder = File::open(&bench.node.disk).unwrap();
    flock(&holder, FlockOperation::LockExclusive).unwrap();
    let error = bench.create(true).unwrap_err();
    assert!(matches!(error, CreateMdError::InUse { path: _ }), "{error}");
    drop(holder);
    bench.create(false).unwrap();
}

#[test]
fn what_is_missing_too_small_or_no_disk_is_named() {
    let mut bench = Bench::new("create-md-bad");
    File::create(&bench.node.disk).unwrap().set_len(8192).unwrap();
    let error = bench.create(false).unwrap_err().to_string();
    assert!(error.contains("too small"), "{error}");
    bench.node.disk.pop();
    assert!(matches!(bench.create(false), Err(CreateMdError::WrongType { path: _ })));
    bench.node.disk.push("none");
    let error = bench.create(false).unwrap_err().to_string();
    assert!(error.contains("truncate -s SIZE"), "{error}");
}
