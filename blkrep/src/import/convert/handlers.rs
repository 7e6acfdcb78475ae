//! The commands of `handlers`: DRBD's own scripts become blkrep's, everything else stays.

use super::super::draft::quote;
use super::super::notes::Severity;
use super::super::options::{Section, Table};
use super::super::tree::Setting;
use super::{Conversion, shown};

const FENCE_PEER: &str = "/usr/lib/blkrep/blkrep-fence-peer";
const UNFENCE_PEER: &str = "/usr/lib/blkrep/blkrep-unfence-peer";
const STONITH_PEER: &str = "/usr/lib/blkrep/blkrep-stonith-peer";
const NOTIFY: &str = "/usr/lib/blkrep/blkrep-notify";

/// Which of a script's options ours is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// All.
    All,
    /// Those of [`OPTIONS_KEPT`].
    Some,
    /// None: it was another program.
    None,
}

/// DRBD's scripts that have one of ours in their place.
const SCRIPTS: [(&str, &str, Takes); 8] = [
    ("crm-fence-peer.sh", FENCE_PEER, Takes::Some),
    ("crm-fence-peer.9.sh", FENCE_PEER, Takes::Some),
    ("crm-unfence-peer.sh", UNFENCE_PEER, Takes::None),
    ("crm-unfence-peer.9.sh", UNFENCE_PEER, Takes::None),
    ("stonith_admin-fence-peer.sh", STONITH_PEER, Takes::None),
    ("outdate-peer.sh", FENCE_PEER, Takes::None),
    ("outdate-peer", FENCE_PEER, Takes::None),
    ("drbd-peer-outdater", FENCE_PEER, Takes::None),
];
/// Options of DRBD's fencing script that ours knows too.
const OPTIONS_KEPT: [&str; 3] = ["--timeout", "--dc-timeout", "--unreachable-peer-is-outdated"];
/// Programs and files that know nothing of blkrep's resources.
const DRBD_TOOLS: [&str; 4] = ["drbdadm", "drbdsetup", "drbdmeta", "/proc/drbd"];

impl Conversion<'_> {
    pub(super) fn handler(&mut self, setting: &Setting) {
        let command = setting.given.shown();
        let key = setting.row.name;
        let changed = replace(key, &command);
        if !changed.left_out.is_empty() {
            let text = format!(
                "'{key}': {} is nothing that blkrep's script takes, and is left out of the command",
                changed.left_out.join(" ")
            );
            self.say(Severity::Warning, setting, text);
        }
        if changed.was_outdater {
            let text = format!(
                "'{key}': DRBD's script asked the peer over a line of its own; {FENCE_PEER} asks \
                 Pacemaker and places a constraint there"
            );
            self.say(Severity::Warning, setting, text);
        }
        let text = if changed.command == command {
            format!(
                "{} stays as it is: it finds its variables under BLKREP_ and DRBD_; DRBD_MINOR is 0",
                shown(setting)
            )
        } else {
            format!("{} becomes '{}'", shown(setting), changed.command)
        };
        self.note(setting, text);
        if let Some(tool) = DRBD_TOOLS.iter().find(|tool| uses(&changed.command, tool)) {
            let text = format!(
                "'{key}' uses {tool}, which knows nothing of this resource; write what blkrep has \
                 for it"
            );
            self.say(Severity::Warning, setting, text);
        }
        self.draft.set(Table::Handlers, key, &quote(&changed.command), &setting.place);
    }

    /// With 8.4 the constraint of `fence-peer` is lifted after a resync. blkrep has a handler for
    /// it, which runs also when there was nothing to copy.
    pub(super) fn lift_by_unfence_peer(&mut self) {
        let setting = self.get(Section::Handlers, "after-resync-target");
        let lifts =
            |it: &Setting| replace(it.row.name, &it.given.shown()).command.contains(UNFENCE_PEER);
        let Some(setting) = setting.filter(lifts) else { return };
        if self.draft.has(Table::Handlers, "unfence-peer") {
            return;
        }
        self.draft.set(Table::Handlers, "unfence-peer", &quote(UNFENCE_PEER), &setting.place);
        let text = "'after-resync-target' lifts the constraint of 'fence-peer'; unfence-peer is set \
                    to do so too, when there was nothing to copy";
        self.note(&setting, text.to_owned());
    }
}

/// True if `tool` is a word of `command`, with or without its directory.
fn uses(command: &str, tool: &str) -> bool {
    pieces(command).iter().any(|piece| *piece == tool || piece.ends_with(&format!("/{tool}")))
}

/// A command with DRBD's scripts replaced.
#[derive(Debug, Default)]
struct Changed {
    command: String,
    /// Options that were taken out.
    left_out: Vec<String>,
    /// The script asked the peer by ssh or Heartbeat.
    was_outdater: bool,
}

