//! Brings a daemon up, and gets rid of one that is frozen or dead with everything that it has left.

use super::agent::Agent;
use super::device;
use super::exit::{Exit, Fault, note};
use crate::cli::{Failure, lifecycle};
use crate::config::{ConfigError, Resource, control_socket};
use crate::control::client::DaemonProcess;
use crate::dataplane::resume_mark::ResumeMark;
use std::time::Duration;

/// A killed process is gone within this time, unless the kernel holds it.
const KILL_MAX: Duration = Duration::from_secs(10);
/// What a daemon says that finds its disk held, by I/O of a killed one or by another process: it
/// is to be started again (D15).
const DISK_HELD: &str = " is locked by ";

/// A daemon that does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotUp {
    /// Another try may help, for as long as there is time.
    Later(String),
    /// It may have been bad luck.
    Failed(String),
    /// No try helps.
    Never(Fault),
}

impl Agent {
    /// The configuration, checked as a start checks it.
    ///
    /// # Errors
    /// It is missing on this node, or wrong.
    pub(super) fn configuration(&self) -> Result<Resource, Fault> {
        let resource = self.context.load_to_run(&self.name).map_err(config_fault)?;
        resource.to_plan(&self.context.node, &self.context.run_dir).map_err(config_fault)?;
        Ok(resource)
    }

    /// Starts the daemon and waits until it has its disk.
    ///
    /// # Errors
    /// It does not run.
    pub(super) fn bring_up(&self) -> Result<(), NotUp> {
        if let Some(started) = self.service.start(self.left()) {
            return started.map_err(NotUp::Failed);
        }
        match lifecycle::up_within(&self.context, &self.name, self.left()) {
            Ok(()) => Ok(()),
            Err(Failure::Config(error)) => Err(NotUp::Never(config_fault(error))),
            Err(failure) => {
                let text = failure.to_string();
                Err(if text.contains(DISK_HELD) { NotUp::Later(text) } else { NotUp::Failed(text) })
            }
        }
    }

    /// As [`Agent::kill`], for good: systemd does not start it again.
    ///
    /// # Errors
    /// It is still there; in words.
    pub(super) fn end(&self, process: Option<DaemonProcess>, why: &str) -> Result<(), String> {
        self.service.forbid();
        self.kill(process, why)
    }

    /// Ends a daemon that does not answer. What waited for it gets errors.
    ///
    /// # Errors
    /// It is still there; in words.
    pub(super) fn kill(&self, process: Option<DaemonProcess>, why: &str) -> Result<(), String> {
        let Some(process) = process else {
            return Err(format!("{why}; end the daemon of {} by hand (kill -9)", self.name));
        };
        let pid = process.pid().as_raw_pid();
        note(format!("{}: {why}; process {pid} is killed", self.name));
        process.kill().map_err(|error| format!("cannot kill process {pid}: {error}"))?;
        if process.wait_for_end(KILL_MAX.min(self.left())) {
            Ok(())
        } else {
            Err(format!("process {pid} was killed and is still there; is a disk hanging?"))
        }
    }

    /// Has the users of a dead Primary's device get errors instead of waiting. The mark stays: it
    /// is a Primary's that has failed until it is demoted or stopped.
    pub(super) fn give_errors(&self) {
        let socket = control_socket(&self.context.run_dir, &self.name);
        let released = ResumeMark::take(&socket)
            .map_err(|error| error.to_string())
            .and_then(|lock| device::release_dead(&self.context, &self.name, &lock));
        if let Err(text) = released {
            note(format!("{}: whoever uses its device may wait: {text}", self.name));
        }
    }

    /// Takes away what a dead Primary has left: first its device, then the mark by which its next
    /// start would be Primary (G4), under the lock that keeps it from starting meanwhile.
    ///
    /// # Errors
    /// Something of it is still there; in words.
    pub(super) fn bury(&self, left: &str) -> Result<(), String> {
        note(format!("{}: the daemon is dead, and was Primary; {left} is removed", self.name));
        self.service.forbid();
        let run_dir = &self.context.run_dir;
        std::fs::create_dir_all(run_dir)
            .map_err(|error| format!("cannot create {}: {error}", run_dir.display()))?;
        let socket = control_socket(run_dir, &self.name);
        let mark = ResumeMark::take(&socket).map_err(|error| error.to_string())?;
        device::release_dead(&self.context, &self.name, &mark)?;
        mark.remove().map_err(|error| format!("cannot remove {}: {error}", mark.path().display()))
    }
}

/// What kind of failure a configuration that cannot be used is. All of it is a matter of this node:
/// the file may be right on the other one.
fn config_fault(error: ConfigError) -> Fault {
    let exit = match &error {
        ConfigError::Missing { file: _, next: _ }
        | ConfigError::Unreadable { file: _, source: _ }
        | ConfigError::NothingConfigured { directory: _ }
        | ConfigError::UnknownNode { file: _, node: _, first: _, second: _ } => Exit::NotInstalled,
        ConfigError::Invalid { file: _, line: _, problem: _ }
        | ConfigError::DeviceTaken { file: _, node: _, device: _, other: _ }
        | ConfigError::Secret { file: _, problem: _ } => Exit::Arguments,
    };
    Fault::new(exit, error.to_string())
}
