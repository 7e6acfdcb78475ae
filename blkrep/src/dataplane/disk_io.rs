//! I/O on the data disk: what the engine asks for, in as many steps as the kernel needs.

use super::token::{Source, Token};
use crate::ring::arena::{Arena, Pool, Span};
use crate::ring::{Operation, Ring, ZeroHow};
use metadata::units::{BLOCK_BYTES, ByteRange};
use replicator::digest::Digested;
use replicator::event::{Input, IoOutcome};
use replicator::ids::{BufferId, IoId};
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Zeroes that are written at once where the disk cannot zero by itself, in bytes.
pub(super) const ZEROES_BYTES: u32 = 1 << 20;

/// One I/O of the engine.
#[derive(Debug, Clone, Copy)]
pub(super) enum Work {
    /// Fill the beginning of `buffer`.
    Read {
        /// From where.
        range: ByteRange,
        /// Where to.
        buffer: BufferId,
        /// Report the crc32c.
        checksum: bool,
    },
    /// Fill the beginning of `buffer` and report crc32c and SHA-256.
    Digest {
        /// From where.
        range: ByteRange,
        /// Where to.
        buffer: BufferId,
    },
    /// Fill the beginning of `buffer` and report the SHA-256 of each block of 4 KiB.
    Digests {
        /// From where.
        range: ByteRange,
        /// Where to.
        buffer: BufferId,
    },
    /// Write the beginning of `buffer`.
    Write {
        /// Where to.
        range: ByteRange,
        /// From where.
        buffer: BufferId,
        /// Durable when it completes.
        fua: bool,
    },
    /// Make the range read as zeroes.
    Zero {
        /// Which.
        range: ByteRange,
        /// Durable when it completes.
        fua: bool,
        /// Space may be given back.
        may_unmap: bool,
    },
    /// Make everything durable.
    Flush,
}

/// Which step of a job is under way.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Reading or writing; so many bytes are done.
    Moving(u32),
    /// Asking the disk to zero in this way.
    Asking(ZeroHow),
    /// Writing zeroes; so many bytes are done.
    Zeroing(u64),
    /// Flushing.
    Flushing,
}

#[derive(Debug, Clone, Copy)]
struct Job {
    io: IoId,
    work: Work,
    step: Step,
}

/// The data disk. Invariant: its descriptor is open while a job is under way.
#[derive(Debug)]
pub(super) struct DataDisk {
    fd: OwnedFd,
    /// Jobs by their place; the places of `idle` are free.
    jobs: Vec<Job>,
    idle: Vec<u16>,
    waiting: VecDeque<(IoId, Work)>,
    zeroes: BufferId,
}

impl DataDisk {
    /// Takes an open disk.
    ///
    /// # Panics
    /// When the arena has no buffer for zeroes: its plan has one.
    pub(super) fn new(fd: OwnedFd, arena: &mut Arena) -> Self {
        let zeroes = arena
            .allocate(Pool::Pages, ZEROES_BYTES)
            .expect("invariant: the plan has a buffer for zeroes");
        Self { fd, jobs: Vec::new(), idle: Vec::new(), waiting: VecDeque::new(), zeroes }
    }

    /// Size of the device or file now, in bytes.
    pub(super) fn size_bytes(&self) -> io::Result<u64> {
        Ok(rustix::fs::seek(&self.fd, SeekFrom::End(0))?)
    }

    /// Queues an I/O until [`DataDisk::kick`], so that the peer's frames are queued first.
    pub(super) fn start(&mut self, io: IoId, work: Work) {
        self.waiting.push_back((io, work));
    }

    /// Submits what was queued.
    pub(super) fn kick(&mut self, ring: &mut Ring) {
        while let Some((io, work)) = self.waiting.pop_front() {
            let step = match work {
                Work::Read { .. }
                | Work::Digest { .. }
                | Work::Digests { .. }
                | Work::Write { .. } => Step::Moving(0),
                Work::Zero { may_unmap: true, .. } => Step::Asking(ZeroHow::GiveBack),
                Work::Zero { may_unmap: false, .. } => Step::Asking(ZeroHow::KeepSpace),
                Work::Flush => Step::Flushing,
            };
            let job = Job { io, work, step };
            let place = match self.idle.pop() {
                Some(place) => {
                    self.jobs[usize::from(place)] = job;
                    place
                }
                None => {
                    self.jobs.push(job);
                    u16::try_from(self.jobs.len() - 1)
                        .expect("invariant: buffers bound the I/Os under way")
                }
            };
            self.submit(ring, place);
        }
    }

