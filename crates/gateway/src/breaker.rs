//! Leaves a backend alone while it fails. No clock: the moment comes in.
//!
//! ```text
//!            share of failures reached              pause over
//!   closed ───────────────────────────▶ open ◀──────────────────▶ half-open ──▶ closed
//!                                             a try failed           three tries succeeded
//! ```
//!
//! Closed, every request passes. Open, none does. Half-open, one passes at a time, and another one
//! if that takes long.
//! What says nothing about the backend is [`Outcome::Unknown`] and changes nothing: a client that
//! went away, a body that was too large, a refusal of the gateway's own. A result that comes after
//! the state has changed is not looked at, since it is about the time before.

mod window;

use std::time::{Duration, Instant};

use settings::Breaker as Rules;

use window::Window;

/// Successes in a row after which a backend that failed is trusted again: one may be luck.
const TRIES_WANTED: u32 = 3;

/// What requests that come during a try are told to wait: about as long as a try takes.
const TRY_WAIT: Duration = Duration::from_secs(1);

/// How long a try keeps others out: one whose client is slow must not keep a backend closed.
const TRY_MAX: Duration = Duration::from_secs(10);

/// What became of a request that was sent to the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It answered, and not with a failure of its own.
    Success,
    /// It could not be reached, broke off, also within its answer, took too long, or answered with a
    /// 5xx that is about more than what was asked for.
    Failure,
    /// Nothing that is the backend's doing.
    Unknown,
}

/// A request that was let through; its result counts only in the state it was let through in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Ticket {
    epoch: u64,
    admitted: Instant,
}

/// How things stand, without the details.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Requests pass.
    Closed,
    /// No request passes.
    Open,
    /// One request passes at a time.
    HalfOpen,
}

impl Phase {
    /// Returns the word that stands in documents.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Phase::Closed => "closed",
            Phase::Open => "open",
            Phase::HalfOpen => "half_open",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open {
        until: Instant,
    },
    HalfOpen {
        /// When the try began that is under way.
        trying: Option<Instant>,
        successes: u32,
    },
}

/// What is shown of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) phase: Phase,
    /// How long it has been in this phase.
    pub(crate) age: Duration,
    /// Results within the window, and the failures among them.
    pub(crate) requests: u32,
    pub(crate) failures: u32,
    /// How long until the next try, while open.
    pub(crate) next_try: Option<Duration>,
}

/// The breaker of one backend.
#[derive(Debug)]
pub(crate) struct Breaker {
    state: State,
    since: Instant,
    /// Counts the changes of state.
    epoch: u64,
    /// Failed tries since it was last closed.
    relapses: u32,
    window: Window,
}

impl Breaker {
    pub(crate) fn new(now: Instant) -> Breaker {
        Breaker {
            state: State::Closed,
            since: now,
            epoch: 0,
            relapses: 0,
            window: Window::new(now),
        }
    }

    /// Lets a request through, or says how long to wait.
    pub(crate) fn admit(&mut self, rules: &Rules, now: Instant) -> Result<Ticket, Duration> {
        if let State::Open { until } = self.state {
            if now < until {
                return Err(until - now);
            }
            self.enter(State::HalfOpen { trying: None, successes: 0 }, now);
        }
        if let State::HalfOpen { trying, .. } = &mut self.state {
            if trying.is_some_and(|since| now < since + TRY_MAX) {
                return Err(TRY_WAIT.min(rules.pause));
            }
            *trying = Some(now);
        }
        Ok(Ticket { epoch: self.epoch, admitted: now })
    }

    /// Takes the result of a request that was let through. Must be called once per ticket.
    pub(crate) fn settle(&mut self, ticket: Ticket, outcome: Outcome, rules: &Rules, now: Instant) {
        if ticket.epoch != self.epoch {
            return;
        }
        if let State::HalfOpen { trying, .. } = &mut self.state
            && *trying == Some(ticket.admitted)
        {
            *trying = None;
        }
        match (&mut self.state, outcome) {
            (State::Closed, Outcome::Success | Outcome::Failure) => {
                self.window.add(outcome == Outcome::Failure, rules.window, now);
                let (requests, failures) = self.window.counts(rules.window, now);
                let share = u64::from(rules.failure_percent) * u64::from(requests);
                let is_bad = u64::from(failures) * 100 >= share && failures > 0;
                if is_bad && requests >= rules.requests_min {
                    self.open(rules, now);
                }
            }
            (State::HalfOpen { successes, .. }, Outcome::Success) => {
                *successes += 1;
                if *successes >= TRIES_WANTED {
                    self.relapses = 0;
                    self.window = Window::new(now);
                    self.enter(State::Closed, now);
                }
            }
            (State::HalfOpen { .. }, Outcome::Failure) => {
                self.relapses = self.relapses.saturating_add(1);
                self.open(rules, now);
            }
            // No ticket is of an open breaker.
            (State::Closed | State::HalfOpen { .. }, Outcome::Unknown)
            | (State::Open { .. }, _) => {}
        }
    }

    fn open(&mut self, rules: &Rules, now: Instant) {
        let doublings = 2_u32.saturating_pow(self.relapses);
        let pause = rules.pause.saturating_mul(doublings).min(rules.pause_max);
        self.enter(State::Open { until: now + pause }, now);
    }

    fn enter(&mut self, state: State, now: Instant) {
        self.state = state;
        self.since = now;
        self.epoch += 1;
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.state {
            State::Closed => Phase::Closed,
            State::Open { .. } => Phase::Open,
            State::HalfOpen { .. } => Phase::HalfOpen,
        }
    }

    pub(crate) fn view(&mut self, rules: &Rules, now: Instant) -> View {
        let (requests, failures) = self.window.counts(rules.window, now);
        let next_try = match self.state {
            State::Open { until } => Some(until.saturating_duration_since(now)),
            State::Closed | State::HalfOpen { .. } => None,
        };
        let age = now.saturating_duration_since(self.since);
        View { phase: self.phase(), age, requests, failures, next_try }
    }
}

#[cfg(test)]
mod tests;
