//! Names of operations under way in the ring: who waits for it, and which use of that place.

/// Who waits for a completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The eventfd of the control room.
    Wake,
    /// A listening socket for the peer.
    PeerListener,
    /// A listening socket for NBD clients.
    ClientListener,
    /// The connect under way to the peer.
    Dial,
    /// Receiving from a link.
    LinkReceive,
    /// Sending on a link.
    LinkSend,
    /// Receiving from an NBD client.
    ClientReceive,
    /// Sending to an NBD client.
    ClientSend,
    /// An I/O on the data disk.
    Disk,
    /// A metadata write.
    Metadata,
}

const SOURCES: [Source; 10] = [
    Source::Wake,
    Source::PeerListener,
    Source::ClientListener,
    Source::Dial,
    Source::LinkReceive,
    Source::LinkSend,
    Source::ClientReceive,
    Source::ClientSend,
    Source::Disk,
    Source::Metadata,
];

/// The name of an operation. `use_number` tells the users of one place apart, so that a late
/// completion of an old socket is not taken for one of its successor (rule D15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    /// Who waits.
    pub(crate) source: Source,
    /// Index of the place.
    pub(crate) place: u16,
    /// Which use of the place.
    pub(crate) use_number: u32,
}

impl Token {
    /// As the ring carries it.
    pub(crate) fn pack(self) -> u64 {
        (self.source as u64) << 48 | u64::from(self.place) << 32 | u64::from(self.use_number)
    }

    /// From the ring.
    pub(crate) fn unpack(packed: u64) -> Self {
        Self {
            source: SOURCES[(packed >> 48) as usize],
            place: (packed >> 32 & 0xffff) as u16,
            use_number: (packed & 0xffff_ffff) as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_comes_back_as_it_was_packed() {
        for source in SOURCES {
            for (place, use_number) in [(0, 0), (u16::MAX, 7), (3, u32::MAX)] {
                let token = Token { source, place, use_number };
                assert_eq!(Token::unpack(token.pack()), token);
            }
        }
    }
}
