//! The seam between the data plane and the kernel, and the one module of the project with unsafe
//! code.
//!
//! An operation is submitted with a token and ends in exactly one [`Completion`] with that token,
//! also when it was cancelled. Buffers named in an operation are busy until then, so no buffer is
//! reused and no memory unmapped while the kernel may touch it.

#![allow(unsafe_code)]

pub mod arena;
pub mod socket;
mod uring;

use arena::{Access, Arena, Span};
use replicator::ids::BufferId;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

/// Most spans in one gathered send (the kernel's limit, UIO_MAXIOV, is 1024).
pub const SPANS_MAX: usize = 512;
/// How long the end waits for operations that it cancelled, before their memory is leaked.
const DRAIN_MS_MAX: u64 = 2000;

/// What a poll waits for (poll(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// POLLIN: data, a connection to accept, or an eventfd that was raised.
    Readable,
    /// POLLOUT: a connect that ended.
    Writable,
}

/// How a range is made to read as zeroes (fallocate(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZeroHow {
    /// The space stays allocated: FALLOC_FL_ZERO_RANGE.
    KeepSpace,
    /// The space is given back: FALLOC_FL_PUNCH_HOLE.
    GiveBack,
}

/// One operation. Offsets and lengths are in bytes.
#[derive(Debug, Clone, Copy)]
pub enum Operation<'a> {
    /// Wait until a descriptor is ready; the result is the mask of events.
    Poll {
        /// Which.
        fd: BorrowedFd<'a>,
        /// For what.
        interest: Interest,
    },
    /// Receive at least one byte; the result is how many, 0 at the end of the stream. The socket is
    /// in blocking mode.
    Receive {
        /// From where.
        fd: BorrowedFd<'a>,
        /// Filled in this order.
        into: &'a [Span],
    },
    /// Send all spans one after the other; the result is how many bytes went, which may be fewer
    /// than all.
    Send {
        /// To where.
        fd: BorrowedFd<'a>,
        /// At most [`SPANS_MAX`].
        from: &'a [Span],
    },
    /// Read from a disk; the result is how many bytes came.
    Read {
        /// From where.
        fd: BorrowedFd<'a>,
        /// At which byte.
        offset_bytes: u64,
        /// Where to.
        into: Span,
    },
    /// Write to a disk; the result is how many bytes went.
    Write {
        /// To where.
        fd: BorrowedFd<'a>,
        /// At which byte.
        offset_bytes: u64,
        /// What.
        from: Span,
        /// On stable storage when it completes (RWF_DSYNC).
        durable: bool,
    },
    /// Make everything durable that completed before (fdatasync(2)).
    Flush {
        /// Of which disk.
        fd: BorrowedFd<'a>,
    },
    /// Make a range read as zeroes; not durable by itself.
    Zero {
        /// On which disk.
        fd: BorrowedFd<'a>,
        /// From which byte on.
        offset_bytes: u64,
        /// How many bytes.
        bytes: u64,
        /// In which way.
        how: ZeroHow,
    },
}

/// The end of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completion {
    /// The token that it was submitted with.
    pub token: u64,
    /// What it says under [`Operation`], or the negative errno.
    pub result: i32,
}

/// One way to carry out operations.
///
/// Invariant that every implementation keeps: each submitted operation ends in one completion, and
/// every span is lent by the arena from the submission to the completion.
trait Backend {
    /// Starts an operation. It may stay queued until the next [`Backend::wait`].
    fn submit(&mut self, arena: &mut Arena, token: u64, operation: Operation<'_>);
    /// Asks for the early end of all operations with this token; they complete with -ECANCELED or
    /// as they would.
    fn cancel(&mut self, token: u64);
    /// Hands everything queued to the kernel, so that descriptors named in it may be closed.
    fn flush_queue(&mut self, arena: &mut Arena) -> io::Result<()>;
    /// Submits what is queued, waits for a completion at most `timeout`, and appends all that are
    /// there to `done`.
    fn wait(
        &mut self,
        arena: &mut Arena,
        timeout: Option<Duration>,
        done: &mut Vec<Completion>,
    ) -> io::Result<()>;
    /// Asks for the early end of everything.
    fn cancel_all(&mut self);
    /// Operations that have not completed.
    fn in_flight(&self) -> usize;
    /// Keeps everything that the kernel may still touch alive for ever.
    fn leak(self: Box<Self>);
}

/// No way to do I/O could be set up.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// io_uring is not there or denied.
    #[error(
        "io_uring is not available: {0}; check kernel.io_uring_disabled and the container's seccomp profile"
    )]
    Unavailable(io::Error),
}

