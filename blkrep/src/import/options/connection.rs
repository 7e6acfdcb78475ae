//! The options of `net`: timers, trust, split brain, checksums.

use super::super::notes::Severity::{Error, Warning};
use super::Fate::{Key, Lost, Moot, Only, Own as OwnWay};
use super::Form::{Flag, One};
use super::Section::{Net, Resource, Syncer};
use super::{Own, Row, Table, Unit};

const fn key(name: &'static str, unit: Unit) -> Row {
    Row::new(Net, name, One, Key(Table::Net, name, unit))
}

const fn own(name: &'static str, own: Own) -> Row {
    Row::new(Net, name, One, OwnWay(own))
}

const BUFFERS: &str = "the kernel sizes the sockets' buffers, `max-buffers` bounds data in flight";
const CONGESTION: &str = "it is an option of protocol A; a write waits for the peer";
const RDMA: &str = "the nodes speak TCP";

pub(super) const NET: &[Row] = &[
    own("protocol", Own::Protocol).also(&[(Resource, "protocol")]),
    key("timeout", Unit::Tenths),
    key("connect-int", Unit::Seconds),
    key("ping-int", Unit::Seconds),
    key("ping-timeout", Unit::Tenths),
    key("ko-count", Unit::Count),
    own("max-buffers", Own::MaxBuffers),
    Row::new(Net, "max-epoch-size", One, Moot("there are no epochs: flushes order the writes")),
    Row::new(Net, "unplug-watermark", One, Moot("the disks are not plugged")),
    Row::new(Net, "sndbuf-size", One, Moot(BUFFERS)),
    Row::new(Net, "rcvbuf-size", One, Moot(BUFFERS)),
    Row::new(Net, "socket-check-timeout", One, Moot("`ping-timeout` holds there too")),
    Row::new(Net, "tcp-cork", Flag, Moot("frames that wait are sent together anyway")),
    Row::new(
        Net,
        "allow-two-primaries",
        Flag,
        Only(&["no"], Error, "blkrep has one Primary; without a cluster file system take it out"),
    ),
    own("cram-hmac-alg", Own::SecretAlgorithm),
    own("shared-secret", Own::Secret),
    key("after-sb-0pri", Unit::Word),
    key("after-sb-1pri", Unit::Word),
    key("after-sb-2pri", Unit::Word),
    Row::new(Net, "always-asbp", Flag, Key(Table::Net, "always-asbp", Unit::Flag)),
    key("rr-conflict", Unit::Word),
    own_moot("data-integrity-alg", "every payload carries its crc32c, from socket to disk"),
    own_moot("verify-alg", "verify is always possible and compares checksums of its own")
        .also(&[(Syncer, "verify-alg")]),
    own("csums-alg", Own::Checksums).also(&[(Syncer, "csums-alg")]),
    Row::new(Net, "csums-after-crash-only", Flag, OwnWay(Own::ChecksumsAfterCrash)),
    Row::new(Net, "use-rle", Flag, Moot("how the bitmap travels is blkrep's affair"))
        .also(&[(Syncer, "use-rle")]),
    Row::new(
        Net,
        "on-congestion",
        One,
        Only(&["block"], Warning, "a write waits for the peer, as with `block`"),
    ),
    Row::new(Net, "congestion-fill", One, Moot(CONGESTION)),
    Row::new(Net, "congestion-extents", One, Moot(CONGESTION)),
    Row::new(Net, "discard-my-data", Flag, Lost("give it to `blkrep connect` when it is needed")),
    Row::new(Net, "transport", One, Only(&["tcp"], Warning, "the nodes speak TCP")),
    Row::new(
        Net,
        "load-balance-paths",
        Flag,
        Only(&["no"], Warning, "there is one connection; bond the links beneath it"),
    ),
    Row::new(
        Net,
        "tls",
        Flag,
        Only(
            &["no"],
            Error,
            "the link would no longer be encrypted; lay it into a tunnel (IPsec, \
              WireGuard) and take the option out",
        ),
    ),
    Row::new(Net, "tls-keyring", One, Lost("there is no TLS")),
    Row::new(Net, "tls-privkey", One, Lost("there is no TLS")),
    Row::new(Net, "tls-certificate", One, Lost("there is no TLS")),
    Row::new(
        Net,
        "allow-remote-read",
        Flag,
        Only(&["yes"], Warning, "a node without good data always reads from its peer"),
    ),
    Row::new(Net, "rdma-ctrl-rcvbuf-size", One, Moot(RDMA)),
    Row::new(Net, "rdma-ctrl-sndbuf-size", One, Moot(RDMA)),
    Row::new(Net, "_name", One, Moot("the nodes have their names from the sections of the hosts")),
];

const fn own_moot(name: &'static str, text: &'static str) -> Row {
    Row::new(Net, name, One, Moot(text))
}
