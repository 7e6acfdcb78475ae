//! Runs another program with a limit on its time: no program that hangs may hang an action.

use crate::control::client::DaemonProcess;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Most bytes that are kept of each of its outputs.
const OUTPUT_BYTES_MAX: u64 = 64 << 10;

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ended {
    /// Its exit code; none when a signal ended it.
    pub(super) code: Option<i32>,
    /// What it printed.
    pub(super) stdout: String,
    /// What it complained about.
    pub(super) stderr: String,
}

/// Runs `command` to its end. Its outputs are read, so that nothing that it leaves behind keeps
/// those of this process open.
///
/// # Errors
/// It cannot be started, or has not ended within `limit`; then it was killed with everything in its
/// process group.
pub(super) fn run(command: &mut Command, limit: Duration) -> io::Result<Ended> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn()?;
    let pid = Pid::from_child(&child);
    let is_over = DaemonProcess::numbered(pid).is_some_and(|held| held.wait_for_end(limit));
    if !is_over {
        kill_process_group(pid, Signal::KILL).ok();
    }
    // What the kernel does not let go even now is left to it.
    let ended = if is_over { Some(child.wait()?) } else { child.try_wait()? };
    let (stdout, stderr) = (what_is_there(child.stdout.take()), what_is_there(child.stderr.take()));
    match ended {
        Some(status) if is_over => Ok(Ended { code: status.code(), stdout, stderr }),
        Some(_) | None => {
            let text = format!("not done after {} s, killed", limit.as_secs_f32());
            Err(io::Error::new(ErrorKind::TimedOut, text))
        }
    }
}

/// What was written so far; a process that was left behind may hold the pipe for ever.
fn what_is_there(pipe: Option<impl Read + AsFd>) -> String {
    let Some(pipe) = pipe else { return String::new() };
    let mut bytes = Vec::new();
    if let Ok(flags) = fcntl_getfl(&pipe)
        && fcntl_setfl(&pipe, flags | OFlags::NONBLOCK).is_ok()
    {
        // "Nothing more at present" ends it like an end.
        pipe.take(OUTPUT_BYTES_MAX).read_to_end(&mut bytes).ok();
    }
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    const LONG: Duration = Duration::from_secs(60);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn code_and_outputs_come_back_without_waiting_for_what_is_left_behind() {
        let begun = Instant::now();
        let ended = run(&mut shell("echo out; echo no >&2; sleep 40 & exit 3"), LONG).unwrap();
        assert_eq!((ended.code, &*ended.stdout, &*ended.stderr), (Some(3), "out", "no"));
        assert!(begun.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn one_that_hangs_is_killed() {
        let begun = Instant::now();
        let error = run(&mut shell("sleep 300"), Duration::from_millis(200)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(begun.elapsed() < LONG);
        let missing = run(&mut Command::new("/no/such/program"), LONG).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
    }
}
