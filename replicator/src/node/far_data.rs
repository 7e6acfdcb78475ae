//! A Primary that relies on the peer's data: the hand-over of the log and the generation, and on
//! which generation its I/O may go on (D10, G7).

use super::Node;
use crate::event::Level;
use crate::ids::Moment;
use crate::message::{DataStatement, Message, RefusalCode, RefusalMessage};
use crate::mutation::Mutation;
use crate::state::{DiskState, Role};
use crate::timers::Timer;
use metadata::generations::same_generation;
use metadata::units::BlockRange;

/// What this node knows as a Primary of data that are not its own.
#[derive(Debug, Default)]
pub(super) struct FarData {
    /// The generation that clients have seen last; none while Secondary, or when no data can be the
    /// ones that they have seen.
    exposed: Option<u64>,
    /// The generation that the peer was asked to begin; not confirmed (R20).
    asked: Option<u64>,
    /// The peer keeps the log and acknowledges what is durable there (D18).
    taken_over: bool,
    /// Clients have been answered what the peer had not flushed when it was lost.
    peer_may_lack: bool,
    /// What the lost disk may have had alone, or not: told to the peer until it has confirmed.
    lost: Vec<BlockRange>,
    /// A connection that this node has dropped itself is awaited so long before its clients get
    /// errors.
    pub(super) reconnect_until: Option<Moment>,
}

impl FarData {
    pub(super) const fn is_taken_over(&self) -> bool {
        self.taken_over
    }

    /// The peer was asked, and has not confirmed.
    pub(super) const fn hands_over(&self) -> bool {
        self.asked.is_some() && !self.taken_over
    }

    /// As the data statement says it: the generations on which this Primary's I/O may go on.
    pub(super) fn accepted(&self) -> [u64; 2] {
        [self.exposed.unwrap_or(0), self.asked.unwrap_or(0)]
    }
}

impl Node {
    /// True when the peer's word alone answers a client (D10): it has taken over, or it
    /// acknowledges what is durable because the own disk, which is there, is not good (D18).
    pub(super) fn far_answers_count(&self) -> bool {
        if self.breaks(Mutation::AnswerBeforeTakeOver) {
            return true;
        }
        if self.peer.disk() != DiskState::UpToDate || self.degrading.is_some() {
            return false;
        }
        self.replica.attached().is_some() || self.far.taken_over
    }

    /// As the data statement says it.
    pub(super) fn accepted_generations(&self) -> [u64; 2] {
        let [exposed, asked] = self.far.accepted();
        let last = self.breaks(Mutation::OnlyLastGenerationResumes);
        [exposed, if last { 0 } else { asked }]
    }

    /// Clients see this generation from now on.
    pub(super) fn expose(&mut self, current: Option<u64>) {
        self.far.exposed = current;
    }

    pub(super) fn forget_far_data(&mut self) {
        self.far = FarData::default();
        self.timers.stop(Timer::Reconnect);
    }

    /// The own disk is gone under this Primary. If it held the generation that clients have seen,
    /// the peer must begin another one (G2).
    pub(super) fn far_data_needed(&mut self, lost: Vec<BlockRange>) {
        // Whatever is said of that disk: on stable storage it may still be UpToDate.
        let held = self.replica.known().map(|disk| disk.superblock.generations);
        let held_current = held.zip(self.far.exposed).is_some_and(|(held, exposed)| {
            // One that has begun and was not exposed yet is on that disk, or may be.
            [held.current, held.bitmap, held.history[0]]
                .iter()
                .any(|known| same_generation(*known, exposed))
        });
        self.far.taken_over = false;
        let unflushed = !lost.is_empty() && !self.breaks(Mutation::HandOverTrustsCache);
        self.far.lost.extend(lost);
        if held_current && !self.breaks(Mutation::HandOverWithoutGeneration) {
            self.far.asked = Some(self.entropy.generation());
        }
        let bits = self.replica.known().is_some_and(|disk| disk.bitmap.count() > 0);
        // Until the peer has taken over, it has what was answered in its cache alone.
        self.far.peer_may_lack |= unflushed || (bits && self.peer.disk() != DiskState::UpToDate);
        self.hand_over();
    }

