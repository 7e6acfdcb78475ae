//! Remembers that Ctrl-C or SIGTERM came, so that the demo can end cleanly at its next step.

use super::DemoError;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// Longest sleep without a look at the flag.
const SLICE: Duration = Duration::from_millis(50);

/// The flag.
#[derive(Debug, Clone)]
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Starts to listen, on a thread of its own.
    pub(super) fn listen() -> io::Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        let raise = Arc::clone(&flag);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (mut interrupt, mut terminate) = {
            let _inside = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                    }
                    raise.store(true, Ordering::Relaxed);
                }
            });
        })?;
        Ok(Self(flag))
    }

    /// True when a signal came.
    pub(super) fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// An error when a signal came.
    pub(super) fn check(&self) -> Result<(), DemoError> {
        if self.came() { Err(DemoError::Interrupted) } else { Ok(()) }
    }

    /// Sleeps, but not after a signal.
    pub(super) fn sleep(&self, time: Duration) {
        let end = Instant::now() + time;
        while !self.came() && Instant::now() < end {
            thread::sleep(SLICE.min(end.saturating_duration_since(Instant::now())));
        }
    }
}
