//! Time that passes unnoticed: a disk that answers nothing (D15), and an event loop that was not
//! running (D19).

use super::Node;
use super::disk_loss::DiskFault;
use crate::event::Lane;
use crate::ids::{IoId, Moment};
use crate::message::Message;
use crate::mutation::Mutation;
use crate::state::Role;
use crate::timers::Timer;
use std::collections::VecDeque;

/// The error number of a disk that did not answer in time (ETIMEDOUT).
const TIMED_OUT: i32 = 110;

/// I/Os of the own disk in the order in which they began; finished ones leave lazily.
#[derive(Debug, Default)]
pub(super) struct DiskWatch {
    begun: VecDeque<(IoId, Moment)>,
}

impl Node {
    /// An I/O of the own disk begins: it has `disk-timeout` to return.
    pub(super) fn disk_watch_begins(&mut self, io: IoId) {
        if let Some(timeout) = self.settings.disk.timeout {
            self.disk_watch.begun.push_back((io, self.now));
            self.timers.set_once(Timer::Disk, self.now.after(timeout));
        }
    }

    /// The disk is given up: its I/Os return when they return.
    pub(super) fn disk_watch_ends(&mut self) {
        self.disk_watch.begun.clear();
        self.timers.stop(Timer::Disk);
    }

    /// A disk that has not answered for `disk-timeout` is given up like one that failed.
    pub(super) fn disk_overdue(&mut self) {
        if self.replica.is_gone() {
            self.reads_on_hung_disk_fail();
            return;
        }
        let Some(timeout) = self.settings.disk.timeout else { return };
        while let Some((io, began)) = self.disk_watch.begun.front().copied() {
            if self.ios.get_mut(io.0).is_none() {
                self.disk_watch.begun.pop_front();
            } else if self.now.since(began) >= timeout {
                if self.breaks(Mutation::NoDiskTimeout) {
                    return;
                }
                self.disk_failed(DiskFault::Answer, TIMED_OUT);
                // The others have most likely waited as long.
                self.reads_on_hung_disk_fail();
                return;
            } else {
                self.timers.set(Timer::Disk, began.after(timeout));
                return;
            }
        }
    }

    /// The disk was given up, perhaps because it hangs (`detach --force`): what it still reads has
    /// a while to return, and to be read from the peer if it failed.
    pub(super) fn reads_have_grace(&mut self) {
        if self.reads_here > 0 {
            self.timers.set(Timer::Disk, self.now.after(self.settings.net.timeout));
        }
    }

    /// True when this node was not running for so long that the peer may have gone on without it.
    pub(super) fn has_stalled(&self) -> bool {
        self.timers
            .next_deadline()
            .is_some_and(|due| self.now.since(due) > self.settings.net.ping_timeout)
    }

    /// After a stall nothing is answered before the peer has answered a ping, or counts as lost.
    pub(super) fn stalled(&mut self) {
        let serves = self.role == Role::Primary && self.clients > 0;
        if !serves || !self.peer.is_connected() || self.breaks(Mutation::AnswerAfterStall) {
            return;
        }
        let Some(session) = &mut self.peer.session else { return };
        session.pings += 1;
        let number = session.pings;
        self.suspension.awaits_pong(Some(number));
        self.send_in(Lane::Urgent, Message::Ping { number }, None);
        self.timers.set(Timer::Stall, self.now.after(self.settings.net.ping_timeout));
    }

    pub(super) fn stall_unanswered(&mut self) {
        self.drop_session("no answer to a ping after this node was not running for a while");
    }

    pub(super) fn pong_received(&mut self, number: u64) {
        if self.suspension.pong_awaited().is_some_and(|awaited| number >= awaited) {
            self.stall_is_over();
        }
    }

    /// The peer is known to be there, or not to be.
    pub(super) fn stall_is_over(&mut self) {
        if self.suspension.pong_awaited().is_some() {
            self.timers.stop(Timer::Stall);
            self.suspension.awaits_pong(None);
            self.thaw();
        }
    }

    /// While clients are served on the peer's word there is always a deadline near, so that a stall
    /// is noticed (R21).
    pub(super) fn watch_for_stalls(&mut self) {
        let serves = self.role == Role::Primary && self.clients > 0 && self.peer.is_connected();
        if serves && !self.breaks(Mutation::NoWatch) {
            self.timers.set_once(Timer::Watch, self.now.after(self.settings.net.ping_timeout / 2));
        } else {
            self.timers.stop(Timer::Watch);
        }
    }
}
