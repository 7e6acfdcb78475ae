//! Rules about the documents: what they name exists.

use super::{assert_none, files, top};
use std::collections::BTreeSet;
use std::process::Command;

/// Everything between backquotes, and every line of an indented or fenced block.
fn named(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced || line.starts_with("    ") {
            found.push((number + 1, line.trim().to_owned()));
        } else {
            let quoted = line.split('`').skip(1).step_by(2);
            found.extend(quoted.map(|quote| (number + 1, quote.trim().to_owned())));
        }
    }
    found
}

fn documents() -> Vec<(String, String)> {
    files(".md").into_iter().filter(|(name, _)| !name.contains("/fuzz/")).collect()
}

#[test]
fn every_file_that_a_document_names_exists() {
    let rooms = [
        "metadata/",
        "replicator/",
        "nbd-server/",
        "blkrep/",
        "bench/",
        "tests/",
        "packaging/",
        "docs/",
        ".ci/",
    ];
    let mut faults = Vec::new();
    for (name, text) in documents() {
        let folder = top().join(&name).parent().expect("a file has a folder").to_owned();
        for (number, quote) in named(&text) {
            let path = quote
                .split_whitespace()
                .next()
                .unwrap_or("")
                .trim_end_matches([',', '.', ':', ';']);
            let is_path = rooms.iter().any(|room| path.starts_with(room)) || path.ends_with(".md");
            let is_pattern = path.contains(['*', '<', '{', '(']) || path.contains("::");
            if is_path && !is_pattern && !top().join(path).exists() && !folder.join(path).exists() {
                faults.push(format!("{name}:{number}: {path}"));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let mut faults = Vec::new();
    for (name, text) in documents() {
        let folder = top().join(&name).parent().expect("a file has a folder").to_owned();
        for (number, line) in text.lines().enumerate() {
            for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                let path = target.split('#').next().unwrap_or("");
                if !path.is_empty() && !path.contains("://") && !folder.join(path).exists() {
                    faults.push(format!("{name}:{}: {target}", number + 1));
                }
            }
        }
    }
    assert_none(&faults);
}

/// The name of a test, as the tables of the documents write it: words joined by underscores, with
/// or without modules in front.
fn test_name(quote: &str) -> Option<&str> {
    const UNDERSCORES_MIN: usize = 3;
    let name = quote.rsplit("::").next()?;
    let is_name = name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_')
        && name.bytes().filter(|c| *c == b'_').count() >= UNDERSCORES_MIN;
    is_name.then_some(name)
}

#[test]
fn every_test_that_a_document_names_exists() {
    let sources = files(".rs");
    let functions: BTreeSet<&str> = sources
        .iter()
        .flat_map(|(_, text)| text.split("fn ").skip(1))
        .filter_map(|rest| rest.split(['(', '<']).next())
        .collect();
    let mut named_ever = 0;
    let mut faults = Vec::new();
    for (name, text) in documents() {
        for (number, quote) in named(&text) {
            let Some(test) = test_name(&quote) else { continue };
            named_ever += 1;
            if !functions.contains(test) {
                faults.push(format!("{name}:{number}: {test}"));
            }
        }
    }
    assert!(named_ever > 50, "the tables of docs/nbd.md are understood: {named_ever} names");
    assert_none(&faults);
}

/// Rows of a table of docs/nbd.md say which test shows them.
#[test]
fn every_row_of_the_protocol_table_names_its_test() {
    let text = std::fs::read_to_string(top().join("docs/nbd.md")).expect("the document is there");
    let mut faults = Vec::new();
    let mut rows = 0;
    for (number, line) in text.lines().enumerate() {
        let is_row = line.starts_with("| ") && !line.contains(" test ") && !line.contains("| test");
        if !is_row {
            continue;
        }
        rows += 1;
        let last = line.trim_end_matches(['|', ' ']).rsplit("| ").next().unwrap_or("");
        let names_one = last.split('`').skip(1).step_by(2).any(|quote| test_name(quote).is_some());
        if !names_one && !last.starts_with("same") {
            faults.push(format!("docs/nbd.md:{}: {line}", number + 1));
        }
    }
    assert!(rows > 40, "the tables are understood: {rows} rows");
    assert_none(&faults);
}

fn verbs() -> BTreeSet<String> {
    let help =
        Command::new(env!("CARGO_BIN_EXE_blkrep")).arg("--help").output().expect("blkrep runs");
    let text = String::from_utf8(help.stdout).expect("help is text");
    let commands = text.split("Commands:").nth(1).expect("help lists the commands");
    commands
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_command_that_a_document_or_a_message_names_exists() {
    let verbs = verbs();
    assert!(verbs.contains("up") && verbs.contains("status"), "the help is understood: {verbs:?}");
    let mut faults = Vec::new();
    let check = |name: &str, number: usize, text: &str, faults: &mut Vec<String>| {
        for rest in text.split("blkrep ").skip(1) {
            let word: String =
                rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
            if !word.is_empty() && !word.starts_with('-') && !verbs.contains(&word) {
                faults.push(format!("{name}:{number}: blkrep {word}"));
            }
        }
    };
    for (name, text) in documents() {
        for (number, quote) in named(&text) {
            if quote.starts_with("blkrep ") {
                check(&name, number, &quote, &mut faults);
            }
        }
    }
    for (name, text) in files(".rs") {
        for (number, line) in text.lines().enumerate() {
            if let Some(at) = line.find("'blkrep ") {
                check(&name, number + 1, &line[at + 1..], &mut faults);
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn every_dependency_has_its_line() {
    let listed =
        std::fs::read_to_string(top().join("docs/dependencies.md")).expect("the list is there");
    let mut faults = Vec::new();
    for (name, text) in files("Cargo.toml") {
        let mut in_dependencies = false;
        for line in text.lines() {
            if line.starts_with('[') {
                in_dependencies = line.contains("dependencies");
                continue;
            }
            let Some(key) = line.split(['=', '.', ' ']).next().filter(|key| !key.is_empty()) else {
                continue;
            };
            let own = line.contains("path = ") || line.contains("workspace = true");
            if in_dependencies
                && !key.starts_with('#')
                && !own
                && !listed.contains(&format!("`{key}`"))
            {
                faults.push(format!("{name}: {key}"));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn documents_do_not_say_where_or_by_whom_they_were_written() {
    let faults: Vec<String> = documents()
        .iter()
        .chain(&files(".rs"))
        .chain(&files(".toml"))
        .flat_map(|(name, text)| text.lines().enumerate().map(move |(n, line)| (name, n + 1, line)))
        .filter(|(_, _, line)| {
            ["/work/", "/root/", "../shared"].iter().any(|mark| line.contains(mark))
        })
        .filter(|(name, _, _)| !name.starts_with("tests/house/"))
        .map(|(name, number, line)| format!("{name}:{number}: {}", line.trim()))
        .collect();
    assert_none(&faults);
}

/// The failures in the operators' manual are those that the cluster is really put through.
#[test]
fn every_scenario_of_the_operators_manual_exists() {
    let text = std::fs::read_to_string(top().join("docs/operations.md")).expect("it is there");
    let mut named_scenarios = 0;
    let mut faults = Vec::new();
    let rows = text.lines().enumerate().filter(|(_, line)| line.starts_with("| "));
    let in_table = rows.skip_while(|(_, line)| !line.contains("| scenario |"));
    for (number, line) in in_table.take_while(|(_, line)| !line.starts_with("| what is seen")) {
        let last = line.trim_end_matches(['|', ' ']).rsplit('|').next().unwrap_or("");
        for scenario in last.split('`').skip(1).step_by(2) {
            named_scenarios += 1;
            if !top().join("tests/pacemaker/scenarios").join(scenario).exists() {
                faults.push(format!("docs/operations.md:{}: {scenario}", number + 1));
            }
        }
    }
    assert!(named_scenarios > 10, "only {named_scenarios} scenarios are named");
    assert_none(&faults);
}
