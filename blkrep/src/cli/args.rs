//! The command line: verbs with the names and the meaning of DRBD's (DESIGN 8).

use super::fence::{FenceArgs, StonithArgs, UnfenceArgs};
use crate::config::RUN_DIR;
use crate::config::units::{TIME_FORM, parse_size, parse_time};
use crate::control::protocol::RepairSide;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

const EXIT_CODES: &str = "\
Exit codes: 0 done or nothing to do; 1 a verify found differences; 2 usage; 5 a wait timed out, or the disk is not even Outdated; \
10 configuration, or not up; \
11 refused by the state (of the resource, or of a disk that is in use or holds something); \
16 no local disk; 17 no access to good data; 20 the daemon cannot be started or does not answer. \
Over several resources: the largest.";

/// blkrep: one block device, the same bytes on two nodes.
#[derive(Debug, Parser)]
#[command(name = "blkrep", version, about, after_help = EXIT_CODES)]
pub struct Args {
    /// Options of every verb.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Options of every verb, before or after it.
#[derive(Debug, clap::Args)]
pub struct Global {
    /// Directory of the configuration files
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "BLKREP_CONFIG_DIR",
        default_value = "/etc/blkrep.d"
    )]
    pub config_dir: PathBuf,
    /// Directory of sockets and logs; if it is not the default one, of everything that lasts, too
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "BLKREP_RUN_DIR",
        default_value = RUN_DIR
    )]
    pub run_dir: PathBuf,
    /// Which of the two nodes this is; the host's name if not given
    #[arg(long, global = true, value_name = "NAME", env = "BLKREP_NODE")]
    pub node: Option<String>,
}

/// Which resources a verb is for.
#[derive(Debug, Clone, clap::Args)]
pub struct Target {
    /// Name of a resource, or `all`
    #[arg(value_name = "RESOURCE|all")]
    pub resource: String,
}

