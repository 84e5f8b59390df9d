//! Events that are larger than a message may be.
//!
//! A book that is too large for one message travels in parts. The first is what the event is, with
//! the best levels; the others are diffs at the same id that add further levels, each under a
//! number of its own. Which level is in which part follows from the levels alone, so that whoever
//! splits the same book, and however often, makes the same parts.

use crate::{EVENT_BYTES_MAX, encode};
use model::{Body, Book, BookType, Event, Level};
use std::ops::Range;
use std::sync::Arc;

/// Levels of a side in one part. A level has at most 90 bytes, two decimals of 18 places and up to
/// 21 digits before the point, so that a part always fits into a message.
const SIDE_LEVELS_MAX: usize = 4_000;

const _: () = assert!(2 * SIDE_LEVELS_MAX * 90 + 4_096 < EVENT_BYTES_MAX, "a part is no message");

/// Encodes `event` at the end of `out` and hands each part to `take`: usually one, several if it
/// is a book too large for one message.
pub fn encode_parts(event: Event, out: &mut Vec<u8>, take: &mut impl FnMut(&Event, Range<usize>)) {
    let start = out.len();
    encode(&event, out);
    if out.len() - start > EVENT_BYTES_MAX
        && let Body::Book(book) = &event.body
    {
        out.truncate(start);
        for part in split(&event, book, SIDE_LEVELS_MAX) {
            let start = out.len();
            encode(&part, out);
            take(&part, start..out.len());
        }
    } else {
        take(&event, start..out.len());
    }
}

/// Splits a book into parts of so many levels a side. An empty one is one part.
fn split(event: &Event, book: &Book, side_levels: usize) -> impl Iterator<Item = Event> {
    let levels = book.bids.len().max(book.asks.len()).max(1);
    (0..).zip((0..levels).step_by(side_levels)).map(move |(part, from)| {
        let side = |levels: &[Level]| {
            levels.iter().skip(from).take(side_levels).copied().collect::<Vec<_>>()
        };
        let book = Book {
            book_type: if part == 0 { book.book_type } else { BookType::Diff },
            part,
            bids: side(&book.bids),
            asks: side(&book.asks),
            ..*book
        };
        Event { instrument: Arc::clone(&event.instrument), body: Body::Book(book), ..*event }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Decoder;
    use model::{InstrumentId, Market, Origin, Symbol, Venue};
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};
    use units::{Price, Qty, UnixNanos};

    fn event(book_type: BookType, bids: Vec<Level>, asks: Vec<Level>) -> Event {
        let prev_id = (book_type == BookType::Diff).then_some(8);
        let book = Book { book_type, first_id: None, last_id: 9, prev_id, part: 0, bids, asks };
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

    fn large(book_type: BookType, levels: usize) -> Event {
        let level = |i| (Price::from_raw(i), Qty::from_raw(1));
        let levels: Vec<_> = (1..=i128::try_from(levels).unwrap()).map(level).collect();
        event(book_type, levels.clone(), levels)
    }

    fn snapshot(levels: usize) -> Event {
        large(BookType::Snapshot, levels)
    }

    fn book(event: &Event) -> &Book {
        let Body::Book(book) = &event.body else { unreachable!() };
        book
    }

    fn encoded(event: Event) -> Vec<Event> {
        let (mut out, mut parts, mut ranges) = (Vec::new(), Vec::new(), Vec::new());
        encode_parts(event, &mut out, &mut |event, text| {
            assert!(text.len() <= EVENT_BYTES_MAX);
            parts.push(event.clone());
            ranges.push(text);
        });
        let mut decoder = Decoder::new();
        let decoded = ranges.into_iter().map(|text| decoder.decode(&out[text]).unwrap());
        assert_eq!(decoded.collect::<Vec<_>>(), parts);
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
        assert_eq!(parts.len(), 10);
        let (mut bids, mut asks) = (Vec::new(), Vec::new());
        for (i, part) in parts.iter().map(book).enumerate() {
            assert_eq!(part.book_type == BookType::Snapshot, i == 0);
            assert_eq!(usize::try_from(part.part), Ok(i));
            bids.extend_from_slice(&part.bids);
            asks.extend_from_slice(&part.asks);
        }
        assert_eq!((&bids, &asks), (&book(&whole).bids, &book(&whole).asks));
    }

    #[test]
    fn every_part_is_an_event_of_its_own_beside_whatever_else_has_its_id() {
        let mut pruned = large(BookType::Diff, 40_000);
        let Body::Book(zeros) = &mut pruned.body else { unreachable!() };
        zeros.prev_id = None;
        pruned.origin = Some(Origin::Prune);
        let all = [snapshot(40_000), large(BookType::Diff, 40_000), pruned].map(encoded);
        for parts in &all {
            assert!(parts.is_sorted_by_key(Event::identity), "a store keeps their order");
        }
        let identities: BTreeSet<_> = all.iter().flatten().map(Event::identity).collect();
        assert_eq!(identities.len(), all.iter().flatten().count());
        let number = |event: &Event| event.identity().book_part();
        assert!(all.iter().flatten().all(|event| number(event) == Some(book(event).part)));
    }

    #[test]
    fn a_book_that_ends_earlier_has_the_same_parts_as_far_as_it_goes() {
        let (deep, shallow) = (encoded(snapshot(40_000)), encoded(snapshot(36_000)));
        assert_eq!((deep.len(), shallow.len()), (10, 9));
        assert_eq!(deep[..9], shallow);
    }

    /// Bids and asks by price.
    type Sides = [BTreeMap<Price, Qty>; 2];

    fn apply(sides: &mut Sides, event: &Event) {
        let book = book(event);
        if book.book_type == BookType::Snapshot {
            sides.iter_mut().for_each(BTreeMap::clear);
        }
        for (side, levels) in sides.iter_mut().zip([&book.bids, &book.asks]) {
            for (price, qty) in levels {
                if *qty == Qty::from_raw(0) {
                    side.remove(price);
                } else {
                    side.insert(*price, *qty);
                }
            }
        }
    }

    fn levels() -> impl Strategy<Value = Vec<Level>> {
        let level = |(price, qty)| (Price::from_raw(price), Qty::from_raw(qty));
        vec((0..20_i128, 0..3_i128).prop_map(level), 0..20)
    }

    proptest! {
        #[test]
        fn parts_one_after_another_make_the_book_that_the_whole_makes(
            before in (levels(), levels()),
            after in (levels(), levels()),
            is_diff: bool,
            side_levels in 1..6_usize,
        ) {
            let book_type = if is_diff { BookType::Diff } else { BookType::Snapshot };
            let whole = event(book_type, after.0, after.1);
            let mut expected = Sides::default();
            apply(&mut expected, &event(BookType::Snapshot, before.0, before.1));
            let mut found = expected.clone();
            apply(&mut expected, &whole);
            for part in split(&whole, book(&whole), side_levels) {
                prop_assert!(book(&part).bids.len().max(book(&part).asks.len()) <= side_levels);
                apply(&mut found, &part);
            }
            prop_assert_eq!(found, expected);
        }
    }
}
