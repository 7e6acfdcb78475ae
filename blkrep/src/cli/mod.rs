//! The command line: reads it, carries the verb out on each resource, and makes the exit code.

mod args;
pub(crate) mod context;
mod failure;
mod fence;
mod import;
mod inspect;
pub(crate) mod lifecycle;
pub(crate) mod outdate;
mod show;
mod verify;
mod wait;

pub use args::{Args, DaemonArgs, DemoArgs, Global, ImportArgs, Patience, Target, Verb};
pub use failure::Failure;
pub use fence::{FenceArgs, StonithArgs, UnfenceArgs};

use crate::control::protocol::Request;
use crate::demo;
use crate::ocf;
use crate::render::words;
use clap::Parser;
use context::Context;
use std::process::ExitCode;
use std::time::Instant;
use verify::Verify;
use wait::{Goal, Wait};

/// Runs the program; wrong usage ends it at once with exit code 2.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    let context = Context::new(args.global);
    ExitCode::from(run(&context, args.verb))
}

/// Carries the verb out and returns its exit code.
fn run(context: &Context, verb: Verb) -> u8 {
    let asks = |target: Target, request| {
        each(context, &target.resource, |name| context.ask(name, request).map(drop))
    };
    let waits = |target: Target, goal, patience: Patience| {
        let wait = Wait { goal, timeout: patience.timeout, since: Instant::now() };
        each(context, &target.resource, |name| wait.run(context, name))
    };
    match verb {
        Verb::CreateMd { target, force } => {
            each(context, &target.resource, |name| lifecycle::create_metadata(context, name, force))
        }
        Verb::Up(target) => each(context, &target.resource, |name| lifecycle::up(context, name)),
        Verb::Down(target) => {
            each(context, &target.resource, |name| lifecycle::down(context, name))
        }
        Verb::Connect { target, discard_my_data } => {
            asks(target, Request::Connect { discard_my_data })
        }
        Verb::Disconnect(target) => asks(target, Request::Disconnect),
        Verb::Primary { target, force } => asks(target, Request::Primary { force }),
        Verb::Secondary(target) => asks(target, Request::Secondary),
        Verb::Attach(target) => asks(target, Request::Attach),
        Verb::Detach { target, force } => asks(target, Request::Detach { force }),
        Verb::Invalidate(target) => asks(target, Request::Invalidate),
        Verb::InvalidateRemote(target) => asks(target, Request::InvalidateRemote),
        Verb::Outdate(target) => {
            each(context, &target.resource, |name| outdate::outdate(context, name))
        }
        Verb::PauseSync(target) => asks(target, Request::PauseSync),
        Verb::ResumeSync(target) => asks(target, Request::ResumeSync),
        Verb::SuspendIo(target) => asks(target, Request::SuspendIo),
        Verb::ResumeIo(target) => asks(target, Request::ResumeIo),
        Verb::NewCurrentUuid { target, clear_bitmap } => {
            asks(target, Request::NewCurrentUuid { clear_bitmap })
        }
        Verb::Resize { target, size, assume_clean } => {
            asks(target, Request::Resize { size_bytes: size, assume_clean })
        }
        Verb::Verify { target, start, stop, wait, repair } => {
            let verify = Verify { start_bytes: start, stop_bytes: stop, repair, wait };
            each(context, &target.resource, |name| verify.run(context, name))
        }
        Verb::Repair { target, from } => asks(target, Request::Repair { from }),
        Verb::Status { resource, json } => status(context, &resource, json),
        Verb::Role(target) => {
            each(context, &target.resource, |name| show::word(context, name, words::role))
        }
        Verb::Cstate(target) => each(context, &target.resource, |name| {
            show::word(context, name, |status| words::cstate(status).to_owned())
        }),
        Verb::Dstate(target) => {
            each(context, &target.resource, |name| show::word(context, name, words::dstate))
        }
        Verb::Dump(target) => each(context, &target.resource, |name| show::dump(context, name)),
        Verb::GetGi(target) => {
            each(context, &target.resource, |name| inspect::get_gi(context, name))
        }
        Verb::ShowGi(target) => {
            each(context, &target.resource, |name| inspect::show_gi(context, name))
        }
        Verb::DumpMd(target) => {
            each(context, &target.resource, |name| inspect::dump_md(context, name))
        }
        Verb::WaitConnect { target, patience } => waits(target, Goal::Connected, patience),
        Verb::WaitSync { target, patience } => waits(target, Goal::InSync, patience),
        Verb::Daemon(args) => {
            report("blkrep: ", &args.resource, lifecycle::run_daemon(context, &args))
        }
        Verb::CrmFencePeer(args) => fence::crm_fence_peer(context, &args),
        Verb::CrmUnfencePeer(args) => fence::crm_unfence_peer(context, &args),
        Verb::StonithFencePeer(args) => fence::stonith_fence_peer(context, &args),
        Verb::Ocf { action } => ocf::run(context, action.as_deref()),
        Verb::Demo(args) => report("blkrep: ", "demo", demo::run(&args).map_err(Failure::from)),
        Verb::ImportDrbd(args) => {
            report("blkrep: ", "import-drbd", import::import_drbd(context, &args))
        }
    }
}

