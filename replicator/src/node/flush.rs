//! Pairs of flushes: both disks at once, for clients (D3) and unasked (D4). A pair covers what was
//! acknowledged before it was sent; when both are done, what it sealed is durable and may be
//! cleared (D7).

use super::Node;
use super::Sync;
use super::access::Gate;
use super::disk_loss::DiskFault;
use super::route::Purpose;
use crate::block_set::BlockSet;
use crate::event::{IoOutcome, Output};
use crate::ids::{Moment, RequestId};
use crate::message::Message;
use crate::mutation::Mutation;
use crate::state::DiskState;
use crate::timers::Timer;
use metadata::units::{BLOCK_BYTES, BlockRange};
use std::collections::VecDeque;
use std::time::Duration;

/// Written and not flushed: so much starts a pair unasked (D4).
const UNFLUSHED_BLOCKS_MAX: u64 = (64 << 20) / BLOCK_BYTES;
/// Written and not flushed: so long starts a pair unasked (D4).
const UNFLUSHED_AGE_MAX: Duration = Duration::from_secs(5);
/// So many times the limits makes writes wait.
const HARD: u32 = 4;
/// Resynced and not flushed: so long starts a pair unasked (D7).
const SYNC_WINDOW_AGE_MAX: Duration = Duration::from_secs(1);
/// Pairs under way at once; further flushes share the next one.
const PAIRS_OPEN_MAX: usize = 16;

/// Who waits for a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiter {
    Client(RequestId),
    Demotion,
    /// The own disk is not UpToDate any more (D12, D18).
    Degraded,
    /// The consent to be the source of `invalidate`.
    Consent,
    Resize,
    /// The detach of a Primary: what both had must not be in the peer's cache alone (D10).
    Detach,
}

/// How far one of the two flushes is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    UnderWay,
    Done,
    /// That disk does not take part.
    Missing,
}

#[derive(Debug)]
struct Pair {
    number: u64,
    local: Half,
    peer: Half,
    unflushed: BlockSet,
    to_clear: BlockSet,
    waiters: Vec<Waiter>,
    sent: Moment,
}

/// All pairs, and what the next one will seal.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    open: VecDeque<Pair>,
    last_number: u64,
    /// Wait for the end of a handshake, or for a free pair.
    parked: Vec<Waiter>,
    /// Copied to the target and not flushed on both since: cleared by the next pair (D7).
    to_clear: BlockSet,
    oldest_to_clear: Option<Moment>,
    oldest_unflushed: Option<Moment>,
}

impl Pairs {
    /// True when an extent has blocks that a pair under way will make durable.
    pub(super) fn seals_extent(&self, extent: u64) -> bool {
        self.open.iter().any(|pair| pair.unflushed.has_extent(extent))
    }

    /// Blocks that pairs under way will make durable.
    fn sealed_blocks(&self) -> u64 {
        self.open.iter().map(|pair| pair.unflushed.count()).sum()
    }

    /// Those of them that the peer has not flushed: as if its half alone would do.
    pub(super) fn seals_extent_on_peer(&self, extent: u64) -> bool {
        self.open
            .iter()
            .any(|pair| pair.peer == Half::UnderWay && pair.unflushed.has_extent(extent))
    }

    pub(super) fn sealed_runs(&self) -> Vec<BlockRange> {
        self.open.iter().flat_map(|pair| pair.unflushed.runs().collect::<Vec<_>>()).collect()
    }

    pub(super) fn cancel_clear(&mut self, blocks: BlockRange) {
        self.to_clear.remove(blocks);
        for pair in &mut self.open {
            pair.to_clear.remove(blocks);
        }
    }

    /// Blocks whose bits fall with the next pairs.
    pub(super) fn clearing_blocks(&self) -> u64 {
        self.to_clear.count() + self.open.iter().map(|pair| pair.to_clear.count()).sum::<u64>()
    }

    pub(super) fn forget_clears(&mut self) {
        self.to_clear = BlockSet::default();
        self.oldest_to_clear = None;
        for pair in &mut self.open {
            pair.to_clear = BlockSet::default();
        }
    }

    /// When the oldest flush was sent that the peer has not answered.
    pub(super) fn oldest_sent(&self) -> Option<Moment> {
        self.open.iter().find(|pair| pair.peer == Half::UnderWay).map(|pair| pair.sent)
    }

    /// The disk is gone: nothing is left to be flushed.
    pub(super) fn forget_unflushed(&mut self) {
        self.forget_clears();
        self.oldest_unflushed = None;
    }

    /// No pair is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.open.is_empty() && self.parked.is_empty()
    }
}

