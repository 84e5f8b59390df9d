//! What a venue says of one thing in two events: OKX tells mark and index price apart, and of an
//! option the prices and the figures. Whoever asks for the latest wants both.

use model::{Body, Event, Mark, Market, Ticker, Venue};

/// What was said last of a symbol, of both halves.
#[derive(Debug, Default)]
pub(super) struct Halves {
    mark: Option<Mark>,
    ticker: Option<Box<Ticker>>,
}

impl Halves {
    /// The event with what the other half said last; `None` if it is whole by itself.
    pub(super) fn complete(&mut self, event: &Event) -> Option<Event> {
        if event.instrument.venue != Venue::Okx {
            return None;
        }
        let body = if let Body::Mark(mark) = &event.body {
            Body::Mark(self.mark(mark))
        } else if let Body::Ticker(ticker) = &event.body
            && event.instrument.market == Market::Option
        {
            Body::Ticker(self.ticker(ticker))
        } else {
            return None;
        };
        Some(Event { body, ..event.clone() })
    }

    fn mark(&mut self, said: &Mark) -> Mark {
        let before = self.mark.take().unwrap_or(Mark { mark_price: None, index_price: None });
        let whole = Mark {
            mark_price: said.mark_price.or(before.mark_price),
            index_price: said.index_price.or(before.index_price),
        };
        self.mark = Some(whole.clone());
        whole
    }

    /// What a half does not give any more is not taken from its earlier self.
    fn ticker(&mut self, said: &Ticker) -> Ticker {
        let whole = match self.ticker.take() {
            None => said.clone(),
            Some(before) if said.greeks.is_some() => {
                Ticker { greeks: said.greeks.clone(), ..*before }
            }
            Some(before) => Ticker { greeks: before.greeks, ..said.clone() },
        };
        self.ticker = Some(Box::new(whole.clone()));
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Greeks, InstrumentId, Symbol};
    use std::sync::Arc;
    use units::{Price, Rate, UnixNanos};

    fn event(venue: Venue, body: Body) -> Event {
        let name = "BTC-USD-300329-20000-C";
        let instrument = Arc::new(InstrumentId {
            venue,
            market: Market::Option,
            symbol: Symbol::new(name).unwrap(),
            name: Arc::from(name),
        });
        let recv_time = UnixNanos::new(7);
        Event { instrument, venue_time: None, recv_time, origin: None, body }
    }

    fn ticker(prices: [i128; 2], delta: i128) -> Ticker {
        let price = |raw| (raw > 0).then(|| Price::from_raw(raw));
        let delta = (delta > 0).then(|| Rate::from_raw(delta));
        Ticker {
            last_price: price(prices[0]),
            open_price: None,
            high_price: None,
            low_price: None,
            volume: None,
            quote_volume: None,
            bid_price: price(prices[1]),
            bid_qty: None,
            ask_price: None,
            ask_qty: None,
            greeks: Greeks { delta, ..Greeks::default() }.given(),
        }
    }

    #[test]
    fn the_latest_ticker_of_an_option_has_prices_and_figures() {
        let mut halves = Halves::default();
        let mut complete = |said| halves.complete(&event(Venue::Okx, Body::Ticker(said)));
        for (said, whole) in [
            (ticker([0, 0], 1), ticker([0, 0], 1)),
            (ticker([5, 4], 0), ticker([5, 4], 1)),
            (ticker([0, 0], 2), ticker([5, 4], 2)),
            // Nobody bids any more.
            (ticker([6, 0], 0), ticker([6, 0], 2)),
        ] {
            assert_eq!(complete(said), Some(event(Venue::Okx, Body::Ticker(whole))));
        }
        let whole = event(Venue::Deribit, Body::Ticker(ticker([5, 4], 1)));
        assert_eq!(halves.complete(&whole), None);
    }

    #[test]
    fn the_latest_mark_has_the_price_of_the_index() {
        let mark = |mark_price, index_price| {
            let price = |raw: Option<i128>| raw.map(Price::from_raw);
            let mark = Mark { mark_price: price(mark_price), index_price: price(index_price) };
            event(Venue::Okx, Body::Mark(mark))
        };
        let mut halves = Halves::default();
        assert_eq!(halves.complete(&mark(Some(1), None)), Some(mark(Some(1), None)));
        assert_eq!(halves.complete(&mark(None, Some(2))), Some(mark(Some(1), Some(2))));
        assert_eq!(halves.complete(&mark(Some(3), None)), Some(mark(Some(3), Some(2))));
    }
}
