//! Fencing: a peer that is out of sight must not go on alone, or this node must not (G5, drbd-facts
//! 2.7).

use super::persist::Then;
use super::promote::{RoleChange, state};
use super::{Node, Sync};
use crate::event::{Event, Handler, Level, Refusal, RefusalClass};
use crate::ids::{CommandId, HandlerId};
use crate::mutation::Mutation;
use crate::settings::Fencing as Policy;
use crate::state::{DiskState, Role, Suspended};
use crate::timers::Timer;

/// How far the fencing of the peer is.
#[derive(Debug, Default)]
pub(super) struct Fencing {
    /// The run whose result counts.
    run: Option<HandlerId>,
    /// Its exit code came during a handshake: it counts if that comes to nothing.
    late: Option<Option<i32>>,
    /// The peer is durably known to be fenced; what is left is the new generation.
    thaw_due: bool,
    /// The connection ends on purpose and is about to begin anew: the peer is alive.
    expected_back: bool,
    /// Both were UpToDate, and connected, when this was looked at last.
    both_good: bool,
}

/// What the handler's exit code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The peer cannot go on alone: its disk is that.
    Fenced(DiskState),
    /// Nobody knows; the own disk is not good enough to go on by itself.
    Unreachable,
    PeerIsPrimary,
    Broken,
}

impl Node {
    fn policy(&self) -> Policy {
        self.settings.disk.fencing
    }

    /// A connection is over, and `last` is what was known of the peer's disk. A Primary that cannot
    /// know that the peer will not go on alone has it fenced, and freezes first if told to.
    pub(super) fn peer_out_of_sight(&mut self, last: DiskState) {
        // A target that was granted the end of its resync may have become UpToDate.
        let granted = matches!(self.sync, Sync::Source(_))
            && self.replica.known().is_some_and(|disk| disk.superblock.flags.peer_may_hold_current);
        self.peer.known_disk = (last < DiskState::DUnknown && !granted).then_some(last);
        self.fencing.both_good = false;
        let expected_back = std::mem::take(&mut self.fencing.expected_back);
        self.mark_the_loss();
        let policy = self.policy();
        let has_right = self.replica.state() >= DiskState::Consistent;
        if self.role != Role::Primary || policy == Policy::DontCare || !has_right {
            return;
        }
        if self.peer.known_disk.is_some() {
            return;
        }
        if policy == Policy::ResourceAndStonith {
            let new = Suspended { fencing: true, ..self.suspension.reasons() };
            self.suspension_is(new, "the peer is out of sight and must be fenced first");
        }
        if expected_back {
            self.timers.set(Timer::Fence, self.now.after(self.settings.net.timeout));
        } else {
            self.fence_run();
        }
    }

    /// A session ends before its handshake is over. If the mark of an outdated peer is off the disk
    /// already, the peer may have finished its end and be UpToDate: that is a loss like another.
    pub(super) fn handshake_lost(&mut self) {
        self.still_without_peer();
        let believed = self.peer.known_disk.is_some_and(|disk| disk >= DiskState::Inconsistent);
        let good = self.replica.state() >= DiskState::Consistent;
        let marked = self.replica.attached().is_none_or(|disk| disk.superblock.flags.peer_outdated);
        if believed && good && !marked {
            self.peer_out_of_sight(DiskState::DUnknown);
        }
    }

    /// What a later start must know of this loss: the peer's disk, and that a Primary is without it
    /// (G6).
    fn mark_the_loss(&mut self) {
        let worse = self.peer.known_disk.is_some_and(|disk| disk >= DiskState::Inconsistent);
        let good = self.replica.state() >= DiskState::Consistent;
        let Some(disk) = self.replica.attached() else { return };
        let flags = disk.superblock.flags;
        // A promotion that is on its way to the disk counts as one.
        let (outdated, lost) =
            (worse && good && !flags.peer_outdated, flags.primary && flags.connected);
        if outdated || lost {
            self.persist_superblock(
                |superblock| {
                    superblock.flags.peer_outdated |= outdated;
                    superblock.flags.connected &= !lost;
                },
                None,
            );
        }
    }

    /// Ends a connection that is to be begun anew at once: no reason to have the peer fenced.
    pub(super) fn drop_session_to_meet_again(&mut self, reason: &str) {
        self.fencing.expected_back = self.peer.is_connected();
        self.drop_session(reason);
    }

