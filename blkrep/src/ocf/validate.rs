//! Checks of the configuration: of the resource in the cluster, and of blkrep's own.

use super::agent::Agent;
use super::environment::{Environment, is_true};
use super::exit::{Exit, Fault, Outcome, note};
use super::parameters::Parameters;

/// Names of a meta attribute, most that it may be, and its name for people.
type Limit = (&'static str, &'static str, u32, &'static str);

/// Two nodes have a copy each, and one of them is Primary.
const LIMITS: [Limit; 4] = [
    ("clone_max", "clone_max", 2, "clone-max"),
    ("clone_node_max", "clone_node_max", 1, "clone-node-max"),
    ("promoted_max", "master_max", 1, "promoted-max"),
    ("promoted_node_max", "master_node_max", 1, "promoted-node-max"),
];

/// Checks everything that can be checked without starting anything.
pub(super) fn validate(agent: &Agent) -> Outcome {
    limits(&agent.told, &agent.parameters)?;
    agent.configuration()?;
    Ok(Exit::Success)
}

/// Checks the meta attributes that the cluster says.
///
/// # Errors
/// One of them cannot be had.
pub(super) fn limits(told: &Environment, parameters: &Parameters) -> Result<(), Fault> {
    for (new, old, most, shown) in LIMITS {
        let Some(value) = told.meta_either(new, old) else { continue };
        if value.parse::<u32>().is_ok_and(|value| value > most) {
            let reason = format!(
                "the meta attribute {shown} is {value}, and can be {most} at most: a resource has two \
                 nodes and one Primary; set {shown}={most}"
            );
            return Err(Fault::new(Exit::NotConfigured, reason));
        }
    }
    // In no clone nobody is to be notified.
    let is_clone = told.meta("clone_max").is_some();
    if is_clone && !told.meta("notify").is_some_and(is_true) {
        if parameters.stop_outdates_secondary {
            let reason = "stop_outdates_secondary=true needs to be told where the resource is Promoted; set \
                          the meta attribute notify=true of the clone";
            return Err(Fault::new(Exit::NotConfigured, reason));
        }
        note(
            "the clone has no meta attribute notify=true: promotion scores follow the peer's state only \
             with the next monitor",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::environment::tests::environment;
    use super::*;

    fn check(pairs: &[(&str, &str)]) -> Result<(), Fault> {
        let named: Vec<(String, &str)> =
            pairs.iter().map(|(name, value)| (format!("OCF_RESKEY_{name}"), *value)).collect();
        let pairs: Vec<(&str, &str)> =
            named.iter().map(|(name, value)| (&**name, *value)).collect();
        let told = environment(&pairs);
        limits(&told, &Parameters::new(&told))
    }

    #[test]
    fn more_copies_or_primaries_than_there_can_be_are_fatal() {
        check(&[]).unwrap();
        let good = [("CRM_meta_clone_max", "2"), ("CRM_meta_promoted_max", "1")];
        check(&good).unwrap();
        for (name, value) in [
            ("CRM_meta_clone_max", "3"),
            ("CRM_meta_clone_node_max", "2"),
            ("CRM_meta_promoted_max", "2"),
            ("CRM_meta_master_max", "2"),
            ("CRM_meta_promoted_node_max", "2"),
            ("CRM_meta_master_node_max", "2"),
        ] {
            let fault = check(&[(name, value)]).unwrap_err();
            assert_eq!(fault.exit, Exit::NotConfigured, "{name}");
            assert!(fault.reason.contains("-max="), "no next step: {}", fault.reason);
        }
    }

    #[test]
    fn notifications_are_needed_only_by_what_lives_on_them() {
        let clone = ("CRM_meta_clone_max", "2");
        let outdates = ("stop_outdates_secondary", "true");
        check(&[clone]).unwrap();
        check(&[outdates]).unwrap();
        check(&[clone, outdates, ("CRM_meta_notify", "true")]).unwrap();
        let fault = check(&[clone, outdates]).unwrap_err();
        assert_eq!(fault.exit, Exit::NotConfigured);
        assert!(fault.reason.contains("notify=true"), "{}", fault.reason);
    }
}
