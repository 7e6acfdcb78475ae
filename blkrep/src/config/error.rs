//! What can be wrong with a configuration: the cause, where it stands, and the next step.

use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why a resource's configuration cannot be used. Ends a command with exit code 10 (drbd-facts
/// 6.2).
#[derive(Debug, Error)]
pub enum ConfigError {
    /// No file for the resource.
    #[error("no configuration {file}; {next}")]
    Missing {
        /// The file that was looked for.
        file: PathBuf,
        /// What to do: create it, or the resources that do exist.
        next: String,
    },
    /// The file is there and cannot be read.
    #[error("cannot read {file}: {source}; check its owner and mode")]
    Unreadable {
        /// The file or directory.
        file: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// `all` was asked for and there is nothing.
    #[error("no resource is configured in {directory}; put a NAME.toml there or give --config-dir")]
    NothingConfigured {
        /// The configuration directory.
        directory: PathBuf,
    },
    /// Something in the file is wrong.
    #[error("{file}:{line}: {problem}", file = file.display())]
    Invalid {
        /// The file.
        file: PathBuf,
        /// Line, from 1 on.
        line: usize,
        /// What.
        problem: Problem,
    },
    /// This host is neither of the two nodes.
    #[error(
        "{file}: this node is called '{node}', the file has the nodes '{first}' and '{second}'; \
         give --node {first} or --node {second}, or rename one of the [node.NAME] tables",
        file = file.display()
    )]
    UnknownNode {
        /// The file.
        file: PathBuf,
        /// The name that was looked for.
        node: String,
        /// The first node of the file.
        first: String,
        /// The second one.
        second: String,
    },
    /// Two resources want one device on one host.
    #[error(
        "{file}: 'device' of {node} is {device}, which is that of the resource '{other}' as well; give \
         each its own",
        file = file.display()
    )]
    DeviceTaken {
        /// The file.
        file: PathBuf,
        /// The node.
        node: String,
        /// The device.
        device: String,
        /// The other resource.
        other: String,
    },
    /// The shared secret cannot be used.
    #[error("the secret file {file}: {problem}")]
    Secret {
        /// The file that `shared-secret-file` names.
        file: PathBuf,
        /// What is wrong with it.
        problem: SecretProblem,
    },
}

/// What is wrong with a secret file.
#[derive(Debug, Error)]
pub enum SecretProblem {
    /// It cannot be read.
    #[error("{0}; create it on both nodes with the same content and mode 0600")]
    Unreadable(#[from] io::Error),
    /// Everybody on the machine can read it.
    #[error("mode {mode:04o} lets every user read it; run 'chmod 600' on it")]
    WorldReadable {
        /// Its permission bits.
        mode: u32,
    },
    /// Too short to be a secret or too long to be meant.
    #[error("it holds {bytes} bytes, {min} to {max} are expected; write a random line into it")]
    Length {
        /// Its length without the trailing newline.
        bytes: usize,
        /// Fewest.
        min: usize,
        /// Most.
        max: usize,
    },
}

/// What is wrong at one place of a configuration file.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum Problem {
    /// Not TOML.
    #[error("{0}; see https://toml.io for the notation")]
    Syntax(String),
    /// A key that does not exist.
    #[error("unknown key '{key}' in {table}; {hint}")]
    UnknownKey {
        /// The key as written.
        key: String,
        /// Where it stands.
        table: String,
        /// The nearest valid key, or all of them.
        hint: String,
    },
    /// A value of a wrong type or form.
    #[error("'{key}' is {found}; write {expected}")]
    BadValue {
        /// The key.
        key: String,
        /// What stands there.
        found: String,
        /// How it should look.
        expected: String,
    },
    /// A value that DRBD knows and this version does not carry out.
    #[error("'{key}' is {found}, which this version cannot do; {supported}")]
    Unsupported {
        /// The key.
        key: String,
        /// What stands there.
        found: String,
        /// What it can do instead.
        supported: String,
    },
    /// A key that must be there.
    #[error("{table} has no '{key}'; add {example}")]
    MissingKey {
        /// Where it should stand.
        table: String,
        /// The key.
        key: &'static str,
        /// A line to copy.
        example: &'static str,
    },
    /// `name` and the file's name differ.
    #[error("'name' is '{name}', the file is called '{stem}.toml'; rename one of them")]
    NameMismatch {
        /// The value of `name`.
        name: String,
        /// The file's name without `.toml`.
        stem: String,
    },
    /// Not two nodes.
    #[error("there are {count} [node.NAME] tables; write exactly two, one for each host")]
    NodeCount {
        /// How many there are.
        count: usize,
    },
    /// Two things that must differ do not.
    #[error("both nodes have {what}; give each node its own")]
    SameOnBothNodes {
        /// What they share.
        what: String,
    },
    /// Data and metadata in one place.
    #[error("'disk' and 'meta-disk' are both {path}; write meta-disk = \"internal\" for that")]
    MetaDiskIsDisk {
        /// The path.
        path: String,
    },
    /// DRBD's rule on timers (drbd-facts 2.9).
    #[error(
        "'timeout' ({timeout}) must be shorter than '{other}' ({other_value}); \
         lower 'timeout' or raise '{other}'"
    )]
    TimerOrder {
        /// `timeout`.
        timeout: String,
        /// The other key.
        other: &'static str,
        /// Its value.
        other_value: String,
    },
    /// Two ways to one block device.
    #[error(
        "{table} has a 'device' and an 'attach-helper'; keep device = /dev/nbd{index} if the kernel \
         has the module 'nbd' (modprobe nbd), and 'attach-helper' if it has not"
    )]
    TwoDevices {
        /// Where they stand.
        table: String,
        /// N of `/dev/nbdN`.
        index: u32,
    },
    /// A kernel's device that gives up before its daemon can be back.
    #[error(
        "'device-timeout' ({value}) must be longer than {least}, which a restarted daemon may wait \
         for its peer ('timeout') and for 'fence-peer' ('handler-timeout')"
    )]
    DeviceTimeout {
        /// `device-timeout`.
        value: String,
        /// The two together.
        least: String,
    },
    /// The floor of the resync above its cap.
    #[error("'min-rate' ({min_rate}) is above 'rate' ({rate}); lower 'min-rate' or raise 'rate'")]
    RateOrder {
        /// `min-rate`.
        min_rate: String,
        /// `rate`.
        rate: String,
    },
    /// A policy that runs a handler, and no such handler.
    #[error(
        "{key} = \"{value}\" runs the handler '{handler}', and there is none; add \
         {handler} = \"COMMAND\" to [handlers], or choose another '{key}'"
    )]
    HandlerMissing {
        /// The key of the policy.
        key: &'static str,
        /// Its value.
        value: &'static str,
        /// The handler's key.
        handler: &'static str,
    },
    /// No secret on a network that others may reach (DESIGN 8, Security).
    #[error(
        "address {address} is not a loopback address and there is no secret: whoever reaches the port \
         could overwrite the data; set 'shared-secret-file' in [net], or 'allow-insecure = true' \
         if the link is private"
    )]
    NoSecret {
        /// The address.
        address: String,
    },
}
