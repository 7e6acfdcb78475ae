//! The backend on io_uring: everything queued in a turn goes to the kernel with the one call that
//! also waits.

use super::arena::{Access, Arena, Span};
use super::{Backend, Completion, Interest, Loan, Operation, SPANS_MAX, ZeroHow};
use io_uring::types::{Fd, FsyncFlags, SubmitArgs, Timespec};
use io_uring::{IoUring, opcode, squeue};
use rustix::io::Errno;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr;
use std::time::Duration;

/// Places in the submission queue; it is handed over early when it is full.
const ENTRIES: u32 = 512;
/// Places in the completion queue: more than all operations that can be under way.
const COMPLETIONS: u32 = 8192;
/// Marks completions that nobody waits for (of cancellations).
const NOBODY: u64 = u64::MAX;

/// `RWF_DSYNC` of preadv2(2).
const RWF_DSYNC: i32 = 0x2;
/// `MSG_NOSIGNAL` of send(2).
const MSG_NOSIGNAL: u32 = 0x4000;
/// `MSG_WAITALL`: the kernel goes on by itself after a short send.
const MSG_WAITALL: u32 = 0x100;
/// `POLLIN` of poll(2).
const POLLIN: u32 = 0x1;
/// `POLLOUT` of poll(2).
const POLLOUT: u32 = 0x4;
/// `FALLOC_FL_KEEP_SIZE` of fallocate(2).
const FALLOC_KEEP_SIZE: i32 = 0x01;
/// `FALLOC_FL_PUNCH_HOLE` of fallocate(2).
const FALLOC_PUNCH_HOLE: i32 = 0x02;
/// `FALLOC_FL_ZERO_RANGE` of fallocate(2).
const FALLOC_ZERO_RANGE: i32 = 0x10;

/// `struct iovec` of the kernel.
#[repr(C)]
#[derive(Clone, Copy)]
struct IoVector {
    base: *mut u8,
    bytes: usize,
}

/// `struct user_msghdr` of the kernel on 64-bit machines.
#[repr(C)]
struct MessageHeader {
    name: *mut u8,
    name_bytes: u32,
    vectors: *mut IoVector,
    vector_count: usize,
    control: *mut u8,
    control_bytes: usize,
    flags: u32,
}

/// One operation under way. The memory that the kernel reads is behind stable addresses (`header`,
/// `vectors`), and does not change until the completion.
struct Flight {
    busy: bool,
    token: u64,
    loan: Loan,
    vectors: Vec<IoVector>,
    header: Box<MessageHeader>,
}

impl Flight {
    fn new() -> Self {
        let header = Box::new(MessageHeader {
            name: ptr::null_mut(),
            name_bytes: 0,
            vectors: ptr::null_mut(),
            vector_count: 0,
            control: ptr::null_mut(),
            control_bytes: 0,
            flags: 0,
        });
        Self { busy: false, token: 0, loan: Loan::default(), vectors: Vec::new(), header }
    }

    /// Fills `header` so that it names `spans`.
    fn gather(&mut self, arena: &Arena, spans: &[Span]) -> *mut MessageHeader {
        assert!(spans.len() <= SPANS_MAX, "invariant: a gathered operation has at most SPANS_MAX");
        self.vectors.clear();
        self.vectors.extend(
            spans
                .iter()
                .map(|span| IoVector { base: arena.pointer(*span), bytes: span.bytes as usize }),
        );
        self.header.vectors = self.vectors.as_mut_ptr();
        self.header.vector_count = self.vectors.len();
        &raw mut *self.header
    }
}

/// The ring and what is under way in it.
pub(super) struct Uring {
    ring: IoUring,
    flights: Vec<Flight>,
    idle: Vec<usize>,
    under_way: usize,
}

impl Uring {
    /// Sets the ring up, with the flags that save interrupts where the kernel knows them (6.1).
    pub(super) fn new() -> io::Result<Self> {
        let modern = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_cqsize(COMPLETIONS)
            .dontfork()
            .build(ENTRIES);
        let ring = match modern {
            Ok(ring) => ring,
            Err(_) => IoUring::builder().setup_cqsize(COMPLETIONS).dontfork().build(ENTRIES)?,
        };
        if !ring.params().is_feature_ext_arg() || !ring.params().is_feature_nodrop() {
            return Err(io::Error::other("the kernel's io_uring is older than 5.11"));
        }
        Ok(Self { ring, flights: Vec::new(), idle: Vec::new(), under_way: 0 })
    }

    fn claim(&mut self, token: u64) -> usize {
        let index = self.idle.pop().unwrap_or_else(|| {
            self.flights.push(Flight::new());
            self.flights.len() - 1
        });
        let flight = &mut self.flights[index];
        flight.busy = true;
        flight.token = token;
        self.under_way += 1;
        index
    }

    fn push(&mut self, entry: &squeue::Entry) {
        loop {
            // SAFETY: every pointer in the entry leads to the arena, to a boxed header or to a
            // vector of a flight that stays claimed until the completion; `Ring` leaks them if it
            // never comes.
            let pushed = unsafe { self.ring.submission().push(entry) };
            if pushed.is_ok() {
                return;
            }
            // A full queue: hand it over. An error here leaves it full, and `wait` reports it.
            let handed_over = self.ring.submit();
            let busy = handed_over.as_ref().err().and_then(io::Error::raw_os_error);
            let again = [Errno::INTR, Errno::AGAIN, Errno::BUSY].map(Errno::raw_os_error);
            assert!(
                handed_over.is_ok() || busy.is_some_and(|errno| again.contains(&errno)),
                "invariant: the kernel takes a full queue, but said {handed_over:?}"
            );
        }
    }

