//! The status for people, in the form of `drbdadm status` (drbd-facts 6.5).

use super::advice::advice;
use super::amounts::{clock, size};
use super::progress::{bar, done_percent_100ths, verified_percent_100ths, verify_bar};
use metadata::units::BLOCK_BYTES;
use replicator::state::{ConnectionState, DiskState, ReplicationState, Role};
use replicator::status::{Status, Verified};
use std::fmt::Write as _;

/// What the reader's end can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Canvas {
    /// A pipe or a file: plain words, the same lines every time.
    Plain,
    /// A terminal: a progress bar, and colours if wanted.
    Terminal {
        /// Colours.
        colours: bool,
    },
}

/// How a word is meant, for its colour.
#[derive(Debug, Clone, Copy)]
enum Tone {
    Good,
    Busy,
    Bad,
    Neutral,
}

impl Tone {
    const fn escape(self) -> &'static str {
        match self {
            Self::Good => "\x1b[32m",
            Self::Busy => "\x1b[33m",
            Self::Bad => "\x1b[31m",
            Self::Neutral => "",
        }
    }
}

/// The lines of one resource, the empty one at its end included.
#[must_use]
pub fn status_text(status: &Status, canvas: Canvas) -> String {
    let paint = |text: &str, tone: Tone| match (canvas, tone.escape()) {
        (Canvas::Plain | Canvas::Terminal { colours: false }, _) | (_, "") => text.to_owned(),
        (Canvas::Terminal { colours: true }, escape) => format!("{escape}{text}\x1b[0m"),
    };
    let mut text = String::new();
    let mut line = |content: String| {
        writeln!(text, "{content}").expect("invariant: a string takes every line");
    };
    let role = paint(status.role.name(), role_tone(status.role));
    let frozen = match status.suspended.any() {
        true => format!(" {}", paint(&format!("suspended:{}", status.suspended), Tone::Bad)),
        false => String::new(),
    };
    line(format!("{} role:{role}{frozen}", status.resource));
    let disk = paint(status.disk.name(), disk_tone(status.disk));
    // Not known before the two have met.
    let device = match status.size_bytes {
        0 => String::new(),
        bytes => format!(" size:{}", size(bytes).replace(' ', "")),
    };
    line(format!("  disk:{disk}{device}"));
    line(format!("  {}{}", status.peer_name, peer_words(status, paint)));
    let details = replica_words(status, paint);
    if !details.is_empty() {
        line(format!("    {}", details.join(" ")));
    }
    if let (Some(sync), Canvas::Terminal { colours: _ }) = (&status.sync, canvas) {
        line(format!("    {}", bar(sync)));
    }
    if let (Some(verify), Canvas::Terminal { colours: _ }) = (&status.verify, canvas) {
        line(format!("    {}", verify_bar(verify)));
    }
    if let Some(verified) = &status.verified {
        let left = verified.differing_blocks > verified.repaired_blocks;
        let tone = if left || verified.broken_off.is_some() { Tone::Bad } else { Tone::Neutral };
        line(format!("    {}", paint(&last_verify(verified), tone)));
    }
    if status.incomplete_blocks > 0 {
        let words = format!(
            "resync incomplete: {} cannot be read at the source; mend its disk, then run 'blkrep disconnect' \
             and 'blkrep connect'",
            size(status.incomplete_blocks * BLOCK_BYTES)
        );
        line(format!("    {}", paint(&words, Tone::Bad)));
    }
    if let Some(refusal) = &status.refusal {
        line(format!("    {}", paint(&format!("refused: {refusal}"), Tone::Bad)));
    }
    for next in advice(status) {
        line(format!("    {}", paint(&format!("next: {next}"), Tone::Bad)));
    }
    text.push('\n');
    text
}

/// The connection while there is none, and the peer's role once it is known.
fn peer_words(status: &Status, paint: impl Fn(&str, Tone) -> String) -> String {
    let mut words = String::new();
    if status.connection != ConnectionState::Connected {
        let tone = connection_tone(status.connection);
        words += &format!(" connection:{}", paint(status.connection.name(), tone));
    }
    if let Some(role) = status.peer_role {
        words += &format!(" role:{}", paint(role.name(), role_tone(role)));
    }
    words
}

