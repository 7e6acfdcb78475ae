//! The parameters of the resource: the table of all of them, and their values from the environment.

use super::environment::{Environment, is_true};
use super::exit::{Exit, Fault};
use super::score::{DEFAULT, Ladder};
use std::path::PathBuf;
use std::time::Duration;

/// A row of the table: what the metadata say of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parameter {
    /// Its name.
    pub(super) name: &'static str,
    /// `string`, `integer` or `boolean`.
    pub(super) kind: &'static str,
    /// Its value when it is not given.
    pub(super) default: Option<&'static str>,
    /// No two resources may have the same value.
    pub(super) unique: bool,
    /// A change needs no restart.
    pub(super) reloadable: bool,
    /// In a few words.
    pub(super) short: &'static str,
    /// In full.
    pub(super) long: &'static str,
}

/// All of them. Neither name of the resource is `required` for itself: a configuration that was
/// written for DRBD has the second one alone. That there is one is checked by every action.
pub(super) const PARAMETERS: [Parameter; 6] = [
    Parameter {
        name: "resource",
        kind: "string",
        default: None,
        unique: true,
        reloadable: false,
        short: "Name of the blkrep resource",
        long: "Name of the blkrep resource, whose file is NAME.toml in config_dir. Required, here or \
               as drbd_resource.",
    },
    Parameter {
        name: "drbd_resource",
        kind: "string",
        default: None,
        unique: true,
        reloadable: false,
        short: "Another name for resource",
        long: "The same as resource, under the name that ocf:linbit:drbd has for it, so that \
               configurations carry over. resource goes first if both are given.",
    },
    Parameter {
        name: "config_dir",
        kind: "string",
        default: Some("/etc/blkrep.d"),
        unique: false,
        reloadable: false,
        short: "Directory of the configuration files",
        long: "Directory of the configuration files of blkrep's resources.",
    },
    Parameter {
        name: "adjust_master_score",
        kind: "string",
        default: Some("0 10 1000 10000"),
        unique: false,
        reloadable: true,
        short: "The four promotion scores",
        long: "Four numbers that do not fall: the promotion score of a node whose data are whole and \
               perhaps not the newest; of one that would use the peer's good data; of one with good \
               data that knows nothing of its peer; of one with good data that knows its peer's \
               state, or is Promoted. 0 means no score: never promoted.",
    },
    Parameter {
        name: "wfc_timeout",
        kind: "integer",
        default: Some("5"),
        unique: false,
        reloadable: true,
        short: "How long start waits for the peer, in seconds",
        long: "How long a start waits for the connection to the peer, in seconds, before it succeeds \
               without. Empty, or not a number: it does not wait.",
    },
    Parameter {
        name: "stop_outdates_secondary",
        kind: "boolean",
        default: Some("false"),
        unique: false,
        reloadable: true,
        short: "Whether a Secondary without its peer marks itself Outdated",
        long: "Whether a Secondary that is stopped, or cannot see its peer, marks its data as \
               Outdated while the resource stays Promoted on the other node. Needs notifications \
               (clone meta attribute notify=true).",
    },
];

/// The values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parameters {
    /// The resource; or why it cannot be told.
    pub(super) resource: Result<String, Fault>,
    /// Where its file is, if that is given.
    pub(super) config_dir: Option<PathBuf>,
    /// The scores.
    pub(super) ladder: Ladder,
    /// How long a start waits for the peer.
    pub(super) wfc_timeout: Duration,
    /// Whether a lone Secondary marks itself.
    pub(super) stop_outdates_secondary: bool,
    /// What was not understood and is replaced by its default.
    pub(super) warnings: Vec<String>,
}

impl Parameters {
    /// From what the cluster says.
    pub(super) fn new(told: &Environment) -> Self {
        let mut warnings = Vec::new();
        let ladder = match told.parameter("adjust_master_score") {
            None => DEFAULT,
            Some(text) => Ladder::parse(text).unwrap_or_else(|| {
                warnings.push(format!(
                    "adjust_master_score is '{text}', not four numbers that do not fall; the default \
                     '{}' holds",
                    default_of("adjust_master_score")
                ));
                DEFAULT
            }),
        };
        let wfc = told.given("wfc_timeout").unwrap_or_else(|| default_of("wfc_timeout"));
        let outdates = told.parameter("stop_outdates_secondary").unwrap_or_default();
        Self {
            resource: resource(told),
            config_dir: told.parameter("config_dir").map(PathBuf::from),
            ladder,
            wfc_timeout: wfc.parse().map_or(Duration::ZERO, Duration::from_secs),
            stop_outdates_secondary: is_true(outdates),
            warnings,
        }
    }
}

