//! Ring 1: tables of expressions, and properties against a walk through the seconds.

use expect_test::{Expect, expect};
use jiff::{Timestamp, tz::TimeZone};
use proptest::prelude::*;
use units::UnixNanos;

use super::Schedule;

/// Central European time by its rule, so the test does not need the zone database.
pub(crate) fn berlin() -> TimeZone {
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
}

pub(crate) fn at(text: &str) -> UnixNanos {
    let time: Timestamp = text.parse().unwrap();
    UnixNanos::new(i64::try_from(time.as_nanosecond()).unwrap())
}

pub(crate) fn show(time: UnixNanos) -> String {
    Timestamp::from_nanosecond(i128::from(time.as_i64())).unwrap().to_string()
}

/// The next `count` ticks of `text` after `from`.
fn check(text: &str, zone: TimeZone, from: &str, count: usize, expected: Expect) {
    let schedule = Schedule::parse(text, zone).unwrap();
    let ticks: Vec<String> =
        std::iter::successors(schedule.next_after(at(from)), |&tick| schedule.next_after(tick))
            .take(count)
            .map(show)
            .collect();
    expected.assert_eq(&ticks.join(" "));
}

fn refused(text: &str) -> String {
    Schedule::parse(text, TimeZone::UTC).unwrap_err().to_string()
}

#[test]
fn five_fields_fire_by_the_minute() {
    check(
        "*/20 3 * * *",
        TimeZone::UTC,
        "2026-11-22T03:20:00Z",
        3,
        expect!["2026-11-22T03:40:00Z 2026-11-23T03:00:00Z 2026-11-23T03:20:00Z"],
    );
}

#[test]
fn six_fields_fire_by_the_second() {
    check(
        "*/30 * * * * *",
        TimeZone::UTC,
        "2026-11-22T03:20:00.5Z",
        2,
        expect!["2026-11-22T03:20:30Z 2026-11-22T03:21:00Z"],
    );
}

#[test]
fn nicknames_mean_what_vixie_says() {
    check("@hourly", TimeZone::UTC, "2026-11-22T03:20:00Z", 1, expect!["2026-11-22T04:00:00Z"]);
    check("@weekly", TimeZone::UTC, "2026-11-22T03:20:00Z", 1, expect!["2026-11-29T00:00:00Z"]);
}

#[test]
fn restricted_day_fields_are_alternatives_unless_a_plus_joins_them() {
    check(
        "0 0 13 * FRI",
        TimeZone::UTC,
        "2026-11-01T00:00:00Z",
        4,
        expect![
            "2026-11-06T00:00:00Z 2026-11-13T00:00:00Z 2026-11-20T00:00:00Z 2026-11-27T00:00:00Z"
        ],
    );
    check(
        "0 0 13 * +FRI",
        TimeZone::UTC,
        "2026-11-01T00:00:00Z",
        2,
        expect!["2026-11-13T00:00:00Z 2027-08-13T00:00:00Z"],
    );
}

#[test]
fn sunday_is_both_zero_and_seven() {
    check("0 0 * * 7", TimeZone::UTC, "2026-11-22T03:20:00Z", 1, expect!["2026-11-29T00:00:00Z"]);
    check("0 0 * * 0", TimeZone::UTC, "2026-11-22T03:20:00Z", 1, expect!["2026-11-29T00:00:00Z"]);
}

#[test]
fn the_last_day_and_leap_days_are_found() {
    check("0 0 L * *", TimeZone::UTC, "2026-02-01T00:00:00Z", 1, expect!["2026-02-28T00:00:00Z"]);
    check("0 0 29 2 *", TimeZone::UTC, "2026-02-01T00:00:00Z", 1, expect!["2028-02-29T00:00:00Z"]);
}

#[test]
fn a_fixed_time_inside_a_jump_fires_right_after_it() {
    check(
        "30 2 * * *",
        berlin(),
        "2026-03-28T02:00:00Z",
        2,
        expect!["2026-03-29T01:00:00Z 2026-03-30T00:30:00Z"],
    );
}

