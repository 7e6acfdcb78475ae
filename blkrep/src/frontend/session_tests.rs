//! Tests of a session over a socket pair, with the test in the place of the engine.

use super::super::request::PieceName;
use super::*;
use crate::dataplane::inbox::STAGING_BYTES;
use crate::dataplane::send_queue::HEADS_BYTES;
use crate::ring::arena::{Pool, Shelf};
use replicator::event::ClientOp;
use replicator::ids::RequestId;
use replicator::settings::{PIECE_BYTES_MAX, ZERO_PIECE_BYTES_MAX};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

const SIZE_BYTES: u64 = 1 << 30;
const BUDGET_BYTES: u64 = 4 << 20;
const CMD_READ: u16 = 0;
const CMD_WRITE: u16 = 1;
const CMD_DISC: u16 = 2;
const CMD_FLUSH: u16 = 3;
const CMD_ZEROES: u16 = 6;

struct Bench {
    ring: Ring,
    session: Session,
    client: UnixStream,
    availability: Availability,
    inputs: VecDeque<Input>,
    maps: VecDeque<MapWish>,
}

impl Bench {
    fn new() -> Self {
        Self::with(|arena, socket| Session::new(arena, 3, 9, socket, Moment::default()))
    }

    /// The kernel's client, which was told everything by netlink.
    fn of_kernel() -> Self {
        Self::with(|arena, socket| {
            Session::of_kernel(arena, 3, 9, socket, Export::new("r0", SIZE_BYTES))
        })
    }

    fn with(session: impl FnOnce(&mut Arena, OwnedFd) -> Option<Session>) -> Self {
        let arena = Arena::new(&[
            Shelf { pool: Pool::Staging, bytes: STAGING_BYTES, count: 1 },
            Shelf { pool: Pool::Heads, bytes: HEADS_BYTES, count: 1 },
            Shelf { pool: Pool::Client, bytes: 16 << 10, count: 4 },
            Shelf { pool: Pool::Client, bytes: PIECE_BYTES_MAX, count: 8 },
        ]);
        let mut ring = Ring::new(arena.expect("a mapping")).expect("a backend");
        let (near, client) = UnixStream::pair().expect("a pair");
        client.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
        let session = session(ring.arena_mut(), near.into()).expect("buffers");
        let availability = Availability::Served(Export::new("r0", SIZE_BYTES));
        Self { ring, session, client, availability, inputs: VecDeque::new(), maps: VecDeque::new() }
    }

    /// A session whose client has chosen the export by EXPORT_NAME.
    fn serving() -> Self {
        let mut bench = Self::new();
        let mut hello = vec![0, 0, 0, 3];
        hello.extend(b"IHAVEOPT\0\0\0\x01\0\0\0\x02r0");
        bench.client.write_all(&hello).expect("it is sent");
        bench.run().expect("the handshake is good");
        let mut answer = [0; 18 + 10];
        bench.client.read_exact(&mut answer).expect("greeting, size and flags come");
        assert_eq!(answer[18..26], SIZE_BYTES.to_be_bytes());
        assert!(bench.session.is_client());
        bench
    }

