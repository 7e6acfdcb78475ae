//! Carries out what the engine wishes: disk and metadata I/O, the client's answers, the export, the
//! log.

use crate::buffers::{Use, checksum, digest};
use crate::disk::{Work, ZERO_STAMP};
use crate::world::{Happening, World};
use metadata::units::{BlockRange, ByteRange};
use replicator::digest::Digested;
use replicator::event::{Event, Input, IoOutcome, Output};
use replicator::ids::{BufferId, IoId, Moment};
use replicator::state::ConnectionState;

impl World {
    /// Carries out all wishes of a node, in order.
    pub(crate) fn carry_out(&mut self, host: usize) {
        loop {
            let Some(node) = &mut self.hosts[host].node else { return };
            let Some(output) = node.poll_output() else { return };
            if let Err(why) = self.carry_out_one(host, output) {
                self.fail(format!("node {host}: {why}"));
            }
        }
    }

    fn carry_out_one(&mut self, host: usize, output: Output) -> Result<(), String> {
        match output {
            Output::DiskRead { io, range, buffer, checksum } => {
                self.hosts[host].buffers.stamps(buffer)?;
                self.disk_begins(host, io, Work::Read { range, buffer, checksum });
            }
            Output::DiskDigest { io, range, buffer } => {
                self.hosts[host].buffers.stamps(buffer)?;
                self.disk_begins(host, io, Work::Digest { range, buffer });
            }
            Output::DiskDigests { io, range, buffer } => {
                self.hosts[host].buffers.stamps(buffer)?;
                self.disk_begins(host, io, Work::Digests { range, buffer });
            }
            Output::DiskWrite { io, range, buffer, fua } => {
                self.data_written(host, range)?;
                let span = self.profile.geometry.real(range);
                let stamps = self.hosts[host].buffers.stamps(buffer)?;
                let stamps = stamps.get(..span.len()).ok_or("a write longer than its buffer")?;
                let stamps = stamps.to_vec();
                self.disk_begins(host, io, Work::Write { first_sector: span.start, stamps, fua });
            }
            Output::DiskZero { io, range, fua, may_unmap: _ } => {
                self.zeroes_written(host, range);
                let span = self.profile.geometry.real(range);
                let stamps = vec![ZERO_STAMP; span.len()];
                self.disk_begins(host, io, Work::Write { first_sector: span.start, stamps, fua });
            }
            Output::DiskFlush { io } => {
                let up_to = self.hosts[host].data.completed();
                self.disk_begins(host, io, Work::Flush { up_to });
            }
            Output::MetadataWrite { io, offset_bytes, pages } => {
                let this = &mut self.hosts[host];
                if this.metadata.submit(io, this.incarnation, offset_bytes, pages) {
                    self.metadata_begins(host);
                }
            }
            Output::Send { link, message, payload, lane } => {
                self.send(host, link, &message, payload, lane)?;
            }
            Output::CopyInto { from, to, offset_bytes, bytes } => {
                self.hosts[host].buffers.copy_into(from, to, offset_bytes, bytes)?;
            }
            Output::Reply { request, result } => self.client_hears(host, request, result),
            Output::Release(buffer) => self.released(host, buffer)?,
            Output::OpenExport { size_bytes, .. } => {
                self.export_has(host, size_bytes)?;
            }
            Output::CloseExport { .. } => {
                self.hosts[host].export_sectors = None;
                self.client_stops(host, None);
            }
            Output::Dial => self.dial(host),
            Output::CloseLink { link, how } => self.close_link(host, link, how),
            Output::Answer { command, answer } => self.answered(host, command, answer),
            Output::Event(event) => self.heard_event(host, &event),
            Output::OpenDisk => self.disk_opens(host),
            Output::MeasureDisk => self.measure(host),
            Output::CloseDisk => self.disk_closes(host),
            Output::RunHandler { id, handler } => self.handler_begins(host, id, handler),
            Output::ResumeMark(mark) => self.resume_mark_is(host, mark),
            Output::Stop => {
                self.trace(|| format!("node {host} stops"));
                self.process_ends(host);
            }
        }
        Ok(())
    }

