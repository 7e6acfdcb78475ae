//! `wait-connect` and `wait-sync`: poll a daemon until it is where it should be (drbd-facts 2.8).

use super::context::Context;
use super::failure::Failure;
use super::lifecycle::is_starting;
use crate::config::Startup;
use crate::config::units::write_time;
use crate::render::words::{cstate, dstate};
use replicator::state::{ConnectionState, DiskState, ReplicationState, StartupWait};
use replicator::status::Status;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(200);
/// A daemon that has just started is StandAlone for a moment, before it is told to connect.
const STAND_ALONE_GRACE: Duration = Duration::from_secs(1);

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// The handshake is over.
    Connected,
    /// Connected, and both disks are UpToDate.
    InSync,
}

/// How far a resource is.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    Reached,
    OnTheWay,
    /// It does not try, because both nodes wrote alone; this is what to do.
    SplitBrain(String),
    /// It does not try, because of this.
    Refused(String),
    /// It does not try, and nobody refused it.
    Disconnected,
}

/// How long to wait, and who says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limit {
    /// Zero is for ever.
    time: Duration,
    key: &'static str,
    /// None when the command line says it.
    cause: Option<StartupWait>,
}

impl Goal {
    fn words(self, status: &Status) -> String {
        let peer = &status.peer_name;
        match self {
            Self::Connected => format!("the connection to {peer}"),
            Self::InSync => format!("both disks to be UpToDate and {peer} connected"),
        }
    }

    fn standing(self, status: &Status) -> Standing {
        if status.connection == ConnectionState::StandAlone {
            return match &status.refusal {
                Some(refusal) if status.split_brain => Standing::SplitBrain(refusal.clone()),
                Some(refusal) => Standing::Refused(refusal.clone()),
                None => Standing::Disconnected,
            };
        }
        let replicates = match status.replication {
            ReplicationState::Off => false,
            ReplicationState::Established
            | ReplicationState::WFBitMapS
            | ReplicationState::WFBitMapT
            | ReplicationState::SyncSource
            | ReplicationState::SyncTarget
            | ReplicationState::PausedSyncS
            | ReplicationState::PausedSyncT
            | ReplicationState::VerifyS
            | ReplicationState::VerifyT => status.connection == ConnectionState::Connected,
        };
        // A verify changes nothing.
        let is_at_rest = matches!(
            status.replication,
            ReplicationState::Established | ReplicationState::VerifyS | ReplicationState::VerifyT
        );
        let in_sync = is_at_rest
            && status.disk == DiskState::UpToDate
            && status.peer_disk == DiskState::UpToDate;
        match self {
            Self::Connected if replicates => Standing::Reached,
            Self::InSync if replicates && in_sync => Standing::Reached,
            Self::Connected | Self::InSync => Standing::OnTheWay,
        }
    }
}

/// What is waited for, how long, and since when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wait {
    pub(super) goal: Goal,
    /// None: the startup timeout that holds for what the daemon reports (G6); zero is for ever.
    pub(super) timeout: Option<Duration>,
    /// The same for every resource of one command, so that `all` waits no longer than the longest.
    pub(super) since: Instant,
}

impl Wait {
    /// Waits for one resource. What is waited for, and how long, is said on standard error when
    /// there is something to wait for.
    pub(super) fn run(self, context: &Context, name: &str) -> Result<(), Failure> {
        let startup = context.load(name)?.startup;
        let say = |text: String| eprintln!("blkrep: {name}: {text}");
        let (mut said, mut said_split) = (None, false);
        let mut alone_since = None;
        loop {
            let status = context.status(name)?;
            let limit = self.limit(&startup, &status);
            let standing = self.goal.standing(&status);
            if standing != Standing::Disconnected {
                alone_since = None;
            }
            match standing {
                Standing::Reached => {
                    if said.is_some() {
                        say(format!("{}: reached", self.goal.words(&status)));
                    }
                    return Ok(());
                }
                Standing::Refused(reason) => return Err(Failure::StandAlone { reason }),
                Standing::SplitBrain(reason) if startup.wait_after_sb => {
                    if !std::mem::replace(&mut said_split, true) {
                        say(format!("StandAlone, waiting on (wait-after-sb): {reason}"));
                    }
                }
                Standing::SplitBrain(reason) => {
                    let reason = format!("{reason} (wait-after-sb is false: not waited on)");
                    return Err(Failure::StandAlone { reason });
                }
                Standing::OnTheWay => said_split = false,
                Standing::Disconnected => {
                    let since = *alone_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= STAND_ALONE_GRACE {
                        let reason = format!("not trying to connect; run 'blkrep connect {name}'");
                        return Err(Failure::StandAlone { reason });
                    }
                }
            }
            // Before the disk is looked at nothing says which timeout holds.
            if said != Some(limit) && !is_starting(&status) {
                said = Some(limit);
                say(format!("waiting {} for {}", limit.words(), self.goal.words(&status)));
            }
            if !limit.time.is_zero() && self.since.elapsed() >= limit.time {
                return Err(self.timed_out(limit, &status));
            }
            let left = limit.time.saturating_sub(self.since.elapsed());
            std::thread::sleep(if limit.time.is_zero() { POLL } else { POLL.min(left) });
        }
    }

    fn limit(&self, startup: &Startup, status: &Status) -> Limit {
        match self.timeout {
            Some(time) => Limit { time, key: "--timeout", cause: None },
            None => {
                let (key, time) = startup.timeout(status.startup_wait);
                Limit { time, key, cause: Some(status.startup_wait) }
            }
        }
    }

