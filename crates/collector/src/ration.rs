//! How the polls of all markets at one host share the request weight that is theirs.
//!
//! Each has an interval in which it is to come round. Where all of them together weigh more than
//! their share, all come round more slowly in the same proportion. For a single poll that makes a
//! period of instruments × weight ÷ share.

use model::Market;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use venue::Poll;

/// What is granted to the polls of one host, and what they want of it; clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Ration(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// Request weight per minute.
    granted: u32,
    /// By market, request weight per hour.
    wanted: BTreeMap<Market, u64>,
}

impl Ration {
    /// So much request weight per minute, of which nobody wants any yet.
    pub(crate) fn new(granted: u32) -> Self {
        Self(Arc::new(Mutex::new(State { granted, wanted: BTreeMap::new() })))
    }

    /// Takes it that another weight per minute is granted from now on.
    pub(crate) fn grant(&self, granted: u32) {
        self.lock().granted = granted;
    }

    /// Takes it that a market wants so much weight per hour from now on.
    pub(crate) fn want(&self, market: Market, per_hour: u64) {
        self.lock().wanted.insert(market, per_hour);
    }

    /// In which time a poll comes round that is to do so in an interval.
    pub(crate) fn period(&self, interval: Duration) -> Duration {
        let state = self.lock();
        let wanted = state.wanted.values().fold(0, |sum: u64, wanted| sum.saturating_add(*wanted));
        let granted = u64::from(state.granted) * 60;
        if wanted <= granted {
            return interval;
        }
        let nanos = interval.as_nanos() * u128::from(wanted) / u128::from(granted.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The weight per hour of a poll that keeps its interval for so many instruments.
pub(crate) fn per_hour(poll: &Poll, instruments: usize) -> u64 {
    let calls = u128::try_from(instruments).unwrap_or(u128::MAX).saturating_mul(HOUR.as_nanos());
    let calls = calls / poll.interval.as_nanos().max(1);
    u64::try_from(calls.saturating_mul(u128::from(poll.weight))).unwrap_or(u64::MAX)
}

const HOUR: Duration = Duration::from_hours(1);

#[cfg(test)]
mod tests {
    use super::*;
    use model::Kind;

    const MINUTE: Duration = Duration::from_secs(60);

    const EACH_MINUTE: Poll =
        Poll { kind: Kind::OpenInterest, path: "/a?b={instrument}", interval: MINUTE, weight: 1 };

    #[test]
    fn a_period_is_the_interval_or_else_what_the_share_allows() {
        let ration = Ration::new(400);
        assert_eq!(ration.period(MINUTE), MINUTE);
        ration.want(Market::Perp, per_hour(&EACH_MINUTE, 400));
        assert_eq!(ration.period(MINUTE), MINUTE);
        // 500 of weight 1, of which 400 may be asked for in a minute.
        ration.want(Market::Perp, per_hour(&EACH_MINUTE, 500));
        assert_eq!(ration.period(MINUTE), Duration::from_secs(75));
        assert_eq!(ration.period(5 * MINUTE), Duration::from_secs(375));
        ration.grant(1_000);
        assert_eq!(ration.period(MINUTE), MINUTE, "the venue grants more");
    }

    #[test]
    fn markets_of_one_host_share_what_is_granted() {
        let (ration, heavy) = (Ration::new(400), Poll { weight: 5, ..EACH_MINUTE });
        ration.want(Market::Perp, per_hour(&EACH_MINUTE, 300));
        ration.clone().want(Market::Future, per_hour(&heavy, 100));
        assert_eq!(ration.period(MINUTE), 2 * MINUTE);
        ration.want(Market::Future, 0);
        assert_eq!(ration.period(MINUTE), MINUTE);
        ration.grant(0);
        assert!(ration.period(MINUTE) > Duration::from_secs(1_000_000), "nothing is granted");
    }
}
