//! The first half of the handshake: who speaks, is it proved, do the parameters and sizes agree.

use super::Node;
use super::peer::{Candidate, Stage, Step, With};
use crate::authentication::{is_proof, proof};
use crate::event::{CloseHow, Level, LinkOrigin, Output};
use crate::ids::LinkId;
use crate::message::{Hello, Message, PROTOCOL_VERSION_MAX, PROTOCOL_VERSION_MIN};
use crate::message::{Parameters, RefusalCode, RefusalMessage};
use crate::mutation::Mutation;
use crate::settings::SplitBrainPolicies;
use crate::size::{KnownSize, settle};
use crate::split_brain::first_difference;

/// The one replication protocol there is: acknowledged when it is on both disks.
const PROTOCOL_C: u8 = b'C';

impl Node {
    pub(super) fn candidate_received(&mut self, index: usize, message: Message) {
        let candidate = self.peer.candidates.remove(index);
        match (&candidate.step, message) {
            (_, Message::Refuse(why)) => {
                self.wish(Output::CloseLink { link: candidate.link, how: CloseHow::Abort });
                self.refused_by_peer(&why, candidate.origin);
            }
            (Step::Hello, Message::Hello(theirs)) => self.greeted(candidate, theirs),
            (Step::Proof { their_hello }, Message::Proof(claimed)) => {
                let secret = self.settings.secret.as_deref().unwrap_or_default();
                let peer = their_hello.node;
                if is_proof(&claimed, secret, peer, their_hello, &candidate.my_hello) {
                    self.admit(&candidate);
                } else {
                    let text = format!(
                        "{} does not know the shared secret; compare the files named by \
                         'shared-secret-file' on both nodes",
                        their_hello.node_name
                    );
                    self.refuse_candidate(&candidate, RefusalCode::Authentication, text);
                }
            }
            (Step::Hello | Step::Proof { .. }, _) => {
                self.wish(Output::CloseLink { link: candidate.link, how: CloseHow::Abort });
                self.notice(Level::Warning, "a link that did not begin with a greeting was closed");
            }
        }
    }

    fn greeted(&mut self, candidate: Candidate, theirs: Hello) {
        if let Some((code, text)) = self.greeting_fault(&theirs) {
            self.refuse_candidate(&candidate, code, text);
            return;
        }
        if self.breaks(Mutation::DeadDialReplaces) {
            self.admit(&candidate);
            return;
        }
        // Without a secret it proves that the peer is at the other end now: a dial that it has
        // given up meanwhile must not replace the connection that the two have (D15).
        let secret = self.settings.secret.as_deref().unwrap_or_default();
        let mine = proof(secret, self.settings.me, &candidate.my_hello, &theirs);
        self.send_on(candidate.link, Message::Proof(mine));
        self.peer
            .candidates
            .push(Candidate { step: Step::Proof { their_hello: theirs }, ..candidate });
    }

    fn greeting_fault(&self, theirs: &Hello) -> Option<(RefusalCode, String)> {
        let me = self.settings.my_name();
        if theirs.version_max < PROTOCOL_VERSION_MIN || theirs.version_min > PROTOCOL_VERSION_MAX {
            return Some((
                RefusalCode::Version,
                format!(
                    "{} speaks protocol versions {}-{}, {me} speaks {PROTOCOL_VERSION_MIN}-\
                     {PROTOCOL_VERSION_MAX}; install the same release on both",
                    theirs.node_name, theirs.version_min, theirs.version_max
                ),
            ));
        }
        if theirs.resource != self.settings.resource {
            return Some((
                RefusalCode::Resource,
                format!(
                    "{} talks about resource '{}', {me} about '{}'; compare the addresses in both \
                     configurations",
                    theirs.node_name, theirs.resource, self.settings.resource
                ),
            ));
        }
        if theirs.node == self.settings.me || theirs.node_name != self.settings.peer_name() {
            return Some((
                RefusalCode::Node,
                format!(
                    "a node that calls itself '{}' ({}) answered where {me} expects '{}'; the \
                     configuration must be the same file on both nodes",
                    theirs.node_name,
                    theirs.node.number(),
                    self.settings.peer_name()
                ),
            ));
        }
        if theirs.secret != self.settings.secret.is_some() {
            let (with, without) =
                if theirs.secret { (&*theirs.node_name, me) } else { (me, &*theirs.node_name) };
            return Some((
                RefusalCode::Authentication,
                format!(
                    "{with} has a shared secret and {without} has none; set 'shared-secret-file' on both"
                ),
            ));
        }
        None
    }

    fn refuse_candidate(&mut self, candidate: &Candidate, code: RefusalCode, text: String) {
        let why = RefusalMessage { code, text };
        self.turn_away(candidate.link, why.clone());
        self.notice(Level::Error, why.text.clone());
        self.peer.refusal = Some(why.text.clone());
        // Anybody can dial us; whom we dialled ourselves is where the peer should be.
        if candidate.origin == LinkOrigin::Dialled {
            self.stand_alone(why);
        }
    }