#[test]
fn a_fixed_time_in_the_repeated_hour_fires_once() {
    check(
        "30 2 * * *",
        berlin(),
        "2026-10-24T02:00:00Z",
        2,
        expect!["2026-10-25T00:30:00Z 2026-10-26T01:30:00Z"],
    );
}

#[test]
fn an_interval_fires_through_the_repeated_hour_without_a_break() {
    check(
        "*/30 * * * *",
        berlin(),
        "2026-10-25T00:00:00Z",
        4,
        expect![
            "2026-10-25T00:30:00Z 2026-10-25T01:00:00Z 2026-10-25T01:30:00Z 2026-10-25T02:00:00Z"
        ],
    );
}

#[test]
fn an_interval_is_counted_from_the_epoch_whatever_the_clock_does() {
    check(
        "@every 1h30m",
        berlin(),
        "2026-10-25T00:10:00Z",
        3,
        expect!["2026-10-25T01:30:00Z 2026-10-25T03:00:00Z 2026-10-25T04:30:00Z"],
    );
    let schedule = Schedule::parse("@every 10s", TimeZone::UTC).unwrap();
    let tick = at("2026-11-22T03:20:10Z");
    assert_eq!(schedule.last_until(at("2026-11-22T03:20:19.9Z")), Some(tick));
    assert_eq!(schedule.last_until(tick), Some(tick));
}

#[test]
fn a_single_time_fires_once() {
    let summer = expect!["2026-07-01T01:00:00Z"];
    check("@at 2026-07-01T03:00:00", berlin(), "2026-06-01T00:00:00Z", 3, summer);
    let utc = expect!["2026-07-01T03:00:00Z"];
    check("@at 2026-07-01T03:00:00Z", berlin(), "2026-06-01T00:00:00Z", 3, utc);
    // Inside the jump of the clock, and in the repeated hour.
    let jump = expect!["2026-03-29T01:30:00Z"];
    check("@at 2026-03-29T02:30", berlin(), "2026-01-01T00:00:00Z", 3, jump);
    let repeated = expect!["2026-10-25T00:30:00Z"];
    check("@at 2026-10-25T02:30", berlin(), "2026-01-01T00:00:00Z", 3, repeated);
    let past = Schedule::parse("@at 2026-07-01T03:00:00Z", TimeZone::UTC).unwrap();
    assert_eq!(past.next_after(at("2026-07-01T03:00:00Z")), None);
    assert_eq!(past.last_until(at("2026-07-01T02:59:59Z")), None);
}

