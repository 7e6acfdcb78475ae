//! Links from the first byte to the last: dialling, who is let in, refusals, the end of a session.

use super::Node;
use super::peer::{CANDIDATES_MAX, Candidate, Intent, Session, Stage, Step, dialled_by_first};
use super::sync_hold::{BEFORE_TARGET_RUNS, BeforeTarget};
use crate::event::{CloseHow, Event, Handler, Lane, Level, LinkOrigin, Output, Payload};
use crate::ids::LinkId;
use crate::message::{Hello, Message, PROTOCOL_VERSION_MAX, PROTOCOL_VERSION_MIN};
use crate::message::{RefusalCode, RefusalMessage};
use crate::mutation::Mutation;
use crate::state::{ConnectionState, DiskState};
use crate::timers::Timer;
use std::time::Duration;

/// Pause before the next dial after the peer said that it is busy: its I/O will have returned soon.
const BUSY_PAUSE: Duration = Duration::from_millis(200);
/// A handshake that makes no progress for so many `timeout`s is given up.
const HANDSHAKE_TIMEOUTS: u32 = 2;

impl Node {
    /// Wants the peer from now on.
    pub(super) fn connect(&mut self) {
        let old = self.peer.connection_state();
        if self.replica.state() == DiskState::Attaching {
            // Without a disk there is nothing to compare: connecting follows the attachment.
            self.peer.intent = Intent::Waiting;
            return;
        }
        self.peer.intent = Intent::Connect;
        self.peer.refusal = None;
        self.connection_changed(old, "asked to connect");
        self.timers.set(Timer::Dial, self.now);
    }

    pub(super) fn dial_due(&mut self) {
        if self.peer.session.is_some() || !matches!(self.peer.intent, Intent::Connect) {
            return;
        }
        if matches!(self.hold.before, BeforeTarget::Runs(_)) {
            // It dials itself when it has ended.
            return;
        }
        if !self.peer.dialling {
            self.peer.dialling = true;
            self.wish(Output::Dial);
        }
        self.timers.set(Timer::Dial, self.now.after(self.settings.net.connect_int));
    }

    pub(super) fn dial_failed(&mut self, reason: &str) {
        self.peer.dialling = false;
        // The first failure after a success is worth a line; the rest only repeats it.
        if self.peer.refusal.as_deref() != Some(reason) {
            self.peer.refusal = Some(reason.into());
        }
    }

    pub(super) fn link_up(&mut self, link: LinkId, origin: LinkOrigin) {
        if origin == LinkOrigin::Dialled {
            self.peer.dialling = false;
        }
        if origin == LinkOrigin::Dialled && self.peer.session.is_some() {
            // The peer was faster: its link is the connection.
            self.wish(Output::CloseLink { link, how: CloseHow::Abort });
            return;
        }
        match &self.peer.intent {
            Intent::Waiting => {
                let busy = RefusalMessage {
                    code: RefusalCode::Busy,
                    text: format!("{} is still starting", self.settings.my_name()),
                };
                self.turn_away(link, busy);
                return;
            }
            Intent::StandAlone(why) => {
                let mut why = why.clone();
                if self.breaks(Mutation::VerdictNotRepeated) {
                    why.code = RefusalCode::StandAlone;
                }
                self.turn_away(link, why);
                return;
            }
            Intent::Connect => {}
        }
        if self.peer.candidates.len() >= CANDIDATES_MAX && origin == LinkOrigin::Accepted {
            // Strangers cannot push anybody out; they themselves are given up when their time is
            // over.
            self.wish(Output::CloseLink { link, how: CloseHow::Abort });
            return;
        }
        let hello = Hello {
            version_min: PROTOCOL_VERSION_MIN,
            version_max: PROTOCOL_VERSION_MAX,
            node: self.settings.me,
            node_name: self.settings.my_name().into(),
            resource: self.settings.resource.clone(),
            nonce: self.entropy.bytes(),
            secret: self.settings.secret.is_some(),
        };
        self.send_on(link, Message::Hello(hello.clone()));
        // While connected, whoever dials us begins anew; else it is one of two dials that crossed.
        let rival = self.peer.in_handshake();
        let (opened, step) = (self.now, Step::Hello);
        self.peer.candidates.push(Candidate { link, origin, opened, my_hello: hello, rival, step });
        self.timers.set_once(Timer::Handshake, self.now.after(self.handshake_timeout()));
    }

