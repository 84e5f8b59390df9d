//! So many things in so long a time, and the first ones at once.

#[cfg(test)]
mod tests;

use std::time::Duration;

/// Grants at most so many takes in any window of time. Half of them may be taken at once; they
/// come back one after another.
///
/// It is the generic cell rate algorithm, by the time at which the next take would be due if all
/// were spread evenly (ITU-T I.371, annex A).
#[derive(Debug, Clone)]
pub struct Pacer {
    /// Between two takes that are spread evenly.
    interval: Duration,
    /// How far ahead of their even times takes may come.
    ahead: Duration,
    /// The even time of the next take.
    due: Duration,
}

impl Pacer {
    /// Grants `count` takes in `window`.
    #[must_use]
    pub fn new(count: u32, window: Duration) -> Self {
        let burst = (count / 2).max(1);
        // What is taken at once and what comes back within a window are `count` together.
        let interval = window / (count - burst.min(count)).max(1);
        Self { interval, ahead: interval * (burst - 1), due: Duration::ZERO }
    }

    /// Takes one, `now` being the time since some beginning.
    ///
    /// # Errors
    ///
    /// How long to wait before it is granted.
    pub fn take(&mut self, now: Duration) -> Result<(), Duration> {
        let from = self.due.saturating_sub(self.ahead);
        if from > now {
            return Err(from - now);
        }
        self.due = self.due.max(now) + self.interval;
        Ok(())
    }
}
