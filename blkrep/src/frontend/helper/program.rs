//! Runs the helper: its three actions, what it is told, its time, and what its answers mean.

use super::device::{named, size_bytes};
use crate::daemon::DaemonPlan;
use crate::frontend::keeper::blocking;
use crate::frontend::links::Link;
use crate::frontend::probe::probe;
use crate::handlers::environment;
use crate::shell_run::{End, ShellRun};
use nbd_server::Export;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Whoever waits for a command is told the helper's answer before it is told that there is none
/// (`Request::patience`); `handler-timeout` makes each of them shorter.
const ATTACH_MAX: Duration = Duration::from_secs(30);
/// What waits in memory is written first.
const DETACH_MAX: Duration = Duration::from_secs(45);
/// A cluster manager waits for it.
const DROP_MAX: Duration = Duration::from_secs(20);

/// What a helper is run for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Attach,
    Detach,
    Drop,
}

impl Action {
    const fn word(self) -> &'static str {
        match self {
            Self::Attach => "attach",
            Self::Detach => "detach",
            Self::Drop => "drop",
        }
    }

    const fn limit(self) -> Duration {
        match self {
            Self::Attach => ATTACH_MAX,
            Self::Detach => DETACH_MAX,
            Self::Drop => DROP_MAX,
        }
    }
}

/// Why a helper has not done what it was run for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HelperError {
    /// It said so.
    #[error("attach-helper {action}: {reason} (exit code {code})")]
    Refused {
        /// What it was run for.
        action: &'static str,
        /// Its exit code.
        code: i32,
        /// The last line of its standard error.
        reason: String,
    },
    /// It did not end by itself with an exit code.
    #[error("attach-helper {action}: {reason}")]
    Broken {
        /// What it was run for.
        action: &'static str,
        /// What happened, and the next step.
        reason: String,
    },
    /// What it has made cannot be used.
    #[error("attach-helper attach: {reason}; run it by hand to see why")]
    Useless {
        /// What is wrong with it.
        reason: String,
    },
}

/// The helper of a resource on this node.
#[derive(Debug)]
pub(crate) struct Helper {
    command: String,
    environment: Vec<(String, OsString)>,
    limit: Duration,
    dev: PathBuf,
    resource: String,
}

impl Helper {
    /// The helper of `plan`, the shell command `command`.
    pub(crate) fn of(plan: &DaemonPlan, command: &str) -> Self {
        let resource = plan.settings.resource.clone();
        let mut environment = environment(plan);
        environment.push(("BLKREP_NBD_URI".into(), uri(&resource, &plan.nbd_socket).into()));
        let limit = plan.handlers.timeout;
        Self { command: command.to_owned(), environment, limit, dev: "/dev".into(), resource }
    }

    /// Has a block device made of `export`, looks at it and links it.
    ///
    /// # Errors
    /// There is none; something half done may be left.
    pub(super) async fn attach(&self, export: &Export) -> Result<PathBuf, HelperError> {
        let variables = [
            ("BLKREP_SIZE_BYTES".to_owned(), export.size_bytes.to_string().into()),
            ("BLKREP_BLOCK_BYTES".to_owned(), export.block_bytes_min.to_string().into()),
        ];
        let line = self.run(Action::Attach, true, &variables).await?;
        let (size, dev, resource) = (export.size_bytes, self.dev.clone(), self.resource.clone());
        let linked = blocking(move || {
            let device = named(&line)?;
            let shown = device.display();
            let found = size_bytes(&device).map_err(|error| format!("{shown}: {error}"))?;
            if found != size {
                return Err(format!("{shown} has {found} bytes, the export has {size}"));
            }
            probe(&device).map_err(|error| format!("{shown} cannot be read: {error}"))?;
            let link = Link::new(&dev, &resource, &device);
            link.make().map_err(|error| format!("{shown} cannot be linked: {error}"))?;
            tracing::info!("{shown} is attached, {}", link.path().display());
            Ok(device)
        });
        linked.await.map_err(|reason| HelperError::Useless { reason })
    }

