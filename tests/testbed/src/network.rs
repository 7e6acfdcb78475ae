//! The link between the two nodes: loopback, or two network namespaces with a wire that can be cut.
//!
//! The namespaces have no names. Each lives as long as a process that does nothing else, and that
//! process dies with the test, so nothing is left behind whatever happens to the test.

use crate::program::{Server, run, tied};
use crate::skips::{find_tool, skip};
use crate::wait::wait_until;
use rustix::process::Pid;
use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The peer port. Each pair has addresses of its own, so all pairs may use the same.
const PEER_PORT: u16 = 7791;
/// Longest run of `ip` and `nft`.
const TOOL_MAX: Duration = Duration::from_secs(10);
/// The table with which the link is cut, in each namespace.
const TABLE: &str = "blkrep_cut";

/// Which kind of network a pair gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkKind {
    /// Two addresses of the loopback device: works everywhere, cannot be cut.
    Loopback,
    /// A namespace for each node: needs root and `ip`, `nft`, `nsenter`, `unshare`, `setpriv`.
    Separate,
}

/// How the link is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Nothing arrives on either side, and nobody is told: a pulled cable.
    Both,
    /// Nothing arrives at the first node; what it sends still arrives at the second.
    TowardsFirst,
    /// Nothing arrives at the second node; what it sends still arrives at the first.
    TowardsSecond,
    /// Every TCP segment is answered by a reset: a firewall that was reloaded.
    Reset,
}

/// The network of one pair. Node 0 is the first.
#[derive(Debug)]
pub enum Network {
    /// Two loopback addresses.
    Loopback([SocketAddr; 2]),
    /// The processes that hold the two namespaces.
    Separate([Server; 2]),
}

/// Makes the loopback addresses of the pairs of one process differ.
static PAIRS: AtomicU32 = AtomicU32::new(0);

impl Network {
    /// Two loopback addresses that nobody else listens on.
    ///
    /// # Panics
    /// When there are none.
    #[must_use]
    pub fn loopback() -> Self {
        let [low, high, ..] = std::process::id().to_le_bytes();
        for _ in 0..1000 {
            let number = PAIRS.fetch_add(1, Ordering::Relaxed).to_le_bytes();
            let host = number[0] & 0x7f;
            let address = |node: u8| {
                let third = low ^ high.rotate_left(4) ^ number[1];
                let ip = Ipv4Addr::new(127, 91, third, 2 * host + node);
                SocketAddr::new(IpAddr::V4(ip), PEER_PORT)
            };
            let addresses = [address(0), address(1)];
            if addresses.iter().all(|address| TcpListener::bind(address).is_ok()) {
                return Self::Loopback(addresses);
            }
        }
        panic!("no free loopback addresses in 127.91.0.0/16 at port {PEER_PORT}");
    }

