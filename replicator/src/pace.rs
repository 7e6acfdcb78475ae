//! The pace of a resync: a cap, and the yielding to the application above a floor (DESIGN 5).
//!
//! Full speed while the application is idle. While it is busy the resync takes no more than the
//! floor, unless it loses ground: then it does not yield at all.

use crate::ids::Moment;
use crate::rate::Rate;
use std::time::Duration;

/// The application counts as busy for so long after it was seen.
const BUSY_FOR: Duration = Duration::from_millis(250);
/// A refusal is shown for so long after it has ended.
const SHOWN_FOR: Duration = Duration::from_millis(300);
/// The number of set bits is compared so often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What holds a resync back now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SyncLimit {
    /// The configured cap.
    Rate,
    /// It yields to the application.
    Application,
    /// The disk of the target.
    TargetDisk,
    /// The link.
    #[default]
    Link,
    /// The disk of the source.
    SourceDisk,
}

impl SyncLimit {
    const ALL: [Self; 5] =
        [Self::Rate, Self::Application, Self::TargetDisk, Self::Link, Self::SourceDisk];

    /// What status shows while a verify is held by `pause-sync`.
    pub const PAUSE_WORD: &str = "pause-sync";

    /// The word that status shows.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Application => "application",
            Self::TargetDisk => "target-disk",
            Self::Link => "link",
            Self::SourceDisk => "source-disk",
        }
    }

    /// Its number on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// From its number on the wire; a number that none has is none.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|limit| limit.code() == code)
    }
}

/// When the target may ask for more.
#[derive(Debug)]
pub(crate) struct Pace {
    cap: Option<Rate>,
    /// None: it never yields.
    floor: Option<Rate>,
    busy_until: Moment,
    looked: Moment,
    bits_then: u64,
    loses_ground: bool,
    /// What refused last, and until when that still says something.
    held_by: Option<(SyncLimit, Moment)>,
}

impl Pace {
    /// At most `cap` bytes per second; no more than `floor` while the application is busy, 0: never
    /// yields. `bits` are set now.
    pub(crate) fn new(cap: Option<u64>, floor: u64, bits: u64, now: Moment) -> Self {
        Self {
            cap: cap.map(|rate| Rate::new(rate, now)),
            floor: (floor > 0).then(|| Rate::new(floor, now)),
            busy_until: Moment::default(),
            looked: now,
            bits_then: bits,
            loses_ground: false,
            held_by: None,
        }
    }

    /// The application reads or writes.
    pub(crate) fn application_seen(&mut self, now: Moment) {
        self.busy_until = now.after(BUSY_FOR);
    }

    /// So many bits are set now: more than a while ago means that ground is lost.
    pub(crate) fn ground(&mut self, now: Moment, bits: u64) {
        if now.since(self.looked) >= LOOK_EVERY {
            self.loses_ground = bits > self.bits_then;
            self.looked = now;
            self.bits_then = bits;
        }
    }

    /// Lets `bytes` pass, or says when to ask again.
    pub(crate) fn take(&mut self, now: Moment, bytes: u64) -> Result<(), Moment> {
        let yields = now < self.busy_until && !self.loses_ground;
        if let Some(cap) = &mut self.cap
            && let Err(again) = cap.ready(now)
        {
            self.held_by = Some((SyncLimit::Rate, again.after(SHOWN_FOR)));
            return Err(again);
        }
        if yields
            && let Some(floor) = &mut self.floor
            && let Err(again) = floor.ready(now)
        {
            self.held_by = Some((SyncLimit::Application, again.after(SHOWN_FOR)));
            return Err(again.min(self.busy_until));
        }
        if let Some(cap) = &mut self.cap {
            cap.spend(bytes);
        }
        if let Some(floor) = self.floor.as_mut().filter(|_| yields) {
            floor.spend(bytes);
        }
        Ok(())
    }

    /// What refused of late.
    pub(crate) fn held_by(&self, now: Moment) -> Option<SyncLimit> {
        self.held_by.filter(|(_, until)| now < *until).map(|(limit, _)| limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: u64 = 128 << 10;

    /// Bytes that pass in one second from `from` on; the application acts every 10 ms if `busy`.
    fn passes(pace: &mut Pace, from: Moment, busy: bool, bits: u64) -> u64 {
        let (mut now, mut passed, mut seen) = (from, 0, from);
        while now < from.after(Duration::from_secs(1)) && passed < (1 << 30) {
            if busy && now >= seen {
                pace.application_seen(now);
                seen = now.after(Duration::from_millis(10));
            }
            pace.ground(now, bits);
            match pace.take(now, PIECE) {
                Ok(()) => passed += PIECE,
                Err(again) => now = again.min(seen.max(now.after(Duration::from_micros(1)))),
            }
        }
        passed
    }

    #[test]
    fn it_yields_to_the_application_and_never_below_the_floor() {
        let mut pace = Pace::new(None, 4 << 20, 100, Moment(0));
        assert_eq!(passes(&mut pace, Moment(1), false, 100), 1 << 30, "idle: full speed");
        let busy = passes(&mut pace, Moment(2_000_000), true, 100);
        assert!(busy.abs_diff(4 << 20) <= 8 * PIECE, "{busy} bytes beside the application");
        assert_eq!(pace.held_by(Moment(3_000_000)), Some(SyncLimit::Application));
        assert_eq!(passes(&mut pace, Moment(4_000_000), false, 100), 1 << 30, "idle again");
    }

    #[test]
    fn it_does_not_yield_while_it_loses_ground_and_the_cap_holds_always() {
        let mut pace = Pace::new(None, 1 << 20, 100, Moment(0));
        pace.application_seen(Moment(1_000_000));
        pace.ground(Moment(1_000_000), 101);
        assert_eq!(passes(&mut pace, Moment(1_000_001), true, 101), 1 << 30);
        let mut pace = Pace::new(Some(2 << 20), 1 << 20, 100, Moment(0));
        let capped = passes(&mut pace, Moment(1), false, 100);
        assert!(capped.abs_diff(2 << 20) <= 8 * PIECE, "{capped} bytes under the cap");
        assert_eq!(pace.held_by(Moment(1_000_000)), Some(SyncLimit::Rate));
        assert_eq!(pace.held_by(Moment(9_000_000)), None);
    }

    #[test]
    fn a_floor_of_zero_switches_the_yielding_off() {
        let mut pace = Pace::new(None, 0, 100, Moment(0));
        assert_eq!(passes(&mut pace, Moment(1), true, 100), 1 << 30);
    }

    #[test]
    fn every_limit_comes_back_from_its_number() {
        for limit in SyncLimit::ALL {
            assert_eq!(SyncLimit::from_code(limit.code()), Some(limit));
        }
        assert_eq!(SyncLimit::from_code(5), None);
    }
}
