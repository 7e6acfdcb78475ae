//! `[disk]` and `[sync]`: what is done about failing disks, missing peers and missing data, and how
//! a resync goes.

use super::super::error::{ConfigError, Problem};
use super::super::section::Section;
use super::super::units::write_size;
use super::super::words;
use super::device;
use metadata::LogGeometry;
use metadata::layout::{LOG_SLOTS_MAX, LOG_SLOTS_MIN};
use replicator::settings::{DiskSettings, SyncSettings};
use std::time::Duration;

pub(in super::super) const DISK_KEYS: [&str; 6] = [
    "on-io-error",
    "fencing",
    "on-no-data-accessible",
    "disk-timeout",
    "al-extents",
    device::TIMEOUT_KEY,
];
pub(in super::super) const SYNC_KEYS: [&str; 3] = ["rate", "min-rate", "checksums"];
/// Smallest rates, in bytes per second: one block.
const RATE_MIN: u64 = 4096;
/// Shortest `disk-timeout` that is not "never": DRBD's unit of a tenth of a second.
const DISK_TIMEOUT_MIN: Duration = Duration::from_millis(100);
/// Longest `disk-timeout` (drbd-facts 5.4: 6000 tenths of a second).
const DISK_TIMEOUT_MAX: Duration = Duration::from_secs(600);

/// `[disk]`: the table itself, the policies, and the size of the log that `create-md` makes.
pub(super) fn disk<'a>(
    top: &Section<'a>,
) -> Result<(Section<'a>, DiskSettings, LogGeometry), ConfigError> {
    let disk = top.open("disk", &DISK_KEYS)?;
    let default = DiskSettings::default();
    let on_io_error = disk.choice("on-io-error", &words::ON_IO_ERROR)?;
    let fencing = disk.choice("fencing", &words::FENCING)?;
    let on_no_data = disk.choice("on-no-data-accessible", &words::ON_NO_DATA)?;
    let expected = "\"0s\" (never), or 100ms to 600s";
    let timeout = disk.time("disk-timeout", Duration::ZERO..=DISK_TIMEOUT_MAX, expected)?;
    if let Some(found) = &timeout
        && !found.value.is_zero()
        && found.value < DISK_TIMEOUT_MIN
    {
        let written = format!("{} ms", found.value.as_millis());
        return Err(disk.bad("disk-timeout", found.line, &written, expected));
    }
    let slots = disk.count("al-extents", LOG_SLOTS_MIN.into()..=LOG_SLOTS_MAX.into())?;
    let log = slots.map_or(LogGeometry::default(), |found| {
        let slots = u16::try_from(found.value).expect("invariant: the range is one of u16");
        LogGeometry::new(slots).expect("invariant: the range was checked")
    });
    let settings = DiskSettings {
        on_io_error: on_io_error.map_or(default.on_io_error, |found| found.value),
        fencing: fencing.map_or(default.fencing, |found| found.value),
        on_no_data: on_no_data.map_or(default.on_no_data, |found| found.value),
        timeout: timeout.map(|found| found.value).filter(|time| !time.is_zero()),
    };
    Ok((disk, settings, log))
}

/// `[sync]`. A cap below the default floor lowers the floor with it.
pub(super) fn sync(top: &Section<'_>) -> Result<SyncSettings, ConfigError> {
    let sync = top.open("sync", &SYNC_KEYS)?;
    let default = SyncSettings::default();
    let words = "per second, at least 4K";
    let rate = sync.size("rate", RATE_MIN..=u64::MAX, words)?;
    let floor = sync.size("min-rate", RATE_MIN..=u64::MAX, words)?;
    let checksums = sync.choice("checksums", &words::CHECKSUMS)?;
    let rate_max = rate.map(|found| found.value);
    if let (Some(floor), Some(cap)) = (&floor, rate_max)
        && floor.value > cap
    {
        let problem =
            Problem::RateOrder { min_rate: write_size(floor.value), rate: write_size(cap) };
        return Err(sync.error(floor.line, problem));
    }
    let floor_default = default.rate_floor.min(rate_max.unwrap_or(u64::MAX));
    Ok(SyncSettings {
        rate_max,
        rate_floor: floor.map_or(floor_default, |found| found.value),
        checksums: checksums.map_or(default.checksums, |found| found.value),
    })
}
