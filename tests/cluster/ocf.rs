//! The resource agent with real daemons: every action in every state, its exit codes, and the
//! promotion scores.

use crate::agent_bed::{Cluster, daemon, etc, mark, run_dir, script};
use crate::bed::{SOON, options};
use rustix::process::Signal;
use std::fs;
use std::time::{Duration, Instant};
use testbed::nbd_client::NbdClient;
use testbed::skips::skip;

const GOOD: &str = "crm_attribute --promotion -v 10000";
const ALONE: &str = "crm_attribute --promotion -v 1000";
const NONE: &str = "crm_attribute --promotion -D";
/// A short timeout, for actions that are to fail by it.
const SHORT: (&str, &str) = ("OCF_RESKEY_CRM_meta_timeout", "4000");
const PROBE: (&str, &str) = ("OCF_RESKEY_CRM_meta_interval", "0");
/// An action that gives up at once has most of its 60 s left, also on a loaded machine.
const AT_ONCE: Duration = Duration::from_secs(20);

/// A monitor that fails must not touch the score: the cluster would cancel it and record nothing.
const FAILURE_FIRST: &str = "the failure is recorded first";

#[test]
fn a_resource_lives_as_the_cluster_wants_it() {
    let cluster = Cluster::new(&options());
    let (a, b) = (&cluster.pair.a, &cluster.pair.b);
    cluster.expect_with(a, "monitor", &[PROBE], 7);
    cluster.expect(a, "validate-all", 0);
    cluster.expect(a, "demote", 7);
    cluster.expect(a, "promote", 7);
    cluster.expect(a, "start", 0);
    let pid = daemon(a);
    cluster.expect(a, "start", 0);
    assert_eq!(daemon(a), pid, "a second daemon was started");
    cluster.expect(a, "monitor", 0);
    assert_eq!(cluster.score(a), NONE, "fresh data are no good");
    cluster.expect(b, "start", 0);
    cluster.pair.wait_connected();
    a.must(&["primary", "--force", "r0"]);
    cluster.pair.wait_in_sync();
    cluster.expect(a, "monitor", 8);
    cluster.expect_with(a, "monitor", &[PROBE], 8);
    assert_eq!(cluster.score(a), GOOD);
    cluster.expect(b, "monitor", 0);
    assert_eq!(cluster.score(b), GOOD);
    for _ in 0..2 {
        cluster.expect(a, "demote", 0);
    }
    cluster.expect(a, "monitor", 0);
    for _ in 0..2 {
        cluster.expect(b, "promote", 0);
    }
    assert_eq!(b.state().role, "Primary");
    cluster.expect(b, "monitor", 8);
    // Not two Primaries, however long it is tried.
    let refused = cluster.expect_with(a, "promote", &[SHORT], 1);
    assert!(refused.contains("b is Primary"), "{refused}");
    cluster.expect(b, "reload-agent", 0);
    cluster.expect(b, "demote", 0);
    for _ in 0..2 {
        cluster.expect(b, "stop", 0);
        cluster.expect(b, "monitor", 7);
    }
    assert_eq!((cluster.score(b), daemon(b)), (NONE.to_owned(), None));
    cluster.expect(a, "monitor", 0);
    assert_eq!(cluster.score(a), ALONE, "nobody knows what the peer has");
    cluster.expect(a, "stop", 0);
    cluster.expect_with(a, "monitor", &[PROBE], 7);
    let unknown = cluster.expect(a, "migrate_to", 3);
    assert!(unknown.contains("migrate_to"), "{unknown}");
}

#[test]
fn a_stop_of_a_primary_demotes_it_first() {
    let cluster = Cluster::synced();
    let (a, b) = (&cluster.pair.a, &cluster.pair.b);
    cluster.expect(a, "stop", 0);
    assert!(!mark(a).exists(), "the next start would be a Primary's");
    cluster.expect(b, "promote", 0);
    cluster.expect(a, "start", 0);
    cluster.expect(a, "monitor", 0);
}

