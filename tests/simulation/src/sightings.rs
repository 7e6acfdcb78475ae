//! What passes by and shows a rule at work: overlaps, windows, logs in use, stalls. Counted for the
//! table of rules; a window that is overrun is a rule broken (D14).

use crate::marks;
use crate::world::World;
use metadata::page::PageKind;
use metadata::units::ByteRange;
use replicator::message::Message;
use replicator::settings::buffer_class;
use replicator::state::{ConnectionState, DiskState, Role};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// What is under way from one host to the other on the present connection.
#[derive(Debug, Default)]
pub(crate) struct Sightings {
    /// Application writes that are not acknowledged, by number: their class; three: no payload.
    sent: BTreeMap<u64, usize>,
    /// Ranges that this host asks for as the target of a resync, by number.
    asked: BTreeMap<u64, ByteRange>,
    /// Reads that this host has asked the peer for.
    reads: BTreeSet<u64>,
    /// When the process was stopped.
    stopped_us: u64,
    /// Bits that were set when its state changed last.
    bits: u64,
}

const BARE: usize = 3;

impl World {
    /// A message leaves `host`.
    pub(crate) fn sees_message(&mut self, host: usize, message: &Message) -> Result<(), String> {
        if let Some(what) = marks::of_message(message) {
            self.coverage.count(what);
        }
        if let Message::Write { number, range, .. } = message {
            let bytes = u32::try_from(range.bytes()).unwrap_or(u32::MAX);
            return self.sees_write(host, *number, buffer_class(bytes));
        }
        if let Message::Zero { number, .. } = message {
            return self.sees_write(host, *number, BARE);
        }
        if let Message::WriteDone { number } | Message::WriteFailed { number } = message {
            self.hosts[1 - host].sightings.sent.remove(number);
        }
        if let Message::SyncRequest { number, range, .. }
        | Message::SyncCompare { number, range, .. } = message
        {
            self.hosts[host].sightings.asked.insert(*number, *range);
            let (open, buffers) =
                (self.hosts[host].sightings.asked.len(), self.profile.sync_buffers as usize);
            if open > buffers {
                return Err(format!("it asks for {open} ranges, and has {buffers} buffers"));
            }
        }
        if let Message::SyncWritten { number } = message {
            self.hosts[host].sightings.asked.remove(number);
        }
        if let Message::SyncEqual { number, .. } | Message::SyncUnreadable { number } = message {
            self.hosts[1 - host].sightings.asked.remove(number);
        }
        self.sees_read(host, message)
    }

    /// A Primary asks for no more than it has room for: its peer sends it nothing else (D14).
    fn sees_read(&mut self, host: usize, message: &Message) -> Result<(), String> {
        if let Message::ReadData { number, .. } | Message::ReadFailed { number } = message {
            self.hosts[1 - host].sightings.reads.remove(number);
        }
        let Message::Read { number, .. } = message else { return Ok(()) };
        let (reads, room) =
            (&mut self.hosts[host].sightings.reads, self.profile.window_frames as usize);
        reads.insert(*number);
        let open = reads.len();
        if open > room { Err(format!("it reads {open} pieces, and holds {room}")) } else { Ok(()) }
    }

    /// The sender stays inside of what the other end has announced (D14).
    fn sees_write(&mut self, host: usize, number: u64, class: usize) -> Result<(), String> {
        let window = self.profile.window_frames as usize;
        let sent = &mut self.hosts[host].sightings.sent;
        sent.insert(number, class);
        let open = sent.values().filter(|other| **other == class).count();
        if open > window {
            return Err(format!(
                "{open} writes of class {class} are sent, the peer holds {window}"
            ));
        }
        if open == window {
            self.coverage.count("window of the peer used up");
        }
        Ok(())
    }

    /// The connection of `host` has changed, and what was under way on it is void.
    pub(crate) fn sees_connection(&mut self, host: usize, new: ConnectionState) {
        self.hosts[host].sightings.sent.clear();
        self.hosts[host].sightings.asked.clear();
        self.hosts[host].sightings.reads.clear();
        let Some(status) = self.status(host) else { return };
        let before = self.hosts[host].sightings.bits;
        if new != ConnectionState::Connected
            && status.role == Role::Primary
            && status.out_of_sync_blocks > before
        {
            self.coverage.count("blocks marked as the peer is lost");
        }
    }

    /// The state of `host` has changed.
    pub(crate) fn sees_state(&mut self, host: usize) {
        let bits = self.hosts[host].status.as_ref().map_or(0, |status| status.out_of_sync_blocks);
        self.hosts[host].sightings.bits = bits;
        let lacks = self.hosts[host].status.as_ref().is_some_and(|status| {
            status.disk != DiskState::UpToDate && status.peer_disk != DiskState::UpToDate
        });
        if lacks {
            self.hosts[host].lacked_us = self.now_us;
        }
    }

    /// A client writes: over what is open, or into what a resync asks for (D6).
    pub(crate) fn mark_overlaps(&mut self, host: usize, sectors: &Range<usize>) {
        let overlaps =
            |other: &Range<usize>| other.start < sectors.end && sectors.start < other.end;
        let client = &self.hosts[host].client;
        if client.open.values().any(|open| open.is_write() && overlaps(&open.sectors)) {
            self.coverage.count("write over a write that is open");
        }
        let geometry = &self.profile.geometry;
        let asks = |host: usize| {
            let mut asked = self.hosts[host].sightings.asked.values();
            asked.any(|range| overlaps(&geometry.real(*range)))
        };
        if asks(0) || asks(1) {
            self.coverage.count("write into a range that a resync asks for");
        }
    }

    /// A metadata write has ended.
    pub(crate) fn sees_metadata(&mut self, pages: &[u8]) {
        if pages.starts_with(&PageKind::ActivityLog.magic()) {
            self.coverage.count("transaction of the log written");
        }
    }

    /// The process is stopped, or goes on.
    pub(crate) fn sees_stop(&mut self, host: usize, stopped: bool) {
        let now_us = self.now_us;
        let ping_us = self.profile.settings(host).net.ping_timeout.as_micros() as u64;
        let this = &mut self.hosts[host];
        if stopped && !this.stopped {
            this.sightings.stopped_us = now_us;
        }
        let serves = this.client.connected
            && this.peer_said.0 == ConnectionState::Connected
            && this.status.as_ref().is_some_and(|status| status.role == Role::Primary);
        if !stopped && this.stopped && serves && now_us > this.sightings.stopped_us + ping_us {
            self.coverage.count("stall under a client");
        }
    }
}
