//! What a venue tells only when it is asked: points in time.

use crate::output::{Lanes, Output};
use model::{Body, Event, InstrumentId, Kind, Origin};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use units::UnixNanos;

/// How far the points of each instrument and kind have come: by the minor part of an identity, its
/// major one, which is the time.
///
/// An answer to a poll may repeat what earlier ones had: each point is one event of a run, whoever
/// asks.
#[derive(Debug, Default)]
pub struct Points(BTreeMap<(Arc<InstrumentId>, Kind, u64), u64>);

impl Points {
    /// Makes events of what is newer than everything before it, oldest first. The newest of each is
    /// news; those before it are stored only.
    #[must_use]
    pub fn fresh(
        &mut self,
        instrument: &Arc<InstrumentId>,
        points: Vec<(UnixNanos, Body)>,
        recv_time: UnixNanos,
    ) -> Vec<Output> {
        let event = |(venue_time, body)| {
            let (venue_time, origin) = (Some(venue_time), Some(Origin::Rest));
            Event { instrument: Arc::clone(instrument), venue_time, recv_time, origin, body }
        };
        let mut events: Vec<Event> = points.into_iter().map(event).collect();
        events.sort_by_key(Event::identity);
        let mut outputs: Vec<Output> = Vec::new();
        for event in events {
            let identity = event.identity();
            let key = (Arc::clone(instrument), event.kind(), identity.minor);
            let known = self.0.get(&key).copied();
            if known.is_some_and(|known| identity.major <= known) {
                continue;
            }
            self.0.insert(key, identity.major);
            outputs.push(Output { event, lanes: Lanes::Both });
        }
        let mut newer = BTreeSet::new();
        for Output { event, lanes } in outputs.iter_mut().rev() {
            if !newer.insert((event.kind(), event.identity().minor)) {
                *lanes = Lanes::Durable;
            }
        }
        outputs
    }

    /// Forgets what was said of instruments that are not asked for any more. If one comes back its
    /// last points come again, and are recognised where they are stored.
    pub fn keep(&mut self, asked: &BTreeSet<Arc<InstrumentId>>) {
        self.0.retain(|(instrument, ..), _| asked.contains(instrument));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{LongShortRatio, Market, OpenInterest, RatioType, Symbol, Venue};
    use units::{Qty, Rate};

    fn instrument(name: &str) -> Arc<InstrumentId> {
        let (venue, market) = (Venue::Binance, Market::Perp);
        let (symbol, name) = (Symbol::encode(name).unwrap(), Arc::from(name));
        Arc::new(InstrumentId { venue, market, symbol, name })
    }

    fn open_interest(time: i64, amount: i128) -> (UnixNanos, Body) {
        let open_interest = Qty::from_raw(amount);
        let body = OpenInterest { open_interest, open_interest_value: None };
        (UnixNanos::new(time), Body::OpenInterest(body))
    }

    fn ratio(time: i64, ratio_type: RatioType) -> (UnixNanos, Body) {
        let body = LongShortRatio {
            ratio_type,
            period: Arc::from("5m"),
            long_ratio: None,
            short_ratio: None,
            long_short_ratio: Rate::ZERO,
        };
        (UnixNanos::new(time), Body::LongShortRatio(body))
    }

    #[test]
    fn each_point_is_published_once_and_the_newest_is_news() {
        let mut published = Points::default();
        let (this, other, now) = (instrument("A"), instrument("B"), UnixNanos::new(99));
        let mut said = |id: &Arc<InstrumentId>, points: Vec<(UnixNanos, Body)>| {
            let outputs = published.fresh(id, points, now);
            let of = |Output { event, lanes }: &Output| {
                assert_eq!((&event.instrument, event.origin), (id, Some(Origin::Rest)));
                (event.venue_time.unwrap().as_i64(), *lanes)
            };
            outputs.iter().map(of).collect::<Vec<_>>()
        };
        assert_eq!(said(&this, vec![open_interest(5, 1)]), [(5, Lanes::Both)]);
        assert_eq!(said(&this, vec![open_interest(5, 1)]), []);
        assert_eq!(said(&this, vec![open_interest(4, 1)]), [], "an answer from before");
        assert_eq!(said(&other, vec![open_interest(5, 1)]), [(5, Lanes::Both)]);
        // A history, newest first as some venues write it: what a failed call missed is made good.
        let history = |times: [i64; 3]| {
            times.map(|time| ratio(time, RatioType::TopAccount)).into_iter().collect::<Vec<_>>()
        };
        assert_eq!(
            said(&this, history([3, 2, 1])),
            [(1, Lanes::Durable), (2, Lanes::Durable), (3, Lanes::Both)]
        );
        assert_eq!(said(&this, history([5, 4, 3])), [(4, Lanes::Durable), (5, Lanes::Both)]);
        // The same time of another ratio is another point.
        let mixed = vec![ratio(5, RatioType::AllAccount), ratio(5, RatioType::TopAccount)];
        assert_eq!(said(&this, mixed), [(5, Lanes::Both)]);
    }

    #[test]
    fn an_instrument_that_is_not_asked_for_any_more_is_forgotten() {
        let mut published = Points::default();
        let (this, other, now) = (instrument("A"), instrument("B"), UnixNanos::new(99));
        for id in [&this, &other] {
            assert_eq!(published.fresh(id, vec![open_interest(5, 1)], now).len(), 1);
        }
        published.keep(&BTreeSet::from([Arc::clone(&this)]));
        assert_eq!(published.fresh(&this, vec![open_interest(5, 1)], now).len(), 0);
        assert_eq!(published.fresh(&other, vec![open_interest(5, 1)], now).len(), 1);
    }
}
