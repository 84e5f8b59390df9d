//! Ring 1: scripts over the ticker, and properties of its answers.

use std::time::Duration;

use expect_test::{Expect, expect};
use jiff::tz::TimeZone;
use proptest::prelude::*;
use units::UnixNanos;

use super::{CatchUp, Command, MISSED_MAX, Policy, Ticker};
use crate::schedule::Schedule;
use crate::schedule::tests::{at, berlin, show};

fn ticker(text: &str, grace: u64, answered: UnixNanos) -> Ticker {
    let policy = Policy { grace: Duration::from_secs(grace), ..Policy::default() };
    Ticker::new(Schedule::parse(text, berlin()).unwrap(), policy, answered)
}

fn catching_up(text: &str, catch_up: CatchUp, answered: UnixNanos) -> Ticker {
    let policy = Policy { catch_up, ..Policy::default() };
    Ticker::new(Schedule::parse(text, berlin()).unwrap(), policy, answered)
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
fn a_clock_that_was_a_year_ahead_does_not_stop_the_schedule_for_a_year() {
    check(
        &mut ticker("0 * * * *", 60, at("2026-11-22T10:30:00Z")),
        &[
            "2027-11-22T11:00:00Z",
            "2026-11-22T11:00:00Z",
            "2026-11-22T11:30:00Z",
            "2026-11-22T12:00:00Z",
        ],
        expect![[r#"
            skip 1000 from 2026-11-22T11:00:00Z to 2027-11-22T10:00:00Z
            run 2027-11-22T11:00:00Z (0s late)
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

#[test]
fn one_run_makes_up_for_all_that_was_missed() {
    check(
        &mut catching_up("0 * * * *", CatchUp::Once, at("2026-11-22T10:30:00Z")),
        &["2026-11-22T14:59:00Z", "2026-11-22T14:59:01Z", "2026-11-22T15:00:00Z"],
        expect![[r#"
            skip 3 from 2026-11-22T11:00:00Z to 2026-11-22T13:00:00Z
            run 2026-11-22T14:00:00Z (3540s late)
            run 2026-11-22T15:00:00Z (0s late)"#]],
    );
}

#[test]
fn each_missed_tick_runs_from_the_oldest_that_the_limit_leaves() {
    check(
        &mut catching_up("0 * * * *", CatchUp::All { limit: 3 }, at("2026-11-22T10:30:00Z")),
        &["2026-11-22T15:10:00Z"; 4],
        expect![[r#"
            skip 2 from 2026-11-22T11:00:00Z to 2026-11-22T12:00:00Z
            run 2026-11-22T13:00:00Z (7800s late)
            run 2026-11-22T14:00:00Z (4200s late)
            run 2026-11-22T15:00:00Z (600s late)"#]],
    );
}

#[test]
fn a_single_time_that_was_missed_runs_once_if_it_is_caught_up() {
    for (catch_up, expected) in [
        (CatchUp::None, expect!["skip 1 from 2026-11-22T11:00:00Z to 2026-11-22T11:00:00Z"]),
        (CatchUp::Once, expect!["run 2026-11-22T11:00:00Z (3600s late)"]),
        (CatchUp::All { limit: 9 }, expect!["run 2026-11-22T11:00:00Z (3600s late)"]),
    ] {
        check(
            &mut catching_up("@at 2026-11-22T11:00:00Z", catch_up, at("2026-11-22T10:30:00Z")),
            &["2026-11-22T12:00:00Z", "2026-11-22T13:00:00Z"],
            expected,
        );
    }
}

#[test]
fn a_delay_moves_the_run_and_is_not_late() {
    let schedule = Schedule::parse("0 * * * *", TimeZone::UTC).unwrap();
    let delay = Duration::from_secs(90);
    let policy = Policy { delay, ..Policy::default() };
    let mut ticker = Ticker::new(schedule, policy, at("2026-11-22T10:30:00Z"));
    assert_eq!(ticker.poll_timeout(), Some(at("2026-11-22T11:01:30Z")));
    check(
        &mut ticker,
        &["2026-11-22T11:01:29Z", "2026-11-22T11:01:30Z"],
        expect!["run 2026-11-22T11:00:00Z (0s late)"],
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

    /// Rules 1 and 3: each tick is in exactly one answer, whatever is missed, and no more than the
    /// limit are ever made up for.
    #[test]
    fn catching_up_answers_every_tick_exactly_once(
        steps in prop::collection::vec(-600_i64..40_000, 1..12),
        limit in 1_u32..9,
        delay in 0_u64..900,
        once in any::<bool>(),
    ) {
        let start = at("2026-10-24T22:13:07Z");
        let reference = Schedule::parse("*/7 * * * *", berlin()).unwrap();
        let catch_up = if once { CatchUp::Once } else { CatchUp::All { limit } };
        let delay = Duration::from_secs(delay);
        let policy = Policy { catch_up, delay, ..Policy::default() };
        let mut ticker = Ticker::new(reference.clone(), policy, start);
        let mut expected = reference.next_after(start).unwrap();
        let mut now = start;
        for step in steps {
            now = UnixNanos::new(now.as_i64() + step * 1_000_000_000);
            let mut runs = 0;
            while ticker.poll_timeout().unwrap() <= now {
                for command in ticker.handle_time(now) {
                    match command {
                        Command::Run { tick, .. } => {
                            prop_assert_eq!(tick, expected);
                            prop_assert!(tick.plus(delay) <= now);
                            expected = reference.next_after(tick).unwrap();
                            runs += 1;
                        }
                        Command::Skip { first, last, count } => {
                            prop_assert_eq!(first, expected);
                            for _ in 1..count {
                                expected = reference.next_after(expected).unwrap();
                            }
                            prop_assert_eq!(last, expected);
                            expected = reference.next_after(last).unwrap();
                        }
                    }
                }
            }
            let most = if once { 1 } else { limit };
            prop_assert!(runs <= most);
            prop_assert!(ticker.handle_time(now).is_empty());
        }
    }

    #[test]
    fn an_utc_ticker_answers_in_any_zone_of_time(hours in 0_i64..24 * 365 * 20) {
        let start = UnixNanos::new(hours * 3_600_000_000_000);
        let schedule = Schedule::parse("@daily", TimeZone::UTC).unwrap();
        let mut ticker = Ticker::new(schedule, Policy::default(), start);
        let tick = ticker.poll_timeout().unwrap();
        prop_assert_eq!(ticker.handle_time(tick), vec![Command::Run { tick, late: Duration::ZERO }]);
    }
}
