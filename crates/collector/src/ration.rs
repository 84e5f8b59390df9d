//! How the polls of all markets at one host share the request weight that is theirs.
//!
//! Each has an interval in which it is to come round. Where all of them together weigh more than
//! their share, those of the second rank come round more slowly first, down to a part of the share
//! that is left to them always, and then those of the first rank; all of a rank in the same
//! proportion. For a single poll that makes a period of instruments × weight ÷ share.

use model::Market;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use venue::{Poll, Rank};

/// The second rank has one part in so many of what is granted, if it wants as much, whatever the
/// first one wants.
const SECOND_PART: u64 = 4;

/// What is granted to the polls of one host, and what they want of it; clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Ration(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// Request weight per minute.
    granted: u32,
    /// By market and rank, request weight per hour.
    wanted: BTreeMap<(Market, Rank), u64>,
}

impl State {
    /// What the polls of a rank want, and how much they may have, as request weights per hour.
    fn share(&self, rank: Rank) -> (u64, u64) {
        let wanted = |rank: Rank| {
            let of_rank = self.wanted.iter().filter(|((_, of), _)| *of == rank);
            of_rank.fold(0, |sum: u64, (_, wanted)| sum.saturating_add(*wanted))
        };
        let (first, second) = (wanted(Rank::First), wanted(Rank::Second));
        let granted = u64::from(self.granted) * 60;
        let of_first = first.min(granted - second.min(granted / SECOND_PART));
        match rank {
            Rank::First => (first, of_first),
            Rank::Second => (second, granted - of_first),
        }
    }
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

    /// Takes it that a market wants these polls of so many instruments from now on, and no others.
    pub(crate) fn want<'a>(
        &self,
        market: Market,
        polls: impl IntoIterator<Item = &'a Poll>,
        instruments: usize,
    ) {
        let mut state = self.lock();
        state.wanted.retain(|(of, _), _| *of != market);
        for poll in polls {
            let wanted = state.wanted.entry((market, poll.rank)).or_default();
            *wanted = wanted.saturating_add(per_hour(poll, instruments));
        }
    }

    /// In which time a poll comes round.
    pub(crate) fn period(&self, poll: &Poll) -> Duration {
        let (wanted, granted) = self.lock().share(poll.rank);
        if wanted <= granted {
            return poll.interval;
        }
        let nanos = poll.interval.as_nanos() * u128::from(wanted) / u128::from(granted.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The weight per hour of a poll that keeps its interval for so many instruments.
fn per_hour(poll: &Poll, instruments: usize) -> u64 {
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

    const EACH_MINUTE: Poll = Poll {
        kind: Kind::OpenInterest,
        path: "/a?b={instrument}",
        interval: MINUTE,
        weight: 1,
        rank: Rank::First,
    };

    const RATIO: Poll = Poll { kind: Kind::LongShortRatio, rank: Rank::Second, ..EACH_MINUTE };

    #[test]
    fn a_period_is_the_interval_or_else_what_the_share_allows() {
        let (ration, slower) = (Ration::new(400), Poll { interval: 5 * MINUTE, ..EACH_MINUTE });
        assert_eq!(ration.period(&EACH_MINUTE), MINUTE);
        ration.want(Market::Perp, [&EACH_MINUTE], 400);
        assert_eq!(ration.period(&EACH_MINUTE), MINUTE);
        // 500 of weight 1, of which 400 may be asked for in a minute.
        ration.want(Market::Perp, [&EACH_MINUTE], 500);
        assert_eq!(ration.period(&EACH_MINUTE), Duration::from_secs(75));
        assert_eq!(ration.period(&slower), Duration::from_secs(375));
        ration.grant(1_000);
        assert_eq!(ration.period(&EACH_MINUTE), MINUTE, "the venue grants more");
    }

    #[test]
    fn markets_of_one_host_share_what_is_granted() {
        let (ration, heavy) = (Ration::new(400), Poll { weight: 5, ..EACH_MINUTE });
        ration.want(Market::Perp, [&EACH_MINUTE], 300);
        ration.clone().want(Market::Future, [&heavy], 100);
        assert_eq!(ration.period(&EACH_MINUTE), 2 * MINUTE);
        ration.want(Market::Future, [&heavy], 0);
        assert_eq!(ration.period(&EACH_MINUTE), MINUTE);
        ration.grant(0);
        let period = ration.period(&EACH_MINUTE);
        assert!(period > Duration::from_secs(1_000_000), "nothing is granted");
    }

    #[test]
    fn the_second_rank_comes_round_more_slowly_first_and_has_a_quarter_always() {
        let ration = Ration::new(400);
        let seconds = |first: usize, second: usize| {
            // Of two markets, for the ranks are the host's.
            ration.want(Market::Future, [&EACH_MINUTE], first);
            ration.want(Market::Perp, [&RATIO], second);
            [&EACH_MINUTE, &RATIO].map(|poll| ration.period(poll).as_secs())
        };
        assert_eq!(seconds(200, 200), [60, 60], "there is enough for all");
        assert_eq!(seconds(250, 250), [60, 100], "the second rank has 150");
        assert_eq!(seconds(300, 300), [60, 180], "it has its quarter");
        assert_eq!(seconds(400, 400), [80, 240], "and the first rank what is left");
        assert_eq!(seconds(700, 50), [120, 60], "who wants less than the quarter has that");
        assert_eq!(seconds(0, 800), [60, 120], "what the first rank does not want is the second's");
    }
}
