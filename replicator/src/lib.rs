//! The replication engine: one deterministic state machine per node, the same in the daemon and in
//! the simulator.
//!
//! Pure: no clock, randomness, threads, files or sockets. Time, entropy and everything that
//! happened come in as arguments of [`node::Node::handle`]; what should happen goes out as
//! [`event::Output`] wishes.
//!
//! | to read about | open |
//! |---|---|
//! | the contract with the outside | `event`, `settings`, `status` |
//! | words: roles, disk and connection states | `state`, `ids` |
//! | what the two nodes say to each other | `message`, `wire` |
//! | which way data flow when they meet (G1), who yields in a split brain (G3) | `generation`,
//! `split_brain` |
//! | the node itself, one file per flow | `node` |

mod authentication;
mod block_set;
mod command;
pub mod digest;
mod entropy;
pub mod event;
pub mod generation;
mod generation_restored;
mod generation_steps;
mod handler;
pub mod ids;
mod io_error;
mod log_line;
pub mod message;
pub mod mutation;
pub mod node;
mod overlap;
pub mod pace;
mod rate;
mod refusal;
mod resume_mark;
pub mod settings;
mod size;
mod slab;
pub mod split_brain;
pub mod state;
pub mod status;
mod timers;
mod window;
pub mod wire;
