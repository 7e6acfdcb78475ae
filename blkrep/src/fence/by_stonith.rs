//! `stonith-fence-peer`: the cluster's fencing device takes the power from the peer.

use super::Fenced;
use super::by_constraint::query;
use super::cib;
use super::outside::{Ended, Outside};
use super::peer_state::PeerState;
use replicator::state::{ConnectionState, DiskState};
use std::time::Duration;

/// A fencing that was done so shortly ago counts. Less than a machine needs to boot, meet its peer
/// and be lost again.
const RECENT_S: u64 = 10;
/// Longest question about the past.
const ASK_MAX: Duration = Duration::from_secs(5);
/// What is left of `--timeout` for the device's own limit to show its error.
const GRACE: Duration = Duration::from_secs(1);

/// Has the peer of `resource` fenced, unless that was just done. Everything is told in the log.
pub fn fence_by_stonith(timeout: Duration, outside: &mut dyn Outside) -> Fenced {
    match fence(timeout, outside) {
        Ok(line) => {
            outside.tell(&line);
            Fenced::PeerDown
        }
        Err(line) => {
            outside.tell(&format!("the peer is not fenced: {line}"));
            Fenced::Not
        }
    }
}

fn fence(timeout: Duration, outside: &mut dyn Outside) -> Result<String, String> {
    let status = outside.status()?;
    let peer = &status.peer_name;
    if status.connection == ConnectionState::Connected {
        return Err(format!("{peer} is connected again"));
    }
    if status.disk != DiskState::UpToDate {
        return Err(format!("the own disk is {}: no right to fence {peer}", status.disk));
    }
    let found = query(outside, |text| cib::peer_state(text, peer));
    let (peer, state) = found.unwrap_or_else(|problem| {
        outside.tell(&format!("{problem}; fencing it without knowing more"));
        (peer.clone(), PeerState::Lost)
    });
    if state == (PeerState::Down { machine: true }) && was_fenced_just_now(outside, &peer) {
        return Ok(format!("{peer} was fenced just now, and is down"));
    }
    let (seconds, recent) = (timeout.as_secs().max(1).to_string(), RECENT_S.to_string());
    let arguments = ["--fence", &peer, "--tolerance", &recent, "--timeout", &seconds];
    outside.tell(&format!("fencing {peer}: stonith_admin --fence {peer}"));
    let ended = outside.run("stonith_admin", &arguments, timeout + GRACE);
    if ended.is_success() {
        return Ok(format!("{peer} is fenced"));
    }
    Err(format!(
        "stonith_admin: {}; switch {peer} off by hand, say so by 'stonith_admin --confirm {peer}', \
         and run 'blkrep resume-io' here if I/O is frozen",
        ended.why()
    ))
}

/// By the cluster's history of fencings, whatever the kind: its own ones are reboots.
fn was_fenced_just_now(outside: &mut dyn Outside, peer: &str) -> bool {
    match outside.run("stonith_admin", &["--history", peer, "--quiet"], ASK_MAX) {
        Ended::Code { code: Some(0), out, errors: _ } => {
            let last_s: Option<u64> = out.trim().parse().ok();
            last_s.is_some_and(|last_s| outside.epoch_s().saturating_sub(last_s) <= RECENT_S)
        }
        Ended::Code { code: _, out: _, errors: _ } | Ended::TooLong | Ended::NotStarted(_) => false,
    }
}

#[cfg(test)]
mod tests;
