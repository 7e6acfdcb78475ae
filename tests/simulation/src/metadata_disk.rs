//! The metadata device: real bytes, writes in order, durable when completed, torn between sectors
//! by a power cut.

use crate::cover::Cover;
use crate::disk::SECTOR_BYTES;
use crate::random::Random;
use metadata::activity_log::{self, Replay, replay};
use metadata::bitmap::{Bitmap, page_count_for};
use metadata::layout::{Layout, LogGeometry, Placement};
use metadata::page::Page;
use metadata::superblock::{
    ChooseError, Creation, End, FoundEnd, ResourceName, Sequences, Superblock, choose_end,
};
use metadata::units::{ByteRange, EXTENT_BLOCKS, PAGE_BYTES, device_blocks};
use replicator::event::{DiskImage, DiskSize};
use replicator::ids::IoId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

/// Name of the simulated resource.
pub(crate) const RESOURCE: &str = "simulated";
const META_BYTES: u64 = 1 << 20;
/// A sector that was being written when the power went holds garbage in so many cases, if the disk
/// is of that kind; and so many are.
const SHORN_PERCENT: u64 = 25;
const PAGE: u64 = PAGE_BYTES as u64;

#[derive(Debug, Clone)]
pub(crate) struct MetadataWrite {
    pub(crate) io: IoId,
    pub(crate) incarnation: u64,
    offset: u64,
    pub(crate) pages: Vec<u8>,
}

/// The device and the queue before it. Only the front of the queue is under way.
#[derive(Debug, Clone)]
pub(crate) struct MetadataDisk {
    pages: BTreeMap<u64, Box<Page>>,
    placement: Placement,
    /// Size of the device that holds them now.
    device_bytes: u64,
    /// Size of the data device now.
    data_bytes: u64,
    /// Where the device was known to end, as the daemon has it on its system disk.
    known_ends: Vec<u64>,
    /// Known ends are looked at by a start.
    pub(crate) searches_known_ends: bool,
    /// Writes that have ended.
    pub(crate) completed: u64,
    queue: VecDeque<MetadataWrite>,
    /// Extents in the log as it was read last.
    hot: BTreeSet<u32>,
    /// Extents that have left it since that was asked last.
    pub(crate) left: u64,
    /// What is out of sync as far as the bytes say; read again when they have changed.
    cover: Option<Cover>,
}

impl MetadataDisk {
    /// A device with fresh metadata, as `create-md` leaves it, for at most `data_bytes` of data.
    pub(crate) fn created(
        node_id: u8,
        placement: Placement,
        data_bytes: u64,
        instance_id: u64,
    ) -> Self {
        let log = LogGeometry::new(metadata::layout::LOG_SLOTS_MIN)
            .expect("invariant: the least log is legal");
        let device_bytes = device_for(placement, data_bytes);
        let layout = match placement {
            Placement::Internal => Layout::internal(device_bytes, log),
            Placement::External => Layout::external(META_BYTES, data_bytes, log),
        };
        let layout = layout.expect("invariant: the simulated disk has room for its metadata");
        let name = ResourceName::new(RESOURCE).expect("invariant: the name is legal");
        let superblock = Superblock::new_created(Creation {
            resource_name: name,
            instance_id,
            node_id,
            capacity_bytes: layout.data_bytes,
            logical_block_bytes: u32::try_from(SECTOR_BYTES).expect("invariant: small"),
            log,
        });
        let mut disk = Self {
            pages: BTreeMap::new(),
            placement,
            device_bytes,
            data_bytes,
            known_ends: vec![device_bytes],
            searches_known_ends: true,
            completed: 0,
            queue: VecDeque::new(),
            hot: BTreeSet::new(),
            left: 0,
            cover: None,
        };
        for copy in 0..2_u8 {
            let offset = layout.superblock_offsets[usize::from(copy)];
            disk.put(offset, &superblock.encode(copy));
        }
        let identity = superblock.identity();
        for (sequence, page) in activity_log::format(1, &identity, log) {
            disk.put(layout.ring_page_offset(sequence), &page[..]);
        }
        let mut bitmap = Bitmap::new(device_blocks(layout.data_bytes));
        for page in 0..layout.bitmap_pages {
            let bytes = bitmap.encode_page(page, &identity);
            disk.put(layout.bitmap_page_offset(page), &bytes[..]);
        }
        disk
    }

