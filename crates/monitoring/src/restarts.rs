//! Counts the starts of a unit. Pure.
//!
//! # Rules
//!
//! 1. `NRestarts` counts automatic restarts only, and a manual start, `reset-failed` or a reboot sets
//!    it back to zero; a fall is therefore a new base line, and what it shows happened since.
//! 2. Each start has an `InvocationID` of its own, so a change of it is a start even where
//!    `NRestarts` says nothing: a manual restart, an upgrade. Such a start is no automatic one.
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
    total: Starts,
}

/// How often a unit was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Starts {
    /// By anybody.
    pub all: u64,
    /// By systemd, after a failure.
    pub automatic: u64,
}

impl Restarts {
    /// Takes an observation and returns how many starts it adds.
    pub fn observe(&mut self, automatic: Option<u32>, invocation: Option<&str>) -> Starts {
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
        let starts = Starts { all: counted.max(u64::from(replaced)), automatic: counted };
        self.total.all = self.total.all.saturating_add(starts.all);
        self.total.automatic = self.total.automatic.saturating_add(starts.automatic);
        starts
    }

    /// All starts seen.
    #[must_use]
    pub const fn total(&self) -> Starts {
        self.total
    }
}

#[cfg(test)]
mod tests;
