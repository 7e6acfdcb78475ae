//! How an action of the resource agent ends: OCF's exit codes, and the reason that goes with a
//! failure.

use std::fmt::Display;

/// An exit code of the OCF resource agent API 1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done; of a monitor: runs, Unpromoted.
    Success,
    /// Failed; Pacemaker recovers.
    Generic,
    /// A parameter makes no sense on this node: not tried here again.
    Arguments,
    /// No such action.
    Unimplemented,
    /// This user may not do that.
    Permission,
    /// Something is missing on this node: not tried here again.
    NotInstalled,
    /// The resource is configured wrongly: not tried anywhere.
    NotConfigured,
    /// Does not run, and has left nothing behind.
    NotRunning,
    /// Runs, Promoted.
    RunningPromoted,
    /// Was Promoted, and has failed.
    FailedPromoted,
}

impl Exit {
    /// The number.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Generic => 1,
            Self::Arguments => 2,
            Self::Unimplemented => 3,
            Self::Permission => 4,
            Self::NotInstalled => 5,
            Self::NotConfigured => 6,
            Self::NotRunning => 7,
            Self::RunningPromoted => 8,
            Self::FailedPromoted => 9,
        }
    }
}

/// An action that did not do what it was asked for, or found something wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// The exit code.
    pub(super) exit: Exit,
    /// Cause and next step.
    pub(super) reason: String,
}

impl Fault {
    /// A failure with its reason.
    pub(super) fn new(exit: Exit, reason: impl Into<String>) -> Self {
        Self { exit, reason: reason.into() }
    }
}

/// What an action comes to.
pub(super) type Outcome = Result<Exit, Fault>;

/// The line by which Pacemaker knows the reason: it is one line, and the last of them counts.
pub(super) fn reason_line(reason: &str) -> String {
    let words: Vec<&str> = reason.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    format!("ocf-exit-reason:{}", words.join(" | "))
}

/// Tells the cluster's log something that is no failure.
pub(super) fn note(text: impl Display) {
    eprintln!("blkrep: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line() {
        let line = reason_line("it did not start; from x.log:\n  one\n\n  two\n");
        assert_eq!(line, "ocf-exit-reason:it did not start; from x.log: | one | two");
    }
}