fn default_of(name: &str) -> &'static str {
    let found = PARAMETERS.iter().find(|parameter| parameter.name == name);
    found.and_then(|parameter| parameter.default).unwrap_or_default()
}

fn resource(told: &Environment) -> Result<String, Fault> {
    let given = told.parameter("resource").or_else(|| told.parameter("drbd_resource"));
    let Some(name) = given else {
        return Err(Fault::new(
            Exit::NotConfigured,
            "the parameter 'resource' is missing; set it to the name of a blkrep resource",
        ));
    };
    let is_name = name.bytes().all(|c| c.is_ascii_alphanumeric() || b"_.-+@".contains(&c))
        && !name.starts_with(['.', '-'])
        && name != "all";
    if is_name {
        Ok(name.to_owned())
    } else {
        Err(Fault::new(
            Exit::NotConfigured,
            format!("'{name}' cannot be the name of a resource; set 'resource' to that of one"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::environment::tests::environment;
    use super::*;

    #[test]
    fn nothing_given_is_the_defaults_of_the_table() {
        let parameters = Parameters::new(&environment(&[("OCF_RESKEY_resource", "postgres")]));
        let expected = Parameters {
            resource: Ok("postgres".to_owned()),
            config_dir: None,
            ladder: DEFAULT,
            wfc_timeout: Duration::from_secs(5),
            stop_outdates_secondary: false,
            warnings: Vec::new(),
        };
        assert_eq!(parameters, expected);
    }

    #[test]
    fn the_resource_has_two_names_and_must_have_one() {
        let named = |pairs: &[_]| Parameters::new(&environment(pairs)).resource;
        let (new, old) = (("OCF_RESKEY_resource", "r0"), ("OCF_RESKEY_drbd_resource", "r1"));
        assert_eq!(named(&[new]), Ok("r0".to_owned()));
        assert_eq!(named(&[old]), Ok("r1".to_owned()));
        assert_eq!(named(&[new, old]), Ok("r0".to_owned()));
        let missing = named(&[]).unwrap_err();
        assert_eq!(missing.exit, Exit::NotConfigured);
        assert!(missing.reason.contains("'resource' is missing"), "{}", missing.reason);
        for bad in ["../r0", "all", "a b", ".r0", "-r0", "r0;reboot"] {
            let fault = named(&[("OCF_RESKEY_resource", bad)]).unwrap_err();
            assert_eq!(fault.exit, Exit::NotConfigured, "{bad}");
        }
    }

    #[test]
    fn bad_scores_are_the_default_with_a_warning() {
        let told =
            |text| Parameters::new(&environment(&[("OCF_RESKEY_adjust_master_score", text)]));
        let parameters = told("10 5 0 0");
        assert_eq!(parameters.ladder, DEFAULT);
        assert!(parameters.warnings[0].contains("'10 5 0 0'"), "{:?}", parameters.warnings);
        let parameters = told("5 10 1000 10000");
        assert_eq!(parameters.ladder.consistent, 5);
        assert!(parameters.warnings.is_empty());
    }

    #[test]
    fn an_empty_or_odd_wfc_timeout_does_not_wait() {
        for (text, seconds) in [("", 0), ("never", 0), ("-1", 0), ("0", 0), ("30", 30)] {
            let parameters = Parameters::new(&environment(&[("OCF_RESKEY_wfc_timeout", text)]));
            assert_eq!(parameters.wfc_timeout, Duration::from_secs(seconds), "{text}");
        }
    }

    #[test]
    fn truth_values_are_those_of_pacemaker() {
        for (text, truth) in
            [("true", true), ("Yes", true), ("1", true), ("no", false), ("", false)]
        {
            let told = environment(&[("OCF_RESKEY_stop_outdates_secondary", text)]);
            assert_eq!(Parameters::new(&told).stop_outdates_secondary, truth, "{text}");
        }
    }

    #[test]
    fn the_defaults_of_the_table_are_those_of_the_code() {
        let scores = default_of("adjust_master_score");
        assert_eq!(Ladder::parse(scores), Some(DEFAULT));
        assert_eq!(default_of("config_dir"), "/etc/blkrep.d");
    }
}
