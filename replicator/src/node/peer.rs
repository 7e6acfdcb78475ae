//! What is known of the peer and of the links to it.

use crate::event::{LinkOrigin, Payload};
use crate::generation::{Decision, End};
use crate::ids::{LinkId, Moment, NodeIndex};
use crate::message::{DataStatement, Hello, Message, PROTOCOL_VERSION_MIN, Parameters};
use crate::message::{RefusalCode, RefusalMessage};
use crate::state::{ConnectionState, DiskState, ReplicationState, Role};
use crate::window::Window;

/// Links that have not proved anything yet; more are turned away.
pub(super) const CANDIDATES_MAX: usize = 8;

/// Everything about the peer.
#[derive(Debug, Default)]
pub(super) struct Peer {
    pub(super) intent: Intent,
    /// Links before authentication.
    pub(super) candidates: Vec<Candidate>,
    /// The one link that has been admitted.
    pub(super) session: Option<Session>,
    /// A dial is under way.
    pub(super) dialling: bool,
    /// `connect --discard-my-data` waits for its use (G3).
    pub(super) discard_my_data: bool,
    /// A split brain was detected and is not resolved: a peer that still says so is no news.
    pub(super) split_brain: bool,
    /// This Primary yields in a split brain and is being demoted; until then it states nothing.
    pub(super) yields: bool,
    /// What is known of its disk while it is out of sight: never better than Outdated.
    pub(super) known_disk: Option<DiskState>,
    /// Why the last attempt was refused, in words for status.
    pub(super) refusal: Option<String>,
}

/// What this node wants.
#[derive(Debug, Default)]
pub(super) enum Intent {
    /// Not yet: the disk is being attached.
    #[default]
    Waiting,
    /// To be connected.
    Connect,
    /// To be left alone; whoever dials is told this.
    StandAlone(RefusalMessage),
}

/// A link that may or may not be the peer.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) link: LinkId,
    pub(super) origin: LinkOrigin,
    pub(super) opened: Moment,
    /// What was sent on it.
    pub(super) my_hello: Hello,
    /// It belongs to the same attempt as the session: one of two dials that crossed.
    pub(super) rival: bool,
    pub(super) step: Step,
}

impl Candidate {
    /// The newest version of the protocol that both ends speak.
    pub(super) fn version(&self) -> u16 {
        match &self.step {
            Step::Hello => PROTOCOL_VERSION_MIN,
            Step::Proof { their_hello } => their_hello.version_max.min(self.my_hello.version_max),
        }
    }
}

/// How far a candidate is.
#[derive(Debug)]
pub(super) enum Step {
    /// Waits for the peer's `Hello`.
    Hello,
    /// Waits for its proof.
    Proof { their_hello: Hello },
}

/// The admitted link.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) link: LinkId,
    pub(super) origin: LinkOrigin,
    pub(super) stage: Stage,
    pub(super) heard: Moment,
    pub(super) ping_sent: Option<Moment>,
    pub(super) pings: u64,
    /// The handshake's next step is due by then.
    pub(super) stage_deadline: Moment,
    /// Its handshake has ended well once: writes were mirrored.
    pub(super) was_up: bool,
    /// Past the verdict: what both agreed on (G8).
    pub(super) agreed: Option<Agreed>,
    /// The newest version of the protocol that both speak.
    pub(super) version: u16,
}

/// What G8 keeps of a handshake.
#[derive(Debug, Clone, Copy)]
pub(super) struct Agreed {
    pub(super) session: metadata::superblock::Session,
    /// The peer's instance; 0 without a disk.
    pub(super) peer_instance: u64,
    /// The peer's first confirmation of its numbers is recorded durably.
    pub(super) recorded: bool,
}

/// How far the session is. What a stage has learnt is in it; nothing else may be asked for.
#[derive(Debug)]
pub(super) enum Stage {
    /// Own `Parameters` are sent.
    Parameters,
    /// The parameters agree; own `Data` wait for a generation that is on its way to the disk. The
    /// peer's may come first.
    Settled { with: With, theirs: Option<DataStatement> },
    /// Own `Data` are sent and frozen (G1).
    Data { with: With, mine: DataStatement },
    /// Bitmaps are being exchanged.
    Bitmaps { with: With, plan: Plan },
    /// The source's identifier is on its way to both disks.
    Starting { with: With, end: End },
    /// The outcome is being made durable; nothing is copied.
    Settling { with: With, early: Early },
    /// The handshake is over.
    Connected(Connected),
}

/// What the peer sent after its own handshake was over and before ours is. At most what its windows
/// allow.
pub(super) type Early = Vec<(Message, Option<Payload>)>;