#[test]
fn a_promotion_over_a_dead_peer_is_quick_and_one_on_bad_data_is_refused_at_once() {
    let cluster = Cluster::synced();
    let (a, b) = (&cluster.pair.a, &cluster.pair.b);
    cluster.signal(a, Signal::KILL);
    b.wait_state("the peer is known to be gone", SOON, |state| state.connection != "Connected");
    let begun = Instant::now();
    cluster.expect(b, "promote", 0);
    println!("promote with the peer known to be gone: {} ms", begun.elapsed().as_millis());
    assert!(begun.elapsed() < AT_ONCE);
    assert_eq!(cluster.score(b), GOOD);
    // The other one, alone, with data that are known to be old.
    cluster.expect(a, "stop", 0);
    cluster.expect(b, "stop", 0);
    a.must(&["outdate", "r0"]);
    cluster.expect(a, "start", 0);
    assert_eq!(cluster.score(a), NONE, "Outdated");
    let begun = Instant::now();
    let refused = cluster.expect(a, "promote", 1);
    assert!(begun.elapsed() < AT_ONCE, "it went on trying");
    let words = "Refusing to be promoted to Primary without access to UpToDate data";
    assert!(refused.contains(words), "{refused}");
    assert!(refused.contains("disk of a is Outdated"), "{refused}");
    let fresh = Cluster::new(&options());
    let a = &fresh.pair.a;
    fresh.expect(a, "start", 0);
    let refused = fresh.expect(a, "promote", 1);
    assert!(refused.contains("disk of a is Inconsistent"), "{refused}");
}

#[test]
fn a_secondary_that_is_dead_or_frozen_is_found_stopped_and_started() {
    let cluster = Cluster::synced();
    let b = &cluster.pair.b;
    cluster.expect(b, "monitor", 0);
    cluster.signal(b, Signal::KILL);
    cluster.expect(b, "monitor", 7);
    assert_eq!(cluster.score(b), GOOD, "{FAILURE_FIRST}");
    cluster.expect(b, "stop", 0);
    assert_eq!(cluster.score(b), NONE);
    cluster.expect(b, "start", 0);
    cluster.pair.wait_in_sync();
    cluster.expect(b, "monitor", 0);
    let pid = daemon(b);
    cluster.signal(b, Signal::STOP);
    let frozen = cluster.expect(b, "monitor", 1);
    assert!(frozen.contains("is frozen") && frozen.contains("SIGSTOP"), "{frozen}");
    assert_eq!(cluster.score(b), GOOD, "{FAILURE_FIRST}");
    cluster.expect_with(b, "monitor", &[PROBE], 1);
    cluster.expect(b, "promote", 1);
    cluster.expect(b, "demote", 0);
    assert!(daemon(b).is_some() && daemon(b) != pid, "it is still the frozen one");
    cluster.expect(b, "monitor", 0);
    cluster.signal(b, Signal::STOP);
    cluster.expect(b, "stop", 0);
    assert_eq!(daemon(b), None);
    cluster.expect(b, "monitor", 7);
    cluster.expect(b, "start", 0);
    cluster.signal(b, Signal::STOP);
    cluster.expect(b, "start", 0);
    cluster.expect(b, "monitor", 0);
}

#[test]
fn a_primary_that_died_is_failed_until_it_is_demoted_or_stopped() {
    let cluster = Cluster::synced();
    let (a, b) = (&cluster.pair.a, &cluster.pair.b);
    for cure in ["demote", "stop"] {
        cluster.expect(a, "promote", 0);
        cluster.signal(a, Signal::KILL);
        for interval in [PROBE, ("OCF_RESKEY_CRM_meta_interval", "10000")] {
            let dead = cluster.expect_with(a, "monitor", &[interval], 9);
            assert!(dead.contains("is dead and was Primary"), "{dead}");
        }
        assert_eq!(cluster.score(a), GOOD, "{FAILURE_FIRST}");
        cluster.expect(a, cure, 0);
        assert!(!mark(a).exists(), "{cure} left the mark");
        cluster.expect(a, "monitor", if cure == "stop" { 7 } else { 0 });
        // Nothing keeps the other one from being promoted.
        cluster.expect(b, "promote", 0);
        cluster.expect(b, "demote", 0);
        cluster.expect(a, "start", 0);
        cluster.expect(a, "monitor", 0);
        cluster.pair.wait_in_sync();
    }
    // A start finds one that died as a Primary, and does not let it be one again.
    cluster.expect(a, "promote", 0);
    cluster.signal(a, Signal::KILL);
    cluster.expect(a, "start", 0);
    cluster.expect(a, "monitor", 0);
    assert!(!a.log().contains("this node was Primary before its daemon ended"), "it resumed");
}

