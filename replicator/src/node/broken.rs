//! For the simulator: rules broken on purpose that take more than a line, so that the flows that
//! keep them stay what they are. Nothing here does anything in a build without the switch.

use super::Node;
use super::route::AfterFlush;
use crate::generation::{Amount, Decision, End, Verdict, end_by_disks_and_roles};
use crate::ids::NodeIndex;
use crate::message::DataStatement;
use crate::mutation::Mutation;
use crate::split_brain::Solution;
use metadata::units::BlockRange;

impl Node {
    /// What a node does that takes the peer's word for its cache (F6).
    pub(super) fn clear_by_proof(&mut self) {
        if self.breaks(Mutation::ProofClearsBits) {
            let flushed: Vec<BlockRange> = self.unflushed.runs().collect();
            if let Some(disk) = self.replica.writable() {
                for blocks in flushed {
                    disk.bitmap.clear(blocks);
                }
            }
        }
    }

    /// After a start nothing counts as unflushed (F10a).
    pub(super) fn counts_as_flushed(&mut self) -> bool {
        self.breaks(Mutation::StartCountsAsFlushed)
            && self.unflushed.is_empty()
            && self.pairs.is_idle()
            && self.begin_alone()
    }

    /// One of the two nodes tells its administrator nothing.
    pub(super) fn keeps_a_split_brain_to_itself(&self) -> bool {
        self.breaks(Mutation::SplitBrainToldOnce) && self.settings.me == NodeIndex::Second
    }

    /// The verdict with its rule broken.
    pub(super) fn misjudge(
        &self,
        decision: &mut Decision,
        mine: &DataStatement,
        theirs: &DataStatement,
    ) {
        if self.breaks(Mutation::BitmapIdentifierStays) {
            decision.corrected = mine.generations;
        }
        self.misjudge_lost_messages(decision, mine, theirs);
        let discards = self.breaks(Mutation::DiscardAlwaysCounts) && decision.split_brain.is_none();
        let victim = match (mine.discard_my_data, theirs.discard_my_data) {
            (true, false) if discards => Some(End::Target),
            (false, true) if discards => Some(End::Source),
            (_, _) => None,
        };
        if let Some(end) = victim {
            decision.verdict = Verdict::Sync { end, amount: Amount::Bitmap };
        }
        let (by_policy, other) = (
            matches!(decision.split_brain, Some(Solution::Automatically { .. })),
            self.breaks(Mutation::PoliciesPickTheOther),
        );
        if let Verdict::Sync { end, .. } = &mut decision.verdict
            && by_policy
            && other
        {
            *end = end.other();
        }
        let (older, related) =
            (self.breaks(Mutation::OlderIsSource), matches!(decision.rule, 50 | 70));
        if let Verdict::Sync { end, .. } = &mut decision.verdict
            && older
            && related
        {
            *end = end.other();
        }
    }

    /// What the table says without its rules for lost messages: equal identifiers are equal data
    /// unless bits say otherwise, and an identifier of the history has no bitmap of its own.
    fn misjudge_lost_messages(
        &self,
        decision: &mut Decision,
        mine: &DataStatement,
        theirs: &DataStatement,
    ) {
        let unasked =
            self.breaks(Mutation::NoLostMessageRules) || self.breaks(Mutation::UnconfirmedIsInSync);
        let unstarted = self.breaks(Mutation::LostStartCopiesAll);
        match decision.rule {
            34..=37 if unasked => {
                let end = end_by_disks_and_roles(mine, theirs);
                let amount = Amount::Bitmap;
                decision.verdict = end.map_or(Verdict::NoSync, |end| Verdict::Sync { end, amount });
                decision.corrected = mine.generations;
            }
            51 | 71 if unstarted => {
                decision.corrected = mine.generations;
                if let Verdict::Sync { amount, .. } = &mut decision.verdict {
                    *amount = Amount::Full;
                }
            }
            _ => {}
        }
    }

    /// Its extents count as free when the peer alone has it.
    pub(super) fn log_drops_at_the_peers_word(&mut self, key: u64) {
        if !self.breaks(Mutation::InFlightLeavesLog) {
            return;
        }
        if let Some(write) = self.writes.open.0.get_mut(key)
            && std::mem::take(&mut write.logged)
        {
            let range = write.range;
            self.log_give_back(range);
        }
    }
}

/// The flushes by which what a predecessor wrote becomes durable (F10a).
pub(super) const fn follows_a_start(after: AfterFlush) -> bool {
    match after {
        AfterFlush::Attach
        | AfterFlush::Alone
        | AfterFlush::SyncStart(_)
        | AfterFlush::Promote { .. } => true,
        AfterFlush::NoneLeft(_)
        | AfterFlush::TakeOver { .. }
        | AfterFlush::SoleCopy
        | AfterFlush::Detach
        | AfterFlush::ByHand
        | AfterFlush::ResizeZeroed { .. }
        | AfterFlush::Leave => false,
    }
}