    /// Ends the device in order, unless somebody uses it; without a daemon that serves it
    /// (`is_served`) nothing can be written any more.
    ///
    /// # Errors
    /// It stays, linked as it was.
    pub(crate) async fn detach(&self, is_served: bool) -> Result<(), HelperError> {
        self.run(Action::Detach, is_served, &[]).await?;
        self.unlink();
        Ok(())
    }

    /// Gets rid of the device, whoever uses it, and of what is left of an earlier one.
    ///
    /// # Errors
    /// Something is left.
    pub(crate) async fn drop_device(&self) -> Result<(), HelperError> {
        // The program finds the old device by the link; nobody opens it anew meanwhile.
        let variables = [self.block_device()];
        self.unlink();
        self.run(Action::Drop, false, &variables).await.map(drop)
    }

    /// The path that an earlier attach has printed; empty when there is none.
    fn block_device(&self) -> (String, OsString) {
        let device = Link::target(&self.dev, &self.resource).unwrap_or_default();
        ("BLKREP_BLOCK_DEVICE".into(), device.into())
    }

    fn unlink(&self) {
        let Some(target) = Link::target(&self.dev, &self.resource) else { return };
        let link = Link::new(&self.dev, &self.resource, &target);
        if let Err(error) = link.remove() {
            tracing::warn!("{} was not removed: {error}", link.path().display());
        }
    }

    /// Runs it to its end; the last line of its output.
    async fn run(
        &self,
        action: Action,
        is_served: bool,
        variables: &[(String, OsString)],
    ) -> Result<String, HelperError> {
        let word = action.word();
        let name = format!("attach-helper {word}");
        let command = format!("{} {word}", self.command);
        let mut environment = self.environment.clone();
        environment.push(self.block_device());
        environment.push(("BLKREP_SERVED".into(), if is_served { "1" } else { "0" }.into()));
        environment.extend_from_slice(variables);
        let limit = action.limit().min(self.limit);
        tracing::info!("{name}: running {command}");
        // What it leaves running serves a part of the kernel's write-back path.
        let run =
            ShellRun { name: &name, command: &command, environment, limit, is_protected: true };
        let ended = run.run().await;
        let reason = match ended.end {
            End::Exited(0) => return Ok(ended.last_line),
            End::Exited(code) => {
                let reason = match ended.last_error {
                    said if said.is_empty() => "it gives no reason; run it by hand".to_owned(),
                    said => said,
                };
                return Err(HelperError::Refused { action: word, code, reason });
            }
            End::Signalled(status) => format!("ended by a signal ({status}); run it by hand"),
            End::TooLate => {
                let said = match ended.last_error {
                    said if said.is_empty() => String::new(),
                    said => format!(" (its last words: {said})"),
                };
                format!("not done after {} s, killed{said}; run it by hand", limit.as_secs())
            }
            End::NotStarted(error) => format!("/bin/sh could not be started: {error}"),
            End::NotSeen(error) => format!("its end was not seen: {error}"),
        };
        Err(HelperError::Broken { action: word, reason })
    }
}

/// The NBD URI of the export: whatever is not plain in the path of the socket is written in
/// hexadecimal.
fn uri(resource: &str, socket: &Path) -> String {
    let mut uri = format!("nbd+unix:///{resource}?socket=");
    for byte in socket.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-~".contains(byte) {
            uri.push(char::from(*byte));
        } else {
            write!(uri, "%{byte:02X}").expect("invariant: a string takes everything");
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_with_odd_characters_is_found_by_its_uri() {
        assert_eq!(
            uri("r0", Path::new("/run/blkrep/r0.nbd")),
            "nbd+unix:///r0?socket=/run/blkrep/r0.nbd"
        );
        let odd = Path::new("/run/a b&c#d%\u{e9}/r0.nbd");
        assert_eq!(uri("r0", odd), "nbd+unix:///r0?socket=/run/a%20b%26c%23d%25%C3%A9/r0.nbd");
    }
}
