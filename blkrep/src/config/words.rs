//! The words of the policies: what stands in the file for each value, DRBD's spelling.

use replicator::ids::NodeIndex;
use replicator::settings::{
    AfterSb0Pri, AfterSb1Pri, AfterSb2Pri, ChecksumUse, Fencing, OnIoError, OnNoData, RrConflict,
};

/// `[disk] on-io-error`.
pub(super) const ON_IO_ERROR: [(&str, OnIoError); 3] = [
    ("detach", OnIoError::Detach),
    ("pass_on", OnIoError::PassOn),
    ("call-local-io-error", OnIoError::CallLocalIoError),
];
/// `[disk] fencing`.
pub(super) const FENCING: [(&str, Fencing); 3] = [
    ("dont-care", Fencing::DontCare),
    ("resource-only", Fencing::ResourceOnly),
    ("resource-and-stonith", Fencing::ResourceAndStonith),
];
/// `[disk] on-no-data-accessible`.
pub(super) const ON_NO_DATA: [(&str, OnNoData); 2] =
    [("io-error", OnNoData::IoError), ("suspend-io", OnNoData::SuspendIo)];
/// `[sync] checksums`.
pub(super) const CHECKSUMS: [(&str, ChecksumUse); 3] = [
    ("after-crash", ChecksumUse::AfterCrash),
    ("always", ChecksumUse::Always),
    ("never", ChecksumUse::Never),
];
/// `[net] after-sb-1pri`.
pub(super) const AFTER_SB_1PRI: [(&str, AfterSb1Pri); 5] = [
    ("disconnect", AfterSb1Pri::Disconnect),
    ("consensus", AfterSb1Pri::Consensus),
    ("violently-as0p", AfterSb1Pri::ViolentlyAs0p),
    ("discard-secondary", AfterSb1Pri::DiscardSecondary),
    ("call-pri-lost-after-sb", AfterSb1Pri::CallPriLostAfterSb),
];
/// `[net] after-sb-2pri`.
pub(super) const AFTER_SB_2PRI: [(&str, AfterSb2Pri); 3] = [
    ("disconnect", AfterSb2Pri::Disconnect),
    ("violently-as0p", AfterSb2Pri::ViolentlyAs0p),
    ("call-pri-lost-after-sb", AfterSb2Pri::CallPriLostAfterSb),
];
/// `[net] rr-conflict`.
pub(super) const RR_CONFLICT: [(&str, RrConflict); 4] = [
    ("disconnect", RrConflict::Disconnect),
    ("retry-connect", RrConflict::RetryConnect),
    ("call-pri-lost", RrConflict::CallPriLost),
    ("violently", RrConflict::Violently),
];

/// `[net] after-sb-0pri`, for two nodes of these names: a node's name is part of two of the words.
pub(super) fn after_sb_0pri(node_names: [&str; 2]) -> Vec<(String, AfterSb0Pri)> {
    let [first, second] = node_names;
    [
        ("disconnect".to_owned(), AfterSb0Pri::Disconnect),
        ("discard-younger-primary".to_owned(), AfterSb0Pri::DiscardYoungerPrimary),
        ("discard-older-primary".to_owned(), AfterSb0Pri::DiscardOlderPrimary),
        ("discard-zero-changes".to_owned(), AfterSb0Pri::DiscardZeroChanges),
        ("discard-least-changes".to_owned(), AfterSb0Pri::DiscardLeastChanges),
        (format!("discard-node-{first}"), AfterSb0Pri::DiscardNode(NodeIndex::First)),
        (format!("discard-node-{second}"), AfterSb0Pri::DiscardNode(NodeIndex::Second)),
    ]
    .into()
}

/// The word for `value`.
pub(super) fn word<S: AsRef<str>, T: PartialEq>(words: &[(S, T)], value: &T) -> String {
    let (word, _) = words
        .iter()
        .find(|(_, known)| known == value)
        .expect("invariant: every value of a policy has a word");
    word.as_ref().to_owned()
}
