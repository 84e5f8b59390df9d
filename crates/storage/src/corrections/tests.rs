use super::*;
use model::{Body, InstrumentId, Market, Symbol, Venue};

const HOUR: i64 = 3_600_000_000_000;

/// A record that was made at an hour, of trades that are missing between two.
fn record(state: GapState, hours: Option<(i64, i64)>, at: i64) -> (Event, Gap) {
    let time = |hour: i64| UnixNanos::new(hour * HOUR);
    let gap = Gap {
        gap_id: Arc::from("g"),
        version: 2,
        of: Kind::Trade,
        after_id: Some(9),
        before_id: Some(15),
        since: hours.map(|(since, _)| time(since)),
        until: hours.map(|(_, until)| time(until)),
        cause: Cause::Disconnect,
        state,
    };
    let instrument = Arc::new(InstrumentId {
        venue: Venue::Binance,
        market: Market::Spot,
        symbol: Symbol::new("BTC-USDT").unwrap(),
        name: Arc::from("BTCUSDT"),
    });
    let body = Body::Gap(gap.clone());
    (Event { instrument, venue_time: None, recv_time: time(at), origin: None, body }, gap)
}

fn days(state: GapState, hours: Option<(i64, i64)>, at: i64) -> Option<(i64, i64)> {
    let (event, gap) = record(state, hours, at);
    Correction::of(&event, &gap).map(|correction| correction.days)
}

#[test]
fn a_day_that_was_over_when_its_gap_was_healed_was_corrected() {
    let (event, gap) = record(GapState::Healed, Some((20, 21)), 30);
    let expected = Correction {
        kind: Kind::Trade,
        stream: "binance/spot/BTC-USDT".parse().unwrap(),
        days: (0, 0),
        ids: (10, 14),
        at: UnixNanos::new(30 * HOUR),
        cause: Cause::Disconnect,
        gap_id: Arc::from("g"),
    };
    assert_eq!(Correction::of(&event, &gap), Some(expected));
    assert_eq!(days(GapState::Healed, Some((20, 50)), 80), Some((0, 2)));
    assert_eq!(days(GapState::Healed, Some((20, 50)), 60), Some((0, 1)), "the third goes on");
    assert_eq!(days(GapState::Healed, Some((20, 21)), 22), None, "it was not over");
    assert_eq!(days(GapState::Healed, Some((20, 24)), 24), None, "rows were on their way");
}

#[test]
fn what_brought_nothing_corrects_nothing() {
    for state in [GapState::Open, GapState::Lost] {
        assert_eq!(days(state, Some((20, 21)), 30), None);
    }
    assert_eq!(days(GapState::Healed, None, 30), None, "of which day?");
    let (event, gap) = record(GapState::Healed, Some((20, 21)), 30);
    let skipped = Gap { cause: Cause::Skipped, ..gap.clone() };
    assert_eq!(Correction::of(&event, &skipped), None);
    // A book is whole again, but what is missing in between never comes.
    let book = Gap { of: Kind::Book, ..gap };
    assert_eq!(Correction::of(&event, &book), None);
}