    /// True when no I/O is queued or under way.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.idle.len() == self.jobs.len()
    }

    /// Closes the disk, which is idle.
    pub(super) fn close(self, ring: &mut Ring) {
        assert!(self.is_idle(), "invariant: a disk is closed when its I/Os have returned");
        ring.arena_mut().release(self.zeroes);
        if let Err(error) = ring.close(self.fd) {
            tracing::warn!("the disk was closed late: {error}");
        }
    }

    /// Takes the result of a step; gives the engine's input when the job is done.
    pub(super) fn completed(&mut self, ring: &mut Ring, place: u16, result: i32) -> Option<Input> {
        let job = self.jobs[usize::from(place)];
        let next = match u32::try_from(result) {
            Ok(bytes) => next_step(&job, bytes),
            Err(_) => step_after_error(&job, Errno::from_raw_os_error(-result)),
        };
        match next {
            Ok(Some(step)) => {
                self.jobs[usize::from(place)].step = step;
                self.submit(ring, place);
                return None;
            }
            Ok(None) => {}
            Err(errno) => {
                self.idle.push(place);
                return Some(failed(&job, errno.raw_os_error()));
            }
        }
        self.idle.push(place);
        let crc32c = match job.work {
            Work::Read { range, buffer, checksum: true } => {
                crc32c::crc32c(ring.arena().bytes(Span::head(buffer, short(range))))
            }
            Work::Digest { range, buffer } => {
                let bytes = ring.arena().bytes(Span::head(buffer, short(range)));
                let crc32c = crc32c::crc32c(bytes);
                let read = Ok(Digested { crc32c, digest: Sha256::digest(bytes).into() });
                return Some(Input::DigestDone { io: job.io, read });
            }
            Work::Digests { range, buffer } => {
                let bytes = ring.arena().bytes(Span::head(buffer, short(range)));
                let blocks = bytes.chunks(BLOCK_BYTES as usize);
                let read = Ok(blocks.map(|block| Sha256::digest(block).into()).collect());
                return Some(Input::DigestsDone { io: job.io, read });
            }
            Work::Read { checksum: false, .. }
            | Work::Write { .. }
            | Work::Zero { .. }
            | Work::Flush => 0,
        };
        Some(Input::DiskDone { io: job.io, outcome: IoOutcome::Done { crc32c } })
    }

    fn submit(&self, ring: &mut Ring, place: u16) {
        let job = &self.jobs[usize::from(place)];
        let token = Token { source: Source::Disk, place, use_number: 0 }.pack();
        let fd = self.fd.as_fd();
        let operation = match (job.work, job.step) {
            (
                Work::Read { range, buffer, .. }
                | Work::Digest { range, buffer }
                | Work::Digests { range, buffer },
                Step::Moving(done),
            ) => Operation::Read {
                fd,
                offset_bytes: range.start() + u64::from(done),
                into: Span { buffer, start: done, bytes: short(range) - done },
            },
            (Work::Write { range, buffer, fua }, Step::Moving(done)) => Operation::Write {
                fd,
                offset_bytes: range.start() + u64::from(done),
                from: Span { buffer, start: done, bytes: short(range) - done },
                durable: fua,
            },
            (Work::Zero { range, .. }, Step::Asking(how)) => {
                Operation::Zero { fd, offset_bytes: range.start(), bytes: range.bytes(), how }
            }
            (Work::Zero { range, .. }, Step::Zeroing(done)) => {
                let left = (range.bytes() - done).min(u64::from(ZEROES_BYTES));
                let bytes = u32::try_from(left).expect("invariant: at most ZEROES_BYTES");
                let from = Span::head(self.zeroes, bytes);
                Operation::Write { fd, offset_bytes: range.start() + done, from, durable: false }
            }
            (Work::Zero { .. } | Work::Flush, Step::Flushing) => Operation::Flush { fd },
            (work, step) => panic!("invariant: {work:?} has no step {step:?}"),
        };
        ring.submit(token, operation);
    }
}

/// What the engine hears of a job that failed.
fn failed(job: &Job, errno: i32) -> Input {
    match job.work {
        Work::Digest { .. } => Input::DigestDone { io: job.io, read: Err(errno) },
        Work::Digests { .. } => Input::DigestsDone { io: job.io, read: Err(errno) },
        Work::Read { .. } | Work::Write { .. } | Work::Zero { .. } | Work::Flush => {
            Input::DiskDone { io: job.io, outcome: IoOutcome::Failed { errno } }
        }
    }
}

