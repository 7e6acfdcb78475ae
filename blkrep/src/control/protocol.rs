//! The lines of the control socket: a request, and its response.

use super::status_wire::StatusWire;
use replicator::event::{Answer, Command, Refusal, RefusalClass, RepairFrom};
use replicator::status::Status;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Longest request, in bytes, its newline included.
pub const REQUEST_BYTES_MAX: usize = 4096;
/// Longest response, in bytes, its newline included: a status is some 2 KiB.
pub const RESPONSE_BYTES_MAX: usize = 256 << 10;

/// Whose data a repair copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum RepairSide {
    /// Those of the node that is told
    Local,
    /// Those of its peer
    Peer,
}

/// A request: `{"command":"primary","force":true}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Connect to the peer, and keep trying.
    Connect {
        /// Give the own changes up, should it come to a split brain.
        #[serde(default)]
        discard_my_data: bool,
    },
    /// Close the connection and stay alone.
    Disconnect,
    /// Become Primary.
    Primary {
        /// Declare the local data good.
        #[serde(default)]
        force: bool,
    },
    /// Become Secondary.
    Secondary,
    /// Take the disk back that was detached or given up.
    Attach,
    /// Give the disk up in order.
    Detach {
        /// Also when it hangs, and also the last good copy of a Primary.
        #[serde(default)]
        force: bool,
    },
    /// The own data are bad: copy everything from the peer.
    Invalidate,
    /// The peer's data are bad: copy everything to it.
    InvalidateRemote,
    /// The own data are old: do not promote on them.
    Outdate,
    /// Hold the resync.
    PauseSync,
    /// Let it go on.
    ResumeSync,
    /// Hold all I/O of clients.
    SuspendIo,
    /// Let it go on.
    ResumeIo,
    /// Begin a new generation by hand.
    NewCurrentUuid {
        /// Both replicas are just created and known to be equal.
        #[serde(default)]
        clear_bitmap: bool,
    },
    /// The disks have grown: make the device larger on both nodes.
    Resize {
        /// The size wanted, in bytes; as large as both disks allow if not given.
        #[serde(default)]
        size_bytes: Option<u64>,
        /// Zero the new part instead of copying it.
        #[serde(default)]
        assume_clean: bool,
    },
    /// Compare both replicas, and mark what differs.
    Verify {
        /// First byte that is compared.
        #[serde(default)]
        start_bytes: u64,
        /// The comparison ends before this byte; at the end of the device if not given.
        #[serde(default)]
        stop_bytes: Option<u64>,
        /// Copy what differs from the Primary afterwards.
        #[serde(default)]
        repair: bool,
    },
    /// Copy the marked blocks.
    Repair {
        /// Whose data count; the Primary's if not given.
        #[serde(default)]
        from: Option<RepairSide>,
    },
    /// Leave: disconnect, detach cleanly, end the daemon.
    Down,
    /// Show the state.
    Status,
}

impl Request {
    /// The engine's command.
    #[must_use]
    pub const fn command(self) -> Command {
        match self {
            Self::Connect { discard_my_data } => Command::Connect { discard_my_data },
            Self::Disconnect => Command::Disconnect,
            Self::Primary { force } => Command::Primary { force },
            Self::Secondary => Command::Secondary,
            Self::Attach => Command::Attach,
            Self::Detach { force } => Command::Detach { force },
            Self::Invalidate => Command::Invalidate,
            Self::InvalidateRemote => Command::InvalidateRemote,
            Self::Outdate => Command::Outdate,
            Self::PauseSync => Command::PauseSync,
            Self::ResumeSync => Command::ResumeSync,
            Self::SuspendIo => Command::SuspendIo,
            Self::ResumeIo => Command::ResumeIo,
            Self::NewCurrentUuid { clear_bitmap } => Command::NewCurrentUuid { clear_bitmap },
            Self::Resize { size_bytes, assume_clean } => {
                Command::Resize { size_bytes, assume_clean }
            }
            Self::Verify { start_bytes, stop_bytes, repair } => {
                Command::Verify { start_bytes, stop_bytes, repair }
            }
            Self::Repair { from: None } => Command::Repair { from: None },
            Self::Repair { from: Some(RepairSide::Local) } => {
                Command::Repair { from: Some(RepairFrom::Local) }
            }
            Self::Repair { from: Some(RepairSide::Peer) } => {
                Command::Repair { from: Some(RepairFrom::Peer) }
            }
            Self::Down => Command::Down,
            Self::Status => Command::Status,
        }
    }

