//! Waits for the nodes of a demo, and shows meanwhile how far they are.

use super::DemoError;
use super::interrupt::Interrupt;
use super::nodes::{NodeId, Pair};
use crate::render::amounts::size;
use crate::render::words::cstate;
use indicatif::{ProgressBar, ProgressStyle};
use metadata::units::BLOCK_BYTES;
use replicator::state::{DiskState, ReplicationState};
use replicator::status::Status;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// How long anything but a resync may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a resync may stand still.
const STALL: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);
const LIVE_INTERVAL: Duration = Duration::from_secs(1);

/// Polls `condition` until it holds.
pub(super) fn until(
    pair: &mut Pair,
    interrupt: &Interrupt,
    what: &'static str,
    mut condition: impl FnMut(&mut Pair) -> Result<bool, DemoError>,
) -> Result<(), DemoError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        interrupt.check()?;
        for id in NodeId::BOTH {
            pair.check_alive(id)?;
        }
        if condition(pair)? {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(DemoError::TooSlow { what, waited_s: PATIENCE.as_secs() });
        }
        interrupt.sleep(POLL);
    }
}

/// Waits until both disks are UpToDate, with a progress bar.
pub(super) fn sync(
    pair: &mut Pair,
    interrupt: &Interrupt,
    observer: NodeId,
) -> Result<(), DemoError> {
    let style = ProgressStyle::with_template(
        "      [{bar:30}] {percent:>3}%  {binary_bytes} of {binary_total_bytes}  \
         {binary_bytes_per_sec}  ETA {eta}",
    )
    .expect("invariant: the template is well formed")
    .progress_chars("=>.");
    let bar = ProgressBar::no_length().with_style(style);
    let mut last_left = u64::MAX;
    let mut last_move = Instant::now();
    loop {
        interrupt.check()?;
        for id in NodeId::BOTH {
            pair.check_alive(id)?;
        }
        let status = pair.status(observer)?;
        if in_sync(&status) {
            bar.finish_and_clear();
            return Ok(());
        }
        if let Some(sync) = &status.sync {
            bar.set_length(sync.total_blocks * BLOCK_BYTES);
            bar.set_position(sync.total_blocks.saturating_sub(sync.left_blocks) * BLOCK_BYTES);
            if sync.left_blocks != last_left {
                (last_left, last_move) = (sync.left_blocks, Instant::now());
            }
        }
        if last_move.elapsed() >= STALL {
            let waited_s = STALL.as_secs();
            return Err(DemoError::TooSlow { what: "any progress of the resync", waited_s });
        }
        interrupt.sleep(POLL);
    }
}

fn in_sync(status: &Status) -> bool {
    status.replication == ReplicationState::Established
        && status.disk == DiskState::UpToDate
        && status.peer_disk == DiskState::UpToDate
}

/// Prints a line each second until Ctrl-C; on a terminal it is one line that changes.
pub(super) fn live(pair: &mut Pair, interrupt: &Interrupt) -> Result<(), DemoError> {
    let is_terminal = io::stdout().is_terminal();
    while !interrupt.came() {
        for id in NodeId::BOTH {
            pair.check_alive(id)?;
        }
        // A node that the reader has taken down with 'blkrep down' ends the demo by check_alive
        // above.
        let words = match (pair.status(NodeId::Alpha), pair.status(NodeId::Beta)) {
            (Ok(alpha), Ok(beta)) => live_line(&alpha, &beta),
            (Err(error), _) | (_, Err(error)) => error.to_string(),
        };
        let line = if is_terminal { format!("\r{words}\x1b[K") } else { format!("{words}\n") };
        let mut out = io::stdout().lock();
        out.write_all(line.as_bytes()).and_then(|()| out.flush()).ok();
        drop(out);
        interrupt.sleep(LIVE_INTERVAL);
    }
    println!();
    Ok(())
}

fn live_line(alpha: &Status, beta: &Status) -> String {
    let node =
        |status: &Status| format!("{:<5} {:<9} {:<12}", status.node_name, status.role, status.disk);
    let written = alpha.counters.client_written_bytes + beta.counters.client_written_bytes;
    let read = alpha.counters.client_read_bytes + beta.counters.client_read_bytes;
    format!(
        "{}  {}  {:<12}  clients {}  written {}  read {}",
        node(alpha),
        node(beta),
        cstate(alpha),
        alpha.clients + beta.clients,
        size(written),
        size(read),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::sample_status;

    #[test]
    fn the_live_line_is_aligned() {
        let status = sample_status();
        assert_eq!(
            live_line(&status, &status),
            "alice Primary   UpToDate      alice Primary   UpToDate      SyncSource    \
             clients 4  written 22 KiB  read 24 KiB"
        );
    }
}