impl Node {
    pub(super) fn client_flush(&mut self, request: RequestId) {
        match self.gate() {
            Gate::Fail => self.fail_request(request),
            Gate::Hold if !self.breaks(Mutation::FlushDuringHandshake) => {
                self.pairs.parked.push(Waiter::Client(request));
            }
            Gate::Mirror | Gate::Alone if self.counts_as_flushed() => {
                self.reply(request, Ok(()), None);
            }
            Gate::Hold | Gate::Mirror | Gate::Alone | Gate::Remote => {
                self.pair_begin(vec![Waiter::Client(request)]);
            }
        }
    }

    /// Starts a pair now, or lets the waiters share the next one.
    pub(super) fn pair_begin(&mut self, waiters: Vec<Waiter>) {
        let must_go = waiters.contains(&Waiter::Degraded)
            || waiters.contains(&Waiter::Consent)
            || waiters.contains(&Waiter::Detach)
            || self.breaks(Mutation::FlushDuringHandshake);
        if !must_go && (self.pairs.open.len() >= PAIRS_OPEN_MAX || self.peer.is_frozen()) {
            self.pairs.parked.extend(waiters);
            return;
        }
        self.pairs.last_number += 1;
        let number = self.pairs.last_number;
        let mirrored = self.peer.has_disk();
        let unflushed = std::mem::take(&mut self.unflushed);
        let to_clear = std::mem::take(&mut self.pairs.to_clear);
        self.pairs.oldest_unflushed = None;
        self.pairs.oldest_to_clear = None;
        let peer = if mirrored { Half::UnderWay } else { Half::Missing };
        let has_disk = self.replica.attached().is_some();
        let spared = self.breaks(Mutation::ClearWithUnflushedSource)
            && waiters.is_empty()
            && !to_clear.is_empty();
        let local = match (has_disk, spared) {
            (true, true) => Half::Done,
            (true, false) => Half::UnderWay,
            (false, _) => Half::Missing,
        };
        // The peer first: the longer way begins first.
        if mirrored {
            self.send(Message::Flush { number });
            self.alive_work_began();
        } else if !waiters.is_empty() && self.must_not_answer_on_old_generation(&waiters) {
            self.begin_alone();
        }
        if local == Half::UnderWay {
            let io = self.io(Purpose::PairFlush(number));
            self.wish(Output::DiskFlush { io });
        }
        self.pairs.open.push_back(Pair {
            number,
            local,
            peer,
            unflushed,
            to_clear,
            waiters,
            sent: self.now,
        });
        if !mirrored && !has_disk {
            // There is nothing to wait for.
            self.pair_check(number);
        }
    }

    /// G2: a FLUSH alone begins a new generation, a clean demotion only with bits set.
    fn must_not_answer_on_old_generation(&self, waiters: &[Waiter]) -> bool {
        let bits = self.replica.attached().is_some_and(|disk| disk.bitmap.count() > 0);
        waiters.iter().any(|waiter| match waiter {
            Waiter::Client(_) => !self.breaks(Mutation::FlushAloneOnOldGeneration),
            Waiter::Demotion => bits && !self.breaks(Mutation::DemotionAloneOnOldGeneration),
            Waiter::Degraded | Waiter::Consent => bits,
            Waiter::Resize | Waiter::Detach => false,
        })
    }

    pub(super) fn pair_local_done(&mut self, number: u64, outcome: IoOutcome) {
        if let IoOutcome::Failed { errno } = outcome
            && !self.breaks(Mutation::FailedFlushCounts)
        {
            // A failed flush is never retried and never reported as success (D3).
            self.disk_failed(DiskFault::Flush, errno);
            return;
        }
        if let Some(pair) = self.pair_mut(number)
            && pair.local == Half::UnderWay
        {
            pair.local = Half::Done;
            self.pair_check(number);
        }
    }

    pub(super) fn flush_done_received(&mut self, number: u64) {
        let last_number = self.pairs.last_number;
        match self.pair_mut(number) {
            Some(pair) if pair.peer == Half::UnderWay => {
                pair.peer = Half::Done;
                self.pair_check(number);
            }
            // Of a pair that ended with the own disk: the answer was on its way.
            Some(_) | None if number <= last_number => {}
            Some(_) | None => self.drop_session("the peer answered a flush that was not sent"),
        }
    }

    fn pair_mut(&mut self, number: u64) -> Option<&mut Pair> {
        self.pairs.open.iter_mut().find(|pair| pair.number == number)
    }

