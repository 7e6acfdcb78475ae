//! What schedules that are written by hand need besides the world itself: a pair that is in sync,
//! single faults, and looks at sectors.

use crate::profile::Profile;
use crate::world::World;
use metadata::superblock::Superblock;
use replicator::event::{Answer, Command, Handler, Input};
use replicator::ids::CommandId;
use replicator::state::{ConnectionState, DiskState, Role};
use replicator::wire::Kind;
use std::ops::Range;

/// Long enough for anything that a calm world does, in microseconds.
const LONG_US: u64 = 20_000_000;

impl World {
    /// A calm world in which node 0 is Primary and both are in sync.
    ///
    /// # Panics
    /// When they do not come to that: a test cannot begin then.
    #[must_use]
    pub fn calm_pair(seed: u64) -> Self {
        Self::pair_of(seed, Profile::calm())
    }

    /// The same with a temper of its own.
    ///
    /// # Panics
    /// When they do not come to that.
    #[must_use]
    pub fn pair_of(seed: u64, profile: Profile) -> Self {
        Self::pair_traced(seed, profile, false)
    }

    pub(crate) fn pair_traced(seed: u64, profile: Profile, tracing: bool) -> Self {
        let mut world = Self::new(seed, Some(profile), tracing);
        world.calm = true;
        world.run_for(100_000);
        world.promote(0);
        let reached = world.run_until(LONG_US, |world| {
            world.is_quiet_and_in_sync()
                && world.status(0).is_some_and(|status| status.role == Role::Primary)
        });
        assert!(reached, "the pair never got in sync: {:?}", world.violation());
        world
    }

    /// After a split brain: `connect --discard-my-data` on `victim`.
    pub fn give_up(&mut self, victim: usize) {
        self.ledger.give_up(victim);
        self.command(victim, Command::Connect { discard_my_data: true });
    }

    /// Writes to some sectors through the client of `host` and waits for the answer.
    ///
    /// # Panics
    /// When no answer comes.
    pub fn write(&mut self, host: usize, sectors: Range<usize>) -> u64 {
        self.client_writes(host, sectors, false);
        assert!(self.wait_for_client(host), "no answer to a write: {:?}", self.violation());
        self.last_stamp
    }

    /// Writes with FUA and waits for the answer.
    ///
    /// # Panics
    /// When no answer comes.
    pub fn write_through(&mut self, host: usize, sectors: Range<usize>) -> u64 {
        self.client_writes(host, sectors, true);
        assert!(self.wait_for_client(host), "no answer to a write: {:?}", self.violation());
        self.last_stamp
    }

    /// A command has been answered.
    #[must_use]
    pub fn has_answered(&self, command: CommandId) -> bool {
        self.answers.contains_key(&command.0)
    }

    /// Begins a write and does not wait.
    pub fn begin_write(&mut self, host: usize, sectors: Range<usize>) -> u64 {
        self.client_writes(host, sectors, false);
        self.last_stamp
    }

    /// Reads some sectors through the client of `host`, waits for the answer, and judges it.
    pub fn read(&mut self, host: usize, sectors: Range<usize>) {
        self.client_reads(host, sectors);
        self.wait_for_client(host);
    }

    /// Requests that ended with an error.
    #[must_use]
    pub fn client_errors(&self) -> u64 {
        self.coverage.of("client error")
    }

    /// Flushes through the client of `host` and waits for the answer.
    ///
    /// # Panics
    /// When no answer comes.
    pub fn flush(&mut self, host: usize) {
        self.client_flushes(host);
        assert!(self.wait_for_client(host), "no answer to a flush: {:?}", self.violation());
    }

    /// Asks for a flush through the client of `host` and does not wait for the answer.
    pub fn begin_flush(&mut self, host: usize) {
        self.client_flushes(host);
    }

    /// Asks for some sectors through the client of `host` and does not wait for the answer.
    pub fn begin_read(&mut self, host: usize, sectors: Range<usize>) {
        self.client_reads(host, sectors);
    }

    /// Requests of the client that are not answered.
    #[must_use]
    pub fn client_waits_for(&self, host: usize) -> usize {
        self.hosts[host].client.open_count()
    }

    /// Waits until every request of the client is answered.
    pub fn wait_for_client(&mut self, host: usize) -> bool {
        self.run_until(LONG_US, |world| world.hosts[host].client.open_count() == 0)
    }

    /// Gives a command and waits for its answer; none when the daemon does not run or does not
    /// answer.
    pub fn ask(&mut self, host: usize, command: Command) -> Option<Answer> {
        let id = self.command(host, command)?;
        self.run_until(LONG_US, |world| world.answers.contains_key(&id.0));
        self.answers.remove(&id.0)
    }

    /// Detaches the client and demotes the node; true when it is Secondary then.
    pub fn demote_and_wait(&mut self, host: usize) -> bool {
        self.demote(host);
        self.run_until(LONG_US, |world| {
            world.status(host).is_some_and(|status| status.role == Role::Secondary)
        })
    }

    /// Starts a machine and its daemon, and waits until the disk is attached.
    pub fn bring_up_and_wait(&mut self, host: usize) -> bool {
        self.bring_up(host);
        self.run_until(LONG_US, |world| {
            world.status(host).is_some_and(|status| status.disk > DiskState::Failed)
        })
    }