    pub(super) fn send_parameters(&mut self) {
        let known = self.replica.attached();
        let parameters = Parameters {
            protocol: PROTOCOL_C,
            window: self.settings.window,
            capacity_bytes: known.map_or(0, |disk| disk.superblock.capacity_bytes),
            agreed_bytes: known.map_or(0, |disk| disk.superblock.device_bytes),
            proposed_bytes: known.map_or(0, |disk| disk.superblock.proposed_bytes),
            logical_block_bytes: known.map_or(0, |disk| disk.logical_block_bytes),
            zeroes_cheaply: known.is_some_and(|disk| disk.zeroes_cheaply),
            split_brain: self.settings.split_brain,
        };
        self.send(Message::Parameters(parameters));
    }

    pub(super) fn parameters_received(&mut self, theirs: Parameters) {
        if theirs.protocol != PROTOCOL_C {
            self.refuse_session(RefusalMessage {
                code: RefusalCode::Parameters,
                text: format!(
                    "{} wants replication protocol {:?}; only \"C\" exists here",
                    self.settings.peer_name(),
                    char::from(theirs.protocol)
                ),
            });
            return;
        }
        if let Some(why) = self.policies_differ(&theirs.split_brain) {
            self.refuse_session(why);
            return;
        }
        if let Err(why) = self.agree_on_size(&theirs) {
            self.refuse_session(why);
            return;
        }
        self.next_stage(Stage::Settled {
            with: With { parameters: theirs, data: None },
            theirs: None,
        });
        self.send_data_when_settled();
    }

    /// Both must judge a split brain alike (G3).
    fn policies_differ(&self, theirs: &SplitBrainPolicies) -> Option<RefusalMessage> {
        let names = &self.settings.node_names;
        if self.breaks(Mutation::DifferingPoliciesAccepted) {
            return None;
        }
        let (option, mine, peers) = first_difference(&self.settings.split_brain, theirs, names)?;
        Some(RefusalMessage {
            code: RefusalCode::Parameters,
            text: format!(
                "{option} is '{mine}' on {} and '{peers}' on {}; set the same on both nodes, restart \
                 both daemons, then run 'blkrep connect' on both",
                self.settings.my_name(),
                self.settings.peer_name()
            ),
        })
    }

    /// Differing sizes at the first connect agree on the smaller; a later smaller disk is refused.
    /// A resize that broke off is decided here (D20).
    fn agree_on_size(&mut self, theirs: &Parameters) -> Result<(), RefusalMessage> {
        let Some(disk) = self.replica.attached() else { return Ok(()) };
        let (mine, peer) = (self.settings.my_name(), self.settings.peer_name());
        let capacity = disk.superblock.capacity_bytes;
        let (ours, known) = (
            self.known_size(),
            KnownSize { agreed: theirs.agreed_bytes, proposed: theirs.proposed_bytes },
        );
        let refuse = |text: String| Err(RefusalMessage { code: RefusalCode::Size, text });
        let Some(settled) = settle(ours, known) else {
            return refuse(format!(
                "{mine} knows a device of {} bytes and {peer} one of {}; run 'blkrep create-md' on \
                 the node whose data are to be replaced",
                ours.agreed, known.agreed
            ));
        };
        for (name, has) in [(mine, capacity), (peer, theirs.capacity_bytes)] {
            if settled != 0 && has != 0 && has < settled {
                return refuse(format!(
                    "the disk of {name} has room for {has} bytes, but the device has {settled}; give it a \
                     larger disk"
                ));
            }
        }
        let blocks = disk.logical_block_bytes.max(theirs.logical_block_bytes);
        if self.role == crate::state::Role::Primary && blocks > disk.superblock.logical_block_bytes
        {
            return Err(RefusalMessage {
                code: RefusalCode::Parameters,
                text: format!(
                    "the disk of {peer} wants requests of {blocks} bytes, and clients of {mine} were \
                     promised {}; demote {mine} first",
                    disk.superblock.logical_block_bytes
                ),
            });
        }
        if theirs.capacity_bytes == 0 {
            return Ok(());
        }
        let size = if settled != 0 { settled } else { capacity.min(theirs.capacity_bytes) };
        self.take_size(size, blocks, known);
        Ok(())
    }

    pub(super) fn next_stage(&mut self, stage: Stage) {
        let deadline = self.now.after(self.handshake_timeout());
        if let Some(session) = &mut self.peer.session {
            session.stage = stage;
            session.stage_deadline = deadline;
        }
    }

    /// The link of the session, if it is still the one meant.
    pub(super) fn is_session(&self, link: LinkId) -> bool {
        self.peer.session.as_ref().is_some_and(|session| session.link == link)
    }
}
