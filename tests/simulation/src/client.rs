//! An NBD-like client: writes, zeroes, trims, reads and flushes at some depth, and judges every
//! answer.

use crate::buffers::{Use, checksum};
use crate::disk::ZERO_STAMP;
use crate::disk_faults::Broken;
use crate::world::{Happening, World};
use metadata::generations::same_generation;
use replicator::event::{ClientError, ClientOp, Input, Payload};
use replicator::ids::{BufferId, CommandId, RequestId};
use replicator::settings::{OnNoData, ZERO_PIECE_BYTES_MAX};
use replicator::state::{ConnectionState, DiskState, ReplicationState, Role};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// What a request wants, with what its answer will be judged by.
#[derive(Debug)]
pub(crate) enum Wish {
    Read { buffer: BufferId, floors: Vec<u64> },
    Write { issued: u64, stamp: u64, fua: bool },
    Trim { issued: u64 },
    Flush { floors: Vec<u64> },
}

/// A request under way.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) sectors: Range<usize>,
    pub(crate) wish: Wish,
    asked_us: u64,
    /// Of the peer's host when it was issued.
    peer_power_cuts: u64,
    /// Of the own node when it was issued.
    connection_changes: u64,
    /// The device that it was asked of: [`crate::host::Host::cookie`].
    pub(crate) cookie: u64,
    /// The other node was promoted with this one's consent since: it must not happen any more.
    pub(crate) over: bool,
}

/// The client of one host.
#[derive(Debug, Default)]
pub(crate) struct Client {
    /// It has the device open.
    pub(crate) connected: bool,
    /// It begins nothing new.
    pub(crate) stopping: bool,
    /// The command to give when it has gone.
    pub(crate) then_demote: Option<CommandId>,
    /// A turn of it is planned.
    planned: bool,
    pub(crate) open: BTreeMap<RequestId, Open>,
    /// Not answered when its connection broke: to be sent again.
    pub(crate) kept: Vec<Open>,
    /// Of a connection that broke: the daemon may still answer, nobody hears it.
    pub(crate) unheard: BTreeSet<RequestId>,
}

/// The replicas are said to be the same; a verify changes nothing of that.
pub(crate) const fn mirrors(replication: ReplicationState) -> bool {
    matches!(
        replication,
        ReplicationState::Established | ReplicationState::VerifyS | ReplicationState::VerifyT
    )
}

impl Open {
    pub(crate) const fn is_write(&self) -> bool {
        match self.wish {
            Wish::Write { .. } | Wish::Trim { .. } => true,
            Wish::Read { .. } | Wish::Flush { .. } => false,
        }
    }
}

impl Client {
    /// Requests that the engine has, whoever waits for their answers.
    pub(crate) fn open_count(&self) -> usize {
        self.open.len() + self.unheard.len()
    }
}

impl World {
    /// The export is open: the client attaches and begins.
    pub(crate) fn client_attaches(&mut self, host: usize) {
        let client = &mut self.hosts[host].client;
        client.connected = true;
        client.stopping = self.calm;
        self.feed(host, Input::Clients(1));
        self.client_sends_again(host);
        self.client_plans(host);
    }

    pub(crate) fn client_plans(&mut self, host: usize) {
        if !std::mem::replace(&mut self.hosts[host].client.planned, true) {
            let pause_us = 1 + self.random.below(self.profile.client_pause_us_max);
            let incarnation = self.hosts[host].incarnation;
            self.plan(pause_us, Happening::ClientActs { host, incarnation });
        }
    }

    pub(crate) fn client_acts(&mut self, host: usize) {
        let depth = self.profile.client_depth;
        let client = &mut self.hosts[host].client;
        client.planned = false;
        if !client.connected || client.stopping {
            return;
        }
        if client.open.len() < depth {
            self.client_issues_any(host);
        }
        self.client_plans(host);
    }

    fn client_issues_any(&mut self, host: usize) {
        let longest = if self.random.chance(10) { 300 } else { 24 };
        let sectors = self.draw_sectors(host, longest);
        let fua = self.random.chance(10);
        match self.random.below(20) {
            0..=10 => self.client_writes(host, sectors, fua),
            11 => {
                let sectors = self.wider(host, sectors);
                self.client_zeroes(host, sectors, fua);
            }
            12 => {
                let sectors = self.wider(host, sectors);
                self.client_trims(host, sectors, fua);
            }
            13..=17 => self.client_reads(host, sectors),
            _ => self.client_flushes(host),
        }
    }

