//! Named schedules of verify and repair, with sound engines; and what is refused.

use replicator::event::{Answer, Command, RefusalClass, RepairFrom};
use replicator::state::ReplicationState;
use simulation::{Geometry, Profile, World, scenario_tests};

scenario_tests! {
    verify_finds_what_was_damaged
    verify_reports_no_write_that_is_under_way
    verify_is_done_when_both_have_its_marks
    verify_ends_when_its_follower_is_promoted
    repair_copies_what_is_marked_from_the_primary
    repair_copies_from_the_node_that_is_named
}

const VERIFY: Command = Command::Verify { start_bytes: 0, stop_bytes: None, repair: false };
const LONG_US: u64 = 20_000_000;

fn refusal(answer: Option<Answer>) -> Option<(RefusalClass, String)> {
    match answer {
        Some(Answer::Refused(refusal)) => Some((refusal.class, refusal.text)),
        Some(Answer::Done | Answer::Status(_)) | None => None,
    }
}

fn expect_refused(
    world: &mut World,
    host: usize,
    command: Command,
    class: RefusalClass,
    why: &str,
) {
    let answer = world.ask(host, command);
    let said = format!("{answer:?}");
    let (found, text) = refusal(answer).unwrap_or_else(|| panic!("{command:?}: {said}"));
    assert_eq!(found, class, "{text}");
    assert!(text.contains(why), "{why:?} is not in {text:?}");
}

/// A verify takes long enough to look at it.
fn slow_pair(seed: u64) -> World {
    let slow = Profile {
        geometry: Geometry::solid(1000),
        sync_buffers: 1,
        sync_rate_max: Some(200_000),
        ..Profile::calm()
    };
    World::pair_of(seed, slow)
}

#[test]
fn what_a_verify_cannot_begin_beside_is_refused_with_a_reason() {
    let mut world = slow_pair(3);
    let state = RefusalClass::State;
    let past = Command::Verify { start_bytes: 1 << 40, stop_bytes: None, repair: false };
    expect_refused(&mut world, 0, past, RefusalClass::Configuration, "the device has 1000 sectors");
    assert_eq!(world.ask(0, VERIFY), Some(Answer::Done));
    for host in [0, 1] {
        expect_refused(&mut world, host, VERIFY, state, "a verify is running already");
    }
    expect_refused(&mut world, 0, Command::InvalidateRemote, state, "a verify is under way");
    expect_refused(&mut world, 1, Command::Invalidate, state, "a verify is under way");
    let resize = Command::Resize { size_bytes: None, assume_clean: false };
    expect_refused(&mut world, 0, resize, state, "a verify is under way");
    assert!(world.cut_and_wait());
    for host in [0, 1] {
        expect_refused(&mut world, host, VERIFY, state, "not connected");
        expect_refused(&mut world, host, Command::Repair { from: None }, state, "not connected");
    }
    world.reconnect();
    assert!(world.gets_in_sync());
    assert_eq!(world.ask(0, Command::InvalidateRemote), Some(Answer::Done));
    for host in [0, 1] {
        expect_refused(&mut world, host, VERIFY, state, "wait-sync");
        expect_refused(&mut world, host, Command::Repair { from: None }, state, "wait-sync");
    }
}

#[test]
fn two_secondaries_do_not_guess_whose_data_count() {
    for from in [RepairFrom::Local, RepairFrom::Peer] {
        let mut world = World::calm_pair(4);
        world.write(0, 0..256);
        assert!(world.demote_and_wait(0));
        assert!(world.gets_in_sync());
        world.run_for(100_000);
        world.rot_sector(1, 17);
        let rotten = world.sector(1, 17);
        let good = world.sector(0, 17);
        let repairs = Command::Verify { start_bytes: 0, stop_bytes: None, repair: true };
        expect_refused(&mut world, 0, repairs, RefusalClass::State, "--from local");
        assert_eq!(world.ask(1, VERIFY), Some(Answer::Done));
        assert!(world.run_until(LONG_US, |world| {
            [0, 1].iter().all(|host| world.status(*host).unwrap().verified.is_some())
        }));
        let none = Command::Repair { from: None };
        expect_refused(&mut world, 0, none, RefusalClass::State, "--from local");
        assert_eq!(world.ask(1, Command::Repair { from: Some(from) }), Some(Answer::Done));
        assert!(world.run_until(LONG_US, World::is_quiet_and_in_sync));
        let stands = if from == RepairFrom::Local { rotten } else { good };
        assert_eq!([0, 1].map(|host| world.sector(host, 17)), [stands; 2]);
    }
}

