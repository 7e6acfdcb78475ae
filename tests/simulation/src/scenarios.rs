//! Schedules written by hand for rules whose breaks random runs meet too rarely: the same functions
//! are played with sound engines, which must end well, and with a rule broken, which must not.

use crate::disk_scenarios;
use crate::fencing_scenarios;
use crate::profile::Profile;
use crate::resize_scenarios;
use crate::resync_scenarios;
use crate::rule_scenarios;
use crate::stall_scenarios;
use crate::suspension_scenarios;
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
    /// Prints what happens.
    tracing: bool,
}

/// All of them.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "f2a_a_stuck_write_keeps_new_connections_out",
        catches: &[Mutation::AdmitWhileBusy],
        play: rule_scenarios::a_stuck_write_keeps_new_connections_out,
    },
    Scenario {
        name: "f2b_late_bytes_are_not_read",
        catches: &[Mutation::OldConnectionReadOn],
        play: rule_scenarios::late_bytes_are_not_read,
    },
    Scenario {
        name: "f2d_a_promotion_waits_for_the_peers_writes",
        catches: &[Mutation::PromoteWhileBusy],
        play: rule_scenarios::a_promotion_waits_for_the_peers_writes,
    },
    Scenario {
        name: "d4_a_durable_part_is_not_a_durable_block",
        catches: &[Mutation::PartFlushClears],
        play: rule_scenarios::a_part_that_is_durable_does_not_make_the_block_so,
    },
    Scenario {
        name: "f10b_a_flush_covers_what_was_answered_before",
        catches: &[Mutation::EmptySetOnFlush],
        play: rule_scenarios::a_flush_covers_what_was_answered_before_it,
    },
    Scenario {
        name: "f7a_both_flush_before_an_extent_leaves",
        catches: &[Mutation::PeerFlushLeavesLog, Mutation::UnflushedLeavesLog],
        play: rule_scenarios::both_disks_flush_before_an_extent_leaves,
    },
    Scenario {
        name: "f8_a_generation_begins_on_a_flushed_disk",
        catches: &[Mutation::GenerationOnUnflushedDisk],
        play: rule_scenarios::a_generation_begins_on_a_flushed_disk,
    },
    Scenario {
        name: "f7c_a_resync_begins_on_a_flushed_source",
        catches: &[Mutation::SourceNotFlushed],
        play: rule_scenarios::a_resync_begins_on_a_flushed_source,
    },
    Scenario {
        name: "f9_a_lost_grant_costs_no_full_sync",
        catches: &[Mutation::RetireBeforeConfirm],
        play: rule_scenarios::a_lost_grant_costs_no_full_sync,
    },
    Scenario {
        name: "f9_each_of_the_four_last_messages_may_be_lost",
        catches: &[
            Mutation::LostStartCopiesAll,
            Mutation::RetireBeforeConfirm,
            Mutation::UnconfirmedIsInSync,
        ],
        play: rule_scenarios::the_end_survives_any_loss,
    },
    Scenario {
        name: "f11_the_survivor_is_source",
        catches: &[Mutation::LostPowerForgotten],
        play: rule_scenarios::the_survivor_is_source,
    },
    Scenario {
        name: "d8_a_crashed_primary_is_known_as_one",
        catches: &[Mutation::CrashForgotten],
        play: rule_scenarios::a_crashed_primary_is_known_as_one,
    },
    Scenario {
        name: "f5_a_write_waits_for_the_handshake",
        catches: &[Mutation::WriteDuringHandshake],
        play: rule_scenarios::a_write_waits_for_the_handshake,
    },
    Scenario {
        name: "d7_bits_count_when_identifiers_agree",
        catches: &[Mutation::BitsDoNotCount],
        play: rule_scenarios::bits_count_when_identifiers_agree,
    },
    Scenario {
        name: "d13_a_superblock_survives_a_torn_write",
        catches: &[Mutation::SuperblockCopiesAtOnce],
        play: rule_scenarios::a_superblock_survives_a_torn_write,
    },
    Scenario {
        name: "f8_a_promotion_alone_begins_a_generation",
        catches: &[Mutation::PromoteOnOldGeneration],
        play: rule_scenarios::a_promotion_alone_begins_a_generation,
    },
    Scenario {
        name: "f22b_crossing_promotions_end_in_one_primary",
        catches: &[Mutation::CrossingPromotionsGranted, Mutation::PromoteUnasked],
        play: rule_scenarios::crossing_promotions_end_in_one_primary,
    },
    Scenario {
        name: "d5_bits_are_durable_when_an_extent_leaves",
        catches: &[Mutation::BitsAfterEviction],
        play: rule_scenarios::bits_are_durable_when_an_extent_leaves,
    },
    Scenario {
        name: "f10d_equal_counts_as_a_write",
        catches: &[Mutation::EqualClearsAtOnce],
        play: resync_scenarios::equal_counts_as_a_write,
    },
    Scenario {
        name: "d7_a_comparison_does_not_count_when_the_target_was_written_to_meanwhile",
        catches: &[Mutation::StaleDigestCounts, Mutation::WindowOutlivesData],
        play: resync_scenarios::a_write_that_the_source_loses_while_it_compares,
    },
    Scenario {
        name: "f22g_a_source_does_not_leave_while_the_peer_gives_its_data_up",
        catches: &[Mutation::SourceMayLeave],
        play: resync_scenarios::a_source_does_not_leave,
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
        name: "r9_a_bit_set_while_connected_is_announced",
        catches: &[Mutation::NoNotice, Mutation::FoundBitsStayInMemory],
        play: resync_scenarios::a_bit_set_while_connected,
    },
    Scenario {
        name: "before_resync_target_forbids_a_resync",
        catches: &[Mutation::IgnoreBeforeTarget],
        play: resync_scenarios::before_resync_target,
    },
    Scenario {
        name: "f1_the_old_disk_of_a_diskless_primary_returns",
        catches: &[Mutation::HandOverWithoutGeneration],
        play: disk_scenarios::the_old_disk_returns,
    },
    Scenario {
        name: "f1_what_the_peer_writes_for_a_diskless_primary_is_in_its_log",
        catches: &[Mutation::FarKeeperSkipsLog],
        play: disk_scenarios::the_far_keeper_logs,
    },
    Scenario {
        name: "f1_a_disk_that_was_left_behind_is_not_promoted",
        catches: &[Mutation::LeftDiskStaysUpToDate],
        play: disk_scenarios::a_left_disk_is_not_promoted,
    },
    Scenario {
        name: "r3_nothing_is_answered_before_the_peer_has_taken_over",
        catches: &[Mutation::AnswerBeforeTakeOver],
        play: disk_scenarios::nothing_is_answered_before_the_take_over,
    },
    Scenario {
        name: "f12a_the_sole_copy_loses_power",
        catches: &[Mutation::SoleCopyAcknowledgesCached],
        play: disk_scenarios::the_sole_copy_loses_power,
    },
    Scenario {
        name: "f12b_a_diskless_primary_refuses_another_generation",
        catches: &[Mutation::ResumeOnAnotherGeneration],
        play: disk_scenarios::another_generation_is_refused,
    },
    Scenario {
        name: "f12c_a_target_alone_acknowledges_nothing",
        catches: &[Mutation::ServeStaleRead, Mutation::InconsistentGoesOnAlone],
        play: disk_scenarios::a_target_alone_acknowledges_nothing,
    },
    Scenario {
        name: "f4_a_bad_block_does_not_win",
        catches: &[Mutation::BadBlockStaysUpToDate],
        play: disk_scenarios::a_bad_block_does_not_win,
    },
    Scenario {
        name: "r20_the_confirmation_of_a_hand_over_is_lost",
        catches: &[Mutation::OnlyLastGenerationResumes],
        play: disk_scenarios::a_lost_confirmation,
    },
    Scenario {
        name: "r24_a_diskless_flush_ends",
        catches: &[Mutation::DisklessFlushNeedsOwnDisk],
        play: disk_scenarios::a_diskless_flush,
    },
    Scenario {
        name: "f2e_a_hung_disk_is_not_attached_before_its_write_has_returned",
        catches: &[Mutation::AttachUnderOldWrites],
        play: disk_scenarios::a_hung_disk_is_not_attached_early,
    },
    Scenario {
        name: "f10e_after_a_failed_flush_everything_unflushed_is_copied_again",
        catches: &[Mutation::FailedFlushCounts],
        play: disk_scenarios::a_failed_flush,
    },
    Scenario {
        name: "io_errors_with_exact_resync_sizes",
        catches: &[Mutation::ForgetUnflushedAtLoss],
        play: disk_scenarios::io_errors_with_exact_sizes,
    },
    Scenario {
        name: "d12_a_target_is_promoted_with_the_data_of_its_source",
        catches: &[Mutation::PeersDataDoNotCount],
        play: disk_scenarios::a_target_is_promoted,
    },
    Scenario {
        name: "suspend_io_holds_what_is_in_flight_and_what_comes",
        catches: &[Mutation::AnswerWhileFrozen],
        play: suspension_scenarios::suspend_io_holds_what_is_in_flight_and_what_comes,
    },
    Scenario {
        name: "suspend_io_begins_no_generation",
        catches: &[Mutation::RotateWhileFrozen],
        play: suspension_scenarios::suspend_io_begins_no_generation,
    },
    Scenario {
        name: "d8_a_demotion_ends_with_the_last_pair_of_flushes",
        catches: &[Mutation::QuietUnheard],
        play: suspension_scenarios::a_demotion_ends_with_the_last_pair,
    },
    Scenario {
        name: "d8_a_demotion_ends_without_its_disk",
        catches: &[Mutation::DemotionNeedsDisk],
        play: suspension_scenarios::a_demotion_ends_without_its_disk,
    },
    Scenario {
        name: "d2_what_is_held_back_is_not_answered_without_data",
        catches: &[Mutation::HeldAnswersOutliveData],
        play: suspension_scenarios::what_is_held_back_is_not_answered_without_data,
    },
    Scenario {
        name: "f14a_frozen_until_the_peer_is_back",
        catches: &[Mutation::FreezeAfterAnswering],
        play: fencing_scenarios::frozen_until_the_peer_is_back,
    },
    Scenario {
        name: "f14a_fenced_first_then_a_generation_then_the_answer",
        catches: &[Mutation::ThawOnOldGeneration],
        play: fencing_scenarios::fenced_first_then_a_generation_then_the_answer,
    },
    Scenario {
        name: "fencing_result_after_the_return_is_ignored",
        catches: &[Mutation::StaleFencingCounts],
        play: fencing_scenarios::a_result_after_the_return_is_ignored,
    },
    Scenario {
        name: "f13_unmarked_before_the_grant",
        catches: &[Mutation::PeerOutdatedClearedLate],
        play: fencing_scenarios::unmarked_before_the_grant,
    },
    Scenario {
        name: "r30_unmarked_before_a_handshake_makes_up_to_date",
        catches: &[Mutation::UpToDateBeforePeersMark],
        play: fencing_scenarios::unmarked_before_a_handshake_makes_up_to_date,
    },
    Scenario {
        name: "fencing_a_lone_start_is_consistent",
        catches: &[Mutation::FencedAlone],
        play: fencing_scenarios::a_lone_start_is_consistent,
    },
    Scenario {
        name: "r18iii_a_hung_disk_is_given_up",
        catches: &[Mutation::NoDiskTimeout],
        play: stall_scenarios::a_hung_disk_is_given_up,
    },
    Scenario {
        name: "r18i_a_given_up_disk_lets_the_peer_in",
        catches: &[Mutation::GivenUpDiskHoldsUp],
        play: stall_scenarios::a_given_up_disk_lets_the_peer_in,
    },
    Scenario {
        name: "f14b_nothing_is_answered_after_a_stall_before_the_peer",
        catches: &[Mutation::AnswerAfterStall],
        play: stall_scenarios::nothing_is_answered_after_a_stall_before_the_peer,
    },
    Scenario {
        name: "r14_a_restarted_primary_resumes",
        catches: &[Mutation::ResumeCountsAsPromotion, Mutation::LoneRestartWaits],
        play: stall_scenarios::a_restarted_primary_resumes,
    },
    Scenario {
        name: "f22d_a_restarted_primary_yields_to_who_came_after",
        catches: &[Mutation::ResumeWithoutConsent],
        play: stall_scenarios::a_restarted_primary_yields_to_who_came_after,
    },
    Scenario {
        name: "f2c_a_successor_waits_for_the_io_of_a_killed_daemon",
        catches: &[Mutation::DisksNotLocked],
        play: stall_scenarios::a_successor_waits_for_the_io_of_a_killed_daemon,
    },
    Scenario {
        name: "f3a_what_a_dead_primary_left_open_does_not_come_after_its_successor",
        catches: &[Mutation::OldDeviceAttached],
        play: stall_scenarios::what_a_dead_primary_left_open_does_not_come,
    },
    Scenario {
        name: "f3a_a_resume_under_fencing_yields_to_who_came_after",
        catches: &[Mutation::ResumePastThePeer],
        play: stall_scenarios::a_resume_under_fencing_yields_to_who_came_after,
    },
    Scenario {
        name: "resize_copies_the_new_part",
        catches: &[Mutation::ResizeWithoutBits],
        play: resize_scenarios::copies_the_new_part,
    },
    Scenario {
        name: "r26_nothing_is_written_above_before_both_have_committed",
        catches: &[Mutation::ResizeUnasked],
        play: resize_scenarios::waits_for_the_peers_commit,
    },
    Scenario {
        name: "f21_the_old_end_of_a_grown_disk_is_searched",
        catches: &[Mutation::ResizeOldEndLost],
        play: resize_scenarios::searches_the_old_end,
    },
    Scenario {
        name: "r26_a_lone_commit_is_taken_back",
        catches: &[Mutation::ResizeKeepsLarger],
        play: resize_scenarios::takes_a_lone_commit_back,
    },
    Scenario {
        name: "d20_a_size_taken_in_a_handshake_is_served_when_it_is_durable",
        catches: &[Mutation::SizeServedEarly],
        play: resize_scenarios::serves_a_taken_size_when_it_is_durable,
    },
    Scenario {
        name: "d20_the_size_is_remembered_without_a_disk",
        catches: &[Mutation::ResizeForgottenWithoutDisk],
        play: resize_scenarios::is_remembered_without_a_disk,
    },
    Scenario {
        name: "d20_no_resync_begins_while_the_device_grows",
        catches: &[Mutation::ResyncWhileGrowing],
        play: resize_scenarios::no_resync_begins_meanwhile,
    },
];

