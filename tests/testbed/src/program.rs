//! Programs: run to their end within a time, or kept running as long as a value lives.

use crate::skips::find_tool;
use crate::wait::wait_until;
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Pause between two looks at a running program.
const PAUSE: Duration = Duration::from_millis(5);
/// A killed process is gone within this time, unless the kernel holds it.
const KILL_MAX: Duration = Duration::from_secs(10);

/// What a program left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Exit code; 128 and the signal's number when a signal ended it, as in a shell.
    pub code: i32,
    /// Everything it wrote to its standard output; what is not UTF-8 is replaced.
    pub stdout: String,
    /// Everything it wrote to its standard error; what is not UTF-8 is replaced.
    pub stderr: String,
}

impl Output {
    /// The output of a program that had to succeed.
    ///
    /// # Panics
    /// When it did not; shows `what` and both of its outputs.
    pub fn expect_success(self, what: &str) -> Self {
        self.expect_code(0, what)
    }

    /// The output of a program that had to end with `code`.
    ///
    /// # Panics
    /// When it ended with another one; shows `what` and both of its outputs.
    pub fn expect_code(self, code: i32, what: &str) -> Self {
        let Self { code: seen, stdout, stderr } = &self;
        assert!(
            *seen == code,
            "{what}: expected exit code {code}, saw {seen}\nstdout: {stdout}\nstderr: {stderr}"
        );
        self
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

/// A command that dies with the thread that starts it, even when that is killed, where the machine
/// has `setpriv`. The process id is that of the program itself.
#[must_use]
pub fn tied(program: impl AsRef<OsStr>) -> Command {
    let Some(setpriv) = find_tool("setpriv") else { return Command::new(program) };
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// Runs a program to its end, without standard input.
///
/// # Panics
/// When it cannot be started, or does not end within `limit` (it is killed first).
pub fn run(command: &mut Command, limit: Duration) -> Output {
    Running::start(command).finish(limit)
}

/// A program that runs beside the test and is read to its end. Killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    shown: String,
    readers: Option<[thread::JoinHandle<String>; 2]>,
}

impl Running {
    /// Starts it, without standard input.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(command: &mut Command) -> Self {
        let shown = format!("{command:?}");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("cannot start {shown}: {error}"));
        let stdout = child.stdout.take().expect("invariant: it was asked to be a pipe");
        let stderr = child.stderr.take().expect("invariant: it was asked to be a pipe");
        let readers = Some([read_all(stdout), read_all(stderr)]);
        Self { child, shown, readers }
    }

    /// True while it runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it, and gives what it has written so far.
    pub fn kill(mut self) -> Output {
        self.child.kill().ok();
        self.output()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end within `limit`; it is killed first.
    pub fn finish(mut self, limit: Duration) -> Output {
        let begun = Instant::now();
        while self.is_running() && begun.elapsed() < limit {
            thread::sleep(PAUSE);
        }
        let late = self.is_running();
        if late {
            self.child.kill().ok();
        }
        let shown = self.shown.clone();
        let output = self.output();
        assert!(!late, "{shown} did not end within {limit:?}: {output:?}");
        output
    }

    /// Waits for the end of a program that is killed or ends by itself.
    fn output(&mut self) -> Output {
        let status = self.child.wait().expect("invariant: a child can be waited for once");
        let [stdout, stderr] = self
            .readers
            .take()
            .expect("invariant: only finish takes the readers")
            .map(|reader| reader.join().unwrap_or_default());
        Output { code: code(status), stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.is_running() {
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}

fn read_all(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is all there is to show.
        pipe.read_to_end(&mut bytes).ok();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// A program that serves until it is told to end, or the value is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    shown: String,
}

impl Server {
    /// Starts it; both of its outputs are appended to the file `log`.
    ///
    /// # Panics
    /// When it cannot be started, or the file cannot be written.
    pub fn start(mut command: Command, log: &Path) -> Self {
        let shown = format!("{command:?}");
        let open = || OpenOptions::new().create(true).append(true).open(log);
        let file = |error| panic!("cannot write {}: {error}", log.display());
        command
            .stdin(Stdio::null())
            .stdout(open().unwrap_or_else(file))
            .stderr(open().unwrap_or_else(file));
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {shown}: {error}"));
        Self { child, shown }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Its exit code, if it has ended.
    pub fn ended(&mut self) -> Option<i32> {
        self.child.try_wait().ok().flatten().map(code)
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it is gone.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal)
            .unwrap_or_else(|error| panic!("cannot signal {}: {error}", self.shown));
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// When it has not within `limit`.
    pub fn wait_end(&mut self, limit: Duration) -> i32 {
        let shown = self.shown.clone();
        wait_until(&format!("{shown} ends"), limit, || self.ended().is_some());
        self.ended().expect("invariant: it has ended")
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().ok();
        let begun = Instant::now();
        // A process that the kernel holds must not hold the test as well.
        while self.ended().is_none() && begun.elapsed() < KILL_MAX {
            thread::sleep(PAUSE);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    const LIMIT: Duration = Duration::from_secs(10);

    fn shell(script: &str) -> Command {
        let mut command = tied("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn code_and_both_outputs_come_back() {
        let output = run(&mut shell("echo out; echo err >&2; exit 7"), LIMIT);
        let expected = Output { code: 7, stdout: "out\n".into(), stderr: "err\n".into() };
        assert_eq!(output, expected);
        assert_eq!(run(&mut shell("kill -9 $$"), LIMIT).code, 137);
    }

    #[test]
    #[should_panic(expected = "did not end within")]
    fn a_program_that_hangs_is_killed_and_named() {
        run(Command::new("sleep").arg("60"), Duration::from_millis(100));
    }

    #[test]
    fn a_dropped_server_is_gone() {
        let dir = Scratch::new();
        let mut command = tied("sleep");
        command.arg("60");
        let server = Server::start(command, &dir.path().join("log"));
        let process = Path::new("/proc").join(server.pid().as_raw_pid().to_string());
        assert!(process.exists());
        drop(server);
        assert!(!process.exists());
    }
}
