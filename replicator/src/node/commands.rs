//! Commands of the operator, and what the peer says once the session is up.

use super::Node;
use super::invalidate::Extent;
use super::peer::{Intent, Stage};
use super::promote::{RoleChange, state};
use super::verdict::two_primaries;
use crate::event::{Answer, Command, Level, Output, Payload, Refusal, RefusalClass};
use crate::ids::CommandId;
use crate::message::Message;
use crate::state::{DiskState, Role};

impl Node {
    /// What is under way and forbids this command for now.
    fn stands_in_the_way(&self, command: Command) -> Option<&'static str> {
        let (changes_role, goes_on) = match command {
            Command::Primary { .. } => (true, true),
            Command::Secondary => (true, false),
            Command::Disconnect | Command::Down | Command::Status => (false, false),
            Command::Connect { .. }
            | Command::Attach
            | Command::Detach { .. }
            | Command::Invalidate
            | Command::InvalidateRemote
            | Command::Outdate
            | Command::PauseSync
            | Command::ResumeSync
            | Command::SuspendIo
            | Command::ResumeIo
            | Command::NewCurrentUuid { .. }
            | Command::Verify { .. }
            | Command::Repair { .. }
            | Command::Resize { .. } => (false, true),
        };
        if changes_role && self.role_change != RoleChange::None {
            Some("a change of role is under way; try again when it is over")
        } else if changes_role && self.resize.is_under_way() {
            Some("a resize is under way; try again when it is over")
        } else if goes_on && self.leaving.is_some() {
            Some("the resource is being taken down; run 'blkrep up' when it is")
        } else {
            None
        }
    }

    pub(super) fn command(&mut self, id: CommandId, command: Command) {
        if self.resume_makes_way(id, command) {
            return;
        }
        if let Some(text) = self.stands_in_the_way(command) {
            self.answer(id, Err(state(text.into())));
            return;
        }
        match command {
            Command::Connect { discard_my_data } => {
                let result = self.connect_asked(discard_my_data);
                self.answer(id, result);
            }
            Command::Disconnect => self.disconnect(id),
            Command::Primary { force } => self.promote(id, force),
            Command::Secondary => self.demote(id),
            Command::Attach => self.attach_asked(id),
            Command::Detach { force } => self.detach(id, force),
            Command::PauseSync | Command::ResumeSync => {
                let result = self.sync_hold_asked(command == Command::PauseSync);
                self.answer(id, result);
            }
            Command::Invalidate => self.invalidate(id),
            Command::InvalidateRemote => self.invalidate_remote(id),
            Command::NewCurrentUuid { clear_bitmap } => self.new_generation(id, clear_bitmap),
            Command::Outdate => self.outdate(id),
            Command::SuspendIo => self.suspend_io(id),
            Command::ResumeIo => self.resume_io(id),
            Command::Resize { size_bytes, assume_clean } => {
                self.resize(id, size_bytes, assume_clean);
            }
            Command::Verify { start_bytes, stop_bytes, repair } => {
                self.verify(id, start_bytes, stop_bytes, repair);
            }
            Command::Repair { from } => self.repair(id, from),
            Command::Down => self.leave(id),
            Command::Status => {
                let answer = Answer::Status(Box::new(self.status(self.now)));
                self.wish(Output::Answer { command: id, answer });
            }
        }
    }

    fn connect_asked(&mut self, discard_my_data: bool) -> Result<(), Refusal> {
        if discard_my_data && self.role == Role::Primary {
            let text =
                "--discard-my-data is not allowed on a Primary; run 'blkrep secondary' first"
                    .into();
            return Err(Refusal { class: RefusalClass::Configuration, text });
        }
        if discard_my_data && self.peer.is_connected() {
            self.notice(Level::Warning, "connected already: --discard-my-data was ignored");
            return Ok(());
        }
        self.peer.discard_my_data = discard_my_data;
        if discard_my_data && self.peer.in_handshake() {
            // What was said in it did not name this: say it all again.
            self.drop_session("--discard-my-data begins the handshake anew");
        }
        match self.peer.intent {
            // The disk is still being attached; connecting follows by itself.
            Intent::Waiting => {}
            Intent::Connect | Intent::StandAlone(_) if self.peer.session.is_some() => {}
            Intent::Connect | Intent::StandAlone(_) => self.connect(),
        }
        Ok(())
    }

    pub(super) fn session_received(&mut self, message: Message, payload: Option<Payload>) {
        self.heard();
        let connected = self.peer.is_connected();
        match (message, payload) {
            (Message::Parameters(theirs), None) if self.expects_parameters() => {
                self.parameters_received(theirs);
            }
            (Message::Data(theirs), None) if !connected => self.data_received(theirs),
            (Message::Refuse(why), None) => {
                let origin = crate::event::LinkOrigin::Dialled;
                self.refused_by_peer(&why, origin);
                self.drop_session(&why.text);
            }
            (Message::Bitmap { from_block, runs, last }, None) => {
                self.bitmap_received(from_block, &runs, last);
            }
            (Message::SyncStart { sync_generation }, None) => {
                self.sync_start_received(sync_generation)
            }
            (Message::SyncStarted, None) => self.sync_started_received(),
            (Message::Ping { number }, None) => {
                self.send_in(crate::event::Lane::Urgent, Message::Pong { number }, None);
            }
            (Message::Pong { number }, None) => self.pong_received(number),
            (Message::Bye, None) => self.drop_session("the peer was told to disconnect"),
            (message, payload) if connected => self.connected_received(message, payload),
            (message, payload) => match self.peer.early_mut() {
                Some(early) => early.push((message, payload)),
                None => self.out_of_turn(&message, payload),
            },
        }
    }

    fn expects_parameters(&self) -> bool {
        self.peer.session.as_ref().is_some_and(|session| matches!(session.stage, Stage::Parameters))
    }

    fn connected_received(&mut self, message: Message, payload: Option<Payload>) {
        match (message, payload) {
            (Message::Write { number, range, fua }, Some(payload)) => {
                self.guest_write(number, range, fua, payload);
            }
            (Message::Zero { number, range, fua, may_unmap }, None) => {
                self.guest_zero(number, range, fua, may_unmap);
            }
            (Message::WriteDone { number }, None) => self.write_done_received(number),
            (Message::WriteFailed { number }, None) => self.write_failed_received(number),
            (Message::TakeOver { current }, None) => self.take_over_received(current),
            (Message::TookOver { current }, None) => self.took_over_received(current),
            (Message::Read { number, range }, None) => self.guest_read_received(number, range),
            (Message::ReadData { number, range }, Some(payload)) => {
                self.read_data_received(number, range, payload);
            }
            (Message::ReadFailed { number }, None) => self.read_failed_received(number),
            (Message::Flush { number }, None) => self.guest_flush(number),
            (Message::FlushDone { number }, None) => self.flush_done_received(number),
            (Message::PairDone { number }, None) => self.pair_done_received(number),
            (Message::SyncRequest { number, range, limit }, None) => {
                self.sync_request_received(number, range, limit, None);
            }
            (Message::SyncCompare { number, range, limit, digest }, None) => {
                self.sync_request_received(number, range, limit, Some(digest));
            }
            (Message::SyncData { number, range, load }, Some(payload)) => {
                self.sync_data_received(number, range, load, payload);
            }
            (Message::SyncEqual { number, load }, None) => self.sync_equal_received(number, load),
            (Message::SyncPause { paused }, None) => self.sync_pause_received(paused),
            (Message::SyncIncomplete { blocks }, None) => self.incomplete_received(blocks),
            (Message::InvalidateOffer, None) => self.invalidate_offer_received(Extent::Everything),
            (Message::InvalidateAsk, None) => self.invalidate_ask_received(Extent::Everything),
            (Message::RepairOffer, None) => self.invalidate_offer_received(Extent::Marked),
            (Message::RepairAsk, None) => self.invalidate_ask_received(Extent::Marked),
            (Message::SyncAsk { refusal }, None) => self.sync_ask_received(refusal),
            (Message::NewGeneration { current }, None) => self.new_generation_received(current),
            (Message::NewGenerationDone, None) => self.new_generation_done_received(),
            (Message::SyncUnreadable { number }, None) => self.sync_unreadable_received(number),
            (Message::SyncWritten { number }, None) => self.sync_written_received(number),
            (Message::SyncNoneLeft, None) => self.none_left_received(),
            (Message::SyncNotYet, None) => {
                self.notice(Level::Info, "the source has blocks that were not known here");
            }
            (Message::SyncGrant { generations }, None) => self.grant_received(generations),
            (Message::SyncConfirm, None) => self.confirm_received(),
            (Message::OutOfSync { blocks }, None) => self.out_of_sync_received(blocks),
            (Message::State { role, disk }, None) => self.state_received(role, disk),
            (Message::Durable { sequences }, None) => self.peer_numbers_durable(sequences),
            (Message::Outdate, None) => self.outdate_received(),
            (Message::PromoteAsk, None) => self.promote_ask_received(),
            (Message::PromoteAnswer { refusal }, None) => self.promote_answer_received(refusal),
            (message, payload) => self.verify_received(message, payload),
        }
    }

    fn verify_received(&mut self, message: Message, payload: Option<Payload>) {
        match (message, payload) {
            (Message::VerifyAsk { blocks, repair }, None) => {
                self.verify_ask_received(blocks, repair);
            }
            (Message::VerifyBegin { blocks, repair, asked }, None) => {
                self.verify_begin_received(blocks, repair, asked);
            }
            (Message::VerifyAnswer { refusal }, None) => self.verify_answer_received(refusal),
            (Message::VerifyRead { number, range, limit, next_block }, None) => {
                self.verify_read_received(number, range, limit, next_block);
            }
            (Message::VerifyDigests { number, digests }, None) => {
                self.verify_read_there(number, Ok(digests));
            }
            (Message::VerifyUnreadable { number }, None) => self.verify_read_there(number, Err(())),
            (Message::VerifyDiffers { blocks, unreadable }, None) => {
                self.verify_differs_received(blocks, unreadable);
            }
            (Message::VerifyEnd { compared_blocks, next_block, broken_off }, None) => {
                self.verify_end_received(compared_blocks, next_block, broken_off);
            }
            (Message::VerifyEnded, None) => self.verify_ended_received(),
            (message, payload) => self.resize_received(message, payload),
        }
    }

    pub(super) fn out_of_turn(&mut self, message: &Message, payload: Option<Payload>) {
        if let Some(payload) = payload {
            self.wish(Output::Release(payload.buffer));
        }
        let kind = crate::wire::Kind::of(message);
        self.drop_session(&format!("{kind:?} came out of turn"));
    }

    fn state_received(&mut self, role: Role, disk: DiskState) {
        let had_data = self.peer.has_disk();
        let was_good = self.peer.disk() == DiskState::UpToDate;
        if let Some(peer) = self.peer.connected_mut() {
            peer.role = role;
            peer.promoting = false;
        }
        self.peer_disk_is(disk.as_peer_sees_it(), "the peer says so");
        if role == Role::Primary && self.role == Role::Primary {
            self.refuse_session(two_primaries());
            return;
        }
        if had_data && !self.peer.has_disk() {
            self.invalidation_ends();
            self.by_hand_interrupted();
            let old = self.replication();
            self.sync_stop();
            self.far_reads_lose_peer();
            self.peer_data_lost();
            self.resize_gives_up("the peer's disk is gone");
            self.replication_changed(old, "the peer's disk is gone");
        }
        if !was_good && self.peer.disk() == DiskState::UpToDate {
            // It has become what a Primary without a disk can go on with (D10).
            self.hand_over();
        }
        self.part_when_outdated();
        self.doubt_is_over();
        self.resume_with_peer();
        self.detach_without_peer();
        // Whatever the peer's disk has become: who waits for good data may go on, or gets an error.
        self.resume_parked();
    }
}
