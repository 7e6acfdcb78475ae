//! The exchange of bitmaps and the durable start of a resync (D7, D9, D17).

use super::Node;
use super::peer::{Intent, Plan, Stage, With};
use super::persist::Then;
use super::route::AfterFlush;
use super::sync_hold::{BEFORE_TARGET_RUNS, BeforeTarget};
use super::verdict::is_full;
use crate::event::{Handler, Level};
use crate::generation::{End, begin_sync};
use crate::ids::{HandlerId, LinkId};
use crate::message::{Message, RefusalCode, RefusalMessage};
use crate::mutation::Mutation;
use crate::settings::ChecksumUse;
use crate::state::{DiskState, Role};
use crate::wire::BITMAP_RUNS_BYTES_MAX;
use metadata::generations::same_generation;
use metadata::runs;
use metadata::units::device_blocks;

impl Node {
    /// Sends the own bitmap and waits for the peer's; for a full sync all bits are set instead.
    pub(super) fn begin_bitmaps(&mut self, with: With, plan: Plan) {
        let old_replication = self.replication();
        self.hold.compares = self.compares(&with, plan);
        self.next_stage(Stage::Bitmaps { with, plan });
        self.replication_changed(old_replication, "the handshake says so");
        if is_full(plan.decision.verdict) {
            let sparing = self.breaks(Mutation::FullSyncOfSetBits);
            if let Some(disk) = self.replica.writable()
                && !sparing
            {
                disk.bitmap.set_all();
            }
            self.bitmaps_united();
        } else {
            self.clear_by_proof();
            self.send_bitmap();
        }
    }

    /// True when the target compares before it lets copy: its own setting decides. By default where
    /// bits came from an activity log: most of those blocks are equal (D8). A crash mark says that,
    /// and lasts until both are in sync.
    fn compares(&self, with: &With, plan: Plan) -> bool {
        let crashed = |data: Option<bool>| data.unwrap_or(false);
        match self.settings.sync.checksums {
            ChecksumUse::Always => true,
            ChecksumUse::Never => false,
            ChecksumUse::AfterCrash => {
                let mine =
                    self.replica.attached().map(|disk| disk.superblock.flags.crashed_primary);
                let theirs = with.data.map(|data| data.crashed_primary);
                !is_full(plan.decision.verdict) && (crashed(mine) || crashed(theirs))
            }
        }
    }

    /// The own bitmap in pieces; the last one is marked.
    pub(super) fn send_bitmap(&mut self) {
        let Some(disk) = self.replica.attached() else { return };
        let blocks = device_blocks(disk.size_bytes());
        let mut pieces = Vec::new();
        let mut from_block = 0;
        loop {
            let (encoded, next) = runs::encode(&disk.bitmap, from_block, BITMAP_RUNS_BYTES_MAX);
            let last = next >= blocks;
            pieces.push(Message::Bitmap { from_block, runs: encoded, last });
            if last {
                break;
            }
            from_block = next;
        }
        for piece in pieces {
            self.send(piece);
        }
    }

    /// A stretch of the peer's bitmap: united with the own one. Setting a bit early is harmless
    /// (D7).
    pub(super) fn bitmap_received(&mut self, from_block: u64, encoded: &[u8], last: bool) {
        let deadline = self.now.after(self.handshake_timeout());
        let in_handshake = match self.peer.session.as_mut() {
            Some(session) => {
                session.stage_deadline = deadline;
                matches!(session.stage, Stage::Bitmaps { .. })
            }
            None => return,
        };
        if !in_handshake && !self.is_sync_target() {
            self.drop_session("a bitmap came out of turn");
            return;
        }
        let deaf = self.breaks(Mutation::BitmapsNotUnited);
        let Some(disk) = self.replica.writable() else { return };
        let blocks = device_blocks(disk.size_bytes());
        let bitmap = &mut disk.bitmap;
        let decoded = runs::decode(encoded, from_block, blocks, |run| {
            if !deaf {
                bitmap.set(run);
            }
        });
        if let Err(error) = decoded {
            self.drop_session(&format!("the peer's bitmap is damaged: {error}"));
            return;
        }
        if !last {
            return;
        }
        if in_handshake {
            self.bitmaps_united();
        } else {
            self.sync_goes_on();
        }
    }

