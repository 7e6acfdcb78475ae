//! A daemon's restart is a connection loss, not a promotion (G4): in the same boot, with the resume
//! mark, this node goes on as the Primary that it was, if nobody has been Primary since.

use super::Node;
use super::promote::{RoleChange, state};
use crate::event::{Command, Level, Output, Refusal, ResumeMark};
use crate::ids::CommandId;
use crate::mutation::Mutation;
use crate::state::{DiskState, Role};
use crate::timers::Timer;
use metadata::superblock::Superblock;

/// The promotion that resumes: nobody waits for an answer. Never given by the event loop.
pub(super) const RESUME: CommandId = CommandId(u64::MAX - 1);

/// Whether there is something to resume.
#[derive(Debug, Default)]
pub(super) struct Resume {
    /// This node waits to be Primary again.
    due: bool,
    /// The first attachment has been looked at: later ones are not a start.
    looked: bool,
    /// The generation that it found, without the primary bit.
    generation: u64,
    /// The promotion under way is a resume, not a promotion: what was asked of this node before is
    /// still good (D16).
    pub(super) goes_on: bool,
}

impl Node {
    /// The disk is in use: the peer has `timeout` to come.
    pub(super) fn resume_begin(&mut self) {
        if !self.resume.due {
            return;
        }
        self.notice(Level::Info, "this node was Primary before its daemon ended: it resumes");
        if self.breaks(Mutation::ResumeWithoutConsent) {
            self.promote_quiet(RESUME, false);
            return;
        }
        self.timers.set(Timer::Resume, self.now.after(self.settings.net.timeout));
    }

    /// What an attachment finds decides whether there is anything to resume.
    pub(super) fn resume_if_same_boot(&mut self, found: &Superblock, now: [u8; 16]) {
        let last = found.boot_id;
        self.resume.due = self.settings.resume && !self.resume.looked && last == now;
        if self.settings.resume && !self.resume.looked && last != now {
            // A mark of another boot: the machine was down meanwhile.
            self.resume_mark_void();
        }
        if !self.resume.looked {
            self.resume.generation = Self::without_primary_bit(found.generations.current);
        }
        self.resume.looked = true;
    }

    /// The peer is there: it is asked (G4).
    pub(super) fn resume_with_peer(&mut self) {
        if !self.resume.due || self.role_change != RoleChange::None {
            return;
        }
        // Being the target, or on another generation, means that the peer has been Primary since.
        let current = self.replica.attached().map(|disk| disk.superblock.generations.current);
        let is_other =
            current.is_some_and(|now| Self::without_primary_bit(now) != self.resume.generation);
        if is_other || self.is_sync_target() || self.replica.state() < DiskState::Consistent {
            self.resume_no_more("the peer has been Primary since");
        } else if self.replica.state() == DiskState::UpToDate {
            self.promote(RESUME, false);
        }
    }

    /// The peer did not come in time: alone, then, after fencing as configured and on a new
    /// generation.
    pub(super) fn resume_due(&mut self) {
        if !self.resume.due || self.role_change != RoleChange::None || self.role == Role::Primary {
            return;
        }
        if self.peer.is_connected() {
            self.resume_with_peer();
        } else if !self.breaks(Mutation::LoneRestartWaits) {
            self.promote(RESUME, false);
        }
    }

    /// This node is Primary: from now on a restart of its daemon is no promotion.
    pub(super) fn resume_mark_set(&mut self) {
        self.resume.due = false;
        self.timers.stop(Timer::Resume);
        let goes_on = std::mem::take(&mut self.resume.goes_on);
        let mark = if goes_on { ResumeMark::Kept } else { ResumeMark::New };
        self.wish(Output::ResumeMark(mark));
    }

    /// Whoever becomes Primary next is promoted.
    pub(super) fn resume_mark_void(&mut self) {
        self.resume.due = false;
        self.timers.stop(Timer::Resume);
        self.wish(Output::ResumeMark(ResumeMark::Void));
    }

    /// The peer becomes Primary with this node's consent: that ends what could be resumed.
    pub(super) fn resume_yields(&mut self) {
        if self.resume.due {
            self.resume_mark_void();
        }
    }

    fn resume_no_more(&mut self, why: &str) {
        self.notice(
            Level::Warning,
            format!("not resumed as Primary: {why}; it waits to be promoted"),
        );
        self.resume_mark_void();
    }

    /// What an operator or a manager says goes before a resume that is under way: a promotion takes
    /// it over, anything that ends a Primary ends it.
    pub(super) fn resume_makes_way(&mut self, id: CommandId, given: Command) -> bool {
        let (RoleChange::AfterHandshake { command, .. }
        | RoleChange::Fencing { command, .. }
        | RoleChange::Asked { command, .. }
        | RoleChange::Quieting { command, .. }
        | RoleChange::Flushing { command, .. }
        | RoleChange::Marking { command, .. }) = &mut self.role_change
        else {
            return false;
        };
        if *command != RESUME {
            return false;
        }
        match given {
            Command::Primary { force: false } => {
                *command = id;
                true
            }
            Command::Secondary | Command::Down
                if !matches!(self.role_change, RoleChange::Marking { .. }) =>
            {
                let text = "another command came first".to_owned();
                self.role_change_ends(RESUME, Err(state(text)));
                self.resume_mark_void();
                false
            }
            Command::Primary { force: true }
            | Command::Secondary
            | Command::Down
            | Command::Connect { .. }
            | Command::Disconnect
            | Command::Attach
            | Command::Detach { .. }
            | Command::Invalidate
            | Command::Verify { .. }
            | Command::Repair { .. }
            | Command::InvalidateRemote
            | Command::Outdate
            | Command::PauseSync
            | Command::ResumeSync
            | Command::SuspendIo
            | Command::ResumeIo
            | Command::NewCurrentUuid { .. }
            | Command::Resize { .. }
            | Command::Status => false,
        }
    }

    /// The promotion that was to resume has ended.
    pub(super) fn resume_ended(&mut self, result: &Result<(), Refusal>) {
        if let Err(refusal) = result {
            self.notice(Level::Warning, format!("not resumed as Primary: {}", refusal.text));
            if self.peer.role() == Some(Role::Primary) {
                self.resume_mark_void();
            }
        }
    }
}
