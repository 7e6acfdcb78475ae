//! Waiting for a condition, never for a time.

use std::thread;
use std::time::{Duration, Instant};

/// Pause between two looks: a look may start a process, and the machine may have two cores.
const PAUSE: Duration = Duration::from_millis(30);

/// Returns as soon as `holds` does.
///
/// # Panics
/// When it does not within `limit`; `what` says in words what was waited for.
pub fn wait_until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        let waited = begun.elapsed();
        assert!(waited < limit, "waited {:.1} s for this: {what}", waited.as_secs_f64());
        thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_returns_when_the_condition_holds() {
        let mut looks = 0;
        wait_until("three looks", Duration::from_secs(5), || {
            looks += 1;
            looks == 3
        });
        assert_eq!(looks, 3);
    }

    #[test]
    #[should_panic(expected = "for this: pigs fly")]
    fn it_says_what_it_waited_for_in_vain() {
        wait_until("pigs fly", Duration::from_millis(50), || false);
    }
}
