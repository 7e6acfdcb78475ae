//! The fixed table of the engine's deadlines.

use crate::ids::Moment;

/// What a deadline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timer {
    /// Dial the peer (again).
    Dial,
    /// A handshake takes too long.
    Handshake,
    /// Ping, or give the peer up.
    Alive,
    /// A promotion waits no longer.
    RoleChange,
    /// Start a pair of flushes unasked.
    Flush,
    /// The resync may go on.
    SyncRate,
    /// A connection that this node has dropped itself does not come back.
    Reconnect,
    /// The peer was expected back, and is fenced now.
    Fence,
    /// The peer has not marked its disk Outdated in time.
    Parting,
    /// A resumed Primary waits for its peer no longer.
    Resume,
    /// An I/O of the disk takes too long.
    Disk,
    /// The ping after a stall is not answered.
    Stall,
    /// A moment near enough to notice a stall by.
    Watch,
    /// A resize takes too long: clients wait for it.
    Resize,
}

const ALL: [Timer; 14] = [
    Timer::Dial,
    Timer::Handshake,
    Timer::Alive,
    Timer::RoleChange,
    Timer::Flush,
    Timer::SyncRate,
    Timer::Reconnect,
    Timer::Fence,
    Timer::Parting,
    Timer::Resume,
    Timer::Disk,
    Timer::Stall,
    Timer::Watch,
    Timer::Resize,
];

/// At most one deadline for each purpose.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    deadlines: [Option<Moment>; ALL.len()],
}

impl Timers {
    pub(crate) fn set(&mut self, timer: Timer, at: Moment) {
        self.deadlines[timer as usize] = Some(at);
    }

    /// Sets it unless it is set already.
    pub(crate) fn set_once(&mut self, timer: Timer, at: Moment) {
        self.deadlines[timer as usize].get_or_insert(at);
    }

    pub(crate) fn stop(&mut self, timer: Timer) {
        self.deadlines[timer as usize] = None;
    }

    pub(crate) const fn deadline(&self, timer: Timer) -> Option<Moment> {
        self.deadlines[timer as usize]
    }

    /// Takes a deadline that has come out of the table.
    pub(crate) fn next_due(&mut self, now: Moment) -> Option<Timer> {
        let due = ALL
            .into_iter()
            .filter(|timer| self.deadlines[*timer as usize].is_some_and(|at| at <= now))
            .min_by_key(|timer| self.deadlines[*timer as usize])?;
        self.stop(due);
        Some(due)
    }

    pub(crate) fn next_deadline(&self) -> Option<Moment> {
        self.deadlines.iter().flatten().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_come_due_in_order_and_once() {
        let mut timers = Timers::default();
        timers.set(Timer::Flush, Moment(20));
        timers.set(Timer::Dial, Moment(10));
        timers.set_once(Timer::Dial, Moment(5));
        assert_eq!(timers.next_deadline(), Some(Moment(10)));
        assert_eq!(timers.next_due(Moment(9)), None);
        assert_eq!(timers.next_due(Moment(30)), Some(Timer::Dial));
        assert_eq!(timers.next_due(Moment(30)), Some(Timer::Flush));
        assert_eq!(timers.next_due(Moment(30)), None);
    }
}
