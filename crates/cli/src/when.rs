//! Points in time as an operator types them.

use anyhow::Context as _;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// Reads a point in time, for the command line.
///
/// # Errors
///
/// If the text is none, with examples.
pub(crate) fn value(text: &str) -> Result<Timestamp, String> {
    let example = "such as 2026-05-09, 2026-05-09T12:00:00Z, -1h or yesterday";
    parse(text, Timestamp::now()).ok_or_else(|| format!("`{text}` is no time {example}"))
}

/// Nanoseconds since the epoch, as the services count.
///
/// # Errors
///
/// If the time is beyond the year 2262.
pub(crate) fn nanos(time: Timestamp) -> anyhow::Result<i64> {
    i64::try_from(time.as_nanosecond()).context("a time is beyond the year 2262")
}

/// A point in time in the services' count, for a person.
pub(crate) fn text(nanos: i64) -> String {
    let instant = Timestamp::from_nanosecond(i128::from(nanos));
    // A time beyond the calendar is none that a service has written.
    instant.map_or_else(
        |_| nanos.to_string(),
        |instant| instant.strftime("%Y-%m-%d %H:%M:%S%.6f").to_string(),
    )
}

/// Times without a zone are UTC; relative ones lie before `now`.
fn parse(text: &str, now: Timestamp) -> Option<Timestamp> {
    let midnight = |days: i64| {
        let day = now.checked_sub(SignedDuration::from_hours(24 * days)).ok()?;
        let date = day.to_zoned(TimeZone::UTC).date();
        Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp())
    };
    match text {
        "now" => return Some(now),
        "today" => return midnight(0),
        "yesterday" => return midnight(1),
        _ => {}
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return since_epoch(text);
    }
    if let Some(length) = settings::duration::parse(text.strip_prefix('-').unwrap_or(text)) {
        return now.checked_sub(SignedDuration::try_from(length).ok()?).ok();
    }
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Some(instant);
    }
    let civil: DateTime = text.parse().ok()?;
    Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// The number of digits tells the unit, for every time between 2001 and 2262.
fn since_epoch(digits: &str) -> Option<Timestamp> {
    let number: i64 = digits.parse().ok()?;
    match digits.len() {
        10 => Timestamp::from_second(number).ok(),
        13 => Timestamp::from_millisecond(number).ok(),
        16 => Timestamp::from_microsecond(number).ok(),
        19 => Timestamp::from_nanosecond(i128::from(number)).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_form_and_nothing_is_guessed() {
        let now: Timestamp = "2026-05-09T12:30:00Z".parse().unwrap();
        for (text, expected) in [
            ("now", Some("2026-05-09T12:30:00Z")),
            ("today", Some("2026-05-09T00:00:00Z")),
            ("yesterday", Some("2026-05-08T00:00:00Z")),
            ("-1h30m", Some("2026-05-09T11:00:00Z")),
            ("90s", Some("2026-05-09T12:28:30Z")),
            ("2026-05-01", Some("2026-05-01T00:00:00Z")),
            ("2026-05-01T10:00", Some("2026-05-01T10:00:00Z")),
            ("2026-05-01 10:00:01.5", Some("2026-05-01T10:00:01.5Z")),
            ("2026-05-01T10:00:00+02:00", Some("2026-05-01T08:00:00Z")),
            ("1778284800", Some("2026-05-09T00:00:00Z")),
            ("1778284800001", Some("2026-05-09T00:00:00.001Z")),
            ("1778284800000001", Some("2026-05-09T00:00:00.000001Z")),
            ("1778284800000000001", Some("2026-05-09T00:00:00.000000001Z")),
            ("20260509", None),
            ("17782848000", None),
            ("soon", None),
            ("", None),
        ] {
            let expected = expected.map(|text| text.parse::<Timestamp>().unwrap());
            assert_eq!(parse(text, now), expected, "{text}");
        }
        assert!(value("soon").unwrap_err().contains("yesterday"));
        assert_eq!(text(1_778_284_800_000_001_000), "2026-05-09 00:00:00.000001");
    }
}
