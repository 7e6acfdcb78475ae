//! The administrator's programs: which run is under way, and who waits for it.

use super::Node;
use crate::event::{Handler, Level, Output};
use crate::ids::HandlerId;

/// Runs that have not ended.
#[derive(Debug, Default)]
pub(super) struct Handlers {
    last: u64,
    running: Vec<(HandlerId, Handler)>,
}

impl Node {
    /// Runs a handler if one is configured; `None`: there is none.
    pub(super) fn run_handler(&mut self, handler: Handler) -> Option<HandlerId> {
        if !self.settings.handlers.has(handler) {
            return None;
        }
        self.handlers.last += 1;
        let id = HandlerId(self.handlers.last);
        self.handlers.running.push((id, handler));
        self.wish(Output::RunHandler { id, handler });
        Some(id)
    }

    pub(super) fn handler_done(&mut self, id: HandlerId, exit: Option<i32>) {
        let Some(at) = self.handlers.running.iter().position(|(running, _)| *running == id) else {
            unreachable!("invariant: a handler ends once, and only if it was begun");
        };
        let (_, handler) = self.handlers.running.remove(at);
        let name = handler.name();
        match exit {
            Some(code) => self.notice(Level::Info, format!("handler {name} ended with {code}")),
            None => self.notice(Level::Error, format!("handler {name} did not end by itself")),
        }
        match handler {
            Handler::BeforeResyncTarget => self.before_target_done(id, exit),
            Handler::FencePeer => self.fence_peer_done(id, exit),
            Handler::UnfencePeer
            | Handler::SplitBrain
            | Handler::InitialSplitBrain
            | Handler::PriLost
            | Handler::PriLostAfterSb
            | Handler::PriOnInconDegr
            | Handler::LocalIoError
            | Handler::AfterResyncTarget
            | Handler::OutOfSync => {}
        }
    }
}
