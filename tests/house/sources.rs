//! Rules about the source files.

use super::{assert_none, files};

/// Lines of code, without the inline tests.
const FILE_LINES_MAX: usize = 500;
/// Lines of one function.
const FUNCTION_LINES_MAX: usize = 80;
/// Functions that are one table with a row for each message of the protocol: as long as there are
/// messages.
const TABLES: [&str; 3] = [
    "pub(super) fn get(r: &mut BodyReader",
    "pub(super) fn put(message: &Message",
    "pub(super) fn samples_of(kind: Kind)",
];

fn before_tests(text: &str) -> &str {
    text.find("#[cfg(test)]\nmod ").map_or(text, |at| &text[..at])
}

#[test]
fn every_source_file_says_its_duty_in_the_first_line() {
    let faults: Vec<String> = files(".rs")
        .iter()
        .filter(|(_, text)| {
            !text.starts_with("//! ") || text.lines().next().is_none_or(|l| l.len() < 20)
        })
        .map(|(name, _)| name.clone())
        .collect();
    assert_none(&faults);
}

#[test]
fn no_source_file_has_room_for_a_second_duty() {
    let faults: Vec<String> = files(".rs")
        .iter()
        .map(|(name, text)| (name, before_tests(text).lines().count()))
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .map(|(name, lines)| format!("{name}: {lines} lines"))
        .collect();
    assert_none(&faults);
}

#[test]
fn functions_fit_on_a_screen() {
    let mut faults = Vec::new();
    for (name, text) in files(".rs") {
        let mut open: Option<(usize, usize, String)> = None;
        for (number, line) in text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let is_function = line.split_whitespace().take(4).any(|word| word == "fn");
            if open.is_none() && is_function && !line.trim_end().ends_with(';') {
                open = Some((number, indent, line.trim().to_owned()));
            } else if let Some((began, depth, head)) = &open
                && indent == *depth
                && line.trim_end() == format!("{}}}", " ".repeat(*depth))
            {
                let is_table = TABLES.iter().any(|table| head.starts_with(table));
                if number - began + 1 > FUNCTION_LINES_MAX && !is_table {
                    faults.push(format!(
                        "{name}:{}: {} lines: {head}",
                        began + 1,
                        number - began + 1
                    ));
                }
                open = None;
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn nothing_is_left_undone_and_no_room_is_a_lumber_room() {
    // Put together here, so that this file does not find itself.
    let marks = ["TO", "FIX", "XX"].map(|half| {
        format!(
            "{half}{}",
            if half == "TO" {
                "DO"
            } else if half == "FIX" {
                "ME"
            } else {
                "X"
            }
        )
    });
    let lumber = ["util", "utils", "common", "helpers", "helper", "misc", "manager"];
    let mut faults = Vec::new();
    for (name, text) in files(".rs") {
        let stem = name.rsplit('/').next().unwrap_or(&name).trim_end_matches(".rs").to_owned();
        if lumber.contains(&stem.as_str()) {
            faults.push(format!("{name}: a name that says nothing"));
        }
        for (number, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark.as_str())) {
                faults.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
            if !line.is_ascii() {
                faults.push(format!("{name}:{}: not ASCII", number + 1));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn the_pure_crates_name_nothing_impure() {
    let impure = [
        "std::fs",
        "std::net",
        "std::thread",
        "std::process",
        "std::env",
        "std::time::Instant",
        "SystemTime",
        "tokio",
        "libc::",
        "rustix",
        "rand::",
        "HashMap",
        "HashSet",
        "std::io::",
    ];
    let mut faults = Vec::new();
    for (name, text) in files(".rs") {
        let pure = ["metadata/src/", "replicator/src/", "nbd-server/src/"];
        if !pure.iter().any(|room| name.starts_with(room)) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            if impure.iter().any(|word| code.contains(word)) {
                faults.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn unsafe_code_is_allowed_in_the_ring_alone() {
    let allow = format!("allow({})", "unsafe_code");
    let faults: Vec<String> = files(".rs")
        .iter()
        .filter(|(name, text)| text.contains(&allow) && !name.starts_with("blkrep/src/ring/"))
        .map(|(name, _)| name.clone())
        .collect();
    assert_none(&faults);
}

#[test]
fn comments_stay_within_100_columns() {
    let mut faults = Vec::new();
    for (name, text) in files(".rs") {
        for (number, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("//") && line.len() > 100 {
                faults.push(format!("{name}:{}: {} columns", number + 1, line.len()));
            }
        }
    }
    assert_none(&faults);
}
