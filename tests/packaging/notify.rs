//! The notifying handler: what is in its mail, and that it never holds up or fails its caller.

use crate::{packaged, path_with, script, with_program};
use std::fs;
use std::process::Command;
use std::time::Duration;
use testbed::program::{Output, run};
use testbed::scratch::Scratch;

const LIMIT: Duration = Duration::from_secs(60);

/// A folder of programs in which nothing sends mail, and everything that is called notes it.
struct Programs(Scratch);

impl Programs {
    fn new() -> Self {
        let programs = Self(Scratch::new());
        with_program(programs.0.path());
        for name in ["sendmail", "mail", "logger"] {
            programs.ends(name, "exit 1");
        }
        programs
    }

    /// From now on that program notes its call and what it reads, and goes on with `rest`.
    fn ends(&self, name: &str, rest: &str) {
        let folder = self.0.path();
        let noted = folder.join(format!("{name}.noted")).display().to_string();
        let text = format!("#!/bin/sh\n(echo \"$@\"; cat) > '{noted}'\n{rest}\n");
        script(folder, name, &text);
    }

    fn noted(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.0.path().join(format!("{name}.noted"))).ok()
    }

    /// Runs the handler as the daemon does, with an end of its own if `event` is given.
    fn notify(&self, handler: &str, arguments: &[&str]) -> Output {
        self.run(&mut Command::new(packaged("handlers/blkrep-notify")), handler, arguments)
    }

    fn run(&self, command: &mut Command, handler: &str, arguments: &[&str]) -> Output {
        let folder = self.0.path();
        let command = command
            .args(arguments)
            .env("PATH", path_with(folder))
            .env("BLKREP_HANDLER", handler)
            .env("BLKREP_RESOURCE", "r0")
            .env("BLKREP_PEER", "bob")
            .env("BLKREP_CONFIG_DIR", folder)
            .env("BLKREP_RUN_DIR", folder);
        run(command, LIMIT)
    }
}

#[test]
fn a_mail_says_what_has_happened_how_it_is_and_what_to_do() {
    let programs = Programs::new();
    programs.ends("sendmail", "exit 0");
    assert_eq!(programs.notify("split-brain", &[]).code, 0);
    let mail = programs.noted("sendmail").expect("it was called");
    for words in [
        "-t -oi\n",
        "To: root\n",
        "Subject: blkrep: split-brain of r0 on ",
        "blkrep connect --discard-my-data r0",
        "peer bob",
        "State when this was sent:",
        // There is no configuration here: what the program says of that is in the mail too.
        "r0.toml",
    ] {
        assert!(mail.contains(words), "no {words:?} in {mail}");
    }
    let (head, _) = mail.split_once("\n\n").expect("a head and a body");
    assert_eq!(head.lines().count(), 4, "{head}");
    assert_eq!(programs.noted("mail"), None);
    // The event and the recipient as arguments go before what the daemon says.
    assert_eq!(programs.notify("split-brain", &["out-of-sync", "admin@example.org"]).code, 0);
    let mail = programs.noted("sendmail").unwrap();
    assert!(mail.contains("To: admin@example.org\n"), "{mail}");
    assert!(mail.contains("Subject: blkrep: out-of-sync of r0"), "{mail}");
    assert!(mail.contains("A verify has found"), "{mail}");
}

#[test]
fn every_event_that_calls_for_somebody_has_its_advice() {
    let programs = Programs::new();
    programs.ends("sendmail", "exit 0");
    let mut seen = Vec::new();
    for event in [
        "split-brain",
        "initial-split-brain",
        "out-of-sync",
        "local-io-error",
        "pri-lost",
        "pri-lost-after-sb",
        "pri-on-incon-degr",
    ] {
        programs.notify(event, &[]);
        let mail = programs.noted("sendmail").unwrap();
        assert!(!mail.contains("Look at the status below"), "{event}: {mail}");
        seen.push(mail.lines().nth(6).unwrap().to_owned());
    }
    programs.notify("after-resync-target", &[]);
    assert!(programs.noted("sendmail").unwrap().contains("Look at the status below"));
}

#[test]
fn what_cannot_be_mailed_is_logged_and_nothing_fails_the_caller() {
    let programs = Programs::new();
    assert_eq!(programs.notify("pri-lost", &[]).code, 0);
    for name in ["sendmail", "mail", "logger"] {
        let noted = programs.noted(name).unwrap_or_else(|| panic!("{name} was not tried"));
        assert!(noted.contains("pri-lost"), "{name}: {noted}");
    }
    let told = programs.notify("pri-lost", &[]);
    assert!(told.stderr.contains("blkrep: pri-lost of r0"), "at least to the log: {told:?}");
    programs.ends("mail", "exit 0");
    fs::remove_file(programs.0.path().join("logger.noted")).unwrap();
    programs.notify("pri-lost", &["", "admin"]);
    let mail = programs.noted("mail").unwrap();
    assert!(mail.starts_with("-s blkrep: pri-lost of r0 on "), "{mail}");
    assert!(mail.lines().next().unwrap().ends_with(" admin"), "{mail}");
    assert_eq!(programs.noted("logger"), None);
}

/// The script with shorter limits.
#[test]
fn a_mailer_or_a_status_that_hangs_is_not_waited_for() {
    let programs = Programs::new();
    let text = fs::read_to_string(packaged("handlers/blkrep-notify")).unwrap();
    let hasty =
        text.replace("SEND_MAX=30\n", "SEND_MAX=1\n").replace("STATUS_MAX=10\n", "STATUS_MAX=1\n");
    assert_eq!(hasty.len(), text.len() - 2, "both limits are where this test looks for them");
    script(programs.0.path(), "hasty-notify", &hasty);
    fs::remove_file(programs.0.path().join("blkrep")).unwrap();
    programs.ends("blkrep", "exec sleep 600");
    programs.ends("sendmail", "exec sleep 600");
    programs.ends("mail", "exit 0");
    let mut command = Command::new(programs.0.path().join("hasty-notify"));
    assert_eq!(programs.run(&mut command, "out-of-sync", &[]).code, 0);
    assert!(programs.noted("mail").unwrap().contains("(there is no status)"));
}
