//! Asks a running daemon over its control socket, blocking, with a bound on every wait.

use super::protocol::{RESPONSE_BYTES_MAX, Request, Response};
use crate::config::control_socket;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::process::{PidfdFlags, pidfd_open};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use thiserror::Error;

/// What the client waits beyond the daemon's own patience: the daemon answers itself when its data
/// path does not.
const GRACE: Duration = Duration::from_secs(5);

/// Why a daemon gave no answer.
#[derive(Debug, Error)]
pub enum ControlError {
    /// Nobody listens: the resource is not up.
    #[error("not up; start it with 'blkrep up {resource}'")]
    NotUp {
        /// The resource.
        resource: String,
    },
    /// The socket is there and may not be used.
    #[error("cannot reach the daemon at {socket}: {source}; run this as the user that started it")]
    Unreachable {
        /// The control socket.
        socket: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It was reached and did not answer.
    #[error("the daemon did not answer: {source}; look into its log, and at 'blkrep status'")]
    NoAnswer {
        /// The system's reason.
        source: io::Error,
    },
    /// It answered something else.
    #[error("the daemon's answer makes no sense: {reason}; are both of the same version?")]
    Nonsense {
        /// What is wrong with it.
        reason: String,
    },
}

/// Sends one request to the daemon of `resource` and reads its response.
///
/// # Errors
/// Not up, not reachable, no answer in time, or no answer that this version understands.
pub fn ask(run_dir: &Path, resource: &str, request: Request) -> Result<Response, ControlError> {
    let socket = control_socket(run_dir, resource);
    let stream = UnixStream::connect(&socket).map_err(|source| {
        if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) {
            ControlError::NotUp { resource: resource.to_owned() }
        } else {
            ControlError::Unreachable { socket, source }
        }
    })?;
    let line = exchange(&stream, request).map_err(|source| ControlError::NoAnswer { source })?;
    serde_json::from_str(&line)
        .map_err(|error| ControlError::Nonsense { reason: error.to_string() })
}

/// The process of a daemon, held so that its end can be waited for.
#[derive(Debug)]
pub struct DaemonProcess(OwnedFd);

impl DaemonProcess {
    /// The process that listens on the control socket of `resource`; none when there is none to be
    /// seen from here (it may run in another process namespace).
    #[must_use]
    pub fn of(run_dir: &Path, resource: &str) -> Option<Self> {
        let stream = UnixStream::connect(control_socket(run_dir, resource)).ok()?;
        let pid = socket_peercred(&stream).ok()?.pid;
        pidfd_open(pid, PidfdFlags::empty()).ok().map(Self)
    }

    /// Waits until it has ended, and with it all its locks are free. False when it has not after
    /// `patience`.
    #[must_use]
    pub fn wait_for_end(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left =
                Timespec::try_from(left).expect("invariant: patience is a matter of seconds");
            let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
            match poll(&mut fds, Some(&left)) {
                Ok(0) => return false,
                Ok(_) => return true,
                Err(Errno::INTR) => {}
                // A descriptor that cannot be polled tells nothing: do not claim that it has ended.
                Err(_) => return false,
            }
        }
    }
}

fn exchange(mut stream: &UnixStream, request: Request) -> io::Result<String> {
    stream.set_write_timeout(Some(GRACE))?;
    stream.set_read_timeout(Some(request.patience() + GRACE))?;
    let mut line = serde_json::to_string(&request).map_err(io::Error::other)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream.take(RESPONSE_BYTES_MAX as u64)).read_line(&mut answer)?;
    if !answer.ends_with('\n') {
        return Err(io::Error::new(ErrorKind::UnexpectedEof, "it closed the connection"));
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scratch_dir::ScratchDir;
    use std::os::unix::net::UnixListener;
    use std::thread;

    fn ask_scripted(name: &str, answer: &'static str) -> Result<Response, ControlError> {
        let dir = ScratchDir::new(name);
        let listener = UnixListener::bind(control_socket(dir.path(), "r0")).unwrap();
        let daemon = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            (&stream).write_all(answer.as_bytes()).unwrap();
            line
        });
        let response = ask(dir.path(), "r0", Request::Primary { force: true });
        assert_eq!(daemon.join().unwrap(), "{\"command\":\"primary\",\"force\":true}\n");
        response
    }

    #[test]
    fn one_line_goes_out_and_one_comes_back() {
        assert_eq!(ask_scripted("client", "{\"ok\":true}\n").unwrap(), Response::Done);
    }

    #[test]
    fn a_daemon_that_hangs_up_or_talks_nonsense_is_an_error_that_says_so() {
        let error = ask_scripted("client-eof", "{\"ok\":").unwrap_err();
        assert!(matches!(error, ControlError::NoAnswer { source: _ }), "{error}");
        let error = ask_scripted("client-nonsense", "{\"ok\":3}\n").unwrap_err();
        assert!(error.to_string().contains("same version"), "{error}");
    }

    #[test]
    fn no_socket_and_a_dead_socket_both_mean_not_up() {
        let dir = ScratchDir::new("client-dead");
        let not_up = |error: ControlError| error.to_string();
        let expected = "not up; start it with 'blkrep up r0'";
        assert_eq!(not_up(ask(dir.path(), "r0", Request::Status).unwrap_err()), expected);
        drop(UnixListener::bind(control_socket(dir.path(), "r0")).unwrap());
        assert_eq!(not_up(ask(dir.path(), "r0", Request::Status).unwrap_err()), expected);
    }
}
