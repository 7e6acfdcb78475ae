//! Online verify: both replicas are compared block by block while clients go on (DESIGN 5). This
//! file: who may ask for it, how the two agree to begin, and what both ends keep.
//!
//! One node leads, whoever was told: the arbiter of ranges (D6), who is the Primary, or of two
//! Secondaries the one that was told. It holds writes off a piece while both nodes read it, so a
//! write that comes meanwhile is neither reported nor missed.

use super::progress::Progress;
use super::promote::{RoleChange, state};
use super::verify_end::Closing;
use super::verify_follow::Follow;
use super::verify_lead::Lead;
use super::{Node, Sync, replica::Attached};
use crate::block_set::BlockSet;
use crate::event::{Level, Refusal, RefusalClass};
use crate::ids::{CommandId, Moment, NodeIndex};
use crate::message::{Message, PROTOCOL_VERSION_VERIFY};
use crate::mutation::Mutation;
use crate::state::{DiskState, ReplicationState, Role};
use crate::status::Verified;
use metadata::layout::SECTOR_BYTES;
use metadata::units::{BLOCK_BYTES, BlockRange, device_blocks};

/// What is to be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) blocks: BlockRange,
    /// Copy what differs from the Primary afterwards.
    pub(super) repair: bool,
}

/// Wanted, and the peer has not answered.
#[derive(Debug, Clone, Copy)]
enum Pending {
    /// The Primary is asked to lead.
    Asked(CommandId),
    /// The peer is told to follow; without a command it has asked for that itself.
    Offered(Option<CommandId>, Order),
}

/// What this node does in a verify.
#[derive(Debug)]
pub(super) enum Part {
    Lead(Box<Lead>),
    Follow(Follow),
}

/// The verify under way.
#[derive(Debug)]
pub(super) struct Running {
    /// Counts the verifies of this node.
    pub(super) run: u64,
    /// The operator's command was given here.
    pub(super) asked_here: bool,
    pub(super) order: Order,
    pub(super) part: Part,
    pub(super) progress: Progress,
    pub(super) compared_blocks: u64,
    /// Everything that was found; marked on this node, and told to the follower.
    pub(super) differing: BlockSet,
    pub(super) unreadable_blocks: u64,
    /// Over: what was found becomes durable.
    pub(super) closing: Option<Closing>,
}

/// Verifies of this node.
#[derive(Debug, Default)]
pub(super) struct Verify {
    pending: Option<Pending>,
    pub(super) running: Option<Running>,
    runs: u64,
    /// Numbers of requests are never used twice.
    pub(super) last_number: u64,
    /// The last one, and when it ended.
    pub(super) last: Option<(Verified, Moment)>,
}

impl Verify {
    /// No resync may begin.
    pub(super) const fn is_busy(&self) -> bool {
        self.pending.is_some() || self.running.is_some()
    }
}

impl Node {
    pub(super) fn verify(
        &mut self,
        command: CommandId,
        start_bytes: u64,
        stop_bytes: Option<u64>,
        repair: bool,
    ) {
        let order = match self.verify_order(start_bytes, stop_bytes, repair) {
            Ok(order) => order,
            Err(refusal) => return self.answer(command, Err(refusal)),
        };
        if self.peer.role() == Some(Role::Primary) {
            self.verify.pending = Some(Pending::Asked(command));
            self.send(Message::VerifyAsk { blocks: order.blocks, repair });
        } else {
            self.verify_offer(Some(command), order);
        }
    }

    fn verify_offer(&mut self, command: Option<CommandId>, order: Order) {
        self.verify.pending = Some(Pending::Offered(command, order));
        let Order { blocks, repair } = order;
        self.send(Message::VerifyBegin { blocks, repair, asked: command.is_none() });
    }

    fn verify_order(
        &self,
        start_bytes: u64,
        stop_bytes: Option<u64>,
        repair: bool,
    ) -> Result<Order, Refusal> {
        self.may_verify()?;
        let size_bytes = self.replica.attached().map_or(0, Attached::size_bytes);
        let stop = stop_bytes.unwrap_or(size_bytes).min(size_bytes);
        if start_bytes >= stop {
            let text = format!(
                "there is nothing between --start {} and --stop {}: the device has {} sectors of 512 bytes",
                start_bytes / SECTOR_BYTES,
                stop / SECTOR_BYTES,
                size_bytes / SECTOR_BYTES
            );
            return Err(Refusal { class: RefusalClass::Configuration, text });
        }
        if repair && self.role == Role::Secondary && self.peer.role() != Some(Role::Primary) {
            let text = "both nodes are Secondary, so nothing says which data are right; leave --repair out, and \
                        when the verify is over run 'blkrep repair --from local' on the node whose data count";
            return Err(state(text.into()));
        }
        let first = start_bytes / BLOCK_BYTES;
        let blocks = BlockRange { first, count: stop.div_ceil(BLOCK_BYTES) - first };
        Ok(Order { blocks, repair })
    }