#[test]
fn a_primary_that_is_frozen_is_failed_until_it_is_demoted_or_stopped() {
    let cluster = Cluster::synced();
    let (a, b) = (&cluster.pair.a, &cluster.pair.b);
    for cure in ["demote", "stop"] {
        cluster.expect(a, "promote", 0);
        let pid = daemon(a);
        cluster.signal(a, Signal::STOP);
        let frozen = cluster.expect_with(a, "monitor", &[PROBE], 9);
        assert!(frozen.contains("is frozen") && !frozen.contains("is dead"), "{frozen}");
        assert_eq!(daemon(a), pid, "a probe looks, and does nothing");
        if cure == "demote" {
            // What waits for it is stopped before it is demoted, and must not hang.
            let frozen = cluster.expect(a, "monitor", 9);
            assert!(frozen.contains("is frozen"), "{frozen}");
            assert_eq!(daemon(a), None, "its users still wait");
            let dead = cluster.expect(a, "monitor", 9);
            assert!(dead.contains("is dead"), "{dead}");
            assert!(mark(a).exists(), "it was Primary until it is demoted");
        }
        cluster.expect(a, cure, 0);
        assert_ne!(daemon(a), pid);
        assert!(!mark(a).exists(), "{cure} left the mark");
        cluster.expect(a, "monitor", if cure == "stop" { 7 } else { 0 });
        b.wait_state("the frozen one is gone", SOON, |state| state.role == "Secondary");
        cluster.expect(b, "promote", 0);
        cluster.expect(b, "demote", 0);
        cluster.expect(a, "start", 0);
        cluster.pair.wait_in_sync();
    }
}

#[test]
fn a_primary_whose_daemon_was_started_again_is_waited_for_and_demoted_by_a_start() {
    let cluster = Cluster::synced();
    let a = &cluster.pair.a;
    cluster.signal(a, Signal::KILL);
    a.must(&["up", "r0"]);
    cluster.expect(a, "monitor", 8);
    cluster.expect(a, "start", 0);
    cluster.expect(a, "monitor", 0);
    assert!(!mark(a).exists());
}

#[test]
fn a_configuration_that_is_broken_or_gone_keeps_nothing_from_being_stopped() {
    let cluster = Cluster::synced();
    let (a, b) = (&cluster.pair.a, &cluster.pair.b);
    let files: Vec<_> = [a, b].map(|node| fs::read(node.config_file()).unwrap()).into();
    fs::write(a.config_file(), "name = nonsense\n").unwrap();
    let broken = cluster.expect(a, "validate-all", 2);
    assert!(broken.contains("r0.toml:1"), "{broken}");
    cluster.expect(a, "monitor", 8);
    // A live Primary, a dead one, a frozen one.
    cluster.expect(a, "stop", 0);
    cluster.expect(a, "start", 2);
    cluster.expect_with(a, "monitor", &[PROBE], 7);
    cluster.expect(b, "promote", 0);
    cluster.signal(b, Signal::KILL);
    fs::remove_dir_all(etc(b)).unwrap();
    cluster.expect(b, "monitor", 9);
    cluster.expect(b, "stop", 0);
    assert!(!mark(b).exists());
    cluster.expect(b, "stop", 0);
    let missing = cluster.expect(b, "start", 5);
    assert!(missing.contains("r0.toml"), "{missing}");
    cluster.expect(b, "validate-all", 5);
    cluster.expect_with(b, "monitor", &[PROBE], 7);
    fs::create_dir_all(etc(b)).unwrap();
    for (node, file) in [a, b].into_iter().zip(&files) {
        fs::write(node.config_file(), file).unwrap();
        cluster.expect(node, "start", 0);
    }
    cluster.pair.wait_in_sync();
    cluster.expect(b, "promote", 0);
    cluster.signal(b, Signal::STOP);
    fs::remove_dir_all(etc(b)).unwrap();
    // Nothing can be started again; what was Primary is gone all the same.
    cluster.expect(b, "demote", 0);
    assert_eq!((daemon(b), mark(b).exists()), (None, false));
    // And where the run directory is gone too, as after a boot.
    fs::remove_dir_all(run_dir(b)).unwrap();
    cluster.expect(b, "stop", 0);
    fs::create_dir_all(run_dir(b)).unwrap();
}