    fn released(&mut self, host: usize, buffer: BufferId) -> Result<(), String> {
        match self.hosts[host].buffers.release(buffer)? {
            Use::Client | Use::Received => {}
            Use::Sync => {
                let incarnation = self.hosts[host].incarnation;
                let delay_us = self.random.between(1, 200);
                self.plan(delay_us, Happening::BufferFree { host, incarnation });
            }
        }
        Ok(())
    }

    fn heard_event(&mut self, host: usize, event: &Event) {
        self.trace(|| format!("node {host} says {event:?}"));
        match event {
            Event::Notice { text, .. } => {
                if text.contains("solved. Sync from") || text.contains("gives up its role") {
                    self.split_brain_was_solved(host, text);
                }
                if text.contains("handshake: Sync { end: Target, amount: Full }") {
                    self.hosts[host].replaced = true;
                }
                self.verify_says(host, text);
                return self.coverage.hear(text);
            }
            Event::Connection { old, new, reason } => {
                if *old == ConnectionState::Connected {
                    self.parts(host);
                }
                self.coverage.hear(reason);
                self.sees_connection(host, *new);
                self.hosts[host].connection_changes += 1;
                self.hosts[host].connection_changed_us = self.now_us;
                self.hosts[host].peer_said.0 = *new;
            }
            Event::PeerDisk { new, .. } => self.hosts[host].peer_said.1 = *new,
            Event::Replication { new, .. } => self.hosts[host].replication = *new,
            Event::Role { .. } => self.role_changed(host),
            Event::Disk { .. } => {}
            Event::Suspension { old, new, .. } => {
                if new.no_data && !old.no_data {
                    self.hosts[host].no_data_us = self.now_us;
                }
                self.hosts[host].frozen = new.any();
                self.coverage.count("clients' I/O frozen or thawed");
            }
        }
        let now = Moment(self.now_us);
        let this = &mut self.hosts[host];
        this.status = this.node.as_ref().map(|node| node.status(now));
        self.sees_state(host);
        self.state_changed(host, event);
    }

    fn disk_begins(&mut self, host: usize, io: IoId, work: Work) {
        let this = &mut self.hosts[host];
        let ticket = this.data.submit(io, this.incarnation, work);
        // Most I/Os are quick, a few take their time: so they overtake each other.
        let longest_us = self.profile.disk_us_max;
        let limit_us = if self.random.chance(80) { longest_us / 10 + 20 } else { longest_us };
        let delay_us = self.random.between(10, limit_us);
        self.plan(delay_us, Happening::DiskEnds { host, ticket });
    }

