//! The picture of a resource as JSON: every field of [`Status`], states by name, identifiers as hex
//! strings.

use super::verify_wire::{VerifiedWire, VerifyWire};
use metadata::generations::Generations;
use metadata::superblock::{FLAG_NAMES, Flags};
use replicator::pace::SyncLimit;
use replicator::state::{
    ConnectionState, DiskState, ReplicationState, Role, StartupWait, Suspended,
};
use replicator::status::{Counters, Status, SyncProgress, Verified, VerifyProgress};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Number of codes that a state is looked for among; no state enum is larger.
const STATE_CODES: std::ops::Range<u8> = 0..64;
/// The words of `SyncProgress::limited_by`.
const LIMITS: [&str; 6] =
    ["rate", "link", "target-disk", "source-disk", "application", SyncLimit::PAUSE_WORD];

/// [`Status`] as it travels.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StatusWire {
    resource: String,
    node_index: u8,
    node_name: String,
    peer_name: String,
    role: String,
    peer_role: Option<String>,
    disk: String,
    peer_disk: String,
    connection: String,
    replication: String,
    refusal: Option<String>,
    split_brain: bool,
    size_bytes: u64,
    out_of_sync_blocks: u64,
    sync: Option<SyncWire>,
    incomplete_blocks: u64,
    verify: Option<VerifyWire>,
    verified: Option<VerifiedWire>,
    clients: u32,
    requests_open: u32,
    writes_unacked: u32,
    peer_writes_open: u32,
    disk_open: u32,
    generations: GenerationsWire,
    /// The names of those that are set.
    flags: Vec<String>,
    /// The reasons that hold.
    suspended: Vec<String>,
    promotion_number: u64,
    startup_wait: String,
    counters: CountersWire,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct SyncWire {
    total_blocks: u64,
    left_blocks: u64,
    copied_blocks: u64,
    equal_blocks: u64,
    bytes_per_s: u64,
    eta_ms: Option<u64>,
    elapsed_ms: u64,
    limited_by: String,
}

