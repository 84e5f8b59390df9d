//! Ring 1: names, and what makes two events the same.

use super::*;
use crate::{Market, RatioType, Symbol, Venue};
use proptest::prelude::*;
use units::Rate;

fn event(time: i64, body: Body) -> Event {
    let instrument = Arc::new(InstrumentId {
        venue: Venue::Okx,
        market: Market::Perp,
        symbol: Symbol::new("BTC-USDT").unwrap(),
        name: Arc::from("BTC-USDT-SWAP"),
    });
    let venue_time = Some(UnixNanos::new(time));
    Event { instrument, venue_time, recv_time: UnixNanos::new(time + 7), origin: None, body }
}

fn liquidation(price: i128, qty: i128, ordinal: u32) -> Liquidation {
    let (price, qty) = (Price::from_raw(price), Qty::from_raw(qty));
    Liquidation { side: Side::Sell, price, qty, average_price: None, ordinal }
}

#[test]
fn every_kind_has_a_name_that_reads_back() {
    for kind in Kind::ALL {
        assert_eq!(kind.as_str().parse(), Ok(*kind));
    }
    let error = "x".parse::<Kind>().unwrap_err().to_string();
    for kind in Kind::ALL {
        assert!(error.contains(kind.as_str()), "{error}");
    }
}

#[test]
fn candles_of_different_length_are_different_events() {
    assert_eq!(interval_seconds("1m"), 60);
    assert_eq!(interval_seconds("4h"), 14_400);
    assert_ne!(interval_seconds("odd"), interval_seconds("even"));
}

#[test]
fn ratios_are_told_apart_by_type_and_period() {
    let mut seen = std::collections::BTreeSet::new();
    for ratio_type in RatioType::ALL {
        for period in ["5m", "15m", "1h", "1d"] {
            let (ratio, of) = (Rate::ZERO, |long_short_ratio| LongShortRatio {
                ratio_type: *ratio_type,
                period: Arc::from(period),
                long_ratio: None,
                short_ratio: None,
                long_short_ratio,
            });
            let identity = event(1, Body::LongShortRatio(of(ratio))).identity();
            let other = Rate::from_raw(5);
            assert_eq!(event(1, Body::LongShortRatio(of(other))).identity(), identity);
            assert!(seen.insert(identity), "{ratio_type} {period}");
        }
    }
    assert_eq!(seen.len(), 12);
}

#[test]
fn mark_and_index_price_of_the_same_time_are_two_events_where_they_come_apart() {
    let price = Some(Price::from_raw(1));
    let of =
        |mark_price, index_price| event(1, Body::Mark(Mark { mark_price, index_price })).identity();
    let all = [of(price, price), of(price, None), of(None, price)];
    assert!(all[0] != all[1] && all[1] != all[2] && all[0] != all[2]);
}

#[test]
fn the_figures_of_an_option_are_an_event_of_their_own_where_they_come_apart() {
    let of = |last_price, greeks| {
        let ticker = Ticker {
            last_price,
            open_price: None,
            high_price: None,
            low_price: None,
            volume: None,
            quote_volume: None,
            bid_price: None,
            bid_qty: None,
            ask_price: None,
            ask_qty: None,
            greeks,
        };
        event(1, Body::Ticker(ticker)).identity().minor
    };
    let price = Some(Price::from_raw(1));
    let figures = || Greeks { delta: Some(Rate::from_raw(1)), ..Greeks::default() }.given();
    assert_eq!([of(price, None), of(price, figures()), of(None, None)], [0, 0, 0]);
    assert_eq!(of(None, figures()), 1);
}

#[test]
fn parts_of_a_book_are_told_apart_from_one_another_and_from_all_else_at_their_id() {
    let of = |book_type, origin, prev_id, part| {
        let (bids, asks) = (Vec::new(), Vec::new());
        let book = Book { book_type, first_id: None, last_id: 9, prev_id, part, bids, asks };
        Event { origin, ..event(1, Body::Book(book)) }.identity()
    };
    let plain = [
        of(BookType::Snapshot, None, None, 0),
        of(BookType::Diff, None, Some(8), 0),
        of(BookType::Diff, Some(Origin::Prune), None, 0),
    ];
    assert_eq!(plain.map(|identity| identity.minor), [0, 1, 2], "as rows are stored already");
    let mut seen = std::collections::BTreeSet::from(plain);
    for part in [1, 2, u32::MAX] {
        for (origin, prev_id) in [(None, None), (None, Some(8)), (Some(Origin::Prune), None)] {
            let identity = of(BookType::Diff, origin, prev_id, part);
            assert_eq!((identity.major, identity.book_part()), (9, Some(part)));
            assert!(seen.insert(identity), "{part} {origin:?} {prev_id:?}");
        }
    }
    let rest = of(BookType::Diff, Some(Origin::Rest), None, 1);
    assert!(!seen.insert(rest), "a snapshot that was asked for has the parts of any other");
    assert_eq!(Identity { major: 9, minor: u64::MAX }.book_part(), None);
}

proptest! {
    #[test]
    fn liquidations_are_the_same_if_time_side_price_qty_and_ordinal_are(
        time in 0..2_i64, side: bool, price in 0..3_i128, qty in 0..3_i128, ordinal in 0..3_u32,
        other in (0..2_i64, any::<bool>(), 0..3_i128, 0..3_i128, 0..3_u32),
    ) {
        let of = |(time, side, price, qty, ordinal): (i64, bool, i128, i128, u32), paid| {
            let side = if side { Side::Buy } else { Side::Sell };
            let average_price = Some(Price::from_raw(paid));
            let body = Liquidation { side, average_price, ..liquidation(price, qty, ordinal) };
            event(time, Body::Liquidation(body)).identity()
        };
        let this = (time, side, price, qty, ordinal);
        prop_assert_eq!(of(this, 1) == of(other, 2), this == other);
    }
}
