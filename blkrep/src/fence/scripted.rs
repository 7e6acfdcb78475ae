//! For tests: a world outside that follows a script, with a CIB that the scripted `cibadmin` reads
//! and changes.

use super::outside::{Ended, Outside};
use crate::control::sample_status;
use replicator::state::{ConnectionState, DiskState, Role};
use replicator::status::Status;
use std::collections::VecDeque;
use std::time::Duration;

/// What a program takes, on the scripted clock.
const RUN: Duration = Duration::from_millis(20);

/// A CIB of two nodes, a promotable clone of r0, and what is put into it.
#[derive(Debug, Clone)]
pub(super) struct Cluster {
    /// More attributes of the root.
    pub(super) quorum: &'static str,
    pub(super) stonith: &'static str,
    /// The peer's `node_state`.
    pub(super) peer: &'static str,
    /// Operations recorded of the peer's instance.
    pub(super) operations: &'static str,
    /// The constraints, as XML.
    pub(super) constraints: String,
}

/// A member of the cluster.
pub(super) const MEMBER: &str =
    "in_ccm=\"true\" crmd=\"online\" join=\"member\" expected=\"member\"";
/// Lost without a word.
pub(super) const LOST: &str = "in_ccm=\"false\" crmd=\"offline\" join=\"down\" expected=\"member\"";
/// Fenced, or gone in good order.
pub(super) const DOWN: &str = "in_ccm=\"false\" crmd=\"offline\" join=\"down\" expected=\"down\"";

impl Cluster {
    pub(super) fn with_peer(peer: &'static str) -> Self {
        Self { quorum: "1", stonith: "true", peer, operations: "", constraints: String::new() }
    }

    pub(super) fn text(&self) -> String {
        let Self { quorum, stonith, peer, operations, constraints } = self;
        format!(
            r##"<cib crm_feature_set="3.16.1" validate-with="pacemaker-3.9" epoch="7" num_updates="1"
 admin_epoch="0" have-quorum="{quorum}" dc-uuid="1"><configuration><crm_config>
<cluster_property_set id="c"><nvpair id="c1" name="stonith-enabled" value="{stonith}"/>
</cluster_property_set></crm_config><nodes><node id="1" uname="a"/><node id="2" uname="b"/></nodes>
<resources><clone id="ms"><meta_attributes id="m"><nvpair id="m1" name="promotable" value="true"/>
</meta_attributes><primitive id="p" class="ocf" provider="blkrep" type="blkrep">
<instance_attributes id="i"><nvpair id="i1" name="resource" value="r0"/></instance_attributes>
</primitive></clone></resources><constraints>{constraints}</constraints></configuration><status>
<node_state id="1" uname="a" in_ccm="true" crmd="online" join="member" expected="member"/>
<node_state id="2" uname="b" {peer}><lrm id="2"><lrm_resources><lrm_resource id="p">{operations}
</lrm_resource></lrm_resources></lrm></node_state></status></cib>"##
        )
    }
}

/// A turn of events: from that time on.
pub(super) type Event = (Duration, Box<dyn FnOnce(&mut World)>);

/// The world. Time passes only by what is done in it.
pub(super) struct World {
    pub(super) now: Duration,
    pub(super) status: Result<Status, String>,
    pub(super) cluster: Cluster,
    /// The peer's controller answers `crmadmin`.
    pub(super) peer_answers: bool,
    /// The cluster takes changes.
    pub(super) dc: bool,
    /// Scripted ends of `stonith_admin`.
    pub(super) stonith: VecDeque<Ended>,
    /// What was run, with its arguments.
    pub(super) runs: Vec<String>,
    pub(super) log: Vec<String>,
    pub(super) locked: bool,
    events: VecDeque<Event>,
}