    /// Both directions are cut until both nodes have noticed; true when they have.
    pub fn cut_and_wait(&mut self) -> bool {
        self.cut_from(0);
        self.cut_from(1);
        self.run_until(LONG_US, |world| {
            [0, 1].iter().all(|host| {
                world
                    .status(*host)
                    .is_none_or(|status| status.connection != ConnectionState::Connected)
            })
        })
    }

    /// The cable is mended, and both are told to connect.
    pub fn reconnect(&mut self) {
        self.mend_cable();
        for host in [0, 1] {
            self.command(host, Command::Connect { discard_my_data: false });
        }
    }

    /// The client of `host` goes; the node stays what it is.
    pub fn client_leaves(&mut self, host: usize) {
        if std::mem::take(&mut self.hosts[host].client.connected) {
            self.feed(host, Input::Clients(0));
        }
    }

    /// Nothing gets through from `host`, or again.
    pub fn cut_from(&mut self, host: usize) {
        self.network.cut[host] = true;
    }

    /// The stream breaks when the next message of this kind is sent.
    pub const fn lose_next(&mut self, kind: Kind) {
        self.lose = Some(kind);
    }

    /// The payload of the next message of this kind is damaged on the way.
    pub const fn damage_next(&mut self, kind: Kind) {
        self.damage = Some(kind);
    }

    /// The message that was to be lost was sent.
    #[must_use]
    pub const fn has_lost(&self) -> bool {
        self.lose.is_none()
    }

    /// Data writes of a host do not end before this is taken back.
    pub fn stick_writes(&mut self, host: usize, stuck: bool) {
        self.hosts[host].writes_stuck = stuck;
    }

    /// Data writes of a host do not end before this is taken back; flushes do.
    pub fn stick_plain_writes(&mut self, host: usize, stuck: bool) {
        self.hosts[host].plain_writes_stuck = stuck;
    }

    /// Data flushes of a host do not end before this is taken back; writes do.
    pub fn stick_flushes(&mut self, host: usize, stuck: bool) {
        self.hosts[host].flushes_stuck = stuck;
    }

    /// Data reads of a host do not end before this is taken back.
    pub fn stick_reads(&mut self, host: usize, stuck: bool) {
        self.hosts[host].reads_stuck = stuck;
    }

    /// Every stream breaks now, and nothing gets through from then on.
    pub fn break_link(&mut self) {
        self.network.cut = [true; 2];
        for stream in self.network.open_streams(0) {
            self.reset_stream(stream);
        }
    }

    /// A sector of a host's disk cannot be read until it is written.
    pub fn spoil_sector(&mut self, host: usize, sector: usize) {
        self.hosts[host].unreadable.insert(sector);
    }

    /// The bad sectors of a host's disk are replaced by the disk itself.
    pub fn mend_sectors(&mut self, host: usize) {
        self.hosts[host].unreadable.clear();
    }

    /// How a host's handlers end from now on.
    pub fn handlers_end_with(&mut self, host: usize, exit: Option<i32>) {
        self.hosts[host].handler_exit = exit;
    }

    /// The handlers that a host has run, in order.
    #[must_use]
    pub fn handlers_run(&self, host: usize) -> &[Handler] {
        &self.hosts[host].handlers_run
    }

    /// A write that is durable before its answer; waits for that.
    ///
    /// # Panics
    /// When no answer comes.
    pub fn write_durably(&mut self, host: usize, sectors: Range<usize>) -> u64 {
        self.client_writes(host, sectors, true);
        assert!(self.wait_for_client(host), "no answer to a write: {:?}", self.violation());
        self.last_stamp
    }

    /// Zeroes sectors through the client of `host` and does not wait for the answer.
    pub fn begin_zero(&mut self, host: usize, sectors: Range<usize>) {
        self.client_zeroes(host, sectors, false);
    }

    /// Requests of the client of a host that are not answered.
    #[must_use]
    pub fn requests_open(&self, host: usize) -> usize {
        self.hosts[host].client.open_count()
    }

    /// What a host's metadata would tell a start now; none when they cannot be read.
    #[must_use]
    pub fn durable(&self, host: usize) -> Option<Superblock> {
        self.hosts[host].metadata.superblock().ok()
    }

    /// Microseconds until the engine of a host wants to be called; none when it does not run or has
    /// nothing to wait for.
    #[must_use]
    pub fn deadline_in_us(&self, host: usize) -> Option<u64> {
        let deadline = self.hosts[host].node.as_ref()?.next_deadline()?;
        Some(deadline.0.saturating_sub(self.now_us))
    }

    /// Handlers take so long from now on.
    pub const fn handlers_take(&mut self, us: u64) {
        self.handler_us = Some(us);
    }

    /// What a host's disk holds in a sector, its cache included.
    #[must_use]
    pub fn sector(&self, host: usize, sector: usize) -> u64 {
        self.hosts[host].data.current()[sector]
    }

    /// True when both nodes are connected, in sync and quiet within the time that anything takes.
    pub fn gets_in_sync(&mut self) -> bool {
        let reached = self.run_until(LONG_US, Self::is_quiet_and_in_sync);
        self.check_equal();
        reached && self.violation().is_none()
    }

    /// True when a split brain was declared within the time that anything takes.
    pub fn gets_split(&mut self) -> bool {
        self.run_until(LONG_US, Self::is_split)
    }
}
