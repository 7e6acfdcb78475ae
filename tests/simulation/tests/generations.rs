//! The named schedules of generations, split brains and restored disks: each ends well, and badly
//! with every rule broken that it is about.

use replicator::event::Command;
use simulation::{Broken, GENERATION_SCENARIOS, World};

fn holds(name: &str) {
    let mut all = GENERATION_SCENARIOS.iter();
    let scenario = all.find(|scenario| scenario.name == name).expect("it is written");
    assert_eq!(scenario.play(None), Ok(()), "{name}");
    for mutation in scenario.catches {
        assert!(scenario.play(Some(*mutation)).is_err(), "{name} without {}", mutation.name());
    }
}

macro_rules! schedules {
    ($($name:ident;)+) => {
        $(
            #[test]
            fn $name() {
                holds(stringify!($name));
            }
        )+

        #[test]
        fn every_schedule_has_its_test() {
            let names = [$(stringify!($name)),+];
            assert!(GENERATION_SCENARIOS.iter().all(|scenario| names.contains(&scenario.name)));
        }
    };
}

schedules! {
    f5_a_write_in_the_handshake;
    f9_a_lost_confirmation_and_two_ways_on;
    f11_nobody_is_source_who_lost_power;
    f15_i_the_primary_is_restored;
    f15_i_the_primary_is_restored_within_a_session;
    f15_ii_a_former_primary_is_restored;
    f19a_a_torn_transaction_is_no_full_resync;
    f19b_one_copy_of_the_superblock_rots;
    f19c_a_crash_in_the_demotion;
    f20_both_lose_power_as_a_full_sync_begins;
    f22a_the_verdict_is_said_again;
    f22e_discard_without_a_split_brain_is_ignored;
    f22e_a_primary_shall_become_target;
    f22f_a_promotion_gives_bits_a_direction;
    r1_a_lost_start_and_two_ways_on;
    r1_ii_the_mark_outlives_the_daemon;
    r4_lost_power_is_remembered;
    r5_promoted_alone_before_it_met_the_survivor;
    r6_i_a_restored_node_that_went_on_is_a_split_brain;
    r6_ii_another_instance_is_judged_by_its_generations;
    r6_iii_iv_a_broken_handshake_is_no_older_copy;
    r6_attaches_do_not_hide_an_older_copy;
    r7_without_a_common_base_everything_is_copied;
    r8_a_second_crash_in_the_attach;
    r11_an_older_bitmap_is_noticed;
    r16_crash_bits_have_a_direction;
    r25_a_flush_in_the_handshake;
    d7_bits_of_a_lost_cache_are_never_dropped;
    split_brain_rounds;
    split_brain_is_told_on_both;
    after_sb_policies;
    differing_policies_are_refused;
    revert_older_data;
    resync_finish_lost;
    resync_missed_end_no_bits;
    lost_primary_after_no_writes;
}

/// An older copy meets its peer while one of them has no disk: nobody can judge it, and it does not
/// grow out of its age by that.
fn an_older_copy_is_noticed_after(meeting: impl Fn(&mut World)) {
    let mut world = World::calm_pair(9);
    world.take_copy(1);
    for _ in 0..2 {
        assert!(world.cut_and_wait());
        world.reconnect();
        assert!(world.gets_in_sync());
        world.run_for(100_000);
    }
    world.write(0, 16..24);
    world.flush(0);
    assert!(world.demote_and_wait(0));
    world.restore_copy(1);
    meeting(&mut world);
    assert!(world.gets_in_sync(), "{:?}", world.violation());
    assert!(world.coverage().of("restored copy noticed") > 0, "the older copy was not noticed");
}

#[test]
fn g8_an_older_copy_that_meets_a_peer_without_a_disk_is_noticed_later() {
    an_older_copy_is_noticed_after(|world| {
        world.ask(0, Command::Detach { force: true });
        for _ in 0..4 {
            assert!(world.bring_up_and_wait(1));
            world.run_for(1_000_000);
            world.kill_daemon(1);
        }
        world.ask(0, Command::Attach);
        world.bring_up(1);
    });
}

#[test]
fn g8_an_older_copy_that_is_attached_under_a_connection_is_noticed() {
    an_older_copy_is_noticed_after(|world| {
        for _ in 0..4 {
            world.break_disk(1, Broken::ALL);
            world.bring_up(1);
            world.run_for(1_000_000);
            world.break_disk(1, Broken::default());
            world.command(1, Command::Attach);
            world.run_for(3_000);
            world.kill_daemon(1);
        }
        world.bring_up(1);
    });
}