/// The arena and the backend that works on it.
pub struct Ring {
    /// None only while it is dropped.
    parts: Option<(Arena, Box<dyn Backend>)>,
}

impl Ring {
    /// Sets up the best backend that this machine allows. Must be called in the thread that will
    /// use it.
    ///
    /// # Errors
    /// When there is none.
    pub fn new(arena: Arena) -> Result<Self, RingError> {
        let backend = uring::Uring::new().map_err(RingError::Unavailable)?;
        Ok(Self { parts: Some((arena, Box::new(backend))) })
    }

    /// The buffers.
    #[must_use]
    pub fn arena(&self) -> &Arena {
        &self.parts.as_ref().expect("invariant: a ring in use has its parts").0
    }

    /// The buffers, to be changed.
    pub fn arena_mut(&mut self) -> &mut Arena {
        self.both().0
    }

    /// Starts an operation.
    ///
    /// # Panics
    /// When a span breaks the rules of [`Arena`], or there are more than [`SPANS_MAX`].
    pub fn submit(&mut self, token: u64, operation: Operation<'_>) {
        let (arena, backend) = self.both();
        backend.submit(arena, token, operation);
    }

    /// Asks for the early end of the operations with this token; their completions still come.
    pub fn cancel(&mut self, token: u64) {
        self.both().1.cancel(token);
    }

    /// Closes a descriptor after the kernel has taken the operations that name it, so that none of
    /// them can meet another file under the same number.
    ///
    /// # Errors
    /// When the queue cannot be handed over; the descriptor is closed all the same.
    pub fn close(&mut self, fd: OwnedFd) -> io::Result<()> {
        let (arena, backend) = self.both();
        let result = backend.flush_queue(arena);
        drop(fd);
        result
    }

    /// Submits what is queued and waits until something completes, at most `timeout` (for ever if
    /// none). Appends to `done`. Nothing may have completed when it returns.
    ///
    /// # Errors
    /// Only when the kernel refuses the ring itself.
    pub fn wait(
        &mut self,
        timeout: Option<Duration>,
        done: &mut Vec<Completion>,
    ) -> io::Result<()> {
        let (arena, backend) = self.both();
        backend.wait(arena, timeout, done)
    }

    /// Operations that have not completed.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.parts.as_ref().map_or(0, |(_, backend)| backend.in_flight())
    }

    fn both(&mut self) -> (&mut Arena, &mut dyn Backend) {
        let (arena, backend) = self.parts.as_mut().expect("invariant: a ring in use has its parts");
        (arena, backend.as_mut())
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let Some((mut arena, mut backend)) = self.parts.take() else { return };
        backend.cancel_all();
        let mut done = Vec::new();
        let began = std::time::Instant::now();
        while backend.in_flight() > 0 && began.elapsed() < Duration::from_millis(DRAIN_MS_MAX) {
            let step = Some(Duration::from_millis(50));
            if backend.wait(&mut arena, step, &mut done).is_err() {
                break;
            }
            done.clear();
        }
        if backend.in_flight() > 0 {
            backend.leak();
            arena.leak();
        }
    }
}

/// Buffers that one operation has borrowed from the arena.
#[derive(Debug, Default)]
struct Loan {
    lent: Vec<(BufferId, Access)>,
}

impl Loan {
    fn lend(&mut self, arena: &mut Arena, spans: &[Span], access: Access) {
        for span in spans {
            // A receive may fill two parts of one buffer; the kernel then counts as one writer.
            if access == Access::Write && self.lent.iter().any(|(id, _)| *id == span.buffer) {
                continue;
            }
            arena.lend(span.buffer, access);
            self.lent.push((span.buffer, access));
        }
    }

    fn give_back(&mut self, arena: &mut Arena) {
        for (buffer, access) in self.lent.drain(..) {
            arena.give_back(buffer, access);
        }
    }
}

#[cfg(test)]
mod tests;
