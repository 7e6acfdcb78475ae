//! Other people's programs, run to their end within a time.

use std::ffi::OsStr;
use std::time::Duration;
use testbed::Output;
use testbed::program::{run as run_command, tied};

/// Longest run of one program; each of them works on a device of 64 MiB.
const PROGRAM_MAX: Duration = Duration::from_secs(120);

/// Runs a program, whatever its exit code.
pub(crate) fn run<A: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = A>) -> Output {
    let mut command = tied(program);
    // nbdsh starts the first python3; libnbd's module belongs to that of the system.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("/usr/bin:{path}")).args(args);
    run_command(&mut command, PROGRAM_MAX)
}

/// Runs a program that must succeed, and says what it printed.
pub(crate) fn run_good<A: AsRef<OsStr>>(
    program: &str,
    args: impl IntoIterator<Item = A>,
) -> String {
    run(program, args).expect_success(program).stdout
}
