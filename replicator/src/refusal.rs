//! Refusals of a connection: their kinds, and which of them pass by themselves.

/// Why a node refuses to connect. The text goes to log and status of both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusalMessage {
    /// The kind.
    pub code: RefusalCode,
    /// In words, as the refusing node sees it.
    pub text: String,
}

/// Kinds of refusals, and what each end does: see [`RefusalCode::is_passing`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalCode {
    /// I/O of an earlier connection is still under way, or another link won (D15): try again.
    Busy,
    /// This node is StandAlone by command: try again, it may come.
    StandAlone,
    /// No protocol version in common.
    Version,
    /// Another resource.
    Resource,
    /// Both claim to be the same node.
    Node,
    /// The proof is wrong, or one side has a secret and the other has none.
    Authentication,
    /// Parameters differ.
    Parameters,
    /// The peer's disk is smaller than what was agreed.
    Size,
    /// Both wrote independently.
    SplitBrain,
    /// The data have nothing in common.
    Unrelated,
    /// Both are Primary.
    TwoPrimaries,
    /// The verdict would overwrite a Primary.
    Verdict,
}

impl RefusalCode {
    /// True when trying again may help without an operator.
    #[must_use]
    pub const fn is_passing(self) -> bool {
        match self {
            Self::Busy | Self::StandAlone => true,
            Self::Version
            | Self::Resource
            | Self::Node
            | Self::Authentication
            | Self::Parameters
            | Self::Size
            | Self::SplitBrain
            | Self::Unrelated
            | Self::TwoPrimaries
            | Self::Verdict => false,
        }
    }
}