    /// The verb of the command line.
    #[must_use]
    pub const fn verb(self) -> &'static str {
        match self {
            Self::Connect { discard_my_data: _ } => "connect",
            Self::Disconnect => "disconnect",
            Self::Primary { force: _ } => "primary",
            Self::Secondary => "secondary",
            Self::Attach => "attach",
            Self::Detach { force: _ } => "detach",
            Self::Invalidate => "invalidate",
            Self::InvalidateRemote => "invalidate-remote",
            Self::Outdate => "outdate",
            Self::PauseSync => "pause-sync",
            Self::ResumeSync => "resume-sync",
            Self::SuspendIo => "suspend-io",
            Self::ResumeIo => "resume-io",
            Self::NewCurrentUuid { clear_bitmap: _ } => "new-current-uuid",
            Self::Resize { size_bytes: _, assume_clean: _ } => "resize",
            Self::Verify { start_bytes: _, stop_bytes: _, repair: _ } => "verify",
            Self::Repair { from: _ } => "repair",
            Self::Down => "down",
            Self::Status => "status",
        }
    }

    /// How long the data path may take to answer: most commands flush disks or ask the peer.
    #[must_use]
    pub const fn patience(self) -> Duration {
        match self {
            Self::Connect { discard_my_data: _ } | Self::Disconnect | Self::Status => {
                Duration::from_secs(5)
            }
            Self::Primary { force: _ }
            | Self::Secondary
            | Self::Attach
            | Self::Detach { force: _ }
            | Self::Invalidate
            | Self::InvalidateRemote
            | Self::Outdate
            | Self::PauseSync
            | Self::ResumeSync
            | Self::SuspendIo
            | Self::ResumeIo
            | Self::NewCurrentUuid { clear_bitmap: _ }
            | Self::Resize { size_bytes: _, assume_clean: _ }
            | Self::Verify { start_bytes: _, stop_bytes: _, repair: _ }
            | Self::Repair { from: _ }
            | Self::Down => Duration::from_secs(60),
        }
    }
}

/// Why a request was not carried out; decides the exit code (drbd-facts 6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalKind {
    /// The state does not allow it: 11.
    State,
    /// No access to good data: 17.
    NoGoodData,
    /// A matter of configuration, or no request that the daemon knows: 10.
    Configuration,
    /// `outdate` of a disk that is Inconsistent or worse: 5.
    LowerThanOutdated,
    /// There is no local disk to do that with: 16.
    NoDisk,
    /// The daemon is there and its data path does not answer: 20.
    NoAnswer,
    /// The kernel's device could not be attached or let go: 20.
    KernelDevice,
}

/// A response: `{"ok":true}`, `{"ok":true,"status":{...}}` or
/// `{"ok":false,"class":"state","text":"..."}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ResponseWire", into = "ResponseWire")]
pub enum Response {
    /// Done, or nothing to do.
    Done,
    /// Refused; nothing was changed.
    Refused {
        /// Decides the exit code.
        kind: RefusalKind,
        /// Cause and next step.
        text: String,
    },
    /// The state.
    Status(Box<Status>),
}

impl From<Answer> for Response {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Done => Self::Done,
            Answer::Status(status) => Self::Status(status),
            Answer::Refused(Refusal { class, text }) => {
                let kind = match class {
                    RefusalClass::State => RefusalKind::State,
                    RefusalClass::NoGoodData => RefusalKind::NoGoodData,
                    RefusalClass::Configuration => RefusalKind::Configuration,
                    RefusalClass::LowerThanOutdated => RefusalKind::LowerThanOutdated,
                    RefusalClass::NoDisk => RefusalKind::NoDisk,
                };
                Self::Refused { kind, text }
            }
        }
    }
}

