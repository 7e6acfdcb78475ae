//! What a test cannot do on this machine is a line in a list, never a silent success.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::thread;

/// Environment variable that names the file to which skipped tests are appended; `tests/run` sets
/// it and prints the file at its end. Without it the line only goes to the test's own output.
pub const SKIPS_FILE_VARIABLE: &str = "BLKREP_SKIPS_FILE";

/// Where the list is, if anybody wants one.
fn list() -> Option<PathBuf> {
    std::env::var_os(SKIPS_FILE_VARIABLE).map(PathBuf::from)
}

/// Notes that the running test does not run, or not all of it, and why.
///
/// # Panics
/// When the list cannot be written: a skip that nobody sees must not pass for a success.
pub fn skip(reason: &str) {
    let thread = thread::current();
    let test = thread.name().unwrap_or("a test");
    println!("skipped: {test}: {reason}");
    let Some(file) = list() else { return };
    append(&file, &format!("{test}: {reason}\n"));
}

fn append(file: &Path, line: &str) {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)
        .and_then(|mut opened| opened.write_all(line.as_bytes()))
        .unwrap_or_else(|error| {
            panic!("cannot note a skipped test in {}: {error}", file.display())
        });
}

/// Where a program is, looked up in PATH.
#[must_use]
pub fn find_tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file())
}

/// The program `name`, or a noted skip: write `let Some(fio) = require_tool("fio") else { return
/// };`.
#[must_use]
pub fn require_tool(name: &str) -> Option<PathBuf> {
    let found = find_tool(name);
    if found.is_none() {
        skip(&format!("the program '{name}' is not installed"));
    }
    found
}

/// True when the tests run as root; else notes the skip. `why` says what root is needed for.
#[must_use]
pub fn require_root(why: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip(&format!("needs root: {why}"));
    }
    root
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use std::fs;

    #[test]
    fn lines_are_appended_to_the_list() {
        let dir = Scratch::new();
        let file = dir.path().join("skips");
        append(&file, "one: a\n");
        append(&file, "two: b\n");
        assert_eq!(fs::read_to_string(&file).unwrap(), "one: a\ntwo: b\n");
    }

    #[test]
    fn a_program_that_is_there_is_found_and_another_is_not() {
        assert!(find_tool("sh").is_some_and(|file| file.is_absolute()));
        assert_eq!(find_tool("no-such-program-here"), None);
    }
}
