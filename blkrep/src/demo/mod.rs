//! `blkrep demo`: two nodes on this machine, to look at and to break.

mod failover;
mod interrupt;
mod nbd_client;
mod nodes;
mod pattern;
pub mod scratch_dir;
mod watch;

use crate::cli::DemoArgs;
use crate::control::client::ControlError;
use crate::control::protocol::Request;
use crate::create_md::CreateMdError;
use interrupt::Interrupt;
use nbd_client::NbdError;
use nodes::{NodeId, Pair};
use replicator::state::{ConnectionState, Role};
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why a demo ended early or found something wrong.
#[derive(Debug, Error)]
pub enum DemoError {
    /// A file or process operation failed.
    #[error("cannot {what}: {source}; is there space, and may you write there? Try --dir")]
    Io {
        /// What was tried.
        what: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The directory holds something else.
    #[error("{directory} is neither empty nor a former demo; give an empty directory")]
    NotADemo {
        /// The directory.
        directory: PathBuf,
    },
    /// The metadata of a disk could not be written.
    #[error(transparent)]
    CreateMd(#[from] CreateMdError),
    /// A daemon did not answer.
    #[error("{node}: {source}")]
    Control {
        /// The node.
        node: &'static str,
        /// Why.
        source: ControlError,
    },
    /// A daemon refused.
    #[error("{node} refuses '{verb}': {text}")]
    Refused {
        /// The node.
        node: &'static str,
        /// The command.
        verb: &'static str,
        /// Its words.
        text: String,
    },
    /// A daemon ended by itself.
    #[error("the daemon of {node} ended ({status}); from its log:\n{log}")]
    Ended {
        /// The node.
        node: &'static str,
        /// How.
        status: String,
        /// Its last lines.
        log: String,
    },
    /// Something took too long.
    #[error("{what} did not happen within {waited_s} s; with --dir the logs are kept, look there")]
    TooSlow {
        /// What was waited for.
        what: &'static str,
        /// How long, in seconds.
        waited_s: u64,
    },
    /// The built-in NBD client failed.
    #[error("{node}: {source}")]
    Nbd {
        /// The node.
        node: &'static str,
        /// Why.
        source: NbdError,
    },
    /// The data are not what they must be.
    #[error("DATA ARE WRONG: {0}; keep the directory with --dir and report this")]
    Wrong(String),
    /// Ctrl-C.
    #[error("interrupted; everything was ended and cleaned up")]
    Interrupted,
}

/// Runs the demo until it is done or interrupted; either way nothing is left behind but a directory
/// that was asked for.
///
/// # Errors
/// See [`DemoError`].
pub fn run(args: &DemoArgs) -> Result<(), DemoError> {
    let interrupt = Interrupt::listen()
        .map_err(|source| DemoError::Io { what: "listen for Ctrl-C".to_owned(), source })?;
    let mut pair = Pair::prepare(args)?;
    println!("blkrep demo: two nodes on this machine, in {}", pair.directory().display());
    pair.start(NodeId::Alpha)?;
    pair.start(NodeId::Beta)?;
    step("both daemons started");
    watch::until(&mut pair, &interrupt, "the connection", |pair| {
        Ok(pair.status(NodeId::Alpha)?.connection == ConnectionState::Connected)
    })?;
    step("alpha and beta are connected");
    pair.command(NodeId::Alpha, Request::Primary { force: true })?;
    step("alpha is Primary; its empty disk was declared good with --force");
    watch::sync(&mut pair, &interrupt, NodeId::Alpha)?;
    step("the initial sync is done: both disks are UpToDate");
    println!();
    if args.failover {
        failover::run(&mut pair, &interrupt)?;
    } else {
        explain(&pair);
        watch::live(&mut pair, &interrupt)?;
    }
    finish(&mut pair)
}

/// Prints one thing that was done.
fn step(text: &str) {
    println!("  ok  {text}");
}

fn explain(pair: &Pair) {
    for id in NodeId::BOTH {
        println!("  {:<6}{}", id.name(), pair.uri(id));
    }
    println!(
        "\nalpha serves the device now; beta refuses until it is promoted. Try in another shell:"
    );
    println!("  nbdinfo '{}'", pair.uri(NodeId::Alpha));
    println!("  {} status demo", pair.command_line(NodeId::Beta));
    println!("  {} secondary demo", pair.command_line(NodeId::Alpha));
    println!("  {} primary demo", pair.command_line(NodeId::Beta));
    println!("\nCtrl-C ends both nodes.\n");
}

/// Demotes whoever is Primary, and ends both daemons.
fn finish(pair: &mut Pair) -> Result<(), DemoError> {
    for id in NodeId::BOTH {
        if pair.is_running(id) && pair.status(id)?.role == Role::Primary {
            pair.command(id, Request::Secondary)?;
        }
    }
    for id in NodeId::BOTH {
        pair.down(id)?;
    }
    step("both nodes were ended cleanly");
    Ok(())
}
