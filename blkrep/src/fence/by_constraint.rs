//! `crm-fence-peer`: a constraint that lets nobody but this node be promoted, as soon as it is
//! known to bind the peer.
//!
//! What it must not say too early: a constraint that only this partition has seen binds nobody on
//! the other side. So a peer counts as bound when it has answered over the cluster's own messaging
//! *after* the constraint was placed, or is down for certain, or when this node's data are UpToDate
//! and the cluster has nothing more to find out about a peer that is gone.

use super::Fenced;
use super::cib::{self, Asker, Scene};
use super::constraint::{self, Standing};
use super::outside::{Ended, Outside};
use super::peer_state::PeerState;
use replicator::state::{ConnectionState, DiskState, Role};
use replicator::status::Status;
use std::time::Duration;

/// Pause between two looks: the time until a promotion is part of the failover.
const LOOK_PAUSE: Duration = Duration::from_millis(150);
/// Longest run of a query of the local CIB.
const QUERY_MAX: Duration = Duration::from_secs(10);
/// Longest run of a change of the CIB: what is asked before a new DC is there may get no answer.
const CHANGE_MAX: Duration = Duration::from_secs(5);
/// A live peer answers within this time; one that has just died is asked again after it, when the
/// cluster may have noticed.
const PEER_ANSWER_MAX: Duration = Duration::from_secs(2);

/// How long to wait, and what to risk.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For the cluster to find out what has become of the peer, fencing included.
    pub timeout: Duration,
    /// For the node that serialises changes of the CIB (DC).
    pub dc_timeout: Duration,
    /// A peer that cannot be reached counts as outdated though the own data are only Consistent.
    /// The operator's word; may lose data.
    pub unreachable_is_outdated: bool,
}

/// Keeps the peer from being promoted. Everything is told in the log.
pub fn fence_by_constraint(resource: &str, limits: Limits, outside: &mut dyn Outside) -> Fenced {
    if !outside.lock(limits.timeout) {
        outside.tell(
            "another handler of this resource still works on the constraint: nothing is done; look \
             for a 'blkrep crm-fence-peer' that hangs",
        );
        return Fenced::Not;
    }
    let mut run = Run { resource, limits, outside, told: String::new() };
    let end = run.decide();
    run.outside.unlock();
    let (code, s) = (end.exit_code(), run.outside.elapsed().as_secs_f64());
    run.say(&format!("exit code {code} after {s:.1} s"));
    end
}

struct Run<'a> {
    resource: &'a str,
    limits: Limits,
    outside: &'a mut dyn Outside,
    /// What was said last: a wait is told once.
    told: String,
}

