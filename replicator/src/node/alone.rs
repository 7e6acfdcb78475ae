//! Going on without the peer's data: what becomes out of sync, and the new generation before
//! anything is answered (D2, D4, G2).

use super::Node;
use super::persist::Then;
use super::route::AfterFlush;
use crate::event::Level;
use crate::generation::rotate;
use crate::mutation::Mutation;
use crate::state::Role;
use metadata::units::{BlockRange, ByteRange};

impl Node {
    /// Sets bits: the blocks differ, or may. Cancels a clear that is on its way (D7).
    pub(super) fn mark_out_of_sync(&mut self, blocks: BlockRange) {
        if let Some(disk) = self.replica.writable() {
            disk.bitmap.set(blocks);
        }
        self.pairs.cancel_clear(blocks);
        self.follow.cancel(blocks);
    }

    /// Sets the bits of what is written here alone (D2), rounded outwards (D7).
    pub(super) fn mark_written_alone(&mut self, range: ByteRange) {
        if self.breaks(Mutation::BitsSetInwards) {
            if let Some(blocks) = range.blocks_covered(u64::MAX) {
                self.mark_out_of_sync(blocks);
            }
            return;
        }
        self.mark_out_of_sync(range.blocks_touched());
    }

    /// The peer's disk does not get our writes any more. Everything that it may have lost becomes
    /// out of sync: what it has not acknowledged, and what it has acknowledged and not flushed
    /// (D4).
    pub(super) fn peer_data_lost(&mut self) {
        let mut lost: Vec<BlockRange> = self.unflushed.runs().collect();
        lost.extend(self.pairs.sealed_runs());
        // They stay unflushed on the own disk, so their extents stay in the log (D5).
        for run in lost {
            if !self.breaks(Mutation::ForgetUnflushedAtLoss) {
                self.mark_out_of_sync(run);
            }
        }
        self.writes_lose_peer();
        self.pairs_lose_peer();
        if self.breaks(Mutation::RotateAtLoss) && self.role == Role::Primary {
            self.begin_alone();
        }
    }

    /// Makes sure that the new generation is durable, or will be told when it is, before anything
    /// is acknowledged alone. True when it is already. Once per divergence: only while the peer may
    /// hold the current one (G2).
    pub(super) fn begin_alone(&mut self) -> bool {
        if self.breaks(Mutation::SkipRotation) {
            return true;
        }
        if self.suspension.holds() && !self.breaks(Mutation::RotateWhileFrozen) {
            // The peer may come back, and nothing is answered before (G5): no generation yet.
            return false;
        }
        self.begin_generation()
    }

    /// The same, frozen or not.
    pub(super) fn begin_generation(&mut self) -> bool {
        if self.generation_pending {
            return false;
        }
        let Some(disk) = self.replica.attached() else { return true };
        // Connected again: what is answered now is not answered alone, and the bits of it are known
        // to both.
        let again = self.breaks(Mutation::RotateAgain);
        let spared = self.breaks(Mutation::RotationBlockedByBitmap)
            && disk.superblock.generations.bitmap != 0;
        if !(disk.superblock.flags.peer_may_hold_current || again) || self.peer.has_disk() || spared
        {
            return true;
        }
        let unheld = self.breaks(Mutation::WriteDuringHandshake)
            || self.breaks(Mutation::FlushDuringHandshake);
        if self.peer.is_frozen() && !unheld {
            // What was sent is frozen until the verdict (G1): begun before it, answered after it.
            return false;
        }
        self.generation_pending = true;
        self.notice(Level::Info, "going on alone: a new generation begins");
        // A generation begins on a flushed disk: what both had must not be lost with the cache of
        // the one whose data count from now on, while the peer still has it.
        if self.breaks(Mutation::GenerationOnUnflushedDisk) {
            self.alone_flushed();
        } else {
            self.flush_then(AfterFlush::Alone);
        }
        false
    }

    pub(super) fn alone_flushed(&mut self) {
        if !self.generation_pending {
            return;
        }
        let drawn = self.entropy.generation();
        let again = self.breaks(Mutation::RotateAgain);
        self.persist_superblock(
            |superblock| {
                // A forced promotion may have begun one while the disk was being flushed.
                if superblock.flags.peer_may_hold_current || again {
                    let (generations, covers) = rotate(superblock.generations, drawn);
                    superblock.generations = generations;
                    superblock.flags.bitmap_covers_history |= covers;
                }
                superblock.flags.peer_may_hold_current = false;
                superblock.flags.connected = false;
            },
            Some(Then::Alone),
        );
    }

    pub(super) fn generation_durable(&mut self) {
        self.generation_pending = false;
        let current = self.replica.attached().map(|disk| disk.superblock.generations.current);
        self.expose(current);
        self.fence_thaw();
        self.answer_held();
        self.writes_answer_alone();
        self.pairs_answer_alone();
        self.send_data_when_settled();
    }
}
