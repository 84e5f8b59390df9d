use super::*;
use model::{Body, Cause, Identity, InstrumentId, Market, Symbol, Venue};
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

fn stored(rows: u64, first: u64, last: u64) -> Stored {
    let identity = |major| Identity { major, minor: 0 };
    let (time_first, time_last) = (UnixNanos::new(0), UnixNanos::new(0));
    let (ids, first_id) = (rows, first);
    let (first, last) = (identity(first), identity(last));
    Stored { rows, ids, first_id, first, last, time_first, time_last }
}

/// Days 10, 11 and 13 without a missing id.
fn whole() -> BTreeMap<i64, Stored> {
    BTreeMap::from([(10, stored(5, 1, 5)), (11, stored(6, 6, 11)), (13, stored(7, 12, 18))])
}

fn conditions(kind: Kind, gaps: &[(Event, Gap)], unfinished: i64) -> String {
    let days = days(kind, &whole(), gaps, unfinished);
    days.iter().map(|day| day.condition.as_str()).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_day_is_available_degraded_or_missing() {
    assert_eq!(conditions(Kind::Trade, &[], 14), "available available missing available");
    let lost = gap(Kind::Trade, (1, 5), (10, 11), GapState::Lost);
    let other = gap(Kind::Book, (1, 5), (13, 13), GapState::Lost);
    let expected = "degraded degraded missing available";
    assert_eq!(conditions(Kind::Trade, &[lost, other], 14), expected);
}

#[test]
fn a_day_that_may_still_get_rows_is_pending_unless_something_is_lost_for_good() {
    assert_eq!(conditions(Kind::Trade, &[], 13), "available available missing pending");
    assert_eq!(conditions(Kind::Trade, &[], 12), "available available pending pending");
    let lost = gap(Kind::Trade, (11, 13), (13, 13), GapState::Lost);
    assert_eq!(conditions(Kind::Trade, &[lost], 13), "available available missing degraded");
    // A backfill is under way over the day without rows, too.
    let open = |kind| [gap(kind, (1, 5), (11, 12), GapState::Open)];
    let expected = "available pending pending available";
    assert_eq!(conditions(Kind::Trade, &open(Kind::Trade), 14), expected);
    // Nobody can fetch the updates of a book again.
    let expected = "available degraded missing available";
    assert_eq!(conditions(Kind::Book, &open(Kind::Book), 14), expected);
}

#[test]
fn a_healed_gap_still_degrades_a_book_but_not_trades() {
    let healed = |kind| [gap(kind, (1, 5), (10, 10), GapState::Healed)];
    let whole = "available available missing available";
    assert_eq!(conditions(Kind::Trade, &healed(Kind::Trade), 14), whole);
    let degraded = "degraded available missing available";
    assert_eq!(conditions(Kind::Book, &healed(Kind::Book), 14), degraded);
}

#[test]
fn missing_ids_count_for_the_day_on_which_the_stream_goes_on() {
    // 4 is missing within a day, 11 to 19 between two.
    let days_of = BTreeMap::from([(10, stored(9, 1, 10)), (12, stored(5, 20, 24))]);
    assert_eq!(expected(&days_of), BTreeMap::from([(10, 10), (12, 14)]));
    let judged = days(Kind::Trade, &days_of, &[], 13);
    let found: Vec<(&str, Option<u64>)> =
        judged.iter().map(|day| (day.condition.as_str(), day.expected)).collect();
    assert_eq!(found, [("degraded", Some(10)), ("missing", None), ("degraded", Some(14))]);
    assert_eq!(day_behind(&days_of, 4), Some(10));
    assert_eq!(day_behind(&days_of, 19), Some(12));
    // Ids of a ticker are times: nothing is expected.
    assert!(days(Kind::Ticker, &days_of, &[], 13).iter().all(|day| day.expected.is_none()));
    // A trade stamped before midnight with a higher id than one stamped after it.
    let days_of = BTreeMap::from([(10, stored(3, 1, 4)), (11, stored(3, 3, 6))]);
    assert_eq!(expected(&days_of), BTreeMap::from([(10, 4), (11, 3)]));
}

#[test]
fn a_row_may_stand_for_several_ids_and_an_id_for_none() {
    // 6 and 7 are in the row 8, and 1 and 2 in the row 3; 11 was given to no trade.
    let wide = |rows, ids, first_id, first, last| {
        let stored = stored(rows, first, last);
        Stored { ids, first_id, ..stored }
    };
    let days_of = BTreeMap::from([(10, wide(4, 8, 1, 3, 8)), (11, wide(3, 3, 9, 9, 12))]);
    assert_eq!(expected(&days_of), BTreeMap::from([(10, 8), (11, 4)]));
    let judge = |gaps: &[(Event, Gap)]| {
        let judged = days(Kind::Trade, &days_of, gaps, 13);
        judged.iter().map(|day| day.condition.as_str()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(judge(&[]), "available degraded");
    let mut record = gap(Kind::Trade, (10, 12), (11, 11), GapState::Healed);
    assert_eq!(judge(&[record.clone()]), "available degraded", "it was fetched, and is not there");
    record.1.cause = Cause::Skipped;
    assert_eq!(judge(&[record.clone(), record.clone()]), "available available");
    record.1.of = Kind::AggTrade;
    assert_eq!(judge(&[record]), "available degraded");
}

#[test]
fn ids_that_no_trade_has_are_no_holes() {
    let known = [(3, 3), (5, 6), (10, 12), (20, 20)];
    assert_eq!(without(&[(3, 7), (9, 12), (20, 20)], &known), [(4, 4), (7, 7), (9, 9)]);
    assert_eq!(without(&[(1, 2), (14, 22)], &known), [(1, 2), (14, 19), (21, 22)]);
    assert_eq!(without(&[(10, u64::MAX)], &[(9, u64::MAX)]), []);
    assert_eq!(without(&[(1, 4)], &[]), [(1, 4)]);
}

#[test]
#[expect(clippy::float_cmp, reason = "the end of the scale is exact")]
fn a_day_is_whole_only_if_nothing_is_missing() {
    assert_eq!(fraction(10, 10), 1.0);
    assert_eq!(fraction(1, 4), 0.25);
    assert_eq!(fraction(0, 0), 0.0);
    assert!(fraction(u64::MAX - 1, u64::MAX) < 1.0);
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
            .map(|hole| hole.verdict.explains())
            .collect();
    assert_eq!(explained, [true, true, false, false, false]);
}

#[test]
fn a_record_without_an_end_explains_no_hole_above_it() {
    let (event, reset) = gap(Kind::Trade, (10, 21), (1, 1), GapState::Lost);
    let reset = Gap { before_id: None, cause: Cause::Reset, ..reset };
    let holes = explain(Kind::Trade, &[(15, 16)], &[(event, reset)]);
    assert_eq!(holes[0].verdict, Verdict::Unexplained);
}

#[test]
fn a_record_that_says_fetched_explains_no_missing_id() {
    let gaps = [
        gap(Kind::Trade, (10, 21), (1, 1), GapState::Lost),
        gap(Kind::Trade, (20, 31), (1, 1), GapState::Open),
        gap(Kind::Trade, (30, 41), (1, 1), GapState::Healed),
        // An old one that a larger one contains.
        gap(Kind::Trade, (12, 14), (1, 1), GapState::Lost),
    ];
    let verdicts = |hole| explain(Kind::Trade, &[hole], &gaps)[0].verdict.as_str();
    assert_eq!(verdicts((11, 20)), "lost");
    assert_eq!(verdicts((15, 25)), "open");
    assert_eq!(verdicts((25, 35)), "healed");
    assert_eq!(verdicts((35, 41)), "unexplained");
}

#[test]
fn days_are_unfinished_until_what_was_on_its_way_has_come() {
    let minute = 60_000_000_000;
    assert_eq!(unfinished(20 * DAY + 4 * minute, None), 19);
    assert_eq!(unfinished(20 * DAY + 6 * minute, None), 20);
    assert_eq!(unfinished(20 * DAY + 6 * minute, Some(17)), 17);
}

#[test]
fn a_day_has_its_date() {
    assert_eq!(date(20_582), "2026-05-09");
    assert_eq!(day_before(20_582 * DAY + 1, Duration::from_hours(48)), 20_580);
}
