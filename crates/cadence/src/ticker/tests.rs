//! Ring 1: scripts over the ticker, and properties of its answers.

use std::time::Duration;

use expect_test::{Expect, expect};
use jiff::tz::TimeZone;
use proptest::prelude::*;
use units::UnixNanos;

use super::{Command, MISSED_MAX, Ticker};
use crate::schedule::Schedule;
use crate::schedule::tests::{at, berlin, show};

fn ticker(text: &str, grace: u64, answered: UnixNanos) -> Ticker {
    Ticker::new(Schedule::parse(text, berlin()).unwrap(), Duration::from_secs(grace), answered)
}

fn word(command: &Command) -> String {
    match command {
        Command::Skip { first, last, count } => {
            format!("skip {count} from {} to {}", show(*first), show(*last))
        }
        Command::Run { tick, late } => format!("run {} ({}s late)", show(*tick), late.as_secs()),
    }
}

/// Runs the ticker at each of `times` and writes down what it answers.
fn check(ticker: &mut Ticker, times: &[&str], expected: Expect) {
    let log: Vec<String> = times
        .iter()
        .flat_map(|time| ticker.handle_time(at(time)))
        .map(|command| word(&command))
        .collect();
    expected.assert_eq(&log.join("\n"));
}

#[test]
fn a_tick_runs_once_however_often_it_is_asked() {
    check(
        &mut ticker("0 * * * *", 60, at("2026-11-22T10:30:00Z")),
        &[
            "2026-11-22T10:59:59Z",
            "2026-11-22T11:00:00Z",
            "2026-11-22T11:00:00.2Z",
            "2026-11-22T11:59:00Z",
        ],
        expect!["run 2026-11-22T11:00:00Z (0s late)"],
    );
}

#[test]
fn a_tick_within_the_grace_runs_late_and_the_ones_before_it_are_skipped() {
    check(
        &mut ticker("0 * * * *", 600, at("2026-11-22T10:30:00Z")),
        &["2026-11-22T14:05:00Z"],
        expect![[r#"
            skip 3 from 2026-11-22T11:00:00Z to 2026-11-22T13:00:00Z
            run 2026-11-22T14:00:00Z (300s late)"#]],
    );
}

#[test]
fn a_tick_beyond_the_grace_is_skipped_and_the_next_one_runs() {
    check(
        &mut ticker("0 * * * *", 60, at("2026-11-22T10:30:00Z")),
        &["2026-11-22T12:05:00Z", "2026-11-22T13:00:00Z"],
        expect![[r#"
            skip 2 from 2026-11-22T11:00:00Z to 2026-11-22T12:00:00Z
            run 2026-11-22T13:00:00Z (0s late)"#]],
    );
}

#[test]
fn a_long_absence_is_not_counted_to_the_end() {
    check(
        &mut ticker("* * * * * *", 60, at("2026-10-22T10:30:00Z")),
        &["2026-11-22T12:05:00Z"],
        expect![[r#"
            skip 1000 from 2026-10-22T10:30:01Z to 2026-11-22T12:04:59Z
            run 2026-11-22T12:05:00Z (0s late)"#]],
    );
}

#[test]
fn a_clock_set_back_repeats_nothing() {
    check(
        &mut ticker("0 * * * *", 60, at("2026-11-22T10:30:00Z")),
        &[
            "2026-11-22T11:00:00Z",
            "2026-11-22T10:10:00Z",
            "2026-11-22T11:00:01Z",
            "2026-11-22T12:00:00Z",
        ],
        expect![[r#"
            run 2026-11-22T11:00:00Z (0s late)
            run 2026-11-22T12:00:00Z (0s late)"#]],
    );
}

#[test]
fn a_fixed_time_runs_once_in_the_repeated_hour_and_once_after_a_jump() {
    check(
        &mut ticker("30 2 * * *", 60, at("2026-10-25T00:00:00Z")),
        &["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"],
        expect!["run 2026-10-25T00:30:00Z (0s late)"],
    );
    check(
        &mut ticker("30 2 * * *", 60, at("2026-03-29T00:00:00Z")),
        &["2026-03-29T00:59:59Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"],
        expect!["run 2026-03-29T01:00:00Z (0s late)"],
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Rule 1: however the caller's clock walks, every tick up to the end is answered exactly once.
    #[test]
    fn every_tick_is_answered_exactly_once(
        steps in prop::collection::vec(-600_i64..7_200, 1..20),
        grace in 0_u64..3_600,
    ) {
        let start = at("2026-10-24T22:13:07Z");
        let mut ticker = ticker("*/7 * * * *", grace, start);
        let reference = Schedule::parse("*/7 * * * *", berlin()).unwrap();
        let mut expected = reference.next_after(start);
        let mut now = start;
        for step in steps {
            now = UnixNanos::new(now.as_i64() + step * 1_000_000_000);
            for command in ticker.handle_time(now) {
                match command {
                    Command::Run { tick, late } => {
                        prop_assert_eq!(Some(tick), expected);
                        prop_assert!(late <= Duration::from_secs(grace));
                        expected = reference.next_after(tick);
                    }
                    Command::Skip { first, last, count } => {
                        prop_assert!(count < MISSED_MAX);
                        let mut tick = first;
                        for _ in 0..count {
                            prop_assert_eq!(Some(tick), expected);
                            expected = reference.next_after(tick);
                            if tick == last { break; }
                            tick = expected.unwrap();
                        }
                        prop_assert_eq!(tick, last);
                    }
                }
            }
            prop_assert!(expected.is_some_and(|tick| tick > ticker.answered()));
        }
    }

    #[test]
    fn an_utc_ticker_answers_in_any_zone_of_time(hours in 0_i64..24 * 365 * 20) {
        let start = UnixNanos::new(hours * 3_600_000_000_000);
        let schedule = Schedule::parse("@daily", TimeZone::UTC).unwrap();
        let mut ticker = Ticker::new(schedule, Duration::ZERO, start);
        let tick = ticker.poll_timeout().unwrap();
        prop_assert_eq!(ticker.handle_time(tick), vec![Command::Run { tick, late: Duration::ZERO }]);
    }
}
