//! Metadata on their way to the disk, and what may go on when they are durable.

use super::Node;
use super::disk_loss::DiskFault;
use super::replica::Attached;
use super::route::Purpose;
use crate::event::{IoOutcome, Output};
use crate::ids::{IoId, LinkId, Moment};
use crate::mutation::Mutation;
use metadata::bitmap::Bitmap;
use metadata::superblock::{Sequences, Superblock, write_order};
use metadata::units::PAGE_BYTES;
use std::collections::VecDeque;
use std::time::Duration;

/// Pages of the bitmap that go into one write.
const BITMAP_PAGES_PER_WRITE: usize = 64;
/// Bits that have fallen during a resync are written so often.
const CLEARED_BITS_EVERY: Duration = Duration::from_secs(1);

/// What waits for metadata to be durable. Those of a connection name its link: after its end they
/// are void.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// The marks of the attachment.
    Attached,
    /// The new generation of a Primary alone (G2).
    Alone,
    /// The primary mark (D8).
    Promoted,
    /// The primary mark is off.
    Demoted,
    /// Both nodes have the same data (G1: no sync).
    InSync(LinkId),
    /// The united bitmap, no copy asked for.
    United(LinkId),
    /// The source's identifier of the resync.
    SourceReady(LinkId),
    /// The target's Inconsistent, the identifier and the united bitmap (D9).
    TargetReady(LinkId),
    /// The mark that the peer may hold the current generation (G2).
    Granted(LinkId),
    /// The target's new generation and UpToDate, in one write (D9).
    Adopted(LinkId),
    /// A transaction of the activity log (D1).
    Logged,
    /// The mark that the own disk is not UpToDate any more (D12).
    Degraded,
    /// The generation and the bits of the hand-over (D10).
    TookOver(LinkId),
    /// The marks of a detach under a running node.
    Detached,
    /// The bits and the mark of `invalidate`.
    GivenUp(LinkId),
    /// The generation of `new-current-uuid`.
    ByHand,
    /// The generation of two replicas that were declared equal.
    Declared(LinkId),
    /// The mark that the peer is fenced (G5).
    Fenced,
    /// `outdate`.
    Outdated,
    /// The own disk is Outdated, and the connection may end in order.
    PartingOutdated(LinkId),
    /// The first step of the resize of that number (D20).
    ResizePrepared { attempt: u64 },
    /// The second step, on the Primary.
    ResizeCommitted { attempt: u64 },
    /// The second step, on the Secondary.
    ResizeLed(LinkId),
    /// The size on which the two go on after a resize that broke off.
    SizeTaken,
    /// The marks of what the verify of that number found.
    VerifyMarked { run: u64 },
    /// The bitmap and the mark of a clean detach.
    Left,
}

/// The queue of metadata writes. They are carried out in order, so the last one says it for all.
#[derive(Debug, Default)]
pub(super) struct Persist {
    under_way: VecDeque<IoId>,
    durable: VecDeque<Then>,
    /// When pages of the bitmap were last written because bits had fallen.
    cleared: Moment,
    /// Own numbers that are durable when that write is (G8).
    pub(super) confirms: VecDeque<(IoId, Sequences)>,
    /// Own numbers that are durable.
    pub(super) confirmed: Sequences,
}

impl Persist {
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// The own numbers that this write carries, if it does.
    fn carried_by(&mut self, io: IoId) -> Option<Sequences> {
        let (carrier, sequences) = *self.confirms.front()?;
        (carrier == io).then(|| {
            self.confirms.pop_front();
            sequences
        })
    }
}

impl Node {
    /// Changes the superblock and writes both copies, one after the other (D13); `then` waits for
    /// the second. Without a disk that can be written nothing happens.
    pub(super) fn persist_superblock(
        &mut self,
        change: impl FnOnce(&mut Superblock),
        then: Option<Then>,
    ) {
        let breaks = self.breaks(Mutation::OneSuperblockCopy);
        let agreed = self.peer.session.as_ref().and_then(|session| session.agreed);
        let Some(disk) = self.replica.writable() else { return };
        change(&mut disk.superblock);
        disk.superblock.sequence += 1;
        if let Some(agreed) = agreed {
            disk.superblock.session = agreed.session;
            // A peer without a disk has met nobody: it cannot tell an older copy.
            if agreed.peer_instance != 0 {
                disk.superblock.met = disk.sequences();
            }
        }
        let sequences = disk.sequences();
        let mut copies: Vec<(u64, Vec<u8>)> = write_order(disk.superblock.sequence)
            .into_iter()
            .map(|copy| {
                let page = disk.superblock.encode(copy);
                (disk.layout.superblock_offsets[usize::from(copy)], page.to_vec())
            })
            .collect();
        if self.breaks(Mutation::SuperblockCopiesAtOnce) {
            copies.sort_unstable_by_key(|(offset_bytes, _)| *offset_bytes);
            let first_offset = copies[0].0;
            let both = copies.into_iter().flat_map(|(_, pages)| pages).collect();
            self.metadata_write(first_offset, both, then);
            return;
        }
        if breaks {
            copies.truncate(1);
        }
        let last = copies.len() - 1;
        for (index, (offset_bytes, pages)) in copies.into_iter().enumerate() {
            let io = self.metadata_write(offset_bytes, pages, then.filter(|_| index == last));
            if index == last {
                self.persist.confirms.push_back((io, sequences));
            }
        }
    }