    /// Two UpToDate disks that are connected, and nothing else under way.
    fn may_verify(&self) -> Result<(), Refusal> {
        self.speaks_verify()?;
        let (me, peer) = (self.settings.my_name(), self.settings.peer_name());
        if self.verify.is_busy() {
            return Err(state(
                "a verify is running already; 'blkrep status' shows how far it is".into(),
            ));
        }
        if !matches!(self.sync, Sync::Idle) || self.invalidation.is_busy() {
            return Err(state(
                "a resync is under way; wait for it with 'blkrep wait-sync' and try again".into(),
            ));
        }
        for (name, disk) in [(me, self.replica.state()), (peer, self.peer.disk())] {
            if disk != DiskState::UpToDate {
                return Err(state(format!(
                    "the disk of {name} is {disk}; a verify compares two UpToDate disks: run 'blkrep attach' \
                     where one is missing, and wait with 'blkrep wait-sync'"
                )));
            }
        }
        let under_way = if self.resize.changes_the_size() {
            "a resize is under way"
        } else if self.role_change != RoleChange::None {
            "a change of role is under way"
        } else if self.detaching.is_some() {
            "the disk is being detached"
        } else {
            return Ok(());
        };
        Err(state(format!("{under_way}; try again when it is over")))
    }

    /// The peer is connected and knows the messages of verify and repair.
    pub(super) fn speaks_verify(&self) -> Result<(), Refusal> {
        let peer = self.settings.peer_name();
        if !self.peer.is_connected() {
            return Err(state(format!(
                "{peer} is not connected; run 'blkrep connect' and wait with 'blkrep wait-connect'"
            )));
        }
        let version = self.peer.session.as_ref().map_or(0, |session| session.version);
        if version < PROTOCOL_VERSION_VERIFY {
            return Err(state(format!(
                "{peer} runs a release that knows no verify; install the same release there and restart it"
            )));
        }
        Ok(())
    }

    /// A Primary is asked to lead.
    pub(super) fn verify_ask_received(&mut self, blocks: BlockRange, repair: bool) {
        match self.may_verify() {
            Ok(()) if self.role == Role::Primary && self.has_blocks(blocks) => {
                self.verify_offer(None, Order { blocks, repair });
            }
            Ok(()) => {
                let text =
                    format!("{} is not Primary any more; try again", self.settings.my_name());
                self.send(Message::VerifyAnswer { refusal: Some(text) });
            }
            Err(refusal) => self.send(Message::VerifyAnswer { refusal: Some(refusal.text) }),
        }
    }

    fn has_blocks(&self, blocks: BlockRange) -> bool {
        let size_bytes = self.replica.attached().map_or(0, Attached::size_bytes);
        blocks.end() <= device_blocks(size_bytes)
    }

    /// The peer leads. Of two that want to lead at once the first node in configured order does.
    pub(super) fn verify_begin_received(&mut self, blocks: BlockRange, repair: bool, asked: bool) {
        let (mine, yields) = match self.verify.pending {
            Some(Pending::Asked(command)) => (Some(command), true),
            Some(Pending::Offered(..)) => (None, self.settings.me == NodeIndex::Second),
            None => (None, true),
        };
        let pending = if yields { self.verify.pending.take() } else { None };
        let result = match self.may_verify() {
            Ok(()) if self.role == Role::Primary => {
                Err(format!("{} is Primary; run 'blkrep verify' again", self.settings.my_name()))
            }
            Ok(()) if !self.has_blocks(blocks) => Err("the device is smaller than that".into()),
            Ok(()) => Ok(()),
            Err(refusal) => Err(refusal.text),
        };
        if mine.is_none() {
            // The own offer is on its way; the peer refuses it.
            self.verify.pending = self.verify.pending.take().or(pending);
        }
        if let Some(command) = mine {
            let answer = match &result {
                Ok(()) if asked => Ok(()),
                Ok(()) => Err(state("the peer began a verify at the same moment".into())),
                Err(text) => Err(state(text.clone())),
            };
            self.answer(command, answer);
        }
        match result {
            Ok(()) => {
                self.send(Message::VerifyAnswer { refusal: None });
                let part = Part::Follow(Follow::default());
                self.verify_starts(asked, Order { blocks, repair }, part);
            }
            Err(text) => self.send(Message::VerifyAnswer { refusal: Some(text) }),
        }
    }