    /// The peer was expected back and did not come.
    pub(super) fn fence_due(&mut self) {
        if self.peer.in_handshake() {
            self.timers.set(Timer::Fence, self.now.after(self.settings.net.timeout));
        } else if self.role == Role::Primary && !self.peer.is_connected() {
            self.fence_run();
        }
    }

    fn fence_run(&mut self) {
        self.timers.stop(Timer::Fence);
        self.fencing.late = None;
        self.fencing.run = self.run_handler(Handler::FencePeer);
        if self.fencing.run.is_none() {
            self.notice(
                Level::Error,
                "the peer must be fenced and no fence-peer handler is configured",
            );
            self.fence_failed("no 'fence-peer' is configured in [handlers]");
        }
    }

    /// True when a promotion alone needs no fencing.
    pub(super) fn peer_cannot_go_on(&self) -> bool {
        self.policy() == Policy::DontCare || self.peer.known_disk.is_some()
    }

    /// A promotion without the peer: it is fenced first.
    pub(super) fn fence_for_promotion(&mut self, command: CommandId, force: bool) {
        self.role_change = RoleChange::Fencing { command, force };
        if self.replica.state() >= DiskState::Consistent {
            self.fence_run();
        } else {
            self.fence_failed("this node's own data are not good enough to fence it");
        }
    }

    pub(super) fn fence_peer_done(&mut self, id: HandlerId, exit: Option<i32>) {
        let stale = self.breaks(Mutation::StaleFencingCounts);
        if self.fencing.run != Some(id) && !stale {
            self.notice(Level::Info, "fence-peer: ignored, the connection came back meanwhile");
            return;
        }
        self.fencing.run = None;
        if self.peer.in_handshake() {
            self.fencing.late = Some(exit);
        } else {
            self.fence_result(exit);
        }
    }

    fn fence_result(&mut self, exit: Option<i32>) {
        let peer = self.settings.peer_name().to_owned();
        match self.outcome(exit) {
            Outcome::Fenced(disk) => {
                if exit == Some(7) && self.policy() != Policy::ResourceAndStonith {
                    self.notice(
                        Level::Error,
                        "fence-peer() = 7 && fencing != resource-and-stonith: check the configuration",
                    );
                }
                self.peer_fenced(disk, "the fence-peer handler says so");
            }
            Outcome::Unreachable => self.fence_failed(&format!("{peer} cannot be reached")),
            Outcome::PeerIsPrimary => {
                self.notice(Level::Error, format!("fence-peer: {peer} is Primary"));
                if self.role == Role::Secondary {
                    self.own_disk_is_outdated("the peer is Primary", None);
                }
                self.fence_failed(&format!("{peer} is Primary"));
            }
            Outcome::Broken => {
                let returned = exit.map_or("nothing".to_owned(), |code| code.to_string());
                let text = format!("fence-peer helper broken, returned {returned}");
                self.notice(Level::Error, text.clone());
                self.fence_failed(&text);
            }
        }
    }

    fn outcome(&self, exit: Option<i32>) -> Outcome {
        match exit {
            Some(3) => Outcome::Fenced(DiskState::Inconsistent),
            Some(4 | 7) => Outcome::Fenced(DiskState::Outdated),
            Some(5) if self.replica.state() == DiskState::UpToDate => {
                Outcome::Fenced(DiskState::Outdated)
            }
            Some(5) => Outcome::Unreachable,
            Some(6) => Outcome::PeerIsPrimary,
            Some(_) | None => Outcome::Broken,
        }
    }

    /// The peer cannot go on alone. Durable before this node acts on it.
    fn peer_fenced(&mut self, disk: DiskState, reason: &str) {
        let old = self.peer.disk();
        if !self.peer.is_connected() {
            self.peer.known_disk = Some(disk);
        }
        let new = self.peer.disk();
        if old != new {
            self.tell(Event::PeerDisk { old, new, reason: reason.into() });
        }
        if self.replica.attached().is_none() && !self.breaks(Mutation::FrozenWithoutDisk) {
            // No disk to write it to, and none whose data count.
            self.fenced_durable();
            return;
        }
        self.persist_superblock(
            |superblock| superblock.flags.peer_outdated = true,
            Some(Then::Fenced),
        );
    }

