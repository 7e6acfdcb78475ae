//! What happens in one round of random failures: a list of steps that follows from a seed alone.

use crate::network::Cut;
use crate::seeded::Seeded;

/// Most failures of one round.
const FAILURES_MAX: u64 = 3;
/// Most writes that are waited for between two steps.
const WRITES_MAX: u64 = 150;

/// A kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// SIGKILL of the Primary, which comes back.
    PrimaryKilled,
    /// SIGKILL of the Primary, and the Secondary is promoted in its place.
    PrimaryReplaced,
    /// SIGKILL of the Secondary.
    SecondaryKilled,
    /// SIGKILL of both.
    BothKilled,
    /// The link carries nothing.
    CutBoth,
    /// The link carries nothing to the first node.
    CutTowardsFirst,
    /// The link carries nothing to the second node.
    CutTowardsSecond,
    /// The link answers with resets.
    CutByReset,
    /// SIGSTOP of the Primary for a while.
    PrimaryStopped,
    /// SIGSTOP of the Secondary for a while.
    SecondaryStopped,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::PrimaryKilled,
        Self::PrimaryReplaced,
        Self::SecondaryKilled,
        Self::BothKilled,
        Self::CutBoth,
        Self::CutTowardsFirst,
        Self::CutTowardsSecond,
        Self::CutByReset,
        Self::PrimaryStopped,
        Self::SecondaryStopped,
    ];

    /// The first failure of the round of this seed. Successive seeds deal from one shuffled deck
    /// after the other, so that no kind is left to chance, and each seed still says its own card.
    #[must_use]
    pub fn dealt(seed: u64) -> Self {
        let cards = Self::ALL.len() as u64;
        let mut random = Seeded::new(seed / cards);
        let mut deck = Self::ALL;
        for at in (1..deck.len()).rev() {
            deck.swap(at, random.below(at as u64 + 1) as usize);
        }
        deck[(seed % cards) as usize]
    }

    /// How often each kind is dealt at least in so many rounds with successive seeds.
    #[must_use]
    pub const fn dealt_at_least(rounds: u64) -> u64 {
        let cards = Self::ALL.len() as u64;
        ((rounds + 1) / cards).saturating_sub(1)
    }
}

/// A node, by what it is when the step comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// The one that serves the device.
    Primary,
    /// The other one.
    Secondary,
}

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The daemon is killed (SIGKILL).
    Kill(Victim),
    /// Both daemons are killed.
    KillBoth,
    /// Every dead daemon is started; a Primary that died is Primary again.
    Return,
    /// The Secondary is promoted in the place of the dead Primary, if it has all data.
    TakeOver,
    /// The link is cut.
    Cut(Cut),
    /// The link is mended.
    Heal,
    /// The daemon stands still (SIGSTOP) for so many milliseconds.
    Stop(Victim, u64),
    /// The client writes so many times.
    Write(u64),
    /// So many milliseconds pass.
    Pause(u64),
}

/// What is broken between two steps. Invariant: a dead Primary is replaced at once, so it is never
/// dead here.
#[derive(Debug, Default)]
struct Broken {
    secondary_is_dead: bool,
    link_is_cut: bool,
}

impl Broken {
    const fn leaves_room_for(&self, kind: Kind) -> bool {
        match kind {
            Kind::PrimaryKilled | Kind::BothKilled | Kind::PrimaryStopped => true,
            Kind::PrimaryReplaced | Kind::SecondaryKilled | Kind::SecondaryStopped => {
                !self.secondary_is_dead
            }
            Kind::CutBoth | Kind::CutTowardsFirst | Kind::CutTowardsSecond | Kind::CutByReset => {
                !self.link_is_cut
            }
        }
    }
}

impl Step {
    /// The kind of failure that it is, if it is one. A successor is seen when it takes over.
    #[must_use]
    pub const fn kind(self) -> Option<Kind> {
        match self {
            Self::Kill(Victim::Primary) => Some(Kind::PrimaryKilled),
            Self::Kill(Victim::Secondary) => Some(Kind::SecondaryKilled),
            Self::KillBoth => Some(Kind::BothKilled),
            Self::TakeOver => Some(Kind::PrimaryReplaced),
            Self::Cut(Cut::Both) => Some(Kind::CutBoth),
            Self::Cut(Cut::TowardsFirst) => Some(Kind::CutTowardsFirst),
            Self::Cut(Cut::TowardsSecond) => Some(Kind::CutTowardsSecond),
            Self::Cut(Cut::Reset) => Some(Kind::CutByReset),
            Self::Stop(Victim::Primary, _) => Some(Kind::PrimaryStopped),
            Self::Stop(Victim::Secondary, _) => Some(Kind::SecondaryStopped),
            Self::Return | Self::Heal | Self::Write(_) | Self::Pause(_) => None,
        }
    }
}

