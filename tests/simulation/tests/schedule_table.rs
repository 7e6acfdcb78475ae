//! The table of schedules is complete and true: every letter of both reviews has a row, every row
//! names a scenario that fails without its mend, or says why there is none. (That it fails is seen
//! in `mutations`.)

use simulation::{COVERED_TWICE, SCHEDULES, Shown, Twice, scenario_named};

/// Branches of the schedules that have several; every other number of F1-F24 and R1-R31 has one.
const BRANCHES: &[(&str, &[&str])] = &[
    ("F1", &[" first", " second", " third"]),
    ("F2", &["a", "b", "c", "d", "e"]),
    ("F3", &["a", "b", "c", "d"]),
    ("F5", &[" first", " second"]),
    ("F7", &["a", "b", "c"]),
    ("F8", &[" flush", " demotion", " promotion"]),
    ("F9", &[" first", " second", " start", " grant", " confirmation", " next divergence"]),
    ("F10", &["a", "b", "c", "d", "e", "f", "g"]),
    ("F12", &["a", "b", "c"]),
    ("F14", &["a", "a generation", "b"]),
    ("F15", &[" i", " ii"]),
    ("F16", &[" deadlock", " inversion"]),
    ("F19", &["a", "b", "c", "d", "e"]),
    ("F22", &["a", "b promotions", "b dials", "c", "d", "e discard", "e rr-conflict", "f", "g"]),
    ("R1", &[" i", " ii"]),
    ("R6", &[" i", " ii", " iii", " iv"]),
    ("R10", &[" promotion", " demotion"]),
    ("R18", &[" i", " ii", " iii"]),
    ("R26", &[" sizes", " bits", " one step"]),
];

fn letters() -> Vec<String> {
    let numbers = (1..=24).map(|number| format!("F{number}"));
    let numbers = numbers.chain((1..=31).map(|number| format!("R{number}")));
    numbers
        .flat_map(|letter| {
            let branches = BRANCHES.iter().find(|(of, _)| *of == letter);
            let branches: &[&str] = branches.map_or(&[""], |(_, branches)| branches);
            branches.iter().map(|branch| format!("{letter}{branch}")).collect::<Vec<String>>()
        })
        .collect()
}

#[test]
fn every_schedule_has_its_row_in_order() {
    let rows: Vec<&str> = SCHEDULES.iter().map(|schedule| schedule.letter).collect();
    assert_eq!(rows, letters());
}

#[test]
fn every_row_names_a_scenario_that_fails_without_the_mend_or_says_why_there_is_none() {
    for schedule in SCHEDULES {
        match schedule.shown {
            Shown::Not(why) => assert!(!why.is_empty(), "{}", schedule.letter),
            Shown::By(name, without) => {
                let scenario = scenario_named(name)
                    .unwrap_or_else(|| panic!("{}: no scenario {name}", schedule.letter));
                assert!(
                    scenario.catches.contains(&without),
                    "{}: {name} is not known to fail with {}",
                    schedule.letter,
                    without.name()
                );
            }
        }
    }
}

#[test]
fn what_is_kept_twice_passes_without_either_rule_and_fails_without_both() {
    for Twice { scenario, both, alone } in COVERED_TWICE {
        let played = scenario_named(scenario).expect("it is in a list");
        for one in alone {
            assert_eq!(played.play(Some(*one)), Ok(()), "{scenario} without {}", one.name());
        }
        assert!(played.play(Some(*both)).is_err(), "{scenario} without {}", both.name());
    }
}

#[test]
fn no_two_scenarios_have_one_name() {
    let mut names: Vec<&str> = simulation::all_scenarios().map(|scenario| scenario.name).collect();
    names.sort_unstable();
    let doubled: Vec<&&str> =
        names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| &pair[0]).collect();
    assert!(doubled.is_empty(), "{doubled:?}");
}