/// Hex strings: JSON numbers lose bits above 2^53 in many readers.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct GenerationsWire {
    current: String,
    bitmap: String,
    history: [String; 2],
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(remote = "Counters")]
struct CountersShape {
    client_written_bytes: u64,
    client_read_bytes: u64,
    client_writes: u64,
    client_reads: u64,
    client_flushes: u64,
    sent_bytes: u64,
    received_bytes: u64,
    disk_written_bytes: u64,
    disk_read_bytes: u64,
    log_transactions: u64,
    metadata_writes: u64,
    resynced_blocks: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct CountersWire(#[serde(with = "CountersShape")] Counters);

impl From<Status> for StatusWire {
    fn from(status: Status) -> Self {
        let hex = |id: u64| format!("{id:016X}");
        Self {
            resource: status.resource,
            node_index: status.node_index,
            node_name: status.node_name,
            peer_name: status.peer_name,
            role: status.role.name().to_owned(),
            peer_role: status.peer_role.map(|role| role.name().to_owned()),
            disk: status.disk.name().to_owned(),
            peer_disk: status.peer_disk.name().to_owned(),
            connection: status.connection.name().to_owned(),
            replication: status.replication.name().to_owned(),
            refusal: status.refusal,
            split_brain: status.split_brain,
            size_bytes: status.size_bytes,
            out_of_sync_blocks: status.out_of_sync_blocks,
            sync: status.sync.map(|sync| SyncWire {
                total_blocks: sync.total_blocks,
                left_blocks: sync.left_blocks,
                copied_blocks: sync.copied_blocks,
                equal_blocks: sync.equal_blocks,
                bytes_per_s: sync.bytes_per_s,
                eta_ms: sync.eta.map(milliseconds),
                elapsed_ms: milliseconds(sync.elapsed),
                limited_by: sync.limited_by.to_owned(),
            }),
            incomplete_blocks: status.incomplete_blocks,
            verify: status.verify.map(VerifyWire::from),
            verified: status.verified.map(VerifiedWire::from),
            clients: status.clients,
            requests_open: status.requests_open,
            writes_unacked: status.writes_unacked,
            peer_writes_open: status.peer_writes_open,
            disk_open: status.disk_open,
            generations: GenerationsWire {
                current: hex(status.generations.current),
                bitmap: hex(status.generations.bitmap),
                history: status.generations.history.map(hex),
            },
            flags: set_names(status.flags),
            suspended: reasons(status.suspended),
            promotion_number: status.promotion_number,
            startup_wait: status.startup_wait.name().to_owned(),
            counters: CountersWire(status.counters),
        }
    }
}

impl TryFrom<StatusWire> for Status {
    type Error = String;

    fn try_from(wire: StatusWire) -> Result<Self, String> {
        let role = |text: &String| named(text, Role::from_code, Role::name);
        let disk = |text: &String| named(text, DiskState::from_code, DiskState::name);
        Ok(Self {
            role: role(&wire.role)?,
            peer_role: wire.peer_role.as_ref().map(role).transpose()?,
            disk: disk(&wire.disk)?,
            peer_disk: disk(&wire.peer_disk)?,
            connection: named(&wire.connection, ConnectionState::from_code, ConnectionState::name)?,
            replication: named(
                &wire.replication,
                ReplicationState::from_code,
                ReplicationState::name,
            )?,
            resource: wire.resource,
            node_index: wire.node_index,
            node_name: wire.node_name,
            peer_name: wire.peer_name,
            refusal: wire.refusal,
            split_brain: wire.split_brain,
            size_bytes: wire.size_bytes,
            out_of_sync_blocks: wire.out_of_sync_blocks,
            sync: wire.sync.map(SyncProgress::from),
            incomplete_blocks: wire.incomplete_blocks,
            verify: wire.verify.map(VerifyProgress::from),
            verified: wire.verified.map(Verified::from),
            clients: wire.clients,
            requests_open: wire.requests_open,
            writes_unacked: wire.writes_unacked,
            peer_writes_open: wire.peer_writes_open,
            disk_open: wire.disk_open,
            generations: Generations {
                current: identifier(&wire.generations.current)?,
                bitmap: identifier(&wire.generations.bitmap)?,
                history: [
                    identifier(&wire.generations.history[0])?,
                    identifier(&wire.generations.history[1])?,
                ],
            },
            flags: flags(&wire.flags)?,
            suspended: suspended(&wire.suspended)?,
            promotion_number: wire.promotion_number,
            startup_wait: named(&wire.startup_wait, StartupWait::from_code, StartupWait::name)?,
            counters: wire.counters.0,
        })
    }
}

impl From<SyncWire> for SyncProgress {
    fn from(wire: SyncWire) -> Self {
        Self {
            total_blocks: wire.total_blocks,
            left_blocks: wire.left_blocks,
            copied_blocks: wire.copied_blocks,
            equal_blocks: wire.equal_blocks,
            bytes_per_s: wire.bytes_per_s,
            eta: wire.eta_ms.map(Duration::from_millis),
            elapsed: Duration::from_millis(wire.elapsed_ms),
            limited_by: limit(&wire.limited_by),
        }
    }
}

/// The word, as the engine has it.
pub(super) fn limit(word: &str) -> &'static str {
    LIMITS.into_iter().find(|known| *known == word).unwrap_or("other")
}

pub(super) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn named<T: Copy>(
    text: &str,
    from_code: impl Fn(u8) -> Option<T>,
    name: impl Fn(T) -> &'static str,
) -> Result<T, String> {
    STATE_CODES
        .filter_map(from_code)
        .find(|state| name(*state) == text)
        .ok_or_else(|| format!("unknown state '{text}'; the daemon has another version"))
}

fn set_names(flags: Flags) -> Vec<String> {
    flags.named().into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name.into()).collect()
}

fn flags(names: &[String]) -> Result<Flags, String> {
    let unknown = |name: &str| format!("unknown flag '{name}'; the daemon has another version");
    let bit_of = |name: &String| {
        let bit = FLAG_NAMES.iter().position(|known| known == name);
        bit.ok_or_else(|| unknown(name)).map(|bit| 1 << bit)
    };
    let bits = names.iter().try_fold(0, |bits, name| Ok::<u32, String>(bits | bit_of(name)?))?;
    Ok(Flags::from_bits(bits).expect("invariant: every name stands for a bit that is known"))
}

fn reasons(suspended: Suspended) -> Vec<String> {
    suspended.named().into_iter().filter(|(_, holds)| *holds).map(|(name, _)| name.into()).collect()
}

