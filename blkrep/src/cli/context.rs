//! What every verb works with: where things are, which node this is, and how to ask a daemon.

use super::args::Global;
use super::failure::Failure;
use crate::config::{self, ConfigError, NodeConfig, Resource, disk_ends};
use crate::control::client::{ControlError, ask};
use crate::control::protocol::{Request, Response};
use crate::disk_ends::DiskEnds;
use replicator::status::Status;
use std::path::PathBuf;

/// The options of every verb, resolved.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) config_dir: PathBuf,
    pub(crate) run_dir: PathBuf,
    pub(crate) node: String,
}

impl Context {
    pub(crate) fn new(global: Global) -> Self {
        // The daemon gets these paths and may run elsewhere.
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        let host = || gethostname::gethostname().to_string_lossy().into_owned();
        Self {
            config_dir: absolute(global.config_dir),
            run_dir: absolute(global.run_dir),
            node: global.node.unwrap_or_else(host),
        }
    }

    /// The names that `target` stands for.
    pub(crate) fn names(&self, target: &str) -> Result<Vec<String>, ConfigError> {
        match target {
            "all" => config::all_names(&self.config_dir),
            name => Ok(vec![name.to_owned()]),
        }
    }

    pub(crate) fn load(&self, name: &str) -> Result<Resource, ConfigError> {
        config::load(&self.config_dir, name)
    }

    /// As [`Context::load`], for a daemon that begins to run beside those of other resources.
    pub(crate) fn load_to_run(&self, name: &str) -> Result<Resource, ConfigError> {
        let resource = self.load(name)?;
        config::check_device(&self.config_dir, &resource, &self.node)?;
        Ok(resource)
    }

    /// Where the disk of that node was known to end.
    pub(crate) fn disk_ends(&self, name: &str, node: &NodeConfig) -> DiskEnds {
        DiskEnds::at(disk_ends(&self.run_dir, name, &node.name))
    }

    /// Sends a request; a refusal is a failure. The configuration is looked at only when nobody
    /// answers: a daemon that runs can be asked even when its file has been broken since.
    pub(crate) fn ask(&self, name: &str, request: Request) -> Result<Response, Failure> {
        match ask(&self.run_dir, name, request) {
            Ok(Response::Refused { kind, text }) => Err(Failure::Refused { kind, text }),
            Ok(response) => Ok(response),
            Err(error @ ControlError::NotUp { resource: _ }) => {
                self.load(name)?;
                Err(error.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn status(&self, name: &str) -> Result<Status, Failure> {
        match self.ask(name, Request::Status)? {
            Response::Status(status) => Ok(*status),
            Response::Done | Response::Refused { kind: _, text: _ } => {
                let reason = "a status was asked for".to_owned();
                Err(ControlError::Nonsense { reason }.into())
            }
        }
    }
}
