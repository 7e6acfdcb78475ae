//! Frames that are damaged on the wire: every one must be found by a checksum, end its link, and
//! reach the engine as nothing else (D11).

use crate::network::Parcel;
use crate::world::World;
use replicator::event::Input;
use replicator::ids::LinkId;
use replicator::wire::{HEADER_BYTES, Kind};

/// The part of a frame in which bits have flipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    /// The first 24 bytes.
    Head,
    /// What follows them.
    Body,
    /// The bytes of a write or of a resync.
    Payload,
}

impl Damage {
    /// How it is counted when it is found.
    const fn found(self) -> &'static str {
        match self {
            Self::Head => "damaged head",
            Self::Body => "damaged body",
            Self::Payload => "damaged payload",
        }
    }
}

impl World {
    /// One of the next frames on the wire will be damaged.
    pub(crate) fn damage_soon(&mut self) {
        self.damage_in = Some(self.random.below(12));
    }

    /// Flips bits of a parcel if it is its turn.
    pub(crate) fn damage(&mut self, parcel: &mut Parcel) {
        let (Some(left), Parcel::Frame { bytes, stamps, damage }) = (self.damage_in, parcel) else {
            return;
        };
        // Most of what is on the wire is small: those with a payload are worth waiting for.
        if left > 0 || stamps.is_none() && self.random.chance(60) {
            self.damage_in = Some(left.saturating_sub(1));
            return;
        }
        self.damage_in = None;
        let part = match (self.random.below(3), stamps.as_mut()) {
            (0, Some(stamps)) if !stamps.is_empty() => {
                // A burst of 32 bits at most: what a crc32c always finds.
                let at = self.random.below(stamps.len() as u64) as usize;
                let burst = 1 + self.random.below(u64::from(u32::MAX));
                stamps[at] ^= burst << self.random.below(33);
                Damage::Payload
            }
            (1, _) if bytes.len() > HEADER_BYTES => {
                self.flip(bytes, HEADER_BYTES);
                Damage::Body
            }
            (_, _) => {
                self.flip(&mut bytes[..HEADER_BYTES], 0);
                Damage::Head
            }
        };
        *damage = Some(part);
        self.trace(|| format!("a frame is damaged: {part:?}"));
    }

    /// Flips one to three bits of `bytes`, none of them before `first`, no bit twice.
    fn flip(&mut self, bytes: &mut [u8], first: usize) {
        let mut at = first as u64 * 8;
        let end = bytes.len() as u64 * 8;
        for _ in 0..self.random.between(1, 3) {
            if at >= end {
                return;
            }
            let bit = self.random.between(at, end - 1);
            bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
            at = bit + 1;
        }
    }

    /// What came was no frame: its reader gives the link up, as the event loop does.
    pub(crate) fn damage_was_found(
        &mut self,
        host: usize,
        link: LinkId,
        stream: usize,
        damage: Damage,
        reason: String,
    ) {
        self.coverage.count(damage.found());
        self.trace(|| format!("node {host} {link:?}: {reason}"));
        if self.network.abort(stream, host) {
            self.plan(0, crate::world::Happening::Transmit { stream, from: host });
        }
        self.feed(host, Input::LinkDown { link, reason });
    }

    /// A damaged frame that nobody noticed.
    pub(crate) fn damage_was_missed(&mut self, host: usize, kind: Kind, damage: Damage) {
        self.fail(format!("node {host} took a damaged {kind:?} for good: {damage:?}"));
    }
}