#[test]
fn a_device_in_use_is_waited_for_and_then_named() {
    let cluster = Cluster::synced();
    let a = &cluster.pair.a;
    let client = NbdClient::open(&a.nbd_socket(), "r0").expect("a Primary serves");
    for action in ["demote", "stop"] {
        let refused = cluster.expect_with(a, action, &[SHORT], 1);
        assert!(refused.contains("client"), "{action}: {refused}");
        cluster.expect(a, "monitor", 8);
    }
    drop(client);
    cluster.expect(a, "stop", 0);
}

#[test]
fn each_state_of_the_data_has_its_score() {
    let slow = testbed::PairOptions { sync_rate_bytes: Some(1 << 20), ..options() };
    let cluster = Cluster::new(&slow);
    let (a, b) = (&cluster.pair.a, &cluster.pair.b);
    cluster.expect(a, "start", 0);
    cluster.expect(b, "start", 0);
    cluster.pair.wait_connected();
    cluster.expect(b, "monitor", 0);
    assert_eq!(cluster.score(b), NONE, "no good data anywhere");
    a.must(&["primary", "--force", "r0"]);
    b.wait_state("it is being filled", SOON, |state| state.replication == "SyncTarget");
    cluster.expect(b, "monitor", 0);
    assert_eq!(cluster.score(b), "crm_attribute --promotion -v 10", "the peer's data are good");
    cluster.expect(a, "monitor", 8);
    assert_eq!(cluster.score(a), GOOD);
    let own = ("OCF_RESKEY_adjust_master_score", "1 2 3 4");
    cluster.expect_with(b, "reload-agent", &[own], 0);
    assert_eq!(cluster.score(b), "crm_attribute --promotion -v 2");
    let bad = ("OCF_RESKEY_adjust_master_score", "4 3 2 1");
    let warned = cluster.expect_with(b, "monitor", &[bad], 0);
    assert!(warned.contains("adjust_master_score is '4 3 2 1'"), "{warned}");
    assert_eq!(cluster.score(b), "crm_attribute --promotion -v 10");
    b.must(&["disconnect", "r0"]);
    cluster.expect(b, "monitor", 0);
    assert_eq!(cluster.score(b), NONE, "Inconsistent, alone");
    let old = ("OCF_RESKEY_crm_feature_set", "3.9.0");
    cluster.expect_with(a, "monitor", &[old], 8);
    assert_eq!(cluster.score(a), "crm_master -l reboot -v 10000");
}

#[test]
fn data_that_are_whole_and_perhaps_not_the_newest_have_the_lowest_score() {
    let fencing = "fencing = \"resource-only\"".to_owned();
    let handler = "fence-peer = \"exit 1\"".to_owned();
    let fenced = testbed::PairOptions { disk: vec![fencing], handlers: vec![handler], ..options() };
    let cluster = Cluster::new(&fenced);
    let (a, b) = (&cluster.pair.a, &cluster.pair.b);
    cluster.expect(a, "start", 0);
    cluster.expect(b, "start", 0);
    cluster.pair.wait_connected();
    a.must(&["primary", "--force", "r0"]);
    cluster.pair.wait_in_sync();
    cluster.expect(a, "stop", 0);
    cluster.expect(b, "stop", 0);
    cluster.expect(a, "start", 0);
    assert_eq!(a.state().disk, "Consistent");
    assert_eq!(cluster.score(a), NONE, "DRBD's default for the lowest rung is none");
    let lowest = ("OCF_RESKEY_adjust_master_score", "5 10 1000 10000");
    cluster.expect_with(a, "monitor", &[lowest], 0);
    assert_eq!(cluster.score(a), "crm_attribute --promotion -v 5");
    // The handler does not fence the peer, so these data may be old.
    cluster.expect(a, "promote", 1);
    assert_eq!(a.state().role, "Secondary");
}

