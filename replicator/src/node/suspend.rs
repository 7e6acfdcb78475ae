//! Frozen clients' I/O: no request is started and none is answered, FLUSH, reads and those in
//! flight included, until every reason is gone (G5).

use super::Node;
use super::access::Gate;
use crate::event::{ClientError, ClientOp, Event, Output};
use crate::ids::{BufferId, CommandId, RequestId};
use crate::mutation::Mutation;
use crate::state::{DiskState, Role, Suspended};
use std::collections::VecDeque;

/// An answer that must not be given yet, with the buffer that is given back after it.
#[derive(Debug)]
struct HeldAnswer {
    request: RequestId,
    result: Result<(), ClientError>,
    release: Option<BufferId>,
}

/// Why clients' I/O is frozen, and what waits for its end.
#[derive(Debug, Default)]
pub(super) struct Suspension {
    reasons: Suspended,
    /// After a stall: until the peer has answered this ping (D19).
    awaited_pong: Option<u64>,
    /// An operator wants errors rather than to wait for data.
    waived: bool,
    /// Not started yet, in the order in which they came.
    requests: VecDeque<(RequestId, ClientOp)>,
    answers: VecDeque<HeldAnswer>,
}

impl Suspension {
    /// True while nothing may be started or answered.
    pub(super) const fn holds(&self) -> bool {
        self.reasons.any() || self.awaited_pong.is_some()
    }

    pub(super) const fn is_waived(&self) -> bool {
        self.waived
    }

    pub(super) const fn waive(&mut self, waived: bool) {
        self.waived = waived;
    }

    pub(super) const fn pong_awaited(&self) -> Option<u64> {
        self.awaited_pong
    }

    pub(super) const fn awaits_pong(&mut self, number: Option<u64>) {
        self.awaited_pong = number;
    }

    pub(super) const fn reasons(&self) -> Suspended {
        self.reasons
    }

    /// Requests that clients wait for: not started, or not answered.
    pub(super) fn held_count(&self) -> usize {
        self.requests.len() + self.answers.len()
    }
}

impl Node {
    /// Changes the reasons. The last one that goes lets everything go on.
    pub(super) fn suspension_is(&mut self, new: Suspended, reason: &'static str) {
        let old = std::mem::replace(&mut self.suspension.reasons, new);
        if old != new {
            self.tell(Event::Suspension { old, new, reason });
        }
        if old.any() {
            self.thaw();
        }
    }

    /// `suspend-io`.
    pub(super) fn suspend_io(&mut self, command: CommandId) {
        let new = Suspended { user: true, ..self.suspension.reasons };
        self.suspension_is(new, "asked to");
        self.answer(command, Ok(()));
    }

    /// `resume-io`: whatever the reason was. What was not mirrored gets its generation before it is
    /// answered (G2); without data clients get errors.
    pub(super) fn resume_io(&mut self, command: CommandId) {
        let waived = self.suspension.reasons.no_data || self.suspension.waived;
        self.suspension.waived = waived;
        self.suspension_is(Suspended::default(), "asked to");
        self.answer(command, Ok(()));
    }

    /// Keeps a request for later while clients' I/O is frozen; else gives it back to be started.
    pub(super) fn hold_request(&mut self, request: RequestId, op: ClientOp) -> Option<ClientOp> {
        if self.suspension.holds() && self.role == Role::Primary {
            self.suspension.requests.push_back((request, op));
            return None;
        }
        Some(op)
    }

    /// Answers a client, and gives the buffer of a read back; later, while clients' I/O is frozen.
    pub(super) fn reply(
        &mut self,
        request: RequestId,
        result: Result<(), ClientError>,
        release: Option<BufferId>,
    ) {
        let holds = self.suspension.holds() && self.role == Role::Primary;
        if holds && !self.breaks(Mutation::AnswerWhileFrozen) {
            self.suspension.answers.push_back(HeldAnswer { request, result, release });
            return;
        }
        self.wish(Output::Reply { request, result });
        if let Some(buffer) = release {
            self.wish(Output::Release(buffer));
        }
    }

    /// Lets go on what waits, if there is no reason any more: first what is done already, then what
    /// was under way, then what was never begun.
    pub(super) fn thaw(&mut self) {
        if self.suspension.holds() {
            return;
        }
        self.answer_held();
        self.resume_parked();
        for (request, op) in std::mem::take(&mut self.suspension.requests) {
            self.request(request, op);
        }
    }

    /// What was done on both disks while it was frozen counts as done alone when the peer has gone
    /// since: not before the new generation is durable (G2). When the own disk has gone, not before
    /// the peer has taken over (D10).
    pub(super) fn answer_held(&mut self) {
        if self.suspension.answers.is_empty() || self.suspension.holds() {
            return;
        }
        if self.role == Role::Primary {
            self.held_answers_need_data();
            let waits = match self.gate() {
                Gate::Mirror | Gate::Alone | Gate::Remote | Gate::Fail => false,
                Gate::Hold => self.replica.state() != DiskState::UpToDate,
            };
            if waits || !self.begin_alone() {
                return;
            }
        }
        for HeldAnswer { request, result, release } in std::mem::take(&mut self.suspension.answers)
        {
            self.reply(request, result, release);
        }
    }

    /// No good copy is within reach: what was done and not answered may be on none that counts
    /// later, so it is not promised (D2).
    pub(super) fn held_answers_need_data(&mut self) {
        let lacks = self.role == Role::Primary
            && self.replica.state() != DiskState::UpToDate
            && self.peer.disk() != DiskState::UpToDate;
        if lacks && !self.breaks(Mutation::HeldAnswersOutliveData) {
            // A read holds a buffer: what it has brought was right when it was read.
            for held in self.suspension.answers.iter_mut().filter(|held| held.release.is_none()) {
                held.result = Err(ClientError::Io);
            }
        }
    }
}
