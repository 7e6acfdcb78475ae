//! Finds the files that `include` names, and notices files that include themselves.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// The files that are being read, and those that were.
#[derive(Debug, Default)]
pub(super) struct Files {
    open: Vec<PathBuf>,
    seen: BTreeSet<PathBuf>,
}

/// Whether a file is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// Its first time.
    New,
    /// It was read before; DRBD tolerates that and reads it once.
    Seen,
    /// It is being read: it includes itself, perhaps by way of others.
    Recursion,
}

impl Files {
    /// Begins to read `path`; ended by [`Files::leave`] if it is new.
    pub(super) fn enter(&mut self, path: &Path) -> Entry {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if self.open.contains(&path) {
            return Entry::Recursion;
        }
        if !self.seen.insert(path.clone()) {
            return Entry::Seen;
        }
        self.open.push(path);
        Entry::New
    }

    pub(super) fn leave(&mut self) {
        self.open.pop();
    }
}

/// The text of a file. What is not UTF-8 becomes U+FFFD, which the scanner allows in comments.
pub(super) fn read(path: &Path) -> io::Result<String> {
    // A FIFO would keep whoever typed the command waiting, and a device has no end.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    Ok(String::from_utf8_lossy(&fs::read(path)?).into_owned())
}

/// True if `pattern` stands for whatever matches it, perhaps for nothing.
pub(super) fn is_pattern(pattern: &str) -> bool {
    pattern.contains(['*', '?', '['])
}

/// The files that match `pattern` relative to `directory`, in alphabetical order. Without wildcards
/// it is the one file, whether it exists or not.
pub(super) fn matching(directory: &Path, pattern: &str) -> Vec<PathBuf> {
    let mut found = vec![directory.to_owned()];
    for component in Path::new(pattern).components() {
        let Component::Normal(name) = component else {
            found.iter_mut().for_each(|path| path.push(component));
            continue;
        };
        let name = name.to_string_lossy();
        found = if is_pattern(&name) {
            found.iter().flat_map(|path| children(path, &name)).collect()
        } else {
            found.iter().map(|path| path.join(&*name)).collect()
        };
    }
    if is_pattern(pattern) {
        found.retain(|path| path.exists());
    }
    found.sort_unstable();
    found
}

fn children(directory: &Path, pattern: &str) -> Vec<PathBuf> {
    let pattern: Vec<char> = pattern.chars().collect();
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            let name: Vec<char> = entry.file_name().to_string_lossy().chars().collect();
            // As in a shell: a hidden file is not meant by a wildcard.
            (name.first() != Some(&'.') || pattern.first() == Some(&'.'))
                && matches(&pattern, &name)
        })
        .map(|entry| entry.path())
        .collect()
}

/// The wildcards of glob(7): `*`, `?`, and `[...]` with ranges and `!`.
fn matches(pattern: &[char], name: &[char]) -> bool {
    let Some((first, rest)) = pattern.split_first() else { return name.is_empty() };
    match (first, name.split_first()) {
        ('*', _) => (0..=name.len()).any(|taken| matches(rest, &name[taken..])),
        (_, None) => false,
        ('?', Some((_, left))) => matches(rest, left),
        ('[', Some((c, left))) => match rest.iter().skip(1).position(|c| *c == ']') {
            Some(end) => one_of(&rest[..=end], *c) && matches(&rest[end + 2..], left),
            None => *c == '[' && matches(rest, left),
        },
        (literal, Some((c, left))) => literal == c && matches(rest, left),
    }
}

/// `set` is what stands between the brackets.
fn one_of(set: &[char], c: char) -> bool {
    let (negated, set) = match set {
        ['!' | '^', set @ ..] if !set.is_empty() => (true, set),
        set => (false, set),
    };
    let mut at = 0;
    let mut is_in = false;
    while at < set.len() {
        if at + 2 < set.len() && set[at + 1] == '-' {
            is_in |= (set[at]..=set[at + 2]).contains(&c);
            at += 3;
        } else {
            is_in |= set[at] == c;
            at += 1;
        }
    }
    is_in != negated
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scratch_dir::ScratchDir;

    #[test]
    fn wildcards_match_as_in_a_shell() {
        let is_match = |pattern: &str, name: &str| {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            matches(&chars(pattern), &chars(name))
        };
        for (pattern, name) in [
            ("*.res", "r0.res"),
            ("*", ""),
            ("r?.res", "r0.res"),
            ("r[0-3x].res", "r2.res"),
            ("r[0-3x].res", "rx.res"),
            ("r[!0-3].res", "r4.res"),
            ("a*b*c", "a1b2b3c"),
            ("[", "["),
        ] {
            assert!(is_match(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("*.res", "r0.conf"), ("r[0-3].res", "r4.res"), ("r[!0-3].res", "r1.res"), ("?", "")]
        {
            assert!(!is_match(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn files_are_found_relative_to_a_directory_in_alphabetical_order() {
        let dir = ScratchDir::new("import-files");
        fs::create_dir(dir.path().join("drbd.d")).unwrap();
        for name in ["b.res", "a.res", ".hidden.res", "c.conf"] {
            fs::write(dir.path().join("drbd.d").join(name), "").unwrap();
        }
        let found = |pattern: &str| -> Vec<String> {
            let paths = matching(dir.path(), pattern).into_iter();
            let names = paths.map(|path| path.strip_prefix(dir.path()).unwrap().to_owned());
            names.map(|path| path.to_string_lossy().into_owned()).collect()
        };
        assert_eq!(found("drbd.d/*.res"), ["drbd.d/a.res", "drbd.d/b.res"]);
        assert_eq!(found("d*/c.conf"), ["drbd.d/c.conf"]);
        assert_eq!(found("*/missing"), [""; 0]);
        assert_eq!(found("missing"), ["missing"]);
        let absolute = dir.path().join("drbd.d/[ab].res");
        assert_eq!(matching(Path::new("/"), absolute.to_str().unwrap()).len(), 2);
    }

    #[test]
    fn a_file_is_read_once_and_never_inside_itself() {
        let dir = ScratchDir::new("import-once");
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        fs::write(&one, "").unwrap();
        std::os::unix::fs::symlink(&one, &two).unwrap();
        let mut files = Files::default();
        assert_eq!(files.enter(&one), Entry::New);
        assert_eq!(files.enter(&two), Entry::Recursion);
        files.leave();
        assert_eq!(files.enter(&two), Entry::Seen);
    }
}
