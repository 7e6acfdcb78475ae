//! The options of `disk` and `options`, and what 8.3 had of them in `syncer`.

use super::super::notes::Severity::{Error, Warning};
use super::Fate::{Key, Lost, Moot, Only, Own as OwnWay};
use super::Form::{Flag, One};
use super::Section::{Disk, Net, Options, Syncer};
use super::{Own, Row, Table, Unit};

const fn key(name: &'static str, unit: Unit) -> Row {
    Row::new(Disk, name, One, Key(Table::Disk, name, unit))
}

const fn own(name: &'static str, own: Own) -> Row {
    Row::new(Disk, name, One, OwnWay(own))
}

const CONTROLLER: &str = "a resync yields to the application by itself";
const FLUSHES: &str = "blkrep always flushes the disks when it must; a controller whose cache \
                       outlives a power cut answers at once anyway";
const TRIM: &str = "TRIM is agreed on by both nodes, and leaves the same bytes on both";
const NODES: &str = "it is an option of more than two nodes";
const PROMOTION: &str = "opening the device promotes nothing; leave it to Pacemaker, or run \
                         `blkrep primary`";

pub(super) const DISK: &[Row] = &[
    Row::new(
        Disk,
        "size",
        One,
        Lost(
            "the device is as large as the smaller disk; make that smaller before `create-md` if \
              the size matters",
        ),
    ),
    key("on-io-error", Unit::Word),
    key("fencing", Unit::Word).also(&[(Net, "fencing")]),
    Row::new(Disk, "disk-barrier", Flag, Moot("flushes do the work of barriers")),
    Row::new(Disk, "disk-flushes", Flag, Only(&["yes"], Warning, FLUSHES)),
    Row::new(Disk, "disk-drain", Flag, Only(&["yes"], Warning, FLUSHES)),
    Row::new(Disk, "md-flushes", Flag, Only(&["yes"], Warning, FLUSHES)),
    Row::new(Disk, "max-bio-bvecs", One, Moot("the kernel cuts the requests as the disk wants")),
    Row::new(Disk, "use-bmbv", Flag, Moot("the kernel cuts the requests as the disk wants")),
    key("disk-timeout", Unit::Tenths),
    own("resync-rate", Own::ResyncRate).also(&[
        (Syncer, "rate"),
        (Disk, "rate"),
        (Syncer, "resync-rate"),
    ]),
    Row::new(
        Disk,
        "resync-after",
        One,
        Lost(
            "each resource is synced on its own; `blkrep \
                                              pause-sync` holds one",
        ),
    )
    .also(&[(Syncer, "after"), (Disk, "after"), (Syncer, "resync-after")]),
    key("al-extents", Unit::Count).also(&[(Syncer, "al-extents")]),
    Row::new(Disk, "al-updates", Flag, Only(&["yes"], Warning, "the activity log is always kept")),
    own("c-plan-ahead", Own::PlanAhead).also(&[(Syncer, "c-plan-ahead")]),
    Row::new(Disk, "c-delay-target", One, Moot(CONTROLLER)).also(&[(Syncer, "c-delay-target")]),
    Row::new(Disk, "c-fill-target", One, Moot(CONTROLLER)).also(&[(Syncer, "c-fill-target")]),
    own("c-max-rate", Own::MaxRate).also(&[(Syncer, "c-max-rate")]),
    own("c-min-rate", Own::MinRate).also(&[(Syncer, "c-min-rate")]),
    Row::new(
        Disk,
        "read-balancing",
        One,
        Only(&["prefer-local"], Warning, "reads come from the own disk as long as it is good"),
    ),
    Row::new(Disk, "discard-zeroes-if-aligned", Flag, Moot(TRIM)),
    Row::new(Disk, "disable-write-same", Flag, Moot("WRITE_SAME is not offered to clients")),
    Row::new(Disk, "rs-discard-granularity", One, Moot(TRIM)),
    Row::new(Disk, "block-size", One, Moot("the device has the block size that both disks can do")),
    Row::new(Disk, "discard-granularity", One, Moot(TRIM)),
    Row::new(Disk, "max-bio-size", One, Moot("large requests are cut where they must be")),
    Row::new(
        Disk,
        "bitmap",
        Flag,
        Only(&["yes"], Warning, "there is always a bitmap, and a disk on both nodes"),
    ),
    Row::new(
        Disk,
        "resync-without-replication",
        Flag,
        Only(&["no"], Warning, "it is an option of diskless nodes"),
    ),
    Row::new(Disk, "peer-tiebreaker", Flag, Only(&["no"], Warning, NODES)),
    Row::new(Disk, "delay-probe-volume", One, Moot(CONTROLLER))
        .also(&[(Syncer, "delay-probe-volume")]),
    Row::new(Disk, "delay-probe-interval", One, Moot(CONTROLLER))
        .also(&[(Syncer, "delay-probe-interval")]),
    Row::new(Disk, "throttle-threshold", One, Moot(CONTROLLER))
        .also(&[(Syncer, "throttle-threshold")]),
    Row::new(Disk, "hold-off-threshold", One, Moot(CONTROLLER))
        .also(&[(Syncer, "hold-off-threshold")]),
];

pub(super) const OPTIONS: &[Row] = &[
    Row::new(Options, "cpu-mask", One, Lost("set CPUAffinity= in the unit of systemd instead"))
        .also(&[(Syncer, "cpu-mask")]),
    Row::new(
        Options,
        "on-no-data-accessible",
        One,
        Key(Table::Disk, "on-no-data-accessible", Unit::Word),
    )
    .also(&[(Syncer, "on-no-data-accessible"), (Disk, "on-no-data-accessible")]),
    Row::new(Options, "auto-promote", Flag, Only(&["no"], Warning, PROMOTION)),
    Row::new(Options, "auto-promote-timeout", One, Moot(PROMOTION)),
    Row::new(
        Options,
        "quorum",
        One,
        Only(
            &["off"],
            Error,
            "two nodes have no quorum: keep them apart by `fencing \
              resource-and-stonith` and a `fence-peer` handler, and take the option out",
        ),
    ),
    Row::new(
        Options,
        "on-no-quorum",
        One,
        Lost(
            "two nodes have no quorum; `on-no-data-accessible` and `fencing` say when I/O is held",
        ),
    ),
    Row::new(Options, "quorum-minimum-redundancy", One, Only(&["off"], Warning, NODES)),
    Row::new(Options, "twopc-timeout", One, Moot(NODES)),
    Row::new(Options, "twopc-retry-timeout", One, Moot(NODES)),
    Row::new(Options, "peer-ack-window", One, Moot(NODES)),
    Row::new(Options, "peer-ack-delay", One, Moot(NODES)),
    Row::new(
        Options,
        "on-suspended-primary-outdated",
        One,
        Only(
            &["disconnect"],
            Warning,
            "an outdated Primary stays disconnected until it is demoted",
        ),
    ),
    Row::new(Options, "max-io-depth", One, Moot("`max-buffers` bounds what is in flight")),
    Row::new(
        Options,
        "drbd8-api-compatibility",
        Flag,
        Moot("the verbs and exit codes are those of 8.4"),
    ),
];
