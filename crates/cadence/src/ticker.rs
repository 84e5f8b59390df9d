//! Which tick runs when, and what happens to those that were missed.
//!
//! # Rules
//!
//! 1. Every tick is answered exactly once, in order: it runs, or it is reported as skipped.
//! 2. Of the ticks due at once only the last one may run, and only within the grace; the ones before
//!    it are skipped. A catch-up never runs a task many times in a row.
//! 3. A clock set back repeats nothing: ticks wait until the clock has passed the last answered one.

use std::time::Duration;

use units::UnixNanos;

use crate::schedule::Schedule;

/// How far skipped ticks are counted; a schedule by the second and a month of absence would
/// otherwise be counted for seconds.
pub const MISSED_MAX: u32 = 1_000;

/// What the caller must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Ticks passed without a run; write that down.
    Skip {
        /// The first of them.
        first: UnixNanos,
        /// The last of them.
        last: UnixNanos,
        /// How many, at most [`MISSED_MAX`], which means at least so many.
        count: u32,
    },
    /// Run the task once.
    Run {
        /// The instant that the schedule names; the run's logical time.
        tick: UnixNanos,
        /// How long ago that was.
        late: Duration,
    },
}

/// A schedule that knows which ticks were answered.
#[derive(Clone, Debug)]
pub struct Ticker {
    schedule: Schedule,
    grace: Duration,
    answered: UnixNanos,
    next: Option<UnixNanos>,
}

impl Ticker {
    /// Takes up a schedule whose ticks up to `answered` need no answer any more: the last answered
    /// tick of an earlier life, or the present for a task never seen before.
    /// A tick later than `grace` is skipped.
    #[must_use]
    pub fn new(schedule: Schedule, grace: Duration, answered: UnixNanos) -> Self {
        let next = schedule.next_after(answered);
        Self { schedule, grace, answered, next }
    }

    /// The schedule.
    #[must_use]
    pub const fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// When [`Ticker::handle_time`] has something to say next; `None` if never.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<UnixNanos> {
        self.next
    }

    /// The last tick that was answered, which a later [`Ticker::new`] takes up from.
    #[must_use]
    pub const fn answered(&self) -> UnixNanos {
        self.answered
    }

    /// Answers every tick up to `now`: at most one skip, then at most one run.
    #[must_use]
    pub fn handle_time(&mut self, now: UnixNanos) -> Vec<Command> {
        let Some(first) = self.next.filter(|&next| next <= now) else {
            return Vec::new();
        };
        let latest = self.schedule.last_until(now).map_or(first, |latest| latest.max(first));
        self.answered = latest;
        self.next = self.schedule.next_after(latest);

        let late = Duration::from_nanos(u64::try_from(now.since(latest)).unwrap_or(0));
        let runs = late <= self.grace;
        let mut commands = Vec::with_capacity(2);
        if let Some((last, count)) = self.missed(first, latest, runs) {
            commands.push(Command::Skip { first, last, count });
        }
        if runs {
            commands.push(Command::Run { tick: latest, late });
        }
        commands
    }

    /// The last of the ticks from `first` to `latest` that do not run, and how many they are.
    fn missed(
        &self,
        first: UnixNanos,
        latest: UnixNanos,
        latest_runs: bool,
    ) -> Option<(UnixNanos, u32)> {
        let mut tick = first;
        let mut last = None;
        let mut count = 0;
        while tick < latest && count < MISSED_MAX {
            last = Some(tick);
            count += 1;
            tick = self.schedule.next_after(tick)?;
        }
        if !latest_runs {
            return Some((latest, (count + 1).min(MISSED_MAX)));
        }
        if count == MISSED_MAX {
            // Not counted to the end: the last skipped tick is found from the other side.
            last = self.schedule.last_until(UnixNanos::new(latest.as_i64() - 1));
        }
        last.map(|last| (last, count))
    }
}

#[cfg(test)]
mod tests;
