//! Nothing is dropped silently: every option of DRBD 8.3, 8.4 and 9 becomes a key, or is named.

use super::*;

/// A value that becomes this line, in that table.
const CONVERTED: &[(&str, &str, &str, &str)] = &[
    ("startup", "wfc-timeout 30", "startup", "wfc-timeout = \"30s\""),
    ("startup", "degr-wfc-timeout 120", "startup", "degr-wfc-timeout = \"2min\""),
    ("startup", "outdated-wfc-timeout 0", "startup", "outdated-wfc-timeout = \"0s\""),
    ("startup", "wait-after-sb", "startup", "wait-after-sb = true"),
    ("startup", "wait-after-sb no", "startup", "wait-after-sb = false"),
    ("disk", "on-io-error pass_on", "disk", "on-io-error = \"pass_on\""),
    ("disk", "fencing resource-only", "disk", "fencing = \"resource-only\""),
    ("net", "fencing resource-only", "disk", "fencing = \"resource-only\""),
    ("disk", "disk-timeout 600", "disk", "disk-timeout = \"1min\""),
    ("disk", "disk-timeout 7", "disk", "disk-timeout = \"700ms\""),
    ("disk", "resync-rate 10240", "sync", "rate = \"10M\""),
    ("disk", "resync-rate 100M", "sync", "rate = \"100M\""),
    ("disk", "c-max-rate 1G", "sync", "rate = \"1G\""),
    ("disk", "c-min-rate 8192", "sync", "min-rate = \"8M\""),
    ("disk", "c-min-rate 0", "sync", "min-rate = \"1T\""),
    ("disk", "al-extents 3389", "disk", "al-extents = 3389"),
    ("net", "protocol C", "net", "protocol = \"C\""),
    ("net", "protocol A", "net", "protocol = \"C\""),
    ("net", "protocol b", "net", "protocol = \"C\""),
    ("net", "timeout 60", "net", "timeout = \"6s\""),
    ("net", "timeout 55", "net", "timeout = \"5500ms\""),
    ("net", "connect-int 20", "net", "connect-int = \"20s\""),
    ("net", "ping-int 15", "net", "ping-int = \"15s\""),
    ("net", "ping-timeout 5", "net", "ping-timeout = \"500ms\""),
    ("net", "ko-count 4", "net", "ko-count = 4"),
    ("net", "max-buffers 32000", "net", "max-buffers = \"125M\""),
    ("net", "max-buffers 40K", "net", "max-buffers = \"160M\""),
    (
        "net",
        "after-sb-0pri discard-zero-changes",
        "net",
        "after-sb-0pri = \"discard-zero-changes\"",
    ),
    ("net", "after-sb-0pri discard-node-bravo", "net", "after-sb-0pri = \"discard-node-bravo\""),
    ("net", "after-sb-1pri discard-secondary", "net", "after-sb-1pri = \"discard-secondary\""),
    ("net", "after-sb-2pri violently-as0p", "net", "after-sb-2pri = \"violently-as0p\""),
    ("net", "always-asbp", "net", "always-asbp = true"),
    ("net", "rr-conflict call-pri-lost", "net", "rr-conflict = \"call-pri-lost\""),
    ("net", "csums-alg sha1", "sync", "checksums = \"always\""),
    (
        "net",
        "shared-secret \"0123456789abcdef\"",
        "net",
        "shared-secret-file = \"/etc/blkrep.d/r0.secret\"",
    ),
    (
        "options",
        "on-no-data-accessible suspend-io",
        "disk",
        "on-no-data-accessible = \"suspend-io\"",
    ),
    ("disk", "on-no-data-accessible io-error", "disk", "on-no-data-accessible = \"io-error\""),
    ("syncer", "rate 10M", "sync", "rate = \"10M\""),
    ("syncer", "rate 10240", "sync", "rate = \"10M\""),
    ("syncer", "al-extents 257", "disk", "al-extents = 257"),
    ("syncer", "c-min-rate 4M", "sync", "min-rate = \"4M\""),
    ("syncer", "c-max-rate 64M", "sync", "rate = \"64M\""),
    ("syncer", "csums-alg md5", "sync", "checksums = \"always\""),
    ("handlers", "fence-peer /bin/f", "handlers", "fence-peer = \"/bin/f\""),
    ("handlers", "outdate-peer \"/bin/f -x\"", "handlers", "fence-peer = \"/bin/f -x\""),
    ("handlers", "unfence-peer /bin/u", "handlers", "unfence-peer = \"/bin/u\""),
    ("handlers", "split-brain /bin/s", "handlers", "split-brain = \"/bin/s\""),
    ("handlers", "initial-split-brain /bin/s", "handlers", "initial-split-brain = \"/bin/s\""),
    ("handlers", "pri-lost /bin/s", "handlers", "pri-lost = \"/bin/s\""),
    ("handlers", "pri-lost-after-sb /bin/s", "handlers", "pri-lost-after-sb = \"/bin/s\""),
    ("handlers", "pri-on-incon-degr /bin/s", "handlers", "pri-on-incon-degr = \"/bin/s\""),
    ("handlers", "local-io-error /bin/s", "handlers", "local-io-error = \"/bin/s\""),
    ("handlers", "before-resync-target /bin/s", "handlers", "before-resync-target = \"/bin/s\""),
    ("handlers", "after-resync-target /bin/s", "handlers", "after-resync-target = \"/bin/s\""),
    (
        "handlers",
        "out-of-sync \"/usr/lib/drbd/notify-out-of-sync.sh root\"",
        "handlers",
        "out-of-sync = \"/usr/lib/blkrep/blkrep-notify out-of-sync root\"",
    ),
];

