//! What kind of world a seed gives: sizes, speeds and tempers, drawn anew for every run so that
//! rare mixtures happen.

use crate::geometry::Geometry;
use crate::metadata_disk::RESOURCE;
use crate::policies;
use crate::random::Random;
use metadata::layout::Placement;
use metadata::units::BLOCK_BYTES;
use replicator::event::Handler;
use replicator::ids::NodeIndex;
use replicator::settings::{
    ChecksumUse, DiskSettings, Fencing, Handlers, NetTimers, OnIoError, OnNoData, PeerWindow,
    Settings, SplitBrainPolicies, SyncSettings,
};
use std::time::Duration;

/// Runs with a device of more extents than the activity log has slots.
const WIDE_PERCENT: u64 = 30;
/// Runs in which the disks can grow.
const GROWING_PERCENT: u64 = 50;
/// What they grow by, in bytes: more than internal metadata take, and no whole number of blocks.
const SPARE_BYTES: u64 = 25 * 4096 + 512;

/// The temper of one run. Times are virtual.
#[derive(Debug, Clone)]
pub struct Profile {
    /// What of each disk is real.
    pub geometry: Geometry,
    /// Bytes at the end of the device that the disks have only when they have grown.
    pub spare_bytes: u64,
    /// Where the metadata lie, by host.
    pub placement: [Placement; 2],
    /// How long faults and commands come, in microseconds.
    pub chaos_us: u64,
    /// `on-io-error`.
    pub on_io_error: OnIoError,
    /// Longest pause between two acts of the operator, in microseconds.
    pub act_pause_us_max: u64,
    /// Longest pause of the client between two requests, in microseconds.
    pub client_pause_us_max: u64,
    /// Requests that the client has open at once.
    pub client_depth: usize,
    /// Longest data I/O, in microseconds.
    pub disk_us_max: u64,
    /// Longest metadata write, in microseconds.
    pub metadata_us_max: u64,
    /// Longest way through the network, in microseconds.
    pub delay_us_max: u64,
    /// Relative frequency of each act of the operator.
    pub act_weights: Vec<u64>,
    /// Zeroing is cheap, by host.
    pub zeroes_cheaply: [bool; 2],
    /// What a Primary without good data does with I/O.
    pub on_no_data: OnNoData,
    /// What a Primary does about a peer that it cannot see.
    pub fencing: Fencing,
    /// Longest run of a handler, in microseconds.
    pub handler_us_max: u64,
    /// An I/O that takes longer fails the disk.
    pub disk_timeout: Option<Duration>,
    /// Both nodes have a shared secret.
    pub secret: bool,
    /// Resync buffers of each node.
    pub sync_buffers: u32,
    /// Cap of the resync in bytes per second.
    pub sync_rate_max: Option<u64>,
    /// What the resync is left while the application is busy, in bytes per second.
    pub sync_rate_floor: u64,
    /// When a resync compares before it copies, by host.
    pub checksums: [ChecksumUse; 2],
    /// Which handlers are configured.
    pub handlers: Handlers,
    /// Data frames of each class that a node can hold.
    pub window_frames: u32,
    /// Clients keep what was not answered, and send it again.
    pub kernel_clients: bool,
    /// What is done about a split brain, by host.
    pub split_brain: [SplitBrainPolicies; 2],
}

impl Profile {
    /// The profile of a seed's run; `acts` is the number of different acts of the operator.
    #[must_use]
    pub fn draw(random: &mut Random, acts: usize) -> Self {
        let geometry = if random.chance(WIDE_PERCENT) {
            Geometry::wide(random.between(9, 11))
        } else {
            Geometry::solid([64, 256, 515, 1000][random.below(4) as usize])
        };
        let grows = random.chance(GROWING_PERCENT) && geometry.device_bytes() > 2 * SPARE_BYTES;
        let place = |random: &mut Random| {
            [Placement::External, Placement::Internal][random.below(2) as usize]
        };
        // A wide device is copied as a whole now and then: that must end in time.
        let speeds = if geometry.is_wide() { 2 } else { 3 };
        let act_weights = (0..acts).map(|_| [0, 1, 3, 10][random.below(4) as usize]).collect();
        Self {
            geometry,
            spare_bytes: if grows { SPARE_BYTES } else { 0 },
            placement: [place(random), place(random)],
            chaos_us: random.between(3, 15) * 1_000_000,
            act_pause_us_max: [100_000, 400_000, 1_500_000][random.below(3) as usize],
            client_pause_us_max: [4_000, 20_000, 80_000][random.below(3) as usize],
            client_depth: random.between(1, 6) as usize,
            disk_us_max: [300, 3_000, 60_000][random.below(speeds) as usize],
            metadata_us_max: [200, 2_000, 30_000][random.below(3) as usize],
            delay_us_max: [100, 2_000, 30_000][random.below(speeds) as usize],
            act_weights,
            zeroes_cheaply: [random.chance(60), random.chance(60)],
            on_no_data: [OnNoData::IoError, OnNoData::SuspendIo][random.below(2) as usize],
            fencing: [Fencing::DontCare, Fencing::ResourceOnly, Fencing::ResourceAndStonith]
                [random.below(4).min(2) as usize],
            handler_us_max: [2_000, 100_000, 1_500_000][random.below(3) as usize],
            disk_timeout: None,
            secret: random.chance(30),
            sync_buffers: random.between(1, 8) as u32,
            sync_rate_max: (random.chance(20) && speeds == 3).then_some(200_000),
            window_frames: random.between(1, 12) as u32,
            handlers: draw_handlers(random),
            sync_rate_floor: [0, 50_000, 1 << 20][random.below(3) as usize],
            on_io_error: [OnIoError::Detach, OnIoError::PassOn, OnIoError::CallLocalIoError]
                [random.below(3) as usize],
            checksums: [(); 2].map(|()| {
                [ChecksumUse::AfterCrash, ChecksumUse::Always, ChecksumUse::Never]
                    [random.below(3) as usize]
            }),
            kernel_clients: random.chance(60),
            split_brain: policies::draw(random),
        }
    }

