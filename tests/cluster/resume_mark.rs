//! A daemon that died as a Primary goes on as one (G4), unless it was stopped meanwhile; both look
//! at the mark under one lock.

use crate::bed::{SOON, synced_pair};
use rustix::fs::{FlockOperation, flock};
use std::fs::OpenOptions;
use std::path::PathBuf;
use testbed::Pair;

/// What a daemon says that finds the mark.
const RESUMES: &str = "this node was Primary before its daemon ended: it resumes";

fn beside_the_socket(pair: &Pair, extension: &str) -> PathBuf {
    pair.a.nbd_socket().with_extension(extension)
}

fn times_resumed(pair: &Pair) -> usize {
    pair.a.log().matches(RESUMES).count()
}

#[test]
fn a_primary_that_died_and_was_stopped_waits_to_be_promoted() {
    let mut pair = synced_pair();
    pair.b.kill9();
    pair.a.kill9();
    pair.a.up();
    pair.a.wait_state("it goes on as the Primary", SOON, |state| state.role == "Primary");
    assert_eq!(times_resumed(&pair), 1);
    pair.a.kill9();
    assert!(beside_the_socket(&pair, "resume").exists(), "nothing is to be taken away");
    pair.a.must(&["down", "r0"]);
    pair.a.up();
    assert_eq!(times_resumed(&pair), 1, "it resumes after it was stopped");
    assert_eq!(pair.a.state().role, "Secondary");
}

#[test]
fn a_stop_and_a_start_do_not_look_at_the_mark_at_the_same_time() {
    let mut pair = synced_pair();
    pair.a.kill9();
    let (mark, lock) = (beside_the_socket(&pair, "resume"), beside_the_socket(&pair, "lock"));
    // In place of a daemon that has begun, and has not made its socket yet.
    let holder = OpenOptions::new().append(true).open(lock).expect("a daemon left it");
    flock(&holder, FlockOperation::NonBlockingLockExclusive).expect("the daemon is dead");
    let started = pair.a.run(&["daemon", "r0"]).expect_code(20, "a start beside another one");
    assert!(started.stderr.contains("r0.lock is locked by process"), "{}", started.stderr);
    let log = pair.scratch().join("down.log");
    let mut down = pair.a.begin_logged(&["down", "r0"], &log);
    // Every command meanwhile is one during which a stop that does not look would be over.
    for _ in 0..10 {
        pair.a.run(&["status", "r0"]).expect_code(10, "it is not up");
    }
    assert_eq!(down.ended(), None, "the stop went by the lock");
    assert!(mark.exists(), "the stop took the mark from under a daemon that starts");
    drop(holder);
    assert_eq!(down.wait_end(SOON), 0);
    assert!(!mark.exists(), "the stop left the mark");
}
