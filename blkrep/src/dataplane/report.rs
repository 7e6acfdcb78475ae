//! The engine's events as lines of the log: one line per change of state, with the old and the new
//! state.

use replicator::event::{Event, Level};

/// Writes an event to the log.
pub(super) fn log_event(event: &Event) {
    match event {
        Event::Role { old, new, reason } => {
            tracing::info!("role( {old} -> {new} ) [{reason}]");
        }
        Event::Disk { old, new, reason } => {
            tracing::info!("disk( {old} -> {new} ) [{reason}]");
        }
        Event::PeerDisk { old, new, reason } => {
            tracing::info!("peer-disk( {old} -> {new} ) [{reason}]");
        }
        Event::Connection { old, new, reason } => {
            tracing::info!("conn( {old} -> {new} ) [{reason}]");
        }
        Event::Replication { old, new, reason } => {
            tracing::info!("repl( {old} -> {new} ) [{reason}]");
        }
        Event::Suspension { old, new, reason } => {
            tracing::warn!("susp( {old} -> {new} ) [{reason}]");
        }
        Event::Notice { level: Level::Info, text } => tracing::info!("{text}"),
        Event::Notice { level: Level::Warning, text } => tracing::warn!("{text}"),
        Event::Notice { level: Level::Error, text } => tracing::error!("{text}"),
    }
}