    pub(super) fn handshake_timeout(&self) -> Duration {
        self.settings.net.timeout * HANDSHAKE_TIMEOUTS
    }

    /// Gives up every candidate and every half handshake that has made no progress in time.
    pub(super) fn handshake_overdue(&mut self) {
        let limit = self.handshake_timeout();
        let (late, rest): (Vec<Candidate>, Vec<Candidate>) =
            std::mem::take(&mut self.peer.candidates)
                .into_iter()
                .partition(|candidate| self.now.since(candidate.opened) >= limit);
        self.peer.candidates = rest;
        for candidate in late {
            self.wish(Output::CloseLink { link: candidate.link, how: CloseHow::Abort });
        }
        if self.peer.in_handshake()
            && self.peer.session.as_ref().is_some_and(|session| session.stage_deadline <= self.now)
        {
            self.drop_session("the handshake took too long");
        }
        if !self.peer.candidates.is_empty() || self.peer.in_handshake() {
            self.timers.set(Timer::Handshake, self.now.after(limit / 4));
        }
    }

    pub(super) fn received(&mut self, link: LinkId, message: Message, payload: Option<Payload>) {
        if let Some(index) =
            self.peer.candidates.iter().position(|candidate| candidate.link == link)
        {
            // Nobody who has not proved anything may occupy a buffer.
            if let Some(payload) = payload {
                self.wish(Output::Release(payload.buffer));
            }
            self.candidate_received(index, message);
            return;
        }
        let old_counts = self.breaks(Mutation::OldConnectionReadOn);
        if self.peer.session.as_ref().is_some_and(|session| session.link == link || old_counts) {
            self.session_received(message, payload);
        } else if let Some(payload) = payload {
            self.wish(Output::Release(payload.buffer));
        }
    }

    pub(super) fn link_down(&mut self, link: LinkId, reason: &str) {
        if let Some(index) =
            self.peer.candidates.iter().position(|candidate| candidate.link == link)
        {
            self.peer.candidates.remove(index);
            self.redial_soon();
        } else if self.peer.session.as_ref().is_some_and(|session| session.link == link) {
            self.session_ended(reason);
        }
    }

    /// The candidate has proved what it had to. Of two dials that crossed the one by the first node
    /// in configured order stays; a new connection replaces the old one (D15).
    pub(super) fn admit(&mut self, candidate: &Candidate) {
        let (link, origin) = (candidate.link, candidate.origin);
        if self.own_dial_will_stay(origin) {
            self.wish(Output::CloseLink { link, how: CloseHow::Abort });
            return;
        }
        if let Some(session) = &self.peer.session {
            let stays = !self.is_preferred(origin) || self.is_preferred(session.origin);
            if candidate.rival && stays {
                self.wish(Output::CloseLink { link, how: CloseHow::Abort });
                return;
            }
            self.drop_session_to_meet_again("replaced by a new connection");
        }
        self.part_rivals(origin);
        if matches!(self.hold.before, BeforeTarget::Runs(_)) {
            self.turn_away(link, self.busy(BEFORE_TARGET_RUNS));
            return;
        }
        let io_is_open = self.guest_holds_disk() || self.sole_is_busy();
        if io_is_open && !self.breaks(Mutation::AdmitWhileBusy) {
            self.turn_away(link, self.busy("I/O of the previous connection is still under way"));
            return;
        }
        self.peer.session = Some(Session {
            link,
            origin,
            stage: Stage::Parameters,
            heard: self.now,
            ping_sent: None,
            pings: 0,
            stage_deadline: self.now.after(self.handshake_timeout()),
            was_up: false,
            agreed: None,
            version: candidate.version(),
        });
        self.timers.set(Timer::Handshake, self.now.after(self.handshake_timeout()));
        self.timers.stop(Timer::Dial);
        self.send_parameters();
    }