/// Options whose value is named, with the gravest severity that is said about them.
const NAMED: &[(&str, &str, Severity)] = &{
    use Severity::{Error, Note, Warning};
    [
        ("global", "usage-count no", Note),
        ("global", "usage-count ask", Note),
        ("global", "minor-count 64", Note),
        ("global", "dialog-refresh 5", Note),
        ("global", "disable-ip-verification", Note),
        ("global", "udev-always-use-vnr", Note),
        ("global", "cmd-timeout-short 5", Note),
        ("global", "cmd-timeout-medium 121", Note),
        ("global", "cmd-timeout-long 600", Note),
        ("startup", "become-primary-on both", Warning),
        ("startup", "become-primary-on alpha bravo", Warning),
        ("startup", "stacked-timeouts", Warning),
        ("disk", "size 10G", Warning),
        ("disk", "disk-barrier", Note),
        ("disk", "no-disk-barrier", Note),
        ("disk", "disk-flushes yes", Note),
        ("disk", "disk-flushes no", Warning),
        ("disk", "no-disk-flushes", Warning),
        ("disk", "disk-drain no", Warning),
        ("disk", "no-disk-drain", Warning),
        ("disk", "md-flushes no", Warning),
        ("disk", "no-md-flushes", Warning),
        ("disk", "max-bio-bvecs 1", Note),
        ("disk", "use-bmbv", Note),
        ("disk", "resync-after r1", Warning),
        ("disk", "al-updates no", Warning),
        ("disk", "al-updates yes", Note),
        ("disk", "c-plan-ahead 20", Note),
        ("disk", "c-delay-target 10", Note),
        ("disk", "c-fill-target 100", Note),
        ("disk", "read-balancing prefer-local", Note),
        ("disk", "read-balancing round-robin", Warning),
        ("disk", "discard-zeroes-if-aligned yes", Note),
        ("disk", "disable-write-same no", Note),
        ("disk", "rs-discard-granularity 65536", Note),
        ("disk", "block-size 4096", Note),
        ("disk", "discard-granularity 4096", Note),
        ("disk", "bitmap no", Warning),
        ("disk", "resync-without-replication yes", Warning),
        ("net", "protocol B", Warning),
        ("net", "max-buffers 2048", Note),
        ("net", "max-epoch-size 8000", Note),
        ("net", "unplug-watermark 16", Note),
        ("net", "sndbuf-size 512k", Note),
        ("net", "rcvbuf-size 0", Note),
        ("net", "socket-check-timeout 5", Note),
        ("net", "tcp-cork no", Note),
        ("net", "no-tcp-cork", Note),
        ("net", "allow-two-primaries", Error),
        ("net", "allow-two-primaries yes", Error),
        ("net", "allow-two-primaries no", Note),
        ("net", "cram-hmac-alg sha1", Note),
        ("net", "shared-secret short", Warning),
        ("net", "data-integrity-alg md5", Note),
        ("net", "verify-alg crc32c", Note),
        ("net", "csums-alg \"\"", Note),
        ("net", "csums-after-crash-only", Note),
        ("net", "use-rle no", Note),
        ("net", "on-congestion block", Note),
        ("net", "on-congestion pull-ahead", Warning),
        ("net", "congestion-fill 1G", Note),
        ("net", "congestion-extents 500", Note),
        ("net", "discard-my-data", Warning),
        ("net", "transport tcp", Note),
        ("net", "transport rdma", Warning),
        ("net", "load-balance-paths yes", Warning),
        ("net", "tls yes", Error),
        ("net", "tls no", Note),
        ("net", "allow-remote-read no", Warning),
        ("net", "rr-conflict auto-discard", Error),
        ("options", "cpu-mask 3", Warning),
        ("options", "auto-promote yes", Warning),
        ("options", "auto-promote no", Note),
        ("options", "auto-promote-timeout 20", Note),
        ("options", "quorum off", Note),
        ("options", "quorum majority", Error),
        ("options", "on-no-quorum io-error", Warning),
        ("options", "quorum-minimum-redundancy 2", Warning),
        ("options", "twopc-timeout 300", Note),
        ("options", "peer-ack-window 2M", Note),
        ("options", "peer-ack-delay 100", Note),
        ("options", "on-suspended-primary-outdated force-secondary", Warning),
        ("options", "max-io-depth 8000", Note),
        ("handlers", "before-resync-source /bin/s", Warning),
        ("handlers", "quorum-lost /bin/s", Warning),
        ("handlers", "disconnected /bin/s", Warning),
        ("handlers", "split-brain \"drbdadm status\"", Warning),
        ("syncer", "after r1", Warning),
        ("syncer", "verify-alg sha1", Note),
        ("syncer", "use-rle", Note),
        ("syncer", "cpu-mask 1", Warning),
        ("syncer", "c-plan-ahead 0", Note),
        ("syncer", "c-delay-target 10", Note),
        ("syncer", "c-fill-target 100", Note),
        ("syncer", "delay-probe-volume 16k", Note),
        ("syncer", "throttle-threshold 20", Note),
    ]
};

