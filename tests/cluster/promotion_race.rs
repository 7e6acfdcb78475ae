//! Both nodes are promoted at the same instant: never both succeed.

use crate::bed::synced_pair;
use std::sync::Barrier;
use std::thread;
use testbed::Node;

const ROUNDS: u32 = 20;

#[test]
fn of_two_promotions_at_the_same_instant_at_most_one_succeeds() {
    let pair = synced_pair();
    pair.a.must(&["secondary", "r0"]);
    let mut won = 0;
    for round in 0..ROUNDS {
        let start = Barrier::new(2);
        let promote = |node: &Node| {
            start.wait();
            node.run(&["primary", "r0"])
        };
        let (first, second) = thread::scope(|scope| {
            let other = scope.spawn(|| promote(&pair.b));
            (promote(&pair.a), other.join().expect("the promotion ends"))
        });
        let codes = [first.code, second.code];
        assert!(codes.iter().filter(|&&code| code == 0).count() <= 1, "round {round}: {codes:?}");
        for output in [&first, &second].into_iter().filter(|output| output.code != 0) {
            assert_eq!(output.code, 11, "round {round}: {output:?}");
        }
        let roles = [pair.a.state().role, pair.b.state().role];
        let primaries = roles.iter().filter(|role| *role == "Primary").count();
        assert_eq!(primaries, codes.iter().filter(|&&code| code == 0).count(), "round {round}");
        won += primaries;
        for node in [&pair.a, &pair.b] {
            node.must(&["secondary", "r0"]);
        }
    }
    assert!(won > 0, "in {ROUNDS} rounds nobody was ever promoted");
    pair.expect_equal();
}
