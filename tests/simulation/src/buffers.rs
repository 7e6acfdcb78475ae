//! The buffers of one process: who owns each, and that every one given to the engine comes back
//! exactly once.

use crate::disk::SECTOR_BYTES;
use replicator::digest::{DIGEST_BYTES, Digest};
use replicator::ids::BufferId;
use std::collections::BTreeMap;

/// What a buffer was given to the engine for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// A client's write or read.
    Client,
    /// A payload of the peer.
    Received,
    /// Lent for reading as source of a resync.
    Sync,
}

/// The buffers that the engine has now, with the stamps in them.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    next: u32,
    owned: BTreeMap<BufferId, (Use, Vec<u64>)>,
}

impl Buffers {
    /// Gives a fresh buffer to the engine.
    pub(crate) fn give(&mut self, purpose: Use, stamps: Vec<u64>) -> BufferId {
        self.next += 1;
        let buffer = BufferId(self.next);
        self.owned.insert(buffer, (purpose, stamps));
        buffer
    }

    /// What is in a buffer; an error when the engine does not own it (any more).
    pub(crate) fn stamps(&self, buffer: BufferId) -> Result<&[u64], String> {
        match self.owned.get(&buffer) {
            Some((_, stamps)) => Ok(stamps),
            None => Err(format!("the engine used {buffer:?}, which it does not own")),
        }
    }

    /// Fills a buffer from a read.
    pub(crate) fn fill(&mut self, buffer: BufferId, read: Vec<u64>) -> Result<(), String> {
        match self.owned.get_mut(&buffer) {
            Some((_, stamps)) => {
                *stamps = read;
                Ok(())
            }
            None => Err(format!("the engine gave {buffer:?} away while a read into it ran")),
        }
    }

    /// Copies the beginning of one buffer into another one, both of the engine's.
    pub(crate) fn copy_into(
        &mut self,
        from: BufferId,
        to: BufferId,
        offset_bytes: u32,
        bytes: u32,
    ) -> Result<(), String> {
        let sectors = |bytes: u32| (u64::from(bytes) / SECTOR_BYTES) as usize;
        let stamps = self.stamps(from)?.get(..sectors(bytes)).ok_or("a copy of too much")?.to_vec();
        let Some((_, into)) = self.owned.get_mut(&to) else {
            return Err(format!("the engine copied into {to:?}, which it does not own"));
        };
        let end = sectors(offset_bytes) + stamps.len();
        if into.len() < end {
            into.resize(end, 0);
        }
        into[sectors(offset_bytes)..end].copy_from_slice(&stamps);
        Ok(())
    }

    /// The engine has no more use for it.
    pub(crate) fn release(&mut self, buffer: BufferId) -> Result<Use, String> {
        match self.owned.remove(&buffer) {
            Some((purpose, _)) => Ok(purpose),
            None => Err(format!("{buffer:?} was released twice, or never given")),
        }
    }

    /// Number of buffers that the engine has for a purpose.
    pub(crate) fn count(&self, purpose: Use) -> usize {
        self.owned.values().filter(|(held, _)| *held == purpose).count()
    }
}

/// The checksum that stands for the crc32c of the bytes: taken over the stamps (D11).
pub(crate) fn checksum(stamps: &[u64]) -> u32 {
    stamps.iter().fold(0, |sum, stamp| crc32c::crc32c_append(sum, &stamp.to_le_bytes()))
}

/// What stands for the strong digest of the bytes: no two contents that differ have the same by
/// accident.
pub(crate) fn digest(stamps: &[u64]) -> Digest {
    let mut lanes = [1_u64, 2, 3, 4];
    for stamp in stamps {
        for lane in &mut lanes {
            // The step of FNV-1a, mixed over the whole word.
            *lane = (*lane ^ stamp).wrapping_mul(0x0100_0000_01b3).rotate_left(29);
        }
    }
    let mut digest = [0; DIGEST_BYTES];
    for (place, lane) in digest.chunks_exact_mut(8).zip(lanes) {
        place.copy_from_slice(&lane.to_le_bytes());
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_exactly_once() {
        let mut buffers = Buffers::default();
        let buffer = buffers.give(Use::Client, vec![1]);
        assert_eq!(buffers.stamps(buffer), Ok(&[1_u64][..]));
        assert_eq!(buffers.release(buffer), Ok(Use::Client));
        assert!(buffers.release(buffer).is_err());
        assert!(buffers.stamps(buffer).is_err());
    }
}
