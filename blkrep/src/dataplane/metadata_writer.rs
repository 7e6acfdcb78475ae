//! Metadata writes: strictly one after the other, each durable before the next begins (rule D13).

use super::token::{Source, Token};
use crate::ring::arena::{Arena, Pool, Span};
use crate::ring::{Operation, Ring};
use replicator::event::{Input, IoOutcome};
use replicator::ids::{BufferId, IoId};
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Most bytes of one write; longer ones are cut, which D13 allows: every page has its own checksum.
pub(super) const CHUNK_BYTES: u32 = 1 << 20;

#[derive(Debug)]
struct Waiting {
    io: IoId,
    offset_bytes: u64,
    pages: Vec<u8>,
    done_bytes: usize,
}

/// The metadata device and what is to be written to it.
#[derive(Debug)]
pub(super) struct MetadataWriter {
    fd: OwnedFd,
    buffer: BufferId,
    queue: VecDeque<Waiting>,
    is_writing: bool,
}

impl MetadataWriter {
    /// Takes an open metadata device.
    ///
    /// # Panics
    /// When the arena has no buffer for pages: its plan has one.
    pub(super) fn new(fd: OwnedFd, arena: &mut Arena) -> Self {
        let buffer = arena
            .allocate(Pool::Pages, CHUNK_BYTES)
            .expect("invariant: the plan has a buffer for metadata pages");
        Self { fd, buffer, queue: VecDeque::new(), is_writing: false }
    }

    /// Size of the device or file now, in bytes.
    pub(super) fn size_bytes(&self) -> io::Result<u64> {
        Ok(rustix::fs::seek(&self.fd, SeekFrom::End(0))?)
    }

    /// Queues a write.
    pub(super) fn start(&mut self, io: IoId, offset_bytes: u64, pages: Vec<u8>) {
        self.queue.push_back(Waiting { io, offset_bytes, pages, done_bytes: 0 });
    }

    /// Submits the next write if none is under way.
    pub(super) fn kick(&mut self, ring: &mut Ring) {
        let Some(next) = self.queue.front() else { return };
        if self.is_writing {
            return;
        }
        let rest = &next.pages[next.done_bytes..];
        let chunk = &rest[..rest.len().min(CHUNK_BYTES as usize)];
        let bytes = u32::try_from(chunk.len()).expect("invariant: at most CHUNK_BYTES");
        let from = Span::head(self.buffer, bytes);
        ring.arena_mut().bytes_mut(from).copy_from_slice(chunk);
        let token = Token { source: Source::Metadata, place: 0, use_number: 0 }.pack();
        let offset_bytes = next.offset_bytes + next.done_bytes as u64;
        let fd = self.fd.as_fd();
        ring.submit(token, Operation::Write { fd, offset_bytes, from, durable: true });
        self.is_writing = true;
    }

    /// Takes the result of the write under way; gives the engine's input when all its pages are
    /// durable or it failed. What waits behind a write that failed fails untried: the second copy
    /// of a superblock is not risked when the first could not be written (rule D13).
    pub(super) fn completed(&mut self, result: i32) -> Vec<Input> {
        let Some(first) = self.first_completed(result) else { return Vec::new() };
        let mut inputs = vec![first];
        if let Some(Input::MetadataDone { outcome: outcome @ IoOutcome::Failed { .. }, .. }) =
            inputs.first()
        {
            let outcome = *outcome;
            let untried = self.queue.drain(..);
            inputs.extend(untried.map(|waiting| Input::MetadataDone { io: waiting.io, outcome }));
        }
        inputs
    }

    fn first_completed(&mut self, result: i32) -> Option<Input> {
        self.is_writing = false;
        let next = self.queue.front_mut()?;
        let outcome = match usize::try_from(result) {
            Ok(0) => IoOutcome::Failed { errno: Errno::IO.raw_os_error() },
            Ok(bytes) => {
                next.done_bytes += bytes;
                if next.done_bytes < next.pages.len() {
                    return None;
                }
                IoOutcome::Done { crc32c: 0 }
            }
            Err(_) if -result == Errno::INTR.raw_os_error() => return None,
            Err(_) => IoOutcome::Failed { errno: -result },
        };
        let io = self.queue.pop_front()?.io;
        Some(Input::MetadataDone { io, outcome })
    }

    /// True when no write is queued or under way.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// Closes the device, which is idle.
    pub(super) fn close(self, ring: &mut Ring) {
        assert!(self.is_idle(), "invariant: metadata are closed when their writes have returned");
        ring.arena_mut().release(self.buffer);
        if let Err(error) = ring.close(self.fd) {
            tracing::warn!("the metadata device was closed late: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::arena::Shelf;
    use rustix::fs::{Mode, OFlags};
    use std::time::Duration;

    #[test]
    fn writes_are_carried_out_one_by_one_in_order_and_long_ones_in_chunks() {
        let shelf = Shelf { pool: Pool::Pages, bytes: CHUNK_BYTES, count: 1 };
        let mut ring = Ring::new(Arena::new(&[shelf]).expect("a mapping")).expect("a backend");
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        let directory = std::env::temp_dir();
        let fd = rustix::fs::open(&directory, flags, Mode::RUSR | Mode::WUSR).expect("a file");
        let file = fd.try_clone().expect("a second descriptor");
        let mut writer = MetadataWriter::new(fd, ring.arena_mut());
        writer.start(IoId(1), 4096, vec![1; CHUNK_BYTES as usize + 4096]);
        writer.start(IoId(2), 4096, vec![2; 4096]);
        let mut ended = Vec::new();
        let mut done = Vec::new();
        while !writer.is_idle() {
            writer.kick(&mut ring);
            assert_eq!(ring.in_flight(), 1, "one at a time");
            ring.wait(Some(Duration::from_secs(5)), &mut done).expect("the ring works");
            for completion in done.drain(..) {
                for input in writer.completed(completion.result) {
                    let Input::MetadataDone { io, outcome } = input else { panic!("{input:?}") };
                    assert_eq!(outcome, IoOutcome::Done { crc32c: 0 });
                    ended.push(io);
                }
            }
        }
        assert_eq!(ended, [IoId(1), IoId(2)]);
        let mut page = [0; 2];
        rustix::io::pread(&file, &mut page, 8191).expect("it is read");
        assert_eq!(page, [2, 1]);
        writer.close(&mut ring);
    }

    #[test]
    fn what_waits_behind_a_write_that_failed_fails_untried() {
        let shelf = Shelf { pool: Pool::Pages, bytes: CHUNK_BYTES, count: 1 };
        let mut ring = Ring::new(Arena::new(&[shelf]).expect("a mapping")).expect("a backend");
        let full = rustix::fs::open("/dev/full", OFlags::RDWR, Mode::empty()).expect("it is there");
        let mut writer = MetadataWriter::new(full, ring.arena_mut());
        for io in 1..=3 {
            writer.start(IoId(io), 4096, vec![1; 4096]);
        }
        writer.kick(&mut ring);
        let mut done = Vec::new();
        ring.wait(Some(Duration::from_secs(5)), &mut done).expect("the ring works");
        let failed = IoOutcome::Failed { errno: Errno::NOSPC.raw_os_error() };
        let inputs = writer.completed(done[0].result);
        assert_eq!(inputs.len(), 3);
        for (number, input) in (1..).zip(&inputs) {
            assert!(
                matches!(input, Input::MetadataDone { io, outcome } if *io == IoId(number) && *outcome == failed),
                "{input:?}"
            );
        }
        writer.close(&mut ring);
    }
}
