//! The record of what is missing.

use crate::{Cause, GapState, Kind};
use std::sync::Arc;
use units::UnixNanos;

/// A range of ids that is missing: the open interval between `after_id` and `before_id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Names this gap; later versions of the same gap carry the same id.
    pub gap_id: Arc<str>,
    /// Ascends each time that something is said of it; the highest counts. See [`Gap::version_at`].
    pub version: u32,
    /// The kind of the missing events.
    pub of: Kind,
    /// The last id before the hole; `None` if nothing was seen before.
    pub after_id: Option<u64>,
    /// The first id after the hole; `None` while nothing came after it.
    pub before_id: Option<u64>,
    /// When the last event before it was received.
    pub since: Option<UnixNanos>,
    /// When the first event after it was received.
    pub until: Option<UnixNanos>,
    /// Why.
    pub cause: Cause,
    /// What became of it.
    pub state: GapState,
}

impl Gap {
    /// The version of a record of a book's gap that is written at `now`, after `last` (0 if there was
    /// none): the Unix time in seconds, or one more than the last.
    ///
    /// In a market that rests a book may break behind the same id again and again, and of each break
    /// something else may be missing. Whoever writes may not know what was said before the start, yet
    /// no version may be said twice.
    #[must_use]
    pub fn version_at(last: u32, now: UnixNanos) -> u32 {
        let seconds = u32::try_from(now.as_i64() / 1_000_000_000).unwrap_or_default();
        seconds.max(last.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_its_time_and_ascends() {
        let at = |seconds: i64| UnixNanos::new(seconds * 1_000_000_000);
        assert_eq!(Gap::version_at(0, at(1_795_000_000)), 1_795_000_000);
        assert_eq!(Gap::version_at(1_795_000_000, at(1_795_000_000)), 1_795_000_001);
        assert_eq!(Gap::version_at(7, at(3)), 8, "the clock was set back");
        assert_eq!(Gap::version_at(0, at(-1)), 1);
    }
}