    /// The data device has room for so many bytes of data from now on, if that is more.
    pub(crate) fn grow(&mut self, data_bytes: u64) {
        if data_bytes > self.data_bytes {
            self.cover = None;
            self.data_bytes = data_bytes;
            self.device_bytes = device_for(self.placement, data_bytes);
        }
    }

    /// Room for data on the data device.
    pub(crate) const fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// The daemon measures the devices, and remembers where they end.
    pub(crate) fn measure(&mut self) -> DiskSize {
        if self.placement == Placement::Internal && !self.known_ends.contains(&self.device_bytes) {
            self.known_ends.push(self.device_bytes);
        }
        let data_bytes = match self.placement {
            Placement::Internal => self.device_bytes,
            Placement::External => self.data_bytes,
        };
        DiskSize { data_bytes, meta_bytes: self.device_bytes }
    }

    /// Data are written there: what lies there of old metadata is gone.
    pub(crate) fn overwrite(&mut self, range: ByteRange) {
        if self.placement == Placement::Internal {
            let first = range.start() / PAGE;
            let pages: Vec<u64> =
                self.pages.range(first * PAGE..range.end()).map(|(offset, _)| *offset).collect();
            for offset in pages {
                self.cover = None;
                self.pages.insert(offset, Box::new([0xda; PAGE_BYTES]));
            }
        }
    }

    fn put(&mut self, offset: u64, bytes: &[u8]) {
        self.cover = None;
        for (ahead, page) in (0..).zip(bytes.as_chunks::<PAGE_BYTES>().0) {
            self.pages.insert(offset + ahead * PAGE, Box::new(*page));
        }
    }

    fn get(&self, offset: u64, bytes: u64) -> Vec<u8> {
        let pages = (offset..offset + bytes).step_by(PAGE_BYTES);
        pages.flat_map(|offset| *self.page(offset)).collect()
    }

    fn page(&self, offset: u64) -> Box<Page> {
        self.pages.get(&offset).cloned().unwrap_or_else(|| Box::new([0; PAGE_BYTES]))
    }

    /// What is on it now, with nothing under way.
    pub(crate) fn at_rest(&self) -> Self {
        Self { queue: VecDeque::new(), ..self.clone() }
    }

    /// Bits of one copy of the superblock flip.
    pub(crate) fn rot_superblock_copy(&mut self, copy: usize) {
        let offset = Layout::superblock_offsets(self.placement, self.device_bytes)[copy];
        let mut page = self.page(offset);
        page[100] ^= 0xff;
        self.pages.insert(offset, page);
    }

