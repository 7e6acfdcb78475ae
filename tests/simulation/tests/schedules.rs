//! Named schedules that once broke a wording of the rules, replayed step by step against the real
//! engine.

use replicator::event::{Answer, Command};
use replicator::state::{ConnectionState, Role};
use replicator::wire::Kind;
use simulation::World;

const SECTORS: std::ops::Range<usize> = 16..24;
const TIMEOUT_US: u64 = 3_000_000;

fn reconnect(world: &mut World) {
    world.mend_cable();
    for host in [0, 1] {
        world.command(host, Command::Connect { discard_my_data: false });
    }
}

fn is_well(world: &World) {
    assert_eq!(world.violation(), None);
}

/// Both directions are cut until both nodes have noticed.
fn cut_and_wait(world: &mut World) {
    world.cut_from(0);
    world.cut_from(1);
    let apart = world.run_until(TIMEOUT_US, |world| {
        [0, 1].iter().all(|host| {
            world.status(*host).is_none_or(|status| status.connection != ConnectionState::Connected)
        })
    });
    assert!(apart, "the nodes never noticed the cut");
}

#[test]
fn f2a_a_stuck_write_of_the_old_connection_never_lands_over_a_newer_one() {
    let mut world = World::calm_pair(1);
    world.stick_writes(1, true);
    world.begin_write(0, SECTORS);
    world.run_for(2_000);
    cut_and_wait(&mut world);
    assert!(world.wait_for_client(0), "alone, the first write is answered");
    let newer = world.write(0, SECTORS);
    reconnect(&mut world);
    world.run_for(TIMEOUT_US);
    let connected = world.status(0).is_some_and(|s| s.connection == ConnectionState::Connected);
    assert!(!connected, "the node with the stuck write must not admit a new connection");
    world.stick_writes(1, false);
    assert!(world.gets_in_sync(), "{:?}", world.violation());
    assert_eq!(world.sector(1, SECTORS.start), newer);
}

#[test]
fn f2b_bytes_of_the_old_connection_that_arrive_late_are_not_read() {
    let mut world = World::calm_pair(2);
    world.cut_from(0);
    world.begin_write(0, SECTORS);
    assert!(world.wait_for_client(0), "the connection is given up, the write answered alone");
    let newer = world.write(0, SECTORS);
    reconnect(&mut world);
    assert!(world.gets_in_sync(), "{:?}", world.violation());
    assert_eq!(world.sector(1, SECTORS.start), newer);
}

#[test]
fn f7c_a_block_copied_out_of_a_cache_survives_the_power_cut_of_its_source() {
    for seed in 0..10 {
        let mut world = World::calm_pair(seed);
        world.write(0, SECTORS);
        world.kill_daemon(0);
        assert!(world.bring_up_and_wait(0));
        assert!(world.gets_in_sync(), "seed {seed}: {:?}", world.violation());
        world.cut_power(1);
        assert!(world.bring_up_and_wait(1));
        // Bits without a direction may be left on the disk that lost power: a promotion gives them
        // one (D7).
        assert!(matches!(world.ask(0, Command::Primary { force: false }), Some(Answer::Done)));
        assert!(world.gets_in_sync(), "seed {seed}: {:?}", world.violation());
    }
}

#[test]
fn f8_a_flush_acknowledged_alone_begins_a_generation_so_the_split_is_noticed() {
    let mut world = World::calm_pair(3);
    world.write(0, SECTORS);
    world.cut_power(1);
    cut_and_wait(&mut world);
    world.flush(0);
    assert!(world.demote_and_wait(0));
    assert!(matches!(world.ask(0, Command::Down), Some(Answer::Done)));
    assert!(world.bring_up_and_wait(1));
    assert!(matches!(world.ask(1, Command::Primary { force: false }), Some(Answer::Done)));
    world.write(1, 40..48);
    world.mend_cable();
    world.bring_up(0);
    assert!(world.gets_split(), "the flushed write would be overwritten unasked");
    is_well(&world);
}

#[test]
fn f9_each_of_the_four_last_messages_of_a_resync_may_be_lost() {
    for kind in [Kind::SyncNoneLeft, Kind::SyncConfirm, Kind::SyncStarted] {
        the_end_survives_the_loss_of(kind);
    }
}

#[test]
fn f9_the_grant_of_a_resync_may_be_lost() {
    the_end_survives_the_loss_of(Kind::SyncGrant);
}

fn the_end_survives_the_loss_of(kind: Kind) {
    for seed in 0..5 {
        let mut world = World::calm_pair(seed);
        cut_and_wait(&mut world);
        world.write(0, SECTORS);
        world.lose_next(kind);
        reconnect(&mut world);
        assert!(world.run_until(TIMEOUT_US, World::has_lost), "{kind:?} was never sent");
        world.write(0, SECTORS);
        assert!(world.gets_in_sync(), "{kind:?} seed {seed}: {:?}", world.violation());
    }
}

#[test]
fn f9_a_write_alone_after_a_lost_confirmation_and_a_promotion_of_the_peer_is_a_split_brain() {
    let mut world = World::calm_pair(4);
    cut_and_wait(&mut world);
    world.write(0, SECTORS);
    world.lose_next(Kind::SyncConfirm);
    reconnect(&mut world);
    assert!(world.run_until(TIMEOUT_US, World::has_lost));
    cut_and_wait(&mut world);
    world.write(0, SECTORS);
    world.kill_daemon(0);
    assert!(matches!(world.ask(1, Command::Primary { force: false }), Some(Answer::Done)));
    world.write(1, 40..48);
    world.mend_cable();
    world.bring_up(0);
    assert!(world.gets_split(), "a write acknowledged alone would be discarded unasked");
    is_well(&world);
}

