//! The buffers of the data plane: one mapping made at the start, cut into pools that never grow
//! (rule D14).
//!
//! A buffer is named by its [`BufferId`]. It is busy while somebody holds it or the kernel reads or
//! writes it, and goes back to the free list of its pool when both have ended. The last buffer
//! freed is the first one given out again, because it is still in the cache.

use memmap2::{MmapMut, MmapOptions};
use replicator::ids::BufferId;
use std::mem::ManuallyDrop;

/// Every buffer begins on such a boundary, in bytes; direct I/O wants it (open(2), O_DIRECT).
pub const ALIGNMENT_BYTES: usize = 4096;

/// What a buffer is for. Each pool is apart, so that no kind of work can starve another one (rule
/// D14).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pool {
    /// Payloads of NBD clients' reads and writes.
    Client,
    /// Payloads of the peer's application writes; as many as the announced window.
    Peer,
    /// Buffers lent to the engine for resync reads.
    Sync,
    /// Resync payloads that arrive from the peer.
    Arrival,
    /// Bytes received from a socket and not yet parsed.
    Staging,
    /// Frame and reply heads of a gathered send.
    Heads,
    /// Metadata pages on their way to the disk, and the zeroes for disks that cannot zero.
    Pages,
}

/// So many buffers of one size in one pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shelf {
    /// The pool that they belong to.
    pub pool: Pool,
    /// Size of each in bytes; rounded up to [`ALIGNMENT_BYTES`].
    pub bytes: u32,
    /// How many.
    pub count: u32,
}

/// Part of a buffer. Invariant, checked when it is used: it lies inside the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The buffer.
    pub buffer: BufferId,
    /// First byte, from the beginning of the buffer.
    pub start: u32,
    /// Length in bytes.
    pub bytes: u32,
}

impl Span {
    /// The first `bytes` bytes of `buffer`.
    #[must_use]
    pub const fn head(buffer: BufferId, bytes: u32) -> Self {
        Self { buffer, start: 0, bytes }
    }
}

/// What the kernel does with a span while an operation is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// It reads from it (send, disk write).
    Read,
    /// It writes to it (receive, disk read).
    Write,
}

#[derive(Debug)]
struct Slot {
    offset: usize,
    bytes: u32,
    shelf: usize,
    holds: u32,
    kernel_reads: u32,
    kernel_writes: u32,
}

impl Slot {
    const fn is_idle(&self) -> bool {
        self.holds == 0 && self.kernel_reads == 0 && self.kernel_writes == 0
    }
}

#[derive(Debug)]
struct FreeList {
    pool: Pool,
    bytes: u32,
    free: Vec<BufferId>,
}

/// All buffers of one I/O thread.
#[derive(Debug)]
pub struct Arena {
    map: ManuallyDrop<MmapMut>,
    base: *mut u8,
    slots: Vec<Slot>,
    shelves: Vec<FreeList>,
}

/// The memory for the buffers could not be had.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot map {bytes} bytes for I/O buffers: {source}; lower the buffer memory of the resource or \
     free memory on this node"
)]
pub struct ArenaError {
    bytes: usize,
    source: std::io::Error,
}

impl Arena {
    /// Maps and populates the memory of all `shelves` at once; nothing is allocated afterwards.
    ///
    /// # Errors
    /// When the kernel does not give the memory.
    pub fn new(shelves: &[Shelf]) -> Result<Self, ArenaError> {
        let mut slots = Vec::new();
        let mut lists = Vec::new();
        let mut offset = 0usize;
        for (index, shelf) in shelves.iter().enumerate() {
            let stride = (shelf.bytes as usize).next_multiple_of(ALIGNMENT_BYTES);
            let mut free = Vec::with_capacity(shelf.count as usize);
            for _ in 0..shelf.count {
                let name = u32::try_from(slots.len()).expect("invariant: fewer than 2^32 buffers");
                free.push(BufferId(name));
                slots.push(Slot {
                    offset,
                    bytes: shelf.bytes,
                    shelf: index,
                    holds: 0,
                    kernel_reads: 0,
                    kernel_writes: 0,
                });
                offset += stride;
            }
            free.reverse();
            lists.push(FreeList { pool: shelf.pool, bytes: shelf.bytes, free });
        }
        let bytes = offset.max(ALIGNMENT_BYTES);
        let mut map = MmapOptions::new()
            .len(bytes)
            .populate()
            .map_anon()
            .map_err(|source| ArenaError { bytes, source })?;
        let base = map.as_mut_ptr();
        Ok(Self { map: ManuallyDrop::new(map), base, slots, shelves: lists })
    }

    /// A free buffer of at least `bytes` bytes from `pool`, held once; the smallest size that has
    /// one.
    pub fn allocate(&mut self, pool: Pool, bytes: u32) -> Option<BufferId> {
        let list = self
            .shelves
            .iter_mut()
            .filter(|list| list.pool == pool && list.bytes >= bytes && !list.free.is_empty())
            .min_by_key(|list| list.bytes)?;
        let buffer = list.free.pop()?;
        self.slots[buffer.0 as usize].holds = 1;
        Some(buffer)
    }

