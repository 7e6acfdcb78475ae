//! Every complaint about a configuration file names its line and the next step.

use super::*;
use crate::config::{PeerTrust, Startup};
use replicator::settings::NetTimers;
use std::time::Duration;

pub(crate) const GOOD: &str = r#"name = "r0"

[net]
protocol = "C"
shared-secret-file = "/etc/blkrep.d/r0.secret"

[sync]
rate = "100M"

[node.bob]
disk = "/dev/vg0/r0"
meta-disk = "internal"
address = "192.168.0.92:7791"

[node.alice]
disk = "/dev/sdb1"
meta-disk = "/dev/sdc1"
address = "192.168.0.91:7791"
nbd-listen = "127.0.0.1:10809"
"#;

fn parsed(text: &str) -> Result<Resource, ConfigError> {
    parse(Path::new("/etc/blkrep.d/r0.toml"), text)
}

/// The message about `GOOD` with `old` replaced by `new`.
fn complaint(old: &str, new: &str) -> String {
    assert!(GOOD.contains(old), "the test replaces nothing");
    parsed(&GOOD.replacen(old, new, 1)).expect_err(new).to_string()
}

#[test]
fn a_good_file_is_read_whole_and_the_nodes_keep_their_order() {
    let resource = parsed(GOOD).unwrap();
    assert_eq!(resource.nodes[0].name, "bob");
    assert_eq!(resource.nodes[1].name, "alice");
    assert_eq!(resource.nodes[1].meta_disk, MetaDisk::External("/dev/sdc1".into()));
    assert_eq!(resource.nodes[1].nbd_listen, Some("127.0.0.1:10809".parse().unwrap()));
    assert_eq!(resource.sync.rate_max, Some(100 << 20));
    assert_eq!(resource.net.arena_bytes, 64 << 20);
    assert_eq!(resource.net.timers, NetTimers::default());
    assert_eq!(resource.net.trust, PeerTrust::Secret("/etc/blkrep.d/r0.secret".into()));
    assert_eq!(resource.startup, Startup::default());
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest_valid_one() {
    assert_eq!(
        complaint("protocol =", "protcol ="),
        "/etc/blkrep.d/r0.toml:4: unknown key 'protcol' in [net]; did you mean 'protocol'?"
    );
    assert_eq!(
        complaint("disk = \"/dev/vg0/r0\"", "dsik = \"/dev/vg0/r0\""),
        "/etc/blkrep.d/r0.toml:11: unknown key 'dsik' in [node.bob]; did you mean 'disk'?"
    );
    assert!(
        complaint("rate =", "something-else =").contains("the valid keys are: rate"),
        "a key that is near to none gets the list"
    );
    assert!(complaint("[sync]", "[snyc]").contains("unknown key 'snyc' in the file"));
}

#[test]
fn a_bare_number_is_refused_with_the_expected_form() {
    let message = complaint("rate = \"100M\"", "rate = 100");
    assert!(message.starts_with("/etc/blkrep.d/r0.toml:8: 'rate' is the bare number 100; write"));
    assert!(message.contains("\"64M\""), "{message}");
    let message = complaint("protocol = \"C\"", "timeout = 6");
    assert!(message.contains("'timeout' is the bare number 6"), "{message}");
    assert!(message.contains("\"10s\" or \"500ms\""), "{message}");
}

#[test]
fn values_out_of_range_or_of_a_wrong_form_are_refused_on_their_line() {
    for (old, new, part) in [
        ("protocol = \"C\"", "protocol = \"A\"", ":4: 'protocol' is \"A\", which this version"),
        ("protocol = \"C\"", "protocol = \"X\"", ":4: 'protocol' is \"X\"; write \"C\""),
        ("protocol = \"C\"", "timeout = \"61s\"", "100ms to 60s"),
        ("protocol = \"C\"", "ko-count = 201", "from 0 to 200"),
        ("protocol = \"C\"", "ko-count = \"7\"", "'ko-count' is \"7\""),
        ("protocol = \"C\"", "max-buffers = \"1M\"", "16M to 4G"),
        ("protocol = \"C\"", "allow-insecure = \"yes\"", "true or false"),
        ("\"/etc/blkrep.d/r0.secret\"", "\"r0.secret\"", "an absolute path"),
        ("disk = \"/dev/vg0/r0\"", "disk = \"sdb\"", ":11: 'disk' is \"sdb\""),
        ("192.168.0.92:7791", "192.168.0.92", ":13: 'address' is \"192.168.0.92\""),
        ("192.168.0.92:7791", "192.168.0.92:0", "with a port"),
        ("192.168.0.92:7791", "0.0.0.0:7791", "the one address that the peer dials"),
        ("192.168.0.92:7791", "192.168.0.91:7791", "both nodes have the address"),
        ("\"/dev/sdc1\"", "\"/dev/sdb1\"", "write meta-disk = \"internal\""),
        ("\"/dev/sdc1\"", "\"here\"", "\"internal\" or an absolute path"),
        ("name = \"r0\"", "name = \"r 0\"", ":1: 'name' is \"r 0\""),
        ("name = \"r0\"", "name = \"r1\"", "the file is called 'r0.toml'"),
        ("name = \"r0\"", "name = r0", ":1: "),
        ("[sync]\nrate", "[startup]\nwfc-timeout", "at most 300000s"),
        ("[sync]\nrate", "[startup]\ndegr-wfc-timeout", ":8: 'degr-wfc-timeout' is \"100M\""),
        ("[sync]", "[startup]\ndegr-wfc-timeout = 120\n[sync]", "the bare number 120"),
        ("[sync]", "[startup]\noutdated-wfc-timeout = \"84h\"\n[sync]", ":8: 'outdated-wfc-"),
        ("[sync]", "[startup]\nwait-after-sb = \"yes\"\n[sync]", ":8: 'wait-after-sb' is \"yes\""),
        ("[sync]", "[startup]\ndeg-wfc-timeout = \"1s\"\n[sync]", "mean 'degr-wfc-timeout'?"),
        ("[node.bob]", "[node.\"bob smith\"]", ":10: "),
        ("[sync]", "[disk]\non-io-error = \"panic\"\n[sync]", ":8: 'on-io-error' is \"panic\""),
        ("[sync]", "[disk]\nfencing = \"yes\"\n[sync]", "\"resource-only\" and"),
        ("[sync]", "[disk]\ndisk-timeout = \"10ms\"\n[sync]", "100ms to 600s"),
        ("[sync]", "[disk]\nal-extents = 1\n[sync]", ":8: 'al-extents' is the bare number 1"),
        ("[sync]", "[sync]\nmin-rate = \"200M\"", ":8: 'min-rate' (200M) is above 'rate' (100M)"),
        ("[sync]", "[sync]\nchecksums = \"sha1\"", "\"always\" and \"never\""),
        ("[sync]", "[handlers]\nsplit-brain = \" \"\n[sync]", ":8: 'split-brain' is empty"),
        ("[sync]", "[handlers]\nhandler-timeout = \"2h\"\n[sync]", "1s to 1h"),
        ("protocol = \"C\"", "after-sb-0pri = \"consensus\"", ":4: 'after-sb-0pri' is"),
        ("protocol = \"C\"", "after-sb-0pri = \"discard-node-carol\"", "\"discard-node-bob\" and"),
        ("protocol = \"C\"", "after-sb-1pri = \"discard-primary\"", "\"discard-secondary\""),
        ("protocol = \"C\"", "after-sb-2pri = \"discard-secondary\"", "\"violently-as0p\""),
        ("protocol = \"C\"", "always-asbp = \"no\"", "true or false"),
        ("protocol = \"C\"", "rr-conflict = \"auto-discard\"", "\"retry-connect\""),
        ("name = \"r0\"", "name = \"r0\"\nstartup = 3", "a table, [startup]"),
    ] {
        let message = complaint(old, new);
        assert!(message.contains(part), "{new}: {message}");
    }
}

#[test]
fn the_startup_timeouts_are_read_each_into_its_own_and_zero_is_for_ever() {
    let keys = "[startup]\nwfc-timeout = \"0s\"\ndegr-wfc-timeout = \"2min\"\n\
                outdated-wfc-timeout = \"300000s\"\nwait-after-sb = true\n[sync]";
    let startup = parsed(&GOOD.replace("[sync]", keys)).unwrap().startup;
    let expected = Startup {
        wfc_timeout: Duration::ZERO,
        degr_wfc_timeout: Duration::from_secs(120),
        outdated_wfc_timeout: Duration::from_secs(300_000),
        wait_after_sb: true,
    };
    assert_eq!(startup, expected);
}

#[test]
fn what_drbd_knows_and_this_version_does_not_is_said_so() {
    let message = complaint("protocol = \"C\"", "protocol = \"A\"");
    assert!(message.contains("only \"C\" is supported"), "{message}");
}

#[test]
fn missing_keys_come_with_a_line_to_copy() {
    for (old, part) in [
        ("name = \"r0\"", "the file has no 'name'"),
        ("disk = \"/dev/vg0/r0\"", ":10: [node.bob] has no 'disk'; add disk ="),
        ("meta-disk = \"internal\"", "add meta-disk = \"internal\""),
        ("address = \"192.168.0.92:7791\"", "[node.bob] has no 'address'"),
    ] {
        let message = complaint(old, "");
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn there_are_exactly_two_nodes() {
    let one = GOOD.split("[node.alice]").next().unwrap();
    assert!(parsed(one).unwrap_err().to_string().contains("there are 1 [node.NAME] tables"));
    let three = format!("{GOOD}\n[node.carol]\n");
    assert!(parsed(&three).unwrap_err().to_string().contains("there are 3 [node.NAME] tables"));
}

#[test]
fn the_timeout_is_shorter_than_both_intervals() {
    let message = complaint("protocol = \"C\"", "timeout = \"2s\"\nping-int = \"2s\"");
    assert!(
        message.contains(":4: 'timeout' (2s) must be shorter than 'ping-int' (2s)"),
        "{message}"
    );
    let message = complaint("protocol = \"C\"", "connect-int = \"6s\"");
    assert!(message.contains("shorter than 'connect-int' (6s)"), "{message}");
}

#[test]
fn without_a_secret_only_loopback_or_an_explicit_word_will_do() {
    let secret = "shared-secret-file = \"/etc/blkrep.d/r0.secret\"";
    let message = complaint(secret, "");
    assert!(message.contains(":13: address 192.168.0.92:7791 is not a loopback"), "{message}");
    let trusting = GOOD.replace(secret, "allow-insecure = true");
    assert_eq!(parsed(&trusting).unwrap().net.trust, PeerTrust::AllowInsecure);
    let local = GOOD.replace(secret, "").replace("192.168.0.", "127.0.0.");
    assert_eq!(parsed(&local).unwrap().net.trust, PeerTrust::Loopback);
}

#[test]
fn a_node_that_the_file_does_not_have_is_answered_with_the_two_it_has() {
    let message = parsed(GOOD).unwrap().node_index("carol").unwrap_err().to_string();
    assert!(message.contains("'bob' and 'alice'"), "{message}");
    assert!(message.contains("--node bob"), "{message}");
}

#[test]
fn a_policy_that_needs_a_handler_is_refused_without_it() {
    let message = complaint("[sync]", "[disk]\nfencing = \"resource-and-stonith\"\n[sync]");
    assert!(message.contains("runs the handler 'fence-peer'"), "{message}");
    assert!(message.contains("add fence-peer = \"COMMAND\" to [handlers]"), "{message}");
    let message = complaint("[sync]", "[disk]\non-io-error = \"call-local-io-error\"\n[sync]");
    assert!(message.contains("runs the handler 'local-io-error'"), "{message}");
    let policy =
        "[disk]\nfencing = \"resource-and-stonith\"\n[handlers]\nfence-peer = \"x\"\n[sync]";
    assert!(parsed(&GOOD.replace("[sync]", policy)).is_ok());
}

#[test]
fn a_cap_below_the_default_floor_lowers_the_floor() {
    let resource = parsed(&GOOD.replace("\"100M\"", "\"1M\"")).unwrap();
    assert_eq!(resource.sync.rate_floor, 1 << 20);
}

/// The table of a key is the last heading before it.
#[test]
fn every_key_is_documented_and_every_documented_key_exists() {
    let text = include_str!("../../../../docs/configuration.md");
    let mut documented = Vec::new();
    let mut table = "";
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            table = heading.trim_matches('`');
        } else if let Some(row) = line.strip_prefix("| `") {
            documented.push((table, row.split('`').next().unwrap()));
        }
    }
    let mut known: Vec<(&str, &str)> = tables()
        .into_iter()
        .flat_map(|(table, keys)| keys.into_iter().map(move |key| (table, key)))
        .collect();
    known.sort_unstable();
    documented.sort_unstable();
    assert_eq!(documented, known);
}
