//! systemd's units, as systemd reads them, and the line for cron, as cron runs it.

use crate::{packaged, path_with, script};
use std::fs;
use std::process::Command;
use std::time::Duration;
use testbed::program::run;
use testbed::scratch::Scratch;
use testbed::skips::require_tool;

const LIMIT: Duration = Duration::from_secs(60);
const UNITS: [&str; 3] = ["blkrep@.service", "blkrep-verify@.service", "blkrep-verify@.timer"];

#[test]
fn systemd_understands_every_line_of_the_units() {
    let Some(analyze) = require_tool("systemd-analyze") else { return };
    let dir = Scratch::new();
    // The program need not be installed where the tests run.
    for unit in UNITS {
        let text = fs::read_to_string(packaged(&format!("systemd/{unit}"))).unwrap();
        let text = text.replace("/usr/sbin/blkrep", env!("CARGO_BIN_EXE_blkrep"));
        fs::write(dir.path().join(unit.replace('@', "@r0")), text).unwrap();
    }
    for unit in UNITS {
        let file = dir.path().join(unit.replace('@', "@r0"));
        let mut command = Command::new(&analyze);
        let told = run(command.args(["verify", "--man=no"]).arg(&file), LIMIT);
        assert_eq!((told.code, &*told.stderr), (0, ""), "{unit}: {told:?}");
    }
}

/// Shell of the cron line, and of what it finds on the node.
struct Node {
    dir: Scratch,
    command: String,
}

impl Node {
    fn new() -> Self {
        let text = fs::read_to_string(packaged("cron.d/blkrep-verify")).unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("0 3 * * 6 ")).collect();
        let [line] = lines[..] else { panic!("one line for each Saturday: {text}") };
        let command = line.strip_prefix("0 3 * * 6 root ").expect("run by root");
        // A bare per cent sign is a new line for cron (crontab(5)).
        assert_eq!(command.matches('%').count(), command.matches("\\%").count(), "{command}");
        let node = Self { dir: Scratch::new(), command: command.replace("\\%", "%") };
        for name in ["r0", "r1"] {
            fs::write(node.dir.path().join(format!("{name}.toml")), "").unwrap();
        }
        script(node.dir.path(), "systemctl", "#!/bin/sh\nexit 3\n");
        node
    }

    /// `blkrep role` prints that for each resource; `verify` ends with that code.
    fn blkrep(&self, role: &str, code: i32) {
        let text = format!(
            "#!/bin/sh\ncd '{}'\ncase $1 in\nrole) echo '{role}' ;;\nverify) echo \"$@\" >> calls\n\
             echo compared; exit {code} ;;\nesac\n",
            self.dir.path().display()
        );
        script(self.dir.path(), "blkrep", &text);
    }

    /// Runs the line: what would be mailed, and what was verified.
    fn run(&self) -> (String, String) {
        let calls = self.dir.path().join("calls");
        fs::remove_file(&calls).ok();
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", &self.command])
            .env("PATH", path_with(self.dir.path()))
            .env("BLKREP_CONFIG_DIR", self.dir.path());
        let told = run(&mut command, LIMIT);
        (told.stdout + &told.stderr, fs::read_to_string(calls).unwrap_or_default())
    }
}

#[test]
fn cron_verifies_on_the_primary_and_mails_only_differences() {
    let node = Node::new();
    node.blkrep("Primary/Secondary", 0);
    let both = "verify --wait r0\nverify --wait r1\n";
    assert_eq!(node.run(), (String::new(), both.to_owned()));
    node.blkrep("Primary/Secondary", 1);
    let (mail, calls) = node.run();
    assert_eq!(calls, both, "a difference on one does not end it for the others");
    for words in ["r0: blkrep verify, exit code 1\ncompared\n", "r1: blkrep verify, exit code 1"] {
        assert!(mail.contains(words), "{mail}");
    }
    for role in ["Secondary/Primary", "Secondary/Secondary", ""] {
        node.blkrep(role, 1);
        assert_eq!(node.run(), (String::new(), String::new()), "{role}");
    }
}

#[test]
fn cron_leaves_a_resource_to_its_timer() {
    let node = Node::new();
    node.blkrep("Primary/Secondary", 0);
    let text = "#!/bin/sh\n[ \"$*\" = '-q is-active blkrep-verify@r1.timer' ]\n";
    script(node.dir.path(), "systemctl", text);
    assert_eq!(node.run(), (String::new(), "verify --wait r0\n".to_owned()));
}