    /// Both bitmaps are the same now. They go to stable storage before anything follows from them.
    fn bitmaps_united(&mut self) {
        let Some(session) = &mut self.peer.session else { return };
        let Stage::Bitmaps { with, plan } = &session.stage else { return };
        let (with, plan, link) = (with.clone(), *plan, session.link);
        if !(self.breaks(Mutation::FullBitsLate) && is_full(plan.decision.verdict)) {
            self.persist_bitmap();
        }
        match plan.end {
            None => {
                self.next_stage(Stage::Settling { with, early: Vec::new() });
                self.persist_superblock(
                    |superblock| {
                        superblock.flags.connected = true;
                        superblock.flags.peer_outdated = false;
                    },
                    Some(Then::United(link)),
                );
            }
            Some(End::Source) => {
                self.next_stage(Stage::Starting { with, end: End::Source });
                // The target gives up what it has: what both had must not be in a cache here.
                if self.breaks(Mutation::SourceNotFlushed)
                    || self.breaks(Mutation::ClearWithUnflushedSource)
                {
                    self.source_flushed(link);
                } else {
                    self.flush_then(AfterFlush::SyncStart(link));
                }
            }
            Some(End::Target) => self.next_stage(Stage::Starting { with, end: End::Target }),
        }
    }

    pub(super) fn united_durable(&mut self, link: LinkId) {
        if self.is_session(link) {
            self.finish_handshake(
                "the handshake is over; bits are set and nothing says which data are right",
            );
        }
    }

    pub(super) fn source_flushed(&mut self, link: LinkId) {
        if !self.is_session(link) {
            return;
        }
        if self.starts_as_source().is_none() {
            return;
        }
        self.give_log_back();
        // Whoever is the source has the newest data there are.
        if self.replica.state() > DiskState::Inconsistent {
            self.own_disk_is_up_to_date("its data are the ones to be copied");
        }
        let Some(peer_current) = self.starts_as_source() else { return };
        let drawn = self.entropy.generation();
        let marks = !self.breaks(Mutation::NoMarkAtSyncStart);
        self.persist_superblock(
            |superblock| {
                let generations = superblock.generations;
                superblock.generations = begin_sync(generations, peer_current, drawn);
                superblock.flags.connected = true;
                // G2: until the target has confirmed, it may be promoted on this very generation.
                superblock.flags.peer_may_hold_current |=
                    marks && same_generation(generations.current, peer_current);
                superblock.flags.peer_may_hold_current &=
                    marks || !same_generation(generations.current, peer_current);
            },
            Some(Then::SourceReady(link)),
        );
    }

    fn target_is_primary(&self) -> bool {
        let in_handshake = match self.peer.session.as_ref().map(|session| &session.stage) {
            Some(Stage::Starting { with, .. }) => with.data.map(|data| data.role),
            Some(
                Stage::Parameters
                | Stage::Settled { .. }
                | Stage::Data { .. }
                | Stage::Bitmaps { .. }
                | Stage::Settling { .. }
                | Stage::Connected(_),
            )
            | None => None,
        };
        in_handshake.or(self.peer.role()) == Some(Role::Primary)
    }

    /// This node is about to be the source, in a handshake or on a finished one (`invalidate`); the
    /// result is the peer's current identifier.
    fn starts_as_source(&self) -> Option<u64> {
        match &self.peer.session.as_ref()?.stage {
            Stage::Starting { with, end: End::Source } => {
                Some(with.data.map_or(0, |data| data.generations.current))
            }
            Stage::Connected(_) if self.invalidation.begins == Some(End::Source) => {
                self.replica.attached().map(|disk| disk.superblock.generations.current)
            }
            Stage::Parameters
            | Stage::Settled { .. }
            | Stage::Data { .. }
            | Stage::Bitmaps { .. }
            | Stage::Starting { .. }
            | Stage::Settling { .. }
            | Stage::Connected(_) => None,
        }
    }

    /// The same as target.
    fn starts_as_target(&self) -> bool {
        match self.peer.session.as_ref().map(|session| &session.stage) {
            Some(Stage::Starting { end: End::Target, .. }) => true,
            Some(Stage::Connected(_)) => self.invalidation.begins == Some(End::Target),
            None
            | Some(
                Stage::Parameters
                | Stage::Settled { .. }
                | Stage::Data { .. }
                | Stage::Bitmaps { .. }
                | Stage::Starting { .. }
                | Stage::Settling { .. },
            ) => false,
        }
    }

    pub(super) fn source_ready(&mut self, link: LinkId) {
        if !self.is_session(link) {
            return;
        }
        let Some(disk) = self.replica.attached() else { return };
        let sync_generation = disk.superblock.generations.bitmap;
        self.send(Message::SyncStart { sync_generation });
    }

