//! How many frames the peer can still take (rule D14): the sender stays inside, an acknowledgement
//! gives the place back.

use crate::settings::{PeerWindow, buffer_class};

/// What a frame costs the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameCost {
    /// A buffer of that class.
    Buffer(usize),
    /// No buffer.
    Bare,
}

impl FrameCost {
    /// Of a frame with a payload of so many bytes; 0: without.
    pub(crate) fn of(bytes: u32) -> Self {
        if bytes == 0 { Self::Bare } else { Self::Buffer(buffer_class(bytes)) }
    }
}

/// The places that are left at the peer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    left: PeerWindow,
}

impl Window {
    /// A fresh window, as the peer announced it on this connection.
    pub(crate) const fn new(announced: PeerWindow) -> Self {
        Self { left: announced }
    }

    /// Takes a place; false when there is none.
    pub(crate) fn take(&mut self, cost: FrameCost) -> bool {
        let left = self.place(cost);
        if *left == 0 {
            return false;
        }
        *left -= 1;
        true
    }

    /// Gives a place back.
    pub(crate) fn give(&mut self, cost: FrameCost) {
        *self.place(cost) += 1;
    }

    fn place(&mut self, cost: FrameCost) -> &mut u32 {
        match cost {
            FrameCost::Buffer(class) => &mut self.left.frames[class],
            FrameCost::Bare => &mut self.left.bare,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_class_refuses_until_a_place_comes_back() {
        let mut window = Window::new(PeerWindow { frames: [1, 0, 1], bare: 1 });
        assert!(window.take(FrameCost::of(4096)));
        assert!(!window.take(FrameCost::of(512)));
        assert!(!window.take(FrameCost::of(100_000)), "a class of its own");
        assert!(window.take(FrameCost::of(1 << 20)));
        assert!(window.take(FrameCost::of(0)));
        window.give(FrameCost::of(4096));
        assert!(window.take(FrameCost::of(16 << 10)));
    }
}