    /// Sometimes some extents more: a request without payload may be long.
    fn wider(&mut self, host: usize, sectors: Range<usize>) -> Range<usize> {
        let limit = self.hosts[host].export_sectors.unwrap_or(0);
        let geometry = &self.profile.geometry;
        let longer = sectors.start..(sectors.end + 90).min(limit);
        let fits = geometry.bytes_of(&longer).bytes() <= ZERO_PIECE_BYTES_MAX;
        if geometry.is_wide() && fits && self.random.chance(20) { longer } else { sectors }
    }

    pub(crate) fn client_opens(
        &mut self,
        host: usize,
        sectors: Range<usize>,
        wish: Wish,
        op: ClientOp,
    ) {
        self.last_request += 1;
        let id = RequestId(self.last_request);
        let open = Open {
            sectors,
            wish,
            asked_us: self.now_us,
            peer_power_cuts: self.hosts[1 - host].power_cuts,
            connection_changes: self.hosts[host].connection_changes,
            cookie: self.hosts[host].cookie,
            over: false,
        };
        self.trace(|| format!("client {host} asks {id:?} {op:?}"));
        self.hosts[host].client.open.insert(id, open);
        self.feed(host, Input::Request { id, op });
    }

    /// Writes a fresh stamp to some sectors.
    pub(crate) fn client_writes(&mut self, host: usize, sectors: Range<usize>, fua: bool) {
        self.mark_overlaps(host, &sectors);
        self.last_stamp += 1;
        let stamps = vec![self.last_stamp; sectors.len()];
        let issued = self.ledger.issue(sectors.clone(), self.last_stamp);
        let range = self.profile.geometry.bytes_of(&sectors);
        let payload = Payload {
            bytes: u32::try_from(range.bytes()).expect("invariant: requests are small"),
            crc32c: checksum(&stamps),
            buffer: self.hosts[host].buffers.give(Use::Client, stamps),
        };
        let op = ClientOp::Write { range, payload, fua };
        let stamp = self.last_stamp;
        self.client_opens(host, sectors, Wish::Write { issued, stamp, fua }, op);
    }

    pub(crate) fn client_zeroes(&mut self, host: usize, sectors: Range<usize>, fua: bool) {
        let issued = self.ledger.issue(sectors.clone(), ZERO_STAMP);
        let op =
            ClientOp::Zero { range: self.profile.geometry.bytes_of(&sectors), fua, may_unmap: fua };
        self.client_opens(host, sectors, Wish::Write { issued, stamp: ZERO_STAMP, fua }, op);
    }

    fn client_trims(&mut self, host: usize, sectors: Range<usize>, fua: bool) {
        let issued = self.ledger.issue(sectors.clone(), ZERO_STAMP);
        let op = ClientOp::Trim { range: self.profile.geometry.bytes_of(&sectors), fua };
        self.client_opens(host, sectors, Wish::Trim { issued }, op);
    }

    pub(crate) fn client_reads(&mut self, host: usize, sectors: Range<usize>) {
        let floors = self.ledger.floors(self.server_of(host), sectors.clone());
        let buffer = self.hosts[host].buffers.give(Use::Client, Vec::new());
        let op = ClientOp::Read { range: self.profile.geometry.bytes_of(&sectors), buffer };
        self.client_opens(host, sectors, Wish::Read { buffer, floors }, op);
    }

    /// Asks for a flush of everything answered so far.
    pub(crate) fn client_flushes(&mut self, host: usize) {
        let all = 0..self.profile.geometry.sectors();
        let floors = self.ledger.floors(self.server_of(host), all.clone());
        self.client_opens(host, all, Wish::Flush { floors }, ClientOp::Flush);
    }

    /// Judges an answer.
    pub(crate) fn client_hears(
        &mut self,
        host: usize,
        id: RequestId,
        result: Result<(), ClientError>,
    ) {
        if self.hosts[host].client.unheard.remove(&id) {
            return self.trace(|| format!("nobody hears {id:?} {result:?}"));
        }
        let Some(open) = self.hosts[host].client.open.remove(&id) else {
            self.fail(format!("node {host} answered {id:?}, which is not open"));
            return;
        };
        self.trace(|| format!("client {host} hears {id:?} {result:?}"));
        if self.hosts[host].frozen {
            self.fail(format!("node {host} answered {id:?} while clients' I/O is frozen"));
            return;
        }
        match open.wish {
            Wish::Write { issued, .. } | Wish::Trim { issued } => {
                self.ledger.end(open.sectors.clone(), issued);
            }
            Wish::Read { .. } | Wish::Flush { .. } => {}
        }
        match result {
            Ok(()) => self.client_was_answered(host, id, &open),
            Err(error) => self.client_was_refused(host, id, &open, error),
        }
        self.client_leaves_when_done(host);
    }