/// What follows a step that went well; none when the job is done.
fn next_step(job: &Job, bytes: u32) -> Result<Option<Step>, Errno> {
    let after_zeroing = |fua| if fua { Some(Step::Flushing) } else { None };
    match (job.work, job.step) {
        (
            Work::Read { range, .. }
            | Work::Digest { range, .. }
            | Work::Digests { range, .. }
            | Work::Write { range, .. },
            Step::Moving(done),
        ) => {
            // Nothing moved: the disk ends before the range does.
            if bytes == 0 {
                return Err(Errno::IO);
            }
            let done = done + bytes;
            Ok((done < short(range)).then_some(Step::Moving(done)))
        }
        (Work::Zero { fua, .. }, Step::Asking(_)) => Ok(after_zeroing(fua)),
        (Work::Zero { range, fua, .. }, Step::Zeroing(done)) => {
            if bytes == 0 {
                return Err(Errno::IO);
            }
            let done = done + u64::from(bytes);
            Ok(if done < range.bytes() { Some(Step::Zeroing(done)) } else { after_zeroing(fua) })
        }
        (Work::Zero { .. } | Work::Flush, Step::Flushing) => Ok(None),
        (work, step) => panic!("invariant: {work:?} has no step {step:?}"),
    }
}

/// A disk that cannot zero in one way is asked in the next, at last by writing. A failed flush is
/// never tried again (rule D3).
fn step_after_error(job: &Job, errno: Errno) -> Result<Option<Step>, Errno> {
    let is_passing = errno == Errno::INTR || errno == Errno::AGAIN;
    let cannot = [Errno::OPNOTSUPP, Errno::INVAL, Errno::NOSYS].contains(&errno);
    match job.step {
        Step::Moving(_) | Step::Zeroing(_) | Step::Asking(_) if is_passing => Ok(Some(job.step)),
        Step::Asking(ZeroHow::GiveBack) if cannot => Ok(Some(Step::Asking(ZeroHow::KeepSpace))),
        Step::Asking(ZeroHow::KeepSpace) if cannot => Ok(Some(Step::Zeroing(0))),
        Step::Asking(_) | Step::Moving(_) | Step::Zeroing(_) | Step::Flushing => Err(errno),
    }
}

