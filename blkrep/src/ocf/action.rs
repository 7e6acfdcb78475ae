//! The actions of the resource agent, with the timeouts that the metadata advise.

use std::time::Duration;

/// An action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Run, Unpromoted.
    Start,
    /// Do not run.
    Stop,
    /// Become Primary.
    Promote,
    /// Become Secondary.
    Demote,
    /// Say how it is.
    Monitor,
    /// Hear of the actions of others.
    Notify,
    /// Parameters have changed that need no restart.
    ReloadAgent,
    /// Print the metadata.
    MetaData,
    /// Check the configuration.
    ValidateAll,
}

/// A row of the metadata's table of actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Advice {
    /// The action.
    pub(super) action: Action,
    /// How long it may take, in seconds.
    pub(super) timeout_s: u32,
    /// Of a monitor: how often it is run, in seconds, and in which role.
    pub(super) recurs: Option<(u32, &'static str)>,
}

const fn once(action: Action, timeout_s: u32) -> Advice {
    Advice { action, timeout_s, recurs: None }
}

/// What is advised. The two monitors must not have the same interval: Pacemaker tells them apart
/// by it.
pub(super) const ADVICE: [Advice; 10] = [
    once(Action::Start, 240),
    once(Action::Stop, 100),
    once(Action::Promote, 60),
    once(Action::Demote, 30),
    once(Action::Notify, 30),
    Advice { action: Action::Monitor, timeout_s: 20, recurs: Some((10, "Promoted")) },
    Advice { action: Action::Monitor, timeout_s: 20, recurs: Some((20, "Unpromoted")) },
    once(Action::ReloadAgent, 5),
    once(Action::ValidateAll, 5),
    once(Action::MetaData, 5),
];

impl Action {
    /// The action of that name.
    pub(super) fn named(name: &str) -> Option<Self> {
        ADVICE.iter().map(|advice| advice.action).find(|action| action.name() == name)
    }

    /// Its name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Promote => "promote",
            Self::Demote => "demote",
            Self::Monitor => "monitor",
            Self::Notify => "notify",
            Self::ReloadAgent => "reload-agent",
            Self::MetaData => "meta-data",
            Self::ValidateAll => "validate-all",
        }
    }

    /// How long it may take when the cluster does not say.
    pub(super) fn timeout(self) -> Duration {
        let found = ADVICE.iter().find(|advice| advice.action == self);
        let advice = found.expect("invariant: every action has a row");
        Duration::from_secs(advice.timeout_s.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_is_found_by_its_name_and_no_other_is() {
        for advice in ADVICE {
            assert_eq!(Action::named(advice.action.name()), Some(advice.action));
            assert_eq!(Action::named(advice.action.name()).unwrap().timeout(), {
                Duration::from_secs(advice.timeout_s.into())
            });
        }
        for name in ["", "reload", "migrate_to", "Start", "status"] {
            assert_eq!(Action::named(name), None, "{name}");
        }
    }
}
