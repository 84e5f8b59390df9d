//! The wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Nanoseconds since the Unix epoch, UTC.
///
/// Zero if the clock stands before 1970, the largest number after 2262.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place where wall-clock time enters")]
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
