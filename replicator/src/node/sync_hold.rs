//! What holds a resync (`pause-sync`, drbd-facts 3.3), and what is remembered of one that was
//! interrupted.

use super::progress::Progress;
use super::{Node, Sync};
use crate::event::{Refusal, RefusalClass};
use crate::generation::End;
use crate::ids::HandlerId;
use crate::message::Message;

/// The handler that may forbid a resync (drbd-facts 1.7). It runs without a connection, however
/// long it takes: in the middle of a handshake the Primary's clients would wait for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum BeforeTarget {
    /// To be run before the next resync.
    #[default]
    Due,
    /// Until it has ended no connection is made.
    Runs(HandlerId),
    /// It has allowed the resync that the next handshake begins.
    Passed,
}

/// What a peer is told meanwhile.
pub(super) const BEFORE_TARGET_RUNS: &str = "its before-resync-target handler is running";

/// Lives through connections.
#[derive(Debug, Default)]
pub(super) struct Hold {
    /// `pause-sync` was given here.
    user: bool,
    /// `pause-sync` was given on the peer, as it said on this connection.
    peer: bool,
    /// The resync that the end of a connection interrupted.
    interrupted: Option<(End, Progress)>,
    /// The next resync compares before it copies (D8).
    pub(super) compares: bool,
    /// What the source says that the target's identifier becomes.
    pub(super) sync_generation: u64,
    /// How far the `before-resync-target` handler is.
    pub(super) before: BeforeTarget,
    /// Blocks that the source of the last resync could not read (D9); 0: it was complete.
    pub(super) incomplete: u64,
}

impl Node {
    /// Either node's operator holds the resync.
    pub(super) const fn sync_is_held(&self) -> bool {
        self.hold.user || self.hold.peer
    }

    /// `pause-sync` and `resume-sync`. The flag stays over connections, and is there before a
    /// resync is, as in DRBD; it ends with the daemon.
    pub(super) fn sync_hold_asked(&mut self, paused: bool) -> Result<(), Refusal> {
        if self.hold.user == paused {
            let (is, other) =
                if paused { ("set", "resume-sync") } else { ("cleared", "pause-sync") };
            return Err(Refusal {
                class: RefusalClass::Configuration,
                text: format!(
                    "Sync-pause flag is already {is}; 'blkrep {other} {}' changes it",
                    self.settings.resource
                ),
            });
        }
        let old = self.replication();
        self.hold.user = paused;
        if self.peer.is_connected() {
            self.send(Message::SyncPause { paused });
        }
        self.replication_changed(old, if paused { "pause-sync" } else { "resume-sync" });
        self.sync_hold_changed();
        Ok(())
    }

    pub(super) fn sync_pause_received(&mut self, paused: bool) {
        let old = self.replication();
        self.hold.peer = paused;
        self.replication_changed(old, "the peer's operator says so");
        self.sync_hold_changed();
    }

    /// A connection is there: it begins without a flag of the peer's, and learns of the own one.
    pub(super) fn sync_hold_connected(&mut self) {
        self.hold.peer = false;
        if self.hold.user {
            self.send(Message::SyncPause { paused: true });
        }
    }

    fn sync_hold_changed(&mut self) {
        let (now, held) = (self.now, self.sync_is_held());
        match &mut self.sync {
            Sync::Idle => {}
            Sync::Source(source) => source.progress.hold(now, held),
            Sync::Target(target) => target.progress.hold(now, held),
        }
        if let Some(running) = &mut self.verify.running {
            running.progress.hold(now, held);
        }
        if !held {
            self.sync_grant_held();
            self.sync_pump();
            self.verify_pump();
        }
    }

    /// The progress of the resync that begins now: a new one, or the one that was interrupted.
    pub(super) fn progress_begins(&mut self, end: End, left_blocks: u64) -> Progress {
        let mut progress = match self.hold.interrupted.take() {
            Some((same, before)) if same == end => before.go_on(self.now, left_blocks),
            Some(_) | None => Progress::begin(self.now, left_blocks),
        };
        progress.hold(self.now, self.sync_is_held());
        progress
    }

    /// Keeps the progress of a resync that is interrupted.
    pub(super) fn progress_interrupted(&mut self, end: End, mut progress: Progress) {
        progress.hold(self.now, true);
        self.hold.interrupted = Some((end, progress));
    }

    pub(super) fn progress_complete(&mut self) {
        self.hold.interrupted = None;
    }

    /// Tells the progress how much is left.
    pub(super) fn progress_sees(&mut self) {
        let left = self.out_of_sync_blocks();
        match &mut self.sync {
            Sync::Idle => {}
            Sync::Source(source) => source.progress.see(left),
            Sync::Target(target) => target.progress.see(left),
        }
    }
}
