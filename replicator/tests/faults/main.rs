//! One thing goes wrong at the worst moment: a flush, a write, a metadata write or a link, under a
//! promotion, a demotion, a resync or an attach.
//!
//! Each test drives both engines of a scripted pair. Whatever fails, everything that was asked is
//! answered, no two nodes are Primary while connected, and a node without its disk still connects.

mod daemon;
mod hot_extents;
mod ko_count;
mod look;
mod pair;

use metadata::units::{ByteRange, EXTENT_BYTES};
use pair::{ALPHA, BETA, Fate, Pair, WRITE_BYTES};
use replicator::event::{ClientError, Command, Payload, RefusalClass};
use replicator::ids::BufferId;
use replicator::message::Message;
use replicator::state::{ConnectionState, DiskState, ReplicationState, Role};

/// Two extents of the activity log.
const SMALL_BYTES: u64 = 2 * EXTENT_BYTES;
/// Room for a resync of many pieces.
const MEDIUM_BYTES: u64 = 8 * EXTENT_BYTES;
/// Blocks written one by one, far apart, before a resync.
const SCATTERED_WRITES: u64 = 64;
/// From one of them to the next.
const SCATTER_BYTES: u64 = 64 << 10;
/// Longer than every timeout of the connection, and time to meet again.
const LONG_MS: u64 = 60_000;
/// Long enough to dial, shake hands and begin a resync, too short for a write to count as lost.
const MEETING_MS: u64 = 12_000;

const PROMOTE: Command = Command::Primary { force: false };
const FORCE: Command = Command::Primary { force: true };

/// Both are Secondary and in sync.
fn both_secondary() -> Pair {
    let mut pair = Pair::in_sync(SMALL_BYTES);
    let demotion = pair.command(ALPHA, Command::Secondary);
    pair.pass_ms(10);
    assert!(pair.is_done(ALPHA, demotion));
    pair
}

/// Alpha is Primary and has written alone; the network is still cut.
fn diverged() -> Pair {
    let mut pair = Pair::in_sync(MEDIUM_BYTES);
    pair.cut_network();
    pair.pass_ms(1000);
    for number in 0..SCATTERED_WRITES {
        let write = pair.write(ALPHA, number * SCATTER_BYTES);
        pair.settle();
        assert_eq!(pair.reply(ALPHA, write), Some(Ok(())));
    }
    pair
}

/// Alpha serves nobody, and `down` still ends it.
fn expect_secondary_that_can_leave(pair: &mut Pair) {
    assert_eq!(pair.status(ALPHA).role, Role::Secondary);
    assert!(!pair.hosts[ALPHA].export_open);
    let down = pair.command(ALPHA, Command::Down);
    pair.pass_ms(LONG_MS);
    assert!(pair.is_done(ALPHA, down));
    assert!(pair.hosts[ALPHA].stopped);
}

#[test]
fn the_payload_of_a_stranger_who_has_not_said_hello_is_given_back() {
    let mut pair = Pair::apart(SMALL_BYTES);
    let link = pair.stranger_dials(ALPHA);
    let buffer = BufferId(77);
    let range = ByteRange::new(0, WRITE_BYTES);
    let payload = Payload { buffer, bytes: WRITE_BYTES as u32, crc32c: 0 };
    pair.receive(ALPHA, link, Message::Write { number: 1, range, fua: false }, Some(payload));
    let given_back = pair.hosts[ALPHA].released.iter().filter(|back| **back == buffer).count();
    assert_eq!(given_back, 1);
    assert!(!pair.has_link(ALPHA, link), "nobody begins with a write");
}

#[test]
fn a_primary_alone_answers_writes_to_more_extents_than_its_log_holds() {
    let extents = 16;
    let mut pair = Pair::apart(extents * EXTENT_BYTES);
    pair.command(ALPHA, FORCE);
    pair.settle();
    for extent in 0..extents {
        let write = pair.write(ALPHA, extent * EXTENT_BYTES);
        pair.pass_ms(LONG_MS);
        assert_eq!(pair.reply(ALPHA, write), Some(Ok(())), "the write into extent {extent}");
    }
}

#[test]
fn a_disk_that_was_given_up_is_asked_for_nothing_more() {
    let mut pair = Pair::in_sync(SMALL_BYTES);
    pair.write(ALPHA, 0);
    pair.settle();
    // The extent is cold: the transaction of the log fails before the write begins.
    pair.hosts[ALPHA].metadata = Fate::Fails;
    let write = pair.write(ALPHA, EXTENT_BYTES);
    pair.settle();
    assert!(pair.hosts[ALPHA].disk_closed);
    assert_eq!(pair.reply(ALPHA, write), Some(Ok(())), "the peer has taken over");
    pair.pass_ms(LONG_MS);
    assert_eq!(pair.hosts[ALPHA].ios_after_close, 0);
}