fn status(context: &Context, target: &str, json: bool) -> u8 {
    // As drbdsetup, whose messages about a resource begin with its name.
    if !json {
        return each_as("", context, target, |name| show::status(context, name));
    }
    let mut array = Vec::new();
    let code = each_as("", context, target, |name| show::collect_json(context, name, &mut array));
    show::print_json(array);
    code
}

fn each(context: &Context, target: &str, verb: impl FnMut(&str) -> Result<(), Failure>) -> u8 {
    each_as("blkrep: ", context, target, verb)
}

/// Runs `verb` on every resource that `target` stands for; the largest exit code counts (drbd-facts
/// 6.2).
fn each_as(
    prefix: &str,
    context: &Context,
    target: &str,
    mut verb: impl FnMut(&str) -> Result<(), Failure>,
) -> u8 {
    match context.names(target) {
        Ok(names) => {
            let codes = names.iter().map(|name| report(prefix, name, verb(name)));
            codes.max().unwrap_or(0)
        }
        Err(error) => report("blkrep: ", target, Err(error.into())),
    }
}

fn report(prefix: &str, name: &str, result: Result<(), Failure>) -> u8 {
    match result {
        Ok(()) => 0,
        Err(failure) => {
            eprintln!("{prefix}{name}: {failure}");
            failure.exit_code()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::client::ControlError;
    use crate::demo::scratch_dir::ScratchDir;
    use std::fs;

    fn context(dir: &ScratchDir) -> Context {
        let path = dir.path().to_owned();
        Context::new(Global { config_dir: path.clone(), run_dir: path, node: Some("a".to_owned()) })
    }

    #[test]
    fn over_several_resources_the_largest_exit_code_counts_and_none_is_left_out() {
        let dir = ScratchDir::new("cli-all");
        for name in ["r0", "r1", "r2"] {
            fs::write(dir.path().join(format!("{name}.toml")), "").unwrap();
        }
        let mut seen = Vec::new();
        let code = each(&context(&dir), "all", |name| {
            seen.push(name.to_owned());
            match name {
                "r0" => Err(Failure::StandAlone { reason: String::new() }),
                "r1" => Err(ControlError::NotUp { resource: name.to_owned() }.into()),
                _ => Ok(()),
            }
        });
        assert_eq!(code, 11);
        assert_eq!(seen, ["r0", "r1", "r2"]);
    }

    #[test]
    fn a_resource_without_a_file_and_an_empty_directory_are_matters_of_configuration() {
        let dir = ScratchDir::new("cli-none");
        let context = context(&dir);
        assert_eq!(run(&context, Verb::Status { resource: "r0".to_owned(), json: false }), 10);
        assert_eq!(run(&context, Verb::Up(Target { resource: "r0".to_owned() })), 10);
        assert_eq!(run(&context, Verb::Dump(Target { resource: "all".to_owned() })), 10);
    }
}