    fn client_was_answered(&mut self, host: usize, id: RequestId, open: &Open) {
        match &open.wish {
            Wish::Trim { .. } => {}
            Wish::Read { buffer, floors } => {
                let stamps = match self.hosts[host].buffers.stamps(*buffer) {
                    Ok(stamps) => stamps,
                    Err(why) => return self.fail(why),
                };
                for (ahead, stamp) in stamps.iter().enumerate() {
                    let sector = open.sectors.start + ahead;
                    if !self.ledger.allows(sector, floors[ahead], *stamp) {
                        let why = format!(
                            "{id:?} on node {host} read {stamp} in sector {sector}, older than what \
                             was acknowledged before"
                        );
                        return self.fail(why);
                    }
                }
                self.coverage.count("read");
            }
            Wish::Write { issued, fua, .. } => {
                self.write_was_answered(host, id, open, *issued);
                if *fua {
                    self.coverage.count("FUA write");
                    // A longer one goes in pieces: what was written there since is not its own.
                    let server = self.server_of(host);
                    let mut floors = self.ledger.floors(server, open.sectors.clone());
                    floors.iter_mut().for_each(|floor| *floor = (*floor).min(*issued));
                    self.judge_durable(host, id, open, &floors);
                }
            }
            Wish::Flush { floors } => self.flush_was_answered(host, id, open, floors),
        }
    }

    /// True when both replicas are in sync as this node sees it and have been since the request was
    /// issued.
    fn is_mirroring(&self, host: usize, open: &Open) -> bool {
        self.hosts[host].connection_changes == open.connection_changes
            && self.hosts[1 - host].power_cuts == open.peer_power_cuts
            && self.hosts[host].status.as_ref().is_some_and(|status| {
                status.connection == ConnectionState::Connected
                    && mirrors(status.replication)
                    && status.peer_disk == DiskState::UpToDate
            })
            && self.have_one_generation()
    }

    /// On stable storage both have the same generation: none has begun to answer alone.
    fn have_one_generation(&self) -> bool {
        let [first, second] = [0, 1]
            .map(|host| self.hosts[host].metadata.superblock().map(|sb| sb.generations.current));
        match (first, second) {
            (Ok(first), Ok(second)) => same_generation(first, second),
            (Err(_), _) | (_, Err(_)) => false,
        }
    }

    fn write_was_answered(&mut self, host: usize, id: RequestId, open: &Open, issued: u64) {
        self.coverage.count("write");
        let peer = 1 - host;
        if self.server_of(host) == peer {
            return self.far_write_was_answered(peer, id, open, issued);
        }
        let before = self.ledger.floors(host, open.sectors.clone());
        self.ledger.acknowledge(host, open.sectors.clone(), issued);
        let floors = self.ledger.floors(host, open.sectors.clone());
        let holds = |world: &Self, content: &[u64]| {
            world.ledger.holds(open.sectors.clone(), &floors, content)
        };
        if !holds(self, self.hosts[host].data.current()) {
            return self.fail(format!("{id:?} was answered, and node {host} has not written it"));
        }
        let mirroring = self.is_mirroring(host, open);
        if holds(self, self.hosts[peer].data.current()) {
            // What was in flight at a loss may be on the peer, too; only what is mirrored is
            // promised there.
            if mirroring {
                self.ledger.acknowledge(peer, open.sectors.clone(), issued);
            }
        } else if mirroring {
            self.fail(format!("{id:?} was answered, and the peer has not written it"));
        } else if self.hosts[peer].power_cuts == open.peer_power_cuts {
            self.coverage.count("write alone");
            self.trace(|| format!("node {host} answered {id:?} alone"));
            self.ledger.wrote_alone(host, open.sectors.clone(), &before);
        }
    }