#[test]
fn a_bad_expression_is_refused_with_the_place_and_the_reason() {
    let table = [
        "",
        "61 * * * *",
        "* 24 * * *",
        "0 0 0 * *",
        "0 0 * 13 *",
        "0 0 * * 8",
        "0,15,61 * * * *",
        "1,,2 * * * *",
        "*/0 * * * *",
        "20-10 * * * *",
        "* * * *",
        "* * * * * * *",
        "SUN * * * *",
        "0 0 * MON *",
        "0 0 * * JAN",
        "0 0 * * MONDAY",
        "@reboot",
        "@hourly 5",
        "@every",
        " @every 5",
        "@every 0s",
        "@every 367d",
        "@at tomorrow",
        "0 0 31 2 *",
        "30 0 0 31 4,6 *",
        "ä 5 * * ö",
    ];
    let answers: Vec<String> = table.iter().map(|text| refused(text)).collect();
    expect![[r#"
        the cron expression is empty (at character 1 of "")
        "61" is no minute (0-59) (at character 1 of "61 * * * *")
        "24" is no hour (0-23) (at character 3 of "* 24 * * *")
        "0" is no day of the month (1-31, L, or 15W) (at character 5 of "0 0 0 * *")
        "13" is no month (1-12 or JAN-DEC) (at character 7 of "0 0 * 13 *")
        "8" is no day of the week (0-7 or SUN-SAT) (at character 9 of "0 0 * * 8")
        "61" is no minute (0-59) (at character 6 of "0,15,61 * * * *")
        "" is no minute (0-59) (at character 3 of "1,,2 * * * *")
        "*/0" is no minute (0-59) (at character 1 of "*/0 * * * *")
        "20-10" is no minute (0-59) (at character 1 of "20-10 * * * *")
        a cron expression has 5 fields (minute, hour, day of the month, month, day of the week), or 6 with seconds first, not 4 (at character 1 of "* * * *")
        a cron expression has 5 fields (minute, hour, day of the month, month, day of the week), or 6 with seconds first, not 7 (at character 13 of "* * * * * * *")
        "SUN" is no minute (0-59) (at character 1 of "SUN * * * *")
        "MON" is no month (1-12 or JAN-DEC) (at character 7 of "0 0 * MON *")
        "JAN" is no day of the week (0-7 or SUN-SAT) (at character 9 of "0 0 * * JAN")
        "MONDAY" is no day of the week (0-7 or SUN-SAT) (at character 9 of "0 0 * * MONDAY")
        "@reboot" is none of @yearly, @annually, @monthly, @weekly, @daily, @hourly, @every, @at (at character 1 of "@reboot")
        "@hourly 5" is none of @yearly, @annually, @monthly, @weekly, @daily, @hourly, @every, @at (at character 1 of "@hourly 5")
        "" is no interval from 1s to 366d, such as 90s or 1h30m (at character 1 of "@every")
        "5" is no interval from 1s to 366d, such as 90s or 1h30m (at character 2 of " @every 5")
        "0s" is no interval from 1s to 366d, such as 90s or 1h30m (at character 1 of "@every 0s")
        "367d" is no interval from 1s to 366d, such as 90s or 1h30m (at character 1 of "@every 367d")
        "tomorrow" is no time such as 2026-12-01T03:00:00Z (at character 1 of "@at tomorrow")
        no date ever matches this cron expression (at character 5 of "0 0 31 2 *")
        no date ever matches this cron expression (at character 8 of "30 0 0 31 4,6 *")
        "ä" is no minute (0-59) (at character 1 of "ä 5 * * ö")"#]].assert_eq(&answers.join("\n"));
}

fn expression() -> impl Strategy<Value = String> {
    let part = |low: u32, high: u32| {
        prop_oneof![
            3 => Just("*".to_owned()),
            2 => (low..=high).prop_map(|value| value.to_string()),
            1 => (2_u32..7).prop_map(|step| format!("*/{step}")),
            1 => (low..=high, low..=high).prop_map(|(a, b)| format!("{},{}", a.min(b), a.max(b))),
        ]
    };
    (part(0, 59), part(0, 23), part(1, 28), part(1, 12), part(0, 6))
        .prop_map(|(m, h, dom, month, dow)| format!("{m} {h} {dom} {month} {dow}"))
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,40}") {
        drop(Schedule::parse(&text, TimeZone::UTC));
    }

    #[test]
    fn cron_like_text_does_not_panic(text in "[-*/,0-9A-Z@#+? ]{0,24}") {
        drop(Schedule::parse(&text, TimeZone::UTC));
    }

    /// Forwards and backwards agree, also across the changes of the clock.
    #[test]
    fn the_last_tick_until_the_next_one_is_the_next_one(
        text in expression(),
        hour in 0_i64..24 * 366 * 2,
        second in 0_i64..3600,
    ) {
        let schedule = Schedule::parse(&text, berlin()).unwrap();
        let from = UnixNanos::new(at("2026-01-01T00:00:00Z").as_i64() + (hour * 3_600 + second) * 1_000_000_000);
        let next = schedule.next_after(from).unwrap();
        prop_assert!(next > from);
        prop_assert_eq!(schedule.last_until(next), Some(next), "{} at {}", text, show(next));
        let before = schedule.last_until(UnixNanos::new(next.as_i64() - 1));
        prop_assert!(before.is_none_or(|before| before <= from), "{} from {}", text, show(from));
    }
}
