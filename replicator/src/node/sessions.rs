//! Rule G8: each connection is a session with a number of its own, and each node remembers how far
//! the peer's numbers had come, so that a disk restored from an older copy is noticed.
//!
//! Own numbers are confirmed to the peer only when they are durable; what the peer confirmed
//! becomes the least that it must show at the next meeting: on stable storage at the start of the
//! session and with every superblock that is written anyway, in memory otherwise.

use super::Node;
use crate::event::Level;
use crate::generation::{Decision, End};
use crate::ids::IoId;
use crate::message::Message;
use crate::mutation::Mutation;
use metadata::superblock::{PeerMinimum, Sequences};

impl Node {
    /// A transaction of the log is on its way with that write.
    pub(super) fn log_will_be_durable(&mut self, io: IoId) {
        let agreed = self.peer.session.as_ref().and_then(|session| session.agreed);
        let meets = self.peer.is_connected() && agreed.is_some_and(|with| with.peer_instance != 0);
        let Some(disk) = self.replica.writable() else { return };
        let log = disk.sequences().log;
        if meets {
            disk.superblock.met.log = log;
        }
        // What the superblock says is on its way in the same queue, before this.
        let sequences = disk.sequences();
        self.persist.confirms.push_back((io, sequences));
    }

    /// A metadata write is durable, and the own numbers that it carried.
    pub(super) fn numbers_durable(&mut self, carried: Option<Sequences>) {
        if let Some(sequences) = carried {
            self.persist.confirmed = sequences;
            if self.peer.is_connected() {
                self.send_durable_numbers();
            }
        }
    }

    /// Tells the peer how far the own numbers are durable.
    pub(super) fn send_durable_numbers(&mut self) {
        if self.replica.attached().is_some() {
            let mut sequences = self.persist.confirmed;
            if self.breaks(Mutation::NumbersBeforeDurable)
                && let Some(disk) = self.replica.attached()
            {
                sequences = disk.sequences();
            }
            self.send(Message::Durable { sequences });
        }
    }

    /// The peer's numbers are durable there: it must not show less from now on.
    pub(super) fn peer_numbers_durable(&mut self, theirs: Sequences) {
        let agreed = self.peer.session.as_mut().and_then(|session| session.agreed.as_mut());
        let Some(agreed) = agreed.filter(|agreed| agreed.peer_instance != 0) else { return };
        let is_first = !std::mem::replace(&mut agreed.recorded, true);
        let instance_id = agreed.peer_instance;
        let Some(disk) = self.replica.writable() else { return };
        // Set, not raised: after a full sync the numbers of a restored replica count anew.
        disk.superblock.peer_minimum = PeerMinimum {
            instance_id,
            superblock_sequence: theirs.superblock,
            log_sequence: theirs.log,
        };
        if is_first {
            self.persist_superblock(|_| {}, None);
        }
    }

    pub(super) fn say_who_was_restored(&mut self, decision: &Decision) {
        let name = match decision.restored {
            Some(End::Target) => self.settings.my_name(),
            Some(End::Source) => self.settings.peer_name(),
            None => return,
        };
        let text = format!(
            "the disk of {name} was restored from an older copy: it shows less than it had confirmed; it is \
             never the source of a resync, and needs a full one"
        );
        self.notice(Level::Warning, text);
    }
}
