//! The verbs that start and end a daemon: `up`, `down`, `daemon`, and `create-md` before them.

use super::args::DaemonArgs;
use super::context::Context;
use super::failure::Failure;
use crate::config::{control_socket, log_file};
use crate::control::client::{ControlError, DaemonProcess, ask};
use crate::control::protocol::{RefusalKind, Request, Response};
use crate::dataplane::resume_mark::{MarkError, ResumeMark};
use crate::frontend::keeper::Stays;
use crate::frontend::{Dead, release_unused};
use crate::{create_md, daemon};
use replicator::state::{ConnectionState, DiskState};
use replicator::status::Status;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal, setsid};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a daemon may take until its control socket answers and its disk is attached.
const START_MAX: Duration = Duration::from_secs(60);
/// How long a daemon may take to end after it has said that it does.
const END_MAX: Duration = Duration::from_secs(30);
/// How long `down` waits for a daemon that can be seen and cannot be asked.
const SETTLE_MAX: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);
/// Lines of a log that are shown when its daemon did not start.
const LAST_LINES: usize = 5;
/// Bytes of a log that are looked at for them.
const LAST_BYTES_MAX: u64 = 64 << 10;
/// Environment variable with a filter for the log, as tracing-subscriber reads it.
const LOG_VARIABLE: &str = "BLKREP_LOG";
/// How the variables begin that a cluster manager sets for a resource agent.
const MANAGER_PREFIX: &[u8] = b"OCF_";

pub(super) fn create_metadata(context: &Context, name: &str, force: bool) -> Result<(), Failure> {
    let resource = context.load(name)?;
    let index = resource.node_index(&context.node)?;
    let created = create_md::create_md(name, index, resource.node(index), resource.log, force)?;
    let ends = context.disk_ends(name, resource.node(index));
    if let Err(error) = ends.keep_only(created.disk_bytes) {
        eprintln!("where the disk ends could not be recorded: {error}");
    }
    for what in &created.overwritten {
        println!("overwritten: {what}");
    }
    println!("{}", created.summary());
    println!("New blkrep metadata block successfully created.");
    Ok(())
}

/// Starts the daemon in the background, unless it runs.
pub(super) fn up(context: &Context, name: &str) -> Result<(), Failure> {
    up_within(context, name, START_MAX)
}

/// As `up`; a daemon that is not ready after `patience` is left to itself.
///
/// # Errors
/// It does not run, or is not ready in time.
pub(crate) fn up_within(context: &Context, name: &str, patience: Duration) -> Result<(), Failure> {
    match ask(&context.run_dir, name, Request::Status) {
        Ok(_) => return Ok(()),
        Err(ControlError::NotUp { resource: _ }) => {}
        Err(error) => return Err(error.into()),
    }
    // What is wrong with the configuration is said here, not in a log.
    context.load_to_run(name)?.to_plan(&context.node, &context.run_dir)?;
    let run_dir = &context.run_dir;
    let io = |what, path: &Path| {
        let path = path.to_owned();
        move |source| Failure::Io { what, path, source }
    };
    DirBuilder::new().recursive(true).mode(0o755).create(run_dir).map_err(io("create", run_dir))?;
    let log_path = log_file(run_dir, name);
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o640)
        .open(&log_path)
        .map_err(io("open", &log_path))?;
    let said_before_bytes = log.metadata().map_err(io("look at", &log_path))?.len();
    let child = start(context, name, log).map_err(io("start the daemon and log to", &log_path))?;
    wait_until_up(context, name, child, &log_path, (said_before_bytes, patience))
}

fn start(context: &Context, name: &str, log: File) -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    // What a cluster manager tells of one action is not for the daemon, nor for its handlers.
    for (variable, _) in std::env::vars_os() {
        if variable.as_encoded_bytes().starts_with(MANAGER_PREFIX) {
            command.env_remove(variable);
        }
    }
    command
        .args(["daemon", name, "--detach", "--node", &context.node])
        .arg("--config-dir")
        .arg(&context.config_dir)
        .arg("--run-dir")
        .arg(&context.run_dir)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
}

fn wait_until_up(
    context: &Context,
    name: &str,
    mut child: Child,
    log_path: &Path,
    (said_before_bytes, patience): (u64, Duration),
) -> Result<(), Failure> {
    let deadline = Instant::now() + patience;
    loop {
        match ask(&context.run_dir, name, Request::Status) {
            // The next command of a script would be refused while the metadata are being read.
            Ok(Response::Status(status)) if is_starting(&status) => {}
            Ok(Response::Status(status)) if status.disk == DiskState::Diskless => {
                eprintln!(
                    "blkrep: {name}: up without its disk, for a cause that is in {}; mend it and run \
                     'blkrep attach {name}'",
                    log_path.display()
                );
                return Ok(());
            }
            Ok(_) => return Ok(()),
            Err(_) => {}
        }
        let ended = child.try_wait().unwrap_or(None);
        let log = log_path.display();
        if let Some(status) = ended {
            let last = last_lines(log_path, said_before_bytes)
                .unwrap_or_else(|error| format!("(the log cannot be read: {error})"));
            let text = format!("the daemon did not start ({status}); from {log}:\n{last}");
            return Err(Failure::Daemon { text });
        }
        if Instant::now() >= deadline {
            let text =
                format!("the daemon is not ready after {} s; look into {log}", patience.as_secs());
            return Err(Failure::Daemon { text });
        }
        std::thread::sleep(POLL);
    }
}