/// What was learnt before the data were looked at.
#[derive(Debug, Clone)]
pub(super) struct With {
    pub(super) parameters: Parameters,
    pub(super) data: Option<DataStatement>,
}

/// What follows the exchange of bitmaps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) decision: Decision,
    /// None: only unite them.
    pub(super) end: Option<End>,
}

/// A finished handshake.
#[derive(Debug)]
pub(super) struct Connected {
    /// What was learnt in it.
    pub(super) with: With,
    pub(super) window: Window,
    pub(super) role: Role,
    pub(super) disk: DiskState,
    pub(super) zeroes_cheaply: bool,
    /// The generation of its data at the handshake.
    pub(super) current: u64,
    /// The device's size and its smallest request, in bytes, for a Primary without a disk.
    pub(super) size_bytes: u64,
    pub(super) logical_block_bytes: u32,
    /// It asked to become Primary and was given consent; until it says that it is.
    pub(super) promoting: bool,
    /// Its replica was just created when the handshake ended.
    pub(super) just_created: bool,
}

impl Peer {
    pub(super) fn connected(&self) -> Option<&Connected> {
        let Stage::Connected(connected) = &self.session.as_ref()?.stage else { return None };
        Some(connected)
    }

    pub(super) fn connected_mut(&mut self) -> Option<&mut Connected> {
        let Stage::Connected(connected) = &mut self.session.as_mut()?.stage else { return None };
        Some(connected)
    }

    /// Where messages wait while the own end of the handshake is not durable yet.
    pub(super) fn early_mut(&mut self) -> Option<&mut Early> {
        let Stage::Settling { early, .. } = &mut self.session.as_mut()?.stage else { return None };
        Some(early)
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connected().is_some()
    }

    /// True when the peer's disk takes writes: it is connected and has one.
    pub(super) fn has_disk(&self) -> bool {
        self.connected().is_some_and(|connected| connected.disk >= DiskState::Inconsistent)
    }

    /// A handshake is between its first step and its end.
    pub(super) fn in_handshake(&self) -> bool {
        self.session.is_some() && !self.is_connected()
    }

    /// True from the moment the own data statement is settled to be sent until the outcome is
    /// durable: what would need a rotation waits (G1), and what is written is mirrored afterwards
    /// (D17).
    pub(super) fn is_frozen(&self) -> bool {
        match self.session.as_ref().map(|session| &session.stage) {
            None | Some(Stage::Parameters | Stage::Settled { .. } | Stage::Connected(_)) => false,
            Some(
                Stage::Data { .. }
                | Stage::Bitmaps { .. }
                | Stage::Starting { .. }
                | Stage::Settling { .. },
            ) => true,
        }
    }

    pub(super) fn connection_state(&self) -> ConnectionState {
        match (&self.intent, self.is_connected()) {
            (_, true) => ConnectionState::Connected,
            (Intent::StandAlone(_), false) => ConnectionState::StandAlone,
            (Intent::Waiting, false) => ConnectionState::Unconnected,
            (Intent::Connect, false) => ConnectionState::Connecting,
        }
    }

    /// StandAlone by a split brain, not by a command.
    pub(super) fn is_split_brain(&self) -> bool {
        matches!(&self.intent, Intent::StandAlone(why) if why.code == RefusalCode::SplitBrain)
            && !self.is_connected()
    }

    pub(super) fn role(&self) -> Option<Role> {
        self.connected().map(|connected| connected.role)
    }

    pub(super) fn disk(&self) -> DiskState {
        let unseen = self.known_disk.unwrap_or(DiskState::DUnknown);
        self.connected().map_or(unseen, |connected| connected.disk)
    }

    pub(super) fn handshake_replication(&self) -> ReplicationState {
        match self.session.as_ref().map(|session| &session.stage) {
            Some(
                Stage::Bitmaps { plan: Plan { end: Some(end), .. }, .. }
                | Stage::Starting { end, .. },
            ) => match end {
                End::Source => ReplicationState::WFBitMapS,
                End::Target => ReplicationState::WFBitMapT,
            },
            None
            | Some(
                Stage::Parameters
                | Stage::Settled { .. }
                | Stage::Data { .. }
                | Stage::Bitmaps { .. }
                | Stage::Settling { .. }
                | Stage::Connected(_),
            ) => ReplicationState::Off,
        }
    }
}

/// True when the first node in configured order dialled: the link that stays when two dials cross
/// (D15).
pub(super) fn dialled_by_first(me: NodeIndex, origin: LinkOrigin) -> bool {
    match (me, origin) {
        (NodeIndex::First, LinkOrigin::Dialled) | (NodeIndex::Second, LinkOrigin::Accepted) => true,
        (NodeIndex::First, LinkOrigin::Accepted) | (NodeIndex::Second, LinkOrigin::Dialled) => {
            false
        }
    }
}
