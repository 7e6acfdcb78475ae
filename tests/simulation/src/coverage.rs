//! How often each interesting thing happened: a simulator that never reaches a corner proves
//! nothing about it.

use crate::marks;
use std::collections::BTreeMap;
use std::fmt;

/// Counters by name.
#[derive(Debug, Clone, Default)]
pub struct Coverage {
    counts: BTreeMap<&'static str, u64>,
}

impl Coverage {
    /// One more of these.
    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// How many of these.
    #[must_use]
    pub fn of(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or_default()
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        for (what, count) in &other.counts {
            *self.counts.entry(what).or_default() += count;
        }
    }

    /// Counts what a line of the engine's log tells.
    pub(crate) fn hear(&mut self, line: &str) {
        const TOLD: [(&str, &str); 13] = [
            ("going on alone", "rotation"),
            ("amount: Full", "full sync verdict"),
            ("amount: Bitmap", "bitmap sync verdict"),
            ("handshake: NoSync", "no sync verdict"),
            ("Split-Brain detected", "split brain detected"),
            ("a full sync follows", "full sync after a split brain announced"),
            ("automatically solved", "split brain solved by a policy"),
            ("manually solved", "split brain solved by the operator's word"),
            ("was restored from an older copy", "restored copy noticed"),
            ("Resync done", "resync done"),
            ("everything counts as out of sync", "all bits set at attach"),
            ("the source has blocks that were not known", "sync not yet"),
            ("shall become SyncTarget, but it is Primary", "verdict against a Primary"),
        ];
        for (words, what) in TOLD.iter().chain(marks::TOLD) {
            if line.contains(words) {
                self.count(what);
            }
        }
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, count) in &self.counts {
            writeln!(f, "{count:>10}  {what}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_two_runs_add_up() {
        let (mut first, mut second) = (Coverage::default(), Coverage::default());
        first.hear("going on alone: a new generation begins");
        second.count("rotation");
        first.add(&second);
        assert_eq!(first.of("rotation"), 2);
    }
}