/// True until the disk was attached, or given up, and the first dial is made.
pub(crate) fn is_starting(status: &Status) -> bool {
    status.connection == ConnectionState::Unconnected
        && matches!(status.disk, DiskState::Diskless | DiskState::Attaching)
}

/// The last lines of what was logged after the first `from_bytes` bytes, indented.
fn last_lines(log: &Path, from_bytes: u64) -> io::Result<String> {
    let mut file = File::open(log)?;
    let bytes = file.metadata()?.len();
    file.seek(SeekFrom::Start(from_bytes.max(bytes.saturating_sub(LAST_BYTES_MAX))))?;
    let mut text = Vec::new();
    file.take(LAST_BYTES_MAX).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
    Ok(last.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n"))
}

/// Ends the daemon, if it runs, and waits until it is gone: afterwards its disks are free, and a
/// start is no Primary's.
pub(super) fn down(context: &Context, name: &str) -> Result<(), Failure> {
    let deadline = Instant::now() + SETTLE_MAX;
    loop {
        let process = DaemonProcess::of(&context.run_dir, name);
        match context.ask(name, Request::Down) {
            Ok(_) => {
                return match process {
                    Some(process) if !process.wait_for_end(END_MAX) => {
                        Err(Failure::DaemonStays { waited_s: END_MAX.as_secs() })
                    }
                    Some(_) | None => Ok(()),
                };
            }
            Err(Failure::Control(ControlError::NotUp { resource: _ })) => {}
            Err(failure) => return Err(failure),
        }
        match forget_role(context, name) {
            // A daemon that has no socket yet, or none any more; or somebody else who stops it.
            Err(Failure::Mark(MarkError::Locked { path: _, holder: _ }))
                if Instant::now() < deadline =>
            {
                std::thread::sleep(POLL);
            }
            result => return result,
        }
    }
}

/// A daemon that died as a Primary would go on as one when it is started again (G4); after `down`
/// the other node may be promoted, so it must not. What waits for it in its block device must
/// not be written later either (D16): all under one lock.
fn forget_role(context: &Context, name: &str) -> Result<(), Failure> {
    if !context.run_dir.exists() {
        return Ok(());
    }
    let mark = ResumeMark::take(&control_socket(&context.run_dir, name))?;
    let resource = context.load(name)?;
    resource.node_index(&context.node)?;
    let (run_dir, node) = (context.run_dir.as_path(), context.node.as_str());
    let dead = Dead { run_dir, resource: name, node, config: Some(&resource) };
    release_unused(&mark, &dead).map_err(|stays| {
        let text = stays.to_string();
        let kind = match stays {
            Stays::InUse(_) => RefusalKind::State,
            Stays::Failed(_) => RefusalKind::KernelDevice,
        };
        Failure::Refused { kind, text }
    })?;
    mark.remove().map_err(|source| {
        let path = mark.path().to_owned();
        Failure::Io { what: "remove", path, source }
    })
}

/// Runs the daemon in the foreground until it is told to end.
pub(super) fn run_daemon(context: &Context, args: &DaemonArgs) -> Result<(), Failure> {
    if args.detach {
        // Fails only for the leader of a process group, which is in no danger from its parent's
        // terminal.
        setsid().ok();
    }
    if let Some(parent) = args.end_with_parent {
        end_with(parent)?;
    }
    start_log();
    let plan = context.load_to_run(&args.resource)?.to_plan(&context.node, &context.run_dir)?;
    fs::create_dir_all(&context.run_dir).map_err(|source| {
        let path = context.run_dir.clone();
        Failure::Io { what: "create", path, source }
    })?;
    daemon::run(&plan).map_err(|error| Failure::Daemon { text: format!("{error:#}") })
}

fn end_with(parent: i32) -> Result<(), Failure> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| {
        let text = format!(
            "cannot ask to be ended with its parent: {error}; start it without --end-with-parent"
        );
        Failure::Daemon { text }
    })?;
    // It may have ended before the request.
    if getppid().map(Pid::as_raw_pid) != Some(parent) {
        let text = "the process that started this one is gone; start it again".to_owned();
        return Err(Failure::Daemon { text });
    }
    Ok(())
}

fn start_log() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false)
        .try_init()
        // A log that is there already is as good.
        .ok();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scratch_dir::ScratchDir;

    #[test]
    fn only_the_last_lines_of_this_start_are_shown() {
        let dir = ScratchDir::new("last-lines");
        let log = dir.path().join("r0.log");
        let old = "old\nold\n";
        let new: String = (1..=7).map(|n| format!("line {n}\n\n")).collect();
        fs::write(&log, format!("{old}{new}")).unwrap();
        let last = last_lines(&log, old.len() as u64).unwrap();
        assert_eq!(last, "  line 3\n  line 4\n  line 5\n  line 6\n  line 7");
        fs::write(&log, format!("{old}only\n")).unwrap();
        assert_eq!(last_lines(&log, old.len() as u64).unwrap(), "  only");
    }
}
