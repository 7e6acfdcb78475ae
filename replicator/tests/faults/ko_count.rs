//! `ko-count`: how long the peer may take over one write, and what counts as one (G6).

use crate::daemon::settings;
use crate::pair::{ALPHA, BETA, Fate, Pair};
use metadata::units::EXTENT_BYTES;
use replicator::state::ConnectionState;

/// More than twice as many extents as the log of the pair has slots.
const EXTENTS: u64 = 16;

/// `ko-count` x `timeout`, in milliseconds.
fn limit_ms() -> u64 {
    let net = settings(ALPHA).net;
    u64::try_from((net.timeout * net.ko_count).as_millis()).expect("it is less than a day")
}

fn is_connected(pair: &Pair) -> bool {
    pair.status(ALPHA).connection == ConnectionState::Connected
}

#[test]
fn the_pieces_of_a_large_request_count_each_from_when_it_was_sent() {
    let mut pair = Pair::in_sync(EXTENTS * EXTENT_BYTES);
    pair.hosts[BETA].writes = Fate::Hangs;
    let request = pair.zero(ALPHA, EXTENTS * EXTENT_BYTES);
    pair.settle();
    let (mut rounds, mut waited_ms) = (0, 0);
    while pair.reply(ALPHA, request).is_none() {
        pair.pass_ms(limit_ms() * 3 / 4);
        waited_ms += limit_ms() * 3 / 4;
        assert!(is_connected(&pair), "dropped after {waited_ms} ms, {rounds} rounds of pieces");
        assert!(pair.complete_writes_under_way(BETA) > 0, "nothing is under way");
        rounds += 1;
    }
    assert_eq!(pair.reply(ALPHA, request), Some(Ok(())));
    assert!(waited_ms > limit_ms(), "the whole request took no longer than one piece may");
    pair.assert_in_sync();
}

#[test]
fn one_piece_that_is_not_done_drops_the_peer_and_no_earlier() {
    let mut pair = Pair::in_sync(EXTENTS * EXTENT_BYTES);
    pair.hosts[BETA].writes = Fate::Hangs;
    let request = pair.zero(ALPHA, EXTENTS * EXTENT_BYTES);
    pair.pass_ms(limit_ms() - 1);
    assert!(is_connected(&pair), "dropped too early");
    // The next look at the peer is at most one `timeout` later.
    let timeout_ms = settings(ALPHA).net.timeout.as_millis() as u64;
    pair.pass_ms(timeout_ms);
    assert_eq!(pair.reply(ALPHA, request), Some(Ok(())), "the client still waits for the peer");
    assert!(pair.status(ALPHA).out_of_sync_blocks > 0);
}
