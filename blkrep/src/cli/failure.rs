//! Why a verb failed, and the exit code that scripts know it by (drbd-facts 6.2).

use crate::config::ConfigError;
use crate::control::client::ControlError;
use crate::control::protocol::RefusalKind;
use crate::create_md::CreateMdError;
use crate::dataplane::resume_mark::MarkError;
use crate::demo::DemoError;
use crate::import::{ImportError, OutputError};
use crate::read_md::ReadMdError;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// A failed verb. Every text names the cause and the next step.
#[derive(Debug, Error)]
pub enum Failure {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No metadata were written.
    #[error(transparent)]
    CreateMd(#[from] CreateMdError),
    /// The metadata were not read.
    #[error(transparent)]
    ReadMd(#[from] ReadMdError),
    /// The metadata are being written.
    #[error("up: the metadata change while they are read; run 'blkrep down {resource}' first")]
    IsUp {
        /// The resource.
        resource: String,
    },
    /// The daemon has no metadata to tell of.
    #[error(
        "the daemon has no disk attached, look into its log; to read the disk itself, run \
         'blkrep down {resource}' first"
    )]
    Diskless {
        /// The resource.
        resource: String,
    },
    /// Another process starts, stops or serves the resource.
    #[error(transparent)]
    Mark(#[from] MarkError),
    /// The daemon gave no answer.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The daemon refused.
    #[error("{text}")]
    Refused {
        /// Decides the exit code.
        kind: RefusalKind,
        /// Its own words.
        text: String,
    },
    /// A wait took too long.
    #[error(
        "waited {limit} for {goal}, and it is still {state}; {next}, or wait longer with --timeout"
    )]
    WaitTimedOut {
        /// What was waited for.
        goal: String,
        /// How long, and which option says so.
        limit: String,
        /// Where it stands now.
        state: String,
        /// What to do.
        next: String,
    },
    /// A verify found differences, and they are not repaired.
    #[error("{text}")]
    Differences {
        /// How many, and the next step.
        text: String,
    },
    /// A verify did not come to its end.
    #[error(
        "the verify was broken off: {why}; 'blkrep verify --start {next_sector}' goes on where it was"
    )]
    VerifyBrokenOff {
        /// In the daemon's words.
        why: String,
        /// First sector that was not compared.
        next_sector: u64,
    },
    /// Waiting is of no use: this node does not try to connect.
    #[error("StandAlone: {reason}")]
    StandAlone {
        /// Why, and the next step.
        reason: String,
    },
    /// The daemon did not start, or ended with an error.
    #[error("{text}")]
    Daemon {
        /// Its last words.
        text: String,
    },
    /// The daemon said that it ends and is still there.
    #[error("the daemon has not ended after {waited_s} s; is a disk hanging? Look into its log")]
    DaemonStays {
        /// How long it was waited, in seconds.
        waited_s: u64,
    },
    /// A file or process operation of the command line itself failed.
    #[error("cannot {what} {path}: {source}; check that you may do that")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The demo failed.
    #[error(transparent)]
    Demo(#[from] DemoError),
    /// A drbd.conf is not converted.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// What it became is not written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

impl Failure {
    /// The exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Import(_) => 10,
            Self::Output(error) => match error {
                OutputError::Exists { file: _ } => 11,
                OutputError::Io { file: _, source: _ } => 20,
            },
            Self::CreateMd(error) => match error {
                CreateMdError::Missing { path: _ }
                | CreateMdError::WrongType { path: _ }
                | CreateMdError::Layout { path: _, source: _ } => 10,
                CreateMdError::InUse { path: _ }
                | CreateMdError::Foreign { path: _, what: _, consequence: _ } => 11,
                CreateMdError::Io { what: _, path: _, source: _ } => 20,
            },
            Self::ReadMd(error) => match error {
                ReadMdError::Missing { path: _ }
                | ReadMdError::WrongType { path: _ }
                | ReadMdError::NoMetadata { path: _, cause: _, resource: _ }
                | ReadMdError::Foreign { path: _, found: _, expected: _ }
                | ReadMdError::Layout { path: _, cause: _ } => 10,
                ReadMdError::Locked { path: _, holder: _ } => 11,
                ReadMdError::Io { what: _, path: _, source: _ } => 20,
            },
            Self::Mark(error) => match error {
                MarkError::Locked { path: _, holder: _ } => 11,
                MarkError::Open { path: _, source: _ } => 20,
            },
            Self::Control(error) => match error {
                ControlError::NotUp { resource: _ } => 10,
                ControlError::Unreachable { socket: _, source: _ }
                | ControlError::NoAnswer { source: _ }
                | ControlError::Nonsense { reason: _ } => 20,
            },
            Self::Refused { kind, text: _ } => match kind {
                RefusalKind::State => 11,
                RefusalKind::NoGoodData => 17,
                RefusalKind::Configuration => 10,
                RefusalKind::LowerThanOutdated => 5,
                RefusalKind::NoDisk => 16,
                RefusalKind::NoAnswer | RefusalKind::KernelDevice => 20,
            },
            Self::WaitTimedOut { goal: _, limit: _, state: _, next: _ } => 5,
            Self::Differences { text: _ } => 1,
            Self::StandAlone { reason: _ }
            | Self::VerifyBrokenOff { why: _, next_sector: _ }
            | Self::IsUp { resource: _ }
            | Self::Diskless { resource: _ } => 11,
            Self::Daemon { text: _ }
            | Self::DaemonStays { waited_s: _ }
            | Self::Io { what: _, path: _, source: _ }
            | Self::Demo(_) => 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::disk_lock::LockHolder;

    #[test]
    fn refusals_of_the_daemon_have_the_exit_codes_of_drbd() {
        for (kind, code) in [
            (RefusalKind::State, 11),
            (RefusalKind::NoGoodData, 17),
            (RefusalKind::Configuration, 10),
            (RefusalKind::LowerThanOutdated, 5),
            (RefusalKind::NoDisk, 16),
            (RefusalKind::NoAnswer, 20),
            (RefusalKind::KernelDevice, 20),
        ] {
            assert_eq!(Failure::Refused { kind, text: String::new() }.exit_code(), code);
        }
    }

    #[test]
    fn a_resource_that_is_not_up_is_a_matter_of_configuration() {
        let failure = Failure::from(ControlError::NotUp { resource: "r0".to_owned() });
        assert_eq!(failure.exit_code(), 10);
        assert_eq!(failure.to_string(), "not up; start it with 'blkrep up r0'");
    }

    #[test]
    fn a_disk_in_use_is_refused_by_state_and_a_missing_one_by_configuration() {
        let path = PathBuf::from("/dev/sdb");
        let in_use = CreateMdError::InUse { path: path.clone() };
        assert_eq!(Failure::from(in_use).exit_code(), 11);
        assert_eq!(Failure::from(CreateMdError::Missing { path }).exit_code(), 10);
    }

    #[test]
    fn metadata_that_cannot_be_read_are_told_apart_from_those_that_may_not() {
        let path = || PathBuf::from("/dev/sdb");
        let resource = || "r0".to_owned();
        let cause = String::new();
        let none = ReadMdError::NoMetadata { path: path(), cause, resource: resource() };
        assert_eq!(Failure::from(none).exit_code(), 10);
        let locked = ReadMdError::Locked { path: path(), holder: LockHolder::Unknown };
        assert_eq!(Failure::from(locked).exit_code(), 11);
        let source = io::Error::from(io::ErrorKind::UnexpectedEof);
        let unreadable = ReadMdError::Io { what: "read", path: path(), source };
        assert_eq!(Failure::from(unreadable).exit_code(), 20);
        assert_eq!(Failure::IsUp { resource: resource() }.exit_code(), 11);
        assert_eq!(Failure::Diskless { resource: resource() }.exit_code(), 11);
    }
}