#[test]
fn pause_sync_holds_a_verify_and_resume_sync_lets_it_end() {
    let mut world = slow_pair(5);
    assert_eq!(world.ask(1, VERIFY), Some(Answer::Done));
    assert_eq!(world.ask(1, Command::PauseSync), Some(Answer::Done));
    world.run_for(200_000);
    let left = |world: &World| world.status(0).unwrap().verify.map(|verify| verify.left_blocks);
    let held = left(&world);
    world.run_for(LONG_US);
    assert_eq!(left(&world), held);
    let status = world.status(0).unwrap();
    assert_eq!(status.verify.map(|verify| verify.limited_by), Some("pause-sync"));
    assert_eq!(status.replication, ReplicationState::VerifyT);
    assert_eq!(world.ask(1, Command::ResumeSync), Some(Answer::Done));
    assert!(world.run_until(LONG_US, |world| world.status(0).unwrap().verified.is_some()));
    assert!(world.run_until(LONG_US, World::is_quiet_and_in_sync));
}

#[test]
fn a_verify_whose_link_is_lost_says_where_it_was_and_goes_on_there() {
    let mut world = slow_pair(6);
    let whole = world.status(0).unwrap().size_bytes / 4096;
    world.rot_sector(1, 990);
    assert_eq!(world.ask(0, VERIFY), Some(Answer::Done));
    world.run_for(100_000);
    assert!(world.cut_and_wait());
    let sector = world.status(0).unwrap().verified.unwrap().broken_off.unwrap().next_sector;
    world.reconnect();
    assert!(world.run_until(LONG_US, World::is_quiet_and_in_sync));
    let goes_on = Command::Verify { start_bytes: sector * 512, stop_bytes: None, repair: false };
    assert_eq!(world.ask(0, goes_on), Some(Answer::Done));
    assert!(world.run_until(LONG_US, |world| world.status(0).unwrap().verified.unwrap().run == 2));
    let verified = world.status(0).unwrap().verified.unwrap();
    assert_eq!(verified.compared_blocks, whole - sector / 8);
    assert_eq!((verified.differing_blocks, verified.broken_off), (1, None));
}

#[test]
fn a_block_that_one_node_cannot_read_is_marked_and_costs_no_other() {
    for host in [0, 1] {
        let mut world = World::calm_pair(7);
        world.write(0, 0..256);
        world.spoil_sector(host, 17);
        assert_eq!(world.ask(0, VERIFY), Some(Answer::Done));
        assert!(world.run_until(LONG_US, |world| world.status(0).unwrap().verified.is_some()));
        let verified = world.status(0).unwrap().verified.unwrap();
        assert_eq!((verified.differing_blocks, verified.unreadable_blocks), (1, 1));
        assert!(world.run_until(LONG_US, |world| world.status(1).unwrap().verified.is_some()));
        assert_eq!([0, 1].map(|host| world.status(host).unwrap().out_of_sync_blocks), [1, 1]);
    }
}

#[test]
fn a_resize_that_was_refused_is_over_on_both_nodes() {
    let mut world = World::calm_pair(8);
    let too_large = Command::Resize { size_bytes: Some(1 << 40), assume_clean: false };
    expect_refused(&mut world, 0, too_large, RefusalClass::State, "has room for");
    world.run_for(100_000);
    assert_eq!(world.ask(1, Command::Invalidate), Some(Answer::Done));
    assert!(world.run_until(LONG_US, World::is_quiet_and_in_sync));
    assert_eq!(world.ask(0, VERIFY), Some(Answer::Done));
}