    /// Free buffers of `pool` with room for `bytes` bytes.
    #[must_use]
    pub fn free_count(&self, pool: Pool, bytes: u32) -> usize {
        let fits = |list: &&FreeList| list.pool == pool && list.bytes >= bytes;
        self.shelves.iter().filter(fits).map(|list| list.free.len()).sum()
    }

    /// Adds a holder.
    ///
    /// # Panics
    /// When nobody holds the buffer and the kernel does not use it: its bytes could be gone.
    pub fn retain(&mut self, buffer: BufferId) {
        let slot = self.slot_mut(buffer);
        assert!(!slot.is_idle(), "invariant: a free buffer is not retained");
        slot.holds += 1;
    }

    /// Takes a holder away; the buffer is free when there is no other and the kernel is done with
    /// it.
    ///
    /// # Panics
    /// When nobody holds it.
    pub fn release(&mut self, buffer: BufferId) {
        let slot = self.slot_mut(buffer);
        assert!(slot.holds > 0, "invariant: a released buffer was held");
        slot.holds -= 1;
        self.shelve_if_idle(buffer);
    }

    /// Size of a buffer in bytes.
    #[must_use]
    pub fn size_bytes(&self, buffer: BufferId) -> u32 {
        self.slots[buffer.0 as usize].bytes
    }

    /// True while the kernel reads or writes the buffer.
    #[must_use]
    pub fn is_in_kernel(&self, buffer: BufferId) -> bool {
        let slot = &self.slots[buffer.0 as usize];
        slot.kernel_reads > 0 || slot.kernel_writes > 0
    }

    /// The bytes of a span.
    ///
    /// # Panics
    /// When the kernel is writing the buffer, or the span is not inside it.
    #[must_use]
    pub fn bytes(&self, span: Span) -> &[u8] {
        let slot = &self.slots[span.buffer.0 as usize];
        assert!(slot.kernel_writes == 0, "invariant: nobody reads what the kernel is writing");
        let pointer = self.pointer(span);
        // SAFETY: `pointer` checks that the span is inside one slot of the live mapping. The kernel
        // is not writing this slot, and `&self` keeps `bytes_mut` away while the slice lives.
        unsafe { std::slice::from_raw_parts(pointer, span.bytes as usize) }
    }

    /// The bytes of a span, to be changed.
    ///
    /// # Panics
    /// When the kernel uses the buffer, or the span is not inside it.
    pub fn bytes_mut(&mut self, span: Span) -> &mut [u8] {
        assert!(
            !self.is_in_kernel(span.buffer),
            "invariant: nobody changes what the kernel is using"
        );
        let pointer = self.pointer(span);
        // SAFETY: as in `bytes`; the kernel does not use the slot at all, and `&mut self` is
        // exclusive.
        unsafe { std::slice::from_raw_parts_mut(pointer, span.bytes as usize) }
    }

    /// Copies `from` to `to`, which has the same length and is in another buffer.
    ///
    /// # Panics
    /// When lengths differ, both are in one buffer, or the kernel uses either in a way that forbids
    /// it.
    pub fn copy(&mut self, from: Span, to: Span) {
        assert!(from.buffer != to.buffer, "invariant: a copy is between two buffers");
        assert!(from.bytes == to.bytes, "invariant: a copy keeps its length");
        assert!(!self.is_in_kernel(to.buffer), "invariant: nobody changes what the kernel uses");
        let source = self.bytes(from).as_ptr();
        let target = self.pointer(to);
        // SAFETY: both spans are inside different slots of the live mapping, so they do not
        // overlap; the kernel writes neither, and no reference to them lives.
        unsafe { std::ptr::copy_nonoverlapping(source, target, from.bytes as usize) }
    }

    /// Moves the bytes of `span` to the beginning of its buffer.
    ///
    /// # Panics
    /// When the kernel uses the buffer.
    pub fn move_to_front(&mut self, span: Span) {
        let whole = Span::head(span.buffer, self.size_bytes(span.buffer));
        let start = span.start as usize;
        self.bytes_mut(whole).copy_within(start..start + span.bytes as usize, 0);
    }

    /// Address of a span for the kernel.
    pub(super) fn pointer(&self, span: Span) -> *mut u8 {
        let slot = &self.slots[span.buffer.0 as usize];
        let end = u64::from(span.start) + u64::from(span.bytes);
        assert!(end <= u64::from(slot.bytes), "invariant: a span lies inside its buffer");
        // SAFETY: the slot lies inside the mapping and the span inside the slot, so the sum does
        // too.
        unsafe { self.base.add(slot.offset + span.start as usize) }
    }

