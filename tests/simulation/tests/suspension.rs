//! Frozen I/O, hung disks, stalls and resumed Primaries (G4, G5, D15, D19).

use replicator::event::Command;
use replicator::state::{ConnectionState, Role};
use simulation::{Profile, World, scenario_tests};

scenario_tests! {
    d8_a_demotion_ends_without_its_disk
    d8_a_demotion_ends_with_the_last_pair_of_flushes
    d2_what_is_held_back_is_not_answered_without_data
    suspend_io_holds_what_is_in_flight_and_what_comes
    suspend_io_begins_no_generation
    f14b_nothing_is_answered_after_a_stall_before_the_peer
    f22d_a_restarted_primary_yields_to_who_came_after
    r14_a_restarted_primary_resumes
    f2c_a_successor_waits_for_the_io_of_a_killed_daemon
    f3a_what_a_dead_primary_left_open_does_not_come_after_its_successor
    r18i_a_given_up_disk_lets_the_peer_in
    r18iii_a_hung_disk_is_given_up
}

#[test]
fn a_stopped_peer_stalls_the_primary_no_longer_than_configured() {
    let profile = Profile::calm();
    let net = profile.settings(0).net;
    let limit_us = (net.timeout * 2 + net.ping_timeout).as_micros() as u64;
    let mut world = World::pair_of(3, profile);
    world.stop_process(1, true);
    world.begin_write(0, 16..24);
    world.begin_flush(0);
    world.run_for(limit_us);
    assert_eq!(world.client_waits_for(0), 0, "the Primary still waits for a peer that hangs");
    world.stop_process(1, false);
    assert!(world.gets_in_sync(), "{:?}", world.violation());
}

#[test]
fn ko_count_counts_pieces_from_when_each_was_sent() {
    // The peer's disk answers nothing for less than ko-count x timeout, again and again: each piece
    // is done in time, all of them together are not.
    let profile = Profile::calm();
    let net = profile.settings(0).net;
    let nearly_us = (net.timeout * net.ko_count).as_micros() as u64 * 3 / 4;
    let mut world = World::pair_of(4, profile);
    for round in 0..4 {
        world.stick_writes(1, true);
        world.begin_write(0, round * 8..round * 8 + 8);
        world.run_for(nearly_us);
        world.stick_writes(1, false);
        assert!(world.wait_for_client(0));
        let connection = world.status(0).map(|status| status.connection);
        assert_eq!(connection, Some(ConnectionState::Connected), "round {round}");
    }
    world.stick_writes(1, true);
    world.begin_write(0, 0..8);
    world.run_for(2 * nearly_us);
    assert_eq!(world.client_waits_for(0), 0, "one piece that is not done drops the peer");
    world.stick_writes(1, false);
    assert!(world.gets_in_sync(), "{:?}", world.violation());
}

#[test]
fn a_suspended_primary_is_not_demoted() {
    let mut world = World::calm_pair(5);
    world.ask(0, Command::SuspendIo);
    assert!(!world.demote_and_wait(0), "demoted while its I/O is frozen");
    world.ask(0, Command::ResumeIo);
    assert!(world.demote_and_wait(0));
    assert_eq!(world.status(0).map(|status| status.role), Some(Role::Secondary));
    assert_eq!(world.violation(), None);
}

/// A write is done on both disks, and its answer is held.
fn write_and_hold(world: &mut World) {
    world.stick_writes(0, true);
    world.begin_write(0, 16..24);
    world.run_for(10_000);
    world.ask(0, Command::SuspendIo);
    world.stick_writes(0, false);
    world.run_for(10_000);
    assert_eq!(world.client_waits_for(0), 1, "not held");
}

#[test]
fn a_held_answer_is_an_error_when_both_disks_are_gone_meanwhile() {
    let mut world = World::calm_pair(6);
    write_and_hold(&mut world);
    assert!(world.cut_and_wait());
    world.ask(0, Command::Detach { force: true });
    world.ask(0, Command::ResumeIo);
    assert!(world.wait_for_client(0));
    assert_eq!((world.client_errors(), world.violation()), (1, None));
}

#[test]
fn a_held_answer_waits_for_the_hand_over_when_the_own_disk_is_gone_meanwhile() {
    let mut world = World::calm_pair(7);
    write_and_hold(&mut world);
    // The take-over cannot end while the peer cannot flush.
    world.stick_flushes(1, true);
    world.ask(0, Command::Detach { force: true });
    world.ask(0, Command::ResumeIo);
    world.run_for(100_000);
    assert_eq!(world.client_waits_for(0), 1, "answered before the peer has taken over");
    world.stick_flushes(1, false);
    assert!(world.wait_for_client(0));
    assert_eq!((world.client_errors(), world.violation()), (0, None));
}

#[test]
fn a_held_read_is_good_although_both_disks_are_gone_meanwhile() {
    let mut world = World::calm_pair(8);
    world.begin_read(0, 16..24);
    world.ask(0, Command::SuspendIo);
    world.run_for(10_000);
    assert_eq!(world.client_waits_for(0), 1, "not held");
    assert!(world.cut_and_wait());
    world.ask(0, Command::Detach { force: true });
    world.ask(0, Command::ResumeIo);
    assert!(world.wait_for_client(0));
    assert_eq!((world.client_errors(), world.violation()), (0, None));
}