    /// Two namespaces with a wire between them; a noted skip where the machine does not allow it.
    #[must_use]
    pub fn separate(scratch: &Path) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skip("needs root: two network namespaces");
            return None;
        }
        for tool in ["ip", "nft", "nsenter", "unshare", "setpriv", "sleep"] {
            if find_tool(tool).is_none() {
                skip(&format!("needs '{tool}' for two network namespaces"));
                return None;
            }
        }
        let log = scratch.join("network.log");
        let holders = [Holder::start(&log)?, Holder::start(&log)?];
        let network = Self::Separate(holders.map(|holder| holder.0));
        if let Err(reason) = network.wire() {
            skip(&format!("two network namespaces cannot be connected: {reason}"));
            return None;
        }
        Some(network)
    }

    /// Where a node listens for its peer.
    #[must_use]
    pub fn address(&self, node: usize) -> SocketAddr {
        match self {
            Self::Loopback(addresses) => addresses[node],
            Self::Separate(_) => SocketAddr::new(host(node), PEER_PORT),
        }
    }

    /// A command that runs `program` as `node` sees the network. Unix sockets are not affected.
    #[must_use]
    pub fn command(&self, node: usize, program: impl AsRef<OsStr>) -> Command {
        match self {
            Self::Loopback(_) => tied(program),
            Self::Separate(holders) => {
                let mut command = tied("nsenter");
                command.arg(net_of(holders[node].pid())).arg("--").arg(program);
                command
            }
        }
    }

    /// Cuts the link.
    ///
    /// # Panics
    /// On loopback, which cannot be cut, and when `nft` fails.
    pub fn cut(&self, cut: Cut) {
        let drop_all = "drop";
        let reset = "meta l4proto tcp reject with tcp reset";
        match cut {
            Cut::Both => (0..2).for_each(|node| self.refuse_input(node, drop_all)),
            Cut::TowardsFirst => self.refuse_input(0, drop_all),
            Cut::TowardsSecond => self.refuse_input(1, drop_all),
            Cut::Reset => (0..2).for_each(|node| self.refuse_input(node, reset)),
        }
    }

    /// Lets a process die without a word: nothing that ends a connection arrives any more, and all
    /// else does, until the link is healed.
    ///
    /// # Panics
    /// On loopback, and when `nft` fails.
    pub fn swallow_ends(&self) {
        (0..2).for_each(|node| self.refuse_input(node, "tcp flags & (fin | rst) != 0x0 drop"));
    }

    /// Mends the link, however it was cut.
    ///
    /// # Panics
    /// When `nft` fails.
    pub fn heal(&self) {
        for node in 0..2 {
            // Adding a table that is there changes nothing, so deleting cannot fail.
            self.nft(node, &format!("add table inet {TABLE}; delete table inet {TABLE}"));
        }
    }

    /// Lets no more than `kbit` thousand bits per second pass in each direction; false, with a
    /// noted skip, where the machine cannot.
    ///
    /// # Panics
    /// On loopback, which all pairs share.
    #[must_use]
    pub fn throttle(&self, kbit: u32) -> bool {
        assert!(matches!(self, Self::Separate(_)), "a loopback link cannot be throttled");
        if find_tool("tc").is_none() {
            skip("needs 'tc' for a slow link");
            return false;
        }
        let rate = format!("{kbit}kbit");
        (0..2).all(|node| {
            let mut command = self.command(node, "tc");
            command.args(["qdisc", "add", "dev", "wire", "root", "tbf", "rate", &rate]);
            let slowed = succeed(command.args(["burst", "64kb", "latency", "100ms"]));
            if let Err(reason) = &slowed {
                skip(&format!("the link cannot be made slow: {reason}"));
            }
            slowed.is_ok()
        })
    }

    fn refuse_input(&self, node: usize, verdict: &str) {
        let hook = "{ type filter hook input priority 0; policy accept; }";
        self.nft(
            node,
            &format!(
                "add table inet {TABLE}; add chain inet {TABLE} arriving {hook}; \
                 add rule inet {TABLE} arriving {verdict}"
            ),
        );
    }

    fn nft(&self, node: usize, script: &str) {
        assert!(matches!(self, Self::Separate(_)), "a loopback link cannot be cut");
        run(self.command(node, "nft").arg(script), TOOL_MAX).expect_success(script);
    }

    fn wire(&self) -> Result<(), String> {
        let Self::Separate(holders) = self else { return Ok(()) };
        let ends = holders.each_ref().map(|holder| holder.pid().as_raw_pid().to_string());
        let mut link = tied("ip");
        link.args(["link", "add", "wire", "netns", &ends[0], "type", "veth"]);
        link.args(["peer", "name", "wire", "netns", &ends[1]]);
        succeed(&mut link)?;
        for node in 0..2 {
            let address = format!("{}/24", host(node));
            for arguments in [
                &["addr", "add", &address, "dev", "wire"][..],
                &["link", "set", "wire", "up"],
                &["link", "set", "lo", "up"],
            ] {
                succeed(self.command(node, "ip").args(arguments))?;
            }
        }
        Ok(())
    }
}

fn succeed(command: &mut Command) -> Result<(), String> {
    let output = run(command, TOOL_MAX);
    if output.code == 0 { Ok(()) } else { Err(output.stderr) }
}

fn host(node: usize) -> IpAddr {
    IpAddr::V4(if node == 0 { Ipv4Addr::new(10, 91, 0, 1) } else { Ipv4Addr::new(10, 91, 0, 2) })
}

fn net_of(pid: Pid) -> String {
    format!("--net=/proc/{}/ns/net", pid.as_raw_pid())
}

/// A process that does nothing but hold a network namespace.
struct Holder(Server);

impl Holder {
    fn start(log: &Path) -> Option<Self> {
        let mut command = tied("unshare");
        command.args(["--net", "sleep", "infinity"]);
        let mut server = Server::start(command, log);
        let own = std::fs::read_link("/proc/self/ns/net").ok();
        let theirs = format!("/proc/{}/ns/net", server.pid().as_raw_pid());
        let moved = || std::fs::read_link(&theirs).is_ok_and(|ns| Some(ns) != own);
        wait_until("a network namespace", TOOL_MAX, || moved() || server.ended().is_some());
        if server.ended().is_some() {
            skip("the machine does not allow network namespaces");
            return None;
        }
        Some(Self(server))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn pairs_on_loopback_have_four_different_addresses() {
        let (first, second) = (Network::loopback(), Network::loopback());
        let mut addresses: Vec<SocketAddr> =
            [&first, &second].iter().flat_map(|pair| [pair.address(0), pair.address(1)]).collect();
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), 4, "{addresses:?}");
        assert!(addresses.iter().all(|address| address.ip().is_loopback()));
    }

    #[test]
    fn a_cut_link_carries_nothing_and_a_healed_one_does() {
        let scratch = Scratch::new();
        let Some(network) = Network::separate(scratch.path()) else { return };
        let server = "import socket; s = socket.create_server(('10.91.0.2', 7791));\n\
                      [s.accept() for _ in range(2)]";
        let client = "import socket; socket.create_connection(('10.91.0.2', 7791), 1)";
        let mut serve = network.command(1, "python3");
        let _server = {
            serve.args(["-c", server]);
            Server::start(serve, &scratch.path().join("server.log"))
        };
        let connects = || {
            let mut command = network.command(0, "python3");
            run(command.args(["-c", client]), TOOL_MAX).code == 0
        };
        wait_until("the link carries a connection", TOOL_MAX, connects);
        for cut in [Cut::Both, Cut::TowardsFirst, Cut::TowardsSecond, Cut::Reset] {
            network.cut(cut);
            assert!(!connects(), "{cut:?}");
            network.heal();
        }
        assert!(connects());
    }
}