impl Run<'_> {
    fn decide(&mut self) -> Fenced {
        loop {
            let status = match self.own_state() {
                Ok(status) => status,
                Err(end) => return end,
            };
            let late = self.outside.elapsed() >= self.limits.timeout;
            match self.look(&status, late) {
                Ok(Some(end)) => return end,
                Ok(None) if late => {
                    let s = self.limits.timeout.as_secs();
                    self.say(&format!("nothing has changed within {s} s (--timeout)"));
                    return Fenced::Not;
                }
                Ok(None) => self.outside.pause(LOOK_PAUSE),
                Err(problem) => {
                    self.say(&format!("cannot fence: {problem}"));
                    return Fenced::Not;
                }
            }
        }
    }

    /// The own daemon's picture, as long as there is something to do.
    fn own_state(&mut self) -> Result<Status, Fenced> {
        let status = self.outside.status().map_err(|problem| {
            self.say(&format!("cannot fence: the own daemon gives no status: {problem}"));
            Fenced::Not
        })?;
        if status.connection == ConnectionState::Connected {
            let disk = status.peer_disk;
            self.say(&format!(
                "{} is connected again ({disk}): no need to fence",
                status.peer_name
            ));
            return Err(Fenced::Not);
        }
        if status.disk < DiskState::Consistent {
            let disk = status.disk;
            self.say(&format!("the own disk is {disk}: no right to fence anybody"));
            return Err(Fenced::Not);
        }
        // The engine knows it from the peer itself.
        if status.peer_disk <= DiskState::Inconsistent {
            let disk = status.peer_disk;
            self.say(&format!("the disk of {} is {disk}: it cannot go on", status.peer_name));
            return Err(Fenced::PeerInconsistent);
        }
        Ok(status)
    }

    /// One look at the cluster. None: wait, and look again.
    fn look(&mut self, status: &Status, late: bool) -> Result<Option<Fenced>, String> {
        let scene = self.scene(status)?;
        if let Some(standing) = &scene.standing
            && standing.owner.as_deref() != Some(&scene.me)
        {
            let owner = standing.owner.as_deref().unwrap_or("somebody");
            self.say(&format!(
                "lost: the constraint {} allows {owner} alone to be promoted; it is taken back when \
                 both disks are UpToDate",
                standing.id
            ));
            return Ok(Some(Fenced::Not));
        }
        if !scene.may_act {
            self.say("this part of the cluster has no quorum: the other one may go on");
            return Ok(None);
        }
        let good = status.disk == DiskState::UpToDate;
        let peer = &scene.peer;
        match scene.peer_state {
            PeerState::Member => self.peer_is_member(status, &scene, late),
            PeerState::Down { machine: _ } if good => {
                self.say(&format!("{peer} was fenced or has left the cluster in good order"));
                self.place_then(&scene, Fenced::PeerDown).map(Some)
            }
            PeerState::Lost if scene.stonith && !late => {
                self.say(&format!("{peer} is lost: waiting until the cluster has fenced it"));
                Ok(None)
            }
            PeerState::Lost if scene.stonith && good && !self.limits.unreachable_is_outdated => {
                // The fencing may still come, and take this node with what it acknowledged.
                self.say(&format!(
                    "{peer} is lost and the cluster has not fenced it in time: not going on; make \
                     fencing work, or make sure that {peer} is off, run 'stonith_admin --confirm \
                     {peer}' and then 'blkrep resume-io {}'",
                    self.resource
                ));
                Ok(Some(Fenced::Not))
            }
            PeerState::Lost if good => {
                self.say(&format!(
                    "{peer} cannot be reached, and nobody waits for its fencing; the own disk is \
                     UpToDate"
                ));
                self.place_then(&scene, Fenced::PeerUnreachable).map(Some)
            }
            PeerState::Down { machine: _ } | PeerState::Lost => {
                self.peer_is_gone_and_own_data_are_in_doubt(&scene).map(Some)
            }
        }
    }

    /// The peer takes part in the cluster, as far as is known. It is bound once it has answered
    /// after the constraint was placed.
    fn peer_is_member(
        &mut self,
        status: &Status,
        scene: &Scene,
        late: bool,
    ) -> Result<Option<Fenced>, String> {
        let peer = &scene.peer;
        if status.role == Role::Secondary && scene.peer_promoted {
            if self.peer_answers(peer) {
                self.say(&format!("{peer} is alive and promoted by the cluster: it is Primary"));
                return Ok(Some(Fenced::PeerPrimary));
            }
            self.say(&format!("{peer} was promoted last and does not answer: waiting"));
            return Ok(None);
        }
        let end = self.place_then(scene, Fenced::PeerOutdated)?;
        if end != Fenced::PeerOutdated || self.peer_answers(peer) {
            return Ok(Some(end));
        }
        if late && status.disk == DiskState::UpToDate {
            self.say(&format!("{peer} still is a member of the cluster and does not answer"));
            return Ok(Some(Fenced::PeerUnreachable));
        }
        self.say(&format!("{peer} is a member of the cluster and does not answer: looking again"));
        Ok(None)
    }

    fn peer_is_gone_and_own_data_are_in_doubt(&mut self, scene: &Scene) -> Result<Fenced, String> {
        let peer = &scene.peer;
        if self.limits.unreachable_is_outdated {
            self.say(&format!(
                "{peer} is gone and the own disk is only Consistent: --unreachable-peer-is-outdated \
                 makes it count as outdated; if it was Primary alone, its changes are LOST"
            ));
            return self.place_then(scene, Fenced::PeerOutdated);
        }
        self.say(&format!(
            "{peer} is gone and the own disk is only Consistent: {peer} may have newer data, so no \
             constraint is placed; bring {peer} back, or run 'blkrep primary --force {}' if it \
             never will",
            self.resource
        ));
        Ok(Fenced::PeerUnreachable)
    }

    /// Places the constraint, and looks once more at the own daemon: `end`, unless the peer is back
    /// or somebody else was faster.
    fn place_then(&mut self, scene: &Scene, end: Fenced) -> Result<Fenced, String> {
        if !self.place(scene)? {
            return Ok(Fenced::Not);
        }
        let status = self.outside.status()?;
        if status.connection != ConnectionState::Connected {
            return Ok(end);
        }
        if status.peer_disk == DiskState::UpToDate {
            self.say(&format!("{} is back and UpToDate: the constraint goes again", scene.peer));
            self.withdraw(&status)?;
        } else {
            // It is lifted when the resync is done.
            self.say(&format!(
                "{} is back ({}): the constraint stays",
                scene.peer, status.peer_disk
            ));
        }
        Ok(Fenced::Not)
    }

    /// True when the constraint that allows this node alone is there; false when the other node's
    /// is.
    fn place(&mut self, scene: &Scene) -> Result<bool, String> {
        if let Some(standing) = &scene.standing {
            self.say(&format!("the constraint {} is there already", standing.id));
            return Ok(true);
        }
        let id = constraint::id(self.resource, &scene.clone);
        let word = self.outside.fresh_word();
        let xml = constraint::xml(&id, &scene.clone, scene.role, &scene.me, &word);
        let begun = self.outside.elapsed();
        loop {
            let spent = self.outside.elapsed().saturating_sub(begun);
            let left = self.limits.dc_timeout.saturating_sub(spent);
            let limit = left.clamp(LOOK_PAUSE, CHANGE_MAX);
            let seconds = limit.as_secs().max(1).to_string();
            let arguments =
                ["--create", "--scope", "constraints", "--timeout", &seconds, "--xml-text", &xml];
            let ended = self.outside.run("cibadmin", &arguments, limit);
            if ended.is_success() {
                self.say(&format!("placed the constraint {id}: only {} is promoted", scene.me));
                return Ok(true);
            }
            // Somebody else's, or the own one of which only the answer was lost.
            let asker = Asker { resource: self.resource, me: [&scene.me; 2], peer: &scene.peer };
            let now = query(self.outside, |text| cib::scene(text, asker))?;
            if let Some(standing) = now.standing {
                let mine = standing.owner.as_deref() == Some(&scene.me);
                if !mine {
                    let owner = standing.owner.unwrap_or_default();
                    self.say(&format!("lost: {owner} has placed its constraint first"));
                }
                return Ok(mine);
            }
            if left.is_zero() || matches!(ended, Ended::NotStarted(_)) {
                return Err(format!(
                    "the constraint {id} cannot be placed: cibadmin: {}; is there a DC ('crmadmin \
                     --dc_lookup')?",
                    ended.why()
                ));
            }
            self.say(&format!("cibadmin: {}; trying again", ended.why()));
            self.outside.pause(LOOK_PAUSE);
        }
    }

    /// Takes back what this run has placed.
    fn withdraw(&mut self, status: &Status) -> Result<(), String> {
        let scene = self.scene(status)?;
        if let Some(standing) =
            scene.standing.filter(|found| found.owner.as_ref() == Some(&scene.me))
        {
            delete(self.outside, &standing)?;
        }
        Ok(())
    }

    /// True when the peer's controller answers over the cluster's messaging.
    fn peer_answers(&mut self, peer: &str) -> bool {
        let seconds = PEER_ANSWER_MAX.as_secs().to_string();
        let limit = PEER_ANSWER_MAX + LOOK_PAUSE;
        self.outside.run("crmadmin", &["--status", peer, "--timeout", &seconds], limit).is_success()
    }

    fn scene(&mut self, status: &Status) -> Result<Scene, String> {
        let host = self.outside.host_name();
        let asker = Asker {
            resource: self.resource,
            me: [&status.node_name, &host],
            peer: &status.peer_name,
        };
        query(self.outside, |text| cib::scene(text, asker))
    }

    /// One line in the log; what is said again and again is said once.
    fn say(&mut self, line: &str) {
        if self.told != line {
            self.outside.tell(line);
            line.clone_into(&mut self.told);
        }
    }
}

/// Asks the local CIB once.
pub(super) fn query<T>(
    outside: &mut dyn Outside,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, String> {
    match outside.run("cibadmin", &["--query", "--local"], QUERY_MAX) {
        Ended::Code { code: Some(0), out, errors: _ } => read(&out),
        ended @ (Ended::Code { code: _, out: _, errors: _ }
        | Ended::TooLong
        | Ended::NotStarted(_)) => Err(format!(
            "the cluster cannot be asked: cibadmin: {}; does Pacemaker run on this node?",
            ended.why()
        )),
    }
}

/// Takes exactly that constraint back.
pub(super) fn delete(outside: &mut dyn Outside, standing: &Standing) -> Result<(), String> {
    let (path, seconds) = (constraint::path(standing), CHANGE_MAX.as_secs().to_string());
    let arguments = ["--delete", "--xpath", &path, "--timeout", &seconds];
    let ended = outside.run("cibadmin", &arguments, CHANGE_MAX);
    if ended.is_success() {
        outside.tell(&format!("took the constraint {} back", standing.id));
        return Ok(());
    }
    Err(format!("the constraint {} cannot be taken back: cibadmin: {}", standing.id, ended.why()))
}

#[cfg(test)]
mod tests;
