//! The role goes back and forth, and each node serves what the other one wrote.

use crate::bed::synced_pair;
use testbed::ledger::Ledger;
use testbed::nbd_client::NbdClient;
use testbed::seeded::Seeded;

const ROUNDS: usize = 20;
const WRITES: u64 = 60;

#[test]
fn switch_primaries() {
    let pair = synced_pair();
    let mut random = Seeded::announced();
    let mut ledger = Ledger::default().flushing_every(20);
    for round in 0..ROUNDS {
        let [primary, next] = [round % 2, 1 - round % 2].map(|index| pair.node(index));
        let mut client = NbdClient::open(&primary.nbd_socket(), "r0").unwrap();
        let enough = ledger.writes_acknowledged() + WRITES;
        ledger.write(&mut client, &mut random, |count| count >= enough).unwrap();
        drop(client);
        primary.wait_state("no client", crate::bed::SOON, |state| state.clients == 0);
        primary.must(&["secondary", "r0"]);
        next.must(&["primary", "r0"]);
        ledger.expect_all_there(&next.nbd_socket(), "r0");
    }
    pair.expect_equal();
    // Nothing was lost on the way, so nothing had to be copied.
    let first_copy = pair.b.state().size_bytes / 4096;
    assert_eq!(pair.b.state().resynced_blocks, first_copy, "a change of roles copies nothing");
    assert_eq!(pair.a.current_generation(), pair.b.current_generation());
}
