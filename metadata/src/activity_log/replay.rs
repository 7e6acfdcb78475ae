//! From the pages of the ring back to the hot extents, or to "all of it out of sync" (rule D13).

use std::collections::BTreeSet;

use thiserror::Error;

use super::{SEQUENCE_END, Transaction, TransactionError, sequence_in};
use crate::layout::LogGeometry;
use crate::page::{Page, PageError, PageIdentity, PageKind, open};
use crate::units::PAGE_BYTES;

/// What the ring says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replay {
    /// The log is sound: these extents (4 MiB each) may have been written and not replicated.
    Hot {
        /// Extent numbers. One may lie past the end of a device that shrank; [`crate::Bitmap::set`]
        /// leaves that out.
        extents: BTreeSet<u32>,
        /// Number of the next transaction.
        next_sequence: u64,
    },
    /// The log cannot be trusted: everything is out of sync, and the ring must be formatted anew.
    AllOutOfSync {
        /// What is wrong.
        reason: LogDamage,
        /// Higher than every number that a page still shows, a lost page included. When no page
        /// shows one it is 0, and only the peer knows how far the numbers had come.
        next_sequence: u64,
    },
}

/// Why a log cannot be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LogDamage {
    /// A page other than the one that an interrupted write may have torn is bad.
    #[error("page {ring_index} of the activity log: {error}")]
    Page {
        /// Index in the ring.
        ring_index: u64,
        /// What is wrong with it.
        error: TransactionError,
    },
    /// An intact page does not carry the transaction that belongs there: it is an older copy, or
    /// was misdirected.
    #[error("page {ring_index} of the activity log holds transaction {found}, not {expected}")]
    Order {
        /// Index in the ring.
        ring_index: u64,
        /// The sequence in the page.
        found: u64,
        /// The sequence that belongs there.
        expected: u64,
    },
    /// A later transaction was written in an earlier attach: pages of two copies are mixed.
    #[error(
        "page {ring_index} of the activity log is of an earlier attach than the page before it"
    )]
    AttachOrder {
        /// Index in the ring.
        ring_index: u64,
    },
    /// Not one page is good.
    #[error("no page of the activity log is usable; page 0: {error}")]
    NothingUsable {
        /// What is wrong with page 0.
        error: TransactionError,
    },
    /// The bytes are not those of a ring of this size.
    #[error("an activity log of {found_bytes} bytes was read, it has {expected_bytes}")]
    Length {
        /// Bytes that were given.
        found_bytes: u64,
        /// Bytes of the ring.
        expected_bytes: u64,
    },
}

type RingPage = Result<(Transaction, u64), TransactionError>;

/// Reads the ring. `pages` are its pages in the order of the ring, `owner` the identity in the
/// superblock: an older attach may have written pages, a newer one may not. Only the page where the
/// next transaction would go may be torn.
#[must_use]
pub fn replay(pages: &[u8], owner: &PageIdentity, log: LogGeometry) -> Replay {
    let (pages, rest) = pages.as_chunks::<PAGE_BYTES>();
    let found_bytes = (pages.len() * PAGE_BYTES + rest.len()) as u64;
    if found_bytes != log.ring_bytes() {
        let reason = LogDamage::Length { found_bytes, expected_bytes: log.ring_bytes() };
        return Replay::AllOutOfSync { reason, next_sequence: sequence_after(pages, owner, log) };
    }
    let read = |(index, page)| {
        let transaction = Transaction::decode(page, index, owner, log)?;
        let attach_number = open(page, PageKind::ActivityLog)?.identity.attach_number;
        Ok((transaction, attach_number))
    };
    let ring: Vec<RingPage> = (0..).zip(pages).map(read).collect();
    match in_order(&ring, log) {
        Ok(transactions) => hot(&transactions, log),
        Err(reason) => {
            Replay::AllOutOfSync { reason, next_sequence: sequence_after(pages, owner, log) }
        }
    }
}

/// The transactions from the oldest to the newest, without the page that the next one overwrites.
fn in_order(ring: &[RingPage], log: LogGeometry) -> Result<Vec<&Transaction>, LogDamage> {
    let sequences = ring.iter().flatten().map(|(transaction, _)| transaction.sequence());
    let Some(newest) = sequences.max() else {
        return Err(nothing_usable(ring));
    };
    let ring_pages = u64::from(log.ring_pages());
    let mut transactions = Vec::with_capacity(ring.len());
    let mut newest_attach = 0;
    // The ring was formatted with one transaction per page, so the newest number is at least
    // ring_pages - 1 unless pages are missing; counting on by one ring keeps the subtraction above
    // zero.
    for back in (0..ring_pages).rev() {
        let ring_index = log.ring_index(newest + ring_pages - back);
        let is_next = back == ring_pages - 1;
        match &ring[ring_index as usize] {
            Ok((transaction, attach_number)) => {
                let found = transaction.sequence();
                if found + back != newest {
                    let expected = newest.saturating_sub(back);
                    return Err(LogDamage::Order { ring_index, found, expected });
                }
                if *attach_number < newest_attach {
                    return Err(LogDamage::AttachOrder { ring_index });
                }
                newest_attach = *attach_number;
                if !is_next {
                    transactions.push(transaction);
                }
            }
            Err(TransactionError::Page(error)) if is_next && error.may_be_torn() => {}
            Err(error) => return Err(LogDamage::Page { ring_index, error: *error }),
        }
    }
    Ok(transactions)
}

fn nothing_usable(ring: &[RingPage]) -> LogDamage {
    let first = ring.iter().find_map(|page| page.as_ref().err().copied());
    LogDamage::NothingUsable { error: first.unwrap_or(TransactionError::Page(PageError::Blank)) }
}

fn hot(transactions: &[&Transaction], log: LogGeometry) -> Replay {
    let mut slot_contents = vec![None; usize::from(log.slots())];
    let mut next_sequence = 0;
    for transaction in transactions {
        transaction.apply(&mut slot_contents);
        next_sequence = transaction.sequence() + 1;
    }
    Replay::Hot { extents: slot_contents.into_iter().flatten().collect(), next_sequence }
}

/// A number above all that the pages show, pages of an attach that the superblock does not know
/// included: the numbers of a restored superblock's log go on above those of its former life (G8).
fn sequence_after(pages: &[Page], owner: &PageIdentity, log: LogGeometry) -> u64 {
    let shown = |page: &Page| {
        let header = open(page, PageKind::ActivityLog).ok()?;
        let is_own = header.identity.resource_tag == owner.resource_tag
            && header.identity.instance_id == owner.instance_id;
        Some(sequence_in(page)).filter(|&sequence| is_own && sequence < SEQUENCE_END)
    };
    let newest = pages.iter().filter_map(shown).max();
    newest.map_or(0, |newest| newest + 1 + u64::from(log.ring_pages()))
}