/// How long a wait may last.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Patience {
    /// Give up after this time, like 30s; 0 waits for ever [default: of the startup timeouts in the
    /// configuration the one that holds]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub timeout: Option<Duration>,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Write fresh metadata for this node's disk
    CreateMd {
        /// For which.
        #[command(flatten)]
        target: Target,
        /// Overwrite what is there
        #[arg(long)]
        force: bool,
    },
    /// Start the daemon in the background, attach the disk and connect
    Up(Target),
    /// Disconnect, detach and end the daemon
    Down(Target),
    /// Connect to the peer, and keep trying
    Connect {
        /// Which.
        #[command(flatten)]
        target: Target,
        /// After a split brain: give the changes of this node up
        #[arg(long)]
        discard_my_data: bool,
    },
    /// Close the connection and stay alone
    Disconnect(Target),
    /// Become Primary: the device can be used here
    Primary {
        /// For which.
        #[command(flatten)]
        target: Target,
        /// Declare the local data good
        #[arg(long)]
        force: bool,
    },
    /// Become Secondary
    Secondary(Target),
    /// Take the disk back that was detached or given up
    Attach(Target),
    /// Give this node's disk up; a Primary goes on with the peer's
    Detach {
        /// Of which.
        #[command(flatten)]
        target: Target,
        /// Also when it hangs, and also the last good copy
        #[arg(long)]
        force: bool,
    },
    /// This node's data are bad: copy everything from the peer
    Invalidate(Target),
    /// The peer's data are bad: copy everything to it
    InvalidateRemote(Target),
    /// This node's data are old: never promote on them (also while its daemon is down)
    Outdate(Target),
    /// Hold the resync
    PauseSync(Target),
    /// Let the resync go on
    ResumeSync(Target),
    /// Hold all I/O of clients
    SuspendIo(Target),
    /// Let it go on, also when fencing or missing data hold it
    ResumeIo(Target),
    /// Begin a new generation of the data by hand
    NewCurrentUuid {
        /// For which.
        #[command(flatten)]
        target: Target,
        /// Both replicas are just created and known to be equal: skip the initial sync
        #[arg(long)]
        clear_bitmap: bool,
    },
    /// Make the device as large as the disks of both nodes, which have been enlarged, allow
    Resize {
        /// For which.
        #[command(flatten)]
        target: Target,
        /// Not larger than this, like 100G
        #[arg(long, value_name = "SIZE", value_parser = size)]
        size: Option<u64>,
        /// Zero the new part on both nodes instead of copying it
        #[arg(long)]
        assume_clean: bool,
    },
    /// Compare both replicas block by block while they are in use; what differs is marked on both
    Verify {
        /// Of which.
        #[command(flatten)]
        target: Target,
        /// Where to begin: a sector of 512 bytes, or a size like 10G
        #[arg(long, value_name = "SECTOR|SIZE", default_value = "0", value_parser = place)]
        start: u64,
        /// Where to end, not included
        #[arg(long, value_name = "SECTOR|SIZE", value_parser = place)]
        stop: Option<u64>,
        /// Wait for the result: exit code 0 no difference, or all repaired; 1 differences
        #[arg(long)]
        wait: bool,
        /// Copy what differs from the Primary when everything is compared
        #[arg(long)]
        repair: bool,
    },
    /// Copy the blocks that are marked as out of sync to the other node
    Repair {
        /// Of which.
        #[command(flatten)]
        target: Target,
        /// Whose data count [default: the Primary's]
        #[arg(long, value_enum)]
        from: Option<RepairSide>,
    },
    /// Show the state
    Status {
        /// For which.
        #[arg(value_name = "RESOURCE|all", default_value = "all")]
        resource: String,
        /// As JSON, in the shape of drbdsetup status --json
        #[arg(long)]
        json: bool,
    },
    /// Print own and peer's role, like Primary/Secondary
    Role(Target),
    /// Print the connection state, like Connected
    Cstate(Target),
    /// Print own and peer's disk state, like UpToDate/UpToDate
    Dstate(Target),
    /// Print the configuration with all defaults
    Dump(Target),
    /// Print the generation identifiers and flags, like drbdadm get-gi
    GetGi(Target),
    /// Print them with an explanation of each
    ShowGi(Target),
    /// Print all metadata of this node's disk, while its daemon is down
    DumpMd(Target),
    /// Wait until the peer is connected; StandAlone ends the wait with exit code 11
    WaitConnect {
        /// For which.
        #[command(flatten)]
        target: Target,
        /// How long.
        #[command(flatten)]
        patience: Patience,
    },
    /// Wait until both disks are UpToDate; StandAlone ends the wait with exit code 11
    WaitSync {
        /// For which.
        #[command(flatten)]
        target: Target,
        /// How long.
        #[command(flatten)]
        patience: Patience,
    },
    /// Run the daemon of one resource in the foreground
    Daemon(DaemonArgs),
    /// Handler fence-peer: by a constraint in the cluster's configuration
    CrmFencePeer(FenceArgs),
    /// Handler unfence-peer: take that constraint back when both disks are UpToDate
    CrmUnfencePeer(UnfenceArgs),
    /// Handler fence-peer: by the cluster's fencing device
    StonithFencePeer(StonithArgs),
    /// Do what Pacemaker asks of its resource agent; parameters come from the environment
    Ocf {
        /// start, stop, promote, demote, monitor, notify, meta-data, validate-all or reload-agent
        action: Option<String>,
    },
    /// Run two nodes on this machine, to look at and to break
    Demo(DemoArgs),
    /// Print, or write, the configuration that a drbd.conf becomes
    ImportDrbd(ImportArgs),
}

/// Arguments of `daemon`.
#[derive(Debug, clap::Args)]
pub struct DaemonArgs {
    /// Name of the resource
    pub resource: String,
    /// Leave the terminal's session (what `up` uses)
    #[arg(long, hide = true)]
    pub detach: bool,
    /// Be killed when the process of this number, the parent, ends (what `demo` uses)
    #[arg(long, hide = true, value_name = "PID")]
    pub end_with_parent: Option<i32>,
}

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// Keep everything in this directory instead of a temporary one
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Size of each disk
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = demo_size)]
    pub size: u64,
    /// Kill the Primary while it is written to, and check that nothing is lost
    #[arg(long)]
    pub failover: bool,
}

