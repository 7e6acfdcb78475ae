//! What a change of role means for a later restart of the daemon.

/// What becomes of the resume mark (G4), and with it of what an old device of the kernel's still
/// holds (D16).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResumeMark {
    /// A promotion: the mark is a new one, and a device of an earlier one must not be used again.
    New,
    /// A resume: the mark that is there holds, and so does the device.
    Kept,
    /// There is to be none.
    Void,
}
