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
