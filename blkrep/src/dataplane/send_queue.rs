//! What waits to be sent on one socket: three lanes, one gathered send under way at a time (rule
//! F17).

use super::inbox::DIRECT_BYTES_MIN;
use crate::ring::arena::{Arena, Pool, Span};
use crate::ring::{Operation, Ring, SPANS_MAX};
use replicator::event::Lane;
use replicator::ids::BufferId;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::os::fd::BorrowedFd;

/// Most bytes in one gathered send, so that urgent frames wait for little (DESIGN 7).
pub(crate) const GATHER_BYTES_MAX: u32 = 256 << 10;
/// Size of the buffer that the heads of one gathered send are copied to, in bytes.
pub(crate) const HEADS_BYTES: u32 = 64 << 10;

/// A frame that waits: the next `head_bytes` bytes of its lane's heads, then the payload.
#[derive(Debug)]
struct Frame {
    head_bytes: u32,
    payload: Option<Span>,
}

#[derive(Debug, Default)]
struct LaneQueue {
    heads: VecDeque<u8>,
    frames: VecDeque<Frame>,
}

/// The part of a frame that the gathered sends so far did not take. The frame is finished before
/// another one begins.
#[derive(Debug)]
struct Started {
    lane: usize,
    head_bytes: u32,
    payload: Option<Span>,
}

/// The queue of one socket. It holds the buffers of all payloads in it.
#[derive(Debug)]
pub(crate) struct SendQueue {
    lanes: [LaneQueue; 3],
    started: Option<Started>,
    heads: BufferId,
    /// What the gathered send under way has left to send.
    spans: Vec<Span>,
    /// Buffers whose last bytes are in it.
    finishing: Vec<Span>,
    is_sending: bool,
    payload_bytes: u64,
}

impl SendQueue {
    /// An empty queue; none when there is no buffer for heads.
    pub(crate) fn new(arena: &mut Arena) -> Option<Self> {
        let heads = arena.allocate(Pool::Heads, HEADS_BYTES)?;
        Some(Self {
            lanes: Default::default(),
            started: None,
            heads,
            spans: Vec::with_capacity(SPANS_MAX),
            finishing: Vec::with_capacity(SPANS_MAX),
            is_sending: false,
            payload_bytes: 0,
        })
    }

    /// Appends a frame. The queue takes over one hold of the payload's buffer and gives it up when
    /// all is sent.
    pub(crate) fn push(&mut self, lane: Lane, head: &[u8], payload: Option<Span>) {
        let queue = &mut self.lanes[lane_index(lane)];
        queue.heads.extend(head);
        let head_bytes = u32::try_from(head.len()).expect("invariant: a head is short");
        queue.frames.push_back(Frame { head_bytes, payload });
        self.payload_bytes += payload.map_or(0, |span| u64::from(span.bytes));
    }

    /// Payload bytes that are queued or being sent.
    pub(crate) const fn payload_bytes(&self) -> u64 {
        self.payload_bytes
    }

    /// Frames that no send has taken yet.
    pub(crate) fn waiting_frames(&self) -> usize {
        self.lanes.iter().map(|lane| lane.frames.len()).sum()
    }

    /// True when everything is sent.
    pub(crate) fn is_empty(&self) -> bool {
        !self.is_sending && self.started.is_none() && self.waiting_frames() == 0
    }

    /// Starts a gathered send of what waits, unless one is under way.
    pub(crate) fn kick(&mut self, ring: &mut Ring, fd: BorrowedFd<'_>, token: u64) {
        if self.is_sending {
            return;
        }
        self.gather(ring.arena_mut());
        if !self.spans.is_empty() {
            ring.submit(token, Operation::Send { fd, from: &self.spans });
            self.is_sending = true;
        }
    }

    /// Takes the result of the gathered send; goes on with it if it was cut short.
    ///
    /// # Errors
    /// The errno of the socket; the link is dead then.
    pub(crate) fn sent(
        &mut self,
        ring: &mut Ring,
        fd: BorrowedFd<'_>,
        token: u64,
        result: i32,
    ) -> Result<(), Errno> {
        self.is_sending = false;
        let sent_bytes = match u32::try_from(result) {
            Ok(bytes) => bytes,
            Err(_) if -result == Errno::INTR.raw_os_error() => 0,
            Err(_) if -result == Errno::AGAIN.raw_os_error() => 0,
            Err(_) => return Err(Errno::from_raw_os_error(-result)),
        };
        drop_sent(&mut self.spans, sent_bytes);
        if self.spans.is_empty() {
            self.settle(ring.arena_mut());
        } else {
            ring.submit(token, Operation::Send { fd, from: &self.spans });
            self.is_sending = true;
        }
        Ok(())
    }

