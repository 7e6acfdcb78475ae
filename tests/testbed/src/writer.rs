//! A ledger client that writes beside the test, until it is told to stop or loses its server.

use crate::ledger::Ledger;
use crate::nbd_client::{NbdClient, NbdError};
use crate::node::{Node, RESOURCE};
use crate::seeded::Seeded;
use crate::wait::wait_until;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The ledger, and how the writing ended.
type Ended = (Ledger, Result<(), NbdError>);

/// A running client. Tell it to stop with [`Writer::finish`].
#[derive(Debug)]
pub struct Writer {
    thread: JoinHandle<Ended>,
    acknowledged: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Writer {
    /// Opens the export of `node` and writes what the seed says, with a `pause` after each answer.
    ///
    /// # Panics
    /// When the export is not served.
    #[must_use]
    pub fn start(node: &Node, mut ledger: Ledger, seed: u64, pause: Duration) -> Self {
        let mut client = NbdClient::open(&node.nbd_socket(), RESOURCE)
            .unwrap_or_else(|error| panic!("{} does not serve its device: {error}", node.name()));
        let acknowledged = Arc::new(AtomicU64::new(ledger.writes_acknowledged()));
        let stop = Arc::new(AtomicBool::new(false));
        let (count, told) = (Arc::clone(&acknowledged), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let end = ledger.write(&mut client, &mut Seeded::new(seed), |writes| {
                count.store(writes, Ordering::Relaxed);
                if !pause.is_zero() {
                    thread::sleep(pause);
                }
                told.load(Ordering::Relaxed)
            });
            (ledger, end)
        });
        Self { thread, acknowledged, stop }
    }

    /// Number of writes in the ledger that were acknowledged until now.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits until `more` writes than now are acknowledged.
    ///
    /// # Panics
    /// When they are not within `limit`.
    pub fn wait_for(&self, more: u64, limit: Duration) {
        let enough = self.acknowledged() + more;
        wait_until(&format!("{more} more writes are acknowledged"), limit, || {
            assert!(!self.thread.is_finished(), "the writing ended at {}", self.acknowledged());
            self.acknowledged() >= enough
        });
    }

    /// Lets it wait for what is open, and gives what it knows.
    ///
    /// # Panics
    /// When the client itself has panicked.
    pub fn finish(self) -> Ended {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("a client of the ledger does not panic")
    }
}
