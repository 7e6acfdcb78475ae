//! What happens in one round of random failures: a list of steps that follows from a seed alone.

use crate::network::Cut;
use crate::seeded::Seeded;

/// Most failures of one round.
const FAILURES_MAX: u64 = 3;
/// Most writes that are waited for between two steps.
const WRITES_MAX: u64 = 150;

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

/// The steps of one round. It begins and ends with two live daemons and a whole link. `timeout_ms`
/// is the timeout of the pair, in milliseconds: pauses are shorter and longer than it.
#[must_use]
pub fn plan(random: &mut Seeded, timeout_ms: u64) -> Vec<Step> {
    let mut broken = Broken::default();
    let mut steps = Vec::new();
    for _ in 0..=random.below(FAILURES_MAX) {
        steps.push(Step::Write(random.below(WRITES_MAX)));
        steps.extend(fail(random, timeout_ms, &mut broken));
        match random.below(3) {
            0 => steps.push(Step::Pause(random.below(2 * timeout_ms))),
            1 => steps.push(Step::Write(random.below(WRITES_MAX))),
            _ => {}
        }
        if random.below(2) == 0 {
            steps.extend(repairs(random, &mut broken));
        }
    }
    steps.extend(repairs(random, &mut broken));
    steps
}

fn fail(random: &mut Seeded, timeout_ms: u64, broken: &mut Broken) -> Vec<Step> {
    loop {
        match random.below(9) {
            0 | 1 => return primary_dies(random, broken),
            2 | 3 if !broken.secondary_is_dead => {
                broken.secondary_is_dead = true;
                return vec![Step::Kill(Victim::Secondary)];
            }
            4 => {
                broken.secondary_is_dead = false;
                return vec![Step::KillBoth, Step::Return];
            }
            5 | 6 if !broken.link_is_cut => {
                broken.link_is_cut = true;
                let cuts = [Cut::Both, Cut::TowardsFirst, Cut::TowardsSecond, Cut::Reset];
                return vec![Step::Cut(cuts[random.below(4) as usize])];
            }
            7 => return vec![Step::Stop(Victim::Primary, random.below(2 * timeout_ms))],
            8 if !broken.secondary_is_dead => {
                return vec![Step::Stop(Victim::Secondary, random.below(2 * timeout_ms))];
            }
            _ => {}
        }
    }
}

fn primary_dies(random: &mut Seeded, broken: &mut Broken) -> Vec<Step> {
    let kill = Step::Kill(Victim::Primary);
    if broken.secondary_is_dead || random.below(2) == 0 {
        broken.secondary_is_dead = false;
        return vec![kill, Step::Return];
    }
    // What was the Primary is the Secondary now, and still dead. It must not come back to a link
    // that is cut: it would not see that it has a successor.
    broken.secondary_is_dead = true;
    broken.link_is_cut = false;
    vec![kill, Step::Heal, Step::TakeOver]
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
        let planned = |seed| plan(&mut Seeded::new(seed), 400);
        assert_eq!(planned(7), planned(7));
        assert_ne!(planned(7), planned(8));
    }

    #[test]
    fn every_kind_of_failure_comes_up_and_what_is_broken_is_repaired() {
        let mut seen = [0; 9];
        for seed in 0..500 {
            let (mut dead, mut cut) = (0, false);
            for step in plan(&mut Seeded::new(seed), 400) {
                let kind = match step {
                    Step::Kill(_) => 0,
                    Step::KillBoth => 1,
                    Step::Return => 2,
                    Step::TakeOver => 3,
                    Step::Cut(_) => 4,
                    Step::Heal => 5,
                    Step::Stop(..) => 6,
                    Step::Write(_) => 7,
                    Step::Pause(_) => 8,
                };
                seen[kind] += 1;
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
        assert!(seen.iter().all(|&times| times > 20), "{seen:?}");
    }
}
