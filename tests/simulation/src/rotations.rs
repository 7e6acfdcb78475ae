//! How often generations begin: once for each divergence, never without need (G2).

use crate::world::World;
use metadata::generations::{Generations, JUST_CREATED, PRIMARY_BIT, same_generation};
use metadata::superblock::Superblock;
use replicator::message::Message;
use replicator::state::{ConnectionState, DiskState};

/// What the checker remembers of one host.
#[derive(Debug, Default)]
pub(crate) struct Rotations {
    /// The superblock as it was durable last.
    last: Option<Box<Superblock>>,
    /// The peer has been told what this node has since the last rotation.
    met: bool,
    /// An operator has forced a promotion since then.
    pub(crate) forced: bool,
    /// Generations that the peer has named: no new ones.
    named: Vec<u64>,
}

const fn is_blank(generation: u64) -> bool {
    matches!(generation & !PRIMARY_BIT, 0 | JUST_CREATED)
}

fn knows(generations: &Generations, wanted: u64) -> bool {
    let Generations { current, bitmap, history: [younger, older] } = *generations;
    [current, bitmap, younger, older].iter().any(|known| same_generation(*known, wanted))
}

impl World {
    /// A message leaves `host`: what it names is not new to the other one.
    pub(crate) fn rotations_hear(&mut self, host: usize, message: &Message) {
        if let Message::Data(_) = message {
            self.hosts[host].rotations.met = true;
        }
        let named =
            if let Message::TakeOver { current } | Message::NewGeneration { current } = message {
                *current
            } else if let Message::SyncStart { sync_generation } = message {
                *sync_generation
            } else if let Message::SyncGrant { generations } = message {
                generations.current
            } else {
                return;
            };
        self.hosts[1 - host].rotations.named.push(named);
    }

    /// A superblock may have become durable on `host`.
    pub(crate) fn judge_rotation(&mut self, host: usize) {
        let Ok(now) = self.hosts[host].metadata.superblock() else { return };
        let rotations = &mut self.hosts[host].rotations;
        let Some(last) = rotations.last.replace(Box::new(now.clone())) else { return };
        if last.instance_id != now.instance_id || now.sequence < last.sequence {
            // Another disk, or an older copy: whom that has met is not known.
            let last = rotations.last.take();
            *rotations = Rotations { last, met: true, ..Rotations::default() };
            return;
        }
        let (old, new) = (last.generations.current, now.generations.current);
        let peer = self.hosts[1 - host].metadata.superblock();
        let is_peers = peer.is_ok_and(|peer| knows(&peer.generations, new));
        let rotations = &mut self.hosts[host].rotations;
        let is_named = rotations.named.iter().any(|named| same_generation(*named, new));
        if same_generation(old, new) || knows(&last.generations, new) || is_peers || is_named {
            return;
        }
        self.coverage.count("rotation judged");
        let (met, forced) = (rotations.met || is_blank(old), rotations.forced);
        let (connection, peer_disk) = self.hosts[host].peer_said;
        let connected = connection == ConnectionState::Connected;
        let with_peer = connected && peer_disk >= DiskState::Inconsistent;
        // A grant that is under way may yet tell of the new one.
        let rotations = &mut self.hosts[host].rotations;
        (rotations.met, rotations.forced) = (connected, false);
        let marked = last.flags.peer_may_hold_current || is_blank(old);
        let why = if forced {
            return;
        } else if !marked {
            "the peer cannot hold the one before"
        } else if !met {
            "it has not met its peer since the last time"
        } else if with_peer {
            "its peer is connected and has a disk"
        } else {
            return;
        };
        self.fail(format!("node {host} began a generation without need: {why}"));
    }
}