    /// Writes every changed page of the bitmap. Durable before any metadata write that is asked for
    /// later.
    pub(super) fn persist_bitmap(&mut self) {
        loop {
            let Some(disk) = self.replica.writable() else { return };
            let Some((offset_bytes, pages)) = next_dirty_pages(disk) else { return };
            self.metadata_write(offset_bytes, pages, None);
        }
    }

    /// Bits have fallen in memory; on the disk they fall lazily (D7): a crash brings at most the
    /// last second's back.
    pub(super) fn persist_cleared_bits(&mut self) {
        if self.now.since(self.persist.cleared) >= CLEARED_BITS_EVERY {
            self.persist.cleared = self.now;
            self.persist_bitmap();
        }
    }

    pub(super) fn metadata_write(
        &mut self,
        offset_bytes: u64,
        pages: Vec<u8>,
        then: Option<Then>,
    ) -> IoId {
        self.counters.metadata_writes += 1;
        let io = self.io(Purpose::Metadata(then));
        self.persist.under_way.push_back(io);
        self.wish(Output::MetadataWrite { io, offset_bytes, pages });
        io
    }

    pub(super) fn metadata_done(&mut self, io: IoId, outcome: IoOutcome) {
        let Some(Purpose::Metadata(then)) = self.ios.remove(io.0) else {
            unreachable!("invariant: a metadata write ends once, and only if it was begun");
        };
        assert_eq!(
            self.persist.under_way.pop_front(),
            Some(io),
            "invariant: metadata writes are carried out in order"
        );
        let carried = self.persist.carried_by(io);
        match outcome {
            IoOutcome::Done { .. } => {
                self.persist.durable.extend(then);
                self.numbers_durable(carried);
            }
            IoOutcome::Failed { errno } => self.disk_failed(DiskFault::Metadata, errno),
        }
    }

    /// Goes on with what has become durable.
    pub(super) fn run_durable(&mut self) {
        while let Some(then) = self.persist.durable.pop_front() {
            match then {
                Then::Attached => self.attached(),
                Then::Alone => self.generation_durable(),
                Then::Promoted => self.promoted(),
                Then::Demoted => self.demoted(),
                Then::InSync(link) => self.in_sync_durable(link),
                Then::United(link) => self.united_durable(link),
                Then::SourceReady(link) => self.source_ready(link),
                Then::TargetReady(link) => self.target_ready(link),
                Then::Granted(link) => self.grant_durable(link),
                Then::Adopted(link) => self.adopted(link),
                Then::Logged => self.logged(),
                Then::Degraded => self.degraded_mark_durable(),
                Then::TookOver(link) => self.took_over(link),
                Then::Detached => self.detached(),
                Then::GivenUp(link) => self.given_up(link),
                Then::ByHand => self.by_hand_durable(),
                Then::Declared(link) => self.declared(link),
                Then::Fenced => self.fenced_durable(),
                Then::Outdated => self.outdated_durable(),
                Then::PartingOutdated(link) => self.parting_outdated_durable(link),
                Then::ResizePrepared { attempt } => self.resize_metadata_durable(attempt),
                Then::ResizeCommitted { attempt } => self.resize_committed_here(attempt),
                Then::ResizeLed(link) => self.resize_led_durable(link),
                Then::SizeTaken => self.export_has_size(),
                Then::VerifyMarked { run } => self.verify_marked(run),
                Then::Left => self.left(),
            }
        }
    }
}

/// A stretch of adjacent changed pages.
fn next_dirty_pages(disk: &mut Attached) -> Option<(u64, Vec<u8>)> {
    let first = disk.bitmap.next_dirty_page(0)?;
    let identity = disk.superblock.identity();
    let mut pages = Vec::with_capacity(PAGE_BYTES);
    let mut page = first;
    while pages.len() < BITMAP_PAGES_PER_WRITE * PAGE_BYTES
        && disk.bitmap.next_dirty_page(page) == Some(page)
    {
        pages.extend_from_slice(&disk.bitmap.encode_page(page, &identity)[..]);
        page += 1;
    }
    debug_assert!(
        Bitmap::page_count(&disk.bitmap) >= page,
        "invariant: pages lie inside the bitmap"
    );
    Some((disk.layout.bitmap_page_offset(first), pages))
}