    fn act<T>(
        &mut self,
        work: impl FnOnce(&mut Session, &mut Surroundings<'_>) -> Result<T, SessionEnd>,
    ) -> Result<T, SessionEnd> {
        let mut around = Surroundings {
            arena: self.ring.arena_mut(),
            availability: &self.availability,
            inputs: &mut self.inputs,
            maps: &mut self.maps,
            budget_bytes: BUDGET_BYTES,
        };
        work(&mut self.session, &mut around)
    }

    /// Runs the session until nothing happens for a moment.
    fn run(&mut self) -> Result<(), SessionEnd> {
        loop {
            if self.session.is_starved {
                self.act(Session::advance)?;
            }
            self.session.kick(&mut self.ring);
            let mut done = Vec::new();
            let pause = Some(Duration::from_millis(20));
            self.ring.wait(pause, &mut done).expect("the ring works");
            if done.is_empty() {
                return Ok(());
            }
            for completion in done {
                let token = Token::unpack(completion.token);
                if token.source == Source::ClientSend {
                    self.session.sent(&mut self.ring, completion.result)?;
                } else {
                    self.session.arrived(completion.result)?;
                    self.act(Session::advance)?;
                }
            }
        }
    }

    fn request(&mut self, command: u16, cookie: u64, offset: u64, bytes: u32) {
        let mut header = Vec::new();
        header.extend(0x2560_9513u32.to_be_bytes());
        header.extend(0u16.to_be_bytes());
        header.extend(command.to_be_bytes());
        header.extend(cookie.to_be_bytes());
        header.extend(offset.to_be_bytes());
        header.extend(bytes.to_be_bytes());
        self.client.write_all(&header).expect("it is sent");
    }

    fn take(&mut self) -> (RequestId, ClientOp) {
        match self.inputs.pop_front() {
            Some(Input::Request { id, op }) => (id, op),
            other => panic!("the engine is asked for something, not {other:?}"),
        }
    }

    fn done(&mut self, id: RequestId, result: Result<(), ClientError>) -> Result<(), SessionEnd> {
        let name = PieceName::unpack(id);
        assert_eq!((name.place, name.use_number), (3, 9));
        self.act(|session, around| session.piece_done(around, name.slot, result))
    }

    fn reply(&mut self) -> (u32, u64) {
        let mut reply = [0; 16];
        self.client.read_exact(&mut reply).expect("a reply comes");
        let error = reply[4..8].try_into().map(u32::from_be_bytes).expect("4 bytes");
        let cookie = reply[8..].try_into().map(u64::from_be_bytes).expect("8 bytes");
        (error, cookie)
    }
}

#[test]
fn a_small_write_reaches_the_engine_with_its_bytes_and_checksum_and_is_answered_once() {
    let mut bench = Bench::serving();
    bench.request(CMD_WRITE, 77, 8192, 4096);
    bench.client.write_all(&[5; 4096]).expect("it is sent");
    bench.run().expect("it goes on");
    let (id, op) = bench.take();
    let ClientOp::Write { range, payload, fua: false } = op else { panic!("no write: {op:?}") };
    assert_eq!((range.start(), range.bytes(), payload.bytes), (8192, 4096, 4096));
    assert_eq!(payload.crc32c, crc32c::crc32c(&[5; 4096]));
    let span = Span::head(payload.buffer, payload.bytes);
    assert_eq!(bench.ring.arena().bytes(span), [5; 4096]);
    bench.ring.arena_mut().release(payload.buffer);
    bench.done(id, Ok(())).expect("it goes on");
    bench.run().expect("it goes on");
    assert_eq!(bench.reply(), (0, 77));
}

#[test]
fn a_large_write_is_cut_into_pieces_without_gap_and_the_first_error_is_the_answer() {
    let mut bench = Bench::serving();
    let bytes = 2 * PIECE_BYTES_MAX + 8192;
    bench.request(CMD_WRITE, 1, 4096, bytes);
    let data: Vec<u8> = (0..bytes).map(|at| (at / 4096 % 251) as u8).collect();
    let mut writer = bench.client.try_clone().expect("a second descriptor");
    let sent = data.clone();
    let sender = std::thread::spawn(move || writer.write_all(&sent).expect("it is sent"));
    let mut at = 0;
    let mut names = Vec::new();
    while at < bytes {
        bench.run().expect("it goes on");
        while !bench.inputs.is_empty() {
            let (id, op) = bench.take();
            let ClientOp::Write { range, payload, .. } = op else { panic!("no write: {op:?}") };
            assert_eq!(range.start(), 4096 + u64::from(at));
            let expected = &data[at as usize..(at + payload.bytes) as usize];
            let span = Span::head(payload.buffer, payload.bytes);
            assert!(bench.ring.arena().bytes(span) == expected);
            bench.ring.arena_mut().release(payload.buffer);
            at += payload.bytes;
            names.push(id);
        }
    }
    sender.join().expect("all is sent");
    assert_eq!(names.len(), 3);
    bench.done(names[1], Err(ClientError::Io)).expect("it goes on");
    bench.done(names[0], Ok(())).expect("it goes on");
    assert_eq!(bench.session.requests.count(), 1, "a piece is still open");
    bench.done(names[2], Err(ClientError::Shutdown)).expect("it goes on");
    bench.run().expect("it goes on");
    assert_eq!(bench.reply(), (5, 1), "EIO came first");
}

#[test]
fn a_read_of_several_pieces_is_answered_in_order_and_its_buffers_are_free_afterwards() {
    let mut bench = Bench::serving();
    bench.request(CMD_READ, 4, 0, PIECE_BYTES_MAX + 4096);
    bench.run().expect("it goes on");
    let pieces = [bench.take(), bench.take()];
    for (at, (id, op)) in pieces.into_iter().enumerate().rev() {
        let ClientOp::Read { range, buffer } = op else { panic!("no read: {op:?}") };
        let bytes = u32::try_from(range.bytes()).expect("short");
        bench.ring.arena_mut().bytes_mut(Span::head(buffer, bytes)).fill(at as u8 + 1);
        bench.done(id, Ok(())).expect("it goes on");
        bench.ring.arena_mut().release(buffer);
    }
    let mut client = bench.client.try_clone().expect("a second descriptor");
    let reader = std::thread::spawn(move || {
        let mut all = vec![0; 16 + PIECE_BYTES_MAX as usize + 4096];
        client.read_exact(&mut all).expect("all comes");
        all
    });
    while !bench.session.queue.is_empty() {
        bench.run().expect("it goes on");
    }
    let all = reader.join().expect("the reader ends");
    let (first, second) = all[16..].split_at(PIECE_BYTES_MAX as usize);
    assert!(first.iter().all(|&byte| byte == 1) && second.iter().all(|&byte| byte == 2));
    assert_eq!(bench.ring.arena().free_count(Pool::Client, 1), 12);
}

#[test]
fn a_client_beyond_its_budget_waits_until_its_replies_are_gone() {
    let mut bench = Bench::serving();
    for cookie in 0..4 {
        bench.request(CMD_READ, cookie, 0, PIECE_BYTES_MAX + 4096);
    }
    bench.run().expect("it goes on");
    assert!(bench.session.is_starved);
    assert_eq!(bench.inputs.len(), 6, "three of them fit into the budget");
    for _ in 0..6 {
        let (id, op) = bench.take();
        let ClientOp::Read { buffer, .. } = op else { panic!("no read: {op:?}") };
        bench.done(id, Err(ClientError::Io)).expect("it goes on");
        bench.ring.arena_mut().release(buffer);
    }
    bench.run().expect("it goes on");
    assert!(!bench.session.is_starved);
    assert_eq!(bench.inputs.len(), 2, "the fourth one has started");
}

#[test]
fn a_long_zeroing_has_few_pieces_under_way_and_stops_at_an_error() {
    let mut bench = Bench::serving();
    let bytes = u32::try_from(8 * ZERO_PIECE_BYTES_MAX).expect("short");
    bench.request(CMD_ZEROES, 6, 0, bytes);
    bench.run().expect("it goes on");
    assert_eq!(bench.inputs.len(), 4);
    let names: Vec<_> = (0..4).map(|_| bench.take().0).collect();
    bench.done(names[0], Ok(())).expect("it goes on");
    assert_eq!(bench.inputs.len(), 1, "the next one starts");
    let fifth = bench.take().0;
    bench.done(names[1], Err(ClientError::Io)).expect("it goes on");
    assert!(bench.inputs.is_empty(), "nothing starts after an error");
    for id in [names[2], names[3], fifth] {
        bench.done(id, Ok(())).expect("it goes on");
    }
    bench.run().expect("it goes on");
    assert_eq!(bench.reply(), (5, 6));
}

#[test]
fn a_disconnect_waits_for_what_is_open_and_ends_the_session() {
    let mut bench = Bench::serving();
    bench.request(CMD_FLUSH, 8, 0, 0);
    bench.request(CMD_DISC, 9, 0, 0);
    bench.run().expect("the flush is open");
    let (id, op) = bench.take();
    assert_eq!(op, ClientOp::Flush);
    bench.done(id, Ok(())).expect("the reply is not sent yet");
    assert!(matches!(bench.run(), Err(SessionEnd::Finished)));
    assert_eq!(bench.reply(), (0, 8));
}

#[test]
fn a_client_that_goes_away_in_the_middle_of_a_write_leaves_no_buffer_behind() {
    let mut bench = Bench::serving();
    bench.request(CMD_WRITE, 1, 0, PIECE_BYTES_MAX);
    bench.client.write_all(&[1; 100_000]).expect("it is sent");
    bench.run().expect("it waits for the rest");
    bench.client.shutdown(std::net::Shutdown::Both).expect("it goes");
    assert!(matches!(bench.run(), Err(SessionEnd::Closed)));
    assert!(bench.inputs.is_empty(), "an unfinished piece never starts (D16)");
    let Bench { mut ring, session, .. } = bench;
    session.close(&mut ring);
    assert_eq!(ring.arena().free_count(Pool::Client, 1), 12);
    assert_eq!(ring.arena().free_count(Pool::Staging, 1), 1);
}

#[test]
fn a_refused_export_ends_the_handshake_and_a_bad_request_is_answered() {
    let mut bench = Bench::serving();
    bench.request(CMD_READ, 5, SIZE_BYTES, 512);
    bench.run().expect("the connection lives on");
    assert_eq!(bench.reply(), (22, 5));
    let message = "Secondary".to_owned();
    bench.availability = Availability::Refused { name: "r0".to_owned(), message };
    bench.request(CMD_WRITE, 6, 0, 512);
    bench.client.write_all(&[0; 512]).expect("it is sent");
    bench.request(CMD_READ, 7, 0, 512);
    bench.run().expect("the connection lives on");
    assert_eq!(bench.reply(), (108, 6));
    assert_eq!(bench.reply(), (108, 7));
    assert!(bench.inputs.is_empty());
}

#[test]
fn a_refused_write_is_answered_when_its_payload_has_come_and_not_before() {
    let mut bench = Bench::serving();
    bench.request(CMD_WRITE, 5, SIZE_BYTES, 1024);
    bench.client.write_all(&[0; 1000]).expect("it is sent");
    bench.run().expect("the connection lives on");
    bench.client.set_nonblocking(true).expect("it can be asked without waiting");
    let early = bench.client.read(&mut [0; 1]).expect_err("nothing has come");
    assert_eq!(early.kind(), std::io::ErrorKind::WouldBlock);
    bench.client.set_nonblocking(false).expect("it can be waited for");
    bench.client.write_all(&[0; 24]).expect("it is sent");
    bench.run().expect("the connection lives on");
    assert_eq!(bench.reply(), (28, 5));
}

#[test]
fn reads_take_no_more_large_buffers_than_are_left_to_other_clients() {
    let mut bench = Bench::serving();
    let arena = bench.ring.arena_mut();
    let of_others: Vec<_> =
        (0..5).filter_map(|_| arena.allocate(Pool::Client, PIECE_BYTES_MAX)).collect();
    for cookie in 0..3 {
        bench.request(CMD_READ, cookie, 0, PIECE_BYTES_MAX);
    }
    bench.run().expect("it goes on");
    assert!(bench.session.is_starved);
    assert_eq!(bench.inputs.len(), 2, "of three free buffers it takes two");
    for buffer in of_others {
        bench.ring.arena_mut().release(buffer);
    }
    bench.run().expect("it goes on");
    assert_eq!(bench.inputs.len(), 3, "the third one has started");
}

#[test]
fn the_kernels_first_bytes_are_requests_and_nothing_is_sent_before_them() {
    let mut bench = Bench::of_kernel();
    assert!(bench.session.is_client() && bench.session.deadline().is_none());
    bench.run().expect("it goes on");
    bench.request(CMD_FLUSH, 7, 0, 0);
    bench.run().expect("it goes on");
    let (id, op) = bench.take();
    assert_eq!(op, ClientOp::Flush);
    bench.done(id, Ok(())).expect("it goes on");
    bench.run().expect("it goes on");
    // A simple reply: the kernel knows no other.
    let mut reply = [0; 16];
    bench.client.read_exact(&mut reply).expect("it comes, and nothing before it");
    assert_eq!(reply[..4], 0x6744_6698_u32.to_be_bytes());
    assert_eq!(reply[4..], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
}

#[test]
fn the_kernels_client_may_write_into_the_new_part_of_a_grown_device() {
    let mut bench = Bench::of_kernel();
    bench.request(CMD_ZEROES, 1, SIZE_BYTES, 4096);
    bench.run().expect("it goes on");
    assert!(bench.inputs.is_empty(), "beyond the end");
    bench.session.grow(2 * SIZE_BYTES);
    bench.request(CMD_ZEROES, 2, SIZE_BYTES, 4096);
    bench.run().expect("it goes on");
    assert!(matches!(bench.take().1, ClientOp::Zero { .. }));
}
