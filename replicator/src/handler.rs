//! The administrator's programs that the engine may ask for (drbd-facts 5.4).

/// A program that the administrator has configured for an occasion (drbd-facts 5.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Handler {
    /// Makes sure that the peer does not go on alone; its exit code says how (drbd-facts 2.7).
    FencePeer,
    /// Takes that back.
    UnfencePeer,
    /// A split brain is not resolved.
    SplitBrain,
    /// A split brain was found, resolved or not.
    InitialSplitBrain,
    /// This Primary shall become the target of a resync.
    PriLost,
    /// The same, after a split brain.
    PriLostAfterSb,
    /// This node was to become Primary alone on data that are not good.
    PriOnInconDegr,
    /// The local disk failed.
    LocalIoError,
    /// This node is about to become the target of a resync; a failure forbids it.
    BeforeResyncTarget,
    /// This node was the target of a resync that is complete.
    AfterResyncTarget,
    /// A verify found differences.
    OutOfSync,
}

impl Handler {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::FencePeer,
        Self::UnfencePeer,
        Self::SplitBrain,
        Self::InitialSplitBrain,
        Self::PriLost,
        Self::PriLostAfterSb,
        Self::PriOnInconDegr,
        Self::LocalIoError,
        Self::BeforeResyncTarget,
        Self::AfterResyncTarget,
        Self::OutOfSync,
    ];

    /// Its name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FencePeer => "fence-peer",
            Self::UnfencePeer => "unfence-peer",
            Self::SplitBrain => "split-brain",
            Self::InitialSplitBrain => "initial-split-brain",
            Self::PriLost => "pri-lost",
            Self::PriLostAfterSb => "pri-lost-after-sb",
            Self::PriOnInconDegr => "pri-on-incon-degr",
            Self::LocalIoError => "local-io-error",
            Self::BeforeResyncTarget => "before-resync-target",
            Self::AfterResyncTarget => "after-resync-target",
            Self::OutOfSync => "out-of-sync",
        }
    }
}
