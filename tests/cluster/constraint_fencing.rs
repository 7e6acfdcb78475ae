//! The shipped handlers that fence by a constraint, in the hands of two real daemons; a file stands
//! in for the cluster, read and changed by Pacemaker's own `cibadmin`.

use crate::bed::{SOON, options};
use crate::fencing::is_frozen;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;
use testbed::ledger::Ledger;
use testbed::network::Cut;
use testbed::scratch::Scratch;
use testbed::skips::require_tool;
use testbed::writer::Writer;
use testbed::{Pair, PairOptions, wait_until};

const MEMBER: &str = r#"in_ccm="true" crmd="online" join="member" expected="member""#;
const LOST: &str = r#"in_ccm="false" crmd="offline" join="down" expected="member""#;
const DOWN: &str = r#"in_ccm="false" crmd="offline" join="down" expected="down""#;

/// What the two nodes see of their cluster.
struct Cluster {
    scratch: Scratch,
}

impl Cluster {
    /// Both nodes are members. None, with a noted skip, without Pacemaker's programs.
    fn new() -> Option<Self> {
        let cibadmin = require_tool("cibadmin")?;
        let cluster = Self { scratch: Scratch::new() };
        fs::create_dir(cluster.file("bin")).unwrap();
        let counted = format!(
            "#!/bin/sh\necho cibadmin \"$1\" >> '{}'\nexec '{}' \"$@\"\n",
            cluster.file("calls").display(),
            cibadmin.display()
        );
        cluster.program("cibadmin", &counted);
        let answers = format!(
            "#!/bin/sh\necho crmadmin \"$1\" \"$2\" >> '{}'\n",
            cluster.file("calls").display()
        );
        cluster.program("crmadmin", &answers);
        let binary = cluster.file("bin").join("blkrep");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_blkrep"), binary).unwrap();
        let node =
            |id: u8, name: &str| format!("<node_state id=\"{id}\" uname=\"{name}\" {MEMBER}/>");
        let text = format!(
            r#"<cib crm_feature_set="3.16.1" validate-with="pacemaker-3.9" epoch="7" num_updates="0"
 admin_epoch="0" have-quorum="1" dc-uuid="1"><configuration><crm_config/><nodes>
<node id="1" uname="a"/><node id="2" uname="b"/></nodes><resources><clone id="ms">
<meta_attributes id="m"><nvpair id="m1" name="promotable" value="true"/></meta_attributes>
<primitive id="p" class="ocf" provider="blkrep" type="blkrep"><instance_attributes id="i">
<nvpair id="i1" name="resource" value="r0"/></instance_attributes></primitive></clone></resources>
<constraints/></configuration><status>{}{}</status></cib>"#,
            node(1, "a"),
            node(2, "b")
        );
        fs::write(cluster.cib(), text).unwrap();
        Some(cluster)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn cib(&self) -> PathBuf {
        self.file("cib.xml")
    }

    fn program(&self, name: &str, text: &str) {
        let file = self.file("bin").join(name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A line of `[handlers]` with a shipped script.
    fn handler(&self, key: &str, script: &str) -> String {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/handlers");
        format!(
            "{key} = \"CIB_file='{}' PATH='{}':$PATH '{folder}/{script}'\"",
            self.cib().display(),
            self.file("bin").display()
        )
    }

    /// What the cluster knows of node b from now on.
    fn peer_is(&self, old: &str, new: &str) {
        let text = fs::read_to_string(self.cib()).unwrap();
        let (begin, state) = text.split_at(text.find("id=\"2\" uname=\"b\" in_ccm").unwrap());
        // cibadmin writes the attributes in the order in which it has read them.
        assert!(state.contains(old), "{state}");
        let next = self.file("cib.next");
        fs::write(&next, format!("{begin}{}", state.replace(old, new))).unwrap();
        fs::rename(next, self.cib()).unwrap();
    }

    /// The node that the constraint lets be promoted.
    fn owner(&self) -> Option<String> {
        let text = fs::read_to_string(self.cib()).unwrap();
        let constraint = text.split("<rsc_location id=\"blkrep-fence-by-handler-r0-ms\"").nth(1)?;
        let value = constraint.split("operation=\"ne\" value=\"").nth(1).unwrap();
        Some(value.split('"').next().unwrap().to_owned())
    }

    fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.file("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Two nodes in sync, the first one Primary.
    fn pair(&self) -> Option<Pair> {
        let mut options = PairOptions { timeout_ms: 500, ..options().separate() };
        options.disk.push("fencing = \"resource-and-stonith\"".to_owned());
        options.handlers.push(self.handler("fence-peer", "blkrep-fence-peer"));
        options.handlers.push(self.handler("unfence-peer", "blkrep-unfence-peer"));
        let pair = crate::bed::synced(&options)?;
        wait_until("the first sync is over for its handlers too", SOON, || {
            let done = |log: String| log.contains("no constraint to take back");
            done(pair.a.log()) && done(pair.b.log())
        });
        fs::write(self.file("calls"), "").unwrap();
        Some(pair)
    }
}

fn write(pair: &Pair) -> Writer {
    let ledger = Ledger::default().flushing_every(30);
    let writer = Writer::start(&pair.a, ledger, 9, Duration::from_millis(2));
    writer.wait_for(30, SOON);
    writer
}

fn ends_well(pair: &Pair, cluster: &Cluster, writer: Writer) {
    writer.wait_for(50, SOON);
    let (mut ledger, end) = writer.finish();
    end.expect("no client sees an error");
    pair.expect_equal();
    ledger.expect_all_there(&pair.a.nbd_socket(), "r0");
    wait_until("the constraint is taken back", SOON, || cluster.owner().is_none());
}

#[test]
fn io_is_frozen_until_the_cluster_has_fenced_a_killed_peer() {
    let Some(cluster) = Cluster::new() else { return };
    let Some(mut pair) = cluster.pair() else { return };
    let generation = pair.a.current_generation();
    let writer = write(&pair);
    cluster.peer_is(MEMBER, LOST);
    pair.b.kill9();
    wait_until("the handler waits", SOON, || pair.a.log().contains("waiting until the cluster"));
    assert!(is_frozen(&writer), "I/O went on, and the peer is not fenced");
    assert_eq!(pair.a.status()["suspended-fencing"], true);
    assert_eq!(cluster.owner(), None, "a constraint before the peer is fenced");
    assert_eq!(pair.a.current_generation(), generation, "a waiting write began a generation");
    cluster.peer_is(LOST, DOWN);
    writer.wait_for(50, SOON);
    assert_eq!(cluster.owner().as_deref(), Some("a"), "{}", pair.a.log_tail());
    assert!(pair.a.log().contains("exit code 7"), "{}", pair.a.log_tail());
    pair.a.wait_state("the peer is outdated", SOON, |state| state.peer_disk == "Outdated");
    cluster.peer_is(DOWN, MEMBER);
    pair.b.up();
    ends_well(&pair, &cluster, writer);
}

#[test]
fn a_constraint_binds_a_peer_that_has_lost_the_link_alone() {
    let Some(cluster) = Cluster::new() else { return };
    let Some(pair) = cluster.pair() else { return };
    let writer = write(&pair);
    pair.cut_link(Cut::Both);
    for node in [&pair.a, &pair.b] {
        node.wait_state("the loss is noticed", SOON, |state| state.connection != "Connected");
    }
    pair.a.wait_state("the peer is outdated", SOON, |state| state.peer_disk == "Outdated");
    writer.wait_for(50, SOON);
    assert_eq!(cluster.owner().as_deref(), Some("a"));
    let expected = ["cibadmin --query", "cibadmin --create", "crmadmin --status b"];
    assert_eq!(cluster.calls(), expected, "three commands");
    let refused = pair.b.run(&["primary", "r0"]);
    assert_eq!(refused.code, 11, "{refused:?}");
    let why = "allows a alone to be promoted";
    assert!(pair.b.log().contains(why), "{}", pair.b.log_tail());
    assert_eq!(cluster.owner().as_deref(), Some("a"), "the loser leaves it alone");
    pair.heal_link();
    ends_well(&pair, &cluster, writer);
    pair.a.must(&["secondary", "r0"]);
    pair.b.must(&["primary", "r0"]);
}

/// What Pacemaker does after a power cut: it fences, then promotes the other node.
#[test]
fn a_node_is_promoted_with_two_commands_when_its_peer_was_fenced_before() {
    let Some(cluster) = Cluster::new() else { return };
    let Some(mut pair) = cluster.pair() else { return };
    cluster.peer_is(MEMBER, DOWN);
    let text = fs::read_to_string(cluster.cib()).unwrap();
    // The survivor is b.
    fs::write(
        cluster.cib(),
        text.replace("uname=\"a\"", "uname=\"x\"")
            .replace("uname=\"b\"", "uname=\"a\"")
            .replace("uname=\"x\"", "uname=\"b\""),
    )
    .unwrap();
    pair.a.kill9();
    pair.b.must(&["primary", "r0"]);
    assert_eq!(cluster.calls(), ["cibadmin --query", "cibadmin --create"]);
    assert_eq!(cluster.owner().as_deref(), Some("b"));
    assert!(pair.b.log().contains("exit code 7"), "{}", pair.b.log_tail());
}