    fn entry(
        &mut self,
        arena: &mut Arena,
        index: usize,
        operation: Operation<'_>,
    ) -> squeue::Entry {
        let flight = &mut self.flights[index];
        match operation {
            Operation::Poll { fd, interest } => {
                let events = match interest {
                    Interest::Readable => POLLIN,
                    Interest::Writable => POLLOUT,
                };
                opcode::PollAdd::new(Fd(fd.as_raw_fd()), events).build()
            }
            Operation::Receive { fd, into } => {
                flight.loan.lend(arena, into, Access::Write);
                let fd = Fd(fd.as_raw_fd());
                if let [span] = into {
                    opcode::Recv::new(fd, arena.pointer(*span), span.bytes).build()
                } else {
                    opcode::RecvMsg::new(fd, flight.gather(arena, into).cast()).build()
                }
            }
            Operation::Send { fd, from } => {
                flight.loan.lend(arena, from, Access::Read);
                let header = flight.gather(arena, from);
                opcode::SendMsg::new(Fd(fd.as_raw_fd()), header.cast())
                    .flags(MSG_NOSIGNAL | MSG_WAITALL)
                    .build()
            }
            Operation::Read { fd, offset_bytes, into } => {
                flight.loan.lend(arena, &[into], Access::Write);
                opcode::Read::new(Fd(fd.as_raw_fd()), arena.pointer(into), into.bytes)
                    .offset(offset_bytes)
                    .build()
            }
            Operation::Write { fd, offset_bytes, from, durable } => {
                flight.loan.lend(arena, &[from], Access::Read);
                opcode::Write::new(Fd(fd.as_raw_fd()), arena.pointer(from), from.bytes)
                    .offset(offset_bytes)
                    .rw_flags(if durable { RWF_DSYNC } else { 0 })
                    .build()
            }
            Operation::Flush { fd } => {
                opcode::Fsync::new(Fd(fd.as_raw_fd())).flags(FsyncFlags::DATASYNC).build()
            }
            Operation::Zero { fd, offset_bytes, bytes, how } => {
                let mode = FALLOC_KEEP_SIZE
                    | match how {
                        ZeroHow::KeepSpace => FALLOC_ZERO_RANGE,
                        ZeroHow::GiveBack => FALLOC_PUNCH_HOLE,
                    };
                opcode::Fallocate::new(Fd(fd.as_raw_fd()), bytes)
                    .offset(offset_bytes)
                    .mode(mode)
                    .build()
            }
        }
    }

    fn reap(&mut self, arena: &mut Arena, done: &mut Vec<Completion>) {
        let Self { ring, flights, idle, under_way } = self;
        for entry in ring.completion() {
            if entry.user_data() == NOBODY {
                continue;
            }
            let index = usize::try_from(entry.user_data()).expect("invariant: it is an index");
            let flight = &mut flights[index];
            assert!(flight.busy, "invariant: an operation completes once");
            flight.loan.give_back(arena);
            flight.busy = false;
            idle.push(index);
            *under_way -= 1;
            done.push(Completion { token: flight.token, result: entry.result() });
        }
    }

    fn cancel_where(&mut self, wanted: impl Fn(&Flight) -> bool) {
        for index in 0..self.flights.len() {
            let flight = &self.flights[index];
            if flight.busy && wanted(flight) {
                let entry = opcode::AsyncCancel::new(index as u64).build().user_data(NOBODY);
                self.push(&entry);
            }
        }
    }
}

impl Backend for Uring {
    fn submit(&mut self, arena: &mut Arena, token: u64, operation: Operation<'_>) {
        let index = self.claim(token);
        let entry = self.entry(arena, index, operation).user_data(index as u64);
        self.push(&entry);
    }

    fn cancel(&mut self, token: u64) {
        self.cancel_where(|flight| flight.token == token);
    }

    fn flush_queue(&mut self, _arena: &mut Arena) -> io::Result<()> {
        while !self.ring.submission().is_empty() {
            forgive(self.ring.submit())?;
        }
        Ok(())
    }

    fn wait(
        &mut self,
        arena: &mut Arena,
        timeout: Option<Duration>,
        done: &mut Vec<Completion>,
    ) -> io::Result<()> {
        let entered = match timeout {
            Some(limit) => {
                let limit = Timespec::from(limit);
                let arguments = SubmitArgs::new().timespec(&limit);
                self.ring.submitter().submit_with_args(1, &arguments)
            }
            None => self.ring.submit_and_wait(1),
        };
        let result = forgive(entered);
        self.reap(arena, done);
        result
    }

    fn cancel_all(&mut self) {
        self.cancel_where(|_| true);
    }

    fn in_flight(&self) -> usize {
        self.under_way
    }

    fn leak(self: Box<Self>) {
        std::mem::forget(self);
    }
}

/// A wait that ended early, or a kernel that is busy for the moment, is no error: the next turn
/// tries again.
fn forgive(result: io::Result<usize>) -> io::Result<()> {
    let passing = [Errno::INTR, Errno::AGAIN, Errno::BUSY, Errno::TIME].map(Errno::raw_os_error);
    match result {
        Ok(_) => Ok(()),
        Err(error) if error.raw_os_error().is_some_and(|errno| passing.contains(&errno)) => Ok(()),
        Err(error) => Err(error),
    }
}