    /// Notes that the kernel begins to use a buffer.
    pub(super) fn lend(&mut self, buffer: BufferId, access: Access) {
        let slot = self.slot_mut(buffer);
        assert!(slot.holds > 0, "invariant: only a held buffer goes to the kernel");
        match access {
            Access::Read => {
                assert!(slot.kernel_writes == 0, "invariant: a buffer being filled is not sent");
                slot.kernel_reads += 1;
            }
            Access::Write => {
                let idle = slot.kernel_reads == 0 && slot.kernel_writes == 0;
                assert!(idle, "invariant: the kernel fills only buffers that it does not use");
                slot.kernel_writes += 1;
            }
        }
    }

    /// Notes that the kernel is done with a buffer.
    pub(super) fn give_back(&mut self, buffer: BufferId, access: Access) {
        let slot = self.slot_mut(buffer);
        let count = match access {
            Access::Read => &mut slot.kernel_reads,
            Access::Write => &mut slot.kernel_writes,
        };
        *count = count.checked_sub(1).expect("invariant: what is given back was lent");
        self.shelve_if_idle(buffer);
    }

    /// Keeps the memory mapped for ever, because the kernel may still write to it.
    pub(super) fn leak(self) {
        std::mem::forget(self);
    }

    fn slot_mut(&mut self, buffer: BufferId) -> &mut Slot {
        &mut self.slots[buffer.0 as usize]
    }

    fn shelve_if_idle(&mut self, buffer: BufferId) {
        let slot = &self.slots[buffer.0 as usize];
        if slot.is_idle() {
            self.shelves[slot.shelf].free.push(buffer);
        }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        let busy = self.slots.iter().any(|slot| slot.kernel_reads > 0 || slot.kernel_writes > 0);
        assert!(!busy, "invariant: memory that the kernel uses is leaked, not freed");
        // SAFETY: the kernel uses no slot, the map is dropped here only, and nothing reads it
        // afterwards.
        unsafe { ManuallyDrop::drop(&mut self.map) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Arena {
        Arena::new(&[
            Shelf { pool: Pool::Client, bytes: 16 << 10, count: 2 },
            Shelf { pool: Pool::Client, bytes: 128 << 10, count: 1 },
            Shelf { pool: Pool::Peer, bytes: 16 << 10, count: 1 },
        ])
        .expect("small mappings are possible")
    }

    #[test]
    fn a_request_gets_the_smallest_buffer_that_is_free_and_then_a_larger_one() {
        let mut arena = small();
        let sizes: Vec<_> = (0..3)
            .map(|_| arena.allocate(Pool::Client, 4096).map(|b| arena.size_bytes(b)))
            .collect();
        assert_eq!(sizes, [Some(16 << 10), Some(16 << 10), Some(128 << 10)]);
        assert_eq!(arena.allocate(Pool::Client, 4096), None);
        assert!(arena.allocate(Pool::Peer, 4096).is_some(), "the pools are apart");
    }

    #[test]
    fn a_buffer_is_free_only_when_nobody_holds_it_and_the_kernel_is_done() {
        let mut arena = small();
        let buffer = arena.allocate(Pool::Peer, 1).expect("one is there");
        arena.retain(buffer);
        arena.lend(buffer, Access::Read);
        arena.release(buffer);
        arena.release(buffer);
        assert_eq!(arena.free_count(Pool::Peer, 1), 0);
        arena.give_back(buffer, Access::Read);
        assert_eq!(arena.free_count(Pool::Peer, 1), 1);
    }

    #[test]
    fn the_buffer_freed_last_is_given_out_first() {
        let mut arena = small();
        let first = arena.allocate(Pool::Client, 1).expect("free");
        let second = arena.allocate(Pool::Client, 1).expect("free");
        arena.release(second);
        arena.release(first);
        assert_eq!(arena.allocate(Pool::Client, 1), Some(first));
    }

    #[test]
    fn buffers_are_aligned_and_keep_their_bytes_apart() {
        let mut arena = small();
        let first = arena.allocate(Pool::Client, 16 << 10).expect("free");
        let second = arena.allocate(Pool::Client, 16 << 10).expect("free");
        arena.bytes_mut(Span::head(first, 16 << 10)).fill(1);
        arena.bytes_mut(Span::head(second, 16 << 10)).fill(2);
        assert!(arena.bytes(Span::head(first, 16 << 10)).iter().all(|&byte| byte == 1));
        assert_eq!(arena.pointer(Span::head(second, 1)) as usize % ALIGNMENT_BYTES, 0);
        arena.copy(Span::head(first, 10), Span { buffer: second, start: 5, bytes: 10 });
        assert_eq!(arena.bytes(Span::head(second, 6)), [2, 2, 2, 2, 2, 1]);
        arena.move_to_front(Span { buffer: second, start: 4, bytes: 3 });
        assert_eq!(arena.bytes(Span::head(second, 4)), [2, 1, 1, 2]);
    }
}