    fn pair_check(&mut self, number: u64) {
        let Some(index) = self.pairs.open.iter().position(|pair| pair.number == number) else {
            return;
        };
        self.pair_clears_too_early(index);
        let pair = &self.pairs.open[index];
        let answers = pair.waiters.iter().any(|waiter| *waiter != Waiter::Consent);
        let up_to_date = self.replica.state() == DiskState::UpToDate;
        let far_is_good = self.peer.disk() == DiskState::UpToDate;
        let alone = match (pair.local, pair.peer) {
            (Half::Done, Half::Done) if !answers || up_to_date || far_is_good => false,
            (Half::Done, Half::Missing) if up_to_date => true,
            (Half::Done, Half::UnderWay) if self.breaks(Mutation::FlushByOwnDisk) => false,
            (Half::Missing, Half::Done) if self.breaks(Mutation::DisklessFlushNeedsOwnDisk) => {
                return;
            }
            // The peer's disk alone: what it says counts when it has taken over (D10).
            (Half::Missing, Half::Done) if !answers || self.far_answers_count() => false,
            (Half::Missing, Half::Done) if far_is_good => return,
            (Half::Done | Half::Missing, Half::Done | Half::Missing) => {
                // No good data at the moment: once more when there are, or an error.
                let Some(pair) = self.pairs.open.remove(index) else { return };
                self.waiters_again(pair.waiters);
                self.a_pair_ended();
                return;
            }
            (Half::UnderWay, _) | (_, Half::UnderWay) => return,
        };
        if alone && answers && self.peer.has_disk() {
            // The peer is back, and its disk has not flushed what it holds: once more, on both.
            let Some(pair) = self.pairs.open.remove(index) else { return };
            self.pair_begin(pair.waiters);
            return;
        }
        if alone && answers {
            let waiters = pair.waiters.clone();
            if self.must_not_answer_on_old_generation(&waiters) && !self.begin_alone() {
                return;
            }
        }
        let Some(pair) = self.pairs.open.remove(index) else { return };
        if !alone {
            self.pair_clears(pair.number, &pair.to_clear);
        }
        if self.breaks(Mutation::EmptySetOnFlush) {
            self.unflushed = BlockSet::default();
        }
        for waiter in pair.waiters {
            match waiter {
                Waiter::Client(request) => self.reply(request, Ok(()), None),
                Waiter::Demotion => self.demote_flushed(),
                Waiter::Degraded => self.degraded_flushed(),
                Waiter::Consent => self.consent_flushed(),
                Waiter::Resize => self.resize_flushed(),
                Waiter::Detach => self.detach_flushed(),
            }
        }
        self.a_pair_ended();
    }

    /// Whoever waits for a place among the pairs, or for the last of them, looks again.
    fn a_pair_ended(&mut self) {
        self.flushes_resume();
        self.log_pump();
        self.sync_source_idle();
    }

    /// For the simulator: bits fall when the source alone has flushed.
    fn pair_clears_too_early(&mut self, index: usize) {
        let pair = &self.pairs.open[index];
        let source_alone = pair.local == Half::Done && pair.peer == Half::UnderWay;
        if source_alone && self.breaks(Mutation::ClearBeforeTargetFlushed) {
            let number = pair.number;
            let to_clear = std::mem::take(&mut self.pairs.open[index].to_clear);
            self.pair_clears(number, &to_clear);
        }
    }

    /// Both disks have flushed what this pair sealed: its copied blocks are in sync (D7).
    fn pair_clears(&mut self, number: u64, to_clear: &BlockSet) {
        if let Some(disk) = self.replica.writable() {
            for run in to_clear.runs() {
                disk.bitmap.clear(run);
            }
        }
        if !matches!(self.sync, Sync::Idle) && self.is_arbiter() {
            self.send(Message::PairDone { number });
            self.persist_cleared_bits();
            self.sync_pump();
        }
    }

    pub(super) fn flushes_resume(&mut self) {
        if self.pairs.parked.is_empty() || self.pairs.open.len() >= PAIRS_OPEN_MAX {
            return;
        }
        let waiters = std::mem::take(&mut self.pairs.parked);
        match self.gate() {
            Gate::Hold => self.pairs.parked = waiters,
            Gate::Mirror | Gate::Alone | Gate::Remote => self.pair_begin(waiters),
            Gate::Fail => self.waiters_fail(waiters),
        }
    }

    pub(super) fn pairs_lose_peer(&mut self) {
        self.pairs.forget_clears();
        let numbers: Vec<u64> = self
            .pairs
            .open
            .iter_mut()
            .filter(|pair| pair.peer != Half::Missing)
            .map(|pair| {
                pair.peer = Half::Missing;
                pair.number
            })
            .collect();
        for number in numbers {
            self.pair_check(number);
        }
    }

