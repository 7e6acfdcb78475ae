//! The second half of the handshake: both say what data they have, and the verdict of G1 is carried
//! out.

use super::Node;
use super::peer::{Agreed, Connected, Plan, Stage, With};
use super::persist::Then;
use super::promote::RoleChange;
use super::split_brain::Conflict;
use super::sync_hold::BeforeTarget;
use crate::event::{Event, Level};
use crate::generation::{Amount, Decision, End, Verdict, decide, retire_bitmap};
use crate::ids::LinkId;
use crate::message::{DataStatement, Message, RefusalCode, RefusalMessage};
use crate::mutation::Mutation;
use crate::settings::SplitBrainPolicies;
use crate::state::{DiskState, Role};
use crate::window::Window;
use metadata::generations::PRIMARY_BIT;
use metadata::superblock::PeerMinimum;

impl Node {
    /// What this node says of its data now.
    fn data_statement(&mut self) -> DataStatement {
        let session_draw = self.entropy.generation();
        let says_crash = !self.breaks(Mutation::CrashMarksUnsaid);
        let says_instance = !self.breaks(Mutation::InstanceIgnored);
        let says_bits = !self.breaks(Mutation::BitsDroppedInSync)
            && !self.breaks(Mutation::UnconfirmedIsInSync);
        let says_cover = !self.breaks(Mutation::HistoryNotCovered);
        let shows_now = self.breaks(Mutation::NumbersRiseAlone);
        let disk = self.replica.attached();
        let superblock = disk.map(|disk| &disk.superblock);
        let flags = superblock.map(|superblock| superblock.flags).unwrap_or_default();
        DataStatement {
            generations: superblock
                .map_or_else(metadata::generations::Generations::just_created, |superblock| {
                    superblock.generations
                }),
            instance_id: superblock
                .map_or(0, |superblock| if says_instance { superblock.instance_id } else { 1 }),
            role: self.role,
            disk: self.replica.state().as_peer_sees_it(),
            crashed_primary: flags.crashed_primary && says_crash,
            lost_power: flags.lost_power,
            bitmap_covers_history: flags.bitmap_covers_history && says_cover,
            out_of_sync_blocks: if self.breaks(Mutation::BitsDoNotCount) || !says_bits {
                0
            } else {
                disk.map_or(0, |disk| disk.bitmap.count())
            },
            discard_my_data: self.peer.discard_my_data,
            session: superblock.map(|superblock| superblock.session).unwrap_or_default(),
            session_draw,
            met: disk
                .map(|disk| if shows_now { disk.sequences() } else { disk.superblock.met })
                .unwrap_or_default(),
            peer_minimum: superblock.map(|superblock| superblock.peer_minimum).unwrap_or_default(),
            accepted: self.accepted_generations(),
        }
    }

    /// Sends the own statement once no generation is on its way to the disk; from then on it is
    /// frozen (G1).
    pub(super) fn send_data_when_settled(&mut self) {
        // The mark of a promotion, too, is durable before the statement that tells of it; and a
        // Primary that yields is one no more.
        if self.generation_pending
            || self.peer.yields
            || self.by_hand_changes()
            || matches!(self.role_change, RoleChange::Marking { .. })
        {
            return;
        }
        let mine = self.data_statement();
        let Some(session) = &mut self.peer.session else { return };
        let Stage::Settled { with, theirs } = &mut session.stage else { return };
        let (with, theirs) = (with.clone(), theirs.take());
        session.stage = Stage::Data { with, mine };
        self.send(Message::Data(mine));
        if let Some(theirs) = theirs {
            self.data_received(theirs);
        }
    }

    pub(super) fn data_received(&mut self, statement: DataStatement) {
        let Some(session) = &mut self.peer.session else { return };
        match &mut session.stage {
            Stage::Settled { theirs, .. } => *theirs = Some(statement),
            Stage::Data { with, mine } => {
                let mine = *mine;
                let with = With { data: Some(statement), ..with.clone() };
                let decision = self.judge(mine, statement);
                self.carry_out(decision, with, &mine, &statement);
            }
            Stage::Parameters
            | Stage::Bitmaps { .. }
            | Stage::Starting { .. }
            | Stage::Settling { .. }
            | Stage::Connected(_) => self.drop_session("a data statement came out of turn"),
        }
    }

    fn judge(&self, mut mine: DataStatement, mut theirs: DataStatement) -> Decision {
        if self.breaks(Mutation::RestoredIsTrusted) {
            mine.peer_minimum = PeerMinimum::default();
            theirs.peer_minimum = PeerMinimum::default();
        }
        let none = SplitBrainPolicies::default();
        let ignored = self.breaks(Mutation::PoliciesIgnored);
        let policies = if ignored { &none } else { &self.settings.split_brain };
        let mut decision = decide(self.settings.me, policies, &mine, &theirs);
        self.misjudge(&mut decision, &mine, &theirs);
        if self.breaks(Mutation::UnionWithoutBase)
            && decision.split_brain.is_some()
            && let Verdict::Sync { amount, .. } = &mut decision.verdict
        {
            *amount = Amount::Bitmap;
        }
        decision
    }