#[test]
fn f11_the_survivor_is_source_when_the_primary_comes_back_without_its_cache() {
    for seed in 0..20 {
        let mut world = World::calm_pair(seed);
        // The confirmation of the first resync becomes durable.
        world.run_for(50_000);
        survivor_is_source(&mut world, seed);
    }
}

#[test]
fn f11_the_survivor_is_source_too_when_the_confirmation_of_a_resync_was_not_durable() {
    for seed in 0..20 {
        survivor_is_source(&mut World::calm_pair(seed), seed);
    }
}

fn survivor_is_source(world: &mut World, seed: u64) {
    let stamp = world.write(0, SECTORS);
    world.cut_power(0);
    world.bring_up(0);
    assert!(world.gets_in_sync(), "seed {seed}: {:?}", world.violation());
    for host in [0, 1] {
        assert_eq!(world.sector(host, SECTORS.start), stamp, "seed {seed} node {host}");
    }
}

#[test]
fn f16_writes_into_a_running_resync_neither_deadlock_nor_diverge() {
    let mut world = World::calm_pair(5);
    cut_and_wait(&mut world);
    world.write(0, 0..256);
    reconnect(&mut world);
    for round in 0..60 {
        world.begin_write(0, round * 4..round * 4 + 9);
        world.run_for(300);
    }
    assert!(world.wait_for_client(0), "a write waits for ever");
    assert!(world.gets_in_sync(), "{:?}", world.violation());
}

#[test]
fn f22a_a_node_that_missed_the_verdict_learns_of_the_split_brain_later() {
    let mut world = World::calm_pair(6);
    cut_and_wait(&mut world);
    world.write(0, SECTORS);
    assert!(matches!(world.ask(1, Command::Primary { force: false }), Some(Answer::Done)));
    world.write(1, SECTORS);
    assert!(world.demote_and_wait(1));
    world.lose_next(Kind::Refuse);
    reconnect(&mut world);
    let both_alone = world.run_until(TIMEOUT_US, |world| {
        [0, 1].iter().all(|host| {
            world.status(*host).is_some_and(|s| s.connection == ConnectionState::StandAlone)
        })
    });
    assert!(both_alone, "one node goes on connecting for ever");
    is_well(&world);
}

#[test]
fn f22b_of_two_crossing_promotions_exactly_the_first_nodes_succeeds() {
    for seed in 0..20 {
        let mut world = World::calm_pair(seed);
        assert!(world.demote_and_wait(0));
        assert!(world.gets_in_sync());
        // Both know by now that nobody is Primary.
        world.run_for(50_000);
        world.command(0, Command::Primary { force: false });
        world.command(1, Command::Primary { force: false });
        world.run_for(TIMEOUT_US);
        let roles = [0, 1].map(|host| world.status(host).map(|status| status.role));
        assert_eq!(roles, [Some(Role::Primary), Some(Role::Secondary)], "seed {seed}");
        is_well(&world);
    }
}

#[test]
fn r19_two_crossing_dials_end_in_one_connection() {
    for seed in 0..30 {
        let mut world = World::calm_pair(seed);
        cut_and_wait(&mut world);
        reconnect(&mut world);
        assert!(world.gets_in_sync(), "seed {seed}: {:?}", world.violation());
    }
}

#[test]
fn r22_the_victim_of_a_split_brain_may_be_told_before_or_after_the_survivor() {
    for victim_first in [true, false] {
        let mut world = World::calm_pair(7);
        cut_and_wait(&mut world);
        world.write(0, SECTORS);
        assert!(matches!(world.ask(1, Command::Primary { force: false }), Some(Answer::Done)));
        let kept = world.write(1, SECTORS);
        assert!(world.demote_and_wait(0));
        reconnect(&mut world);
        assert!(world.gets_split());
        if victim_first {
            world.give_up(0);
        }
        world.run_for(TIMEOUT_US);
        world.command(1, Command::Connect { discard_my_data: false });
        world.run_for(TIMEOUT_US);
        if !victim_first {
            world.give_up(0);
        }
        assert!(world.gets_in_sync(), "victim first {victim_first}: {:?}", world.violation());
        assert_eq!([0, 1].map(|host| world.sector(host, SECTORS.start)), [kept; 2]);
    }
}

#[test]
fn a_flush_in_flight_at_the_loss_begins_no_generation_when_the_peer_is_back_before_it_ends() {
    for seed in 0..20 {
        let mut world = World::calm_pair(seed);
        world.run_for(50_000);
        world.write(0, SECTORS);
        world.flush(0);
        world.stick_writes(0, true);
        world.begin_flush(0);
        world.run_for(2_000);
        cut_and_wait(&mut world);
        reconnect(&mut world);
        let again = world.run_until(TIMEOUT_US, |world| {
            world.status(0).is_some_and(|s| s.connection == ConnectionState::Connected)
        });
        assert!(again, "seed {seed}: {:?}", world.violation());
        world.run_for(200_000);
        world.stick_writes(0, false);
        assert!(world.wait_for_client(0), "seed {seed}");
        world.run_for(200_000);
        let stamp = world.write(0, SECTORS);
        world.cut_power(0);
        world.bring_up(0);
        assert!(world.gets_in_sync(), "seed {seed}: {:?}", world.violation());
        let found = [0, 1].map(|host| world.sector(host, SECTORS.start));
        assert_eq!(found, [stamp; 2], "seed {seed}: the survivor's write is gone");
    }
}