fn suspended(names: &[String]) -> Result<Suspended, String> {
    let mut suspended = Suspended::default();
    for name in names {
        match name.as_str() {
            "user" => suspended.user = true,
            "no-data" => suspended.no_data = true,
            "fencing" => suspended.fencing = true,
            _ => {
                return Err(format!("unknown reason '{name}'; the daemon has another version"));
            }
        }
    }
    Ok(suspended)
}

fn identifier(text: &str) -> Result<u64, String> {
    u64::from_str_radix(text, 16).map_err(|_| format!("'{text}' is no identifier"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A status in which no two fields are equal by accident.
    pub(crate) fn sample() -> Status {
        Status {
            resource: "r0".to_owned(),
            node_index: 1,
            node_name: "alice".to_owned(),
            peer_name: "bob".to_owned(),
            role: Role::Primary,
            peer_role: Some(Role::Secondary),
            disk: DiskState::UpToDate,
            peer_disk: DiskState::Inconsistent,
            connection: ConnectionState::Connected,
            replication: ReplicationState::SyncSource,
            refusal: None,
            split_brain: false,
            size_bytes: 1 << 30,
            out_of_sync_blocks: 131_072,
            sync: Some(SyncProgress {
                total_blocks: 262_144,
                left_blocks: 131_072,
                copied_blocks: 131_080,
                equal_blocks: 0,
                bytes_per_s: 100 << 20,
                eta: Some(Duration::from_millis(5120)),
                elapsed: Duration::from_millis(5001),
                limited_by: "target-disk",
            }),
            incomplete_blocks: 0,
            verify: None,
            verified: None,
            clients: 2,
            requests_open: 3,
            writes_unacked: 4,
            peer_writes_open: 5,
            disk_open: 6,
            generations: Generations {
                current: 0xfedc_ba98_7654_3211,
                bitmap: 0x1234,
                history: [7, 8],
            },
            flags: Flags { consistent: true, lost_power: true, ..Flags::default() },
            suspended: Suspended::default(),
            promotion_number: 22,
            startup_wait: StartupWait::Degraded,
            counters: Counters {
                client_written_bytes: 11 << 10,
                client_read_bytes: 12 << 10,
                client_writes: 13,
                client_reads: 14,
                client_flushes: 15,
                sent_bytes: 16 << 10,
                received_bytes: 17 << 10,
                disk_written_bytes: 18 << 10,
                disk_read_bytes: 19 << 10,
                log_transactions: 21,
                metadata_writes: 20,
                resynced_blocks: 21,
            },
        }
    }

    #[test]
    fn a_status_comes_back_as_it_was() {
        let json = serde_json::to_string(&StatusWire::from(sample())).unwrap();
        let wire: StatusWire = serde_json::from_str(&json).unwrap();
        assert_eq!(Status::try_from(wire).unwrap(), sample());
        assert!(json.contains("\"current\":\"FEDCBA9876543211\""), "{json}");
    }

    #[test]
    fn flags_travel_by_name_and_an_unknown_one_is_an_error() {
        let mut wire = StatusWire::from(sample());
        assert_eq!(wire.flags, ["consistent", "lost-power"]);
        wire.flags.push("enchanted".to_owned());
        assert!(Status::try_from(wire).unwrap_err().contains("unknown flag 'enchanted'"));
    }

    #[test]
    fn the_reasons_of_a_suspension_travel_by_name_and_an_unknown_one_is_an_error() {
        let suspended = Suspended { user: true, no_data: true, fencing: true };
        let mut wire = StatusWire::from(Status { suspended, ..sample() });
        assert_eq!(wire.suspended, ["user", "no-data", "fencing"]);
        assert_eq!(Status::try_from(wire.clone()).unwrap().suspended, suspended);
        wire.suspended.push("boredom".to_owned());
        assert!(Status::try_from(wire).unwrap_err().contains("unknown reason 'boredom'"));
    }

    #[test]
    fn a_state_that_this_version_does_not_know_is_an_error() {
        let mut wire = StatusWire::from(sample());
        wire.disk = "Levitating".to_owned();
        assert!(Status::try_from(wire).unwrap_err().contains("unknown state 'Levitating'"));
    }
}