    /// What the peer says to an offer or a question; or that its verify is not repaired.
    pub(super) fn verify_answer_received(&mut self, refusal: Option<String>) {
        match (self.verify.pending.take(), refusal) {
            (Some(Pending::Offered(command, order)), None) => {
                if let Some(command) = command {
                    self.answer(command, Ok(()));
                }
                let lead = Lead::new(order.blocks, self.verify_pace());
                self.verify_starts(command.is_some(), order, Part::Lead(Box::new(lead)));
                self.verify_watch();
                self.verify_pump();
            }
            (Some(Pending::Offered(Some(command), _) | Pending::Asked(command)), Some(text)) => {
                self.answer(command, Err(state(text)));
            }
            (Some(Pending::Offered(None, _)), Some(text)) => {
                self.send(Message::VerifyAnswer { refusal: Some(text) });
            }
            (None, Some(text)) => self.repair_not_begun(&text),
            (None | Some(Pending::Asked(_)), None) => {
                self.drop_session("the answer to a verify came out of turn");
            }
        }
    }

    fn verify_starts(&mut self, asked_here: bool, order: Order, part: Part) {
        let old = self.replication();
        let mut progress = Progress::begin(self.now, order.blocks.count);
        progress.hold(self.now, self.sync_is_held());
        self.verify.runs += 1;
        self.verify.running = Some(Running {
            run: self.verify.runs,
            asked_here,
            order,
            part,
            progress,
            compared_blocks: 0,
            differing: BlockSet::default(),
            unreadable_blocks: 0,
            closing: None,
        });
        let text = format!("Starting online verify from sector {}", order.blocks.first * 8);
        self.notice(Level::Info, text);
        self.replication_changed(old, "a verify begins");
    }

    /// Neither a resync nor a verify is under way: which of the two names it is.
    pub(super) const fn idle_replication(&self) -> ReplicationState {
        match &self.verify.running {
            None => ReplicationState::Established,
            Some(Running { asked_here: true, .. }) => ReplicationState::VerifyS,
            Some(Running { asked_here: false, .. }) => ReplicationState::VerifyT,
        }
    }

    /// These blocks differ: marked here, and on their way to stable storage (D7).
    pub(super) fn verify_marks(&mut self, blocks: BlockRange, unreadable: bool) {
        self.mark_out_of_sync(blocks);
        self.persist_uncovered(blocks);
        if let Some(running) = &mut self.verify.running {
            running.differing.insert(blocks);
            running.unreadable_blocks += if unreadable { blocks.count } else { 0 };
        }
    }

    /// The connection is over, and with it whatever was wanted.
    pub(super) fn verify_disconnected(&mut self) {
        let command = match self.verify.pending.take() {
            Some(Pending::Asked(command)) => Some(command),
            Some(Pending::Offered(command, _)) => command,
            None => None,
        };
        if let Some(command) = command {
            let peer = self.settings.peer_name();
            let text = format!("the connection to {peer} was lost; try again when it is back");
            self.answer(command, Err(state(text)));
        }
        self.verify_broken_off("the connection was lost");
        self.repair_interrupted();
    }

    /// The leader goes on only while both disks are UpToDate and nothing else begins. Both ends
    /// leave when there is nothing any more that marks could be written to.
    pub(super) fn verify_watch(&mut self) {
        let Some(running) = &self.verify.running else { return };
        let leads = matches!(running.part, Part::Lead(_));
        if running.closing.is_some() {
            if self.replica.attached().is_none() {
                self.verify_over();
            }
            return;
        }
        let (me, peer) = (self.settings.my_name(), self.settings.peer_name());
        let (mine, theirs) = (self.replica.state(), self.peer.disk());
        let promoted = self.peer.role() == Some(Role::Primary)
            || self.peer.connected().is_some_and(|connected| connected.promoting);
        let why = if self.replica.attached().is_none() || (leads && mine != DiskState::UpToDate) {
            format!("the disk of {me} is {mine}")
        } else if !leads {
            return;
        } else if theirs != DiskState::UpToDate {
            format!("the disk of {peer} is {theirs}")
        } else if self.detaching.is_some() {
            format!("the disk of {me} is being detached")
        } else if promoted && !self.breaks(Mutation::VerifyOutlivesArbiter) {
            format!("{peer} is being promoted")
        } else if !matches!(self.sync, Sync::Idle) {
            "a resync begins".into()
        } else {
            return;
        };
        self.verify_broken_off(&why);
    }
}