/// A file with the statement in its section; it stands on line 2 or 3.
fn file(section: &str, statement: &str) -> String {
    match section {
        "global" => format!("global {{\n\n{statement};\n}}\n{}", resource("")),
        _ => resource(&format!("{section} {{\n{statement};\n}}")),
    }
}

#[test]
fn options_with_a_meaning_here_become_keys() {
    for (section, statement, table, line) in CONVERTED {
        let (toml, _) = converted_one(&file(section, statement));
        let within = toml.split("\n[").find(|part| part.starts_with(&format!("{table}]")));
        let found = within.is_some_and(|part| part.lines().any(|found| found == *line));
        assert!(found, "{section} {{ {statement}; }} is no {line} in [{table}]:\n{toml}");
    }
}

#[test]
fn all_other_options_are_named_with_their_line() {
    for (section, statement, severity) in NAMED {
        let (Ok(Imported { notes, .. }) | Err(ImportError::Refused { notes })) =
            imported(&file(section, statement))
        else {
            panic!("{statement}")
        };
        let name = statement.split(' ').next().unwrap();
        let about: Vec<&Note> = notes.iter().filter(|note| note.text.contains(name)).collect();
        assert!(about.iter().all(|note| note.place.line == 3), "{statement}: {about:?}");
        let gravest = about.iter().map(|note| note.severity).min();
        assert_eq!(gravest, Some(*severity), "{section} {{ {statement}; }}: {:?}", shown(&notes));
    }
}