    /// The target: Inconsistent, and recognisable by the identifier of this resync, before the
    /// first byte comes (D9).
    pub(super) fn sync_start_received(&mut self, sync_generation: u64) {
        let Some(session) = &self.peer.session else { return };
        let link = session.link;
        if !self.starts_as_target() {
            self.drop_session("the start of a resync came out of turn");
            return;
        }
        self.hold.sync_generation = sync_generation;
        let freezes = self.breaks(Mutation::TargetHandlerFreezes);
        if std::mem::take(&mut self.hold.before) == BeforeTarget::Passed {
            self.become_target(link);
        } else if let Some(id) = self.run_handler(Handler::BeforeResyncTarget) {
            self.hold.before = BeforeTarget::Runs(id);
            if !freezes {
                self.session_waits_for_handler(link);
            }
        } else {
            self.become_target(link);
        }
    }

    /// The handler runs: the source's clients must not wait for it, so the two meet again when it
    /// has ended.
    fn session_waits_for_handler(&mut self, link: LinkId) {
        let why = self.busy(BEFORE_TARGET_RUNS);
        let text = why.text.clone();
        self.turn_away(link, why);
        self.session_ended(&text);
    }

    /// The `before-resync-target` handler has ended. Anything but success: no resync, and no
    /// connection until somebody has looked (drbd-facts 1.7).
    pub(super) fn before_target_done(&mut self, id: HandlerId, exit: Option<i32>) {
        if self.hold.before != BeforeTarget::Runs(id) {
            return;
        }
        if exit == Some(0) || self.breaks(Mutation::IgnoreBeforeTarget) {
            self.hold.before = BeforeTarget::Passed;
            self.dial_due();
            return;
        }
        self.hold.before = BeforeTarget::Due;
        let me = self.settings.my_name();
        let ended = exit.map_or_else(|| "did not end".into(), |code| format!("returned {code}"));
        let text = format!(
            "the before-resync-target handler of {me} {ended}, dropping connection; mend what it checks, \
             then run 'blkrep connect' on {me}"
        );
        self.notice(Level::Error, text.clone());
        if matches!(self.peer.intent, Intent::Connect) {
            self.stand_alone(RefusalMessage { code: RefusalCode::StandAlone, text });
        }
    }

    fn become_target(&mut self, link: LinkId) {
        let sync_generation = self.hold.sync_generation;
        let old = self.replica.state();
        self.persist_superblock(
            |superblock| {
                superblock.generations.current = Self::without_primary_bit(sync_generation);
                // What the own bitmap counted against is given up with the data.
                superblock.generations.bitmap = 0;
                superblock.flags.bitmap_covers_history = false;
                superblock.flags.consistent = false;
                superblock.flags.was_up_to_date = false;
                superblock.flags.connected = true;
                superblock.flags.peer_may_hold_current = false;
                superblock.flags.peer_outdated = false;
            },
            Some(Then::TargetReady(link)),
        );
        let new = self.replica.state();
        self.disk_changed(old, new, "a resync begins");
        if self.breaks(Mutation::TargetNotDurable) {
            self.target_ready(link);
        }
    }

    pub(super) fn target_ready(&mut self, link: LinkId) {
        if !self.is_session(link) {
            return;
        }
        let again = self.peer.is_connected();
        let old = self.replication();
        self.send(Message::SyncStarted);
        // Used: what was given up is durably the peer's to overwrite.
        self.peer.discard_my_data &= self.breaks(Mutation::DiscardStays);
        self.sync_target_begin();
        self.invalidation_began();
        self.finish_handshake("a resync begins");
        if again {
            self.replication_changed(old, "a resync begins");
        }
        self.sync_pump();
    }

    pub(super) fn sync_started_received(&mut self) {
        if self.starts_as_source().is_none() {
            self.drop_session("the confirmation of a resync came out of turn");
            return;
        }
        // Clients of a Primary that is the target see this node's generation (G7).
        let serves = self.target_is_primary() && !self.breaks(Mutation::ServedGenerationForgotten);
        self.persist_superblock(|superblock| superblock.flags.peer_may_hold_current = serves, None);
        let again = self.peer.is_connected();
        let old = self.replication();
        self.sync_source_begin();
        self.invalidation_began();
        self.finish_handshake("a resync begins");
        if again {
            self.replication_changed(old, "a resync begins");
        }
    }
}
