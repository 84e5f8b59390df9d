//! Counts the starts of a unit. Pure.
//!
//! # Rules
//!
//! 1. `NRestarts` counts automatic restarts only, and a manual start, `reset-failed` or a reboot sets
//!    it back to zero; a fall is therefore a new base line, and what it shows happened since.
//! 2. Each start has an `InvocationID` of its own, so a change of it is a start even where
//!    `NRestarts` says nothing: a manual restart, an upgrade.
//! 3. The first observation is the base line: what happened before it is not known.
//! 4. A stopped unit has no invocation; the one before the stop is remembered.
//!
//! Source: <https://github.com/systemd/systemd/issues/29348>,
//! <https://www.freedesktop.org/software/systemd/man/252/org.freedesktop.systemd1.html>.

/// Starts of one unit since the first observation.
#[derive(Clone, Debug, Default)]
pub struct Restarts {
    automatic: Option<u32>,
    invocation: Option<String>,
    total: u64,
}

impl Restarts {
    /// Takes an observation and returns how many starts it adds.
    pub fn observe(&mut self, automatic: Option<u32>, invocation: Option<&str>) -> u64 {
        let counted = match (self.automatic, automatic) {
            (Some(before), Some(now)) if now >= before => u64::from(now - before),
            (Some(_), Some(now)) => u64::from(now),
            (None, _) | (_, None) => 0,
        };
        let replaced = match (&self.invocation, invocation) {
            (Some(before), Some(now)) => before != now,
            (None, _) | (_, None) => false,
        };
        self.automatic = automatic.or(self.automatic);
        if let Some(invocation) = invocation {
            self.invocation = Some(invocation.to_owned());
        }
        let starts = counted.max(u64::from(replaced));
        self.total = self.total.saturating_add(starts);
        starts
    }

    /// All starts seen.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests;