    /// Gives all buffers up. What the kernel is sending stays busy until it is done.
    pub(crate) fn free(mut self, arena: &mut Arena) {
        self.settle(arena);
        if let Some(span) = self.started.take().and_then(|started| started.payload) {
            arena.release(span.buffer);
        }
        for lane in &mut self.lanes {
            for span in lane.frames.drain(..).filter_map(|frame| frame.payload) {
                arena.release(span.buffer);
            }
        }
        arena.release(self.heads);
    }

    fn settle(&mut self, arena: &mut Arena) {
        for span in self.finishing.drain(..) {
            self.payload_bytes -= u64::from(span.bytes);
            arena.release(span.buffer);
        }
    }

    fn next_frame(&mut self) -> Option<Started> {
        let lane = self.lanes.iter().position(|lane| !lane.frames.is_empty())?;
        let frame = self.lanes[lane].frames.pop_front()?;
        Some(Started { lane, head_bytes: frame.head_bytes, payload: frame.payload })
    }

    /// Fills `spans` with at most `GATHER_BYTES_MAX` bytes: the rest of the started frame, then
    /// whole lanes in order.
    fn gather(&mut self, arena: &mut Arena) {
        let mut left = GATHER_BYTES_MAX;
        let mut heads_end = 0;
        while left > 0 && self.spans.len() + 2 <= SPANS_MAX {
            let Some(mut frame) = self.started.take().or_else(|| self.next_frame()) else { return };
            let head_bytes = frame.head_bytes.min(left).min(HEADS_BYTES - heads_end);
            if head_bytes > 0 {
                self.gather_head(arena, frame.lane, heads_end, head_bytes);
                heads_end += head_bytes;
                left -= head_bytes;
                frame.head_bytes -= head_bytes;
            }
            if frame.head_bytes > 0 {
                self.started = Some(frame);
                return;
            }
            let Some(payload) = frame.payload else { continue };
            // A sliver of a large payload would cost a span and gain nothing.
            if left < payload.bytes && left < DIRECT_BYTES_MIN {
                self.started = Some(frame);
                return;
            }
            let bytes = payload.bytes.min(left);
            self.spans.push(Span { bytes, ..payload });
            left -= bytes;
            if bytes == payload.bytes {
                self.finishing.push(payload);
            } else {
                let (start, rest_bytes) = (payload.start + bytes, payload.bytes - bytes);
                self.payload_bytes -= u64::from(bytes);
                frame.payload = Some(Span { start, bytes: rest_bytes, ..payload });
                self.started = Some(frame);
            }
        }
    }

    fn gather_head(&mut self, arena: &mut Arena, lane: usize, start: u32, bytes: u32) {
        let span = Span { buffer: self.heads, start, bytes };
        let target = arena.bytes_mut(span);
        let source = &mut self.lanes[lane].heads;
        let (first, second) = source.as_slices();
        let from_first = target.len().min(first.len());
        let from_second = target.len() - from_first;
        target[..from_first].copy_from_slice(&first[..from_first]);
        target[from_first..].copy_from_slice(&second[..from_second]);
        source.drain(..bytes as usize);
        match self.spans.last_mut() {
            Some(last) if last.buffer == self.heads && last.start + last.bytes == start => {
                last.bytes += bytes;
            }
            Some(_) | None => self.spans.push(span),
        }
    }
}

/// Order in which lanes are emptied.
const fn lane_index(lane: Lane) -> usize {
    match lane {
        Lane::Urgent => 0,
        Lane::Fifo => 1,
        Lane::Bulk => 2,
    }
}