fn replica_words(status: &Status, paint: impl Fn(&str, Tone) -> String) -> Vec<String> {
    let mut words = Vec::new();
    let is_busy = match status.replication {
        ReplicationState::Off | ReplicationState::Established => false,
        ReplicationState::WFBitMapS
        | ReplicationState::WFBitMapT
        | ReplicationState::SyncSource
        | ReplicationState::SyncTarget
        | ReplicationState::PausedSyncS
        | ReplicationState::PausedSyncT
        | ReplicationState::VerifyS
        | ReplicationState::VerifyT => true,
    };
    if is_busy {
        words.push(format!("replication:{}", paint(status.replication.name(), Tone::Busy)));
    }
    let is_known =
        status.replication != ReplicationState::Off || status.peer_disk != DiskState::DUnknown;
    if is_known {
        let disk = paint(status.peer_disk.name(), disk_tone(status.peer_disk));
        words.push(format!("peer-disk:{disk}"));
    }
    if let Some(sync) = &status.sync {
        let percent_100ths = done_percent_100ths(sync);
        words.push(format!("done:{}.{:02}", percent_100ths / 100, percent_100ths % 100));
    }
    if let Some(verify) = &status.verify {
        let percent_100ths = verified_percent_100ths(verify);
        words.push(format!("done:{}.{:02}", percent_100ths / 100, percent_100ths % 100));
    }
    words
}

/// The result of the last verify, in blocks of 4 KiB.
fn last_verify(verified: &Verified) -> String {
    let Verified { compared_blocks, differing_blocks, unreadable_blocks, repaired_blocks, .. } =
        verified;
    let outcome = match &verified.broken_off {
        None => "last-verify:complete".to_owned(),
        Some(broken) => format!("last-verify:broken-off next-sector:{}", broken.next_sector),
    };
    let unreadable = match unreadable_blocks {
        0 => String::new(),
        blocks => format!(" unreadable:{blocks}"),
    };
    let ago = clock(verified.since_end);
    format!(
        "{outcome} ago:{ago} compared:{compared_blocks} differing:{differing_blocks}{unreadable} \
         repaired:{repaired_blocks}"
    )
}

const fn role_tone(role: Role) -> Tone {
    match role {
        Role::Primary => Tone::Good,
        Role::Secondary => Tone::Neutral,
    }
}

const fn disk_tone(disk: DiskState) -> Tone {
    match disk {
        DiskState::UpToDate => Tone::Good,
        DiskState::Attaching | DiskState::Consistent => Tone::Busy,
        DiskState::Diskless | DiskState::Failed | DiskState::Inconsistent | DiskState::Outdated => {
            Tone::Bad
        }
        DiskState::DUnknown => Tone::Neutral,
    }
}

