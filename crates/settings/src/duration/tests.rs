//! Ring 1.

use std::time::Duration;

use super::{format, parse};

#[test]
fn durations_are_read_with_their_units() {
    for (text, millis) in [
        ("250ms", 250),
        ("10s", 10_000),
        ("5m", 300_000),
        ("1h30m", 5_400_000),
        ("1h 30m", 5_400_000),
        ("1d", 86_400_000),
        ("0", 0),
        ("0s", 0),
    ] {
        assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
    }
}

#[test]
fn what_is_no_duration_is_refused() {
    for text in ["", "5", "s", "5 s", "-1s", "1.5s", "5x", "1m2", "99999999999999999999s", "5S"] {
        assert_eq!(parse(text), None, "{text}");
    }
}

#[test]
fn what_is_written_reads_back() {
    for micros in [0, 1, 1_500, 20_000, 59_999_999, 5_400_000_000, 90_061_000_001] {
        let duration = Duration::from_micros(micros);
        assert_eq!(parse(&format(duration)), Some(duration), "{micros}");
    }
    assert_eq!(format(Duration::from_secs(5_400)), "1h30m");
}
