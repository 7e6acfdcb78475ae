//! What the command line asks for.

use replicator::mutation::Mutation;
use simulation::{cores, scenario_named, scenario_of};

/// How to call it.
pub(crate) const USAGE: &str = "\
usage: simulation --seeds N [--base B] [--keep-going] [--threads T] [--break RULE]
       simulation --seed S [--trace] [--break RULE]
       simulation --scenario NAME [--trace] [--break RULE]
       simulation --scenario RULE [--trace]
       simulation --mutations [--seeds N]
RULE is one of the first column of --mutations; NAME is one of its last column, and RULE in its place
means the scenario that is written for it, with that rule broken";

/// Runs of each mutation unless told otherwise.
const MUTATION_SEEDS: u64 = 300;

/// One run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct One {
    pub(crate) seed: u64,
    pub(crate) tracing: bool,
    pub(crate) broken: Option<Mutation>,
}

/// Many runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Many {
    pub(crate) seeds: u64,
    pub(crate) base: Option<u64>,
    pub(crate) keep_going: bool,
    pub(crate) broken: Option<Mutation>,
    pub(crate) threads: usize,
}

/// One scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Play {
    pub(crate) name: &'static str,
    pub(crate) tracing: bool,
    pub(crate) broken: Option<Mutation>,
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Many(Many),
    One(One),
    Scenario(Play),
    /// Every rule broken in turn.
    Mutations {
        seeds: u64,
    },
}

/// The arguments, taken out as they are understood.
struct Arguments(Vec<String>);

impl Arguments {
    fn flag(&mut self, name: &str) -> bool {
        let at = self.0.iter().position(|argument| argument == name);
        at.map(|at| self.0.remove(at)).is_some()
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        let Some(at) = self.0.iter().position(|argument| argument == name) else {
            return Ok(None);
        };
        if at + 1 >= self.0.len() {
            return Err(format!("{name} wants a value"));
        }
        self.0.remove(at);
        Ok(Some(self.0.remove(at)))
    }

    fn number(&mut self, name: &str) -> Result<Option<u64>, String> {
        self.text(name)?
            .map(|text| text.parse().map_err(|_| format!("{name} {text}: not a number")))
            .transpose()
    }

    fn rule(&mut self, name: &str) -> Result<Option<Mutation>, String> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        rule_named(&text)
            .map(Some)
            .ok_or_else(|| format!("{name} {text}: there is no such rule to break"))
    }

    /// A scenario by its name, or by the rule that it is written for.
    fn scenario(&mut self) -> Result<Option<(&'static str, Option<Mutation>)>, String> {
        let Some(text) = self.text("--scenario")? else { return Ok(None) };
        if let Some(scenario) = scenario_named(&text) {
            return Ok(Some((scenario.name, None)));
        }
        let broken = rule_named(&text);
        broken
            .and_then(scenario_of)
            .map(|scenario| Some((scenario.name, broken)))
            .ok_or_else(|| format!("--scenario {text}: there is no such scenario or rule"))
    }
}

fn rule_named(text: &str) -> Option<Mutation> {
    Mutation::ALL.iter().copied().find(|mutation| mutation.name() == text)
}

impl Order {
    /// Understands a command line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut given = Arguments(arguments.to_vec());
        let (seed, seeds) = (given.number("--seed")?, given.number("--seeds")?);
        let scenario = given.scenario()?;
        let order = match (seed, seeds, scenario, given.flag("--mutations")) {
            (None, seeds, None, true) => Self::Mutations { seeds: seeds.unwrap_or(MUTATION_SEEDS) },
            (Some(seed), None, None, false) => {
                let (tracing, broken) = (given.flag("--trace"), given.rule("--break")?);
                Self::One(One { seed, tracing, broken })
            }
            (None, Some(seeds), None, false) => Self::Many(Many {
                seeds,
                base: given.number("--base")?,
                keep_going: given.flag("--keep-going"),
                broken: given.rule("--break")?,
                threads: given
                    .number("--threads")?
                    .map_or_else(cores, |threads| usize::try_from(threads).unwrap_or(1)),
            }),
            (None, None, Some((name, broken)), false) => {
                let broken = if broken.is_some() { broken } else { given.rule("--break")? };
                Self::Scenario(Play { name, tracing: given.flag("--trace"), broken })
            }
            _ => return Err("one seed, many seeds, a scenario, or all mutations?".into()),
        };
        match given.0.first() {
            None => Ok(order),
            Some(unknown) => Err(format!("{unknown} is not understood here")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Order, String> {
        Order::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn every_form_of_the_command_is_understood() {
        let broken = Some(Mutation::AckBeforePeer);
        let many = Many { seeds: 5, base: None, keep_going: true, broken: None, threads: 3 };
        assert_eq!(parsed("--seeds 5 --keep-going --threads 3"), Ok(Order::Many(many)));
        let one = One { seed: 7, tracing: true, broken };
        assert_eq!(parsed("--seed 7 --trace --break AckBeforePeer"), Ok(Order::One(one)));
        assert_eq!(parsed("--mutations"), Ok(Order::Mutations { seeds: MUTATION_SEEDS }));
        assert_eq!(parsed("--mutations --seeds 9"), Ok(Order::Mutations { seeds: 9 }));
        let name = "d2_an_answer_means_both_disks";
        let play = |tracing, broken| Ok(Order::Scenario(Play { name, tracing, broken }));
        assert_eq!(parsed("--scenario AckBeforePeer"), play(false, broken));
        assert_eq!(parsed(&format!("--scenario {name} --trace")), play(true, None));
        assert_eq!(
            parsed(&format!("--scenario {name} --break AckBeforePeer")),
            play(false, broken)
        );
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for line in [
            "",
            "--seed 7 --seeds 5",
            "--seed x",
            "--seed",
            "--seed 7 --loud",
            "--seed 7 --break No",
            "--scenario no_such_scenario",
            "--scenario AckBeforePeer --break AckBeforePeer",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
