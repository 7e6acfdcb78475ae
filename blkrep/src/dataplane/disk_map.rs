//! Where a disk has holes, asked on a thread of its own: a file system may read its own metadata
//! for the answer, and the I/O thread waits for no disk.

use super::handle::{Handle, Order};
use crate::frontend::MapWish;
use nbd_server::ExtentList;
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::sync::mpsc::{Sender, channel};

/// The thread of one attached disk. It ends when this is dropped; a question under way keeps no
/// lock of the disk, since its descriptor is another one.
#[derive(Debug)]
pub(super) struct DiskMap {
    questions: Sender<MapWish>,
}

/// An answer for the front end.
#[derive(Debug)]
pub(crate) struct MapAnswer {
    /// What was asked.
    pub(crate) wish: MapWish,
    /// What the disk says.
    pub(crate) extents: ExtentList,
}

/// A descriptor of its own for the file behind `data`; none for a block device, which knows no
/// holes, or when there can be none: then everything counts as data.
pub(super) fn reopen(data: BorrowedFd<'_>) -> Option<File> {
    let file = File::open(format!("/proc/self/fd/{}", data.as_raw_fd())).ok()?;
    file.metadata().ok()?.is_file().then_some(file)
}

impl DiskMap {
    /// Starts the thread; none when there can be none.
    pub(super) fn start(file: File, handle: Handle) -> Option<Self> {
        let (questions, asked) = channel::<MapWish>();
        let body = move || {
            while let Ok(wish) = asked.recv() {
                let mut extents = wish.unknown();
                let block_bytes = u64::from(wish.block_bytes);
                // What cannot be told counts as data.
                let range = wish.range;
                tell(file.as_fd(), range.start(), range.end(), block_bytes, &mut extents).ok();
                if handle.order(Order::Mapped(MapAnswer { wish, extents })).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("map".to_owned()).spawn(body);
        thread.ok().map(|_| Self { questions })
    }

    /// Asks.
    ///
    /// # Errors
    /// The question comes back when the thread is gone.
    pub(super) fn ask(&self, wish: MapWish) -> Result<(), MapWish> {
        self.questions.send(wish).map_err(|unsent| unsent.0)
    }
}

/// Tells data from holes between two offsets. A block that is a hole in part is data.
fn tell(
    file: BorrowedFd<'_>,
    start: u64,
    end: u64,
    block_bytes: u64,
    extents: &mut ExtentList,
) -> io::Result<()> {
    let mut at = start;
    while at < end && !extents.is_full() {
        let data = match seek(file, SeekFrom::Data(at)) {
            Ok(data) => (data / block_bytes * block_bytes).clamp(at, end),
            Err(Errno::NXIO) => end,
            Err(errno) => return Err(errno.into()),
        };
        extents.push(data - at, true);
        if data == end {
            break;
        }
        let hole = seek(file, SeekFrom::Hole(data)).map_err(io::Error::from)?;
        let hole = hole.div_ceil(block_bytes).saturating_mul(block_bytes).clamp(data, end);
        extents.push(hole - data, false);
        if hole == data {
            return Err(io::Error::other("a file that changes while it is asked"));
        }
        at = hole;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scratch_dir::ScratchDir;
    use nbd_server::EXTENT_BYTES;
    use std::os::unix::fs::FileExt as _;

    /// Lengths, and whether they are holes.
    fn told(file: &File, start: u64, end: u64, block_bytes: u64) -> Vec<(u32, bool)> {
        let mut extents = ExtentList::new((end - start) as u32, 16);
        tell(file.as_fd(), start, end, block_bytes, &mut extents).unwrap();
        let mut bytes = Vec::new();
        extents.encode(&mut bytes);
        let word = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
        bytes
            .chunks(EXTENT_BYTES as usize)
            .map(|extent| (word(&extent[..4]), word(&extent[4..]) != 0))
            .collect()
    }

    #[test]
    fn holes_of_a_file_are_told_and_a_block_that_is_one_in_part_is_data() {
        const K: u64 = 1 << 10;
        let dir = ScratchDir::new("disk-map");
        let file = File::create_new(dir.path().join("disk")).unwrap();
        file.set_len(1024 * K).unwrap();
        file.write_all_at(&[1; 4096], 256 * K).unwrap();
        let file = File::open(dir.path().join("disk")).unwrap();
        let all = told(&file, 0, 1024 * K, 4096);
        // A file system that keeps larger pieces, or knows no holes, tells more data.
        assert_eq!(all.iter().map(|(bytes, _)| u64::from(*bytes)).sum::<u64>(), 1024 * K);
        let blocks = told(&file, 0, 1024 * K, 64 * K);
        if all.len() == 3 {
            assert_eq!(all[0], (256 << 10, true));
            assert_eq!(blocks, [(256 << 10, true), (64 << 10, false), (704 << 10, true)]);
            assert_eq!(told(&file, 256 * K, 260 * K, 4096), [(4096, false)]);
            assert_eq!(told(&file, 512 * K, 516 * K, 4096), [(4096, true)]);
        }
    }

    #[test]
    fn a_descriptor_of_its_own_is_of_the_same_file() {
        let dir = ScratchDir::new("disk-map-reopen");
        let path = dir.path().join("disk");
        let file = File::create_new(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file.set_len(12_345).unwrap();
        let again = reopen(file.as_fd()).expect("a file that has no name any more, too");
        assert_eq!(again.metadata().unwrap().len(), 12_345);
    }
}