const fn connection_tone(connection: ConnectionState) -> Tone {
    match connection {
        ConnectionState::Connected => Tone::Good,
        ConnectionState::StandAlone => Tone::Bad,
        ConnectionState::Disconnecting
        | ConnectionState::Unconnected
        | ConnectionState::Connecting => Tone::Busy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{progress_sample, result_sample, sample_status};

    fn plain(status: &Status) -> String {
        status_text(status, Canvas::Plain)
    }

    /// In sync, this node Primary.
    fn quiet() -> Status {
        let mut status = sample_status();
        status.replication = ReplicationState::Established;
        status.peer_disk = DiskState::UpToDate;
        (status.sync, status.out_of_sync_blocks) = (None, 0);
        status
    }

    fn alone(connection: ConnectionState) -> Status {
        let mut status = quiet();
        (status.connection, status.replication) = (connection, ReplicationState::Off);
        (status.peer_disk, status.peer_role) = (DiskState::DUnknown, None);
        status
    }

    #[test]
    fn a_pair_in_sync_says_so_in_four_lines() {
        assert_eq!(
            plain(&quiet()),
            "r0 role:Primary\n  disk:UpToDate size:1.0GiB\n  bob role:Secondary\n    peer-disk:UpToDate\n\n"
        );
    }

    #[test]
    fn an_incomplete_resync_says_so_and_what_to_do() {
        let status = Status { sync: None, incomplete_blocks: 2, ..sample_status() };
        let text = status_text(&status, Canvas::Plain);
        assert!(text.contains("resync incomplete: 8 KiB cannot be read"), "{text}");
    }

    #[test]
    fn a_resync_shows_replication_and_percent() {
        let mut status = sample_status();
        status.sync.as_mut().unwrap().left_blocks = 229_796;
        assert_eq!(
            plain(&status),
            "r0 role:Primary\n  disk:UpToDate size:1.0GiB\n  bob role:Secondary\n    \
             replication:SyncSource peer-disk:Inconsistent done:12.33\n\n"
        );
    }

    #[test]
    fn the_target_of_a_resync_is_inconsistent_itself() {
        let mut status = sample_status();
        (status.role, status.peer_role) = (Role::Secondary, Some(Role::Primary));
        (status.disk, status.peer_disk) = (DiskState::Inconsistent, DiskState::UpToDate);
        status.replication = ReplicationState::SyncTarget;
        assert_eq!(
            plain(&status),
            "r0 role:Secondary\n  disk:Inconsistent size:1.0GiB\n  bob role:Primary\n    \
             replication:SyncTarget peer-disk:UpToDate done:50.00\n\n"
        );
    }

    #[test]
    fn the_exchange_of_bitmaps_has_no_percent() {
        let mut status = quiet();
        status.replication = ReplicationState::WFBitMapS;
        assert!(plain(&status).contains("    replication:WFBitMapS peer-disk:UpToDate\n"));
    }

    #[test]
    fn a_lone_node_shows_its_connection_and_nothing_about_the_peers_disk() {
        assert_eq!(
            plain(&alone(ConnectionState::Connecting)),
            "r0 role:Primary\n  disk:UpToDate size:1.0GiB\n  bob connection:Connecting\n\n"
        );
        for state in [ConnectionState::Disconnecting, ConnectionState::Unconnected] {
            assert!(plain(&alone(state)).contains(&format!("  bob connection:{state}\n\n")));
        }
        let mut outdated = alone(ConnectionState::Connecting);
        outdated.peer_disk = DiskState::Outdated;
        assert!(plain(&outdated).contains("connection:Connecting\n    peer-disk:Outdated\n"));
    }

    #[test]
    fn a_verify_shows_its_percent_and_the_last_one_its_result() {
        let mut status = quiet();
        status.replication = ReplicationState::VerifyS;
        status.verify = Some(progress_sample());
        let head = "r0 role:Primary\n  disk:UpToDate size:1.0GiB\n  bob role:Secondary\n    ";
        let running = "replication:VerifyS peer-disk:UpToDate done:50.00\n";
        assert_eq!(plain(&status), format!("{head}{running}\n"));
        let terminal = status_text(&status, Canvas::Terminal { colours: false });
        assert!(terminal.contains("done:50.00\n    [==========>....."), "{terminal}");
        status.verified = Some(result_sample());
        let broken = "    last-verify:broken-off next-sector:8000 ago:1:12 compared:1000 differing:7 \
                      unreadable:2 repaired:6\n";
        assert_eq!(plain(&status), format!("{head}{running}{broken}\n"));
        let mut verified = result_sample();
        (verified.broken_off, verified.unreadable_blocks) = (None, 0);
        let status = Status { verified: Some(verified), ..quiet() };
        let done = "peer-disk:UpToDate\n    last-verify:complete ago:1:12 compared:1000 differing:7 \
                    repaired:6\n";
        assert_eq!(plain(&status), format!("{head}{done}\n"));
    }

    #[test]
    fn frozen_io_stands_beside_the_role_with_its_reasons() {
        let mut status = quiet();
        (status.suspended.user, status.suspended.fencing) = (true, true);
        assert!(plain(&status).starts_with("r0 role:Primary suspended:user,fencing\n"));
    }

    #[test]
    fn a_refusal_stands_below_the_peer() {
        let mut status = alone(ConnectionState::StandAlone);
        status.refusal = Some("split brain; type this".to_owned());
        assert_eq!(
            plain(&status),
            "r0 role:Primary\n  disk:UpToDate size:1.0GiB\n  bob connection:StandAlone\n    \
             refused: split brain; type this\n\n"
        );
    }

    #[test]
    fn every_disk_state_is_shown_by_its_name() {
        let mut status = quiet();
        for code in 0..8 {
            status.disk = DiskState::from_code(code).unwrap();
            assert!(plain(&status).contains(&format!("\n  disk:{} size:1.0GiB\n", status.disk)));
        }
    }

    #[test]
    fn a_size_that_is_not_known_is_not_shown() {
        let status = Status { size_bytes: 0, ..quiet() };
        assert!(plain(&status).contains("\n  disk:UpToDate\n"));
    }

    #[test]
    fn only_a_terminal_gets_a_bar_and_colours() {
        let text = status_text(&sample_status(), Canvas::Terminal { colours: false });
        assert!(text.contains("done:50.00\n    [==========>.........]  50.0%"), "{text}");
        assert!(!text.contains('\x1b'));
        let text = status_text(&sample_status(), Canvas::Terminal { colours: true });
        assert!(text.contains("disk:\x1b[32mUpToDate\x1b[0m size:1.0GiB\n"), "{text}");
        assert!(!plain(&sample_status()).contains('['));
    }
}