fn drop_sent(spans: &mut Vec<Span>, mut sent_bytes: u32) {
    let mut whole = 0;
    for span in spans.iter_mut() {
        if sent_bytes < span.bytes {
            span.start += sent_bytes;
            span.bytes -= sent_bytes;
            break;
        }
        sent_bytes -= span.bytes;
        whole += 1;
    }
    spans.drain(..whole);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::arena::Shelf;
    use std::io::Read as _;
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    const PAYLOAD_BYTES: u32 = 1 << 20;

    fn ring() -> Ring {
        let arena = Arena::new(&[
            Shelf { pool: Pool::Heads, bytes: HEADS_BYTES, count: 1 },
            Shelf { pool: Pool::Peer, bytes: PAYLOAD_BYTES, count: 2 },
        ]);
        Ring::new(arena.expect("a mapping")).expect("a backend")
    }

    fn payload(ring: &mut Ring, byte: u8, bytes: u32) -> Span {
        let buffer = ring.arena_mut().allocate(Pool::Peer, bytes).expect("one is free");
        let span = Span::head(buffer, bytes);
        ring.arena_mut().bytes_mut(span).fill(byte);
        span
    }

    /// Sends all of it; what the other end read.
    fn flush(queue: &mut SendQueue, ring: &mut Ring) -> Vec<u8> {
        let (near, mut far) = UnixStream::pair().expect("a pair");
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            far.read_to_end(&mut all).expect("it can be read");
            all
        });
        let mut done = Vec::new();
        while !queue.is_empty() {
            queue.kick(ring, near.as_fd(), 1);
            ring.wait(Some(Duration::from_secs(5)), &mut done).expect("the ring works");
            for completion in done.drain(..) {
                queue.sent(ring, near.as_fd(), 1, completion.result).expect("it is sent");
            }
        }
        drop(near);
        reader.join().expect("the reader ends")
    }

    #[test]
    fn urgent_frames_overtake_the_fifo_and_bulk_falls_behind() {
        let mut ring = ring();
        let mut queue = SendQueue::new(ring.arena_mut()).expect("heads are free");
        let bulk = payload(&mut ring, b'x', 3);
        queue.push(Lane::Bulk, b"bulk", Some(bulk));
        queue.push(Lane::Fifo, b"one", None);
        queue.push(Lane::Urgent, b"ack", None);
        queue.push(Lane::Fifo, b"two", None);
        assert_eq!(flush(&mut queue, &mut ring), b"ackonetwobulkxxx");
        assert_eq!(queue.payload_bytes(), 0);
        assert_eq!(ring.arena().free_count(Pool::Peer, 1), 2, "the payload is given up");
    }

    #[test]
    fn a_frame_that_was_started_is_finished_before_an_urgent_one() {
        let mut ring = ring();
        let mut queue = SendQueue::new(ring.arena_mut()).expect("heads are free");
        let large = payload(&mut ring, b'L', PAYLOAD_BYTES);
        queue.push(Lane::Fifo, b"head", Some(large));
        queue.gather(ring.arena_mut());
        let first_bytes: u32 = queue.spans.iter().map(|span| span.bytes).sum();
        assert_eq!(first_bytes, GATHER_BYTES_MAX);
        queue.push(Lane::Urgent, b"ack", None);
        let (near, mut far) = UnixStream::pair().expect("a pair");
        let from = queue.spans.clone();
        let reader = std::thread::spawn(move || {
            let mut all = vec![0; GATHER_BYTES_MAX as usize];
            far.read_exact(&mut all).expect("it can be read");
        });
        ring.submit(1, Operation::Send { fd: near.as_fd(), from: &from });
        let mut done = Vec::new();
        ring.wait(Some(Duration::from_secs(5)), &mut done).expect("the ring works");
        queue.sent(&mut ring, near.as_fd(), 1, done[0].result).expect("it is sent");
        reader.join().expect("the reader ends");
        let rest = flush(&mut queue, &mut ring);
        assert_eq!(rest.len(), (PAYLOAD_BYTES + 4 - GATHER_BYTES_MAX + 3) as usize);
        assert_eq!(&rest[rest.len() - 4..], b"Lack");
    }

    #[test]
    fn a_short_send_goes_on_where_it_ended() {
        let buffer = BufferId(0);
        let mut spans = vec![Span::head(buffer, 10), Span { buffer, start: 20, bytes: 5 }];
        drop_sent(&mut spans, 12);
        assert_eq!(spans, [Span { buffer, start: 22, bytes: 3 }]);
        drop_sent(&mut spans, 3);
        assert!(spans.is_empty());
    }

    #[test]
    fn a_queue_that_is_given_up_frees_everything_it_held() {
        let mut ring = ring();
        let mut queue = SendQueue::new(ring.arena_mut()).expect("heads are free");
        for _ in 0..2 {
            let large = payload(&mut ring, 1, PAYLOAD_BYTES);
            queue.push(Lane::Bulk, b"head", Some(large));
        }
        queue.gather(ring.arena_mut());
        queue.free(ring.arena_mut());
        assert_eq!(ring.arena().free_count(Pool::Peer, 1), 2);
        assert_eq!(ring.arena().free_count(Pool::Heads, 1), 1);
    }
}