#[test]
fn a_flush_that_outlasts_a_short_break_begins_no_generation_and_so_no_split_brain() {
    let mut pair = Pair::in_sync(SMALL_BYTES);
    pair.write(ALPHA, 0);
    pair.settle();
    let durable = pair.flush(ALPHA);
    pair.settle();
    assert_eq!(pair.reply(ALPHA, durable), Some(Ok(())));
    pair.hosts[ALPHA].flushes = Fate::Hangs;
    let slow = pair.flush(ALPHA);
    pair.settle();
    pair.break_links();
    pair.pass_ms(2000);
    assert_eq!(pair.reply(ALPHA, slow), None, "the own flush is still under way");
    pair.hosts[ALPHA].flushes = Fate::Completes;
    pair.pass_ms(LONG_MS);
    assert_eq!(pair.reply(ALPHA, slow), Some(Ok(())));
    pair.assert_in_sync();
    // Nothing is written from here on, so the two have nothing to disagree about.
    pair.cut_network();
    let promotion = pair.command(BETA, PROMOTE);
    let demotion = pair.command(ALPHA, Command::Secondary);
    pair.pass_ms(100);
    assert!(pair.is_done(BETA, promotion));
    assert!(pair.is_done(ALPHA, demotion));
    pair.mend_network();
    pair.pass_ms(LONG_MS);
    pair.assert_in_sync();
}

#[test]
fn a_slow_promotion_alone_does_not_end_beside_one_that_the_peer_was_asked_for() {
    let mut pair = both_secondary();
    pair.cut_network();
    pair.pass_ms(1000);
    pair.hosts[ALPHA].flushes = Fate::Hangs;
    let slow = pair.command(ALPHA, PROMOTE);
    pair.mend_network();
    pair.pass_ms(MEETING_MS);
    let rival = pair.command(BETA, PROMOTE);
    pair.pass_ms(10);
    pair.hosts[ALPHA].flushes = Fate::Completes;
    pair.pass_ms(LONG_MS);
    assert!(pair.is_answered(ALPHA, slow));
    assert!(pair.is_answered(BETA, rival));
    assert_ne!(pair.is_done(ALPHA, slow), pair.is_done(BETA, rival), "one of them wins");
    assert_eq!(pair.primaries(), 1);
    pair.assert_in_sync();
}

#[test]
fn a_slow_promotion_alone_is_refused_when_it_meets_a_primary() {
    let mut pair = Pair::in_sync(SMALL_BYTES);
    pair.cut_network();
    pair.pass_ms(1000);
    pair.hosts[BETA].flushes = Fate::Hangs;
    let slow = pair.command(BETA, PROMOTE);
    pair.mend_network();
    pair.pass_ms(MEETING_MS);
    pair.hosts[BETA].flushes = Fate::Completes;
    pair.pass_ms(LONG_MS);
    assert_eq!(pair.refusal(BETA, slow), Some(RefusalClass::State));
    assert_eq!(pair.status(ALPHA).role, Role::Primary);
    assert_eq!(pair.status(BETA).role, Role::Secondary);
    pair.assert_in_sync();
}

#[test]
fn a_promotion_whose_mark_cannot_be_written_is_refused_and_the_node_can_leave() {
    let mut pair = both_secondary();
    pair.hosts[ALPHA].metadata = Fate::Fails;
    let promotion = pair.command(ALPHA, PROMOTE);
    pair.pass_ms(LONG_MS);
    assert_eq!(pair.refusal(ALPHA, promotion), Some(RefusalClass::NoGoodData));
    expect_secondary_that_can_leave(&mut pair);
}

#[test]
fn a_demotion_whose_mark_cannot_be_taken_off_is_answered_and_the_node_can_leave() {
    let mut pair = Pair::in_sync(SMALL_BYTES);
    pair.hosts[ALPHA].metadata = Fate::Fails;
    let demotion = pair.command(ALPHA, Command::Secondary);
    pair.pass_ms(LONG_MS);
    assert!(pair.is_answered(ALPHA, demotion));
    expect_secondary_that_can_leave(&mut pair);
}

#[test]
fn a_demotion_is_answered_when_the_disk_fails_under_the_last_flush_of_a_client() {
    let mut pair = Pair::in_sync(SMALL_BYTES);
    pair.hosts[ALPHA].flushes = Fate::Hangs;
    let flush = pair.flush(ALPHA);
    let demotion = pair.command(ALPHA, Command::Secondary);
    pair.settle();
    pair.hosts[ALPHA].flushes = Fate::Fails;
    pair.pass_ms(LONG_MS);
    assert_eq!(pair.reply(ALPHA, flush), Some(Ok(())), "the peer has taken over");
    assert!(pair.is_answered(ALPHA, demotion));
    assert_eq!(pair.status(ALPHA).role, Role::Secondary);
    assert_eq!(pair.status(ALPHA).disk, DiskState::Diskless);
}

#[test]
fn a_node_that_is_leaving_refuses_to_become_primary() {
    let mut pair = both_secondary();
    pair.hosts[ALPHA].flushes = Fate::Hangs;
    let down = pair.command(ALPHA, Command::Down);
    let promotion = pair.command(ALPHA, PROMOTE);
    pair.settle();
    assert_eq!(pair.refusal(ALPHA, promotion), Some(RefusalClass::State));
    pair.hosts[ALPHA].flushes = Fate::Completes;
    pair.settle();
    assert!(pair.is_done(ALPHA, down));
    assert!(pair.hosts[ALPHA].stopped);
    assert!(!pair.hosts[ALPHA].export_open);
}

