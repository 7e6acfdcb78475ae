//! What must hold at every moment: one Primary, promises kept at promotion and at meeting, replicas
//! equal when quiet.

use crate::buffers::Use;
use crate::client::mirrors;
use crate::world::World;
use replicator::event::Event;
use replicator::ids::Moment;
use replicator::state::{ConnectionState, DiskState, ReplicationState, Role};
use replicator::status::Status;

/// Longer than the marks of a promotion are on their way to the slowest disk, in microseconds.
const LOST_US: u64 = 2_000_000;

/// As this node sees it, both replicas are the same.
fn sees_both_in_sync(status: &Status) -> bool {
    status.connection == ConnectionState::Connected
        && mirrors(status.replication)
        && status.disk == DiskState::UpToDate
        && status.peer_disk == DiskState::UpToDate
}

impl World {
    /// A node's state has changed.
    pub(crate) fn state_changed(&mut self, host: usize, event: &Event) {
        self.copy_changed(host, event);
        let (connected, primaries, both_in_sync) = {
            let [Some(first), Some(second)] =
                self.hosts.each_ref().map(|host| host.status.as_ref())
            else {
                self.in_sync = false;
                return;
            };
            let both = [first, second];
            (
                both.iter().all(|status| status.connection == ConnectionState::Connected),
                both.iter().all(|status| status.role == Role::Primary),
                both.iter().all(|status| sees_both_in_sync(status)),
            )
        };
        if !connected {
            self.in_sync = false;
        }
        if connected && primaries {
            self.fail("two Primaries are connected to each other".into());
        }
        if both_in_sync && !self.in_sync {
            self.in_sync = true;
            self.judge_restored();
            self.coverage.count("meeting judged");
            let contents = self.hosts.each_ref().map(|host| host.data.current());
            if let Err(why) = self.ledger.merge(contents) {
                self.fail(why);
            }
        }
    }

    /// A copy begins or ceases to be the target of a resync.
    fn copy_changed(&mut self, host: usize, event: &Event) {
        let synced = matches!(
            event,
            Event::Disk { old: DiskState::Inconsistent, new: DiskState::UpToDate, .. }
        ) && matches!(
            self.hosts[host].replication,
            ReplicationState::SyncTarget | ReplicationState::PausedSyncT
        );
        if synced {
            let role = self.hosts[host].status.as_ref().map(|status| status.role);
            self.ledger.took_grant(host, role == Some(Role::Primary));
        }
        if let Event::Disk { new: DiskState::Failed, .. } = event {
            // What a disk holds that was given up is not counted on.
            self.ledger.degraded(host);
        }
        if let Event::Disk { new: DiskState::Inconsistent, old, reason } = event
            && *old > DiskState::Inconsistent
        {
            if reason.contains("could not be written or read") {
                self.ledger.degraded(host);
            } else {
                self.judge_direction(host);
            }
        }
    }

    /// A whole copy becomes the target of a resync: the direction must be the right one.
    fn judge_direction(&mut self, target: usize) {
        self.coverage.count("whole copy becomes target");
        let source = &self.hosts[1 - target];
        let sends = source
            .status
            .as_ref()
            .is_some_and(|status| status.replication == ReplicationState::WFBitMapS);
        let content = sends.then(|| source.data.current());
        if let Err(why) = self.ledger.becomes_target(target, content) {
            self.fail(why);
        }
    }

    /// A node opens its export: its data must hold what was promised of them.
    pub(crate) fn export_opens(&mut self, host: usize) {
        // As it was when the export was to be opened: the engine may have gone on since.
        let (connection, peer_disk) = self.hosts[host].peer_said;
        let with_peer =
            connection == ConnectionState::Connected && peer_disk >= DiskState::Inconsistent;
        let server = self.server_of(host);
        let content = self.hosts[server].data.current();
        if let Some(sector) = self.ledger.first_lost(server, content) {
            let why = format!(
                "node {host} was promoted, and sector {sector} holds {}, older than acknowledged",
                content[sector]
            );
            return self.fail(why);
        }
        self.judge_marks_of_promotion(host, with_peer);
        self.kept_must_not_happen(1 - host, with_peer);
        if with_peer {
            self.coverage.count("promotion with consent");
        } else {
            self.coverage.count("promotion alone");
            self.ledger.promoted_alone(host);
        }
    }

    /// Before the export opens the primary mark is durable (D8), without the peer's data the new
    /// generation, too (G2).
    fn judge_marks_of_promotion(&mut self, host: usize, with_peer: bool) {
        let has_disk = self.status(host).is_some_and(|status| status.disk > DiskState::Failed);
        let Ok(superblock) = self.hosts[host].metadata.superblock() else { return };
        if has_disk && !superblock.flags.primary {
            self.fail(format!("node {host} opened its export before it was durably Primary"));
        }
        // A peer that is lost while the mark is written is lost by a Primary.
        let alone = !with_peer && self.now_us > self.hosts[host].connection_changed_us + LOST_US;
        if has_disk && alone && superblock.flags.peer_may_hold_current {
            self.fail(format!("node {host} was promoted alone on the generation of both"));
        }
    }

    /// The engine's picture of a node now; none while its daemon does not run.
    #[must_use]
    pub fn status(&self, host: usize) -> Option<Status> {
        self.hosts[host].node.as_ref().map(|node| node.status(Moment(self.now_us)))
    }

    /// True when both are connected and in sync, no bit is set and nothing is under way.
    #[must_use]
    pub fn is_quiet_and_in_sync(&self) -> bool {
        self.hosts.iter().all(|host| host.data.is_idle() && host.client.open_count() == 0)
            && [0, 1].iter().all(|host| {
                self.status(*host).is_some_and(|status| {
                    // A client that broke off does not wait for what it has asked for.
                    sees_both_in_sync(&status)
                        && status.replication == ReplicationState::Established
                        && status.out_of_sync_blocks == 0
                        && status.requests_open == 0
                })
            })
    }

    /// Quiet replicas that say that they are in sync must be equal.
    pub fn check_equal(&mut self) {
        if !self.is_quiet_and_in_sync() {
            return;
        }
        self.coverage.count("replicas compared");
        self.check_sizes();
        let limit = self.size_bytes(0).map_or(0, |bytes| self.sectors_within(bytes));
        let [first, second] = self.hosts.each_ref().map(|host| &host.data.current()[..limit]);
        let rot = &self.rot;
        let differs = first
            .iter()
            .zip(second)
            .enumerate()
            .position(|(sector, (one, other))| one != other && !rot.is_unnoticed(sector));
        if let Some(sector) = differs {
            let why = format!(
                "both are Connected, UpToDate and quiet, but sector {sector} holds {} and {}",
                first[sector], second[sector]
            );
            self.fail(why);
        }
    }

    /// Buffers that the engines hold although nothing is under way.
    #[must_use]
    pub(crate) fn buffers_held(&self) -> usize {
        let held = |host: &crate::host::Host| {
            host.buffers.count(Use::Client) + host.buffers.count(Use::Received)
        };
        self.hosts.iter().map(held).sum()
    }
}
