//! Events that are larger than a message may be.

use crate::{EVENT_BYTES_MAX, encode};
use model::{Body, BookType, Event};
use std::ops::Range;

/// Encodes `event` at the end of `out` and hands each part to `take`: usually one, several if it
/// is a book too large for one message.
pub fn encode_parts(event: Event, out: &mut Vec<u8>, take: &mut impl FnMut(&Event, Range<usize>)) {
    let start = out.len();
    encode(&event, out);
    if out.len() - start <= EVENT_BYTES_MAX {
        take(&event, start..out.len());
        return;
    }
    if let Some(parts) = split(&event) {
        out.truncate(start);
        for part in parts {
            encode_parts(part, out, take);
        }
    } else {
        take(&event, start..out.len());
    }
}

/// Splits a book in two: the first part keeps the type and the better half of the levels, the
/// second is a diff that adds the rest under the same id.
fn split(event: &Event) -> Option<[Event; 2]> {
    let Body::Book(book) = &event.body else { return None };
    if book.bids.len() + book.asks.len() < 2 {
        return None;
    }
    let (mut better, mut rest) = (book.clone(), book.clone());
    rest.bids = better.bids.split_off(book.bids.len().div_ceil(2));
    rest.asks = better.asks.split_off(book.asks.len() / 2);
    rest.book_type = BookType::Diff;
    Some([better, rest].map(|book| Event { body: Body::Book(book), ..event.clone() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Book, InstrumentId, Market, Symbol, Venue};
    use std::sync::Arc;
    use units::{Price, Qty, UnixNanos};

    fn snapshot(levels: usize) -> Event {
        let level = |i| (Price::from_raw(i), Qty::from_raw(1));
        let levels: Vec<_> = (1..=i128::try_from(levels).unwrap()).map(level).collect();
        let book = Book {
            book_type: BookType::Snapshot,
            first_id: None,
            last_id: 9,
            prev_id: None,
            bids: levels.clone(),
            asks: levels,
        };
        let instrument = InstrumentId {
            venue: Venue::Binance,
            market: Market::Spot,
            symbol: Symbol::new("BTC-USDT").unwrap(),
            name: "BTCUSDT".into(),
        };
        Event {
            instrument: Arc::new(instrument),
            venue_time: None,
            recv_time: UnixNanos::new(1),
            origin: None,
            body: Body::Book(book),
        }
    }

    fn encoded(event: Event) -> Vec<Event> {
        let (mut out, mut parts) = (Vec::new(), Vec::new());
        encode_parts(event, &mut out, &mut |event, text| {
            assert!(text.len() <= EVENT_BYTES_MAX);
            parts.push(event.clone());
        });
        parts
    }

    #[test]
    fn an_ordinary_event_is_encoded_whole() {
        assert_eq!(encoded(snapshot(10)), [snapshot(10)]);
    }

    #[test]
    fn a_book_too_large_for_a_message_comes_in_parts_that_add_up() {
        let whole = snapshot(40_000);
        let parts = encoded(whole.clone());
        assert!(parts.len() > 1);
        let Body::Book(whole) = whole.body else { unreachable!() };
        let (mut bids, mut asks) = (Vec::new(), Vec::new());
        for (i, part) in parts.iter().enumerate() {
            let Body::Book(book) = &part.body else { unreachable!() };
            assert_eq!(book.book_type == BookType::Snapshot, i == 0);
            bids.extend_from_slice(&book.bids);
            asks.extend_from_slice(&book.asks);
        }
        assert_eq!((bids, asks), (whole.bids, whole.asks));
    }
}
