//! The OCF resource agent: what Pacemaker asks, and how it is answered (`docs/pacemaker-agent.md`).
//!
//! The shell wrapper that Pacemaker runs hands its one argument over; everything else comes from
//! the environment. Nothing is printed on standard output but the metadata; a failure's last line
//! on standard error is its reason.
//!
//! | to read about | open |
//! |---|---|
//! | what is asked | `action`, `parameters`, `environment`, `metadata` |
//! | what each action does | `start`, `stop`, `promote`, `demote`, `monitor`, and so on |
//! | what they stand on | `sight` looks, `agent` orders, `cure` mends; `device`, `service` |
//! | what starts and demotions share | `secondary` |
//! | what the data are worth, and who is told | `score`, `attribute` |
//! | how it ends | `exit` |

mod action;
mod agent;
mod attribute;
mod cure;
mod demote;
mod device;
mod environment;
mod exit;
mod metadata;
mod monitor;
mod notify;
mod parameters;
mod promote;
mod score;
mod secondary;
mod service;
mod sight;
mod start;
mod stop;
mod validate;

use crate::cli::context::Context;
use action::Action;
use agent::Agent;
use environment::Environment;
use exit::{Exit, Fault, Outcome, note, reason_line};
use parameters::Parameters;

/// Carries the action out; the exit code is that of the OCF API.
pub(crate) fn run(context: &Context, action: Option<&str>) -> u8 {
    let name = action.unwrap_or_default();
    let outcome = match Action::named(name) {
        Some(Action::MetaData) => {
            print!("{}", metadata::metadata());
            Ok(Exit::Success)
        }
        Some(action) => act(context, action, Environment::of_this_process()),
        None => Err(Fault::new(
            Exit::Unimplemented,
            format!(
                "there is no action '{name}'; see 'blkrep ocf --help' for those that there are"
            ),
        )),
    };
    match outcome {
        Ok(exit) => exit.code(),
        Err(Fault { exit, reason }) => {
            eprintln!("{}", reason_line(&reason));
            exit.code()
        }
    }
}

fn act(context: &Context, action: Action, told: Environment) -> Outcome {
    let parameters = Parameters::new(&told);
    for warning in &parameters.warnings {
        note(warning);
    }
    let name = match &parameters.resource {
        Ok(name) => name.clone(),
        Err(fault) => return nameless(action, &told, fault.clone()),
    };
    let mut context = context.clone();
    if let Some(directory) = &parameters.config_dir {
        context.config_dir.clone_from(directory);
    }
    let agent = Agent::new(&context, name, told, parameters, action);
    match action {
        Action::Start => start::start(&agent),
        Action::Stop => stop::stop(&agent),
        Action::Promote => promote::promote(&agent),
        Action::Demote => demote::demote(&agent),
        Action::Monitor => monitor::monitor(&agent),
        Action::Notify => Ok(notify::notify(&agent)),
        Action::ReloadAgent => Ok(notify::reload(&agent)),
        Action::ValidateAll => validate::validate(&agent),
        Action::MetaData => Ok(Exit::Success),
    }
}

/// Nothing can run under no name, or an impossible one: it is stopped, and a probe finds nothing.
fn nameless(action: Action, told: &Environment, fault: Fault) -> Outcome {
    match action {
        Action::Stop | Action::Notify => {
            note(fault.reason);
            Ok(Exit::Success)
        }
        Action::Monitor if told.is_probe() => Ok(Exit::NotRunning),
        Action::Start
        | Action::Promote
        | Action::Demote
        | Action::Monitor
        | Action::ReloadAgent
        | Action::MetaData
        | Action::ValidateAll => Err(fault),
    }
}

#[cfg(test)]
mod tests {
    use super::environment::tests::environment;
    use super::*;

    #[test]
    fn without_a_name_a_stop_succeeds_a_probe_finds_nothing_and_the_rest_is_misconfigured() {
        let fault = || Fault::new(Exit::NotConfigured, "no name");
        let probe = environment(&[("OCF_RESKEY_CRM_meta_interval", "0")]);
        let told = environment(&[]);
        assert_eq!(nameless(Action::Stop, &told, fault()), Ok(Exit::Success));
        assert_eq!(nameless(Action::Notify, &told, fault()), Ok(Exit::Success));
        assert_eq!(nameless(Action::Monitor, &probe, fault()), Ok(Exit::NotRunning));
        assert_eq!(nameless(Action::Monitor, &told, fault()), Err(fault()));
        assert_eq!(nameless(Action::Start, &told, fault()), Err(fault()));
    }
}
