//! Named schedules of the resync, with sound engines and with the rule broken that each is about.

use simulation::SCENARIOS;

/// Ends well, and badly when any of the rules is broken that it is about.
fn holds(name: &str) {
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name).expect("it is written");
    assert_eq!(scenario.play(None), Ok(()), "{name}");
    for mutation in scenario.catches {
        assert!(scenario.play(Some(*mutation)).is_err(), "{name} without {}", mutation.name());
    }
}

#[test]
fn f10d_equal_counts_as_a_write() {
    holds("f10d_equal_counts_as_a_write");
}

#[test]
fn f16_a_pause_acts_before_the_grant() {
    holds("f16_a_pause_acts_before_the_grant");
}
