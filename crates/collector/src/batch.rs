//! Encoded events on their way from a feed to the publisher.

use crate::block::Run;
use bytes::Bytes;
use model::{Body, BookType, Event};
use std::ops::Range;
use wire::{DurableSubject, EVENT_BYTES_MAX};

/// Batches waiting for the publisher: a batch is what one feed received in one wake-up, so this is
/// at least 64 wake-ups of every feed together and at most about 16 MB.
///
/// When full the feed waits; the socket's buffer and then the venue absorb it. A feed that waits
/// longer than [`crate::feed::FEED_STALL_MAX`] drops its connection, which is counted and visible
/// as a gap.
pub(crate) const BATCHES_CAPACITY: usize = 64;

/// Events encoded once, for both lanes.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) bytes: Bytes,
    /// The events of the durable lane, in order.
    pub(crate) items: Vec<Item>,
}

/// One event of the durable lane.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) subject: DurableSubject,
    pub(crate) run: Run,
    /// Where its text stands in [`Batch::bytes`].
    pub(crate) text: Range<usize>,
}

impl Item {
    pub(crate) fn new(event: &Event, text: Range<usize>) -> Self {
        let subject = DurableSubject::of(event.kind(), &event.instrument);
        Self { subject, run: Run::of(event), text }
    }
}

/// Encodes `event` at the end of `out` and hands each part to `take`: usually one, several if it
/// is a book too large for one message.
pub(crate) fn encode(event: Event, out: &mut Vec<u8>, take: &mut impl FnMut(&Event, Range<usize>)) {
    let start = out.len();
    wire::encode(&event, out);
    if out.len() - start <= EVENT_BYTES_MAX {
        take(&event, start..out.len());
        return;
    }
    if let Some(parts) = split(&event) {
        out.truncate(start);
        for part in parts {
            encode(part, out, take);
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
    use crate::block::tests::instrument;
    use model::Book;
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
        Event {
            instrument: instrument("BTC-USDT"),
            venue_time: None,
            recv_time: UnixNanos::new(1),
            origin: None,
            body: Body::Book(book),
        }
    }

    fn encoded(event: Event) -> Vec<Event> {
        let (mut out, mut parts) = (Vec::new(), Vec::new());
        encode(event, &mut out, &mut |event, text| {
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
