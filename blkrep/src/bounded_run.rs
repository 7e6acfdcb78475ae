//! Runs another program with a limit on its time, blocking: no program that hangs may hang a
//! command. What a daemon runs beside its work is `shell_run`'s.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Most bytes that are kept of each output, a cluster's whole configuration among them; the rest is
/// read and dropped.
const OUTPUT_BYTES_MAX: usize = 16 << 20;
/// A killed program is gone within this time, unless the kernel holds it.
const KILL_MAX: Duration = Duration::from_millis(500);

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Its exit code; none when a signal ended it.
    pub(crate) code: Option<i32>,
    /// What it printed.
    pub(crate) stdout: String,
    /// What it complained about.
    pub(crate) stderr: String,
}

/// Runs `command` to its end. Its outputs are read as they come, so that it never waits for us;
/// what it leaves behind may hold them open, and is not waited for.
///
/// # Errors
/// It cannot be started, or has not ended within `limit` (`TimedOut`); then it was killed with
/// everything in its process group.
pub(crate) fn run(command: &mut Command, limit: Duration) -> io::Result<Ended> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn()?;
    let pid = Pid::from_child(&child);
    let mut outputs = [
        Output::of(child.stdout.take().map(OwnedFd::from)),
        Output::of(child.stderr.take().map(OwnedFd::from)),
    ];
    let held = pidfd_open(pid, PidfdFlags::empty())?;
    if !attend(&held, &mut outputs, limit)? {
        kill_process_group(pid, Signal::KILL).ok();
        // What the kernel does not let go even now is left to it.
        if attend(&held, &mut [], KILL_MAX)? {
            child.wait()?;
        }
        let text = format!("not done after {} s, killed", limit.as_secs_f32());
        return Err(io::Error::new(ErrorKind::TimedOut, text));
    }
    let code = child.wait()?.code();
    let [stdout, stderr] = outputs.map(|output| output.text());
    Ok(Ended { code, stdout, stderr })
}

/// Reads until the process has ended. False when it has not within `limit`.
fn attend(held: &OwnedFd, outputs: &mut [Output], limit: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        let mut fds = vec![PollFd::new(held, PollFlags::IN)];
        let open = outputs.iter().filter_map(|output| output.pipe.as_ref());
        fds.extend(open.map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        match poll(&mut fds, Some(&left)) {
            Ok(0) => return Ok(false),
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        let is_over = !fds[0].revents().is_empty();
        for output in outputs.iter_mut() {
            output.read();
        }
        if is_over {
            return Ok(true);
        }
    }
}

/// One output, and what came of it so far.
#[derive(Debug)]
struct Output {
    /// None when it has ended.
    pipe: Option<File>,
    bytes: Vec<u8>,
}

impl Output {
    /// A pipe that cannot be made non-blocking is not read.
    fn of(pipe: Option<OwnedFd>) -> Self {
        let pipe = pipe.filter(|pipe| {
            fcntl_getfl(pipe).and_then(|flags| fcntl_setfl(pipe, flags | OFlags::NONBLOCK)).is_ok()
        });
        Self { pipe: pipe.map(File::from), bytes: Vec::new() }
    }

    /// Takes what is there.
    fn read(&mut self) {
        let Some(pipe) = &mut self.pipe else { return };
        let mut piece = [0; 8192];
        loop {
            match pipe.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => {
                    let kept = count.min(OUTPUT_BYTES_MAX - self.bytes.len());
                    self.bytes.extend_from_slice(&piece[..kept]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.pipe = None;
    }

    fn text(self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scratch_dir::ScratchDir;

    const LONG: Duration = Duration::from_secs(60);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn code_and_outputs_come_back_without_waiting_for_what_is_left_behind() {
        let begun = Instant::now();
        let ended = run(&mut shell("echo out; echo no >&2; sleep 600 & exit 3"), LONG).unwrap();
        assert_eq!((ended.code, &*ended.stdout, &*ended.stderr), (Some(3), "out\n", "no\n"));
        assert!(begun.elapsed() < LONG, "it waited for what was left behind");
    }

    #[test]
    fn more_than_a_pipe_holds_is_read_while_it_runs() {
        let ended = run(&mut shell("head -c 1000000 /dev/zero | tr '\\0' x"), LONG).unwrap();
        assert_eq!((ended.code, ended.stdout.len()), (Some(0), 1_000_000));
    }

    #[test]
    fn one_that_hangs_is_killed_with_what_it_started() {
        let dir = ScratchDir::new("bounded-run");
        let pid = dir.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; wait", pid.display());
        let error = run(&mut shell(&script), Duration::from_millis(300)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let pid = std::fs::read_to_string(pid).unwrap();
        let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        if let Ok(held) = pidfd_open(pid, PidfdFlags::empty()) {
            assert!(attend(&held, &mut [], LONG).unwrap(), "what it started lives on");
        }
    }

    #[test]
    fn one_that_is_not_there_is_named_as_such() {
        let missing = run(&mut Command::new("/no/such/program"), LONG).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
    }
}
