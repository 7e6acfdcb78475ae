//! Schedules written by hand for rules whose breaks random runs meet too rarely: the same functions
//! are played with sound engines, which must end well, and with a rule broken, which must not.

use crate::profile::Profile;
use crate::resync_scenarios;
use crate::world::World;
use replicator::mutation::Mutation;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Fine, or what went wrong.
pub type Ending = Result<(), String>;

/// A schedule, and the broken rules that it notices.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Its name: the number of the schedule first, if it has one.
    pub name: &'static str,
    /// Ends badly with each of these.
    pub catches: &'static [Mutation],
    /// The steps.
    pub(crate) play: fn(Stage) -> Ending,
}

/// Where a scenario gets its worlds from.
#[derive(Debug, Clone, Copy)]
pub struct Stage {
    broken: Option<Mutation>,
}

/// All of them.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "f10d_equal_counts_as_a_write",
        catches: &[Mutation::EqualClearsAtOnce],
        play: resync_scenarios::equal_counts_as_a_write,
    },
    Scenario {
        name: "f16_a_pause_acts_before_the_grant",
        catches: &[Mutation::ThrottleAfterGrant],
        play: resync_scenarios::a_pause_acts_before_the_grant,
    },
    Scenario {
        name: "f18_a_zeroing_larger_than_the_log_is_executed_in_pieces",
        catches: &[Mutation::ZeroLargerThanLog],
        play: resync_scenarios::a_zeroing_larger_than_the_log,
    },
    Scenario {
        name: "r29_much_more_unflushed_than_the_soft_limit_makes_writes_wait",
        catches: &[Mutation::NoHardLimit],
        play: resync_scenarios::the_hard_limit,
    },
    Scenario {
        name: "r17_what_the_source_cannot_read_ends_the_resync_as_incomplete",
        catches: &[Mutation::GrantDespiteBits],
        play: resync_scenarios::an_unreadable_block,
    },
    Scenario {
        name: "before_resync_target_forbids_a_resync",
        catches: &[Mutation::IgnoreBeforeTarget],
        play: resync_scenarios::before_resync_target,
    },
];

/// The scenario that notices this broken rule, if one is written.
#[must_use]
pub fn scenario_of(mutation: Mutation) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.catches.contains(&mutation))
}

impl Scenario {
    /// Plays it; with `None` the engines are sound.
    ///
    /// # Errors
    /// What went wrong, a panic of the engine included (where panics unwind).
    pub fn play(&self, broken: Option<Mutation>) -> Ending {
        let stage = Stage { broken };
        catch_unwind(AssertUnwindSafe(|| (self.play)(stage)))
            .unwrap_or_else(|panic| Err(crate::run::words_of(&*panic)))
    }
}

impl Stage {
    /// A calm world in which node 0 is Primary and both are in sync; from now on the rule is
    /// broken.
    #[must_use]
    pub fn calm_pair(self, seed: u64) -> World {
        self.pair_of(seed, Profile::calm())
    }

    /// The same with a temper of its own.
    #[must_use]
    pub fn pair_of(self, seed: u64, profile: Profile) -> World {
        let mut world = World::pair_of(seed, profile);
        if let Some(mutation) = self.broken {
            world.break_rule(mutation);
        }
        world
    }
}

/// Fails with the broken promise of a world, if there is one.
///
/// # Errors
/// The first rule that was broken.
pub fn well(world: &World) -> Ending {
    world.violation().map_or(Ok(()), |why| Err(why.to_owned()))
}

/// Fails with these words unless `held`, or with the promise that was broken before.
///
/// # Errors
/// What was broken.
pub fn ensure(world: &World, held: bool, otherwise: &str) -> Ending {
    well(world)?;
    if held { Ok(()) } else { Err(otherwise.to_owned()) }
}