    /// All pages of the bitmap become those of another moment.
    pub(crate) fn take_bitmap_of(&mut self, other: &Self) {
        const WHOLE: &str = "invariant: both moments have usable metadata";
        let layout = self.layout(&self.find().expect(WHOLE));
        let pages = other.get(layout.bitmap_offset, layout.bitmap_pages * PAGE);
        self.put(layout.bitmap_offset, &pages);
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// Queues a write. True when it is under way at once.
    pub(crate) fn submit(
        &mut self,
        io: IoId,
        incarnation: u64,
        offset_bytes: u64,
        pages: Vec<u8>,
    ) -> bool {
        self.queue.push_back(MetadataWrite { io, incarnation, offset: offset_bytes, pages });
        self.queue.len() == 1
    }

    /// Ends the write under way. The second value: another one is under way now.
    pub(crate) fn complete(&mut self) -> Option<(MetadataWrite, bool)> {
        let write = self.queue.pop_front()?;
        let kept = self.cover.take();
        self.put(write.offset, &write.pages);
        self.completed += 1;
        // With two ends the write may have moved everything.
        if let ([end], Some(mut cover)) = (&self.ends()[..], kept)
            && Layout::superblock_offsets(self.placement, *end).contains(&write.offset)
            && self.superblock().is_ok_and(|superblock| cover.follows(&superblock))
        {
            self.cover = Some(cover);
        }
        Some((write, !self.queue.is_empty()))
    }

    /// Ends the write under way and all that wait behind it, without any effect.
    pub(crate) fn abandon_all(&mut self) -> Vec<MetadataWrite> {
        self.queue.drain(..).collect()
    }

    /// The process is gone: what is under way still lands, what waits behind it never began.
    pub(crate) fn process_dies(&mut self) {
        self.queue.truncate(1);
    }

    /// The power goes: the write under way, if there is one, lands as any subset of its sectors.
    pub(crate) fn lose_power(&mut self, random: &mut Random) -> bool {
        self.cover = None;
        let is_torn = !self.queue.is_empty();
        if let Some(write) = self.queue.pop_front() {
            let landed_percent = [0, 50, 100][random.below(3) as usize];
            let shorn = random.chance(SHORN_PERCENT);
            for (ahead, new) in (0..).zip(write.pages.as_chunks::<PAGE_BYTES>().0) {
                let offset = write.offset + ahead * PAGE;
                let mut page = self.page(offset);
                let sectors = new.chunks(SECTOR_BYTES as usize);
                for (sector, place) in sectors.zip(page.chunks_mut(SECTOR_BYTES as usize)) {
                    if random.chance(landed_percent) {
                        place.copy_from_slice(sector);
                    }
                    if shorn && random.chance(SHORN_PERCENT) {
                        place.fill(0x5a);
                    }
                }
                self.pages.insert(offset, page);
            }
        }
        self.queue.clear();
        is_torn
    }

    /// The superblock that counts.
    ///
    /// # Errors
    /// When neither copy is usable: then the engine wrote both at once (D13).
    pub(crate) fn superblock(&self) -> Result<Superblock, ChooseError> {
        Ok(self.find()?.superblock)
    }

    /// Sizes of the device by which metadata may lie on it.
    fn ends(&self) -> Vec<u64> {
        let mut sizes = vec![self.device_bytes];
        if self.placement == Placement::Internal && self.searches_known_ends {
            sizes.extend(self.known_ends.iter().filter(|end| **end < self.device_bytes));
        }
        sizes
    }

    /// The superblock that counts, at the present end or at one that is known (D20).
    fn find(&self) -> Result<FoundEnd, ChooseError> {
        let ends: Vec<End> = self
            .ends()
            .into_iter()
            .map(|device_bytes| {
                let offsets = Layout::superblock_offsets(self.placement, device_bytes);
                End { device_bytes, pages: offsets.map(|offset| *self.page(offset)) }
            })
            .collect();
        choose_end(&ends)
    }

    /// Where everything lies, with the metadata at the end where they were found.
    fn layout(&self, found: &FoundEnd) -> Layout {
        let superblock = &found.superblock;
        let layout = match self.placement {
            Placement::Internal => Layout::internal(found.device_bytes, superblock.log),
            Placement::External => {
                Layout::external(self.device_bytes, superblock.capacity_bytes, superblock.log)
            }
        };
        layout.expect("invariant: metadata that were laid out once fit")
    }

    /// The numbers that a start would show to the peer (G8): as of the last superblock of a
    /// connection, or of the log where nothing else was written since.
    pub(crate) fn shown(&self) -> Option<Sequences> {
        let found = self.find().ok()?;
        let layout = self.layout(&found);
        let superblock = found.superblock;
        let mut met = superblock.met;
        if met.superblock == superblock.sequence {
            let ring = self.get(layout.ring_offset, layout.log.ring_bytes());
            let newest = match replay(&ring, &superblock.identity(), layout.log) {
                Replay::Hot { next_sequence, .. } | Replay::AllOutOfSync { next_sequence, .. } => {
                    next_sequence.saturating_sub(1)
                }
            };
            met.log = met.log.max(newest);
        }
        Some(met)
    }

    /// What a start would find out of sync; none without a usable superblock.
    pub(crate) const fn cover(&self) -> Option<&Cover> {
        self.cover.as_ref()
    }

    /// Reads what [`Self::cover`] tells, if the bytes have changed.
    pub(crate) fn read_cover(&mut self) {
        if self.cover.is_none() {
            self.cover = self.cover_now();
        }
    }

    fn cover_now(&mut self) -> Option<Cover> {
        let found = self.find().ok()?;
        let layout = self.layout(&found);
        let superblock = found.superblock;
        let owner = superblock.identity();
        let agreed = [superblock.device_bytes, superblock.capacity_bytes];
        let count = device_blocks(agreed.into_iter().find(|bytes| *bytes > 0)?);
        let pages = self.get(layout.bitmap_offset, page_count_for(count) * PAGE);
        let ring = self.get(layout.ring_offset, layout.log.ring_bytes());
        let mut blocks = vec![false; count as usize];
        let mut set = |range: Range<u64>| {
            blocks[range.start as usize..range.end.min(count) as usize].fill(true);
        };
        match Bitmap::load(&pages, count, &owner) {
            Ok(bitmap) => {
                let mut from = 0;
                while let Some(run) = bitmap.next_run(from, count) {
                    set(run.first..run.end());
                    from = run.end();
                }
            }
            Err(_) => set(0..count),
        }
        let mut hot = BTreeSet::new();
        match replay(&ring, &owner, layout.log) {
            Replay::Hot { extents, .. } => {
                hot.extend(&extents);
                for extent in extents {
                    let first = u64::from(extent) * EXTENT_BLOCKS;
                    set(first..first + EXTENT_BLOCKS);
                }
            }
            Replay::AllOutOfSync { .. } => set(0..count),
        }
        self.left += self.hot.difference(&hot).count() as u64;
        self.hot = hot;
        Some(Cover::new(&superblock, blocks))
    }

    /// Everything that a starting daemon reads.
    pub(crate) fn image(
        &mut self,
        boot_id: [u8; 16],
        zeroes_cheaply: bool,
    ) -> Result<DiskImage, ChooseError> {
        let found = self.find()?;
        let layout = self.layout(&found);
        let FoundEnd { superblock, device_bytes, stale } = found;
        self.known_ends = vec![device_bytes];
        Ok(DiskImage {
            superblock,
            layout,
            log_ring: self.get(layout.ring_offset, layout.log.ring_bytes()),
            bitmap: self.get(layout.bitmap_offset, layout.bitmap_pages * PAGE),
            boot_id,
            logical_block_bytes: u32::try_from(SECTOR_BYTES).expect("invariant: small"),
            zeroes_cheaply,
            stale_superblocks: stale,
        })
    }
}

/// Size of the device that holds the metadata of so many bytes of data.
fn device_for(placement: Placement, data_bytes: u64) -> u64 {
    match placement {
        // Less than 126 MiB: one page of bitmap, eight of the log, two superblocks.
        Placement::Internal => data_bytes / PAGE * PAGE + 11 * PAGE,
        Placement::External => META_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_metadata_are_readable_and_just_created() {
        let mut disk = MetadataDisk::created(1, Placement::External, 1 << 20, 77);
        let image = disk.image([0; 16], true).unwrap();
        assert!(image.superblock.generations.is_just_created());
        assert_eq!((image.superblock.node_id, image.superblock.instance_id), (1, 77));
        assert!(Bitmap::load(&image.bitmap, 256, &image.superblock.identity()).is_ok());
    }

    #[test]
    fn a_power_cut_in_one_copy_of_the_superblock_leaves_a_usable_one() {
        for seed in 0..50 {
            let mut disk = MetadataDisk::created(0, Placement::External, 1 << 20, 77);
            let mut superblock = disk.superblock().unwrap();
            superblock.sequence += 1;
            disk.submit(IoId(1), 1, 0, superblock.encode(0).to_vec());
            disk.submit(IoId(2), 1, PAGE_BYTES as u64, superblock.encode(1).to_vec());
            disk.lose_power(&mut Random::new(seed));
            assert!(disk.superblock().is_ok(), "seed {seed}");
        }
    }
}
