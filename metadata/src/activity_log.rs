//! The activity log on the disk: a ring of pages, one transaction each.
//!
//! Transaction `n` lies in ring page `n % ring_pages`. It carries the slots it changes and a window
//! with the content of further slots; the windows take turns, so that all pages of the ring but one
//! hold every slot at least once (DRBD: `drbd_actlog.c`). Rule of the caller: a transaction is
//! durable before the next is written.

mod replay;

use thiserror::Error;

pub use self::replay::{LogDamage, Replay, replay};
use crate::layout::{CONTEXT_SLOTS, LogGeometry};
use crate::page::{
    HEADER_BYTES, Page, PageError, PageIdentity, PageKind, check, get_u16, get_u32, get_u64,
    put_u16, put_u32, put_u64, seal,
};
use crate::units::PAGE_BYTES;

/// Most slots that one transaction changes, as in DRBD.
pub const UPDATES_MAX: usize = 64;
/// What a slot without an extent holds on the disk.
pub const FREE_EXTENT: u32 = u32::MAX;
/// A page with a sequence number from here on is malformed: no log lives that long. What is read is
/// so far from the end of 64 bits that no arithmetic on it overflows.
pub const SEQUENCE_END: u64 = 1 << 62;

const AT_SEQUENCE: usize = HEADER_BYTES;
const AT_UPDATE_COUNT: usize = AT_SEQUENCE + 8;
const AT_SLOTS: usize = AT_UPDATE_COUNT + 2;
const AT_CONTEXT_FIRST: usize = AT_SLOTS + 2;
const AT_CONTEXT_COUNT: usize = AT_CONTEXT_FIRST + 2;
const AT_UPDATES: usize = AT_CONTEXT_COUNT + 2;
/// Bytes of one update: slot and extent.
const UPDATE_BYTES: usize = 6;
const AT_CONTEXT: usize = AT_UPDATES + UPDATES_MAX * UPDATE_BYTES;

/// A slot of the log gets another content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotUpdate {
    /// Index of the slot.
    pub slot: u16,
    /// The extent (4 MiB each) that is hot from now on, or nothing.
    pub extent: Option<u32>,
}

/// One transaction of the log: one page of the ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    sequence: u64,
    updates: Vec<SlotUpdate>,
    context_first: u16,
    context: Vec<Option<u32>>,
}