    pub(super) fn pairs_answer_alone(&mut self) {
        let numbers: Vec<u64> = self.pairs.open.iter().map(|pair| pair.number).collect();
        for number in numbers {
            self.pair_check(number);
        }
    }

    fn waiters_fail(&mut self, waiters: Vec<Waiter>) {
        for waiter in waiters {
            match waiter {
                Waiter::Client(request) => self.fail_request(request),
                Waiter::Demotion => self.demote_failed("the local disk failed"),
                Waiter::Degraded => self.degraded_flushed(),
                // The detach has ended with the disk.
                Waiter::Consent | Waiter::Detach => {}
                Waiter::Resize => self.resize_gives_up("the local disk failed"),
            }
        }
    }

    /// Their pair ended without good data on either disk.
    fn waiters_again(&mut self, waiters: Vec<Waiter>) {
        for waiter in waiters {
            match waiter {
                Waiter::Client(_) | Waiter::Demotion => self.pairs.parked.push(waiter),
                Waiter::Degraded => {
                    self.peer_may_have_lost();
                    self.degraded_flushed();
                }
                Waiter::Consent => {}
                Waiter::Resize => self.resize_gives_up("there are no good data any more"),
                Waiter::Detach => self.detach_flushed(),
            }
        }
    }

    /// The own disk is gone: what it had to flush counts for nothing.
    pub(super) fn pairs_lose_disk(&mut self) {
        let mut numbers = Vec::new();
        for pair in &mut self.pairs.open {
            pair.local = Half::Missing;
            pair.unflushed = BlockSet::default();
            numbers.push(pair.number);
        }
        for number in numbers {
            self.pair_check(number);
        }
    }

    /// Something was acknowledged that is not flushed; sees to it that it will be before long (D4).
    pub(super) fn flush_soon(&mut self) {
        let first = *self.pairs.oldest_unflushed.get_or_insert(self.now);
        if self.unflushed.count() >= UNFLUSHED_BLOCKS_MAX || self.log_is_mostly_unflushed() {
            self.flush_unasked();
        } else {
            self.timers.set_once(Timer::Flush, first.after(UNFLUSHED_AGE_MAX));
        }
    }

    /// Four times what starts a pair is unflushed, in blocks or in time: new writes wait for the
    /// pair, so that a loss never marks more (D4, R29). One pair ends within `ko-count` timeouts.
    pub(super) fn must_flush_first(&self) -> bool {
        let blocks = self.unflushed.count() + self.pairs.sealed_blocks();
        let slow = self.pairs.open.front().is_some_and(|pair| {
            !pair.unflushed.is_empty() && self.now.since(pair.sent) >= UNFLUSHED_AGE_MAX * HARD
        });
        (blocks >= UNFLUSHED_BLOCKS_MAX * u64::from(HARD) || slow)
            && !self.breaks(Mutation::NoHardLimit)
    }

    /// The target has written these blocks: they are in sync once both have flushed.
    pub(super) fn clear_after_flush(&mut self, blocks: BlockRange) {
        self.pairs.to_clear.insert(blocks);
        let first = *self.pairs.oldest_to_clear.get_or_insert(self.now);
        if self.pairs.to_clear.count() >= UNFLUSHED_BLOCKS_MAX {
            self.flush_unasked();
        }
        let due = first.after(SYNC_WINDOW_AGE_MAX);
        if self.timers.deadline(Timer::Flush).is_none_or(|set| set > due) {
            self.timers.set(Timer::Flush, due);
        }
    }

    /// What a node does that takes "equal" for "durable"; only a mutation comes here.
    pub(super) fn clear_unflushed(&mut self, blocks: BlockRange) {
        if let Some(disk) = self.replica.writable() {
            disk.bitmap.clear(blocks);
        }
        self.persist_bitmap();
    }

    /// One unasked pair at a time, while writes go on.
    pub(super) fn flush_unasked(&mut self) {
        let nothing = self.unflushed.is_empty() && self.pairs.to_clear.is_empty();
        let usable = self.replica.attached().is_some() && !self.peer.is_frozen();
        if !nothing && usable && self.pairs.open.is_empty() {
            self.pair_begin(Vec::new());
        }
    }

    pub(super) fn flush_due(&mut self) {
        self.flush_unasked();
        let next = [
            self.pairs.oldest_unflushed.map(|first| first.after(UNFLUSHED_AGE_MAX)),
            self.pairs.oldest_to_clear.map(|first| first.after(SYNC_WINDOW_AGE_MAX)),
        ];
        if let Some(due) = next.into_iter().flatten().min() {
            // A pair is under way; what has come since waits for the next one.
            self.timers.set(Timer::Flush, due.max(self.now.after(SYNC_WINDOW_AGE_MAX / 4)));
        }
    }
}