    /// The own disk is gone. What was to be durable there before clients go on will not be: if the
    /// peer is fenced, they are told that there are no data.
    pub(super) fn fencing_without_disk(&mut self) {
        let fenced = self.suspension.reasons().fencing && self.peer.known_disk.is_some();
        if fenced && !self.peer.is_connected() && !self.breaks(Mutation::FrozenWithoutDisk) {
            self.fencing.thaw_due = true;
            self.fence_thaw();
        }
    }

    pub(super) fn fenced_durable(&mut self) {
        if let RoleChange::Fencing { command, force } = self.role_change {
            if self.replica.state() == DiskState::Consistent {
                self.own_disk_is_up_to_date("the peer is fenced");
            }
            self.promote_quiet(command, force);
        }
        if self.suspension.reasons().fencing && !self.peer.is_connected() {
            self.fencing.thaw_due = true;
            self.fence_thaw();
        }
    }

    /// The new generation is durable before anything goes on (G2, G5).
    pub(super) fn fence_thaw(&mut self) {
        // Demoted meanwhile: nothing is answered alone (G2).
        let early = self.role == Role::Secondary || self.breaks(Mutation::ThawOnOldGeneration);
        if self.fencing.thaw_due && (early || self.begin_generation()) {
            self.fencing.thaw_due = false;
            let new = Suspended { fencing: false, ..self.suspension.reasons() };
            self.suspension_is(new, "the peer is fenced");
        }
    }

    /// The peer is not fenced. What is frozen stays so; a promotion is refused, unless it is
    /// forced.
    fn fence_failed(&mut self, why: &str) {
        if self.suspension.reasons().fencing {
            self.notice(
                Level::Error,
                "clients' I/O stays frozen until the peer is back; if it is surely down, run \
                 'blkrep resume-io'",
            );
        }
        let RoleChange::Fencing { command, force } = self.role_change else { return };
        if force {
            self.notice(Level::Warning, "Forced into split brain situation!");
            self.peer_fenced(DiskState::Outdated, "forced");
            return;
        }
        let (peer, me) = (self.settings.peer_name(), self.settings.my_name());
        let next = format!(
            "bring {peer} back, or make sure that it is down and run 'blkrep primary --force' on {me}"
        );
        let refusal = match self.replica.state() {
            DiskState::UpToDate => {
                state(format!("Refusing to be Primary while peer is not outdated: {why}; {next}"))
            }
            disk @ (DiskState::Diskless
            | DiskState::Attaching
            | DiskState::Failed
            | DiskState::Inconsistent
            | DiskState::Outdated
            | DiskState::DUnknown
            | DiskState::Consistent) => Refusal {
                class: RefusalClass::NoGoodData,
                text: format!(
                    "Need access to UpToDate data: the disk of {me} is {disk}, and {why}; {next}"
                ),
            },
        };
        self.role_change_ends(command, Err(refusal));
    }

    /// The peer is connected again: whatever a handler says of the time before is void.
    pub(super) fn peer_in_sight(&mut self) {
        self.timers.stop(Timer::Fence);
        if !self.breaks(Mutation::StaleFencingCounts) {
            self.fencing.run = None;
        }
        self.fencing.late = None;
        self.fencing.thaw_due = false;
        self.peer.known_disk = None;
        self.degraded = false;
        if self.suspension.reasons().fencing {
            let new = Suspended { fencing: false, ..self.suspension.reasons() };
            self.suspension_is(new, "the peer is back");
        }
    }

    /// A handshake has come to nothing: what waited for its outcome goes on.
    pub(super) fn fence_goes_on(&mut self) {
        if let Some(exit) = self.fencing.late.take() {
            self.fence_result(exit);
        }
        self.fence_thaw();
    }

    /// Both are UpToDate again: what was done to the peer is taken back.
    pub(super) fn unfence_when_good(&mut self) {
        let good = self.peer.disk() == DiskState::UpToDate
            && self.peer.is_connected()
            && self.replica.state() == DiskState::UpToDate;
        if good && !self.fencing.both_good && self.policy() != Policy::DontCare {
            self.run_handler(Handler::UnfencePeer);
        }
        self.fencing.both_good = good;
    }
}