/// A response as it travels.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct ResponseWire {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<RefusalKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Box<StatusWire>>,
}

impl From<Response> for ResponseWire {
    fn from(response: Response) -> Self {
        let empty = Self { ok: true, class: None, text: None, status: None };
        match response {
            Response::Done => empty,
            Response::Refused { kind, text } => {
                Self { ok: false, class: Some(kind), text: Some(text), ..empty }
            }
            Response::Status(status) => {
                Self { status: Some(Box::new(StatusWire::from(*status))), ..empty }
            }
        }
    }
}

impl TryFrom<ResponseWire> for Response {
    type Error = String;

    fn try_from(wire: ResponseWire) -> Result<Self, String> {
        match (wire.ok, wire.class, wire.text, wire.status) {
            (true, None, None, None) => Ok(Self::Done),
            (true, None, None, Some(status)) => Ok(Self::Status(Box::new((*status).try_into()?))),
            (false, Some(kind), Some(text), None) => Ok(Self::Refused { kind, text }),
            _ => Err("a response is either done, a status or a refusal".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::status_wire::tests::sample;

    #[test]
    fn requests_look_as_scripts_write_them() {
        for (line, request) in [
            (r#"{"command":"primary","force":true}"#, Request::Primary { force: true }),
            (r#"{"command":"detach","force":true}"#, Request::Detach { force: true }),
            (r#"{"command":"invalidate-remote"}"#, Request::InvalidateRemote),
            (
                r#"{"command":"new-current-uuid","clear_bitmap":true}"#,
                Request::NewCurrentUuid { clear_bitmap: true },
            ),
            (
                r#"{"command":"verify","start_bytes":4096,"stop_bytes":null,"repair":true}"#,
                Request::Verify { start_bytes: 4096, stop_bytes: None, repair: true },
            ),
            (
                r#"{"command":"repair","from":"peer"}"#,
                Request::Repair { from: Some(RepairSide::Peer) },
            ),
            (r#"{"command":"down"}"#, Request::Down),
            (r#"{"command":"status"}"#, Request::Status),
        ] {
            assert_eq!(serde_json::from_str::<Request>(line).unwrap(), request);
            assert_eq!(serde_json::to_string(&request).unwrap(), line);
            assert!(line.contains(&format!("\"{}\"", request.verb())), "{line}");
        }
        let bare: Request = serde_json::from_str(r#"{"command":"primary"}"#).unwrap();
        assert_eq!(bare, Request::Primary { force: false });
        assert!(serde_json::from_str::<Request>(r#"{"command":"explode"}"#).is_err());
    }

    #[test]
    fn responses_look_as_scripts_read_them_and_come_back_the_same() {
        let refused = Response::Refused { kind: RefusalKind::NoGoodData, text: "no".to_owned() };
        let line = r#"{"ok":false,"class":"no-good-data","text":"no"}"#;
        assert_eq!(serde_json::to_string(&refused).unwrap(), line);
        assert_eq!(serde_json::to_string(&Response::Done).unwrap(), r#"{"ok":true}"#);
        let status = Response::Status(Box::new(sample()));
        for response in [Response::Done, refused, status] {
            let line = serde_json::to_string(&response).unwrap();
            assert!(line.len() < RESPONSE_BYTES_MAX && !line.contains('\n'));
            assert_eq!(serde_json::from_str::<Response>(&line).unwrap(), response);
        }
    }

    #[test]
    fn a_response_that_says_two_things_at_once_is_none() {
        for line in [r#"{"ok":false}"#, r#"{"ok":true,"text":"no"}"#, r#"{"ok":false,"text":"x"}"#]
        {
            assert!(serde_json::from_str::<Response>(line).is_err(), "{line}");
        }
    }
}
