//! The test bed: two real daemons on one machine, and everything that can happen to them.
//!
//! A [`Pair`] is two nodes with backing files, one configuration and a network of their own. Tests
//! kill and stop daemons, cut the link, load the device and compare the replicas. Whatever is
//! started here ends with the test, also when the test panics or is killed.
//!
//! These are tools of tests: what a test cannot go on without is a panic that says what was
//! expected, what was seen and where the logs are. Errors are returned only where a test wants to
//! see them.
//!
//! | to read about | open |
//! |---|---|
//! | the two nodes and what is done to them | `pair`, `node`, `state` |
//! | their network, and how it is cut | `network` |
//! | clients of the device | `nbd_client`, `ledger`, `writer`, `fio` |
//! | what may happen in a round of random failures | `failures` |
//! | what speaks to the peer port in a node's place | `fake_peer` |
//! | metadata edited by hand | `metadata_edit` |
//! | disks that note what reaches them, devices over an export | `block_device` |
//! | mounts of one node | `mount_space` |
//! | a disk that is full, or stands still | `file_system` |
//! | a machine on a device, with its file system | `machine` |
//! | PostgreSQL on it, and clients that note its commits | `postgresql`, `row_ledger` |
//! | programs, waiting, comparing, skipping | `program`, `wait`, `compare`, `skips` |

pub mod block_device;
pub mod compare;
pub mod failures;
pub mod fake_peer;
pub mod file_system;
pub mod fio;
pub mod ledger;
pub mod machine;
pub mod metadata_edit;
pub mod mount_space;
pub mod nbd_client;
pub mod network;
pub mod node;
pub mod pair;
pub mod postgresql;
pub mod program;
pub mod row_ledger;
pub mod scratch;
pub mod seeded;
pub mod skips;
pub mod state;
pub mod wait;
pub mod writer;

pub use node::Node;
pub use pair::{Pair, PairOptions};
pub use program::Output;
pub use state::State;
pub use wait::wait_until;
