//! Tests of the seam on real files and sockets.

use super::arena::{Arena, Pool, Shelf, Span};
use super::{Completion, Interest, Operation, Ring, ZeroHow};
use replicator::ids::BufferId;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

fn ring() -> Ring {
    let arena = Arena::new(&[Shelf { pool: Pool::Client, bytes: 8192, count: 4 }]);
    Ring::new(arena.expect("32 KiB can be mapped")).expect("a backend is there")
}

fn buffer(ring: &mut Ring) -> BufferId {
    ring.arena_mut().allocate(Pool::Client, 8192).expect("a buffer is free")
}

fn fill(ring: &mut Ring, byte: u8) -> Span {
    let span = Span::head(buffer(ring), 8192);
    ring.arena_mut().bytes_mut(span).fill(byte);
    span
}

/// Waits until `count` operations are done; their completions in the order of the tokens.
fn finish(ring: &mut Ring, count: usize) -> Vec<Completion> {
    let mut done = Vec::new();
    let began = Instant::now();
    while done.len() < count {
        assert!(began.elapsed() < Duration::from_secs(10), "the operations do not end: {done:?}");
        ring.wait(Some(Duration::from_millis(100)), &mut done).expect("the ring works");
    }
    done.sort_by_key(|completion| completion.token);
    done
}

fn file() -> OwnedFd {
    let directory = std::env::temp_dir();
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    rustix::fs::open(&directory, flags, Mode::RUSR | Mode::WUSR).expect("a nameless file opens")
}

#[test]
fn what_is_written_to_a_file_is_read_back_and_zeroed_ranges_read_as_zeroes() {
    let mut ring = ring();
    let file = file();
    let from = fill(&mut ring, 7);
    let write = Operation::Write { fd: file.as_fd(), offset_bytes: 4096, from, durable: true };
    ring.submit(1, write);
    assert_eq!(finish(&mut ring, 1), [Completion { token: 1, result: 8192 }]);
    ring.submit(2, Operation::Flush { fd: file.as_fd() });
    assert_eq!(finish(&mut ring, 1), [Completion { token: 2, result: 0 }]);
    let how = ZeroHow::GiveBack;
    ring.submit(3, Operation::Zero { fd: file.as_fd(), offset_bytes: 4096, bytes: 4096, how });
    assert_eq!(finish(&mut ring, 1), [Completion { token: 3, result: 0 }]);
    let into = fill(&mut ring, 9);
    ring.submit(4, Operation::Read { fd: file.as_fd(), offset_bytes: 4096, into });
    assert_eq!(finish(&mut ring, 1), [Completion { token: 4, result: 8192 }]);
    let read = ring.arena().bytes(into);
    assert!(read[..4096].iter().all(|&byte| byte == 0) && read[4096..].iter().all(|&b| b == 7));
}

#[test]
fn a_gathered_send_arrives_in_order_and_a_receive_fills_its_spans_in_order() {
    let mut ring = ring();
    let (near, mut far) = UnixStream::pair().expect("a pair");
    let (first, second) = (fill(&mut ring, 1), fill(&mut ring, 2));
    let from = [Span { bytes: 3, ..first }, Span { bytes: 2, ..second }];
    ring.submit(1, Operation::Send { fd: near.as_fd(), from: &from });
    assert_eq!(finish(&mut ring, 1)[0].result, 5);
    let mut arrived = [0; 5];
    far.read_exact(&mut arrived).expect("it arrives");
    assert_eq!(arrived, [1, 1, 1, 2, 2]);

    far.write_all(&[8, 8, 8, 9, 9]).expect("it is sent");
    let into = [Span { bytes: 3, ..second }, Span { start: 100, bytes: 50, ..first }];
    ring.submit(2, Operation::Receive { fd: near.as_fd(), into: &into });
    assert_eq!(finish(&mut ring, 1)[0].result, 5);
    assert_eq!(ring.arena().bytes(Span { bytes: 3, ..second }), [8, 8, 8]);
    assert_eq!(ring.arena().bytes(Span { start: 100, bytes: 2, ..first }), [9, 9]);
}

#[test]
fn a_cancelled_receive_completes_and_frees_its_buffer() {
    let mut ring = ring();
    let (near, _far) = UnixStream::pair().expect("a pair");
    let id = buffer(&mut ring);
    ring.submit(5, Operation::Receive { fd: near.as_fd(), into: &[Span::head(id, 8192)] });
    let mut done = Vec::new();
    ring.wait(Some(Duration::from_millis(20)), &mut done).expect("the ring works");
    assert!(done.is_empty() && ring.in_flight() == 1);
    ring.arena_mut().release(id);
    assert_eq!(ring.arena().free_count(Pool::Client, 1), 3, "the kernel may still fill it");
    ring.cancel(5);
    let result = -Errno::CANCELED.raw_os_error();
    assert_eq!(finish(&mut ring, 1), [Completion { token: 5, result }]);
    assert_eq!(ring.arena().free_count(Pool::Client, 1), 4);
}

#[test]
fn a_wait_ends_at_its_deadline_when_nothing_happens() {
    let mut ring = ring();
    let mut done = Vec::new();
    let began = Instant::now();
    ring.wait(Some(Duration::from_millis(30)), &mut done).expect("the ring works");
    assert!(done.is_empty());
    assert!(began.elapsed() >= Duration::from_millis(25), "it took {:?}", began.elapsed());
}

#[test]
fn a_raised_eventfd_ends_a_poll() {
    let mut ring = ring();
    let event =
        rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).expect("an eventfd");
    ring.submit(1, Operation::Poll { fd: event.as_fd(), interest: Interest::Readable });
    rustix::io::write(&event, &1u64.to_ne_bytes()).expect("it is raised");
    assert_eq!(finish(&mut ring, 1), [Completion { token: 1, result: 1 }]);
}

#[test]
fn the_end_of_a_stream_and_a_broken_pipe_are_results() {
    let mut ring = ring();
    let (near, far) = UnixStream::pair().expect("a pair");
    drop(far);
    let span = fill(&mut ring, 1);
    ring.submit(1, Operation::Receive { fd: near.as_fd(), into: &[span] });
    assert_eq!(finish(&mut ring, 1)[0].result, 0);
    ring.submit(2, Operation::Send { fd: near.as_fd(), from: &[span] });
    assert_eq!(finish(&mut ring, 1)[0].result, -Errno::PIPE.raw_os_error());
}

#[test]
fn a_ring_can_be_dropped_while_operations_are_under_way() {
    let mut ring = ring();
    let (near, _far) = UnixStream::pair().expect("a pair");
    let id = buffer(&mut ring);
    ring.submit(1, Operation::Receive { fd: near.as_fd(), into: &[Span::head(id, 16)] });
    let began = Instant::now();
    drop(ring);
    assert!(began.elapsed() < Duration::from_millis(1500), "a receive can be cancelled at once");
}

#[test]
fn more_operations_than_the_queue_has_places_all_complete() {
    let mut ring = ring();
    let file = file();
    for token in 0..2000 {
        ring.submit(token, Operation::Flush { fd: file.as_fd() });
    }
    let done = finish(&mut ring, 2000);
    assert!(done.iter().enumerate().all(|(at, one)| one.token == at as u64 && one.result == 0));
}
