//! Which streams of a connection bring nothing although they should. Sans-IO.
//!
//! A connection whose streams are all silent is left as a whole; this is about one among others. It
//! is silent if
//!
//! 1. it has brought nothing since it was joined, and its kind's patience is over; or
//! 2. it comes by the clock, and brings nothing any more; or
//! 3. other streams of its instrument go on bringing what implies an event of its own.
//!
//! A trade stream that brought something once and then no more may belong to a quiet instrument.

#[cfg(test)]
mod tests;

use crate::roster::{Cargo, is_by_clock, silence_max};
use feed::implied_by;
use model::Kind;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use units::UnixNanos;

/// How often it looks.
const LOOK: Duration = Duration::from_secs(1);

/// How long a stream may bring nothing while others imply that it should.
const IMPLIED_MAX: Duration = Duration::from_secs(120);

/// In how many looks others must have done so.
const IMPLIED_MIN: u32 = 3;

/// How often the patience with a stream that stays silent doubles.
const DOUBLINGS_MAX: u32 = 5;

/// The streams of a connection.
#[derive(Debug, Default)]
pub(super) struct Liveness {
    watched: BTreeMap<String, Watched>,
    /// When it last looked.
    looked: UnixNanos,
}

#[derive(Debug, Clone, Copy)]
struct Watched {
    /// When it was last joined.
    joined: UnixNanos,
    /// From when on what comes is of this joining: a snapshot comes before all is confirmed.
    since: UnixNanos,
    /// Whether it must have had something to bring; else its instrument may just be quiet.
    proven: bool,
    /// Looks in which others implied that it should have brought something, since it last did.
    implied: u32,
    /// Times it was found silent since it last brought anything.
    found: u32,
}

/// What is known of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sign {
    /// When it last brought anything.
    heard: Option<UnixNanos>,
    /// When others last brought what implies an event of its own.
    implied: Option<UnixNanos>,
    silence_max: Duration,
    by_clock: bool,
    /// Whether it comes with trades only.
    may_rest: bool,
}

/// Whether a kind comes only when somebody trades or quotes.
const fn comes_with_trades(kind: Kind) -> bool {
    matches!(kind, Kind::Trade | Kind::AggTrade | Kind::Bbo | Kind::Kline | Kind::Liquidation)
}

impl Sign {
    /// Of a stream that carries this, from when each kind was last heard of its instrument. `None`
    /// if it cannot be judged: what it carries is rare, or several share it.
    pub(super) fn of(cargo: &Cargo, heard: impl Fn(Kind) -> Option<UnixNanos>) -> Option<Self> {
        let kinds = || cargo.kinds.iter().copied();
        let silence_max = kinds().filter_map(silence_max).min().filter(|_| !cargo.shared)?;
        Some(Self {
            heard: kinds().filter_map(&heard).max(),
            implied: kinds().flat_map(implied_by).filter_map(|kind| heard(*kind)).max(),
            silence_max,
            by_clock: kinds().any(is_by_clock),
            may_rest: kinds().all(comes_with_trades),
        })
    }
}

impl Liveness {
    /// Watches these streams from now on, and no others.
    pub(super) fn follow<'a>(
        &mut self,
        streams: impl IntoIterator<Item = &'a String>,
        now: UnixNanos,
    ) {
        let streams: BTreeSet<&String> = streams.into_iter().collect();
        self.watched.retain(|stream, _| streams.contains(stream));
        for stream in streams {
            self.watched.entry(stream.clone()).or_insert(Watched::joined(now));
        }
    }

    /// Learns that all of them were joined just now, on a connection that was `opened` then.
    pub(super) fn begin(&mut self, now: UnixNanos, opened: UnixNanos) {
        let fresh = Watched { since: opened, ..Watched::joined(now) };
        self.watched.values_mut().for_each(|watched| *watched = fresh);
    }

    /// Whether it is time for [`Liveness::judge`].
    pub(super) fn is_due(&self, now: UnixNanos) -> bool {
        now.since(self.looked).unsigned_abs() >= nanos(LOOK)
    }

    /// Returns the streams that are to be left and joined again, and whether others imply that
    /// something of them is missing; one of which `sign` says nothing is left alone.
    pub(super) fn judge(
        &mut self,
        sign: impl Fn(&String) -> Option<Sign>,
        now: UnixNanos,
    ) -> Vec<(String, bool)> {
        let looked = std::mem::replace(&mut self.looked, now);
        let mut silent = Vec::new();
        for (stream, watched) in &mut self.watched {
            if let Some(sign) = sign(stream)
                && watched.is_silent(&sign, looked, now)
            {
                let found = watched.found.saturating_add(1);
                let is_implied = watched.implied >= IMPLIED_MIN;
                let proven = watched.proven || !sign.may_rest || is_implied;
                *watched = Watched { found, proven, ..Watched::joined(now) };
                silent.push((stream.clone(), is_implied));
            }
        }
        silent
    }

    /// Those that were found silent and have brought nothing since, unless it may be that there
    /// was nothing to bring.
    pub(super) fn silent(&self) -> impl Iterator<Item = &String> {
        let silent = self.watched.iter().filter(|(_, watched)| watched.found > 0 && watched.proven);
        silent.map(|(stream, _)| stream)
    }
}

impl Watched {
    const fn joined(at: UnixNanos) -> Self {
        Self { joined: at, since: at, implied: 0, found: 0, proven: false }
    }

    fn is_silent(&mut self, sign: &Sign, looked: UnixNanos, now: UnixNanos) -> bool {
        let spoke = sign.heard.filter(|at| *at > self.since);
        if spoke.is_some() {
            self.found = 0;
            self.proven = false;
        }
        if spoke.is_some_and(|at| at > looked) {
            self.implied = 0;
        } else if sign.implied.is_some_and(|at| at > looked && at > self.joined) {
            self.implied = self.implied.saturating_add(1);
        }
        let last = spoke.map_or(self.joined, |at| at.max(self.joined));
        let silent = now.since(last).max(0).unsigned_abs();
        let is_over = |patience: Duration| {
            silent >= nanos(patience).saturating_mul(1 << self.found.min(DOUBLINGS_MAX))
        };
        // Rules 1 and 2, and rule 3.
        ((spoke.is_none() || sign.by_clock) && is_over(sign.silence_max))
            || (self.implied >= IMPLIED_MIN && is_over(IMPLIED_MAX))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