#[test]
fn a_flush_is_answered_though_the_peer_never_ends_its_half_and_the_peer_comes_back() {
    let mut pair = Pair::in_sync(SMALL_BYTES);
    pair.hosts[BETA].flushes = Fate::Hangs;
    let flush = pair.flush(ALPHA);
    pair.pass_ms(2 * LONG_MS);
    assert_eq!(pair.reply(ALPHA, flush), Some(Ok(())), "without the peer, then");
    pair.hosts[BETA].flushes = Fate::Completes;
    pair.pass_ms(LONG_MS);
    pair.assert_in_sync();
}

#[test]
fn a_node_whose_disk_fails_at_attach_still_connects() {
    let mut pair = Pair::diskless();
    pair.attach(BETA, SMALL_BYTES);
    pair.hosts[ALPHA].metadata = Fate::Fails;
    pair.attach(ALPHA, SMALL_BYTES);
    assert_eq!(pair.status(ALPHA).disk, DiskState::Diskless);
    assert!(pair.hosts[ALPHA].disk_closed);
    pair.mend_network();
    let connect = pair.command(ALPHA, Command::Connect { discard_my_data: false });
    pair.pass_ms(LONG_MS);
    assert!(pair.is_done(ALPHA, connect));
    pair.assert_connected(DiskState::Diskless, DiskState::Inconsistent);
}

#[test]
fn a_primary_that_cannot_write_its_new_generation_connects_again_without_its_disk() {
    let mut pair = Pair::in_sync(SMALL_BYTES);
    pair.write(ALPHA, 0);
    pair.settle();
    pair.cut_network();
    pair.hosts[ALPHA].metadata = Fate::Fails;
    let write = pair.write(ALPHA, 0);
    pair.pass_ms(1000);
    assert_eq!(pair.reply(ALPHA, write), Some(Err(ClientError::Io)));
    pair.mend_network();
    pair.pass_ms(2 * LONG_MS);
    for index in [ALPHA, BETA] {
        assert_eq!(pair.status(index).connection, ConnectionState::Connected);
    }
    assert_eq!(pair.status(ALPHA).disk, DiskState::Diskless);
}

#[test]
fn a_forced_promotion_is_refused_when_it_becomes_the_target_of_a_resync() {
    let mut pair = diverged();
    pair.hosts[BETA].flushes = Fate::Hangs;
    let forced = pair.command(BETA, FORCE);
    pair.hosts[BETA].writes = Fate::Hangs;
    pair.mend_network();
    pair.pass_ms(MEETING_MS);
    pair.complete_oldest_flush(BETA);
    assert_eq!(pair.status(BETA).role, Role::Secondary);
    pair.hosts[BETA].flushes = Fate::Completes;
    pair.hosts[BETA].writes = Fate::Completes;
    pair.pass_ms(LONG_MS);
    assert_eq!(pair.refusal(BETA, forced), Some(RefusalClass::NoGoodData));
    assert_eq!(pair.status(ALPHA).role, Role::Primary);
    pair.assert_in_sync();
}

#[test]
fn the_peers_half_of_a_flush_may_come_after_the_own_disk_was_given_up() {
    let mut pair = Pair::in_sync(SMALL_BYTES);
    let lost_before = pair.hosts[ALPHA].connections_lost();
    pair.hosts[ALPHA].flushes = Fate::Fails;
    pair.hosts[BETA].flushes = Fate::Hangs;
    let flush = pair.flush(ALPHA);
    pair.settle();
    assert_eq!(pair.reply(ALPHA, flush), None, "no disk has flushed");
    pair.hosts[BETA].flushes = Fate::Completes;
    pair.settle();
    assert_eq!(pair.reply(ALPHA, flush), Some(Ok(())), "the peer has");
    assert_eq!(pair.hosts[ALPHA].connections_lost(), lost_before);
    pair.assert_connected(DiskState::Diskless, DiskState::UpToDate);
}

#[test]
fn a_source_goes_on_when_the_targets_disk_fails_in_a_resync() {
    let mut pair = diverged();
    pair.hosts[BETA].writes = Fate::Hangs;
    pair.mend_network();
    pair.pass_ms(MEETING_MS);
    assert_eq!(pair.status(ALPHA).replication, ReplicationState::SyncSource);
    pair.hosts[BETA].metadata = Fate::Fails;
    pair.hosts[BETA].writes = Fate::Completes;
    pair.pass_ms(LONG_MS);
    pair.assert_connected(DiskState::UpToDate, DiskState::Diskless);
    let source = pair.status(ALPHA);
    assert_eq!((source.role, source.replication), (Role::Primary, ReplicationState::Established));
    let write = pair.write(ALPHA, 0);
    pair.pass_ms(1000);
    assert_eq!(pair.reply(ALPHA, write), Some(Ok(())));
    assert!(pair.status(ALPHA).out_of_sync_blocks > 0, "the peer has not got it");
}
