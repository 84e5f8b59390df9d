use super::*;
use model::{Body, Cause, InstrumentId, Market, Symbol, Venue};
use std::sync::Arc;

const DAY: i64 = 86_400_000_000_000;

fn gap(of: Kind, ids: (u64, u64), days: (i64, i64), state: GapState) -> (Event, Gap) {
    let at = |day: i64| Some(UnixNanos::new(day * DAY + 5));
    let gap = Gap {
        gap_id: Arc::from("g"),
        version: 1,
        of,
        after_id: Some(ids.0),
        before_id: Some(ids.1),
        since: at(days.0),
        until: at(days.1),
        cause: Cause::Disconnect,
        state,
    };
    let instrument = Arc::new(InstrumentId {
        venue: Venue::Binance,
        market: Market::Spot,
        symbol: Symbol::new("BTC-USDT").unwrap(),
        name: Arc::from("BTCUSDT"),
    });
    let recv_time = UnixNanos::new(days.1 * DAY + 6);
    let body = Body::Gap(gap.clone());
    (Event { instrument, venue_time: None, recv_time, origin: None, body }, gap)
}

fn conditions(kind: Kind, gaps: &[(Event, Gap)]) -> String {
    let rows = BTreeMap::from([(10, 5), (11, 6), (13, 7)]);
    let days = days(kind, &rows, gaps);
    days.iter().map(|day| day.condition.as_str()).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_day_is_available_degraded_or_missing() {
    assert_eq!(conditions(Kind::Trade, &[]), "available available missing available");
    let lost = gap(Kind::Trade, (1, 5), (10, 11), GapState::Lost);
    let other = gap(Kind::Book, (1, 5), (13, 13), GapState::Lost);
    assert_eq!(conditions(Kind::Trade, &[lost, other]), "degraded degraded missing available");
}

#[test]
fn a_healed_gap_still_degrades_a_book_but_not_trades() {
    let healed = |kind| [gap(kind, (1, 5), (10, 10), GapState::Healed)];
    let whole = "available available missing available";
    assert_eq!(conditions(Kind::Trade, &healed(Kind::Trade)), whole);
    let degraded = "degraded available missing available";
    assert_eq!(conditions(Kind::Book, &healed(Kind::Book)), degraded);
}

#[test]
fn holes_are_explained_by_gap_records_alone_or_together() {
    let state = GapState::Open;
    let gaps = [
        gap(Kind::Trade, (10, 21), (1, 1), state),
        gap(Kind::Trade, (20, 31), (1, 1), state),
        gap(Kind::Book, (40, 51), (1, 1), state),
    ];
    let explained: Vec<bool> =
        explain(Kind::Trade, &[(12, 15), (11, 30), (9, 12), (30, 31), (41, 50)], &gaps)
            .iter()
            .map(|hole| hole.explained)
            .collect();
    assert_eq!(explained, [true, true, false, false, false]);
}

#[test]
fn a_day_has_its_date() {
    assert_eq!(date(20_582), "2026-05-09");
    assert_eq!(day_before(20_582 * DAY + 1, std::time::Duration::from_hours(48)), 20_580);
}