/// Replaces every word that is one of DRBD's scripts, and takes out the options of a script that
/// ours does not know: it would refuse them when it is needed.
fn replace(key: &str, command: &str) -> Changed {
    let mut changed = Changed::default();
    let mut takes = Takes::All;
    let mut drops_value = false;
    for piece in pieces(command) {
        if piece.contains([';', '&', '|', '(', ')', '<', '>']) {
            takes = Takes::All;
        }
        // In quotes the path and its first argument would be one word.
        let is_quoted = changed.command.ends_with(['"', '\'']);
        let script = ours(key, piece).filter(|(_, script, _)| !is_quoted || !script.contains(' '));
        if let Some((name, script, its)) = script {
            changed.was_outdater |= name.contains("outdate");
            changed.command += &script;
            takes = its;
            drops_value = false;
            continue;
        }
        let is_word = !piece.starts_with(is_between);
        let name = piece.split('=').next().unwrap_or(piece);
        let is_dropped = is_word
            && match takes {
                Takes::All => false,
                Takes::None => true,
                Takes::Some if name.starts_with('-') => {
                    drops_value = !OPTIONS_KEPT.contains(&name);
                    drops_value
                }
                Takes::Some => drops_value,
            };
        if is_dropped {
            changed.left_out.push(piece.to_owned());
            // With the blank before it.
            changed.command.truncate(changed.command.trim_end().len());
        } else {
            changed.command += piece;
        }
    }
    changed
}

/// True for what separates the words of a command.
fn is_between(c: char) -> bool {
    c.is_whitespace() || ";&|()\"'<>".contains(c)
}

/// The words of a command, and what is between them.
fn pieces(command: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = command;
    while let Some(first) = rest.chars().next() {
        let between = is_between(first);
        let end = rest.find(|c| is_between(c) != between).unwrap_or(rest.len());
        let (piece, left) = rest.split_at(end);
        pieces.push(piece);
        rest = left;
    }
    pieces
}

/// Our script in the place of DRBD's. One that lies anywhere else may have been changed.
fn ours<'a>(key: &str, word: &'a str) -> Option<(&'a str, String, Takes)> {
    let (folder, name) = word.rsplit_once('/')?;
    if !folder.ends_with("/drbd") && name != "drbd-peer-outdater" {
        return None;
    }
    if let Some((_, script, takes)) = SCRIPTS.iter().find(|(known, ..)| *known == name) {
        return Some((name, (*script).to_owned(), *takes));
    }
    // DRBD's know by their name what they tell; ours is told by its first argument.
    let event = match name.strip_suffix(".sh")? {
        "notify" => key,
        "notify-io-error" => "local-io-error",
        other => other.strip_prefix("notify-")?,
    };
    Some((name, format!("{NOTIFY} {event}"), Takes::All))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_of_drbd_become_ours_wherever_they_stand_in_a_command() {
        for (old, new) in [
            ("/usr/lib/drbd/crm-fence-peer.sh", FENCE_PEER.to_owned()),
            ("/usr/lib64/drbd/crm-unfence-peer.9.sh", UNFENCE_PEER.to_owned()),
            ("/usr/lib/drbd/notify-split-brain.sh root", format!("{NOTIFY} split-brain root")),
            ("/usr/lib/drbd/notify.sh", format!("{NOTIFY} split-brain")),
            (
                "/usr/lib/drbd/notify-io-error.sh; /usr/lib/drbd/notify-emergency-reboot.sh; reboot -f",
                format!("{NOTIFY} local-io-error; {NOTIFY} emergency-reboot; reboot -f"),
            ),
            ("/usr/lib/drbd/notify-x.sh a", format!("{NOTIFY} x a")),
        ] {
            let changed = replace("split-brain", old);
            assert_eq!(changed.command, new);
            assert!(changed.left_out.is_empty(), "{old}");
        }
    }

    #[test]
    fn a_script_that_may_have_been_changed_stays() {
        for command in [
            "/usr/local/sbin/crm-fence-peer.sh",
            "/usr/lib/drbd/snapshot-resync-target-lvm.sh -p 15 -- -c 16k",
            "/usr/local/bin/notify-me.sh --loud",
            "logger \"notify.sh\"",
            "\"/usr/lib/drbd/notify-x.sh\" root",
            "",
        ] {
            assert_eq!(replace("fence-peer", command).command, command);
        }
    }

    #[test]
    fn options_that_ours_would_refuse_are_taken_out_and_named() {
        let changed = replace(
            "fence-peer",
            "/usr/lib/drbd/crm-fence-peer.sh --timeout 90 --network-hickup 3 --dc-timeout=30 \
             --suicide-on-failure-if-primary; logger fenced --x",
        );
        let expected = format!("{FENCE_PEER} --timeout 90 --dc-timeout=30; logger fenced --x");
        assert_eq!(changed.command, expected);
        let left_out = ["--network-hickup", "3", "--suicide-on-failure-if-primary"];
        assert_eq!(changed.left_out, left_out);
    }

    #[test]
    fn a_script_that_asked_the_peer_is_told_apart() {
        let changed = replace("fence-peer", "/usr/lib/heartbeat/drbd-peer-outdater -t 5");
        assert!(changed.was_outdater);
        assert_eq!(changed.command, FENCE_PEER);
        assert!(
            replace("fence-peer", "/usr/lib/drbd/outdate-peer.sh on a 1.2.3.4 1.2.3.5")
                .was_outdater
        );
        assert!(!replace("fence-peer", "/usr/lib/drbd/crm-fence-peer.sh").was_outdater);
    }

    #[test]
    fn a_tool_of_drbd_is_found_as_a_word() {
        assert!(uses("/sbin/drbdadm secondary r0; reboot", "drbdadm"));
        assert!(uses("cat /proc/drbd", "/proc/drbd"));
        assert!(!uses("/usr/local/sbin/drbdadm-report", "drbdadm"));
    }
}
