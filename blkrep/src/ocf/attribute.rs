//! The node attribute that holds the promotion score, set by the cluster's own program.

use super::environment::Environment;
use super::exit::note;
use super::score::Score;
use crate::bounded_run;
use std::io;
use std::process::Command;
use std::time::Duration;

/// The program answers within this time. It speaks to a daemon on this host.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Where the cluster's programs are when they are not in PATH.
const SBIN: &str = "/usr/sbin";

/// How the attribute is set here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Attribute {
    /// There is no cluster.
    None,
    /// `crm_attribute --promotion`.
    Promotion,
    /// `crm_master -l reboot`, before feature set 3.10.
    Master,
}

impl Attribute {
    /// The way of the cluster that called.
    pub(super) fn new(told: &Environment) -> Self {
        match (told.is_cluster(), told.knows_promotion()) {
            (false, _) => Self::None,
            (true, true) => Self::Promotion,
            (true, false) => Self::Master,
        }
    }

    /// Makes the attribute what `score` says. That it cannot be set fails no action: the next
    /// monitor sets it.
    pub(super) fn set(&self, score: Score) {
        let Some((program, arguments)) = self.command(score) else { return };
        let result = match run(program, &arguments) {
            // Not in PATH.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                run(&format!("{SBIN}/{program}"), &arguments)
            }
            result => result,
        };
        let shown = format!("{program} {}", arguments.join(" "));
        match result {
            Ok(bounded_run::Ended { code: Some(0), .. }) => {}
            Ok(ended) => note(format!(
                "the promotion score was not set: '{shown}' ended with {:?}: {}; the next monitor \
                 sets it",
                ended.code,
                ended.stderr.trim()
            )),
            Err(error) => note(format!(
                "the promotion score was not set: '{shown}': {error}; the next monitor sets it"
            )),
        }
    }

    /// What is run; nothing where the score stays, or nobody keeps one.
    fn command(&self, score: Score) -> Option<(&'static str, Vec<String>)> {
        let value = match score {
            Score::Keep => return None,
            Score::Set(value) => vec!["-v".to_owned(), value.to_string()],
            Score::Never => vec!["-v".to_owned(), "-INFINITY".to_owned()],
            Score::Delete => vec!["-D".to_owned()],
        };
        let (program, words): (_, &[&str]) = match self {
            Self::None => return None,
            Self::Promotion => ("crm_attribute", &["--promotion"]),
            Self::Master => ("crm_master", &["-l", "reboot"]),
        };
        Some((program, words.iter().map(ToString::to_string).chain(value).collect()))
    }
}

fn run(program: &str, arguments: &[String]) -> io::Result<bounded_run::Ended> {
    bounded_run::run(Command::new(program).args(arguments), ANSWER_MAX)
}

#[cfg(test)]
mod tests {
    use super::super::environment::tests::environment;
    use super::*;

    fn shown(attribute: &Attribute, score: Score) -> Option<String> {
        attribute
            .command(score)
            .map(|(program, arguments)| format!("{program} {}", arguments.join(" ")))
    }

    #[test]
    fn the_cluster_decides_which_program_is_run() {
        let instance = ("OCF_RESOURCE_INSTANCE", "p_postgres");
        let with =
            |set| Attribute::new(&environment(&[instance, ("OCF_RESKEY_crm_feature_set", set)]));
        assert_eq!(with("3.16.1"), Attribute::Promotion);
        assert_eq!(with("3.9.0"), Attribute::Master);
        assert_eq!(Attribute::new(&environment(&[instance])), Attribute::None);
    }

    #[test]
    fn each_score_is_its_command() {
        let new = |score| shown(&Attribute::Promotion, score);
        assert_eq!(new(Score::Set(1000)).unwrap(), "crm_attribute --promotion -v 1000");
        assert_eq!(new(Score::Delete).unwrap(), "crm_attribute --promotion -D");
        assert_eq!(new(Score::Never).unwrap(), "crm_attribute --promotion -v -INFINITY");
        assert_eq!(new(Score::Keep), None);
        let old = |score| shown(&Attribute::Master, score);
        assert_eq!(old(Score::Set(10)).unwrap(), "crm_master -l reboot -v 10");
        assert_eq!(old(Score::Delete).unwrap(), "crm_master -l reboot -D");
        assert_eq!(shown(&Attribute::None, Score::Set(10)), None);
    }
}
