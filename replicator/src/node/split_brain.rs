//! A split brain as it is found: handlers and log lines, a Primary that yields, a Primary that
//! shall be overwritten (G3, `rr-conflict`).

use super::Node;
use super::promote::{OWN_ACCORD, RoleChange};
use super::verdict::is_full;
use crate::event::{CloseHow, Handler, Level, Output};
use crate::generation::{Decision, End, Verdict};
use crate::message::{DataStatement, RefusalCode, RefusalMessage};
use crate::mutation::Mutation;
use crate::settings::RrConflict;
use crate::split_brain::Solution;
use crate::state::{DiskState, Role};
use crate::timers::Timer;

/// What is done about a resync whose target is Primary.
pub(super) enum Conflict {
    /// There is none, or the policy does not mind.
    None,
    /// Both stay alone, and say why.
    Refuse(RefusalMessage),
    /// Drop the connection and try again.
    Retry,
}

impl Node {
    /// A verdict is there: handlers, and lines in DRBD's words.
    pub(super) fn say_what_split_brain_came_to(&mut self, decision: &Decision) {
        let Some(solution) = decision.split_brain else {
            if std::mem::take(&mut self.peer.discard_my_data) {
                let text = "there is no split brain: --discard-my-data was ignored";
                self.notice(Level::Warning, text);
            }
            return;
        };
        self.run_handler(Handler::InitialSplitBrain);
        let (from, victim) = match decision.end() {
            Some(End::Source) => ("this", self.settings.peer_name().to_owned()),
            Some(End::Target) => ("peer", self.settings.my_name().to_owned()),
            None => return,
        };
        let amount = if is_full(decision.verdict) {
            "a full sync follows, since the two have no common base to count from: everything is"
        } else {
            "all differences are"
        };
        let how = match solution {
            Solution::Unresolved => return,
            Solution::Manually => "manually solved".to_owned(),
            Solution::Automatically { primaries, by_changes } => {
                if by_changes {
                    let text =
                        "who was Primary at the split does not decide: the number of changes does";
                    self.notice(Level::Warning, text);
                }
                format!("{primaries} primaries, automatically solved")
            }
        };
        let text = format!(
            "Split-Brain detected, {how}. Sync from {from} node; {amount} copied over the data of {victim}"
        );
        self.notice(Level::Warning, text);
    }

    /// The peer has found the split brain, and nobody resolves it.
    pub(super) fn split_brain_by_refusal(&mut self) {
        if self.keeps_a_split_brain_to_itself() {
            return;
        }
        if self.peer.session.is_none() {
            self.run_handler(Handler::InitialSplitBrain);
        }
        self.run_handler(Handler::SplitBrain);
    }

    /// `call-pri-lost-after-sb`: the Primary that shall yield is demoted, if that is possible at
    /// once, and the two meet again. The other node waits for it to go.
    pub(super) fn primary_yields(&mut self, decision: &Decision) {
        match decision.end() {
            None | Some(End::Source) => return,
            Some(End::Target) => {}
        }
        let idle = self.clients == 0
            && self.role_change == RoleChange::None
            && self.leaving.is_none()
            && !self.suspension.holds();
        if !idle {
            self.run_handler(Handler::PriLostAfterSb);
            let me = self.settings.my_name();
            let text = format!(
                "Split-Brain detected but unresolved, dropping connection! By policy {me} gives its changes up, \
                 but it is Primary and in use; run 'blkrep secondary {0}' and 'blkrep connect \
                 --discard-my-data {0}' there, 'blkrep connect {0}' on the other node",
                self.settings.resource
            );
            self.refuse_session(RefusalMessage { code: RefusalCode::SplitBrain, text });
            return;
        }
        self.notice(Level::Warning, "this Primary gives up its role: its changes are discarded");
        self.peer.yields = true;
        self.drop_session("demoted because of a split brain; the handshake begins anew");
        self.demote(OWN_ACCORD);
    }

    /// The demotion of a Primary that yields is over.
    pub(super) fn yielded(&mut self) {
        if std::mem::take(&mut self.peer.yields) {
            self.peer.discard_my_data = self.role == Role::Secondary;
        }
    }

    /// `rr-conflict` (drbd-facts 1.9): a Primary shall become the target.
    pub(super) fn conflict(
        &mut self,
        decision: &Decision,
        mine: &DataStatement,
        theirs: &DataStatement,
    ) -> Conflict {
        // A Primary that uses the peer's data already gets them (G7 has been asked).
        let serves_its_own =
            |node: &DataStatement| node.role == Role::Primary && node.disk == DiskState::UpToDate;
        let (name, is_me) = match decision.verdict {
            Verdict::Sync { end: End::Target, .. } if serves_its_own(mine) => {
                (self.settings.my_name(), true)
            }
            Verdict::Sync { end: End::Source, .. } if serves_its_own(theirs) => {
                (self.settings.peer_name(), false)
            }
            Verdict::Sync { .. }
            | Verdict::NoSync
            | Verdict::SplitBrain { .. }
            | Verdict::Unrelated
            | Verdict::NoGoodSource { .. } => return Conflict::None,
        };
        if self.breaks(Mutation::ConflictIgnored) {
            return Conflict::None;
        }
        let text = format!(
            "{name} shall become SyncTarget, but it is Primary; run 'blkrep secondary' there and \
             'blkrep connect' on both"
        );
        match self.settings.split_brain.rr_conflict {
            RrConflict::Disconnect => {}
            RrConflict::RetryConnect => return Conflict::Retry,
            RrConflict::CallPriLost => {
                if is_me {
                    self.run_handler(Handler::PriLost);
                }
            }
            RrConflict::Violently => {
                if is_me {
                    // Its clients see the peer's data from here on: they asked for it.
                    self.expose(Some(theirs.generations.current));
                }
                return Conflict::None;
            }
        }
        Conflict::Refuse(RefusalMessage { code: RefusalCode::Verdict, text })
    }

    /// `retry-connect`: neither stays alone, and neither is in a hurry.
    pub(super) fn retry_later(&mut self) {
        let Some(session) = &self.peer.session else { return };
        let link = session.link;
        self.notice(Level::Warning, "a Primary shall become SyncTarget: trying again later");
        self.wish(Output::CloseLink { link, how: CloseHow::AfterSending });
        self.session_ended("a Primary shall become SyncTarget");
        self.timers.set(Timer::Dial, self.now.after(self.settings.net.connect_int));
    }
}