/// The steps of the round of this seed. It begins and ends with two live daemons and a whole link.
/// `timeout_ms` is the timeout of the pair, in milliseconds: pauses are shorter and longer than it.
#[must_use]
pub fn plan(seed: u64, timeout_ms: u64) -> Vec<Step> {
    let mut random = Seeded::new(seed);
    let mut broken = Broken::default();
    let mut steps = Vec::new();
    for number in 0..=random.below(FAILURES_MAX) {
        steps.push(Step::Write(random.below(WRITES_MAX)));
        let kind = if number == 0 { Kind::dealt(seed) } else { any(&mut random, &broken) };
        steps.extend(fail(kind, &mut random, timeout_ms, &mut broken));
        match random.below(3) {
            0 => steps.push(Step::Pause(random.below(2 * timeout_ms))),
            1 => steps.push(Step::Write(random.below(WRITES_MAX))),
            _ => {}
        }
        if random.below(2) == 0 {
            steps.extend(repairs(&mut random, &mut broken));
        }
    }
    steps.extend(repairs(&mut random, &mut broken));
    steps
}

/// A kind of failure that can happen to what is not broken.
fn any(random: &mut Seeded, broken: &Broken) -> Kind {
    let possible: Vec<Kind> =
        Kind::ALL.into_iter().filter(|kind| broken.leaves_room_for(*kind)).collect();
    possible[random.below(possible.len() as u64) as usize]
}

fn fail(kind: Kind, random: &mut Seeded, timeout_ms: u64, broken: &mut Broken) -> Vec<Step> {
    let mut cut = |cut| {
        broken.link_is_cut = true;
        vec![Step::Cut(cut)]
    };
    match kind {
        Kind::PrimaryKilled => {
            broken.secondary_is_dead = false;
            vec![Step::Kill(Victim::Primary), Step::Return]
        }
        Kind::PrimaryReplaced => {
            // What was the Primary is the Secondary now, and still dead. It must not come back to a
            // link that is cut: it would not see that it has a successor.
            *broken = Broken { secondary_is_dead: true, link_is_cut: false };
            vec![Step::Kill(Victim::Primary), Step::Heal, Step::TakeOver]
        }
        Kind::SecondaryKilled => {
            broken.secondary_is_dead = true;
            vec![Step::Kill(Victim::Secondary)]
        }
        Kind::BothKilled => {
            broken.secondary_is_dead = false;
            vec![Step::KillBoth, Step::Return]
        }
        Kind::CutBoth => cut(Cut::Both),
        Kind::CutTowardsFirst => cut(Cut::TowardsFirst),
        Kind::CutTowardsSecond => cut(Cut::TowardsSecond),
        Kind::CutByReset => cut(Cut::Reset),
        Kind::PrimaryStopped => vec![Step::Stop(Victim::Primary, random.below(2 * timeout_ms))],
        Kind::SecondaryStopped => {
            vec![Step::Stop(Victim::Secondary, random.below(2 * timeout_ms))]
        }
    }
}

fn repairs(random: &mut Seeded, broken: &mut Broken) -> Vec<Step> {
    let was = std::mem::take(broken);
    let mut steps = Vec::new();
    steps.extend(was.secondary_is_dead.then_some(Step::Return));
    steps.extend(was.link_is_cut.then_some(Step::Heal));
    if random.below(2) == 0 {
        steps.reverse();
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_follows_from_its_seed() {
        assert_eq!(plan(7, 400), plan(7, 400));
        assert_ne!(plan(7, 400), plan(8, 400));
    }

    #[test]
    fn every_kind_is_dealt_in_any_fifty_rounds_and_comes_first() {
        assert_eq!(Kind::dealt_at_least(50), 4);
        for first in [0, 3, 1_000_019, u64::MAX / 2] {
            let rounds = || first..first + 50;
            for kind in Kind::ALL {
                let dealt = rounds().filter(|seed| Kind::dealt(*seed) == kind).count() as u64;
                assert!(dealt >= Kind::dealt_at_least(50), "{kind:?} in rounds from {first}");
            }
            for seed in rounds() {
                let kinds: Vec<Kind> = plan(seed, 400).into_iter().filter_map(Step::kind).collect();
                let dealt = Kind::dealt(seed);
                let first = if dealt == Kind::PrimaryReplaced { kinds[1] } else { kinds[0] };
                assert_eq!(first, dealt, "seed {seed}: {kinds:?}");
            }
        }
        let decks = |first: u64| (first..first + 10).map(Kind::dealt).collect::<Vec<Kind>>();
        assert_ne!(decks(0), decks(10), "every deck is shuffled anew");
    }

    #[test]
    fn what_is_broken_is_repaired_and_somebody_can_always_write() {
        for seed in 0..500 {
            let (mut dead, mut cut) = (0, false);
            for step in plan(seed, 400) {
                match step {
                    Step::Kill(_) => dead += 1,
                    Step::KillBoth => dead = 2,
                    Step::Return => dead = 0,
                    Step::TakeOver => assert!(dead == 1 && !cut, "seed {seed}"),
                    Step::Cut(_) => cut = true,
                    Step::Heal => cut = false,
                    Step::Stop(..) | Step::Write(_) | Step::Pause(_) => {
                        assert!(dead <= 1, "seed {seed}: nobody can write");
                    }
                }
            }
            assert!(dead == 0 && !cut, "seed {seed} leaves something broken");
        }
    }
}
