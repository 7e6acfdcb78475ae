//! `verify`: starts the comparison, and with `--wait` follows it to its result.

use super::context::Context;
use super::failure::Failure;
use crate::control::protocol::Request;
use crate::render::progress::verify_bar;
use metadata::units::BLOCK_BYTES;
use replicator::state::{ConnectionState, Role};
use replicator::status::{BrokenOff, Status, Verified};
use std::io::{IsTerminal, Write, stderr};
use std::time::Duration;

const POLL: Duration = Duration::from_millis(200);
/// The daemons of a resource whose verify is to be repaired may need so long between the end of
/// one and the begin of the other.
const SETTLE_POLLS: u32 = 25;

/// The options of the verb.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verify {
    pub(super) start_bytes: u64,
    pub(super) stop_bytes: Option<u64>,
    pub(super) repair: bool,
    pub(super) wait: bool,
}

impl Verify {
    pub(super) fn run(self, context: &Context, name: &str) -> Result<(), Failure> {
        let before = context.status(name)?.verified.map_or(0, |verified| verified.run);
        let Self { start_bytes, stop_bytes, repair, wait } = self;
        context.ask(name, Request::Verify { start_bytes, stop_bytes, repair })?;
        if !wait {
            return Ok(());
        }
        let shows = stderr().is_terminal();
        let result = self.follow(context, name, before, shows);
        if shows {
            eprintln!();
        }
        result
    }

    fn follow(self, context: &Context, name: &str, run: u64, shows: bool) -> Result<(), Failure> {
        let mut unrepaired_polls = 0;
        loop {
            std::thread::sleep(POLL);
            let status = context.status(name)?;
            if shows && let Some(progress) = &status.verify {
                // Errors of a terminal that went away are none of the verify.
                let _ = write!(stderr(), "\r\x1b[K{name}: {}", verify_bar(progress));
            }
            let Some(verified) = status.verified.as_ref().filter(|verified| verified.run > run)
            else {
                if status.verify.is_none() {
                    let text = "the daemon was started anew meanwhile, and its verify is over \
                                without a result; run 'blkrep verify' again";
                    return Err(Failure::Daemon { text: text.to_owned() });
                }
                continue;
            };
            if verified.repairing && unrepaired_polls < SETTLE_POLLS {
                // A link that is lost meanwhile ends it at once.
                let is_connected = status.connection == ConnectionState::Connected;
                unrepaired_polls += u32::from(is_connected && status.sync.is_none());
                continue;
            }
            return verdict(&status, verified);
        }
    }
}

/// What the exit code says.
fn verdict(status: &Status, verified: &Verified) -> Result<(), Failure> {
    let name = &status.resource;
    if let Some(BrokenOff { why, next_sector }) = &verified.broken_off {
        return Err(Failure::VerifyBrokenOff { why: why.clone(), next_sector: *next_sector });
    }
    let left = verified.differing_blocks - verified.repaired_blocks;
    if left == 0 {
        return Ok(());
    }
    let has_primary = [Some(status.role), status.peer_role].contains(&Some(Role::Primary));
    let next = if has_primary {
        format!("'blkrep repair {name}' copies them from the Primary")
    } else {
        format!("'blkrep repair --from local {name}' on the node whose data count copies them")
    };
    let kib = left * BLOCK_BYTES / 1024;
    let text = format!(
        "{left} blocks of 4 KiB ({kib} KiB) differ, and are marked as out of sync on both nodes; {next}"
    );
    Err(Failure::Differences { text })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{result_sample, sample_status};

    #[test]
    fn differences_have_exit_code_1_until_they_are_repaired() {
        let mut verified = result_sample();
        verified.broken_off = None;
        (verified.differing_blocks, verified.repaired_blocks) = (3, 0);
        let failure = verdict(&sample_status(), &verified).unwrap_err();
        assert_eq!(failure.exit_code(), 1);
        assert!(failure.to_string().contains("blkrep repair r0"), "{failure}");
        let mut alone = sample_status();
        alone.role = Role::Secondary;
        let failure = verdict(&alone, &verified).unwrap_err();
        assert!(failure.to_string().contains("--from local"), "{failure}");
        verified.repaired_blocks = 3;
        assert!(verdict(&sample_status(), &verified).is_ok());
    }

    #[test]
    fn a_verify_that_was_broken_off_says_where_the_next_one_goes_on() {
        let mut verified = result_sample();
        let why = "the connection was lost".to_owned();
        verified.broken_off = Some(BrokenOff { why, next_sector: 2048 });
        let failure = verdict(&sample_status(), &verified).unwrap_err();
        assert_eq!(failure.exit_code(), 11);
        assert!(failure.to_string().contains("--start 2048"), "{failure}");
    }
}