#[test]
fn the_two_lists_have_every_row_of_the_table() {
    let listed = |row: &options::Row| {
        let lists = CONVERTED.iter().map(|(section, statement, ..)| (section, statement));
        let lists = lists.chain(NAMED.iter().map(|(section, statement, _)| (section, statement)));
        lists.into_iter().any(|(section, statement)| {
            let name = statement.split(' ').next().unwrap();
            section_of(section).and_then(|it| options::find(it, name)).is_some_and(|it| it.0 == row)
        })
    };
    // These are never written by hand.
    let rare = [
        "tls-keyring",
        "tls-privkey",
        "tls-certificate",
        "rdma-ctrl-rcvbuf-size",
        "rdma-ctrl-sndbuf-size",
        "_name",
        "max-bio-size",
        "peer-tiebreaker",
        "delay-probe-interval",
        "hold-off-threshold",
        "twopc-retry-timeout",
        "drbd8-api-compatibility",
    ];
    let missing: Vec<&str> = options::rows()
        .filter(|row| !rare.contains(&row.name) && !listed(row))
        .map(|row| row.name)
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn section_of(name: &str) -> Option<options::Section> {
    use options::Section::{Disk, Global, Handlers, Net, Options, Startup, Syncer};
    [Global, Startup, Disk, Net, Options, Handlers, Syncer]
        .into_iter()
        .find(|section| section.to_string() == name)
}

#[test]
fn which_of_the_rates_is_the_cap_is_decided_as_drbd_does() {
    let rate = |options: &str| {
        let (toml, _) = converted_one(&resource(&format!("disk {{ {options} }}")));
        toml.lines().find_map(|line| line.strip_prefix("rate = ")).map(str::to_owned)
    };
    assert_eq!(rate("resync-rate 10M; c-max-rate 100M;").as_deref(), Some("\"100M\""));
    assert_eq!(
        rate("resync-rate 10M; c-max-rate 100M; c-plan-ahead 0;").as_deref(),
        Some("\"10M\"")
    );
    assert_eq!(rate("c-max-rate 100M; c-plan-ahead 0;"), None);
    assert_eq!(rate("c-plan-ahead 0;"), None);
}

#[test]
fn the_floor_of_a_resync_is_never_above_its_cap() {
    let floor = |options: &str| {
        let (toml, _) = converted_one(&resource(&format!("disk {{ {options} }}")));
        toml.lines().find_map(|line| line.strip_prefix("min-rate = ")).map(str::to_owned)
    };
    assert_eq!(floor("resync-rate 10M; c-min-rate 20M;").as_deref(), Some("\"10M\""));
    assert_eq!(floor("resync-rate 10M; c-min-rate 0;").as_deref(), Some("\"10M\""));
    assert_eq!(floor("resync-rate 1; c-min-rate 1;").as_deref(), Some("\"4K\""));
    assert_eq!(floor("resync-rate 10M;"), None);
}

#[test]
fn checksums_after_a_crash_only_are_kept_so() {
    let options = "net { csums-alg sha1; csums-after-crash-only; }";
    let (toml, notes) = converted_one(&resource(options));
    assert!(toml.contains("checksums = \"after-crash\""), "{toml}");
    assert_eq!(notes.iter().filter(|note| note.contains("after-crash")).count(), 2, "{notes:?}");
}
