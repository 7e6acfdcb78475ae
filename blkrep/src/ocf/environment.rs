//! What the cluster tells an action in its environment: timeout, interval, limits of the clone, who
//! is promoted where.

use std::collections::BTreeMap;
use std::time::Duration;

/// The feature set from which `crm_attribute --promotion` is the way to set a score.
const PROMOTION_FEATURE_SET: [u32; 2] = [3, 10];

/// The variables that begin with `OCF_`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Environment(BTreeMap<String, String>);

/// An action that other actions are told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Notice {
    /// `pre` or `post`.
    pub(super) kind: String,
    /// `start`, `stop`, `promote` or `demote`.
    pub(super) operation: String,
}

impl Environment {
    /// That of this process.
    pub(super) fn of_this_process() -> Self {
        let text = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Self::new(text)
    }

    /// Variables and their values.
    pub(super) fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let ours = variables.into_iter().filter(|(name, _)| name.starts_with("OCF_"));
        Self(ours.collect())
    }

    /// A parameter of the resource as it is configured; none when it is not, or empty.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.given(name).filter(|value| !value.is_empty())
    }

    /// As [`Environment::parameter`], where empty means something.
    pub(super) fn given(&self, name: &str) -> Option<&str> {
        self.get(&format!("OCF_RESKEY_{name}")).map(str::trim)
    }

    /// An attribute that the cluster adds.
    pub(super) fn meta(&self, name: &str) -> Option<&str> {
        self.parameter(&format!("CRM_meta_{name}"))
    }

    /// An attribute that has two names: of roles Promoted, and of roles Master.
    pub(super) fn meta_either(&self, new: &str, old: &str) -> Option<&str> {
        self.meta(new).or_else(|| self.meta(old))
    }

    /// True in a cluster; a person or a tester has no node attributes.
    pub(super) fn is_cluster(&self) -> bool {
        self.parameter("crm_feature_set").is_some() && self.get("OCF_RESOURCE_INSTANCE").is_some()
    }

    /// True when this cluster knows `crm_attribute --promotion`.
    pub(super) fn knows_promotion(&self) -> bool {
        let set = self.parameter("crm_feature_set").unwrap_or_default();
        let numbers: Vec<u32> = set.split('.').map_while(|part| part.parse().ok()).collect();
        numbers.as_slice() >= &PROMOTION_FEATURE_SET[..]
    }

    /// How long the action may take; none when nobody says.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.meta("timeout")?.parse().ok().map(Duration::from_millis)
    }

    /// True of a monitor that is to find out whether the resource runs here.
    pub(super) fn is_probe(&self) -> bool {
        self.meta("interval") == Some("0")
    }

    /// What a notify action tells.
    pub(super) fn notice(&self) -> Notice {
        let word = |name: &str| self.meta(name).unwrap_or_default().to_owned();
        Notice { kind: word("notify_type"), operation: word("notify_operation") }
    }

    /// Nodes with a promoted instance before the actions that are under way, less those on which it
    /// is being stopped or demoted, less this one (known by any of `me`).
    pub(super) fn promoted_elsewhere(&self, me: &[&str]) -> Vec<String> {
        let nodes = |new: &str, old: &str| -> Vec<String> {
            let list = self.meta_either(new, old).unwrap_or_default();
            list.split_whitespace().map(str::to_owned).collect()
        };
        let mut leaving = nodes("notify_stop_uname", "notify_stop_uname");
        leaving.extend(nodes("notify_demote_uname", "notify_demote_uname"));
        let cluster_name = self.meta("on_node");
        let is_me = |node: &str| {
            me.iter().copied().chain(cluster_name).any(|name| name.eq_ignore_ascii_case(node))
        };
        nodes("notify_promoted_uname", "notify_master_uname")
            .into_iter()
            .filter(|node| !is_me(node) && !leaving.contains(node))
            .collect()
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// A truth value as Pacemaker writes and reads it.
pub(super) fn is_true(text: &str) -> bool {
    ["true", "on", "yes", "y", "1"].iter().any(|word| word.eq_ignore_ascii_case(text))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An environment of a few variables.
    pub(in super::super) fn environment(pairs: &[(&str, &str)]) -> Environment {
        Environment::new(pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())))
    }

    #[test]
    fn feature_sets_are_numbers_not_text() {
        for (set, knows) in
            [("3.16.1", true), ("3.10.0", true), ("3.10", true), ("3.9.9", false), ("2.11", false)]
        {
            let told = environment(&[("OCF_RESKEY_crm_feature_set", set)]);
            assert_eq!(told.knows_promotion(), knows, "{set}");
        }
        assert!(!environment(&[]).knows_promotion());
    }

    #[test]
    fn both_sets_of_names_are_read_and_the_new_one_goes_first() {
        let old = ("OCF_RESKEY_CRM_meta_master_max", "1");
        let new = ("OCF_RESKEY_CRM_meta_promoted_max", "2");
        let max = |pairs: &[_]| {
            environment(pairs).meta_either("promoted_max", "master_max").map(str::to_owned)
        };
        assert_eq!(max(&[old]), Some("1".to_owned()));
        assert_eq!(max(&[old, new]), Some("2".to_owned()));
        assert_eq!(max(&[]), None);
    }

    #[test]
    fn who_is_promoted_elsewhere_is_said_by_the_lists() {
        let promoted = ("OCF_RESKEY_CRM_meta_notify_promoted_uname", "alice bob");
        let me = ["bob"];
        assert_eq!(environment(&[promoted]).promoted_elsewhere(&me), ["alice"]);
        let old = ("OCF_RESKEY_CRM_meta_notify_master_uname", "alice");
        assert_eq!(environment(&[old]).promoted_elsewhere(&me), ["alice"]);
        for leaves in ["stop", "demote"] {
            let list = format!("OCF_RESKEY_CRM_meta_notify_{leaves}_uname");
            let told = environment(&[promoted, (&list, "alice")]);
            assert!(told.promoted_elsewhere(&me).is_empty(), "{leaves}");
        }
        // The cluster may know this node by another name than the host's.
        let named = ("OCF_RESKEY_CRM_meta_on_node", "ALICE");
        assert!(environment(&[promoted, named]).promoted_elsewhere(&me).is_empty());
        // Empty lists are one space.
        let none = ("OCF_RESKEY_CRM_meta_notify_promoted_uname", " ");
        assert!(environment(&[none]).promoted_elsewhere(&me).is_empty());
    }

    #[test]
    fn a_probe_is_a_monitor_without_an_interval() {
        let interval = |ms| environment(&[("OCF_RESKEY_CRM_meta_interval", ms)]);
        assert!(interval("0").is_probe());
        assert!(!interval("10000").is_probe());
        let told = environment(&[("OCF_RESKEY_CRM_meta_timeout", "60000")]);
        assert_eq!(told.timeout(), Some(Duration::from_secs(60)));
        assert!(!told.is_cluster());
    }
}
