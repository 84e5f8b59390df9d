//! Ring 1: what both bring, and when, as a script.
//!
//! Steps: `subscribed`, `change`, `wait 2s`; `old` and `new` bring `trade 0` (of the first
//! instrument), `book 1` or `snapshot 1`. After each wait it says how the successor stands; in a
//! `stall` it is not asked.

use super::*;
use expect_test::{Expect, expect};

fn slot(number: usize) -> Slot {
    Slot::first(number + 1).last().unwrap()
}

fn seconds(text: &str) -> Duration {
    Duration::from_secs(text.strip_suffix('s').unwrap().parse().unwrap())
}

/// `books` are those of the first instruments.
fn check(books: usize, script: &str, expected: Expect) {
    let (mut overlap, mut now, mut said) = (Overlap::default(), Instant::now(), Vec::new());
    for step in script.split(" | ") {
        match step.split(' ').collect::<Vec<_>>()[..] {
            ["subscribed"] => overlap.begin(now),
            ["change"] => overlap.change(now),
            ["stall", length] => now += seconds(length),
            ["wait", length] => {
                now += seconds(length);
                said.push(match overlap.judge(|_| false, Slot::first(books), now) {
                    Standing::Unproven => "unproven".to_owned(),
                    Standing::Serves => "serves".to_owned(),
                    Standing::Fails(count) => format!("owes {count}"),
                });
            }
            [who, what, of] => {
                let kind = if what == "trade" { Kind::Trade } else { Kind::Book };
                let is_snapshot = what == "snapshot";
                let heard = Heard { slot: slot(of.parse().unwrap()), kind, is_snapshot };
                overlap.hear(&[heard], who == "new", books > 0);
            }
            _ => panic!("no step {step:?}"),
        }
    }
    expected.assert_eq(&said.join(", "));
}

#[test]
fn a_successor_serves_once_it_has_brought_what_the_old_one_brought() {
    check(
        0,
        "subscribed | old trade 0 | old trade 1 | new trade 0 | wait 1s | wait 1s | new trade 1 | wait 0s",
        expect!["unproven, unproven, serves"],
    );
}

#[test]
fn a_successor_that_is_confirmed_and_never_served_fails() {
    check(
        0,
        "subscribed | old trade 0 | old trade 1 | wait 2s | wait 7s | wait 1s",
        expect!["unproven, unproven, owes 2"],
    );
}

#[test]
fn one_silent_stream_among_others_is_enough_to_fail() {
    check(
        0,
        "subscribed | old trade 0 | old trade 1 | new trade 0 | wait 2s | new trade 0 | wait 8s",
        expect!["unproven, owes 1"],
    );
}

#[test]
fn what_the_successor_brought_first_is_not_owed_and_neither_is_what_comes_after_the_overlap() {
    check(
        0,
        "new trade 0 | subscribed | old trade 0 | wait 2s | old trade 1 | wait 0s",
        expect!["serves, serves"],
    );
}

#[test]
fn what_waited_while_the_feed_was_held_up_is_of_the_overlap() {
    check(
        0,
        "subscribed | stall 3s | old trade 0 | wait 0s | old trade 1 | wait 7s | wait 1s",
        expect!["unproven, unproven, owes 1"],
    );
}

#[test]
fn where_nothing_comes_nothing_is_owed() {
    check(0, "old trade 0 | subscribed | wait 2s", expect!["serves"]);
}

#[test]
fn a_chained_book_is_owed_until_its_snapshot() {
    check(
        2,
        "subscribed | new snapshot 0 | new book 1 | wait 2s | new snapshot 1 | wait 0s",
        expect!["unproven, serves"],
    );
    check(
        2,
        "subscribed | new snapshot 0 | old book 1 | new book 1 | wait 2s | wait 8s",
        expect!["unproven, owes 1"],
    );
}

#[test]
fn a_change_of_what_is_carried_begins_the_overlap_anew() {
    check(
        0,
        "subscribed | old trade 0 | wait 1s | change | old trade 1 | wait 1s | wait 1s | new trade 1 | wait 0s",
        expect!["unproven, unproven, unproven, serves"],
    );
}
