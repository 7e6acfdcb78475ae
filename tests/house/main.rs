//! The house rules, enforced: what CONTRIBUTING.md asks for and a program can see.

mod documents;
mod sources;

use std::path::{Path, PathBuf};
use std::process::Command;

/// The top of the work tree.
fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the work tree is there")
}

/// Every file that git knows or would add, below the top, with its text; binary files are left out.
fn files(suffix: &str) -> Vec<(String, String)> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(top())
        .output()
        .expect("git runs");
    let names = String::from_utf8(listed.stdout).expect("names are text");
    let mut found: Vec<(String, String)> = names
        .lines()
        .filter(|name| name.ends_with(suffix))
        .filter_map(|name| Some((name.to_owned(), std::fs::read_to_string(top().join(name)).ok()?)))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no file ends with {suffix}: is this a git work tree?");
    found
}

/// Fails with all faults at once, one a line.
fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