/// Why a ring page holds no transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TransactionError {
    /// The page itself is bad.
    #[error(transparent)]
    Page(#[from] PageError),
    /// The checksum holds, but a field has a value that is never written for a log of this size.
    #[error("field {field} holds {value}, which does not fit this log")]
    Field {
        /// Name of the field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
}

impl Transaction {
    /// The transaction `sequence` that makes `updates`. `slot_contents` is the whole log *with the
    /// updates made*; the window that is due is taken from it.
    ///
    /// # Panics
    /// When there are more than [`UPDATES_MAX`] updates, the log has another number of slots, an
    /// update is not in it, or the sequence is used up.
    #[must_use]
    pub fn new(
        sequence: u64,
        updates: Vec<SlotUpdate>,
        slot_contents: &[Option<u32>],
        log: LogGeometry,
    ) -> Self {
        // Twice the limit of what is read: a forged page must not be able to stop the node.
        assert!(sequence < 2 * SEQUENCE_END, "invariant: sequence numbers do not run out");
        assert!(updates.len() <= UPDATES_MAX, "invariant: a transaction has at most 64 updates");
        assert_eq!(slot_contents.len(), usize::from(log.slots()), "invariant: the whole log");
        let made = |update: &SlotUpdate| {
            slot_contents.get(usize::from(update.slot)) == Some(&update.extent)
        };
        assert!(updates.iter().all(made), "invariant: the contents have the updates made");
        let (first, count) = context_window(sequence, log);
        let start = usize::from(first);
        let context = slot_contents[start..start + usize::from(count)].to_vec();
        Self { sequence, updates, context_first: first, context }
    }

    /// Number of the transaction; never restarts (rules D8, G8).
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The slots that it changes.
    #[must_use]
    pub fn updates(&self) -> &[SlotUpdate] {
        &self.updates
    }

    /// The page of the ring; it belongs at [`crate::Layout::ring_page_offset`] of the sequence.
    #[must_use]
    pub fn encode(&self, log: LogGeometry, identity: &PageIdentity) -> Box<Page> {
        let mut page = Box::new([0; PAGE_BYTES]);
        put_u64(&mut page, AT_SEQUENCE, self.sequence);
        put_u16(&mut page, AT_UPDATE_COUNT, self.updates.len() as u16);
        put_u16(&mut page, AT_SLOTS, log.slots());
        put_u16(&mut page, AT_CONTEXT_FIRST, self.context_first);
        put_u16(&mut page, AT_CONTEXT_COUNT, self.context.len() as u16);
        for (index, update) in self.updates.iter().enumerate() {
            let at = AT_UPDATES + index * UPDATE_BYTES;
            put_u16(&mut page, at, update.slot);
            put_u32(&mut page, at + 2, update.extent.unwrap_or(FREE_EXTENT));
        }
        for (index, extent) in self.context.iter().enumerate() {
            put_u32(&mut page, AT_CONTEXT + index * 4, extent.unwrap_or(FREE_EXTENT));
        }
        seal(&mut page, PageKind::ActivityLog, log.ring_index(self.sequence), identity);
        page
    }

    /// Reads the page at index `ring_index` of the ring.
    ///
    /// # Errors
    /// [`TransactionError`] names what is wrong with it.
    pub fn decode(
        page: &Page,
        ring_index: u64,
        owner: &PageIdentity,
        log: LogGeometry,
    ) -> Result<Self, TransactionError> {
        check(page, PageKind::ActivityLog, ring_index, owner)?;
        let sequence = sequence_in(page);
        fits("sequence", sequence, sequence < SEQUENCE_END)?;
        fits("sequence", sequence, log.ring_index(sequence) == ring_index)?;
        let slots = get_u16(page, AT_SLOTS);
        fits("log slots", slots.into(), slots == log.slots())?;
        let (first, count) = (get_u16(page, AT_CONTEXT_FIRST), get_u16(page, AT_CONTEXT_COUNT));
        let window = context_window(sequence, log);
        fits("first slot of the context", first.into(), first == window.0)?;
        fits("slots of the context", count.into(), count == window.1)?;
        let update_count = get_u16(page, AT_UPDATE_COUNT);
        fits("updates", update_count.into(), usize::from(update_count) <= UPDATES_MAX)?;
        let mut updates = Vec::with_capacity(update_count.into());
        for index in 0..usize::from(update_count) {
            let at = AT_UPDATES + index * UPDATE_BYTES;
            let slot = get_u16(page, at);
            fits("slot of an update", slot.into(), slot < slots)?;
            updates.push(SlotUpdate { slot, extent: extent_in(page, at + 2) });
        }
        let context = (0..usize::from(count)).map(|index| extent_in(page, AT_CONTEXT + index * 4));
        Ok(Self { sequence, updates, context_first: first, context: context.collect() })
    }

    /// Brings the content of the slots to what it was after this transaction, as far as this page
    /// knows.
    fn apply(&self, slot_contents: &mut [Option<u32>]) {
        for update in &self.updates {
            slot_contents[usize::from(update.slot)] = update.extent;
        }
        let start = usize::from(self.context_first);
        slot_contents[start..start + self.context.len()].copy_from_slice(&self.context);
    }
}

/// The pages of a ring in which nothing is hot, in the order in which they must be written:
/// transactions `first_sequence` to `first_sequence + ring_pages - 1`. The next transaction is the
/// one after.
///
/// `create-md` starts at sequence 0. To empty a ring that replayed as hot, start at its next
/// sequence and make each page durable before the next is written: whatever interrupts it, the ring
/// replays as a part of what was hot.
///
/// # Panics
/// When the sequence is used up.
#[must_use]
pub fn format(
    first_sequence: u64,
    identity: &PageIdentity,
    log: LogGeometry,
) -> Vec<(u64, Box<Page>)> {
    let nothing = vec![None; usize::from(log.slots())];
    (first_sequence..first_sequence + u64::from(log.ring_pages()))
        .map(|sequence| {
            let page = Transaction::new(sequence, Vec::new(), &nothing, log).encode(log, identity);
            (sequence, page)
        })
        .collect()
}

/// First slot and number of slots of the window that transaction `sequence` carries.
fn context_window(sequence: u64, log: LogGeometry) -> (u16, u16) {
    let windows = log.slots().div_ceil(CONTEXT_SLOTS);
    let first = (sequence % u64::from(windows)) as u16 * CONTEXT_SLOTS;
    (first, CONTEXT_SLOTS.min(log.slots() - first))
}

fn sequence_in(page: &Page) -> u64 {
    get_u64(page, AT_SEQUENCE)
}

fn extent_in(page: &Page, at: usize) -> Option<u32> {
    Some(get_u32(page, at)).filter(|&extent| extent != FREE_EXTENT)
}

fn fits(field: &'static str, value: u64, it_fits: bool) -> Result<(), TransactionError> {
    if it_fits { Ok(()) } else { Err(TransactionError::Field { field, value }) }
}

const _: () = assert!(AT_CONTEXT == 464);
const _: () = assert!(AT_CONTEXT + 4 * CONTEXT_SLOTS as usize == PAGE_BYTES);

#[cfg(test)]
mod tests;
