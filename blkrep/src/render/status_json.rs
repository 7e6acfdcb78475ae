//! The status for scripts, in the shape of `drbdsetup status --json` (drbd-facts 6.7).
//!
//! What does not exist here has the value that DRBD shows when it is off. What DRBD does not have
//! is in the object
//! `blkrep`.

use super::advice::advice;
use super::progress::{done_percent_100ths, verified_percent_100ths};
use metadata::units::{BLOCK_BYTES, device_blocks};
use replicator::state::ConnectionState;
use replicator::status::{Status, SyncProgress, Verified, VerifyProgress};
use serde_json::{Map, Value, json};

/// KiB in a block: DRBD counts sizes and traffic in KiB.
const BLOCK_KIB: u64 = BLOCK_BYTES / 1024;

/// One resource, an element of the array that `status --json` prints.
#[must_use]
pub fn status_json(status: &Status) -> Value {
    json!({
        "name": status.resource,
        "node-id": status.node_index,
        "role": status.role.name(),
        "suspended": status.suspended.any(),
        "suspended-user": status.suspended.user,
        "suspended-no-data": status.suspended.no_data,
        "suspended-fencing": status.suspended.fencing,
        "suspended-quorum": false,
        "force-io-failures": false,
        "write-ordering": "flush",
        "devices": [{
            "volume": 0,
            "minor": 0,
            "disk-state": status.disk.name(),
            "client": false,
            "open": status.clients > 0,
            "quorum": true,
            "size": status.size_bytes / 1024,
            "read": status.counters.disk_read_bytes / 1024,
            "written": status.counters.disk_written_bytes / 1024,
            "al-writes": status.counters.log_transactions,
            "bm-writes": 0,
            "upper-pending": status.requests_open,
            "lower-pending": status.disk_open,
        }],
        "connections": [connection(status)],
        "blkrep": extra(status),
    })
}

fn connection(status: &Status) -> Value {
    json!({
        "peer-node-id": 1 - status.node_index.min(1),
        "name": status.peer_name,
        "connection-state": status.connection.name(),
        "congested": false,
        "peer-role": status.peer_role.map_or("Unknown", |role| role.name()),
        "tls": false,
        "ap-in-flight": 0,
        "rs-in-flight": 0,
        "paths": [{ "established": status.connection == ConnectionState::Connected }],
        "peer_devices": [peer_device(status)],
    })
}

fn peer_device(status: &Status) -> Value {
    let mut fields = Map::new();
    let mut put = |key: &str, value: Value| {
        fields.insert(key.to_owned(), value);
    };
    put("volume", json!(0));
    put("replication-state", json!(status.replication.name()));
    put("peer-disk-state", json!(status.peer_disk.name()));
    put("peer-client", json!(false));
    put("resync-suspended", json!("no"));
    put("received", json!(status.counters.received_bytes / 1024));
    put("sent", json!(status.counters.sent_bytes / 1024));
    put("out-of-sync", json!(status.out_of_sync_blocks * BLOCK_KIB));
    put("pending", json!(status.writes_unacked));
    put("unacked", json!(status.peer_writes_open));
    put("has-sync-details", json!(status.sync.is_some()));
    put("has-online-verify-details", json!(status.verify.is_some()));
    put("percent-in-sync", percent(in_sync_percent_100ths(status)));
    if let Some(sync) = &status.sync {
        // Sectors of 512 bytes, as DRBD.
        put("rs-total", json!(sync.total_blocks * BLOCK_BYTES / 512));
        put("rs-failed", json!(0));
        put("rs-paused-ms", json!(0));
        put("db/dt [MiB/s]", json!(sync.bytes_per_s as f64 / (1 << 20) as f64));
        put("estimated-seconds-to-finish", json!(sync.eta.map(|eta| eta.as_secs())));
        put("percent-resync-done", percent(done_percent_100ths(sync)));
    }
    if let Some(verify) = &status.verify {
        let done = verify.total_blocks - verify.left_blocks;
        put("ov-left", json!(verify.left_blocks * BLOCK_BYTES / 512));
        put("ov-position", json!(done * BLOCK_BYTES / 512));
        put("ov-skipped", json!(0));
        put("db/dt [MiB/s]", json!(verify.bytes_per_s as f64 / (1 << 20) as f64));
        put("estimated-seconds-to-finish", json!(verify.eta.map(|eta| eta.as_secs())));
        put("percent-resync-done", percent(verified_percent_100ths(verify)));
    }
    Value::Object(fields)
}

fn in_sync_percent_100ths(status: &Status) -> u64 {
    let blocks = device_blocks(status.size_bytes);
    let in_sync = u128::from(blocks.saturating_sub(status.out_of_sync_blocks));
    let hundredths = in_sync * 10_000 / u128::from(blocks.max(1));
    u64::try_from(hundredths).expect("invariant: a part is no more than the whole")
}

fn percent(hundredths: u64) -> Value {
    json!(hundredths as f64 / 100.0)
}