impl World {
    /// Seen from node a, whose disk is that, without its peer.
    pub(super) fn new(disk: DiskState, cluster: Cluster) -> Self {
        let status = Status {
            resource: "r0".to_owned(),
            node_name: "a".to_owned(),
            peer_name: "b".to_owned(),
            role: Role::Primary,
            disk,
            peer_disk: DiskState::DUnknown,
            connection: ConnectionState::Connecting,
            ..sample_status()
        };
        Self {
            now: Duration::ZERO,
            status: Ok(status),
            cluster,
            peer_answers: true,
            dc: true,
            stonith: VecDeque::new(),
            runs: Vec::new(),
            log: Vec::new(),
            locked: false,
            events: VecDeque::new(),
        }
    }

    pub(super) fn at(&mut self, seconds: f64, event: impl FnOnce(&mut Self) + 'static) {
        self.events.push_back((Duration::from_secs_f64(seconds), Box::new(event)));
    }

    pub(super) fn status(&mut self) -> &mut Status {
        self.status.as_mut().expect("the daemon of this script answers")
    }

    /// Both disks are UpToDate, and the nodes connected.
    pub(super) fn peer_is_back(&mut self) {
        let status = self.status();
        status.connection = ConnectionState::Connected;
        (status.disk, status.peer_disk) = (DiskState::UpToDate, DiskState::UpToDate);
    }

    pub(super) fn expect_log(&self, words: &str) {
        assert!(
            self.log.iter().any(|line| line.contains(words)),
            "no {words:?} in {:#?}",
            self.log
        );
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        while self.events.front().is_some_and(|(at, _)| *at <= self.now) {
            let (_, event) = self.events.pop_front().expect("invariant: there is a first one");
            event(self);
        }
    }

    fn cibadmin(&mut self, arguments: &[&str], limit: Duration) -> Ended {
        if arguments.contains(&"--query") {
            return ended(0, &self.cluster.text(), "");
        }
        if !self.dc {
            self.pass(limit);
            return Ended::TooLong;
        }
        let constraints = &mut self.cluster.constraints;
        if arguments.contains(&"--create") {
            let xml = arguments.last().expect("the XML comes last");
            if !constraints.is_empty() {
                return ended(108, "", "Call failed: File exists");
            }
            (*xml).clone_into(constraints);
        } else {
            // As cibadmin: a path that finds nothing is a success.
            let path = arguments.iter().find(|word| word.starts_with("//")).expect("a path");
            let ids: Vec<&str> = path.split('\'').skip(1).step_by(2).collect();
            if ids.iter().all(|id| constraints.contains(&format!("id=\"{id}\""))) {
                constraints.clear();
            }
        }
        ended(0, "", "")
    }
}

pub(super) fn ended(code: i32, out: &str, errors: &str) -> Ended {
    Ended::Code { code: Some(code), out: out.to_owned(), errors: errors.to_owned() }
}

impl Outside for World {
    fn status(&mut self) -> Result<Status, String> {
        self.status.clone()
    }

    fn run(&mut self, program: &str, arguments: &[&str], limit: Duration) -> Ended {
        self.runs.push(format!("{program} {}", arguments.join(" ")));
        let ended = match program {
            "cibadmin" => self.cibadmin(arguments, limit),
            "crmadmin" if self.peer_answers => ended(0, "Status of crmd@b: S_NOT_DC (ok)", ""),
            "crmadmin" => {
                self.pass(limit);
                ended(124, "", "timed out")
            }
            "stonith_admin" => self.stonith.pop_front().expect("a scripted end of stonith_admin"),
            other => panic!("{other} is not in the script"),
        };
        self.pass(RUN);
        ended
    }

    fn host_name(&self) -> String {
        "a".to_owned()
    }

    fn elapsed(&self) -> Duration {
        self.now
    }

    fn epoch_s(&self) -> u64 {
        1_700_000_000 + self.now.as_secs()
    }

    fn pause(&mut self, time: Duration) {
        self.pass(time);
    }

    fn lock(&mut self, _limit: Duration) -> bool {
        !std::mem::replace(&mut self.locked, true)
    }

    fn unlock(&mut self) {
        self.locked = false;
    }

    fn fresh_word(&mut self) -> String {
        format!("{:016x}", self.runs.len())
    }

    fn tell(&mut self, line: &str) {
        self.log.push(line.to_owned());
    }
}