    /// Whatever else is open belongs to the same attempt as the link that is let in. Own dials are
    /// hung up at once: the peer has no proof on them yet, and shall not take them for a new
    /// connection.
    fn part_rivals(&mut self, winner: LinkOrigin) {
        for mut other in std::mem::take(&mut self.peer.candidates) {
            let may_win = self.breaks(Mutation::CrossingDialsRace)
                && self.is_preferred(other.origin)
                && !self.is_preferred(winner);
            if other.origin == LinkOrigin::Dialled && !may_win {
                self.wish(Output::CloseLink { link: other.link, how: CloseHow::Abort });
            } else {
                other.rival = true;
                self.peer.candidates.push(other);
            }
        }
    }

    /// The own proof is under way on a dial that stays when two cross: the peer may have let that
    /// one in, and will take it in place of this.
    fn own_dial_will_stay(&self, origin: LinkOrigin) -> bool {
        origin == LinkOrigin::Accepted
            && self.is_preferred(LinkOrigin::Dialled)
            && !self.breaks(Mutation::CrossingDialsRace)
            && self.peer.candidates.iter().any(|other| match other.step {
                Step::Hello => false,
                Step::Proof { .. } => other.origin == LinkOrigin::Dialled,
            })
    }

    /// The dial that stays when two of them cross: that of the first node in configured order.
    fn is_preferred(&self, origin: LinkOrigin) -> bool {
        if self.breaks(Mutation::AcceptedDialStays) {
            return origin == LinkOrigin::Accepted;
        }
        dialled_by_first(self.settings.me, origin)
    }

    pub(super) fn busy(&self, why: &str) -> RefusalMessage {
        RefusalMessage {
            code: RefusalCode::Busy,
            text: format!("{} is busy: {why}", self.settings.my_name()),
        }
    }

    /// Says no on a link and closes it; this node's own intent stays as it is.
    pub(super) fn turn_away(&mut self, link: LinkId, why: RefusalMessage) {
        self.send_on(link, Message::Refuse(why));
        self.wish(Output::CloseLink { link, how: CloseHow::AfterSending });
    }

    /// The peer, or something in its place, said no.
    pub(super) fn refused_by_peer(&mut self, why: &RefusalMessage, origin: LinkOrigin) {
        let text = format!("{} refuses: {}", self.settings.peer_name(), why.text);
        // Both were told to stand alone; whoever is told to connect again waits for the other to be
        // told, too (G3).
        let awaited = why.code == RefusalCode::SplitBrain
            && self.peer.session.is_none()
            && (self.peer.split_brain || self.peer.discard_my_data)
            && !self.breaks(Mutation::DiscardDroppedByRefusal);
        if why.code.is_passing() || awaited {
            self.peer.refusal = Some(text);
            if why.code == RefusalCode::Busy {
                self.timers.set(Timer::Dial, self.now.after(BUSY_PAUSE));
            }
            return;
        }
        self.notice(Level::Error, text.clone());
        self.peer.refusal = Some(text);
        if why.code == RefusalCode::SplitBrain {
            self.split_brain_by_refusal();
        }
        // Whoever dials us proves nothing by a refusal; whom we dialled is where the peer should
        // be.
        if origin == LinkOrigin::Dialled || self.peer.session.is_some() {
            self.stand_alone(why.clone());
        }
    }

    /// This node says no for good: the peer is told, and an operator is needed.
    pub(super) fn refuse_session(&mut self, why: RefusalMessage) {
        let Some(session) = &self.peer.session else { return };
        let link = session.link;
        self.turn_away(link, why.clone());
        self.notice(Level::Error, why.text.clone());
        if why.code == RefusalCode::SplitBrain && !self.keeps_a_split_brain_to_itself() {
            self.run_handler(Handler::SplitBrain);
        }
        self.session_ended(&why.text);
        self.peer.refusal = Some(why.text.clone());
        self.stand_alone(why);
    }

