//! What a resource is: the content of its configuration file, parsed and checked.

use super::error::ConfigError;
use super::startup::Startup;
use metadata::LogGeometry;
use replicator::event::Handler;
use replicator::ids::NodeIndex;
use replicator::settings::{DiskSettings, NetTimers, SplitBrainPolicies, SyncSettings};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A resource. Every value is inside its range and fits the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Its name; the file is called NAME.toml.
    pub name: String,
    /// The file it was read from.
    pub file: PathBuf,
    /// `[net]`
    pub net: Net,
    /// `[disk]`: the policies.
    pub disk: DiskSettings,
    /// `[disk] al-extents`: the activity log that `create-md` makes. Existing metadata keep theirs.
    pub log: LogGeometry,
    /// `[disk] device-timeout`: how long requests wait in the kernel's device for a daemon that is
    /// gone; whole seconds.
    pub device_timeout: Duration,
    /// `[startup]`: how long `wait-connect` and `wait-sync` wait when they are not told.
    pub startup: Startup,
    /// `[sync]`.
    pub sync: SyncSettings,
    /// `[handlers]`.
    pub handlers: HandlerCommands,
    /// The two nodes, in the order of the file.
    pub nodes: [NodeConfig; 2],
}

/// `[net]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Net {
    /// The timers; `timeout` is shorter than `connect-int` and `ping-int`.
    pub timers: NetTimers,
    /// `max-buffers`: size of the arena that holds all data in flight, in bytes.
    pub arena_bytes: usize,
    /// Why the peer is believed to be the peer.
    pub trust: PeerTrust,
    /// What is done about a split brain.
    pub split_brain: SplitBrainPolicies,
}

/// `[handlers]`: the administrator's programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandlerCommands {
    /// The shell command of each handler that is configured.
    pub commands: Vec<(Handler, String)>,
    /// `handler-timeout`: a run that takes longer is killed.
    pub timeout: Duration,
}

impl HandlerCommands {
    /// The shell command of `handler`, if it is configured.
    #[must_use]
    pub fn get(&self, handler: Handler) -> Option<&str> {
        let found = self.commands.iter().find(|(known, _)| *known == handler);
        found.map(|(_, command)| command.as_str())
    }
}

/// Why the peer is believed to be the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerTrust {
    /// It knows the secret in this file (`shared-secret-file`).
    Secret(PathBuf),
    /// Both addresses are loopback addresses.
    Loopback,
    /// The administrator said `allow-insecure = true`.
    AllowInsecure,
}

/// Where the metadata of a node are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetaDisk {
    /// At the end of the data disk.
    Internal,
    /// In a file or device of their own.
    External(PathBuf),
}

/// `[node.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// Host name.
    pub name: String,
    /// The backing disk: a block device or a regular file.
    pub disk: PathBuf,
    /// The metadata.
    pub meta_disk: MetaDisk,
    /// Where it listens for its peer.
    pub address: SocketAddr,
    /// N of the `/dev/nbdN` that is attached on a Primary.
    pub device: Option<u32>,
    /// The shell command that makes a block device of the export instead, on a Primary.
    pub attach_helper: Option<String>,
    /// Where it serves NBD over TCP, besides the Unix socket.
    pub nbd_listen: Option<SocketAddr>,
}

impl Resource {
    /// Which of the two nodes is called `name`.
    ///
    /// # Errors
    /// Names both nodes and `--node` when neither is.
    pub fn node_index(&self, name: &str) -> Result<NodeIndex, ConfigError> {
        match self.nodes.iter().position(|node| node.name == name) {
            Some(0) => Ok(NodeIndex::First),
            Some(_) => Ok(NodeIndex::Second),
            None => Err(ConfigError::UnknownNode {
                file: self.file.clone(),
                node: name.to_owned(),
                first: self.nodes[0].name.clone(),
                second: self.nodes[1].name.clone(),
            }),
        }
    }

    /// The table of a node.
    #[must_use]
    pub fn node(&self, index: NodeIndex) -> &NodeConfig {
        &self.nodes[usize::from(index.number())]
    }
}
