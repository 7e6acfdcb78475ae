//! The administrator's programs: what they do takes time, and `fence-peer` tells the truth unless
//! it is told to lie.

use crate::world::{Happening, World};
use replicator::event::{Command, Handler, Input};
use replicator::ids::HandlerId;
use replicator::state::{DiskState, Role};

impl World {
    /// A handler begins.
    pub(crate) fn handler_begins(&mut self, host: usize, id: HandlerId, handler: Handler) {
        self.trace(|| format!("node {host} runs {}", handler.name()));
        self.hosts[host].handlers_run.push(handler);
        let drawn_us = self.random.between(1_000, self.profile.handler_us_max);
        let delay_us = self.handler_us.unwrap_or(drawn_us);
        let incarnation = self.hosts[host].incarnation;
        let ends = Happening::HandlerEnds { host, incarnation, id, handler, asked: false };
        self.plan(delay_us, ends);
    }

    pub(crate) fn handler_ends(
        &mut self,
        host: usize,
        id: HandlerId,
        handler: Handler,
        asked: bool,
    ) {
        let exit = match handler {
            Handler::FencePeer => match self.fence_exits[host] {
                Some(exit) => exit,
                None => match self.fence(1 - host, asked) {
                    Some(exit) => Some(exit),
                    None => {
                        let incarnation = self.hosts[host].incarnation;
                        let looks =
                            Happening::HandlerEnds { host, incarnation, id, handler, asked: true };
                        self.plan(50_000, looks);
                        return;
                    }
                },
            },
            Handler::UnfencePeer
            | Handler::SplitBrain
            | Handler::InitialSplitBrain
            | Handler::PriLost
            | Handler::PriLostAfterSb
            | Handler::PriOnInconDegr
            | Handler::LocalIoError
            | Handler::BeforeResyncTarget
            | Handler::AfterResyncTarget
            | Handler::OutOfSync => self.hosts[host].handler_exit,
        };
        self.trace(|| format!("node {host}: {} ends with {exit:?}", handler.name()));
        self.feed(host, Input::HandlerDone { id, exit });
    }

    /// What an honest program finds out about a peer, or does to it; none: it has asked, and must
    /// look again.
    fn fence(&mut self, peer: usize, asked: bool) -> Option<i32> {
        let broken = 1;
        let exit = match self.status(peer) {
            None if self.hosts[peer].powered && self.random.chance(50) => {
                self.cut_power(peer);
                7
            }
            None => {
                // Down, but it may come up again at any moment: only without power it is surely no
                // danger.
                self.cut_power(peer);
                5
            }
            Some(status) if status.role == Role::Primary => 6,
            Some(status) if status.disk == DiskState::Inconsistent => 3,
            Some(status) if status.disk == DiskState::Outdated => 4,
            Some(_) if asked => broken,
            Some(_) if self.random.chance(30) => {
                self.cut_power(peer);
                7
            }
            Some(_) if self.random.chance(10) => broken,
            Some(_) => {
                self.command(peer, Command::Outdate);
                return None;
            }
        };
        self.coverage.count(match exit {
            3 => "fence-peer: inconsistent",
            4 => "fence-peer: outdated",
            5 => "fence-peer: unreachable",
            6 => "fence-peer: primary",
            7 => "fence-peer: shot",
            _ => "fence-peer: broken",
        });
        Some(exit)
    }

    /// The fence-peer handler of a host returns this from now on, whatever is true.
    pub const fn fence_exit(&mut self, host: usize, exit: Option<i32>) {
        self.fence_exits[host] = Some(exit);
    }

    /// SIGSTOP, and SIGCONT: what happened meanwhile is handled in the order in which it happened.
    pub fn stop_process(&mut self, host: usize, stopped: bool) {
        self.sees_stop(host, stopped);
        self.hosts[host].stopped = stopped;
        while !self.hosts[host].stopped {
            let Some(input) = self.hosts[host].backlog.pop_front() else { return };
            self.feed(host, input);
        }
    }
}
