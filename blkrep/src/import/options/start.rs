//! The options of `global`, `startup` and `handlers`.

use super::super::notes::Severity::Warning;
use super::Fate::{Key, Lost, Moot, Only, Own as OwnWay};
use super::Form::{Flag, Many, One};
use super::Section::{Global, Handlers, Startup};
use super::{Own, Row, Table, Unit};

pub(super) const GLOBAL: &[Row] = &[
    Row::new(Global, "usage-count", One, Moot("blkrep never calls home")),
    Row::new(Global, "minor-count", One, Moot("devices are made when they are needed")),
    Row::new(Global, "dialog-refresh", One, Moot("no command of blkrep asks back")),
    Row::new(
        Global,
        "disable-ip-verification",
        Flag,
        Moot("a daemon whose address is not one of this host says so and does not start"),
    ),
    Row::new(
        Global,
        "udev-always-use-vnr",
        Flag,
        Moot("the link to the device is /dev/blkrep/by-res/RESOURCE/0 in every case"),
    ),
    Row::new(Global, "cmd-timeout-short", One, Moot(COMMANDS)),
    Row::new(Global, "cmd-timeout-medium", One, Moot(COMMANDS)),
    Row::new(Global, "cmd-timeout-long", One, Moot(COMMANDS)),
];
const COMMANDS: &str = "commands have bounds of their own; `--timeout` sets those of waits";

pub(super) const STARTUP: &[Row] = &[
    Row::new(Startup, "wfc-timeout", One, Key(Table::Startup, "wfc-timeout", Unit::Seconds)),
    Row::new(
        Startup,
        "degr-wfc-timeout",
        One,
        Key(Table::Startup, "degr-wfc-timeout", Unit::Seconds),
    ),
    Row::new(
        Startup,
        "outdated-wfc-timeout",
        One,
        Key(Table::Startup, "outdated-wfc-timeout", Unit::Seconds),
    ),
    Row::new(Startup, "wait-after-sb", Flag, Key(Table::Startup, "wait-after-sb", Unit::Flag)),
    Row::new(
        Startup,
        "become-primary-on",
        Many,
        Lost("no node is promoted at the start; leave it to Pacemaker, or run `blkrep primary`"),
    ),
    Row::new(
        Startup,
        "stacked-timeouts",
        Flag,
        Only(&["no"], Warning, "there are no stacked resources"),
    ),
];

const fn handler(name: &'static str) -> Row {
    Row::new(Handlers, name, One, OwnWay(Own::Handler))
}

pub(super) const HANDLERS: &[Row] = &[
    handler("fence-peer").also(&[(Handlers, "outdate-peer")]),
    handler("unfence-peer"),
    handler("split-brain"),
    handler("initial-split-brain"),
    handler("pri-lost"),
    handler("pri-lost-after-sb"),
    handler("pri-on-incon-degr"),
    handler("local-io-error"),
    handler("before-resync-target"),
    handler("after-resync-target"),
    handler("out-of-sync"),
    Row::new(
        Handlers,
        "before-resync-source",
        One,
        Lost("it is not run; `before-resync-target` runs on the other node"),
    ),
    Row::new(Handlers, "quorum-lost", One, Lost("it is not run: two nodes have no quorum")),
    Row::new(
        Handlers,
        "disconnected",
        One,
        Lost("it is not run; `fence-peer` is, and the log and the status name a lost peer"),
    ),
];