    fn timed_out(&self, limit: Limit, status: &Status) -> Failure {
        let (name, peer) = (&status.resource, &status.peer_name);
        let next = match status.connection {
            ConnectionState::Connected => {
                format!("see what is going on with 'blkrep status {name}'")
            }
            ConnectionState::StandAlone => {
                format!("'blkrep status {name}' says what to type on which node")
            }
            ConnectionState::Disconnecting
            | ConnectionState::Unconnected
            | ConnectionState::Connecting => format!(
                "start blkrep on {peer} and look at the link; only if {peer} is surely down, go on \
                 alone with 'blkrep primary {name}'"
            ),
        };
        Failure::WaitTimedOut {
            goal: self.goal.words(status),
            limit: limit.words(),
            state: format!("{} {}", cstate(status), dstate(status)),
            next,
        }
    }
}

impl Limit {
    fn words(&self) -> String {
        let cause = match self.cause {
            None => "as told",
            Some(StartupWait::Normal) => "an ordinary start",
            Some(StartupWait::Degraded) => {
                "this node was Primary without its peer when it went down"
            }
            Some(StartupWait::PeerOutdated) => "the peer is known to be outdated",
        };
        let time = match self.time {
            Duration::ZERO => "for ever".to_owned(),
            time => format!("up to {}", write_time(time)),
        };
        format!("{time} ({}: {cause})", self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::sample_status;

    #[test]
    fn a_resync_is_connected_and_not_in_sync() {
        let status = sample_status();
        assert_eq!(Goal::Connected.standing(&status), Standing::Reached);
        assert_eq!(Goal::InSync.standing(&status), Standing::OnTheWay);
    }

    #[test]
    fn in_sync_is_established_with_two_good_disks() {
        let mut status = sample_status();
        status.replication = ReplicationState::Established;
        assert_eq!(Goal::InSync.standing(&status), Standing::OnTheWay);
        status.peer_disk = DiskState::UpToDate;
        for replication in
            [ReplicationState::Established, ReplicationState::VerifyS, ReplicationState::VerifyT]
        {
            status.replication = replication;
            assert_eq!(Goal::InSync.standing(&status), Standing::Reached);
        }
    }

    #[test]
    fn stand_alone_is_never_on_the_way() {
        let mut status = sample_status();
        (status.connection, status.replication) =
            (ConnectionState::StandAlone, ReplicationState::Off);
        assert_eq!(Goal::Connected.standing(&status), Standing::Disconnected);
        status.refusal = Some("split brain".to_owned());
        let refused = Standing::Refused("split brain".to_owned());
        assert_eq!(Goal::InSync.standing(&status), refused);
        status.split_brain = true;
        let split = Standing::SplitBrain("split brain".to_owned());
        assert_eq!(Goal::InSync.standing(&status), split);
        status.connection = ConnectionState::Connecting;
        assert_eq!(Goal::Connected.standing(&status), Standing::OnTheWay);
    }

    fn wait(timeout: Option<u64>) -> Wait {
        let timeout = timeout.map(Duration::from_secs);
        Wait { goal: Goal::Connected, timeout, since: Instant::now() }
    }

    #[test]
    fn the_daemon_says_which_timeout_holds_and_the_command_line_goes_before_it() {
        let startup = Startup {
            wfc_timeout: Duration::from_secs(300),
            degr_wfc_timeout: Duration::from_secs(120),
            outdated_wfc_timeout: Duration::from_secs(60),
            wait_after_sb: false,
        };
        let mut status = sample_status();
        for (found, key, words) in [
            (StartupWait::Normal, "wfc-timeout", "up to 5min (wfc-timeout: an ordinary start)"),
            (
                StartupWait::Degraded,
                "degr-wfc-timeout",
                "up to 2min (degr-wfc-timeout: this node was Primary without its peer when it went \
                 down)",
            ),
            (
                StartupWait::PeerOutdated,
                "outdated-wfc-timeout",
                "up to 1min (outdated-wfc-timeout: the peer is known to be outdated)",
            ),
        ] {
            status.startup_wait = found;
            let limit = wait(None).limit(&startup, &status);
            assert_eq!((limit.key, limit.words().as_str()), (key, words));
            assert_eq!(
                wait(Some(7)).limit(&startup, &status).words(),
                "up to 7s (--timeout: as told)"
            );
        }
        let forever = wait(Some(0)).limit(&startup, &status);
        assert_eq!(forever.words(), "for ever (--timeout: as told)");
    }

    #[test]
    fn a_wait_that_timed_out_says_what_for_how_long_and_what_to_do() {
        let mut status = sample_status();
        (status.connection, status.replication) =
            (ConnectionState::Connecting, ReplicationState::Off);
        let limit = wait(Some(7)).limit(&Startup::default(), &status);
        let failure = wait(Some(7)).timed_out(limit, &status);
        assert_eq!(failure.exit_code(), 5);
        let text = failure.to_string();
        for part in
            ["the connection to bob", "up to 7s (--timeout", "WFConnection", "start blkrep on"]
        {
            assert!(text.contains(part), "no '{part}': {text}");
        }
        status.connection = ConnectionState::Connected;
        let text = wait(Some(7)).timed_out(limit, &status).to_string();
        assert!(!text.contains("go on alone"), "{text}");
    }
}