/// Length of a range that is moved through a buffer, in bytes.
fn short(range: ByteRange) -> u32 {
    u32::try_from(range.bytes()).expect("invariant: payloads are at most one piece")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::arena::Shelf;
    use rustix::fs::{Mode, OFlags};
    use std::time::Duration;

    fn disk(ring: &mut Ring) -> DataDisk {
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        let directory = std::env::temp_dir();
        let fd = rustix::fs::open(&directory, flags, Mode::RUSR | Mode::WUSR).expect("a file");
        rustix::fs::ftruncate(&fd, 1 << 20).expect("it grows");
        DataDisk::new(fd, ring.arena_mut())
    }

    fn ring() -> Ring {
        let arena = Arena::new(&[
            Shelf { pool: Pool::Pages, bytes: ZEROES_BYTES, count: 1 },
            Shelf { pool: Pool::Client, bytes: 16 << 10, count: 2 },
        ]);
        Ring::new(arena.expect("a mapping")).expect("a backend")
    }

    fn run(disk: &mut DataDisk, ring: &mut Ring, work: Work) -> IoOutcome {
        disk.start(IoId(3), work);
        disk.kick(ring);
        let mut done = Vec::new();
        loop {
            ring.wait(Some(Duration::from_secs(5)), &mut done).expect("the ring works");
            for completion in done.drain(..) {
                let place = Token::unpack(completion.token).place;
                match disk.completed(ring, place, completion.result) {
                    Some(Input::DiskDone { io, outcome }) => {
                        assert_eq!(io, IoId(3));
                        return outcome;
                    }
                    Some(other) => panic!("a disk says only DiskDone, not {other:?}"),
                    None => {}
                }
            }
        }
    }

    #[test]
    fn a_block_that_is_written_and_flushed_is_read_with_its_checksum() {
        let mut ring = ring();
        let mut disk = disk(&mut ring);
        let buffer = ring.arena_mut().allocate(Pool::Client, 4096).expect("free");
        ring.arena_mut().bytes_mut(Span::head(buffer, 4096)).fill(7);
        let range = ByteRange::new(8192, 4096);
        let done = IoOutcome::Done { crc32c: 0 };
        assert_eq!(run(&mut disk, &mut ring, Work::Write { range, buffer, fua: true }), done);
        assert_eq!(run(&mut disk, &mut ring, Work::Flush), done);
        let buffer = ring.arena_mut().allocate(Pool::Client, 4096).expect("free");
        let crc32c = crc32c::crc32c(&[7; 4096]);
        let read = Work::Read { range, buffer, checksum: true };
        assert_eq!(run(&mut disk, &mut ring, read), IoOutcome::Done { crc32c });
        for may_unmap in [true, false] {
            let zero = Work::Zero { range, fua: true, may_unmap };
            assert_eq!(run(&mut disk, &mut ring, zero), done);
        }
        let crc32c = crc32c::crc32c(&[0; 4096]);
        assert_eq!(run(&mut disk, &mut ring, read), IoOutcome::Done { crc32c });
        assert!(disk.is_idle());
        disk.close(&mut ring);
    }

    #[test]
    fn a_read_for_comparison_tells_the_digest_of_what_is_on_the_disk() {
        let mut ring = ring();
        let mut disk = disk(&mut ring);
        let buffer = ring.arena_mut().allocate(Pool::Client, 4096).expect("free");
        let expected: [u8; 32] = Sha256::digest([0; 4096]).into();
        disk.start(IoId(4), Work::Digest { range: ByteRange::new(0, 4096), buffer });
        disk.kick(&mut ring);
        let mut done = Vec::new();
        while done.is_empty() {
            ring.wait(Some(Duration::from_secs(5)), &mut done).expect("the ring works");
        }
        let place = Token::unpack(done[0].token).place;
        match disk.completed(&mut ring, place, done[0].result) {
            Some(Input::DigestDone { io: IoId(4), read: Ok(read) }) => {
                assert_eq!(read.digest, expected);
                assert_eq!(read.crc32c, crc32c::crc32c(&[0; 4096]));
            }
            other => panic!("not a digest: {other:?}"),
        }
    }

    #[test]
    fn a_full_disk_tells_the_engine_its_errno() {
        let mut ring = ring();
        let full = rustix::fs::open("/dev/full", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        let mut disk = DataDisk::new(full.expect("every Linux has it"), ring.arena_mut());
        let buffer = ring.arena_mut().allocate(Pool::Client, 4096).expect("free");
        let range = ByteRange::new(0, 4096);
        let errno = Errno::NOSPC.raw_os_error();
        for fua in [false, true] {
            let write = Work::Write { range, buffer, fua };
            assert_eq!(run(&mut disk, &mut ring, write), IoOutcome::Failed { errno });
        }
    }

    #[test]
    fn a_read_beyond_the_end_of_the_disk_fails() {
        let mut ring = ring();
        let mut disk = disk(&mut ring);
        let buffer = ring.arena_mut().allocate(Pool::Client, 4096).expect("free");
        let range = ByteRange::new(1 << 20, 4096);
        let errno = Errno::IO.raw_os_error();
        let read = Work::Read { range, buffer, checksum: false };
        assert_eq!(run(&mut disk, &mut ring, read), IoOutcome::Failed { errno });
    }

    #[test]
    fn a_disk_that_cannot_zero_gets_zeroes_written_and_then_flushed() {
        let range = ByteRange::new(0, u64::from(ZEROES_BYTES) + 512);
        let work = Work::Zero { range, fua: true, may_unmap: true };
        let mut job = Job { io: IoId(1), work, step: Step::Asking(ZeroHow::GiveBack) };
        let mut seen = Vec::new();
        for _ in 0..2 {
            let step = step_after_error(&job, Errno::OPNOTSUPP).expect("there is another way");
            job.step = step.expect("it is not done");
            seen.push(format!("{:?}", job.step));
        }
        for bytes in [ZEROES_BYTES, 512] {
            let step = next_step(&job, bytes).expect("it goes on").expect("it is not done");
            job.step = step;
            seen.push(format!("{step:?}"));
        }
        assert_eq!(seen, ["Asking(KeepSpace)", "Zeroing(0)", "Zeroing(1048576)", "Flushing"]);
        assert!(step_after_error(&job, Errno::INTR).is_err(), "a flush is never tried again");
    }
}
