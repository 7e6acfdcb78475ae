//! What a handler reaches outside of itself: programs of the cluster, each with a limit on its
//! time, the own daemon, the clock, the log.

use crate::bounded_run;
use crate::config::fence_lock;
use crate::control::client::ask;
use crate::control::protocol::{Request, Response};
use replicator::status::Status;
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// Pause between two looks at a lock.
const POLL: Duration = Duration::from_millis(5);
/// Where the cluster's programs are, also when the daemon's own PATH is short.
const SYSTEM_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// The end of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It ended by itself, or by a signal (then the code is none).
    Code {
        /// Its exit code.
        code: Option<i32>,
        /// Everything that it wrote to its standard output.
        out: String,
        /// Everything that it wrote to its standard error.
        errors: String,
    },
    /// It took too long and was killed.
    TooLong,
    /// It could not be started; with the system's reason.
    NotStarted(String),
}

impl Ended {
    /// True when it ended with exit code 0.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Code { code: Some(0), out: _, errors: _ })
    }

    /// Why it was of no use, in words for the log.
    #[must_use]
    pub fn why(&self) -> String {
        match self {
            Self::Code { code, out: _, errors } => {
                let code = code.map_or("a signal".to_owned(), |code| format!("exit code {code}"));
                let last = errors.trim().lines().last().unwrap_or("").trim();
                if last.is_empty() { code } else { format!("{code}, {last}") }
            }
            Self::TooLong => "it did not end in time".to_owned(),
            Self::NotStarted(reason) => format!("it cannot be started, {reason}"),
        }
    }
}

/// What a handler needs from outside; scripted in tests.
pub trait Outside {
    /// The picture that the own daemon gives, bounded in time.
    ///
    /// # Errors
    /// It does not answer; with cause and next step.
    fn status(&mut self) -> Result<Status, String>;
    /// Runs a program to its end, killed with all that it started after `limit`.
    fn run(&mut self, program: &str, arguments: &[&str], limit: Duration) -> Ended;
    /// The host's name, as `uname -n` prints it.
    fn host_name(&self) -> String;
    /// Time since the handler began.
    fn elapsed(&self) -> Duration;
    /// Seconds since 1970.
    fn epoch_s(&self) -> u64;
    /// Does nothing for a while.
    fn pause(&mut self, time: Duration);
    /// Waits at most `limit` for the other handlers of this resource on this node that place and
    /// lift constraints; from then on until [`Outside::unlock`] they wait for this one. False when
    /// it was in vain.
    fn lock(&mut self, limit: Duration) -> bool;
    /// Lets them go on.
    fn unlock(&mut self);
    /// A word that nobody else has.
    fn fresh_word(&mut self) -> String;
    /// Writes one line to the log.
    fn tell(&mut self, line: &str);
}

/// The world as it is.
#[derive(Debug)]
pub struct Handler {
    run_dir: PathBuf,
    resource: String,
    begun: Instant,
    lock: Option<File>,
}

impl Handler {
    /// For the daemon of `resource`, whose sockets are in `run_dir`. The clock starts.
    #[must_use]
    pub fn new(run_dir: PathBuf, resource: String) -> Self {
        Self { run_dir, resource, begun: Instant::now(), lock: None }
    }
}

impl Outside for Handler {
    fn status(&mut self) -> Result<Status, String> {
        match ask(&self.run_dir, &self.resource, Request::Status) {
            Ok(Response::Status(status)) => Ok(*status),
            Ok(Response::Refused { kind: _, text }) => Err(text),
            Ok(Response::Done) => Err("the daemon's answer makes no sense".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn run(&mut self, program: &str, arguments: &[&str], limit: Duration) -> Ended {
        run(program, arguments, limit)
    }

    fn host_name(&self) -> String {
        gethostname::gethostname().to_string_lossy().into_owned()
    }

    fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    fn epoch_s(&self) -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |time| time.as_secs())
    }

    fn pause(&mut self, time: Duration) {
        thread::sleep(time);
    }

    fn lock(&mut self, limit: Duration) -> bool {
        let begun = Instant::now();
        let path = fence_lock(&self.run_dir, &self.resource);
        let opened = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
        let file = match opened {
            Ok(file) => file,
            Err(error) => {
                self.tell(&format!("cannot open {}: {error}", path.display()));
                return false;
            }
        };
        while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            if begun.elapsed() >= limit {
                return false;
            }
            thread::sleep(POLL);
        }
        self.lock = Some(file);
        true
    }

    fn unlock(&mut self) {
        self.lock = None;
    }

    fn fresh_word(&mut self) -> String {
        let mut random = [0; 8];
        // Without entropy, the clock: two constraints of one node are never placed in one instant.
        if getrandom::fill(&mut random).is_err() {
            let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            random = since.map_or(0, |time| time.as_micros() as u64).to_le_bytes();
        }
        format!("{:016x}", u64::from_le_bytes(random))
    }

    fn tell(&mut self, line: &str) {
        eprintln!("{line}");
    }
}

fn run(program: &str, arguments: &[&str], limit: Duration) -> Ended {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("PATH", format!("{path}:{SYSTEM_PATH}").trim_start_matches(':'))
        .env("LC_ALL", "C");
    match bounded_run::run(&mut command, limit) {
        Ok(bounded_run::Ended { code, stdout: out, stderr: errors }) => {
            Ended::Code { code, out, errors }
        }
        Err(error) if error.kind() == ErrorKind::TimedOut => Ended::TooLong,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Ended::NotStarted("there is no such program; is Pacemaker installed?".to_owned())
        }
        Err(error) => Ended::NotStarted(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scratch_dir::ScratchDir;

    const LIMIT: Duration = Duration::from_secs(20);

    #[test]
    fn code_and_both_outputs_of_a_program_come_back() {
        let ended = run("/bin/sh", &["-c", "echo out; echo one >&2; echo two >&2; exit 3"], LIMIT);
        assert_eq!(ended.why(), "exit code 3, two");
        let Ended::Code { code, out, errors } = ended else { panic!("it ended by itself") };
        assert_eq!((code, &*out, &*errors), (Some(3), "out\n", "one\ntwo\n"));
    }

    #[test]
    fn a_program_that_hangs_takes_too_long() {
        let ended = run("/bin/sh", &["-c", "exec sleep 600"], Duration::from_millis(300));
        assert_eq!(ended, Ended::TooLong);
    }

    #[test]
    fn a_program_that_is_not_there_is_named_as_such() {
        let ended = run("no-such-program-here", &[], LIMIT);
        assert!(ended.why().contains("no such program"), "{ended:?}");
    }

    #[test]
    fn one_handler_of_a_resource_waits_for_the_other() {
        let dir = ScratchDir::new("fence-lock");
        let handler = |name: &str| Handler::new(dir.path().to_owned(), name.to_owned());
        let (mut first, mut second) = (handler("r0"), handler("r0"));
        assert!(first.lock(LIMIT));
        assert!(!second.lock(Duration::ZERO), "two at a time");
        assert!(handler("r1").lock(Duration::ZERO), "another resource has its own");
        first.unlock();
        assert!(second.lock(LIMIT));
    }
}
