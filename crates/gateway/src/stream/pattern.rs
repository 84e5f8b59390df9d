//! What events are about, and what clients want to hear about.

use model::{Event, Kind, Market, Symbol, Venue};

/// What an event is about: the four tokens of its subject.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Topic {
    pub(crate) kind: Kind,
    pub(crate) venue: Venue,
    pub(crate) market: Market,
    pub(crate) symbol: Symbol,
}

impl Topic {
    /// The topic that an event belongs to.
    pub(crate) fn of(event: &Event) -> Topic {
        let id = &event.instrument;
        let (venue, market, symbol) = (id.venue, id.market, id.symbol.clone());
        Topic { kind: event.kind(), venue, market, symbol }
    }

    /// Whether an event says all there is to say of its topic, so that the one before is not
    /// missed.
    ///
    /// Candles are of several lengths and ratios of several types under one topic; OKX tells mark
    /// and index price apart, and of an option the prices and the greeks; each of the others
    /// happened by itself. A book has a way of its own.
    pub(crate) fn is_state(&self) -> bool {
        let comes_apart = self.venue == Venue::Okx;
        match self.kind {
            Kind::Mark => !comes_apart,
            Kind::Ticker => !(comes_apart && self.market == Market::Option),
            Kind::Bbo | Kind::Funding | Kind::OpenInterest | Kind::VolatilityIndex => true,
            Kind::Trade
            | Kind::AggTrade
            | Kind::Book
            | Kind::Kline
            | Kind::Liquidation
            | Kind::LongShortRatio
            | Kind::Gap
            | Kind::Status => false,
        }
    }
}

/// What a subscription asks for; what is `None` may be anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pattern {
    pub(crate) kind: Option<Kind>,
    pub(crate) venue: Option<Venue>,
    pub(crate) market: Option<Market>,
    pub(crate) symbol: Option<Symbol>,
}

impl Pattern {
    /// Whether events of a topic are wanted.
    pub(crate) fn matches(&self, topic: &Topic) -> bool {
        self.kind.is_none_or(|kind| kind == topic.kind)
            && self.venue.is_none_or(|venue| venue == topic.venue)
            && self.market.is_none_or(|market| market == topic.market)
            && self.symbol.as_ref().is_none_or(|symbol| *symbol == topic.symbol)
    }

    /// Whether both name no symbol and may want the same events: such two would only double what is
    /// sent and kept for one client.
    pub(crate) fn overlaps(&self, other: &Pattern) -> bool {
        fn meet<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
            one.is_none() || other.is_none() || one == other
        }
        self.symbol.is_none()
            && other.symbol.is_none()
            && meet(self.kind, other.kind)
            && meet(self.venue, other.venue)
            && meet(self.market, other.market)
    }

    /// Whether events of a kind may be wanted.
    pub(crate) fn wants(&self, kind: Kind) -> bool {
        self.kind.is_none_or(|wanted| wanted == kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_what_comes_apart_stands_for_no_other() {
        let is_state = |kind, venue, market| {
            let symbol = Symbol::new("BTC-USDT").unwrap();
            Topic { kind, venue, market, symbol }.is_state()
        };
        assert!(is_state(Kind::Mark, Venue::Deribit, Market::Perp));
        assert!(!is_state(Kind::Mark, Venue::Okx, Market::Perp));
        assert!(is_state(Kind::Ticker, Venue::Okx, Market::Perp));
        assert!(!is_state(Kind::Ticker, Venue::Okx, Market::Option));
        assert!(is_state(Kind::Ticker, Venue::Deribit, Market::Option));
        assert!(!is_state(Kind::Kline, Venue::Binance, Market::Spot));
    }
}
