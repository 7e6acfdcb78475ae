//! The configuration: one TOML file per resource, the same on both nodes (DESIGN 8).
//!
//! | to read about | open |
//! |---|---|
//! | what a resource is | `resource` |
//! | how a file becomes one, and every check on it | `parse`, `section`, `error` |
//! | which files there are | `locate` |
//! | what a daemon is started with | `plan`, `secret` |
//! | where its files are | `paths` |
//! | the words of the policies | `words` |
//! | which startup timeout holds | `startup` |
//! | the normalised file | `dump` |

mod dump;
mod error;
mod locate;
mod parse;
mod paths;
mod plan;
mod resource;
mod secret;
mod section;
mod startup;
pub mod units;
mod words;

pub use error::{ConfigError, Problem, SecretProblem};
pub use locate::{all_names, check_device, load};
pub(crate) use parse::parse;
pub use paths::{RUN_DIR, control_socket, disk_ends, fence_lock, log_file, nbd_socket};
pub use resource::{HandlerCommands, MetaDisk, Net, NodeConfig, PeerTrust, Resource};
pub(crate) use secret::SECRET_BYTES_MIN;
pub use startup::{KeyAndTime, Startup};
