//! Ring 1: scripts of observations.

use super::{Restarts, Starts};

/// Observes `NRestarts invocation` pairs and returns the total; `-` is absent.
fn starts(script: &str) -> Starts {
    let mut restarts = Restarts::default();
    for step in script.split('|') {
        let mut words = step.split_whitespace();
        let automatic = words.next().and_then(|word| word.parse().ok());
        let invocation = words.next().filter(|&word| word != "-");
        restarts.observe(automatic, invocation);
    }
    restarts.total()
}

fn total(script: &str) -> u64 {
    starts(script).all
}

#[test]
fn what_happened_before_the_first_look_is_not_counted() {
    assert_eq!(total("7 a"), 0);
}

#[test]
fn automatic_restarts_between_two_looks_all_count() {
    assert_eq!(total("0 a | 3 d"), 3);
}

#[test]
fn a_counter_set_back_is_a_new_base_line() {
    assert_eq!(total("5 a | 0 b | 1 c"), 2);
    assert_eq!(total("5 a | 2 c"), 2);
}

#[test]
fn a_manual_restart_counts_by_its_invocation() {
    assert_eq!(total("0 a | 0 b | 0 b | 0 c"), 2);
}

#[test]
fn a_manual_restart_is_not_an_automatic_one() {
    assert_eq!(starts("0 a | 0 b | 0 c"), Starts { all: 2, automatic: 0 });
    assert_eq!(starts("0 a | 2 c | 0 d | 1 e"), Starts { all: 4, automatic: 3 });
}

#[test]
fn a_stop_and_a_start_count_once() {
    assert_eq!(total("0 a | 0 - | 0 b"), 1);
}

#[test]
fn an_unreadable_look_changes_nothing() {
    assert_eq!(total("2 a | - - | 2 a | 3 b"), 1);
}
