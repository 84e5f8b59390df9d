//! Which adapter speaks the dialect of a market: the one place of the collector that names them.

use crate::block::is_trade;
use model::{Kind, Market, Venue};
use std::sync::Arc;
use venue::{Adapter, Feed};

/// Something to do with an adapter, whichever it is.
pub(crate) trait Visitor {
    /// What comes of it.
    type Output;

    /// Does it, with an adapter that knows no instruments yet.
    fn visit<A: Adapter + Clone + Send + Sync + 'static>(self, adapter: A) -> Self::Output;
}

/// Does something with the adapter of a market; `None` if there is none.
pub(crate) fn visit<V: Visitor>(venue: Venue, market: Market, visitor: V) -> Option<V::Output> {
    Some(match (venue, market) {
        (Venue::Binance, Market::Spot) => visitor.visit(venue_binance::Spot::new()),
        (Venue::Binance, Market::Perp) => visitor.visit(venue_binance::Perp::new()),
        (Venue::Binance, Market::Future) => visitor.visit(venue_binance::Future::new()),
        (Venue::Okx, Market::Spot) => visitor.visit(venue_okx::Spot::new()),
        (Venue::Okx, Market::Perp) => visitor.visit(venue_okx::Perp::new()),
        (Venue::Okx, Market::Future) => visitor.visit(venue_okx::Future::new()),
        (Venue::Okx, Market::Option) => visitor.visit(venue_okx::Options::new()),
        (Venue::Deribit, Market::Spot) => visitor.visit(venue_deribit::Spot::new()),
        (Venue::Deribit, Market::Perp) => visitor.visit(venue_deribit::Perp::new()),
        (Venue::Deribit, Market::Future) => visitor.visit(venue_deribit::Futures::new()),
        (Venue::Deribit, Market::Option) => visitor.visit(venue_deribit::Options::new()),
        (Venue::Deribit, Market::Index) => visitor.visit(venue_deribit::Index::new()),
        (Venue::Binance, Market::Option | Market::Index) | (Venue::Okx, Market::Index) => {
            return None;
        }
    })
}

/// What a market has.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    /// The kinds that can be recorded.
    pub(crate) kinds: Vec<Kind>,
    /// The kinds of which single events can be fetched by their ids.
    pub(crate) fetchable: Vec<Kind>,
    /// The lengths of candles.
    pub(crate) intervals: &'static [&'static str],
    /// Whether the venue tells how much of each instrument is traded.
    pub(crate) volumes: bool,
}

/// What a market has; nothing if it has no adapter.
pub(crate) fn offer(venue: Venue, market: Market) -> Offer {
    let none = Offer { kinds: Vec::new(), fetchable: Vec::new(), intervals: &[], volumes: false };
    visit(venue, market, Asking).flatten().unwrap_or(none)
}

/// Those of these kinds whose gaps can be filled.
pub(crate) fn fillable(venue: Venue, market: Market, kinds: &[Kind]) -> Arc<[Kind]> {
    let fetchable = offer(venue, market).fetchable;
    kinds.iter().copied().filter(|kind| is_trade(*kind) && fetchable.contains(kind)).collect()
}

struct Asking;

impl Visitor for Asking {
    type Output = Option<Offer>;

    fn visit<A: Adapter>(self, mut adapter: A) -> Option<Offer> {
        // Which streams there are does not depend on the instrument.
        let slot = adapter.slot("BTC-USD").ok()?;
        let instrument = Arc::clone(adapter.instrument(slot));
        let is_streamed = |kind: Kind| {
            let interval = (kind == Kind::Kline).then(|| Arc::from("1m"));
            let feed = Feed { instrument: Arc::clone(&instrument), kind, interval };
            !adapter.streams(&feed).is_empty()
        };
        let is_polled = |kind| A::POLLS.iter().any(|poll| poll.kind == kind);
        let is_fetched = |kind| adapter.trades_request(&instrument, kind, 1, 1).is_some();
        let all = || Kind::ALL.iter().copied();
        Some(Offer {
            kinds: all().filter(|kind| is_streamed(*kind) || is_polled(*kind)).collect(),
            fetchable: all().filter(|kind| is_fetched(*kind)).collect(),
            intervals: A::INTERVALS,
            volumes: !adapter.volumes_requests().is_empty(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_market_of_the_settings_that_has_an_adapter_has_its_default_kinds() {
        for (venue, market, settings) in settings::Venues::default().markets() {
            let offer = offer(venue, market);
            for kind in settings.kinds.iter().filter(|_| !offer.kinds.is_empty()) {
                let kind: Kind = kind.parse().unwrap();
                assert!(offer.kinds.contains(&kind), "{kind} of {venue} {market}");
            }
        }
        assert!(offer(Venue::Binance, Market::Option).kinds.is_empty());
    }

    #[test]
    fn trades_of_contracts_cannot_be_fetched_and_aggregates_can() {
        let fetchable = |market| offer(Venue::Binance, market).fetchable;
        assert_eq!(fetchable(Market::Spot), [Kind::Trade, Kind::AggTrade]);
        assert_eq!(fetchable(Market::Perp), [Kind::AggTrade]);
    }
}
