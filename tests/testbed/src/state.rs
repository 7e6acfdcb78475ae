//! What a test looks at in a status: the words and numbers of `status --json`.

use serde_json::Value;

/// The state of one node, as it says itself (drbd-facts 6.7, and the object `blkrep`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// `Primary` or `Secondary`.
    pub role: String,
    /// The own disk: `UpToDate`, `Inconsistent`, ...
    pub disk: String,
    /// The peer's disk, as far as this node knows.
    pub peer_disk: String,
    /// `Connected`, `Connecting`, `StandAlone`, ...
    pub connection: String,
    /// `Established`, `SyncSource`, `SyncTarget`, `Off`, ...
    pub replication: String,
    /// Why the last attempt to connect was refused, and what to do.
    pub refusal: Option<String>,
    /// Size of the device, in bytes.
    pub size_bytes: u64,
    /// Blocks of 4 KiB that differ or may differ.
    pub out_of_sync_blocks: u64,
    /// Blocks of 4 KiB that resyncs copied since the daemon started.
    pub resynced_blocks: u64,
    /// Connected NBD clients.
    pub clients: u64,
}

impl State {
    /// From one element of the array that `status --json` prints.
    ///
    /// # Panics
    /// When a field is not there or of another type: the status is an interface.
    #[must_use]
    pub fn new(status: &Value) -> Self {
        let text = |pointer: &str| match status.pointer(pointer) {
            Some(Value::String(text)) => text.clone(),
            other => panic!("status has {other:?} at {pointer}, expected a string: {status}"),
        };
        let number = |pointer: &str| {
            status.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| {
                panic!("status has no number at {pointer}: {status}");
            })
        };
        let peer = |field: &str| text(&format!("/connections/0/peer_devices/0/{field}"));
        Self {
            role: text("/role"),
            disk: text("/devices/0/disk-state"),
            peer_disk: peer("peer-disk-state"),
            connection: text("/connections/0/connection-state"),
            replication: peer("replication-state"),
            refusal: status
                .pointer("/blkrep/refusal")
                .and_then(Value::as_str)
                .map(ToOwned::to_owned),
            size_bytes: number("/blkrep/size-bytes"),
            out_of_sync_blocks: number("/blkrep/out-of-sync-blocks"),
            resynced_blocks: number("/blkrep/counters/resynced-blocks"),
            clients: number("/blkrep/clients"),
        }
    }

    /// True when the node is connected, both disks are UpToDate and nothing is left to copy.
    #[must_use]
    pub fn is_in_sync(&self) -> bool {
        self.connection == "Connected"
            && self.replication == "Established"
            && self.disk == "UpToDate"
            && self.peer_disk == "UpToDate"
            && self.out_of_sync_blocks == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status(out_of_sync_blocks: u64) -> Value {
        json!({
            "role": "Primary",
            "devices": [{ "disk-state": "UpToDate" }],
            "connections": [{
                "connection-state": "Connected",
                "peer_devices": [{
                    "replication-state": "Established",
                    "peer-disk-state": "UpToDate",
                }],
            }],
            "blkrep": {
                "size-bytes": 4096,
                "clients": 1,
                "refusal": null,
                "out-of-sync-blocks": out_of_sync_blocks,
                "counters": { "resynced-blocks": 3 },
            },
        })
    }

    #[test]
    fn in_sync_means_that_nothing_is_left_to_copy() {
        assert!(State::new(&status(0)).is_in_sync());
        assert!(!State::new(&status(1)).is_in_sync());
        assert_eq!(State::new(&status(1)).resynced_blocks, 3);
    }

    #[test]
    #[should_panic(expected = "/devices/0/disk-state")]
    fn a_missing_field_is_named() {
        let mut status = status(0);
        status["devices"] = json!([]);
        let _state = State::new(&status);
    }
}
