//! Is the peer alive? Pings, `timeout` and `ko-count` (drbd-facts 2.9).

use super::Node;
use crate::event::Lane;
use crate::ids::Moment;
use crate::message::Message;
use crate::timers::Timer;

impl Node {
    pub(super) fn alive_start(&mut self) {
        let now = self.now;
        if let Some(session) = &mut self.peer.session {
            session.heard = now;
            session.ping_sent = None;
        }
        self.timers.set(Timer::Alive, now.after(self.settings.net.ping_int));
    }

    /// Something was sent that wants an answer: silence is not long tolerated from here on.
    pub(super) fn alive_work_began(&mut self) {
        let soon = self.now.after(self.settings.net.timeout / 2);
        if !self.expects_answer_since_checked() {
            self.timers.set(Timer::Alive, soon);
        }
    }

    fn expects_answer_since_checked(&self) -> bool {
        let soon = self.now.after(self.settings.net.timeout / 2);
        self.timers.deadline(Timer::Alive).is_some_and(|at| at <= soon)
    }

    pub(super) fn heard(&mut self) {
        let now = self.now;
        if let Some(session) = &mut self.peer.session {
            session.heard = now;
            session.ping_sent = None;
        }
    }

    /// When the oldest write or flush was sent that the peer has not answered.
    fn oldest_unanswered(&mut self) -> Option<Moment> {
        self.writes.oldest_sent().into_iter().chain(self.pairs.oldest_sent()).min()
    }

    fn expects_answer(&mut self) -> bool {
        self.writes.oldest_sent().is_some()
            || !self.pairs.is_quiet()
            || self.sync_waits()
            || self.far_read_waits()
    }

    const fn sync_waits(&self) -> bool {
        match &self.sync {
            super::Sync::Idle | super::Sync::Source(_) => false,
            super::Sync::Target(_) => true,
        }
    }

    pub(super) fn alive_due(&mut self) {
        if !self.peer.is_connected() {
            return;
        }
        let net = self.settings.net;
        if net.ko_count > 0
            && let Some(sent) = self.oldest_unanswered()
            && self.now.since(sent) >= net.timeout * net.ko_count
        {
            self.drop_session("a write or flush was not done within ko-count x timeout");
            return;
        }
        let busy = self.expects_answer();
        let now = self.now;
        let Some(session) = &mut self.peer.session else { return };
        let answer_within = if busy { net.timeout } else { net.ping_timeout };
        if let Some(sent) = session.ping_sent
            && now.since(sent) >= answer_within
        {
            self.drop_session("PingAck did not arrive in time");
            return;
        }
        let next: Moment = match session.ping_sent {
            Some(sent) => sent.after(answer_within),
            None => {
                let idle = if busy { net.timeout / 2 } else { net.ping_int };
                let due = session.heard.after(idle);
                if due > now {
                    due
                } else {
                    session.ping_sent = Some(now);
                    session.pings += 1;
                    let number = session.pings;
                    self.send_in(Lane::Urgent, Message::Ping { number }, None);
                    now.after(answer_within)
                }
            }
        };
        self.timers.set(Timer::Alive, next);
    }
}
