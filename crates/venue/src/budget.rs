//! The request weight that a venue grants per minute.

#[cfg(test)]
mod tests;

use std::time::Duration;
use units::UnixNanos;

/// Nanoseconds in the window that venues count in.
const WINDOW_NS: i64 = 60_000_000_000;

/// What requests that can wait leave of a window to those that cannot: one part in this many.
const RESERVE: u32 = 4;

/// What can wait, and has a share of the weight that it cannot exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// Fetching what was missed.
    Backfill,
    /// What is asked for again and again: figures that no stream carries, and instrument lists.
    Polls,
}

/// A share of a window.
#[derive(Debug, Clone, Copy, Default)]
struct Portion {
    granted: u32,
    used: u32,
}

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
    /// What is granted to all at this address, and how much of it is ours.
    per_window: u32,
    ours: Portion,
    backfill: Portion,
    polls: Portion,
    window: i64,
    /// By all, as far as is known.
    used: u32,
    banned_until: Option<UnixNanos>,
}

impl Budget {
    /// A budget of so much weight per minute. Leave a margin for what others on the same address
    /// use.
    #[must_use]
    pub const fn new(per_minute: u32) -> Self {
        let none = Portion { granted: 0, used: 0 };
        Self {
            per_window: per_minute,
            ours: Portion { granted: per_minute, used: 0 },
            backfill: none,
            polls: none,
            window: i64::MIN,
            used: 0,
            banned_until: None,
        }
    }

    /// The same budget, of which others at the same address leave us `percent`. What the venue says
    /// is used is by all of them.
    #[must_use]
    pub const fn with_others(mut self, percent: u32) -> Self {
        self.ours.granted = percent_of(self.per_window, percent);
        self
    }

    /// The same budget, of which a share gets at most `percent` of what is ours.
    #[must_use]
    pub const fn with_share(mut self, share: Share, percent: u32) -> Self {
        self.portion(share).granted = percent_of(self.ours.granted, percent);
        self
    }

    /// The weight that a share gets per minute.
    #[must_use]
    pub const fn granted(&self, share: Share) -> u32 {
        match share {
            Share::Backfill => self.backfill.granted,
            Share::Polls => self.polls.granted,
        }
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
        let (used, ours) = self.after(weight);
        let is_too_much = (used > self.per_window && self.used > 0)
            || (ours > self.ours.granted && self.ours.used > 0);
        if is_too_much {
            return Err(Exhausted { until: self.window_end() });
        }
        (self.used, self.ours.used) = (used, ours);
        Ok(())
    }

    /// Takes weight for a request that can wait: only of its share, and only while a quarter of the
    /// window is left over for those that cannot.
    ///
    /// # Errors
    ///
    /// [`Exhausted`] says when to ask again. A request that weighs more than the whole share, or
    /// than three quarters of our part, is let through as the first of its window; without a
    /// share none is.
    pub fn spend_share(
        &mut self,
        share: Share,
        weight: u32,
        now: UnixNanos,
    ) -> Result<(), Exhausted> {
        if let Some(until) = self.banned_until.filter(|until| now < *until) {
            return Err(Exhausted { until });
        }
        self.enter(now);
        let (used, ours) = self.after(weight);
        let leaves_reserve = used <= self.per_window - self.per_window / RESERVE
            && (ours <= self.ours.granted - self.ours.granted / RESERVE || self.ours.used == 0);
        let portion = self.portion(share);
        let of_share = portion.used.saturating_add(weight);
        let fits = portion.granted > 0 && (of_share <= portion.granted || portion.used == 0);
        if !fits || !leaves_reserve {
            return Err(Exhausted { until: self.window_end() });
        }
        portion.used = of_share;
        (self.used, self.ours.used) = (used, ours);
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
            (self.used, self.ours.used) = (0, 0);
            (self.backfill.used, self.polls.used) = (0, 0);
        }
    }

    /// What all, and what we have used once this weight is used as well.
    const fn after(&self, weight: u32) -> (u32, u32) {
        (self.used.saturating_add(weight), self.ours.used.saturating_add(weight))
    }

    const fn portion(&mut self, share: Share) -> &mut Portion {
        match share {
            Share::Backfill => &mut self.backfill,
            Share::Polls => &mut self.polls,
        }
    }

    const fn window_end(&self) -> UnixNanos {
        UnixNanos::new(self.window.saturating_add(1).saturating_mul(WINDOW_NS))
    }
}

/// A part, which is never nothing of something.
const fn percent_of(weight: u32, percent: u32) -> u32 {
    let part = weight.saturating_mul(percent) / 100;
    if part == 0 && weight > 0 && percent > 0 { 1 } else { part }
}

const fn window_of(now: UnixNanos) -> i64 {
    now.as_i64().div_euclid(WINDOW_NS)
}
