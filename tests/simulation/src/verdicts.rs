//! How a broken rule fared: which of the scenarios written for it noticed it, and in how many
//! random runs something went wrong.

use crate::schedule_table::is_covered;
use replicator::mutation::Mutation;
use std::fmt::{self, Display, Formatter};

/// How one mutation fared.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The broken rule.
    pub mutation: Mutation,
    /// The scenarios that were played with it, and whether each noticed it.
    pub scenarios: Vec<(&'static str, bool)>,
    /// Random runs with it.
    pub runs: u64,
    /// How many of them noticed it.
    pub caught: u64,
}

impl Verdict {
    /// Some scenario or run noticed it, or nobody can: another rule keeps the same.
    #[must_use]
    pub fn is_caught(&self) -> bool {
        is_covered(self.mutation)
            || self.caught > 0
            || self.scenarios.iter().any(|(_, noticed)| *noticed)
    }
}

/// The table for the reader of a test's output: one line for each mutation, and below it who was
/// noticed by no random run.
#[derive(Debug)]
pub struct Verdicts<'a>(pub &'a [Verdict]);

impl Display for Verdicts<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().map(|verdict| verdict.mutation.name().len());
        let width = names.max().unwrap_or(0);
        writeln!(f, "{:width$}  {:>11}  noticed by", "mutation", "random runs")?;
        for verdict in self.0 {
            let runs = format!("{} of {}", verdict.caught, verdict.runs);
            let by: Vec<String> = verdict
                .scenarios
                .iter()
                .map(
                    |(name, noticed)| {
                        if *noticed { (*name).to_owned() } else { format!("NOT BY {name}") }
                    },
                )
                .collect();
            let missed = match (is_covered(verdict.mutation), verdict.is_caught()) {
                (true, _) => "nobody: another rule keeps the same",
                (false, true) => "",
                (false, false) => "NOT CAUGHT ",
            };
            let name = verdict.mutation.name();
            writeln!(f, "{name:width$}  {runs:>11}  {missed}{}", by.join(", "))?;
        }
        let caught = self.0.iter().filter(|verdict| verdict.is_caught()).count();
        writeln!(f, "{caught} of {} broken rules were noticed", self.0.len())?;
        let never: Vec<&str> = self
            .0
            .iter()
            .filter(|verdict| verdict.caught == 0)
            .map(|verdict| verdict.mutation.name())
            .collect();
        writeln!(f, "by no random run of these: {}", never.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_who_was_missed_and_by_what() {
        let verdict = Verdict {
            mutation: Mutation::ALL[0],
            scenarios: vec![("a_scenario", false)],
            runs: 3,
            caught: 0,
        };
        assert!(!verdict.is_caught());
        let table = Verdicts(&[verdict]).to_string();
        for words in ["0 of 3", "NOT CAUGHT", "NOT BY a_scenario", "0 of 1 broken rules"] {
            assert!(table.contains(words), "{words}: {table}");
        }
    }
}
