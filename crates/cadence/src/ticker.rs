//! Which tick runs when, and what happens to those that were missed.
//!
//! # Rules
//!
//! 1. Every tick is answered exactly once, in order: it runs, or it is reported as skipped.
//! 2. Of the ticks due at once, [`CatchUp::None`] runs the last one if it is within the grace,
//!    [`CatchUp::Once`] the last one however late it is; the ones before it are skipped.
//! 3. [`CatchUp::All`] runs one tick per call, the oldest first; of more than its limit the oldest
//!    are skipped.
//! 4. A clock set back repeats nothing: ticks wait until the clock has passed the last answered one.
//!    A clock set forward makes ticks missed, like an absence. An answered tick more than
//!    [`AHEAD_MAX`] in the future is of a clock that was wrong, and is forgotten: the ticks from now
//!    on count.
//! 5. The delay shifts every tick alike, so their order and number stay; it does not count as late.

use std::time::Duration;

use units::UnixNanos;

use crate::schedule::Schedule;

/// How far skipped ticks are counted; a schedule by the second and a month of absence would
/// otherwise be counted for seconds.
pub const MISSED_MAX: u32 = 1_000;

/// How far a clock may be set back before what it had answered is forgotten: further than any zone,
/// leap second or drift.
pub const AHEAD_MAX: Duration = Duration::from_hours(24);

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

/// What becomes of ticks that were missed, because nothing ran or the clock jumped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CatchUp {
    /// They are skipped, but for the last one within the grace.
    #[default]
    None,
    /// The last of them runs in place of all.
    Once,
    /// Each of them runs, one after another.
    All {
        /// How many at most; the oldest ones beyond are skipped.
        limit: u32,
    },
}

/// How a schedule is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// How late a tick may run with [`CatchUp::None`].
    pub grace: Duration,
    /// What becomes of missed ticks.
    pub catch_up: CatchUp,
    /// How long after its tick a run starts.
    pub delay: Duration,
}

/// A schedule that knows which ticks were answered.
#[derive(Clone, Debug)]
pub struct Ticker {
    schedule: Schedule,
    policy: Policy,
    answered: UnixNanos,
    next: Option<UnixNanos>,
}

impl Ticker {
    /// Takes up a schedule whose ticks up to `answered` need no answer any more: the last answered
    /// tick of an earlier life, or the present for a task never seen before.
    #[must_use]
    pub fn new(schedule: Schedule, policy: Policy, answered: UnixNanos) -> Self {
        let next = schedule.next_after(answered);
        Self { schedule, policy, answered, next }
    }

    /// The schedule.
    #[must_use]
    pub const fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// When [`Ticker::handle_time`] has something to say next; `None` if never.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<UnixNanos> {
        self.next.map(|next| next.plus(self.policy.delay))
    }

    /// The last tick that was answered, which a later [`Ticker::new`] takes up from.
    #[must_use]
    pub const fn answered(&self) -> UnixNanos {
        self.answered
    }

    /// Answers the ticks up to `now`: at most one skip, then at most one run. With
    /// [`CatchUp::All`] further ticks may stay due, for the next call.
    #[must_use]
    pub fn handle_time(&mut self, now: UnixNanos) -> Vec<Command> {
        let delay = i64::try_from(self.policy.delay.as_nanos()).unwrap_or(i64::MAX);
        let now = UnixNanos::new(now.as_i64().saturating_sub(delay));
        if self.answered > now.plus(AHEAD_MAX) {
            self.answered = now;
            self.next = self.schedule.next_after(now);
        }
        let Some(first) = self.next.filter(|&next| next <= now) else {
            return Vec::new();
        };
        let latest = self.schedule.last_until(now).map_or(first, |latest| latest.max(first));
        let late = |tick| Duration::from_nanos(u64::try_from(now.since(tick)).unwrap_or(0));
        let (tick, runs) = match self.policy.catch_up {
            CatchUp::None => (latest, late(latest) <= self.policy.grace),
            CatchUp::Once => (latest, true),
            CatchUp::All { limit } => (self.oldest(first, latest, limit), true),
        };
        self.answered = tick;
        self.next = self.schedule.next_after(tick);

        let mut commands = Vec::with_capacity(2);
        if let Some((last, count)) = self.missed(first, tick, runs) {
            commands.push(Command::Skip { first, last, count });
        }
        if runs {
            commands.push(Command::Run { tick, late: late(tick) });
        }
        commands
    }

    /// The oldest of the last `limit` ticks from `first` to `latest`.
    fn oldest(&self, first: UnixNanos, latest: UnixNanos, limit: u32) -> UnixNanos {
        let mut oldest = latest;
        for _ in 1..limit {
            let before = UnixNanos::new(oldest.as_i64().saturating_sub(1));
            match self.schedule.last_until(before).filter(|&tick| tick >= first) {
                Some(tick) => oldest = tick,
                None => break,
            }
        }
        oldest
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
