//! When a record's turn is.

use std::time::Duration;
use units::UnixNanos;

/// The slowest that can be asked for.
const SLOWEST: f64 = 0.001;

/// How fast a recording is replayed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Speed {
    /// As fast as blocks are acknowledged.
    Max,
    /// So many times as fast as it was received.
    Times(f64),
}

/// Reads `max` or a number.
pub(super) fn parse_speed(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed::Max);
    }
    let times = text.parse::<f64>().ok().filter(|times| times.is_finite() && *times >= SLOWEST);
    times.map(Speed::Times).ok_or_else(|| format!("neither `max` nor a number from {SLOWEST} on"))
}

/// Spaces records as they were received.
#[derive(Debug)]
pub(super) struct Pace {
    speed: Speed,
    first: Option<UnixNanos>,
}

impl Pace {
    pub(super) const fn new(speed: Speed) -> Self {
        Self { speed, first: None }
    }

    /// How long after the first record the turn of one received at `at` is.
    pub(super) fn due(&mut self, at: UnixNanos) -> Duration {
        let Speed::Times(times) = self.speed else { return Duration::ZERO };
        let first = *self.first.get_or_insert(at);
        let nanos = u64::try_from(at.since(first)).unwrap_or(0);
        Duration::from_nanos(nanos).div_f64(times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_spaced_as_they_were_received_divided_by_the_speed() {
        let at = |seconds: i64| UnixNanos::new(1_700_000_000_000_000_000 + seconds * 1_000_000_000);
        let due = |text: &str| {
            let mut pace = Pace::new(parse_speed(text).unwrap());
            [0, 10, 9, -5].map(|seconds| pace.due(at(seconds)).as_millis())
        };
        assert_eq!(due("1"), [0, 10_000, 9_000, 0]);
        assert_eq!(due("4"), [0, 2_500, 2_250, 0]);
        assert_eq!(due("0.5"), [0, 20_000, 18_000, 0]);
        assert_eq!(due("max"), [0; 4]);
        let mut slowest = Pace::new(parse_speed("0.001").unwrap());
        slowest.due(UnixNanos::new(i64::MIN));
        assert!(slowest.due(UnixNanos::new(i64::MAX)) > Duration::from_secs(1 << 40));
        for wrong in ["0", "-1", "inf", "NaN", "fast", ""] {
            assert!(parse_speed(wrong).is_err(), "{wrong}");
        }
    }
}
