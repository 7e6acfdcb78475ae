//! The interesting path of every rule, by the number that DESIGN gives it: a rule whose path is
//! never taken in random runs is not tested by them, whatever else passes.

use crate::coverage::Coverage;
use replicator::message::Message;
use replicator::wire::Kind;

/// Rule, and what is counted when its interesting path is taken.
pub const MARKS: &[(&str, &str)] = &[
    ("D1", "transaction of the log written"),
    ("D2", "write"),
    ("D2", "write alone"),
    ("D2", "client error"),
    ("D3", "flush"),
    ("D3", "flush alone"),
    ("D3", "FUA write"),
    ("D4", "pair of flushes of the keeper"),
    ("D4", "blocks marked as the peer is lost"),
    ("D5", "extent left the log"),
    ("D6", "write over a write that is open"),
    ("D6", "write into a range that a resync asks for"),
    ("D7", "bitmaps exchanged"),
    ("D7", "resync done"),
    ("D6", "digests of a verify"),
    ("D7", "verify complete"),
    ("D7", "verify broken off"),
    ("D7", "damage found by a verify beside a client"),
    ("D7", "damage found by a verify at rest"),
    ("D7", "damage repaired"),
    ("D8", "start with a log in use"),
    ("D9", "end of a resync granted"),
    ("D9", "lost grant"),
    ("D9", "sync not yet"),
    ("D9", "resync incomplete"),
    ("D10", "log handed over"),
    ("D10", "log taken over"),
    ("D11", "damaged head"),
    ("D11", "damaged body"),
    ("D11", "damaged payload"),
    ("D11", "zeroing on the peer"),
    ("D12", "read from the peer's disk"),
    ("D12", "data I/O error"),
    ("D13", "metadata write torn by a power cut"),
    ("D13", "metadata I/O error"),
    ("D14", "window of the peer used up"),
    ("D15", "start waited for its predecessor's I/O"),
    ("D15", "write of a dead process landed"),
    ("D15", "busy refusal"),
    ("D15", "disk given up"),
    ("D16", "request sent again"),
    ("D16", "kept request given up"),
    ("D17", "out-of-sync notice"),
    ("D18", "write on the peer's disk"),
    ("D19", "stall under a client"),
    ("D20", "device grown under its clients"),
    ("D20", "new part zeroed"),
    ("G1", "verdict by rule 20 or 30"),
    ("G1", "verdict by rules 34 to 37"),
    ("G1", "verdict by rule 40 or 41"),
    ("G1", "verdict by rule 50 or 70"),
    ("G1", "verdict by rule 51 or 71"),
    ("G1", "verdict by rule 90"),
    ("G1", "verdict by rule 100"),
    ("G2", "rotation"),
    ("G2", "rotation judged"),
    ("G3", "split brain detected"),
    ("G3", "split brain solved by a policy"),
    ("G3", "policies that differ refused"),
    ("G3", "verdict against a Primary"),
    ("G4", "promotion alone"),
    ("G4", "promotion with consent"),
    ("G4", "promotion refused by the peer"),
    ("G4", "Primary resumes after a restart"),
    ("G4", "Primary does not resume"),
    ("G5", "clients' I/O frozen or thawed"),
    ("G5", "fence-peer: outdated"),
    ("G5", "fence-peer: unreachable"),
    ("G5", "fence-peer: shot"),
    ("G6", "peer given up by ko-count"),
    ("G6", "peer given up by a ping"),
    ("G7", "Primary refuses other data than its clients have seen"),
    ("G8", "older copy restored"),
    ("G8", "restored copy noticed"),
];

/// The marks that were never taken.
#[must_use]
pub fn never_taken(coverage: &Coverage) -> Vec<(&'static str, &'static str)> {
    MARKS.iter().copied().filter(|(_, what)| coverage.of(what) == 0).collect()
}

/// The rows of the table of rules, in the order of DESIGN.
#[must_use]
pub fn table(coverage: &Coverage) -> String {
    let row = |(rule, what): &(&str, &str)| match coverage.of(what) {
        0 => format!("{rule:>4}  **** NEVER ****  {what}\n"),
        count => format!("{rule:>4}  {count:>15}  {what}\n"),
    };
    MARKS.iter().map(row).collect()
}

/// Messages, and what they show when they are sent.
const SENT: [(Kind, &str); 9] = [
    (Kind::PairDone, "pair of flushes of the keeper"),
    (Kind::Bitmap, "bitmaps exchanged"),
    (Kind::SyncGrant, "end of a resync granted"),
    (Kind::SyncIncomplete, "resync incomplete"),
    (Kind::TakeOver, "log handed over"),
    (Kind::TookOver, "log taken over"),
    (Kind::Zero, "zeroing on the peer"),
    (Kind::ReadData, "read from the peer's disk"),
    (Kind::OutOfSync, "out-of-sync notice"),
];

/// What a message shows when it is sent.
pub(crate) fn of_message(message: &Message) -> Option<&'static str> {
    let kind = Kind::of(message);
    SENT.iter().find(|(sent, _)| *sent == kind).map(|(_, what)| *what)
}

/// Words of the log, and what they show.
pub(crate) const TOLD: &[(&str, &str)] = &[
    ("extents of 4 MiB from the activity log", "start with a log in use"),
    ("by rule 20", "verdict by rule 20 or 30"),
    ("by rule 30", "verdict by rule 20 or 30"),
    ("by rule 34", "verdict by rules 34 to 37"),
    ("by rule 35", "verdict by rules 34 to 37"),
    ("by rule 36", "verdict by rules 34 to 37"),
    ("by rule 37", "verdict by rules 34 to 37"),
    ("by rule 40", "verdict by rule 40 or 41"),
    ("by rule 41", "verdict by rule 40 or 41"),
    ("by rule 50", "verdict by rule 50 or 70"),
    ("by rule 70", "verdict by rule 50 or 70"),
    ("by rule 51", "verdict by rule 51 or 71"),
    ("by rule 71", "verdict by rule 51 or 71"),
    ("by rule 90", "verdict by rule 90"),
    ("by rule 100", "verdict by rule 100"),
    ("before its daemon ended: it resumes", "Primary resumes after a restart"),
    ("not resumed as Primary", "Primary does not resume"),
    ("within ko-count", "peer given up by ko-count"),
    ("PingAck did not arrive", "peer given up by a ping"),
    ("Online verify done", "verify complete"),
    ("Online verify broken off", "verify broken off"),
    ("its clients have seen other data", "Primary refuses other data than its clients have seen"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_a_mark() {
        let rules = (1..=20).map(|n| format!("D{n}")).chain((1..=8).map(|n| format!("G{n}")));
        for rule in rules {
            assert!(MARKS.iter().any(|(marked, _)| *marked == rule), "{rule}");
        }
    }

    #[test]
    fn what_never_happened_stands_out() {
        let mut coverage = Coverage::default();
        coverage.count("write");
        let never = never_taken(&coverage);
        assert_eq!(never.len(), MARKS.len() - 1);
        let table = table(&coverage);
        assert_eq!(table.lines().filter(|line| line.contains("NEVER")).count(), never.len());
    }
}