    /// The peer is gone, or was when it was to flush: of what was answered it may lack what it
    /// loses with its power, and this node's own data are not good enough to say more.
    pub(super) fn peer_may_have_lost(&mut self) {
        let bits = self.replica.known().is_some_and(|disk| disk.bitmap.count() > 0);
        let lost = self.role == Role::Primary && bits && self.peer.disk() != DiskState::UpToDate;
        self.far.peer_may_lack |= lost && !self.breaks(Mutation::DegradedTrustsCache);
    }

    /// Both disks are good again: the peer lacks nothing.
    pub(super) const fn far_data_are_whole(&mut self) {
        self.far.peer_may_lack = false;
    }

    /// Promoted without a disk: what is written from now on is not on the disk that this node has
    /// left somewhere, so a generation begins (G2).
    pub(super) fn far_data_for_promotion(&mut self) {
        if self.replica.attached().is_none() && !self.breaks(Mutation::HandOverWithoutGeneration) {
            self.far.asked = Some(self.entropy.generation());
        }
        self.hand_over();
    }

    /// Asks the peer to take over, now or again. Nothing is answered until it has.
    pub(super) fn hand_over(&mut self) {
        let needed = self.role == Role::Primary && self.replica.attached().is_none();
        if !needed || self.peer.disk() != DiskState::UpToDate {
            return;
        }
        let Some(current) = self.far.asked.or(self.far.exposed) else { return };
        self.far.taken_over = false;
        for blocks in self.far.lost.clone() {
            self.send(Message::OutOfSync { blocks });
        }
        self.notice(Level::Info, "the peer is asked to take over the log");
        self.send(Message::TakeOver { current });
        self.alive_work_began();
    }

    pub(super) fn took_over_received(&mut self, current: u64) {
        let known = self.far.accepted().iter().any(|known| same_generation(*known, current));
        if self.role != Role::Primary || !known {
            self.drop_session("the peer took over what it was not asked to");
            return;
        }
        if self.replica.attached().is_some() {
            return;
        }
        self.far.exposed = Some(current);
        self.far.asked = None;
        self.far.taken_over = true;
        self.far.lost.clear();
        self.far.peer_may_lack = false;
        self.notice(Level::Info, "the peer keeps the log; its disk serves this node's clients");
        self.resume_parked();
    }

    /// G7: a Primary without complete data of its own goes on only on what its clients have seen.
    pub(super) fn far_data_refusal(
        &self,
        mine: &DataStatement,
        theirs: &DataStatement,
    ) -> Option<RefusalMessage> {
        let (me, peer) = (self.settings.my_name(), self.settings.peer_name());
        let strange = |relies: &DataStatement, has: &DataStatement| {
            relies.role == Role::Primary
                && relies.disk != DiskState::UpToDate
                && has.disk != DiskState::Diskless
                && !relies
                    .accepted
                    .iter()
                    .any(|known| *known != 0 && same_generation(*known, has.generations.current))
        };
        let relies = mine.role == Role::Primary && mine.disk != DiskState::UpToDate;
        let gone = relies && self.far.peer_may_lack && theirs.lost_power;
        let name = if gone || strange(mine, theirs) {
            me
        } else if strange(theirs, mine) {
            peer
        } else {
            return None;
        };
        if self.breaks(Mutation::ResumeOnAnotherGeneration) {
            return None;
        }
        Some(RefusalMessage {
            code: RefusalCode::Verdict,
            text: format!(
                "{name} is Primary without complete data of its own, and its clients have seen other data \
                 than these; stop what uses the device on {name}, run 'blkrep secondary' there, then \
                 'blkrep connect' on both"
            ),
        })
    }

    /// This node drops the connection itself so that the two compare their data anew; clients wait
    /// for that.
    pub(super) fn reconnect(&mut self, reason: &str) {
        if self.role == Role::Primary && self.replica.state() != DiskState::UpToDate {
            let until = self.now.after(self.handshake_timeout());
            self.far.reconnect_until = Some(until);
            self.timers.set(Timer::Reconnect, until);
        }
        self.drop_session_to_meet_again(reason);
    }

    /// The session is over.
    pub(super) fn far_data_disconnected(&mut self) {
        self.far.taken_over = false;
        self.far_reads_lose_peer();
        self.failed_guest_writes.clear();
    }

    /// The connection that was awaited is there, or will not come.
    pub(super) fn reconnect_over(&mut self) {
        self.timers.stop(Timer::Reconnect);
        if self.far.reconnect_until.take().is_some() {
            self.resume_parked();
        }
    }
}
