//! The request weight that a venue grants per minute.

#[cfg(test)]
mod tests;

use std::time::Duration;
use units::UnixNanos;

/// Nanoseconds in the window that venues count in.
const WINDOW_NS: i64 = 60_000_000_000;

/// What requests that can wait leave of a window to those that cannot: one part in this many.
const RESERVE: u32 = 4;

/// Why a request must not be sent at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("request weight is spent until {until}")]
pub struct Exhausted {
    /// When to try again.
    pub until: UnixNanos,
}

/// Counts request weight in the venue's own windows, whole minutes of UTC, and believes the venue
/// when it says that more was used.
#[derive(Debug, Clone)]
pub struct Budget {
    per_window: u32,
    /// How much of it is for requests that can wait.
    spare: u32,
    window: i64,
    used: u32,
    spare_used: u32,
    banned_until: Option<UnixNanos>,
}

impl Budget {
    /// A budget of so much weight per minute. Leave a margin for what others on the same address
    /// use.
    #[must_use]
    pub const fn new(per_minute: u32) -> Self {
        Self {
            per_window: per_minute,
            spare: 0,
            window: i64::MIN,
            used: 0,
            spare_used: 0,
            banned_until: None,
        }
    }

    /// The same budget, of which requests that can wait get at most `percent`.
    #[must_use]
    pub const fn with_spare(self, percent: u32) -> Self {
        Self { spare: self.per_window.saturating_mul(percent) / 100, ..self }
    }

    /// Takes weight for a request about to be sent.
    ///
    /// # Errors
    ///
    /// [`Exhausted`] says when there will be room. A request that weighs more than a whole window
    /// is let through in an empty one.
    pub fn spend(&mut self, weight: u32, now: UnixNanos) -> Result<(), Exhausted> {
        if let Some(until) = self.banned_until.filter(|until| now < *until) {
            return Err(Exhausted { until });
        }
        self.enter(now);
        let total = self.used.saturating_add(weight);
        if total > self.per_window && self.used > 0 {
            return Err(Exhausted { until: self.window_end() });
        }
        self.used = total;
        Ok(())
    }

    /// Takes weight for a request that can wait, such as a backfill's: only of the share of
    /// [`Budget::with_spare`], and only while a quarter of the window is left over for others.
    ///
    /// # Errors
    ///
    /// [`Exhausted`] says when to ask again. A request that weighs more than the whole share is let
    /// through as the first of its window; without a share none is.
    pub fn spend_spare(&mut self, weight: u32, now: UnixNanos) -> Result<(), Exhausted> {
        if let Some(until) = self.banned_until.filter(|until| now < *until) {
            return Err(Exhausted { until });
        }
        self.enter(now);
        let spare = self.spare_used.saturating_add(weight);
        let fits = self.spare > 0 && (spare <= self.spare || self.spare_used == 0);
        let total = self.used.saturating_add(weight);
        if !fits || total > self.per_window - self.per_window / RESERVE {
            return Err(Exhausted { until: self.window_end() });
        }
        (self.used, self.spare_used) = (total, spare);
        Ok(())
    }

    /// Takes over what a response header said is used in this window; never lowers the count, for
    /// requests still on their way are not in it.
    pub fn observe(&mut self, used: u32, now: UnixNanos) {
        self.enter(now);
        self.used = self.used.max(used);
    }

    /// Stops everything after the venue answered 429 or 418, for as long as its `Retry-After` says.
    pub fn ban(&mut self, retry_after: Duration, now: UnixNanos) {
        let until = now.plus(retry_after);
        self.banned_until = Some(self.banned_until.map_or(until, |known| known.max(until)));
    }

    /// The weight used in the window that `now` lies in.
    #[must_use]
    pub fn used(&self, now: UnixNanos) -> u32 {
        if window_of(now) == self.window { self.used } else { 0 }
    }

    fn enter(&mut self, now: UnixNanos) {
        let window = window_of(now);
        if window != self.window {
            self.window = window;
            (self.used, self.spare_used) = (0, 0);
        }
    }

    const fn window_end(&self) -> UnixNanos {
        UnixNanos::new(self.window.saturating_add(1).saturating_mul(WINDOW_NS))
    }
}

const fn window_of(now: UnixNanos) -> i64 {
    now.as_i64().div_euclid(WINDOW_NS)
}
