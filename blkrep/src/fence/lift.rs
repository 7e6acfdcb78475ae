//! `crm-unfence-peer`: takes the constraint back when both disks are UpToDate.
//!
//! Who placed the constraint knows at once whether it has met its peer again. The other node may
//! believe in a connection that is gone already, and the constraint be its answer: it waits for as
//! long as such a loss can go unnoticed, and takes back only what it has seen before the wait.

use super::by_constraint::{delete, query};
use super::cib::{self, Asker};
use super::constraint::Standing;
use super::outside::Outside;
use replicator::state::{ConnectionState, DiskState};
use replicator::status::Status;
use std::time::Duration;

/// Longest wait for another handler of the resource, and for the last word of a resync.
const SETTLE_MAX: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(100);
/// While the other node may take its constraint back itself, this one looks that often.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// Takes the constraint of `resource` back. `unnoticed_max` is the longest time for which the
/// loss of the peer may go unnoticed here, `dc_timeout` the patience with the cluster. True when
/// there is no constraint at the end; otherwise the log says why it stays.
pub fn lift_constraint(
    resource: &str,
    unnoticed_max: Duration,
    dc_timeout: Duration,
    outside: &mut dyn Outside,
) -> bool {
    let mut lift = Lift { resource, dc_timeout, outside };
    let result = lift.take_back(unnoticed_max);
    lift.outside.unlock();
    match result {
        Ok(line) => {
            outside.tell(&line);
            true
        }
        Err(line) => {
            outside.tell(&format!("the constraint stays: {line}"));
            false
        }
    }
}

struct Lift<'a> {
    resource: &'a str,
    dc_timeout: Duration,
    outside: &'a mut dyn Outside,
}

impl Lift<'_> {
    fn take_back(&mut self, unnoticed_max: Duration) -> Result<String, String> {
        self.lock()?;
        let Some((standing, mine)) = self.standing()? else {
            return Ok("there is no constraint to take back".to_owned());
        };
        // Asked after the constraint was seen: one that is placed later has another rule.
        self.wait_until_good()?;
        if !mine {
            self.outside.unlock();
            let owner = standing.owner.as_deref().unwrap_or("somebody");
            let s = unnoticed_max.as_secs_f64();
            self.outside.tell(&format!(
                "the constraint is {owner}'s, who takes it back too: waiting up to {s:.1} s"
            ));
            if self.is_gone_within(&standing, unnoticed_max)? {
                return Ok("the constraint is gone".to_owned());
            }
            self.lock()?;
            self.good()?;
        }
        self.delete(&standing)?;
        Ok("both disks are UpToDate: either node may be promoted".to_owned())
    }

    fn lock(&mut self) -> Result<(), String> {
        let locked = self.outside.lock(SETTLE_MAX);
        locked.then_some(()).ok_or_else(|| "another handler still works on it".to_owned())
    }

    /// The constraint that is there, and whether this node has placed it.
    fn standing(&mut self) -> Result<Option<(Standing, bool)>, String> {
        let status = self.outside.status()?;
        let host = self.outside.host_name();
        let asker = Asker {
            resource: self.resource,
            me: [&status.node_name, &host],
            peer: &status.peer_name,
        };
        let scene = query(self.outside, |text| cib::scene(text, asker))?;
        let mine = |standing: &Standing| standing.owner.as_ref() == Some(&scene.me);
        Ok(scene.standing.clone().map(|standing| {
            let mine = mine(&standing);
            (standing, mine)
        }))
    }

    /// Both disks are UpToDate, or will be in a moment.
    fn wait_until_good(&mut self) -> Result<(), String> {
        let begun = self.outside.elapsed();
        loop {
            let result = self.good();
            let waited = self.outside.elapsed().saturating_sub(begun);
            // A peer that is lost again is to be fenced, and that waits for this handler.
            let hopeless = waited >= SETTLE_MAX || !self.is_connected()?;
            if result.is_ok() || hopeless {
                return result;
            }
            self.outside.pause(POLL);
        }
    }

    fn is_connected(&mut self) -> Result<bool, String> {
        Ok(self.outside.status()?.connection == ConnectionState::Connected)
    }

    fn good(&mut self) -> Result<(), String> {
        let Status { connection, disk, peer_disk, .. } = self.outside.status()?;
        if connection == ConnectionState::Connected
            && disk == DiskState::UpToDate
            && peer_disk == DiskState::UpToDate
        {
            return Ok(());
        }
        Err(format!("{connection}, disks {disk}/{peer_disk}; it goes when both are UpToDate"))
    }

    fn is_gone_within(&mut self, standing: &Standing, limit: Duration) -> Result<bool, String> {
        let begun = self.outside.elapsed();
        loop {
            let now = self.standing()?;
            if now.is_none_or(|(now, _)| now != *standing) {
                return Ok(true);
            }
            let left = limit.saturating_sub(self.outside.elapsed().saturating_sub(begun));
            if left.is_zero() {
                return Ok(false);
            }
            self.outside.pause(left.min(LOOK_PAUSE));
        }
    }

    /// An election of the DC may be going on, since the peer has just come back.
    fn delete(&mut self, standing: &Standing) -> Result<(), String> {
        let begun = self.outside.elapsed();
        loop {
            let spent = self.outside.elapsed().saturating_sub(begun);
            let left = self.dc_timeout.saturating_sub(spent);
            match delete(self.outside, standing) {
                Ok(()) => return Ok(()),
                Err(problem) if left.is_zero() => return Err(problem),
                Err(problem) => self.outside.tell(&format!("{problem}; trying again")),
            }
            self.outside.pause(LOOK_PAUSE);
        }
    }
}

#[cfg(test)]
mod tests;