    fn carry_out(
        &mut self,
        decision: Decision,
        with: With,
        mine: &DataStatement,
        theirs: &DataStatement,
    ) {
        self.notice(
            Level::Info,
            format!("handshake: {:?} by rule {}", decision.verdict, decision.rule),
        );
        self.say_who_was_restored(&decision);
        self.say_what_split_brain_came_to(&decision);
        if decision.demote_target {
            self.primary_yields(&decision);
            return;
        }
        let refusal = self
            .verdict_refusal(decision.verdict, mine, theirs)
            .or_else(|| self.far_data_refusal(mine, theirs));
        if let Some(why) = refusal {
            self.refuse_session(why);
            return;
        }
        match self.conflict(&decision, mine, theirs) {
            Conflict::None => {}
            Conflict::Refuse(why) => return self.refuse_session(why),
            Conflict::Retry => return self.retry_later(),
        }
        if let Some(session) = &mut self.peer.session {
            session.agreed = Some(Agreed {
                session: mine.agreed_session(theirs),
                // A disk that is attached later was not in this handshake.
                peer_instance: if mine.disk > DiskState::Diskless { theirs.instance_id } else { 0 },
                recorded: false,
            });
        }
        let demands_unconfirmed = self.breaks(Mutation::MinimumUnconfirmed);
        // A disk that is being attached meanwhile was not what the statement spoke of.
        if mine.disk > DiskState::Diskless
            && let Some(disk) = self.replica.writable()
        {
            disk.superblock.generations = decision.corrected;
            if demands_unconfirmed {
                disk.superblock.peer_minimum = PeerMinimum {
                    instance_id: theirs.instance_id,
                    superblock_sequence: theirs.met.superblock + 1,
                    log_sequence: theirs.met.log,
                };
            }
        }
        let end = decision.end();
        let both_have_disks = mine.disk > DiskState::Diskless && theirs.disk > DiskState::Diskless;
        let differ = mine.out_of_sync_blocks + theirs.out_of_sync_blocks > 0;
        if end.is_none() && !(both_have_disks && differ) {
            self.settle_in_sync(with, mine, theirs);
            return;
        }
        let plan = Plan { decision, end };
        self.begin_bitmaps(with, plan);
    }

    fn verdict_refusal(
        &self,
        verdict: Verdict,
        mine: &DataStatement,
        theirs: &DataStatement,
    ) -> Option<RefusalMessage> {
        let (me, peer) = (self.settings.my_name(), self.settings.peer_name());
        let refuse = |code: RefusalCode, text: String| Some(RefusalMessage { code, text });
        match verdict {
            Verdict::SplitBrain { .. } if mine.discard_my_data && theirs.discard_my_data => refuse(
                RefusalCode::SplitBrain,
                format!(
                    "Split-Brain detected but unresolved, dropping connection! Both nodes were told to discard \
                     their data; run 'blkrep connect --discard-my-data {0}' on one and 'blkrep connect {0}' on \
                     the other",
                    self.settings.resource
                ),
            ),
            Verdict::SplitBrain { .. } => refuse(
                RefusalCode::SplitBrain,
                format!(
                    "Split-Brain detected but unresolved, dropping connection! Choose the node whose changes are \
                     to be thrown away; there: 'blkrep secondary {0}', 'blkrep connect --discard-my-data {0}'; on \
                     the other: 'blkrep connect {0}'",
                    self.settings.resource
                ),
            ),
            Verdict::Unrelated => refuse(
                RefusalCode::Unrelated,
                format!(
                    "Unrelated data, aborting! {me} and {peer} were never replicas of each other; run \
                     'blkrep create-md --force' on the node whose data are to be replaced"
                ),
            ),
            Verdict::NoSync | Verdict::Sync { .. }
                if mine.role == Role::Primary && theirs.role == Role::Primary =>
            {
                Some(two_primaries())
            }
            Verdict::Sync { .. } | Verdict::NoSync => None,
            Verdict::NoGoodSource { end } => {
                let name = match end {
                    End::Source => me,
                    End::Target => peer,
                };
                refuse(
                    RefusalCode::Verdict,
                    format!(
                        "{name} shall become SyncSource, but it is Inconsistent! Its generation is the newer one; \
                         run 'blkrep primary --force' on the node whose data are to count"
                    ),
                )
            }
        }
    }

