//! Which startup timeout holds (G6): what the disk remembers of the end of the last run, and what
//! has been seen of the peer since.

use super::Node;
use crate::state::StartupWait;
use metadata::superblock::Flags;

impl Node {
    /// An attachment has `found` these flags.
    pub(super) const fn startup_found(&mut self, found: &Flags) {
        self.degraded = was_degraded(found);
    }

    /// The timeout for a wait that begins now. A peer that is known to be outdated comes first
    /// (drbd-facts 2.8): whatever was here before, there is nothing to be had from it.
    pub(super) fn startup_wait(&self) -> StartupWait {
        let outdated = self.replica.known().is_some_and(|disk| disk.superblock.flags.peer_outdated);
        if outdated && !self.peer.is_connected() {
            StartupWait::PeerOutdated
        } else if self.degraded {
            StartupWait::Degraded
        } else {
            StartupWait::Normal
        }
    }

    /// A session ends before its handshake is over, and perhaps after "connected" went to the disk:
    /// a Primary is still without its peer.
    pub(super) fn still_without_peer(&mut self) {
        let Some(disk) = self.replica.attached() else { return };
        let flags = disk.superblock.flags;
        if flags.primary && flags.connected {
            self.persist_superblock(|superblock| superblock.flags.connected = false, None);
        }
    }
}

/// Primary without its peer when it went down. A start that crashes too, before it met the peer,
/// has taken the mark of a Primary off; the mark of its crash stays until both are in sync. A
/// clean leave ends this: it was no Primary's.
const fn was_degraded(found: &Flags) -> bool {
    let went_down_as_primary = found.primary || (found.crashed_primary && !found.bitmap_clean);
    went_down_as_primary && !found.connected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn degraded_is_a_primary_without_its_peer_until_a_clean_leave() {
        let primary = Flags { primary: true, ..Flags::default() };
        let crashed = Flags { crashed_primary: true, ..Flags::default() };
        for (flags, expected) in [
            (Flags::default(), false),
            (primary, true),
            (Flags { connected: true, ..primary }, false),
            // The second start after the crash.
            (crashed, true),
            (Flags { connected: true, ..crashed }, false),
            (Flags { bitmap_clean: true, ..crashed }, false),
            // Promoted again after a clean leave.
            (Flags { bitmap_clean: true, primary: true, ..crashed }, true),
        ] {
            assert_eq!(was_degraded(&flags), expected, "{flags:?}");
        }
    }
}