/// Every scenario of every list.
pub fn all_scenarios() -> impl Iterator<Item = &'static Scenario> {
    SCENARIOS
        .iter()
        .chain(crate::GENERATION_SCENARIOS)
        .chain(crate::SCHEDULE_SCENARIOS)
        .chain(crate::LOSS_SCENARIOS)
        .chain(crate::VERIFY_SCENARIOS)
}

/// The scenario of that name.
#[must_use]
pub fn scenario_named(name: &str) -> Option<&'static Scenario> {
    all_scenarios().find(|scenario| scenario.name == name)
}

/// The scenario that notices this broken rule, if one is written.
#[must_use]
pub fn scenario_of(mutation: Mutation) -> Option<&'static Scenario> {
    all_scenarios().find(|scenario| scenario.catches.contains(&mutation))
}

impl Scenario {
    /// Plays it; with `None` the engines are sound.
    ///
    /// # Errors
    /// What went wrong, a panic of the engine included (where panics unwind).
    pub fn play(&self, broken: Option<Mutation>) -> Ending {
        self.play_on(Stage { broken, tracing: false })
    }

    /// The same, and prints what happens in each of its worlds.
    ///
    /// # Errors
    /// As [`Self::play`].
    pub fn show(&self, broken: Option<Mutation>) -> Ending {
        self.play_on(Stage { broken, tracing: true })
    }

    fn play_on(&self, stage: Stage) -> Ending {
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

    /// A calm world whose two nodes were just created and have not met.
    #[must_use]
    pub fn new_pair(self, seed: u64) -> World {
        self.announce(seed);
        self.broken_in(World::new(seed, Some(Profile::calm()), self.tracing))
    }

    /// The same with a temper of its own.
    #[must_use]
    pub fn pair_of(self, seed: u64, profile: Profile) -> World {
        self.announce(seed);
        self.broken_in(World::pair_traced(seed, profile, self.tracing))
    }

    fn announce(self, seed: u64) {
        if self.tracing {
            println!("---- a world of seed {seed}");
        }
    }

    fn broken_in(self, mut world: World) -> World {
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

/// One test for each named scenario: it ends well with sound engines.
#[macro_export]
macro_rules! scenario_tests {
    ($($name:ident)+) => {
        $(
            #[test]
            fn $name() {
                let scenario =
                    $crate::scenario_named(stringify!($name)).expect("it is in the list");
                assert_eq!(scenario.play(None), Ok(()));
            }
        )+
    };
}
