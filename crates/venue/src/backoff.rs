//! Waiting times between attempts.

#[cfg(test)]
mod tests;

use rand::{Rng, RngExt as _};
use std::time::Duration;

/// An exponential backoff with full-range jitter: each wait lies between half of the step and the
/// step, and the step doubles from the minimum to the maximum.
#[derive(Debug, Clone)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    attempts: u32,
}

impl Backoff {
    /// A backoff whose waits lie between `min` and `max`.
    #[must_use]
    pub const fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, attempts: 0 }
    }

    /// The wait before the next attempt.
    pub fn next(&mut self, rng: &mut impl Rng) -> Duration {
        self.next_within(self.max, rng)
    }

    /// The wait before the next attempt, where there is a reason not to wait as long as otherwise.
    pub fn next_within(&mut self, max: Duration, rng: &mut impl Rng) -> Duration {
        let doubling = 1_u32.checked_shl(self.attempts).unwrap_or(u32::MAX);
        let step = self.min.saturating_mul(doubling).min(max).max(self.min);
        self.attempts = self.attempts.saturating_add(1);
        let half = step / 2;
        rng.random_range(half..=step).max(self.min)
    }

    /// Begins anew after a success.
    pub const fn reset(&mut self) {
        self.attempts = 0;
    }

    /// How many waits were handed out since the last success.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }
}