fn extra(status: &Status) -> Value {
    let hex = |id: u64| format!("{id:016X}");
    let counters = &status.counters;
    json!({
        "size-bytes": status.size_bytes,
        "node-name": status.node_name,
        "clients": status.clients,
        "refusal": status.refusal,
        "split-brain": status.split_brain,
        "startup-wait": status.startup_wait.name(),
        "advice": advice(status),
        "out-of-sync-blocks": status.out_of_sync_blocks,
        "generations": {
            "current": hex(status.generations.current),
            "bitmap": hex(status.generations.bitmap),
            "history": status.generations.history.map(hex),
        },
        "sync": status.sync.as_ref().map(sync_details),
        "incomplete-blocks": status.incomplete_blocks,
        "verify": status.verify.as_ref().map(verify_details),
        "verified": status.verified.as_ref().map(verify_result),
        "counters": {
            "client-written-bytes": counters.client_written_bytes,
            "client-read-bytes": counters.client_read_bytes,
            "client-writes": counters.client_writes,
            "client-reads": counters.client_reads,
            "client-flushes": counters.client_flushes,
            "sent-bytes": counters.sent_bytes,
            "received-bytes": counters.received_bytes,
            "disk-written-bytes": counters.disk_written_bytes,
            "disk-read-bytes": counters.disk_read_bytes,
            "log-transactions": counters.log_transactions,
            "metadata-writes": counters.metadata_writes,
            "resynced-blocks": counters.resynced_blocks,
        },
    })
}

fn sync_details(sync: &SyncProgress) -> Value {
    json!({
        "total-blocks": sync.total_blocks,
        "left-blocks": sync.left_blocks,
        "copied-blocks": sync.copied_blocks,
        "equal-blocks": sync.equal_blocks,
        "bytes-per-s": sync.bytes_per_s,
        "eta-s": sync.eta.map(|eta| eta.as_secs()),
        "elapsed-s": sync.elapsed.as_secs(),
        "limited-by": sync.limited_by,
    })
}

fn verify_details(verify: &VerifyProgress) -> Value {
    json!({
        "run": verify.run,
        "total-blocks": verify.total_blocks,
        "left-blocks": verify.left_blocks,
        "differing-blocks": verify.differing_blocks,
        "bytes-per-s": verify.bytes_per_s,
        "eta-s": verify.eta.map(|eta| eta.as_secs()),
        "elapsed-s": verify.elapsed.as_secs(),
        "limited-by": verify.limited_by,
    })
}

fn verify_result(verified: &Verified) -> Value {
    json!({
        "run": verified.run,
        "complete": verified.broken_off.is_none(),
        "broken-off": verified.broken_off.as_ref().map(|broken| &broken.why),
        "next-sector": verified.broken_off.as_ref().map(|broken| broken.next_sector),
        "since-end-s": verified.since_end.as_secs(),
        "took-ms": u64::try_from(verified.took.as_millis()).unwrap_or(u64::MAX),
        "compared-blocks": verified.compared_blocks,
        "differing-blocks": verified.differing_blocks,
        "unreadable-blocks": verified.unreadable_blocks,
        "repaired-blocks": verified.repaired_blocks,
        "repairing": verified.repairing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{progress_sample, result_sample, sample_status};

    #[test]
    fn the_paths_that_scripts_read_from_drbd_are_there() {
        let json = status_json(&sample_status());
        assert_eq!(json["name"], "r0");
        assert_eq!(json["node-id"], 1);
        assert_eq!(json["devices"][0]["disk-state"], "UpToDate");
        assert_eq!(json["devices"][0]["size"], 1 << 20);
        assert_eq!(json["devices"][0]["open"], true);
        let connection = &json["connections"][0];
        assert_eq!(connection["peer-node-id"], 0);
        assert_eq!(connection["connection-state"], "Connected");
        assert_eq!(connection["peer-role"], "Secondary");
        let peer = &connection["peer_devices"][0];
        assert_eq!(peer["replication-state"], "SyncSource");
        assert_eq!(peer["peer-disk-state"], "Inconsistent");
        assert_eq!(peer["out-of-sync"], 512 << 10);
        assert_eq!(peer["percent-in-sync"], 50.0);
        assert_eq!(peer["percent-resync-done"], 50.0);
        assert_eq!(peer["estimated-seconds-to-finish"], 5);
        assert_eq!(peer["db/dt [MiB/s]"], 100.0);
    }

    #[test]
    fn what_drbd_does_not_have_is_in_an_object_of_its_own() {
        let json = status_json(&sample_status());
        let extra = &json["blkrep"];
        assert_eq!(extra["size-bytes"], 1 << 30);
        assert_eq!(extra["generations"]["current"], "FEDCBA9876543211");
        assert_eq!(extra["counters"]["resynced-blocks"], 21);
        assert_eq!(extra["sync"]["copied-blocks"], 131_080);
        assert!(extra["refusal"].is_null());
    }

    #[test]
    fn a_verify_has_its_details_where_scripts_look_for_them() {
        let mut status = sample_status();
        (status.sync, status.verify) = (None, Some(progress_sample()));
        status.verified = Some(result_sample());
        let json = status_json(&status);
        let peer = &json["connections"][0]["peer_devices"][0];
        assert_eq!(peer["has-online-verify-details"], true);
        assert_eq!((&peer["ov-left"], &peer["ov-position"]), (&json!(1 << 20), &json!(1 << 20)));
        assert_eq!(peer["percent-resync-done"], 50.0);
        let extra = &json["blkrep"];
        assert_eq!(extra["verify"]["limited-by"], "pause-sync");
        assert_eq!(extra["verified"]["next-sector"], 8000);
        assert_eq!(extra["verified"]["complete"], false);
        assert_eq!(extra["verified"]["differing-blocks"], 7);
    }

    #[test]
    fn without_a_resync_there_are_no_details_of_one() {
        let mut status = sample_status();
        (status.sync, status.out_of_sync_blocks, status.peer_role) = (None, 0, None);
        let json = status_json(&status);
        let peer = &json["connections"][0]["peer_devices"][0];
        assert_eq!(peer["has-sync-details"], false);
        assert!(peer.get("percent-resync-done").is_none());
        assert_eq!(peer["percent-in-sync"], 100.0);
        assert_eq!(json["connections"][0]["peer-role"], "Unknown");
        assert!(json["blkrep"]["sync"].is_null());
    }
}