/// Arguments of `import-drbd`.
#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// A drbd.conf of DRBD 8.3, 8.4 or 9; what it includes is read too
    pub file: PathBuf,
    /// Only this resource
    #[arg(long, value_name = "NAME")]
    pub resource: Option<String>,
    /// Write NAME.toml and NAME.secret of each resource into this directory instead of printing
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Overwrite files that are there
    #[arg(long, requires = "out")]
    pub force: bool,
    /// Given twice: the two hosts that stay of more than two, or names for those that are given by
    /// address only (`floating`), in the order of the file
    #[arg(long, value_name = "NAME")]
    pub node: Vec<String>,
}

fn time(text: &str) -> Result<Duration, String> {
    parse_time(text).ok_or_else(|| format!("write {TIME_FORM}, or 0"))
}

fn size(text: &str) -> Result<u64, String> {
    parse_size(text).ok_or_else(|| "write a size like 512M or 100G".to_owned())
}

/// A bare number counts sectors, as in DRBD.
fn place(text: &str) -> Result<u64, String> {
    let sector = text.parse::<u64>().ok().and_then(|sector| sector.checked_mul(512));
    sector
        .or_else(|| parse_size(text))
        .ok_or_else(|| "write a sector of 512 bytes like 2048, or a size like 10G".to_owned())
}

fn demo_size(text: &str) -> Result<u64, String> {
    const RANGE: std::ops::RangeInclusive<u64> = 8 << 20..=1 << 40;
    parse_size(text)
        .filter(|size| RANGE.contains(size))
        .ok_or_else(|| "write a size from 8M to 1T".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parsed(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_definition_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn global_options_stand_before_or_after_the_verb() {
        for line in ["blkrep --node a --run-dir /r up r0", "blkrep up r0 --node a --run-dir /r"] {
            let args = parsed(line).unwrap();
            assert_eq!(args.global.node.as_deref(), Some("a"));
            assert_eq!(args.global.run_dir, PathBuf::from("/r"));
        }
    }

    #[test]
    fn wrong_usage_ends_with_exit_code_2() {
        for line in ["blkrep up", "blkrep explode r0", "blkrep wait-sync r0 --timeout 5"] {
            assert_eq!(parsed(line).unwrap_err().exit_code(), 2, "{line}");
        }
        assert_eq!(parsed("blkrep --help").unwrap_err().exit_code(), 0);
    }

    #[test]
    fn hosts_to_import_may_be_given_more_than_once() {
        for line in [
            "blkrep import-drbd /etc/drbd.conf --node a --node b",
            "blkrep import-drbd --node a /etc/drbd.conf --node b --out /x --force",
        ] {
            let Verb::ImportDrbd(args) = parsed(line).unwrap().verb else { panic!("another verb") };
            assert_eq!(args.node, ["a", "b"]);
            assert_eq!(args.file, PathBuf::from("/etc/drbd.conf"));
        }
        let error = parsed("blkrep import-drbd /etc/drbd.conf --force").unwrap_err();
        assert_eq!(error.exit_code(), 2, "--force without --out");
    }

    #[test]
    fn a_place_is_a_sector_or_a_size() {
        assert_eq!((place("8"), place("10G")), (Ok(4096), Ok(10 << 30)));
        assert!(place("ten").is_err() && place("99999999999999999999").is_err());
        assert!(place(&u64::MAX.to_string()).is_err());
    }

    #[test]
    fn a_timeout_of_zero_needs_no_unit() {
        let Verb::WaitSync { patience, .. } =
            parsed("blkrep wait-sync r0 --timeout 0").unwrap().verb
        else {
            panic!("another verb");
        };
        assert_eq!(patience.timeout, Some(Duration::ZERO));
    }
}
