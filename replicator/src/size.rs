//! Which size two nodes agree on when they meet (rule D20): a pure function of what both know.

/// What one node knows of the device's size, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KnownSize {
    /// Agreed; 0: never.
    pub(crate) agreed: u64,
    /// Of a resize that may not be complete on the other node; 0: none. While it equals `agreed`
    /// this node has both steps of it, and nothing was written above the other node's size.
    pub(crate) proposed: u64,
}

impl KnownSize {
    /// It has both steps of a resize and does not know whether the other node has.
    pub(crate) const fn is_pending(self) -> bool {
        self.agreed != 0 && self.proposed == self.agreed
    }
}

/// The size on which both go on; 0: neither knows one. Of two sizes the larger counts when it was
/// used, which only a node with both steps can have done; then the other one has the first step and
/// takes the second now. Otherwise the smaller one counts. None: the two sizes have nothing to do
/// with each other.
pub(crate) const fn settle(one: KnownSize, other: KnownSize) -> Option<u64> {
    if one.agreed == 0 || other.agreed == 0 || one.agreed == other.agreed {
        return Some(if one.agreed == 0 { other.agreed } else { one.agreed });
    }
    let (small, large) = if one.agreed < other.agreed { (one, other) } else { (other, one) };
    if large.is_pending() {
        Some(small.agreed)
    } else if small.proposed == large.agreed {
        Some(large.agreed)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: u64 = 100;
    const NEW: u64 = 200;

    /// Every pair of states that a resize can leave behind, and what must come of it.
    #[test]
    fn r26_whatever_step_each_node_has_the_two_agree() {
        let without = KnownSize { agreed: OLD, proposed: 0 };
        let first_step = KnownSize { agreed: OLD, proposed: NEW };
        let both_steps = KnownSize { agreed: NEW, proposed: NEW };
        let used = KnownSize { agreed: NEW, proposed: 0 };
        for (one, other, size) in [
            (without, first_step, Some(OLD)),
            (first_step, first_step, Some(OLD)),
            (first_step, both_steps, Some(OLD)),
            (without, both_steps, Some(OLD)),
            (both_steps, both_steps, Some(NEW)),
            (both_steps, used, Some(NEW)),
            (first_step, used, Some(NEW)),
            (used, used, Some(NEW)),
            // Nobody uses a size whose first step the other node does not have.
            (without, used, None),
        ] {
            assert_eq!(settle(one, other), size, "{one:?} {other:?}");
            assert_eq!(settle(other, one), size, "{other:?} {one:?}");
        }
    }

    #[test]
    fn a_node_that_has_never_met_anybody_takes_the_size_of_the_other() {
        let fresh = KnownSize { agreed: 0, proposed: 0 };
        let used = KnownSize { agreed: NEW, proposed: 0 };
        assert_eq!(settle(fresh, used), Some(NEW));
        assert_eq!(settle(used, fresh), Some(NEW));
        assert_eq!(settle(fresh, fresh), Some(0));
    }
}
