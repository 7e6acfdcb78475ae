//! What can be seen of the resource on this node: a daemon that answers, one that does not, or what
//! a dead one has left.

use super::device;
use super::exit::Exit;
use crate::config::control_socket;
use crate::control::client::{ControlError, DaemonProcess, ask_within};
use crate::control::protocol::{RefusalKind, Request, Response};
use crate::dataplane::resume_mark::ResumeMark;
use replicator::status::Status;
use rustix::process::Pid;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

/// A daemon that has not answered for so long is frozen.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// The resource on this node.
#[derive(Debug)]
pub(super) enum Sight {
    /// Its daemon answers.
    Running(Box<Status>),
    /// A process has the resource and does not listen: a daemon that starts or ends, or a command
    /// that stops it.
    Passing {
        /// The process.
        pid: u32,
    },
    /// Its daemon is there and does not answer.
    Frozen {
        /// The daemon; none when it cannot be seen from here.
        process: Option<DaemonProcess>,
        /// It was stopped (SIGSTOP): asking again is of no use. Another one may just be slow.
        is_stopped: bool,
        /// What is known of it.
        how: String,
    },
    /// There is no daemon, and nothing of a Primary is left.
    Absent,
    /// There is no daemon, and it was Primary when it ended.
    Dead {
        /// What it has left.
        left: String,
    },
    /// It cannot be asked.
    Unclear {
        /// How a monitor ends with that.
        exit: Exit,
        /// Why.
        why: String,
    },
}

/// Looks.
pub(super) fn look(run_dir: &Path, name: &str) -> Sight {
    let answer = ask_within(run_dir, name, Request::Status, ANSWER_MAX);
    match answer {
        Ok(Response::Status(status)) => Sight::Running(status),
        Ok(Response::Refused { kind: RefusalKind::NoAnswer, text }) => frozen(run_dir, name, &text),
        Ok(Response::Refused { kind: _, text }) => {
            Sight::Unclear { exit: Exit::Generic, why: text }
        }
        Ok(Response::Done) => {
            let why = "the daemon does not know 'status'; are both of the same version?".to_owned();
            Sight::Unclear { exit: Exit::Generic, why }
        }
        Err(ControlError::NotUp { resource: _ }) => without_socket(run_dir, name),
        Err(ControlError::NoAnswer { source }) if source.kind() == ErrorKind::TimedOut => {
            frozen(run_dir, name, &format!("{source} ({} s)", ANSWER_MAX.as_secs()))
        }
        // It ended while it was asked.
        Err(ControlError::NoAnswer { source: _ }) => without_socket(run_dir, name),
        Err(error @ ControlError::Unreachable { socket: _, source: _ }) => {
            Sight::Unclear { exit: Exit::Permission, why: error.to_string() }
        }
        Err(error @ ControlError::Nonsense { reason: _ }) => {
            Sight::Unclear { exit: Exit::Generic, why: error.to_string() }
        }
    }
}

/// True when this node is to go on as the Primary that it was, or is it.
pub(super) fn is_marked(run_dir: &Path, name: &str) -> bool {
    ResumeMark::is_beside(&control_socket(run_dir, name))
}

/// The daemon that has the resource though it does not take connections.
pub(super) fn daemon_with_lock(run_dir: &Path, name: &str) -> Option<DaemonProcess> {
    let socket = control_socket(run_dir, name);
    let pid = ResumeMark::holder(&socket)?;
    let process = DaemonProcess::numbered(Pid::from_raw(pid.cast_signed())?)?;
    // The number may have been given to another process between the two.
    let still = ResumeMark::holder(&socket) == Some(pid);
    (still && is_daemon(pid, name)).then_some(process)
}

fn frozen(run_dir: &Path, name: &str, how: &str) -> Sight {
    let process = DaemonProcess::of(run_dir, name).or_else(|| daemon_with_lock(run_dir, name));
    let pid = process.as_ref().map(|process| process.pid().as_raw_pid().cast_unsigned());
    let state = pid.and_then(state);
    let is_stopped = matches!(state, Some('T' | 't'));
    let process_is = match (pid, state) {
        (None, _) => "its process cannot be seen".to_owned(),
        (Some(pid), _) if is_stopped => format!("process {pid} is stopped (SIGSTOP)"),
        (Some(pid), Some('D')) => format!("process {pid} hangs in the kernel (is a disk hanging?)"),
        (Some(pid), _) => format!("process {pid} does not answer"),
    };
    Sight::Frozen { process, is_stopped, how: format!("{process_is}: {how}") }
}

fn without_socket(run_dir: &Path, name: &str) -> Sight {
    if let Some(pid) = ResumeMark::holder(&control_socket(run_dir, name)) {
        return match state(pid) {
            Some('T' | 't') if is_daemon(pid, name) => frozen(run_dir, name, "it does not listen"),
            Some(_) | None => Sight::Passing { pid },
        };
    }
    let mark =
        is_marked(run_dir, name).then(|| format!("its resume mark {}", resume_file(run_dir, name)));
    let device = device::left(name).map(|link| format!("its device {link}"));
    let left: Vec<String> = mark.into_iter().chain(device).collect();
    if left.is_empty() { Sight::Absent } else { Sight::Dead { left: left.join(" and ") } }
}

fn resume_file(run_dir: &Path, name: &str) -> String {
    control_socket(run_dir, name).with_extension("resume").display().to_string()
}

/// One letter, as proc(5) has them.
fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands before it, in parentheses, and may hold anything.
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

fn is_daemon(pid: u32, name: &str) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    words.contains(&&b"daemon"[..]) && words.contains(&name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scratch_dir::ScratchDir;

    #[test]
    fn nothing_there_is_absent_and_a_mark_alone_is_a_dead_primary() {
        let dir = ScratchDir::new("sight");
        // A name that no other test gives a device.
        let name = "sight-r0";
        assert!(matches!(look(dir.path(), name), Sight::Absent));
        assert!(matches!(look(&dir.path().join("nowhere"), name), Sight::Absent));
        fs::write(dir.path().join(format!("{name}.resume")), "").unwrap();
        let Sight::Dead { left } = look(dir.path(), name) else { panic!("a mark is left") };
        assert!(left.contains("resume mark"), "{left}");
    }

    #[test]
    fn whoever_has_the_lock_is_waited_for_and_is_no_daemon_for_that() {
        let dir = ScratchDir::new("sight-lock");
        let lock = ResumeMark::take(&control_socket(dir.path(), "r0")).unwrap();
        let Sight::Passing { pid } = look(dir.path(), "r0") else { panic!("somebody has it") };
        assert_eq!(pid, std::process::id());
        assert!(daemon_with_lock(dir.path(), "r0").is_none(), "this test would be killed");
        drop(lock);
        assert!(matches!(look(dir.path(), "r0"), Sight::Absent));
    }
}