    /// Stays alone until told otherwise.
    pub(super) fn stand_alone(&mut self, why: RefusalMessage) {
        let old = self.peer.connection_state();
        let reason = why.text.clone();
        self.peer.split_brain |= why.code == RefusalCode::SplitBrain;
        self.peer.discard_my_data = false;
        self.peer.intent = Intent::StandAlone(why);
        self.timers.stop(Timer::Dial);
        for candidate in std::mem::take(&mut self.peer.candidates) {
            self.wish(Output::CloseLink { link: candidate.link, how: CloseHow::AfterSending });
        }
        if let Some(session) = &self.peer.session {
            self.wish(Output::CloseLink { link: session.link, how: CloseHow::AfterSending });
            self.session_ended(&reason);
        } else {
            self.connection_changed(old, &reason);
        }
    }

    /// Resets the session's link; nothing more of it is read (D15).
    pub(super) fn drop_session(&mut self, reason: &str) {
        if let Some(session) = &self.peer.session {
            let link = session.link;
            if !self.breaks(Mutation::OldConnectionReadOn) {
                self.wish(Output::CloseLink { link, how: CloseHow::Abort });
            }
            self.session_ended(reason);
        }
    }

    /// The session is over, for whatever reason. Everything that hung on it is settled here, in
    /// this order.
    pub(super) fn session_ended(&mut self, reason: &str) {
        let Some(session) = &self.peer.session else { return };
        // Also while the two begin a resync on the connection that they have: writes were mirrored.
        let was_up = session.was_up && !self.breaks(Mutation::LossUnnoticedInSession);
        let old = self.peer.connection_state();
        let was_connected = old == ConnectionState::Connected || was_up;
        let had_data = self.peer.has_disk() || was_up;
        let old_disk = self.peer.disk();
        let old_replication = self.replication();
        let early = self.peer.early_mut().map(std::mem::take).unwrap_or_default();
        for payload in early.into_iter().filter_map(|(_, payload)| payload) {
            self.wish(Output::Release(payload.buffer));
        }
        self.peer.session = None;
        let late = self.breaks(Mutation::FreezeAfterAnswering);
        if was_connected && !late {
            self.peer_out_of_sight(old_disk);
        } else if !was_connected {
            self.handshake_lost();
        }
        self.sync_stop();
        self.far_data_disconnected();
        self.invalidation_ends();
        self.verify_disconnected();
        self.by_hand_interrupted();
        if had_data {
            self.peer_data_lost();
        }
        if was_connected && late {
            self.peer_out_of_sight(old_disk);
        }
        if old == ConnectionState::Connecting {
            self.notice(Level::Info, format!("the handshake was broken off: {reason}"));
        }
        self.connection_changed(old, reason);
        let new_disk = self.peer.disk();
        if old_disk != new_disk {
            self.tell(Event::PeerDisk { old: old_disk, new: new_disk, reason: reason.into() });
        }
        self.replication_changed(old_replication, reason);
        self.after_session();
    }

    fn after_session(&mut self) {
        self.resize_not_led();
        self.resize_gives_up("the connection was lost");
        self.timers.stop(Timer::Alive);
        self.stall_is_over();
        self.redial_soon();
        self.part();
        self.fence_goes_on();
        self.role_change_without_peer();
        self.detach_without_peer();
        self.resume_parked();
    }

    fn redial_soon(&mut self) {
        if matches!(self.peer.intent, Intent::Connect) && self.peer.session.is_none() {
            self.timers.set_once(Timer::Dial, self.now.after(BUSY_PAUSE));
        }
    }

    pub(super) fn connection_changed(&mut self, old: ConnectionState, reason: &str) {
        let new = self.peer.connection_state();
        if old != new {
            self.tell(Event::Connection { old, new, reason: reason.into() });
        }
    }

    /// Sends on the session, in the one FIFO.
    pub(super) fn send(&mut self, message: Message) {
        self.send_in(Lane::Fifo, message, None);
    }

    pub(super) fn send_in(&mut self, lane: Lane, message: Message, payload: Option<Payload>) {
        if let Some(session) = &self.peer.session {
            let link = session.link;
            self.wish(Output::Send { link, message, payload, lane });
        }
    }

    pub(super) fn send_on(&mut self, link: LinkId, message: Message) {
        self.wish(Output::Send { link, message, payload: None, lane: Lane::Fifo });
    }
}