    /// A calm world with small numbers, for schedules that are written by hand.
    #[must_use]
    pub fn calm() -> Self {
        Self {
            geometry: Geometry::solid(256),
            spare_bytes: 0,
            placement: [Placement::External; 2],
            chaos_us: 0,
            act_pause_us_max: 1_000_000,
            client_pause_us_max: 20_000,
            client_depth: 2,
            disk_us_max: 300,
            metadata_us_max: 200,
            delay_us_max: 100,
            act_weights: Vec::new(),
            zeroes_cheaply: [true; 2],
            on_io_error: OnIoError::Detach,
            on_no_data: OnNoData::IoError,
            fencing: Fencing::DontCare,
            handler_us_max: 2_000,
            disk_timeout: None,
            secret: false,
            sync_buffers: 4,
            sync_rate_max: None,
            window_frames: 8,
            handlers: Handlers::default().with(Handler::FencePeer).with(Handler::UnfencePeer),
            sync_rate_floor: 4 << 20,
            checksums: [ChecksumUse::AfterCrash; 2],
            kernel_clients: false,
            split_brain: [SplitBrainPolicies::default(); 2],
        }
    }

    /// The same with disks that can grow.
    #[must_use]
    pub fn growing(placement: [Placement; 2]) -> Self {
        let geometry = Geometry::solid(515);
        Self { geometry, spare_bytes: SPARE_BYTES, placement, ..Self::calm() }
    }

    /// Room for data on each disk before `spare_bytes` more are there, in bytes: the same on both,
    /// so that a node promoted before the two have met does not want more than the other one has.
    #[must_use]
    pub fn room_bytes(&self, spare_bytes: u64) -> u64 {
        let bytes = self.geometry.device_bytes() - spare_bytes;
        let whole = self.placement.contains(&Placement::Internal);
        if whole { bytes / BLOCK_BYTES * BLOCK_BYTES } else { bytes }
    }

    /// The configuration of one node.
    #[must_use]
    pub fn settings(&self, host: usize) -> Settings {
        let me = if host == 0 { NodeIndex::First } else { NodeIndex::Second };
        let node_names = ["alpha".into(), "beta".into()];
        Settings {
            secret: self.secret.then(|| b"a shared secret".to_vec()),
            net: NetTimers {
                timeout: Duration::from_millis(600),
                connect_int: Duration::from_millis(500),
                ping_int: Duration::from_millis(700),
                ping_timeout: Duration::from_millis(150),
                ko_count: 4,
            },
            window: PeerWindow { frames: [self.window_frames; 3], bare: self.window_frames },
            sync_buffers: self.sync_buffers,
            disk: DiskSettings {
                fencing: self.fencing,
                on_no_data: self.on_no_data,
                on_io_error: self.on_io_error,
                timeout: self.disk_timeout,
            },
            handlers: self.handlers,
            sync: SyncSettings {
                rate_max: self.sync_rate_max,
                rate_floor: self.sync_rate_floor,
                checksums: self.checksums[host],
            },
            split_brain: self.split_brain[host],
            ..Settings::new(RESOURCE.into(), me, node_names)
        }
    }
}

/// Those of fencing are there in most runs, the others in some.
fn draw_handlers(random: &mut Random) -> Handlers {
    let mut handlers = Handlers::default();
    if random.chance(90) {
        handlers = handlers.with(Handler::FencePeer).with(Handler::UnfencePeer);
    }
    let groups = [
        [Handler::BeforeResyncTarget, Handler::AfterResyncTarget],
        [Handler::SplitBrain, Handler::InitialSplitBrain],
        [Handler::PriLost, Handler::PriLostAfterSb],
        [Handler::LocalIoError, Handler::PriOnInconDegr],
    ];
    for group in groups {
        if random.chance(20) {
            handlers = group.into_iter().fold(handlers, Handlers::with);
        }
    }
    handlers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_gives_the_same_profile() {
        let draw = || format!("{:?}", Profile::draw(&mut Random::new(5), 10));
        assert_eq!(draw(), draw());
    }
}
