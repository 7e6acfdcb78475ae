//! Asks a running daemon over its control socket, blocking, with a bound on every wait.

use super::protocol::{RESPONSE_BYTES_MAX, Request, Response};
use crate::config::control_socket;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use thiserror::Error;

/// What the client waits beyond the daemon's own patience: the daemon answers itself when its data
/// path does not.
const GRACE: Duration = Duration::from_secs(5);
/// Between two looks at a queue of connections that is full.
const QUEUE_PAUSE: Duration = Duration::from_millis(20);
/// Bytes of an answer that are read at once.
const READ_BYTES: usize = 4096;

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

/// Sends one request to the daemon of `resource` and reads its response. Waits as long as the
/// daemon itself may take.
///
/// # Errors
/// Not up, not reachable, no answer in time, or no answer that this version understands.
pub fn ask(run_dir: &Path, resource: &str, request: Request) -> Result<Response, ControlError> {
    ask_within(run_dir, resource, request, request.patience() + GRACE)
}

/// As [`ask`], with a limit of the whole exchange: a process that is stopped (SIGSTOP) still has
/// its socket, takes connections until their queue is full, and never answers.
///
/// # Errors
/// As [`ask`].
pub fn ask_within(
    run_dir: &Path,
    resource: &str,
    request: Request,
    limit: Duration,
) -> Result<Response, ControlError> {
    let deadline = Instant::now() + limit;
    let socket = control_socket(run_dir, resource);
    let stream = match connect_until(&socket, deadline) {
        Ok(stream) => stream,
        Err(source) => {
            let kind = source.kind();
            return Err(if matches!(kind, ErrorKind::NotFound | ErrorKind::ConnectionRefused) {
                ControlError::NotUp { resource: resource.to_owned() }
            } else if kind == ErrorKind::TimedOut {
                ControlError::NoAnswer { source }
            } else {
                ControlError::Unreachable { socket, source }
            });
        }
    };
    let line =
        exchange(&stream, request, deadline).map_err(|source| ControlError::NoAnswer { source })?;
    serde_json::from_str(&line)
        .map_err(|error| ControlError::Nonsense { reason: error.to_string() })
}

/// Connects without ever waiting in the kernel: there a full queue is waited for without a limit.
fn connect_until(socket: &Path, deadline: Instant) -> io::Result<UnixStream> {
    let address = SocketAddrUnix::new(socket)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    loop {
        let fd = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        match connect(&fd, &address) {
            Ok(()) => {
                let stream = UnixStream::from(fd);
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(Errno::AGAIN | Errno::INTR) if Instant::now() < deadline => {
                std::thread::sleep(QUEUE_PAUSE);
            }
            Err(Errno::AGAIN) => {
                let text = "its queue of connections is full";
                return Err(io::Error::new(ErrorKind::TimedOut, text));
            }
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// The process of a daemon, held so that its end can be waited for.
#[derive(Debug)]
pub struct DaemonProcess {
    held: OwnedFd,
    pid: Pid,
}

impl DaemonProcess {
    /// The process that listens on the control socket of `resource`; none when there is none to be
    /// seen from here (it may run in another process namespace).
    #[must_use]
    pub fn of(run_dir: &Path, resource: &str) -> Option<Self> {
        let socket = control_socket(run_dir, resource);
        let stream = connect_until(&socket, Instant::now()).ok()?;
        Self::numbered(socket_peercred(&stream).ok()?.pid)
    }

    /// The process of that number; none when there is none.
    #[must_use]
    pub fn numbered(pid: Pid) -> Option<Self> {
        let held = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        Some(Self { held, pid })
    }

    /// Its number.
    #[must_use]
    pub const fn pid(&self) -> Pid {
        self.pid
    }

    /// Ends it at once (SIGKILL), also when it is stopped. Never hits another process that has got
    /// its number since.
    ///
    /// # Errors
    /// This process may not do that. That it has ended already is no error.
    pub fn kill(&self) -> io::Result<()> {
        match pidfd_send_signal(&self.held, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
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
            let mut fds = [PollFd::new(&self.held, PollFlags::IN)];
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

fn exchange(mut stream: &UnixStream, request: Request, deadline: Instant) -> io::Result<String> {
    let left = || {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(late()) } else { Ok(Some(left)) }
    };
    let mut line = serde_json::to_string(&request).map_err(io::Error::other)?;
    line.push('\n');
    stream.set_write_timeout(left()?)?;
    stream.write_all(line.as_bytes()).map_err(in_words)?;
    let mut answer = Vec::new();
    while answer.last() != Some(&b'\n') {
        // Every read has only what is left: an answer in drops is no way to hold this process.
        stream.set_read_timeout(left()?)?;
        let mut bytes = [0; READ_BYTES];
        let read = stream.read(&mut bytes).map_err(in_words)?;
        if read == 0 || answer.len() + read > RESPONSE_BYTES_MAX {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "it closed the connection"));
        }
        answer.extend_from_slice(&bytes[..read]);
    }
    String::from_utf8(answer).map_err(io::Error::other)
}

fn late() -> io::Error {
    io::Error::new(ErrorKind::TimedOut, "nothing came in time")
}

/// The kernel calls a limit that is over "Resource temporarily unavailable".
fn in_words(error: io::Error) -> io::Error {
    if error.kind() == ErrorKind::WouldBlock { late() } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scratch_dir::ScratchDir;
    use std::io::{BufRead, BufReader};
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

    #[test]
    fn a_limit_holds_for_silence_for_drops_and_for_a_full_queue() {
        const LIMIT: Duration = Duration::from_millis(300);
        // What a test on a loaded machine may take, far below the patience of an unlimited request.
        const AT_MOST: Duration = Duration::from_secs(5);
        let dir = ScratchDir::new("client-limit");
        let listener = UnixListener::bind(control_socket(dir.path(), "r0")).unwrap();
        let ask = || {
            let begun = Instant::now();
            let error = ask_within(dir.path(), "r0", Request::Down, LIMIT).unwrap_err();
            let took = begun.elapsed();
            assert!(LIMIT <= took && took < AT_MOST, "{took:?}: {error}");
            assert!(matches!(error, ControlError::NoAnswer { source: _ }), "{error}");
            error.to_string()
        };
        // Nobody accepts.
        assert!(ask().contains("nothing came in time"));
        let dripping = listener.try_clone().unwrap();
        let dripper = thread::spawn(move || {
            for _ in 0..2 {
                let (mut stream, _) = dripping.accept().unwrap();
                while stream.write_all(b"{").is_ok() {
                    thread::sleep(Duration::from_millis(20));
                }
            }
        });
        assert!(ask().contains("nothing came in time"));
        dripper.join().unwrap();
        rustix::net::listen(&listener, 1).unwrap();
        let mut queued = Vec::new();
        while let Ok(stream) = connect_until(&control_socket(dir.path(), "r0"), Instant::now()) {
            queued.push(stream);
            assert!(queued.len() < 100, "the queue has no end");
        }
        assert!(ask().contains("queue of connections is full"));
        assert!(DaemonProcess::of(dir.path(), "r0").is_none(), "nobody can be seen");
    }
}