    /// A Primary without good data of its own answered: the peer's copy is the only one, and what
    /// is acknowledged of it is durable (D18).
    fn far_write_was_answered(&mut self, server: usize, id: RequestId, open: &Open, issued: u64) {
        self.coverage.count("write on the peer's disk");
        let sectors = open.sectors.clone();
        let before = self.ledger.floors(server, sectors.clone());
        self.ledger.acknowledge(server, sectors.clone(), issued);
        let floors = self.ledger.floors(server, sectors.clone());
        if !self.ledger.holds(sectors.clone(), &floors, self.hosts[server].data.durable()) {
            let why = format!("{id:?} was answered, and is not durable on the only copy");
            return self.fail(why);
        }
        self.ledger.flushed_as_sole(server, sectors.clone(), &floors);
        self.ledger.wrote_alone(server, sectors, &before);
    }

    /// Whose copy answers a client of `host` now.
    pub(crate) fn server_of(&self, host: usize) -> usize {
        let own = self.status(host).is_none_or(|status| status.disk == DiskState::UpToDate);
        if own { host } else { 1 - host }
    }

    /// An error is right only where there are no good data.
    fn client_was_refused(&mut self, host: usize, id: RequestId, open: &Open, error: ClientError) {
        self.coverage.count("client error");
        let sound = self.hosts.iter().all(|host| host.broken == Broken::default());
        let good = self.status(host).is_some_and(|status| {
            status.role == Role::Primary && status.disk == DiskState::UpToDate
        });
        // What was done when the data went away, and not answered, is not promised any more.
        let is_read = matches!(open.wish, Wish::Read { .. });
        let was_done = !is_read && open.asked_us <= self.hosts[host].lacked_us;
        if error == ClientError::Io && sound && good && !was_done {
            self.fail(format!("{id:?} on node {host} failed although its data are good"));
        }
        // What was done when the data went away, and not answered, is not promised any more.
        let is_new =
            matches!(open.wish, Wish::Read { .. }) || open.asked_us > self.hosts[host].no_data_us;
        let suspends = self.profile.on_no_data == OnNoData::SuspendIo;
        let waits = suspends && is_new && !self.hosts[host].waived;
        if error == ClientError::Io && sound && waits {
            self.fail(format!("{id:?} on node {host} failed although it shall wait for data"));
        }
    }

    fn flush_was_answered(&mut self, host: usize, id: RequestId, open: &Open, floors: &[u64]) {
        self.coverage.count("flush");
        self.judge_durable(host, id, open, floors);
    }

    /// FLUSH and FUA: what `floors` say must be durable here, and on the peer unless that is gone
    /// (D3).
    fn judge_durable(&mut self, host: usize, id: RequestId, open: &Open, floors: &[u64]) {
        let peer = 1 - host;
        let all = open.sectors.clone();
        if self.server_of(host) == peer {
            // The only copy: what it answers is durable there (D18).
            if !self.ledger.holds(all.clone(), floors, self.hosts[peer].data.durable()) {
                let why = format!("{id:?} was answered, and is not durable on the only copy");
                return self.fail(why);
            }
            return self.ledger.flushed(peer, all, floors);
        }
        if !self.ledger.holds(all.clone(), floors, self.hosts[host].data.durable()) {
            return self.fail(format!("{id:?} was answered, and is not durable on node {host}"));
        }
        self.ledger.flushed(host, all.clone(), floors);
        let mirroring = self.is_mirroring(host, open);
        if self.ledger.holds(all.clone(), floors, self.hosts[peer].data.durable()) {
            if mirroring {
                self.ledger.flushed(peer, all, floors);
            }
        } else if mirroring {
            self.fail(format!("{id:?} was answered, and is not durable on the peer"));
        } else if self.hosts[peer].power_cuts == open.peer_power_cuts {
            self.coverage.count("flush alone");
            self.trace(|| format!("node {host} answered {id:?} alone"));
            self.ledger.went_alone(host);
        }
    }

    /// Asks the client to finish and go, and to demote the node then.
    pub(crate) fn client_stops(&mut self, host: usize, then_demote: Option<CommandId>) {
        let client = &mut self.hosts[host].client;
        client.stopping = true;
        client.then_demote = then_demote.or(client.then_demote);
        self.client_leaves_when_done(host);
    }

    pub(crate) fn client_leaves_when_done(&mut self, host: usize) {
        let this = &mut self.hosts[host];
        let (client, cookie) = (&mut this.client, this.cookie);
        let keeps = client.kept.iter().any(|open| open.cookie == cookie);
        if !client.stopping || !client.open.is_empty() || keeps {
            return;
        }
        let Some(command) = client.then_demote.take() else { return };
        if std::mem::take(&mut client.connected) {
            self.feed(host, Input::Clients(0));
        }
        self.feed(
            host,
            Input::Command { id: command, command: replicator::event::Command::Secondary },
        );
    }
}