#[test]
fn a_lone_secondary_outdates_itself_when_that_is_configured() {
    let cluster = Cluster::synced();
    let b = &cluster.pair.b;
    let outdates = ("OCF_RESKEY_stop_outdates_secondary", "true");
    let post = ("OCF_RESKEY_CRM_meta_notify_type", "post");
    let start = ("OCF_RESKEY_CRM_meta_notify_operation", "start");
    let promoted = ("OCF_RESKEY_CRM_meta_notify_promoted_uname", "a");
    b.must(&["disconnect", "r0"]);
    // Not asked to; nobody is Promoted; Promoted here; only before an action.
    for variables in [
        &[post, start, promoted][..],
        &[post, start, outdates],
        &[post, start, outdates, ("OCF_RESKEY_CRM_meta_notify_promoted_uname", "b")],
        &[("OCF_RESKEY_CRM_meta_notify_type", "pre"), start, outdates, promoted],
    ] {
        cluster.expect_with(b, "notify", variables, 0);
        assert_eq!(b.state().disk, "UpToDate", "{variables:?}");
    }
    assert_eq!(cluster.score(b), ALONE);
    cluster.expect_with(b, "notify", &[post, start, outdates, promoted], 0);
    assert_eq!(b.state().disk, "Outdated");
    assert_eq!(cluster.score(b), "crm_attribute --promotion -v -INFINITY");
    b.must(&["connect", "r0"]);
    cluster.pair.wait_in_sync();
    // A stop, by the old name of the list.
    let old_name = ("OCF_RESKEY_CRM_meta_notify_master_uname", "a");
    cluster.expect_with(b, "stop", &[outdates, old_name], 0);
    cluster.expect(&cluster.pair.a, "stop", 0);
    cluster.expect(b, "start", 0);
    assert_eq!(b.state().disk, "Outdated");
}

#[test]
fn a_cluster_whose_attributes_hang_or_fail_stops_no_action() {
    let cluster = Cluster::new(&options());
    let a = &cluster.pair.a;
    script(&cluster.bin().join("crm_attribute"), "#!/bin/sh\necho no >&2; exit 3\n");
    let warned = cluster.expect(a, "start", 0);
    assert!(warned.contains("the promotion score was not set"), "{warned}");
    script(&cluster.bin().join("crm_attribute"), "#!/bin/sh\nsleep 600\n");
    let warned = cluster.expect(a, "monitor", 0);
    assert!(warned.contains("killed"), "{warned}");
    cluster.expect(a, "stop", 0);
}

#[test]
fn a_start_connects_and_waits_for_the_peer_as_long_as_it_is_told() {
    let cluster = Cluster::synced();
    let (a, b) = (&cluster.pair.a, &cluster.pair.b);
    let wait = ("OCF_RESKEY_wfc_timeout", "40");
    cluster.expect(b, "stop", 0);
    cluster.expect_with(b, "start", &[wait], 0);
    assert_eq!(b.state().connection, "Connected", "it did not wait");
    b.must(&["disconnect", "r0"]);
    cluster.expect_with(b, "start", &[wait], 0);
    assert_eq!(b.state().connection, "Connected", "it did not connect");
    cluster.expect(b, "stop", 0);
    cluster.expect(a, "stop", 0);
    let begun = Instant::now();
    cluster.expect_with(b, "start", &[("OCF_RESKEY_wfc_timeout", "3")], 0);
    assert!(begun.elapsed() >= Duration::from_secs(3), "nobody was waited for");
}

#[test]
fn a_promotion_without_its_device_fails_and_a_primary_without_it_has_failed() {
    if std::path::Path::new("/sys/module/nbd").exists() {
        skip("the kernel's NBD client is loaded here");
        return;
    }
    let cluster = Cluster::synced();
    let a = &cluster.pair.a;
    cluster.expect(a, "stop", 0);
    crate::bed::configure(&cluster.pair, "[node.a]\n", "[node.a]\ndevice = \"/dev/nbd13\"\n");
    cluster.expect(a, "start", 0);
    let failed = cluster.expect_with(a, "promote", &[SHORT], 1);
    assert!(failed.contains("modprobe nbd"), "{failed}");
    let failed = cluster.expect_with(a, "monitor", &[SHORT], 9);
    assert!(failed.contains("/dev/blkrep/by-res/r0/0 is not there"), "{failed}");
    cluster.expect(a, "demote", 0);
    cluster.expect(a, "monitor", 0);
    cluster.expect(a, "stop", 0);
}