    /// Nothing differs: marks of the past are cleared, and from now on the peer may hold the
    /// current generation.
    fn settle_in_sync(&mut self, with: With, mine: &DataStatement, theirs: &DataStatement) {
        let whole = mine.disk > DiskState::Inconsistent && theirs.disk > DiskState::Inconsistent;
        let Some(link) = self.peer.session.as_ref().map(|session| session.link) else { return };
        self.next_stage(Stage::Settling { with, early: Vec::new() });
        let drops_bits = self.breaks(Mutation::BitsDroppedInSync);
        if let Some(disk) = self.replica.writable().filter(|_| drops_bits) {
            let blocks = disk.bitmap.blocks();
            disk.bitmap.clear(metadata::units::BlockRange { first: 0, count: blocks });
        }
        if self.replica.attached().is_none() {
            self.in_sync_durable(link);
            return;
        }
        let retires = !self.breaks(Mutation::BitmapIdentifierStays);
        self.persist_superblock(
            |superblock| {
                superblock.flags.connected = true;
                if whole && retires {
                    superblock.generations = retire_bitmap(superblock.generations);
                }
                if whole {
                    superblock.flags.bitmap_covers_history = false;
                    superblock.flags.crashed_primary = false;
                    superblock.flags.lost_power = false;
                    superblock.flags.peer_outdated = false;
                    superblock.flags.peer_may_hold_current = true;
                }
            },
            Some(Then::InSync(link)),
        );
    }

    pub(super) fn in_sync_durable(&mut self, link: LinkId) {
        if self.is_session(link) {
            self.finish_handshake("the handshake is over, nothing to copy");
        }
    }

    /// The handshake is over: writes are mirrored from here on.
    pub(super) fn finish_handshake(&mut self, reason: &str) {
        let old = self.peer.connection_state();
        let old_disk = self.peer.disk();
        let old_replication = self.replication();
        let early = self.peer.early_mut().map(std::mem::take).unwrap_or_default();
        let Some(session) = &mut self.peer.session else { return };
        let (with, disk) = match &session.stage {
            Stage::Starting { with, end: End::Source } => (with, Some(DiskState::Inconsistent)),
            Stage::Starting { with, end: End::Target } | Stage::Settling { with, .. } => {
                (with, None)
            }
            Stage::Parameters
            | Stage::Settled { .. }
            | Stage::Data { .. }
            | Stage::Bitmaps { .. }
            | Stage::Connected(_) => return,
        };
        let Some(data) = with.data else { return };
        session.was_up = true;
        if self.hold.before == BeforeTarget::Passed {
            // Another verdict than the one for which it ran.
            self.hold.before = BeforeTarget::Due;
        }
        session.stage = Stage::Connected(Connected {
            window: Window::new(with.parameters.window),
            with: with.clone(),
            role: data.role,
            disk: disk.unwrap_or(data.disk),
            zeroes_cheaply: with.parameters.zeroes_cheaply,
            current: data.generations.current,
            size_bytes: match with.parameters.agreed_bytes {
                0 => with.parameters.capacity_bytes,
                agreed => agreed,
            },
            logical_block_bytes: with.parameters.logical_block_bytes,
            promoting: false,
            just_created: data.generations.is_just_created(),
        });
        self.peer.refusal = None;
        self.peer.split_brain = false;
        self.connection_changed(old, reason);
        let new_disk = self.peer.disk();
        if old_disk != new_disk {
            self.tell(Event::PeerDisk { old: old_disk, new: new_disk, reason: reason.into() });
        }
        self.replication_changed(old_replication, reason);
        self.alive_start();
        self.send_state();
        self.sync_hold_connected();
        self.send_durable_numbers();
        self.peer_in_sight();
        self.doubt_is_over_early();
        for (message, payload) in early {
            self.session_received(message, payload);
        }
        self.hand_over();
        self.reconnect_over();
        self.role_change_with_peer();
        self.resume_with_peer();
        self.unfence_when_good();
        self.resume_parked();
    }

    /// The current identifier without its primary bit, as another node takes it over.
    pub(super) const fn without_primary_bit(current: u64) -> u64 {
        current & !PRIMARY_BIT
    }
}

/// Two Primaries have met.
pub(super) fn two_primaries() -> RefusalMessage {
    RefusalMessage {
        code: RefusalCode::TwoPrimaries,
        text: "both nodes are Primary; run 'blkrep secondary' on one of them, then 'blkrep connect' on both"
            .into(),
    }
}

/// True when the whole device is to be copied.
pub(super) const fn is_full(verdict: Verdict) -> bool {
    match verdict {
        Verdict::Sync { amount: Amount::Full, .. } => true,
        Verdict::Sync { amount: Amount::Bitmap, .. }
        | Verdict::NoSync
        | Verdict::SplitBrain { .. }
        | Verdict::Unrelated
        | Verdict::NoGoodSource { .. } => false,
    }
}