    pub(crate) fn disk_ends(&mut self, host: usize, ticket: u64) {
        let this = &mut self.hosts[host];
        let stuck = this.writes_stuck && this.data.is_write(ticket)
            || this.plain_writes_stuck && this.data.is_write(ticket) && !this.data.is_flush(ticket)
            || this.flushes_stuck && this.data.is_flush(ticket)
            || this.reads_stuck && !this.data.is_write(ticket);
        if stuck {
            self.plan(5_000, Happening::DiskEnds { host, ticket });
            return;
        }
        if self.dead_io_goes_on(host, ticket) || self.io_fails(host, ticket) {
            return;
        }
        let Some(flight) = self.hosts[host].data.complete(ticket) else { return };
        // A flush only makes two of the four contents the same.
        if let Work::Write { first_sector, stamps, .. } = &flight.work {
            let landed = *first_sector..first_sector + stamps.len();
            self.check_cover(landed);
            if !self.hosts[host].runs(flight.incarnation) {
                self.coverage.count("write of a dead process landed");
            }
        }
        let this = &mut self.hosts[host];
        let geometry = &self.profile.geometry;
        if !this.runs(flight.incarnation) {
            return;
        }
        if this.read_fails(geometry, &flight.work) {
            self.coverage.count("read error");
            let input = match flight.work {
                Work::Digest { .. } => Input::DigestDone { io: flight.io, read: Err(5) },
                Work::Digests { .. } => Input::DigestsDone { io: flight.io, read: Err(5) },
                Work::Read { .. } | Work::Write { .. } | Work::Flush { .. } => {
                    let outcome = IoOutcome::Failed { errno: 5 };
                    Input::DiskDone { io: flight.io, outcome }
                }
            };
            return self.feed(host, input);
        }
        let crc32c = match flight.work {
            Work::Read { range, buffer, checksum: wanted } => {
                let stamps = this.data.current()[geometry.real(range)].to_vec();
                let sum = checksum(&stamps);
                if let Err(why) = this.buffers.fill(buffer, stamps) {
                    return self.fail(why);
                }
                if wanted { sum } else { 0 }
            }
            Work::Digest { range, buffer } => {
                let stamps = this.data.current()[geometry.real(range)].to_vec();
                let read = Digested { crc32c: checksum(&stamps), digest: digest(&stamps) };
                if let Err(why) = this.buffers.fill(buffer, stamps) {
                    return self.fail(why);
                }
                self.coverage.count("digest");
                self.feed(host, Input::DigestDone { io: flight.io, read: Ok(read) });
                return;
            }
            Work::Digests { range, buffer } => {
                return self.block_digests_read(host, flight.io, range, buffer);
            }
            Work::Write { .. } | Work::Flush { .. } => 0,
        };
        let outcome = IoOutcome::Done { crc32c };
        self.feed(host, Input::DiskDone { io: flight.io, outcome });
    }

    /// A read for a verify ends.
    fn block_digests_read(&mut self, host: usize, io: IoId, range: ByteRange, buffer: BufferId) {
        let this = &mut self.hosts[host];
        let geometry = &self.profile.geometry;
        let content = this.data.current();
        let blocks = range.blocks_touched();
        let digests = (blocks.first..blocks.end())
            .map(|first| BlockRange { first, count: 1 }.bytes(range.end()))
            .map(|block| digest(&content[geometry.real(block)]))
            .collect();
        let stamps = content[geometry.real(range)].to_vec();
        if let Err(why) = this.buffers.fill(buffer, stamps) {
            return self.fail(why);
        }
        self.coverage.count("digests of a verify");
        self.feed(host, Input::DigestsDone { io, read: Ok(digests) });
    }

    fn metadata_begins(&mut self, host: usize) {
        let delay_us = self.random.between(10, self.profile.metadata_us_max)
            + self.hosts[host].metadata_extra_us;
        let power_cuts = self.hosts[host].power_cuts;
        self.plan(delay_us, Happening::MetadataEnds { host, power_cuts });
    }

    pub(crate) fn metadata_ends(&mut self, host: usize, power_cuts: u64) {
        let this = &mut self.hosts[host];
        if this.power_cuts != power_cuts {
            return;
        }
        if this.broken.metadata {
            return self.metadata_fails(host);
        }
        let Some((write, more)) = this.metadata.complete() else { return };
        if more {
            self.metadata_begins(host);
        }
        self.sees_metadata(&write.pages);
        self.judge_rotation(host);
        self.check_cover_everywhere();
        self.trace(|| match self.hosts[host].metadata.superblock() {
            Ok(now) => format!("node {host} has durably {:?} {:?}", now.generations, now.flags),
            Err(error) => format!("node {host} has no superblock: {error}"),
        });
        if self.hosts[host].runs(write.incarnation) {
            let outcome = IoOutcome::Done { crc32c: 0 };
            self.feed(host, Input::MetadataDone { io: write.io, outcome });
        }
    }
}
